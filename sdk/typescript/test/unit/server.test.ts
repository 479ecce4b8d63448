import { createServer, get } from "node:http";
import { type JWTPayload, SignJWT, exportJWK, generateKeyPair } from "jose";
import { createMintgateServer } from "@mintgate/server";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listen } from "../rig/listen.js";

const ORIGIN = "https://app.example.com";
const pairs = await Promise.all([generateKeyPair("ES256"), generateKeyPair("ES256")]);
let received: Record<string, string | string[] | undefined> = {};
const service = createServer(async (request, response) => {
  received = { ...request.headers, target: request.url, method: request.method };
  if (request.url === "/.well-known/jwks.json") {
    return response.setHeader("Content-Type", "application/json").end(JSON.stringify({ keys: [{ ...(await exportJWK(pairs[0].publicKey)), kid: "1", alg: "ES256" }] }));
  }
  response.setHeader("Set-Cookie", ["Auth-Access-Token=a; Path=/; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "Auth-Refresh-Token=b; Path=/api/v1/auth/refresh"]);
  response.setHeader("Cache-Control", "public, max-age=60");
  response.writeHead(request.url!.includes("return") ? 303 : 200, { Location: "https://app.example.com/" }).end("{}");
});
let url = "";
beforeAll(async () => void (url = `http://127.0.0.1:${await listen(service)}`));
afterAll(() => void service.close());

const make = (more = {}) => createMintgateServer({ url, origin: ORIGIN, audience: "api", ...more });
interface Made { typ?: string; key?: 0 | 1; exp?: number; nbf?: number; claims?: JWTPayload }
function token({ typ = "at+jwt", key = 0, exp = 60, nbf = 0, claims = {} }: Made = {}) {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ sid: "s", roles: ["user"], idp: "corp", name: "alice", iss: url, aud: "api", sub: "1", nbf: now + nbf, exp: now + exp, ...claims })
    .setProtectedHeader({ alg: "ES256", kid: "1", typ }).sign(pairs[key].privateKey);
}
/** A request as Express has it. */
const sent = (headers: Record<string, string>, path = "/dashboard?a=1") => ({ method: "GET", url: path, headers });

describe("getSession", () => {
  test("a good token: who it is", async () => {
    const session = await make().getSession(sent({ cookie: `x=1; Auth-Access-Token=${await token()}; y=2` }));
    expect(session).toMatchObject({ status: "signed_in", user: { sub: "1", sid: "s", roles: ["user"], provider: "corp", name: "alice" } });
  });

  test("nothing: signed out", async () => {
    expect(await make().getSession(sent({}))).toEqual({ status: "signed_out" });
  });

  const round = `/api/v1/auth/refresh/return?to=${encodeURIComponent(ORIGIN + "/dashboard?a=1")}`;
  test("no token but the sign of a session: round by the service, to the same address", async () => {
    const headers = { cookie: "Auth-Session=1", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
    expect(await make().getSession(sent(headers))).toEqual({ status: "unknown", reason: "REFRESH_DUE", redirect: url + round });
  });

  test("a token that is over goes round too", async () => {
    const cookie = `Auth-Access-Token=${await token({ exp: -60 })}`;
    expect((await make().getSession(sent({ cookie, accept: "text/html" }))).redirect).toBe(url + round);
  });

  test.each([
    ["data of the framework", { "sec-fetch-mode": "cors" }],
    ["a frame", { "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe" }],
    ["a prefetch", { "sec-fetch-mode": "navigate", "sec-purpose": "prefetch;prerender" }],
    ["an older client's data", { accept: "application/json" }],
    ["a server component's data", { accept: "text/html", rsc: "1" }],
  ])("%s does not go round", async (_, headers) => {
    const session = await make().getSession(sent({ cookie: "Auth-Session=1", ...headers }));
    expect(session).toEqual({ status: "unknown", reason: "REFRESH_DUE" });
  });

  test("one round at most", async () => {
    const headers = { cookie: `Auth-Session=1; Auth-Access-Token=${await token({ nbf: 120 })}`, accept: "text/html" };
    const after = (result: string) => make().getSession(sent(headers, "/?mintgate_result=" + result));
    expect(await after("signed_in")).toEqual({ status: "unknown", reason: "REFRESH_DID_NOT_HELP" });
    expect(await after("unavailable")).toEqual({ status: "unknown", reason: "UNREACHABLE" });
    expect(await after("signed_out")).toEqual({ status: "signed_out" });
  });

  test("tokens that are not for this server are no session", async () => {
    const now = Math.floor(Date.now() / 1000);
    for (const made of [
      { typ: "rt+jwt" }, { typ: "JWT" }, { key: 1 }, { claims: { iss: "https://evil.test" } }, { claims: { aud: "other" } }, { claims: { sid: undefined } },
      { claims: { exp: undefined } },
    ] as Made[]) {
      expect([made, (await make().getSession(sent({ cookie: `Auth-Access-Token=${await token(made)}` }))).status]).toEqual([made, "signed_out"]);
    }
    const none = ["none", "e30.e30.", `${btoa('{"alg":"none","typ":"at+jwt"}')}.${btoa(`{"sub":"1","sid":"s","exp":${now + 60}}`)}.`];
    for (const text of none) expect((await make().getSession(sent({ cookie: `Auth-Access-Token=${text}` }))).status).toBe("signed_out");
    const good = await token();
    expect((await make().getSession(sent({ cookie: `Auth-Access-Token=${good}; Auth-Access-Token=${good}` }))).status).toBe("signed_out");
  });

  test("keys that cannot be fetched sign nobody out", async () => {
    const cookie = `Auth-Access-Token=${await token()}; Auth-Session=1`;
    expect(await make({ internalUrl: "http://127.0.0.1:9" }).getSession(sent({ cookie, accept: "text/html" }))).toEqual({ status: "unknown", reason: "KEYS_UNAVAILABLE" });
  });

  test("takes a request of the Fetch standard", async () => {
    const headers = new Map([["cookie", "Auth-Session=1"], ["accept", "text/html"]]);
    const like = { method: "GET", url: "http://localhost:3000/dashboard?a=1", headers: { get: (name: string) => headers.get(name) ?? null } };
    expect((await make().getSession(like)).redirect).toBe(url + round);
  });
});

test("Express: the session for handlers, a round for navigations, and nothing for caches", async () => {
  const middleware = make().express();
  const app = createServer((request, response: any) => middleware(request, response, () => response.end(response.locals.session.status)));
  const at = `http://127.0.0.1:${await listen(app)}/dashboard?a=1`;
  // Node's `fetch` would say of itself that it is no navigation.
  const answer = (headers: Record<string, string>) =>
    new Promise<[number, string | undefined, string | undefined, string]>(resolve => {
      get(at, { headers: { accept: "text/html", ...headers } }, async response => {
        let body = "";
        for await (const part of response) body += part;
        resolve([response.statusCode!, response.headers.location, response.headers["cache-control"], body]);
      });
    });
  expect(await answer({ cookie: `Auth-Access-Token=${await token()}` })).toEqual([200, undefined, "private, no-store", "signed_in"]);
  const round = `${url}/api/v1/auth/refresh/return?to=${encodeURIComponent(ORIGIN + "/dashboard?a=1")}`;
  expect(await answer({ cookie: "Auth-Session=1" })).toEqual([303, round, "private, no-store", ""]);
  app.close();
});

test("forward keeps each Set-Cookie apart and lets no cache keep the answer", async () => {
  const request = new Request("http://localhost:3000/api/v1/auth/refresh?x=1", { method: "POST", body: "{}", headers: { origin: ORIGIN } });
  const answer = await make().forward(request);
  expect(answer.headers.getSetCookie()).toHaveLength(2);
  expect(answer.headers.getSetCookie()[0]).toContain("Expires=Thu, 01 Jan");
  expect(answer.headers.get("cache-control")).toBe("private, no-store");
  expect([received["target"], received["method"], received["origin"]]).toEqual(["/api/v1/auth/refresh?x=1", "POST", ORIGIN]);
  expect((await make().forward(new Request("http://localhost:3000/api/v1/auth/refresh/return?to=/"))).status).toBe(303);
});
