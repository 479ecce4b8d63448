import { beforeEach, describe, expect, test, vi } from "vitest";
import { createMintgate, MintgateError } from "@mintgate/client";
import { alice, fakePage, json, refused } from "./page.js";

const APP = "https://app.example.com/";
const URL_ = "https://auth.example.com";
const AUTH = URL_ + "/api/v1/auth";
const KEY = `mintgate:${AUTH}`;
const tokens = () => json(200, { message: "m", accessToken: "a", expiresIn: 60, tokenType: "Bearer" });
const make = (more = {}) => createMintgate({ url: URL_, ...more });

describe("who is signed in", () => {
  test("is asked once, whoever asks", async () => {
    const page = fakePage(APP, () => json(200, alice));
    const auth = make();
    expect(page.requests).toEqual([]);
    const [one, two, session] = await Promise.all([auth.user(), auth.user(), auth.ready()]);
    expect([one?.name, two?.name, session.status]).toEqual(["alice", "alice", "signed_in"]);
    expect(page.requests).toEqual([`GET ${AUTH}/me`]);
  });

  test("a page gets the same client again", () => {
    fakePage(APP, () => json(200, alice));
    expect(make()).toBe(make());
    expect(make()).not.toBe(make({ hint: true }));
  });

  test.each([
    ["INVALID_REFRESH_TOKEN", 401], ["REFRESH_TOKEN_EXPIRED", 401], ["REFRESH_TOKEN_REUSED", 401], ["SESSION_REVOKED", 401], ["ACCESS_DENIED", 403],
  ])("%s ends the session", async (code, status) => {
    fakePage(APP, request => (request.url.endsWith("/me") ? refused(401, "INVALID_ACCESS_TOKEN") : refused(status, code)));
    const auth = make();
    expect(await auth.user()).toBeNull();
    expect(auth.session).toEqual({ status: "signed_out", reason: code });
  });

  test.each([
    ["no answer", () => { throw new TypeError("Failed to fetch"); }],
    ["500", () => refused(500, "INTERNAL_ERROR")],
    ["503", () => refused(503, "STORE_UNAVAILABLE")],
    ["429", () => refused(429, "RATE_LIMITED")],
    ["a 401 of somebody else", () => new Response("<h1>Proxy</h1>", { status: 401 })],
    ["a 401 with another code", () => refused(401, "TEAPOT")],
    ["our code with another status", () => refused(500, "SESSION_REVOKED")],
    ["403 CSRF_REJECTED", () => refused(403, "CSRF_REJECTED")],
    ["a portal's page", () => new Response("<h1>Hello</h1>", { status: 200 })],
    ["null", () => json(200, null)],
  ])("%s leaves it open", async (_, answer) => {
    vi.spyOn(console, "error").mockReturnValue();
    fakePage(APP, answer);
    const auth = make();
    expect(await auth.user()).toBeUndefined();
    expect(auth.session.status).toBe("unknown");
  });

  test("without a sign that is sure, a page asks once and no more", async () => {
    const page = fakePage(APP, request => refused(401, request.url.endsWith("/me") ? "INVALID_ACCESS_TOKEN" : "INVALID_REFRESH_TOKEN"));
    await make().user();
    await make().user();
    expect(page.requests).toEqual([`GET ${AUTH}/me`, `POST ${AUTH}/refresh`]);
  });

  test.each([["hint: true", {}, { hint: true }], ["a hint that was seen before", { stored: { [KEY]: { id: "1", ended: "SESSION_REVOKED", hint: true } } }, {}]])(
    "%s and no cookie: nothing is asked", async (_, more, options) => {
      const page = fakePage(APP, () => json(200, alice), more);
      expect(await make(options).user()).toBeNull();
      expect(page.requests).toEqual([]);
    },
  );

  test("a token that is known to be over is refreshed first", async () => {
    const stored = { [KEY]: { id: "1", at: Date.now() - 61_000, ttl: 60, user: alice } };
    const page = fakePage(APP, request => (request.method === "POST" ? tokens() : json(200, alice)), { stored });
    await make().ready();
    expect(page.requests).toEqual([`POST ${AUTH}/refresh`, `GET ${AUTH}/me`]);
  });

  test("a service that does not send expiresIn is asked for a token when a request is refused", async () => {
    const { expiresIn: _, ...short } = alice;
    let refreshed = false;
    fakePage(APP, request => {
      if (request.url.endsWith("/refresh")) return (refreshed = true), tokens();
      return request.url.endsWith("/me") ? json(200, short) : json(refreshed ? 200 : 401, {});
    });
    expect((await make().fetch("/api")).status).toBe(200);
  });

  test("a doubled cookie is cleared by up to six tries", async () => {
    let tries = 0;
    fakePage(APP, request => {
      if (request.url.endsWith("/me")) return tries === 6 ? json(200, alice) : refused(401, "INVALID_ACCESS_TOKEN");
      return ++tries < 6 ? refused(400, "DUPLICATE_COOKIE") : tokens();
    });
    expect((await make().user())?.name).toBe("alice");
  });
});

describe("surroundings", () => {
  test.each([[["localStorage"]], [["sessionStorage"]], [["localStorage", "sessionStorage"]]])("without %s it works, and says so", async missing => {
    const info = vi.spyOn(console, "info").mockReturnValue();
    const page = fakePage(APP, request => (request.method === "POST" ? tokens() : json(200, alice)), { missing });
    const auth = make();
    await Promise.all([auth.user({ fresh: true }), auth.user({ fresh: true })]);
    expect(page.requests.filter(one => one.startsWith("POST"))).toHaveLength(1);
    expect(info).toHaveBeenCalledTimes(1);
  });

  test("two names of this machine are told apart in the console", async () => {
    const warn = vi.spyOn(console, "warn").mockReturnValue();
    fakePage("http://localhost:5173/", () => json(200, alice));
    await createMintgate({ url: "http://127.0.0.1:8080" }).ready();
    expect(warn.mock.calls[0]![0]).toMatch(/localhost.*127\.0\.0\.1/);
  });

  test("a page of the app at an address of Mintgate is told in the console", async () => {
    const error = vi.spyOn(console, "error").mockReturnValue();
    fakePage(AUTH + "/callback/corp?code=1&state=2", () => json(200, alice));
    await make().ready();
    expect(error.mock.calls[0]![0]).toContain("service worker");
  });

  test("outside a browser nothing happens", async () => {
    const auth = make();
    expect([auth.session.reason, await auth.user(), await auth.finish()]).toEqual(["LOADING", undefined, undefined]);
    auth.onChange(() => {})();
    await auth.signOut();
  });
});

describe("fetch", () => {
  const api = (request: Request) => request.url.startsWith(APP);
  const service = (request: Request) => (request.method === "POST" ? tokens() : json(200, alice));

  test("a stream is sent once, and its 401 can be read", async () => {
    let sent = 0;
    fakePage(APP, request => (api(request) ? (sent++, refused(401, "MINE")) : service(request)));
    const body = new Blob(["a"]).stream();
    const response = await make().fetch("/api", { method: "POST", body, duplex: "half" } as RequestInit);
    expect([sent, (await response.json()).errorCode]).toEqual([1, "MINE"]);
  });

  test("an abort detaches its own caller alone", async () => {
    let letGo = () => {};
    const held = new Promise<void>(resolve => (letGo = resolve));
    const stored = { [KEY]: { id: "1", at: Date.now() - 61_000, ttl: 60, user: alice } };
    const page = fakePage(APP, async request => {
      if (request.method === "POST") await held;
      return api(request) ? json(200, {}) : service(request);
    }, { stored });
    const auth = make();
    const abort = new AbortController();
    const first = auth.fetch("/one", { signal: abort.signal });
    const second = auth.fetch("/two");
    abort.abort();
    await expect(first).rejects.toMatchObject({ name: "AbortError" });
    letGo();
    expect((await second).status).toBe(200);
    expect(page.requests.filter(one => !one.startsWith(`GET ${AUTH}`))).toEqual([`POST ${AUTH}/refresh`, `GET ${APP}two`]);
  });

  test("a 401 after a refresh of another caller is repeated without one", async () => {
    let token = 0;
    const page = fakePage(APP, async request => {
      if (request.method === "POST") return token++, tokens();
      if (!api(request)) return json(200, alice);
      const sentWith = token;
      await Promise.resolve();
      return json(sentWith ? 200 : 401, {});
    });
    const auth = make();
    const all = await Promise.all([auth.fetch("/1"), auth.fetch("/2"), auth.fetch("/3")]);
    expect(all.map(one => one.status)).toEqual([200, 200, 200]);
    expect(page.requests.filter(one => one.startsWith("POST"))).toHaveLength(1);
  });

  test("credentials go to the page's, Mintgate's and the named origins, compared whole", async () => {
    const sent: Record<string, string> = {};
    fakePage(APP, request => {
      sent[request.url] = request.credentials;
      return request.url.includes("api/v1") ? service(request) : json(200, {});
    });
    const auth = make({ origins: ["https://api.example.com"] });
    const addresses = [APP + "x", "https://api.example.com/x", "https://api.example.com.evil.test/x", "https://api.example.com:8443/x", "http://api.example.com/x"];
    for (const address of addresses) await auth.fetch(address);
    expect(addresses.map(address => sent[address])).toEqual(["include", "include", "same-origin", "same-origin", "same-origin"]);
  });

  test("a token that is over and cannot be refreshed is not sent: the call is rejected", async () => {
    const stored = { [KEY]: { id: "1", at: Date.now() - 61_000, ttl: 60, user: alice } };
    const page = fakePage(APP, request => (request.url.includes("api/v1") ? refused(503, "STORE_UNAVAILABLE", { "Retry-After": "5" }) : json(200, {})), { stored });
    const auth = make();
    await expect(auth.fetch("/x")).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(auth.session).toMatchObject({ status: "unknown", reason: "STORE_UNAVAILABLE", user: { name: "alice" } });
    expect(page.requests).toEqual([`POST ${AUTH}/refresh`]);
  });
});

describe("signing in", () => {
  const visitor = (request: Request) => refused(401, request.url.endsWith("/me") ? "INVALID_ACCESS_TOKEN" : "INVALID_REFRESH_TOKEN");

  test("goes to the start link, with the address to return to", async () => {
    const page = fakePage(APP + "stra%C3%9Fe?q=a%26b&mintgate_result=LOGIN_CANCELLED#/x?y", visitor);
    await make().signIn("corp", { prompt: "select_account" });
    expect(page.went).toBe(`${AUTH}/start/corp?returnTo=${encodeURIComponent(APP + "stra%C3%9Fe?q=a%26b#/x?y")}&prompt=select_account`);
  });

  test.each([
    ["?mintgate_result=signed_in", ""], ["?a=1&mintgate_result=signed_in", "?a=1"], ["?mintgate_result=signed_in&b=%20x+y", "?b=%20x+y"],
    ["?a&mintgate_result=signed_in&b#/c?mintgate_result=d", "?a&b#/c?mintgate_result=d"],
  ])("finish takes its mark out of %s", async (query, left) => {
    fakePage(APP + query, () => json(200, alice));
    const auth = make();
    expect([await auth.finish(), await auth.finish(), location.href]).toEqual(["signed_in", "signed_in", APP + left]);
    expect((await auth.user())?.name).toBe("alice");
  });

  test.each(["?code=1&state=2", "?error=mine", "#access_token=3", "#mintgate_result=x"])("finish leaves %s alone", async rest => {
    fakePage(APP + rest, visitor);
    expect([await make().finish(), location.href]).toEqual([undefined, APP + rest]);
  });

  test.each(["signed_out", "unavailable"])("the mark %s of a refresh is taken away, and is no outcome", async mark => {
    fakePage(`${APP}?mintgate_result=${mark}`, () => json(200, alice));
    const auth = make();
    expect([await auth.finish(), location.href, (await auth.user())?.name]).toEqual([undefined, APP, "alice"]);
  });

  test.each([["the same session: the sign-out is sent", "s1", null], ["another session: it counts", "s0", "alice"]])(
    "a mark, while a sign-out is not told yet, and %s", async (_, sid, name) => {
      const stored = { [KEY]: { id: "1", ended: "SIGNED_OUT", at: Date.now(), sid, logout: {} } };
      const page = fakePage(APP + "?mintgate_result=signed_in", () => json(200, alice), { stored });
      expect((await make().user())?.name ?? null).toBe(name);
      expect(page.requests.includes(`POST ${AUTH}/refresh/logout`)).toBe(name === null);
    },
  );

  test("a sign-out that is sent later does not leave the page for the provider", async () => {
    const stored = { [KEY]: { id: "1", ended: "SIGNED_OUT", at: Date.now(), logout: { provider: true } } };
    const answer = async (request: Request) => json(200, { message: "m", ...((await request.text()) && { logoutUrl: "https://idp.example.com/out" }) });
    const page = fakePage(APP, answer, { stored });
    await make().ready();
    expect([page.went, page.requests]).toEqual([undefined, [`POST ${AUTH}/refresh/logout`]]);
  });

  test("a sign-out at the provider goes there", async () => {
    const page = fakePage(APP, request => json(200, request.method === "GET" ? alice : { message: "m", logoutUrl: "https://idp.example.com/out" }));
    await make().signOut({ provider: true });
    expect(page.went).toBe("https://idp.example.com/out");
  });

  test("a sign-in whose cookies do not come is explained", async () => {
    const error = vi.spyOn(console, "error").mockReturnValue();
    fakePage(APP + "?mintgate_result=signed_in", visitor);
    const auth = make();
    expect(await auth.ready()).toEqual({ status: "signed_out", reason: "COOKIES_NOT_SENT" });
    expect(error).toHaveBeenCalledTimes(1);
  });

  test("a page that starts it by itself is stopped at the third time", async () => {
    fakePage(APP, visitor, { active: false });
    const auth = make();
    await auth.signIn("corp");
    await auth.signIn("corp");
    await expect(auth.signIn("corp")).rejects.toMatchObject({ code: "SIGN_IN_LOOP", message: expect.stringContaining("cookies") });
  });

  test.each(["ACCESS_DENIED", "LOGIN_CANCELLED", "LOGIN_EXPIRED"])("after %s a page starts none by itself, but a click does", async code => {
    const page = fakePage(`${APP}?mintgate_result=${code}`, visitor, { active: false });
    const auth = make();
    expect((await auth.ready()).reason).toBe(code);
    await expect(auth.signIn("corp")).rejects.toMatchObject({ code: "SIGN_IN_LOOP", message: expect.stringContaining(code) });
    (navigator as any).userActivation.isActive = true;
    await auth.signIn("corp");
    expect(page.went).toContain("/start/corp");
  });

  test("after a sign-out a page starts none by itself", async () => {
    fakePage(APP, request => (request.method === "POST" ? json(200, { message: "m" }) : json(200, alice)), { active: false });
    const auth = make();
    await auth.ready();
    await auth.signOut();
    await expect(auth.signIn("corp")).rejects.toBeInstanceOf(MintgateError);
  });
});

describe("with fake timers", () => {
  beforeEach(() => void vi.useFakeTimers());

  test("the token is refreshed once before each end, and by one timer", async () => {
    const page = fakePage(APP, request => (request.method === "POST" ? tokens() : json(200, alice)));
    const auth = make();
    auth.onChange(() => {});
    await auth.ready();
    await vi.advanceTimersByTimeAsync(180_000);
    expect(page.requests.filter(one => one.startsWith("POST"))).toHaveLength(3);
    expect(vi.getTimerCount()).toBe(1);
  });

  test("attempts become rarer, and Retry-After counts", async () => {
    const times: number[] = [];
    fakePage(APP, () => (times.push(Date.now()), refused(503, "OVERLOADED", times.length === 1 ? { "Retry-After": "20" } : {})));
    await make().ready();
    await vi.advanceTimersByTimeAsync(120_000);
    const gaps = times.slice(1).map((at, i) => (at - times[i]!) / 1000);
    expect(gaps[0]).toBeGreaterThanOrEqual(20);
    expect(gaps[0]).toBeLessThan(21);
    expect(gaps.slice(1).every((gap, i) => i === 0 || gap > gaps.slice(1)[i - 1]! - 1)).toBe(true);
    expect(times.length).toBeLessThan(9);
  });

  test("a plan of a clock that was far ahead keeps nobody waiting", async () => {
    const ahead = Date.now() + 7_200_000;
    const stored = { [KEY]: { id: "1", at: Date.now() - 61_000, ttl: 60, user: alice, failed: 3, code: "UNREACHABLE", hold: ahead, next: ahead } };
    fakePage(APP, request => (request.method === "POST" ? tokens() : json(200, alice)), { stored });
    expect((await make().fetch("/x")).status).toBe(200);
  });

  test("a sign-out that gets no answer is sent again", async () => {
    let up = false;
    const page = fakePage(APP, request => {
      if (request.url.endsWith("/me")) return json(200, alice);
      if (!up) throw new TypeError("Failed to fetch");
      return json(200, { message: "m" });
    });
    const auth = make();
    await auth.ready();
    await auth.signOut();
    expect(auth.session).toEqual({ status: "signed_out", reason: "SIGNED_OUT" });
    up = true;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(page.requests.slice(1)).toEqual([`POST ${AUTH}/refresh/logout`, `POST ${AUTH}/refresh/logout`]);
  });
});
