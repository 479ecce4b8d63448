// Several tabs of one browser: turns, closed and frozen tabs, clocks, sleep.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { call, canBrowse, freeze, type Rig, sleep, startRig, until } from "../rig/index.js";

describe.skipIf(!canBrowse)("tabs", () => {
  let rig: Rig;
  beforeAll(async () => void (rig = await startRig({ accessTtl: 5 })));
  afterAll(() => rig?.stop());
  beforeEach(() => rig.reset());

  const refreshes = () => rig.service.seen.filter(one => one.path.endsWith("/refresh") && one.method === "POST").length;
  async function threeTabs() {
    const first = await rig.open();
    await rig.signIn(first);
    const tabs = [first, await rig.open(), await rig.open()];
    for (const tab of tabs) await tab.waitForFunction(() => auth.session.status === "signed_in");
    return tabs as [typeof first, typeof first, typeof first];
  }

  test("three tabs refresh once for each token, and no 401 reaches them", async () => {
    const tabs = await threeTabs();
    const begun = Date.now();
    const statuses = new Set<number>();
    while (Date.now() - begun < 16_000) {
      for (const answer of await Promise.all(tabs.map(tab => call(tab)))) statuses.add(answer.status);
      await sleep(400);
    }
    expect([...statuses]).toEqual([200]);
    expect(refreshes()).toBeGreaterThanOrEqual(3);
    expect(refreshes()).toBeLessThanOrEqual(5);
    expect(rig.console).toEqual([]);
  });

  test("a tab that is frozen in its turn holds the others up for less than three seconds", async () => {
    const [a, b, c] = await threeTabs();
    rig.service.fault(request => (request.url!.endsWith("/refresh") ? { delay: 2000 } : undefined));
    await a.bringToFront();
    await a.evaluate(() => void auth.user({ fresh: true }));
    await until(() => refreshes() === 1);
    const frozen = await freeze(a);
    rig.service.fault();
    await b.bringToFront();
    const begun = Date.now();
    const [user, answer] = await Promise.all([
      b.evaluate(() => auth.user({ fresh: true })), call(b), c.evaluate(() => auth.user({ fresh: true })),
    ]);
    expect(Date.now() - begun).toBeLessThan(3000);
    expect([user?.name, answer.status]).toEqual(["alice", 200]);
    expect(refreshes()).toBeLessThanOrEqual(2);
    // While the tab stays frozen, each later token costs one request and no wait.
    const before = refreshes();
    await sleep(6000);
    const again = Date.now();
    expect((await call(b)).status).toBe(200);
    expect(Date.now() - again).toBeLessThan(1000);
    expect(refreshes() - before).toBeLessThanOrEqual(2);
    await frozen.resume();
    await a.bringToFront();
    expect((await call(a)).status).toBe(200);
    expect(rig.console).toEqual([]);
  });

  test("a tab that is closed in its turn holds nobody up", async () => {
    const [a, b] = await threeTabs();
    rig.service.fault(request => (request.url!.endsWith("/refresh") ? { delay: 1500 } : undefined));
    await a.evaluate(() => void auth.user({ fresh: true }));
    await until(() => refreshes() === 1);
    rig.service.fault();
    await a.close();
    const begun = Date.now();
    expect((await b.evaluate(() => auth.user({ fresh: true })))?.name).toBe("alice");
    expect(Date.now() - begun).toBeLessThan(1000);
  });

  test("the answer to a refresh is kept though its tab was closed before", async () => {
    const page = await rig.open();
    await rig.signIn(page);
    const other = await rig.browser.newPage();
    rig.service.fault(request => (request.url!.endsWith("/refresh") ? { delay: 1000 } : undefined));
    const cookie = async () => (await rig.browser.cookies()).find(one => one.name === "Auth-Refresh-Token")?.value;
    const before = await cookie();
    await page.evaluate(() => void auth.user({ fresh: true }));
    await until(() => refreshes() === 1);
    await page.close();
    await until(async () => (await cookie()) !== before);
    await other.close();
  });

  test("listeners may ask and fetch, throw, or leave, while a refresh reports its result", async () => {
    const page = await rig.open();
    await rig.signIn(page);
    const result = await page.evaluate(async () => {
      const seen: unknown[] = [];
      const done = new Promise<void>(resolve => {
        auth.onChange(async () => {
          const user = await auth.user();
          const answer = await auth.fetch("/api/x");
          seen.push([user, answer.status > 0, auth.session.status]);
          resolve();
        });
      });
      auth.onChange(() => { throw new Error("mine"); });
      const leave = auth.onChange(() => { seen.push("once"); leave(); });
      let events = 0;
      auth.onChange(() => void events++);
      await auth.signOut();
      await done;
      dispatchEvent(new Event("focus"));
      await new Promise(resolve => setTimeout(resolve, 200));
      return { seen, events };
    });
    expect(result).toEqual({ seen: ["once", [null, true, "signed_out"]], events: 1 });
    expect(rig.console.filter(line => line.startsWith("uncaught"))).toEqual(["uncaught: Error: mine"]);
  });

  test.each([2, -2])("a clock that is %i hours off changes nothing", async hours => {
    const page = await rig.open();
    await rig.signIn(page);
    await page.evaluateOnNewDocument(ms => {
      const now = Date.now;
      Date.now = () => now() + ms;
    }, hours * 3_600_000);
    await page.reload();
    await page.waitForFunction(() => auth.session.status === "signed_in");
    const before = refreshes();
    const statuses = new Set<number>();
    for (const begun = Date.now(); Date.now() - begun < 15_000; await sleep(300)) statuses.add((await call(page)).status);
    expect([...statuses]).toEqual([200]);
    expect(refreshes() - before).toBeGreaterThanOrEqual(3);
    expect(refreshes() - before).toBeLessThanOrEqual(5);
    expect(rig.console).toEqual([]);
  });

  test("after a sleep no request is sent with a token that is over", async () => {
    const page = await rig.open();
    await rig.signIn(page);
    const frozen = await freeze(page);
    await sleep(7000);
    rig.app.seen.length = 0;
    await frozen.resume();
    expect((await call(page)).status).toBe(200);
    expect(rig.app.seen.map(one => one.status)).toEqual([200]);
  });

  test("on a network that is slower than the wait for a turn, no 401 comes and no tab asks twice", async () => {
    const tabs = await threeTabs();
    rig.service.fault(request => (request.url!.endsWith("/refresh") ? { delay: 3000 } : undefined));
    await sleep(4200);
    const answers = await Promise.all(tabs.map(tab => call(tab)));
    expect(answers.map(answer => answer.status)).toEqual([200, 200, 200]);
    // Those of the first token; the next one is due soon after such a slow answer.
    const times = rig.service.seen.filter(one => one.path.endsWith("/refresh") && one.method === "POST").map(one => one.at);
    expect(times.filter(at => at - times[0]! < 2900).length).toBeLessThanOrEqual(3);
  });

  test("ready makes the token good for requests that no wrapper sees", async () => {
    const page = await rig.open();
    await rig.signIn(page);
    const frozen = await freeze(page);
    await sleep(7000);
    await frozen.resume();
    const status = await page.evaluate(async () => (await auth.ready(), (await fetch("/api/x")).status));
    expect(status).toBe(200);
  });
});
