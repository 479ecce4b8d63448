// What happens to a session: outages, other people, sign-outs, visitors, addresses.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { call, canBrowse, type Rig, sleep, startRig, until } from "../rig/index.js";

describe.skipIf(!canBrowse)("a session", () => {
  let rig: Rig;
  beforeAll(async () => void (rig = await startRig({ accessTtl: 5 })));
  afterAll(() => rig?.stop());
  beforeEach(() => rig.reset());

  const count = (path: string) => rig.service.seen.filter(one => one.path.endsWith(path) && one.method !== "OPTIONS").length;
  const sessionCookies = async () => (await rig.browser.cookies()).map(one => one.name).filter(name => /^Auth-(?!Login)/.test(name));
  type Tab = Awaited<ReturnType<Rig["open"]>>;
  const status = (page: Tab) => page.evaluate(() => auth.session.status);
  const seen = (page: Tab) => page.evaluate(() => events);
  async function signedIn(tabs = 1, person = "alice") {
    const first = await rig.open();
    await rig.signIn(first, person);
    const all = [first];
    while (all.length < tabs) {
      const tab = await rig.open();
      await tab.waitForFunction(() => auth.session.status === "signed_in");
      all.push(tab);
    }
    return all as [Tab, Tab, Tab];
  }

  describe("outages", () => {
    test.each([
      ["503 with Retry-After", 503, { "Retry-After": "2", "Content-Type": "application/json" }, '{"errorCode":"STORE_UNAVAILABLE","message":"m"}'],
      ["429", 429, { "Retry-After": "1", "Content-Type": "application/json" }, '{"errorCode":"RATE_LIMITED","message":"m"}'],
      ["502 with a proxy's page", 502, { "Content-Type": "text/html" }, "<h1>Bad Gateway</h1>"],
      ["a portal's page", 200, { "Content-Type": "text/html" }, "<h1>Pay for wifi</h1>"],
      ["a proxy's 401", 401, { "Content-Type": "text/html" }, "<h1>Proxy</h1>"],
    ] as const)("%s signs nobody out, and is over by itself", async (_, code, headers, body) => {
      const [a, b] = await signedIn(3);
      let refused = 0;
      rig.service.fault((request, response) => {
        if (request.method === "OPTIONS") return;
        refused++;
        const cors = { "Access-Control-Allow-Origin": rig.app.origin, "Access-Control-Allow-Credentials": "true", "Access-Control-Expose-Headers": "Retry-After" };
        response.writeHead(code, { ...headers, ...cors }).end(body);
      });
      await a.waitForFunction(() => auth.session.status === "unknown", { polling: 50 });
      expect(await a.evaluate(() => auth.session.user?.name)).toBe("alice");
      const [answer] = await Promise.all([call(a), call(b)]);
      expect(answer.status).not.toBe(401);
      await sleep(2500);
      // Three tabs, one plan.
      expect(refused).toBeLessThanOrEqual(6);
      rig.service.fault();
      await a.waitForFunction(() => auth.session.status === "signed_in", { polling: 50 });
      expect((await call(a)).status).toBe(200);
      for (const tab of [a, b]) expect((await seen(tab)).map(one => one.status)).not.toContain("signed_out");
      expect(count("/logout")).toBe(0);
    });

    test("a page that is loaded while the service is stopped cannot tell, and finds out later", async () => {
      const tabs = await signedIn(3);
      const [page] = tabs;
      await rig.service.kill();
      for (const tab of tabs) await tab.reload();
      await page.waitForFunction(() => auth.session.reason === "UNREACHABLE", { polling: 50 });
      expect(await page.evaluate(async () => [auth.session.status, (await auth.user())?.name])).toEqual(["unknown", "alice"]);
      await rig.service.start();
      for (const tab of tabs) await tab.waitForFunction(() => auth.session.status === "signed_in", { polling: 50, timeout: 5000 });
      expect((await call(page)).status).toBe(200);
    });

    test("the network comes back, and one attempt is made at once", async () => {
      const [page] = await signedIn();
      await page.setOfflineMode(true);
      await sleep(6000);
      expect(await status(page)).toBe("unknown");
      const before = count("/refresh");
      await page.setOfflineMode(false);
      await page.waitForFunction(() => auth.session.status === "signed_in", { polling: 20, timeout: 1000 });
      expect(count("/refresh") - before).toBe(1);
    });

    test("a lost answer costs one request more, and nobody notices", async () => {
      const [page] = await signedIn();
      let lost = 0;
      rig.service.fault(request => (request.url!.endsWith("/refresh") && request.method === "POST" && lost++ < 1 ? "lose" : undefined));
      await sleep(5200);
      expect((await call(page)).status).toBe(200);
      expect(count("/refresh")).toBe(2);
      expect(await page.evaluate(() => auth.session.status)).toBe("signed_in");
    });

    test("killed and started again, with a tenth of the answers lost: no 401, nobody signed out", async () => {
      const tabs = await signedIn(3);
      let nth = 0;
      let lost = 0;
      rig.service.fault(request => (request.url!.endsWith("/refresh") && ++nth % 10 === 3 ? (lost++, "lose") : undefined));
      const statuses: Record<number, number> = {};
      for (let round = 0; round < 3; round++) {
        for (const begun = Date.now(); Date.now() - begun < 5500; await sleep(250)) {
          for (const { status } of await Promise.all(tabs.map(tab => call(tab)))) statuses[status] = (statuses[status] ?? 0) + 1;
        }
        await rig.service.kill();
        await sleep(500);
        await rig.service.start();
      }
      await tabs[0].waitForFunction(() => auth.session.status === "signed_in", { polling: 50 });
      expect(Object.keys(statuses).filter(status => status !== "0")).toEqual(["200"]);
      for (const tab of tabs) expect((await seen(tab)).map(one => one.status)).not.toContain("signed_out");
      expect(count("/refresh")).toBeLessThanOrEqual(Math.ceil(20 / 4) + lost + 3);
    });
  });

  test("a route that always answers 401 costs one refresh for a burst, and none later", async () => {
    const [page] = await signedIn();
    await page.evaluate(() => auth.user({ fresh: true }));
    const before = count("/refresh");
    const burst = await page.evaluate(() => Promise.all(Array.from({ length: 10 }, () => auth.fetch("/api/never").then(answer => answer.status))));
    expect(burst).toEqual(Array(10).fill(401));
    expect(count("/refresh") - before).toBe(1);
    expect(rig.app.seen.length).toBeLessThanOrEqual(20);
    for (let i = 0; i < 5; i++) expect((await call(page, "/api/never")).status).toBe(401);
    expect(count("/refresh") - before).toBe(1);
    expect(await status(page)).toBe("signed_in");
  });

  test("bodies arrive again with the same bytes; a stream is not repeated", async () => {
    const [page] = await signedIn();
    // The API refuses the first of each pair: the cookie has gone, and the client does not know it.
    const send = async (make: string) => {
      await page.evaluate(() => auth.user({ fresh: true }));
      const cookies = (await rig.browser.cookies()).filter(cookie => cookie.name === "Auth-Access-Token");
      await page.deleteCookie(...cookies);
      rig.app.seen.length = 0;
      const answer = await page.evaluate(`(async () => { const answer = await (${make})(); return [answer.status, await answer.json()]; })()`) as [number, any];
      return { status: answer[0], answer: answer[1], seen: rig.app.seen.map(one => [one.method, one.status, one.body.replace(/-+WebKitFormBoundary\w+/g, "--")]) };
    };
    const twice = (method: string, body: string) => [[method, 401, body], [method, 200, body]];
    expect((await send(`() => auth.fetch("/api/x", { method: "POST", body: "text ä" })`)).seen).toEqual(twice("POST", Buffer.from("text ä").toString("latin1")));
    expect((await send(`() => auth.fetch("/api/x", { method: "PUT", body: new Blob(["blob"]) })`)).seen).toEqual(twice("PUT", "blob"));
    const form = await send(`() => { const form = new FormData(); form.set("a", "1"); form.set("f", new Blob(["file"])); return auth.fetch("/api/x", { method: "POST", body: form }); }`);
    expect(form.seen[0]![2]).toBe(form.seen[1]![2]);
    expect(form.answer.type).toContain("multipart/form-data");
    const asked = await send(`() => auth.fetch(new Request("/api/x", { method: "POST", body: "asked", headers: { "x-kept": "yes" } }))`);
    expect([asked.seen, asked.answer.kept]).toEqual([twice("POST", "asked"), "yes"]);
  });

  test("another origin gets no cookies and causes no refresh, unless it is named", async () => {
    const [page] = await signedIn();
    const elsewhere = `http://127.0.0.1:${rig.app.port}`;
    const before = count("/refresh");
    expect(await call(page, elsewhere + "/api/star")).toMatchObject({ status: 200, cookie: false });
    expect(await call(page, elsewhere + "/api/never")).toMatchObject({ status: 401, cookie: false });
    expect(count("/refresh")).toBe(before);
  });

  describe("visitors", () => {
    test("cost no request and leave no red line", async () => {
      const page = await rig.open();
      for (let i = 0; i < 10; i++) await page.reload();
      expect(await page.evaluate(async () => [await auth.user(), auth.session.status])).toEqual([null, "signed_out"]);
      expect(rig.service.seen).toEqual([]);
      expect(rig.console).toEqual([]);
    });

    test("with a hint that lies cost one refresh, and the hint is taken away", async () => {
      const page = await rig.open();
      await page.setCookie({ name: "Auth-Session", value: "1", domain: "localhost" });
      await page.reload();
      expect(await page.evaluate(() => auth.user())).toBeNull();
      expect(count("/refresh")).toBe(1);
      expect(await page.evaluate(() => document.cookie)).not.toContain("Auth-Session");
      await page.reload();
      expect(count("/refresh")).toBe(1);
    });

    test("without a hint are still recognised by the mark of the client", async () => {
      const [page] = await signedIn();
      await page.deleteCookie({ name: "Auth-Session" });
      await page.reload();
      expect((await page.evaluate(() => auth.user()))?.name).toBe("alice");
    });
  });

  describe("other people", () => {
    test("one event tells the other tabs of another person, and answers to the former one are withheld", async () => {
      const [a, b] = await signedIn(2);
      await a.evaluate(() => void (events.length = 0));
      await a.evaluate(() => void ((globalThis as any).late = (async () => (await auth.fetch("/api/x")).status)().catch(error => error.code)));
      rig.app.slow(3000);
      await a.evaluate(() => void ((globalThis as any).late = auth.fetch("/api/x").then(answer => answer.status, error => error.code)));
      await rig.signIn(b, "bob");
      await a.waitForFunction(() => auth.session.user?.name === "bob", { polling: 20, timeout: 1000 });
      expect(await a.evaluate(() => events.filter(one => one.status === "signed_in"))).toEqual([{ status: "signed_in", name: "bob", before: "alice" }]);
      expect(await a.evaluate(() => (globalThis as any).late)).toBe("PERSON_CHANGED");
    });

    test("signed out and in as another person in a second tab", async () => {
      const [a, b] = await signedIn(2);
      await b.evaluate(() => auth.signOut());
      await rig.signIn(b, "bob");
      await a.waitForFunction(() => auth.session.user?.name === "bob", { polling: 20, timeout: 1000 });
      expect((await seen(a)).map(one => one.name ?? one.status).slice(-2)).toEqual(["signed_out", "bob"]);
    });

    test("fresh fetches new roles for all tabs", async () => {
      const [a, b] = await signedIn(2);
      const sub = await a.evaluate(() => auth.session.user!.sub);
      rig.service.run("users", "grant", sub, "editor");
      expect((await a.evaluate(() => auth.user({ fresh: true })))?.roles).toEqual(["editor", "user"]);
      await b.waitForFunction(() => auth.session.user?.roles.includes("editor"), { polling: 20, timeout: 1000 });
    });
  });

  describe("signing out", () => {
    test("reaches three tabs within a second, with one request for two clicks", async () => {
      const tabs = await signedIn(3);
      await tabs[0].evaluate(() => Promise.all([auth.signOut(), auth.signOut()]));
      for (const tab of tabs) await tab.waitForFunction(() => auth.session.status === "signed_out", { polling: 20, timeout: 1000 });
      expect(count("/refresh/logout")).toBe(1);
      expect(await sessionCookies()).toEqual([]);
    });

    test("offline: at once on the screen, later at the service, with no refresh between", async () => {
      const [page] = await signedIn();
      await page.setOfflineMode(true);
      await page.evaluate(() => void auth.signOut());
      expect(await status(page)).toBe("signed_out");
      await sleep(6000);
      const before = count("/refresh");
      await page.setOfflineMode(false);
      await until(() => count("/refresh/logout") === 1);
      await until(async () => (await sessionCookies()).length === 0);
      expect([await status(page), count("/refresh") - before]).toEqual(["signed_out", 0]);
    });

    test("works while leaving the page at the same moment, and after the access cookie is over", async () => {
      const [page] = await signedIn();
      await page.evaluate(() => auth.user({ fresh: true }));
      const cookies = (await rig.browser.cookies()).filter(cookie => cookie.name === "Auth-Access-Token");
      await page.deleteCookie(...cookies);
      await page.evaluate(() => { void auth.signOut(); location.href = "about:blank"; });
      await until(() => rig.service.count("/refresh/logout", 200) === 1);
    });

    test("wins over a refresh under way", async () => {
      const [page] = await signedIn();
      rig.service.fault(request => (request.url!.endsWith("/refresh") ? { delay: 500 } : undefined));
      await page.evaluate(() => { void auth.user({ fresh: true }); });
      await until(() => count("/refresh") === 1);
      await page.evaluate(() => auth.signOut());
      await sleep(800);
      expect(await sessionCookies()).toEqual([]);
      expect(await status(page)).toBe("signed_out");
    });

    test("everywhere ends the sessions of other browsers too", async () => {
      const [page] = await signedIn();
      const context = await rig.browser.createBrowserContext();
      const other = await rig.open("/", context);
      await rig.signIn(other);
      await page.evaluate(() => auth.signOut({ everywhere: true }));
      await sleep(1100);
      await other.evaluate(() => void dispatchEvent(new Event("focus")));
      await other.waitForFunction(() => auth.session.status === "signed_out", { polling: 20 });
      expect(await other.evaluate(() => auth.session.reason)).toBe("SESSION_REVOKED");
      await context.close();
    });

    test.each([true, false])("Back shows nothing of the person (page kept by the browser: %s)", async kept => {
      const [page] = await signedIn();
      // A page with such a listener is not kept.
      await page.evaluate(kept => {
        if (!kept) addEventListener("unload", () => {});
        addEventListener("pageshow", event => void ((globalThis as any).kept = event.persisted));
      }, kept);
      await page.evaluate(() => void (location.href = "/other"));
      await page.waitForFunction(() => location.pathname === "/other" && !!globalThis.auth);
      await page.evaluate(() => auth.signOut());
      await page.goBack();
      await page.waitForFunction(() => globalThis.auth?.session.status === "signed_out", { polling: 20 });
      expect(await page.evaluate(() => (globalThis as any).kept ?? false)).toBe(kept);
    });
  });

  describe("coming back", () => {
    test.each(["/#/orders?tab=2", "/?q=a%26b&r=x+y", "/stra%C3%9Fe", "/?error=mine&code=7&state=z", "/a?x#y"])("%s stays byte for byte", async path => {
      const page = await rig.open(path);
      await rig.signIn(page);
      expect(page.url()).toBe(rig.app.origin + path);
    });

    test("a cancel is told by its own code, and the address is clean", async () => {
      const page = await rig.open("/?q=1");
      rig.provider.answerWith("access_denied");
      await page.evaluate(() => auth.signIn("corp"));
      await page.waitForFunction(() => globalThis.auth?.session.reason === "LOGIN_CANCELLED", { polling: 20 });
      expect(await page.evaluate(() => auth.finish())).toBe("LOGIN_CANCELLED");
      expect(page.url()).toBe(rig.app.origin + "/?q=1");
    });

    test("the answers of other login flows are left alone", async () => {
      const page = await rig.open("/?code=abc&state=xyz");
      expect(await page.evaluate(() => auth.finish())).toBeUndefined();
      expect([page.url(), rig.service.seen]).toEqual([rig.app.origin + "/?code=abc&state=xyz", []]);
    });

    test("two tabs finish their logins in reverse order, each at its own address", async () => {
      const [a, b] = [await rig.open("/a?1"), await rig.open("/b?2")];
      await a.bringToFront();
      await Promise.all([rig.signIn(b), rig.signIn(a)]);
      expect([a.url(), b.url()]).toEqual([rig.app.origin + "/a?1", rig.app.origin + "/b?2"]);
    });

    test("Back after a sign-in goes on to where the person was", async () => {
      const [page] = await signedIn();
      const callback = rig.service.seen.length;
      await page.goto(rig.app.origin + "/callback?code=used&state=mg.unknown");
      expect(await page.evaluate(async () => [(await auth.finish()) ?? "none", (await auth.user())?.name])).toEqual(["none", "alice"]);
      expect(rig.service.seen.slice(callback).filter(one => one.path.endsWith("/token"))).toEqual([]);
    });
  });
});
