// Pages of other origins: a second app beside the first, and a page on another site than the service.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startApp } from "../rig/app.js";
import { canBrowse, type Rig, sleep, startRig } from "../rig/index.js";

describe.skipIf(!canBrowse)("a second app on a sibling origin", () => {
  let rig: Rig;
  let second: Awaited<ReturnType<typeof startApp>>;
  beforeAll(async () => {
    second = await startApp();
    rig = await startRig({ pages: [second.origin] });
    second.serve(await rig.script());
  });
  afterAll(async () => {
    second?.stop();
    await rig?.stop();
  });

  test("notices a sign-out, and another person, when it is looked at again", async () => {
    const first = await rig.open();
    await rig.signIn(first);
    const page = rig.watch(await rig.browser.newPage());
    await page.goto(second.origin);
    await page.waitForFunction(() => globalThis.auth?.session.user?.name === "alice", { polling: 50 });
    const look = () => page.evaluate(() => void dispatchEvent(new Event("focus")));

    await rig.signIn(first, "bob");
    await sleep(1100);
    await look();
    await page.waitForFunction(() => auth.session.user?.name === "bob", { polling: 50 });
    expect(await page.evaluate(() => events.at(-1))).toEqual({ status: "signed_in", name: "bob", before: "alice" });

    await first.evaluate(() => auth.signOut());
    await sleep(1100);
    await look();
    await page.waitForFunction(() => auth.session.status === "signed_out", { polling: 50 });

    await rig.signIn(first);
    await look();
    await page.waitForFunction(() => auth.session.user?.name === "alice", { polling: 50 });
  });
});

describe.skipIf(!canBrowse)("a page on another site than the service", () => {
  let rig: Rig;
  beforeAll(async () => void (rig = await startRig({ otherSite: true, accessTtl: 5 })));
  afterAll(() => rig?.stop());
  beforeEach(() => rig.reset());

  test("signs in by itself, stays signed in, and signs out", async () => {
    const page = await rig.open("/orders?tab=2");
    await rig.signIn(page);
    expect(page.url()).toBe(rig.app.origin + "/orders?tab=2");
    await sleep(5500);
    await page.reload();
    expect((await page.evaluate(() => auth.user()))?.name).toBe("alice");
    expect(rig.service.count("/refresh", 200)).toBeGreaterThanOrEqual(1);
    await page.evaluate(() => auth.signOut());
    expect(rig.service.count("/refresh/logout", 200)).toBe(1);
    await page.reload();
    expect(await page.evaluate(() => auth.user())).toBeNull();
  });

  test("by two links it is told that the cookies do not come", async () => {
    rig.app.serve(await rig.script({ crossSite: false }));
    const page = await rig.open();
    await page.evaluate(() => auth.signIn("corp"));
    await page.waitForFunction(() => globalThis.auth?.session.reason === "COOKIES_NOT_SENT", { polling: 50 });
    expect(rig.console.some(line => line.includes("crossSite"))).toBe(true);
  });
});
