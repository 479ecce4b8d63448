// examples/express, a server that renders its pages.
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { source } from "../rig/app.js";
import { canBrowse, type Rig, startRig, until } from "../rig/index.js";
import { listen } from "../rig/listen.js";

describe.skipIf(!canBrowse)("examples/express", () => {
  let rig: Rig;
  let app: ChildProcess;
  let origin: string;

  beforeAll(async () => {
    const free = createServer();
    origin = `http://localhost:${await listen(free)}`;
    await new Promise(resolve => free.close(resolve));
    rig = await startRig({ pages: [origin] });
    await start();
  });
  beforeEach(() => rig.reset());
  afterAll(async () => {
    app?.kill();
    await rig?.stop();
  });

  /** (Re)starts the app, where it finds Express and the package of this directory. */
  async function start() {
    const home = source("node_modules/.express-example");
    mkdirSync(home, { recursive: true });
    cpSync(source("../../examples/express/app.js"), `${home}/app.mjs`);
    app?.kill();
    if (app) await until(() => app.exitCode !== null || app.signalCode !== null);
    const env = { ...process.env, MINTGATE_URL: rig.service.url, APP_ORIGIN: origin, MINTGATE_PROVIDER: "corp", MINTGATE_AUDIENCE: "api" };
    app = spawn("node", [`${home}/app.mjs`], { env, stdio: "inherit" });
    await until(() => fetch(origin).then(() => true, () => false), 20_000);
  }

  test("signs in, goes round for a token that is over, says that it cannot tell, and signs out", async () => {
    const page = rig.watch(await rig.browser.newPage());
    const text = () => page.$eval("body", found => found.textContent!.trim());
    const press = async (selector: string) => {
      await Promise.all([page.waitForNavigation(), page.click(selector)]);
    };
    const forget = async (name: RegExp) => {
      await page.deleteCookie(...(await rig.browser.cookies()).filter(cookie => name.test(cookie.name)));
    };
    const refused = await page.goto(origin + "/orders?tab=2");
    expect([refused!.status(), await text()]).toEqual([401, "You are signed out.Sign in"]);
    expect(refused!.headers()["cache-control"]).toBe("private, no-store");
    await press("a");
    expect(await page.$eval("h1", found => found.textContent)).toMatch(/^Orders of [\w-]+$/);
    expect(page.url()).toBe(origin + "/orders?tab=2&mintgate_result=signed_in");

    await forget(/^Auth-Access-Token$/);
    await page.goto(origin + "/orders");
    expect(await page.$eval("h1", found => found.textContent)).toMatch(/^Orders of [\w-]+$/);
    expect(rig.service.count("/refresh/return", 303)).toBe(1);

    // An app that has just started has no keys while Mintgate is down.
    await rig.service.kill();
    await start();
    const unsure = await page.goto(origin + "/orders");
    expect([unsure!.status(), unsure!.headers()["retry-after"]]).toEqual([503, "5"]);
    expect(await text()).toContain("cannot tell");
    await rig.service.start();
    await until(async () => (await page.goto(origin + "/orders"))!.status() === 200, 20_000);

    // Signing out when the token is over: round by Mintgate, and the button once more.
    await forget(/^Auth-Access-Token$/);
    await press("button");
    expect(page.url()).toBe(origin + "/sign-out?mintgate_result=signed_in");
    const [access] = (await rig.browser.cookies()).filter(cookie => cookie.name === "Auth-Access-Token");
    await press("button");
    expect([page.url(), await text()]).toEqual([origin + "/", "Sign in"]);
    expect((await rig.browser.cookies()).filter(cookie => /^Auth-(Access|Refresh|Session)/.test(cookie.name))).toEqual([]);
    const me = await fetch(rig.service.url + "/api/v1/auth/me", { headers: { authorization: `Bearer ${access!.value}` } });
    expect([me.status, ((await me.json()) as { errorCode: string }).errorCode]).toEqual([401, "SESSION_REVOKED"]);

    const other = await fetch(origin + "/sign-out", { method: "POST", headers: { origin: "http://evil.test" } });
    expect(other.status).toBe(403);
  });

  test("says that the person has cancelled, and nothing of the provider's words", async () => {
    const page = await rig.browser.newPage();
    rig.provider.answerWith("access_denied");
    await page.goto(origin + "/orders");
    await Promise.all([page.waitForNavigation(), page.click("a")]);
    expect(await page.$eval("p", found => found.textContent)).toBe("You have cancelled.");
    const link = await page.$eval("a", found => decodeURIComponent(found.href));
    expect(link.endsWith(`returnTo=${origin}/orders`), link).toBe(true);
  });
});
