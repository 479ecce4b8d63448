// What docs/cookies.md says of Chromium: which of Mintgate's cookies a page gets back, in each arrangement.
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import type { Browser } from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startBrowser } from "../rig/browser.js";
import { certificate } from "../rig/certificate.js";
import { canBrowse } from "../rig/index.js";
import { listen } from "../rig/listen.js";

describe.skipIf(!canBrowse)("Chromium that blocks cookies of other sites", () => {
  let browser: Browser;
  let secure = 0;
  let plain = 0;

  // Sets the cookie that the query asks for, or redirects back after having set it, or says which cookies came.
  function answer(request: IncomingMessage, response: ServerResponse) {
    const url = new URL(request.url!, "http://x");
    const origin = request.headers.origin;
    if (origin) {
      response.setHeader("Access-Control-Allow-Origin", origin);
      response.setHeader("Access-Control-Allow-Credentials", "true");
    }
    const cookie = url.searchParams.get("set");
    if (cookie) response.setHeader("Set-Cookie", cookie);
    const back = url.searchParams.get("back");
    if (back) return response.writeHead(303, { Location: back }).end();
    if (url.pathname === "/cookies") return response.end(request.headers.cookie ?? "");
    response.setHeader("Content-Type", "text/html").end("<!doctype html><title>page</title>");
  }

  beforeAll(async () => {
    secure = await listen(createHttps(certificate(), answer) as never);
    plain = await listen(createHttp(answer));
    browser = await startBrowser({ strict: true });
  });
  afterAll(() => browser?.close());

  const at = (host: string) => (host.startsWith("http:") ? `${host}:${plain}` : `https://${host}:${secure}`);

  /** Sets a cookie of `service` for `page`, by its own fetch or by links, and says whether it comes with the next fetch. */
  async function comes(pageHost: string, serviceHost: string, attributes: string, by: "fetch" | "links"): Promise<boolean> {
    const [page, service] = [at(pageHost), at(serviceHost)];
    const tab = await browser.newPage();
    try {
      await tab.goto(page);
      const name = `t${Math.random().toString(36).slice(2)}`;
      const set = `${service}/x?set=${encodeURIComponent(`${name}=1; Path=/; HttpOnly; ${attributes}`)}`;
      if (by === "links") await tab.goto(`${set}&back=${encodeURIComponent(page + "/back")}`);
      else await tab.evaluate(set => fetch(set, { credentials: "include" }).then(() => {}), set);
      const sent = await tab.evaluate(address => fetch(address, { credentials: "include" }).then(answer => answer.text()), service + "/cookies");
      return sent.includes(name);
    } finally {
      await tab.close();
    }
  }

  const LAX = "Secure; SameSite=Lax";
  test.each([
    ["a sibling host", "app.example.test", "auth.example.test", LAX, { fetch: true, links: true }],
    ["the same host", "app.example.test", "app.example.test", LAX, { fetch: true, links: true }],
    ["another site, Lax", "app.other.test", "auth.example.test", LAX, { fetch: false, links: false }],
    ["another site, None", "app.other.test", "auth.example.test", "Secure; SameSite=None", { fetch: false, links: false }],
    ["another site, None and Partitioned", "app.other.test", "auth.example.test", "Secure; SameSite=None; Partitioned", { fetch: true, links: false }],
    ["localhost on two ports, not Secure", "http://localhost", "http://localhost", "SameSite=Lax", { fetch: true, links: true }],
    ["localhost on two ports, Secure", "http://localhost", "http://localhost", LAX, { fetch: true, links: true }],
    ["localhost and 127.0.0.1", "http://localhost", "http://127.0.0.1", "SameSite=Lax", { fetch: false, links: false }],
    ["an address of the local network without https", "http://lan.test", "http://lan.test", LAX, { fetch: false, links: false }],
    ["http page, https service, one domain", "http://app.example.test", "auth.example.test", LAX, { fetch: false, links: false }],
  ] as const)("%s", async (_, page, service, attributes, expected) => {
    expect({ fetch: await comes(page, service, attributes, "fetch"), links: await comes(page, service, attributes, "links") }).toEqual(expected);
  });

  test("a page of the local network without https has no Web Locks, and localStorage", async () => {
    const tab = await browser.newPage();
    await tab.goto(at("http://lan.test"));
    expect(await tab.evaluate(() => [isSecureContext, !!navigator.locks, !!localStorage])).toEqual([false, false, true]);
    await tab.close();
  });

  test("in a frame of another site, only Partitioned cookies come, and their own", async () => {
    const tab = await browser.newPage();
    await tab.goto(at("app.other.test"));
    await tab.evaluate(src => void document.body.append(Object.assign(document.createElement("iframe"), { src })), at("auth.example.test"));
    const frame = await tab.waitForFrame(frame => frame.url().includes("auth.example.test"));
    const sent = await frame.evaluate(async () => {
      for (const cookie of ["lax=1; Secure; SameSite=Lax", "none=1; Secure; SameSite=None", "part=1; Secure; SameSite=None; Partitioned"]) {
        await fetch("/x?set=" + encodeURIComponent(cookie + "; Path=/"));
      }
      return (await fetch("/cookies")).text();
    });
    expect(sent.split("; ").filter(one => /^(lax|none|part)=/.test(one))).toEqual(["part=1"]);
    await tab.close();
  });
});
