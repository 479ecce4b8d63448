// Ten tabs with tokens of five seconds, for TEN_TABS_SECS seconds each way (by default 20).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { call, canBrowse, freeze, type Rig, sleep, startRig, until } from "../rig/index.js";

const SECS = Number(process.env["TEN_TABS_SECS"] ?? 20);
const LIMIT = (SECS * 4 + 60) * 1000;

describe.skipIf(!canBrowse)("ten tabs", () => {
  let rig: Rig;
  type Tab = Awaited<ReturnType<Rig["open"]>>;
  beforeAll(async () => void (rig = await startRig({ accessTtl: 5 })));
  afterAll(() => rig?.stop());
  beforeEach(() => rig.reset());

  const refreshes = () => rig.service.seen.filter(one => one.path.endsWith("/refresh") && one.method === "POST");
  /** How many refresh requests belong together: less than two seconds between them. */
  const groups = () => {
    const sizes: number[] = [];
    let last = -Infinity;
    for (const { at } of refreshes()) {
      if (at - last < 2000) sizes[sizes.length - 1]!++;
      else sizes.push(1);
      last = at;
    }
    return sizes;
  };
  async function tenTabs(): Promise<Tab[]> {
    const tabs = [await rig.open()];
    await rig.signIn(tabs[0]!);
    while (tabs.length < 10) tabs.push(await rig.open());
    for (const tab of tabs) await tab.waitForFunction(() => auth.session.status === "signed_in", { polling: 50 });
    rig.service.seen.length = 0;
    return tabs;
  }
  /** Each tab calls the API every second; returns which answers came. */
  async function work(tabs: Tab[], secs: number, between = async () => {}) {
    const answers: Record<string, number> = {};
    for (const begun = Date.now(); Date.now() - begun < secs * 1000; ) {
      const second = sleep(1000);
      for (const { status } of await Promise.all(tabs.map(tab => call(tab)))) answers[status] = (answers[status] ?? 0) + 1;
      await between();
      await second;
    }
    return answers;
  }
  const signedOut = async (tabs: Tab[]) => (await Promise.all(tabs.map(tab => tab.evaluate(() => events.some(one => one.status === "signed_out"))))).some(Boolean);

  test("one refresh for each token, and no 401", async () => {
    const tabs = await tenTabs();
    expect(Object.keys(await work(tabs, SECS))).toEqual(["200"]);
    console.log(`${SECS} s, tokens of 5 s: ${refreshes().length} refreshes`);
    expect(groups().every(size => size === 1)).toBe(true);
    expect(refreshes().length).toBeLessThanOrEqual(SECS / 3.9 + 1);
    expect(rig.console).toEqual([]);
  }, LIMIT);

  test("one tab frozen in its turn: two refreshes for each token at most", async () => {
    const [frozen, ...tabs] = await tenTabs() as [Tab, ...Tab[]];
    rig.service.fault(request => (request.url!.endsWith("/refresh") ? { delay: 1500 } : undefined));
    await frozen.evaluate(() => void auth.user({ fresh: true }));
    await until(() => refreshes().length === 1);
    const thaw = await freeze(frozen);
    rig.service.fault();
    await tabs[0]!.bringToFront();
    expect(Object.keys(await work(tabs, SECS))).toEqual(["200"]);
    console.log(`${SECS} s with a frozen tab: ${refreshes().length} refreshes in groups of ${[...new Set(groups())]}`);
    expect(groups().every(size => size <= 2)).toBe(true);
    await thaw.resume();
  }, LIMIT);

  test("a tenth of the answers lost and the service killed five times: no 401, nobody signed out", async () => {
    const tabs = await tenTabs();
    let nth = 0;
    let lost = 0;
    rig.service.fault(request => (request.method !== "OPTIONS" && ++nth % 10 === 0 ? (request.url!.endsWith("/refresh") && lost++, "lose") : undefined));
    let kills = 0;
    let next = Date.now() + (SECS * 1000) / 6;
    const answers = await work(tabs, SECS, async () => {
      if (kills === 5 || Date.now() < next) return;
      kills++;
      next += (SECS * 1000) / 6;
      await rig.service.kill();
      await sleep(500);
      await rig.service.start();
    });
    rig.service.fault();
    await tabs[0]!.waitForFunction(() => auth.session.status === "signed_in", { polling: 50 });
    console.log(`${SECS} s, ${lost} refresh answers lost, ${kills} restarts: ${refreshes().length} refreshes, answers ${JSON.stringify(answers)}`);
    expect(answers["401"]).toBeUndefined();
    expect(await signedOut(tabs)).toBe(false);
    expect(refreshes().length).toBeLessThanOrEqual(SECS / 3.9 + 1 + lost + kills);
  }, LIMIT);
});
