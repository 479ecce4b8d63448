// The login as two links of the service: what the client makes of it, and the programs of docs/frontend.md as they stand there.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { bundle, source } from "../rig/app.js";
import { canBrowse, type Rig, sleep, startRig, until } from "../rig/index.js";

describe.skipIf(!canBrowse)("by two links", () => {
  let rig: Rig;
  let script: string;
  beforeAll(async () => {
    rig = await startRig({ client: { crossSite: false } });
    script = await rig.script();
  });
  afterAll(() => rig?.stop());
  beforeEach(async () => {
    await rig.reset();
    rig.app.serve(script);
    rig.app.page("<!doctype html><meta charset=utf-8><title>app</title><div id=root></div><script type=module src=/app.js></script>");
  });

  test.each(["/#/orders?tab=2", "/?q=a%26b&r=x+y", "/stra%C3%9Fe", "/?error=mine&code=7&state=z", "/a?x#y"])("%s stays byte for byte", async path => {
    const page = await rig.open(path);
    await rig.signIn(page);
    expect(page.url()).toBe(rig.app.origin + path);
    expect(rig.console).toEqual([]);
  });

  test("a cancel is told by its own code, and the address is clean", async () => {
    const page = await rig.open("/?q=1#x");
    rig.provider.answerWith("access_denied");
    await page.evaluate(() => auth.signIn("corp"));
    await page.waitForFunction(async () => (await globalThis.auth?.finish()) === "LOGIN_CANCELLED", { polling: 50 });
    expect([page.url(), await page.evaluate(() => auth.session.reason)]).toEqual([rig.app.origin + "/?q=1#x", "LOGIN_CANCELLED"]);
  });

  test("two tabs finish their logins, each at its own address", async () => {
    const [a, b] = [await rig.open("/a?1"), await rig.open("/b?2")];
    await Promise.all([rig.signIn(b), rig.signIn(a)]);
    expect([a.url(), b.url()]).toEqual([rig.app.origin + "/a?1", rig.app.origin + "/b?2"]);
  });

  test("Back to the callback goes on to where the person was", async () => {
    const page = await rig.open("/orders");
    let callback = "";
    page.on("request", request => request.url().includes("/callback/") && (callback = request.url()));
    await rig.signIn(page);
    await page.goto(callback);
    await page.waitForFunction(async () => (await globalThis.auth?.user())?.name === "alice", { polling: 50 });
    expect(page.url()).toBe(rig.app.origin + "/orders");
  });

  test("Back from the provider's page, and the sign-in can begin again", async () => {
    const page = await rig.open("/orders");
    rig.provider.answerWith("page");
    expect(await page.evaluate(() => auth.signIn("corp").then(() => "ended"))).toBe("ended");
    await page.waitForFunction(() => document.title === "provider", { polling: 50 });
    await page.goBack();
    rig.provider.answerWith("code");
    await page.waitForFunction(() => !!globalThis.auth, { polling: 50 });
    await rig.signIn(page);
    expect(page.url()).toBe(rig.app.origin + "/orders");
  });

  test("a page that may return nowhere else is refused before the login begins", async () => {
    const page = await rig.open();
    for (const returnTo of ["https://evil.test/", rig.app.origin + "@evil.test/", rig.app.origin + ".evil.test/", "javascript:alert(1)"]) {
      const answer = await page.goto(`${rig.service.url}/api/v1/auth/start/corp?returnTo=${encodeURIComponent(returnTo)}`);
      expect([returnTo, answer!.status()]).toEqual([returnTo, 400]);
      await page.goto(rig.app.origin);
    }
    expect(rig.provider.seen).toHaveLength(0);
  });

  test("a browser that keeps no cookies is stopped after two rounds, and told why", async () => {
    rig.app.serve(await bundle(`
      import { createMintgate } from "@mintgate/client";
      const auth = globalThis.auth = createMintgate({ url: "${rig.service.url}" });
      auth.ready().then(({ status }) => status === "signed_out" && auth.signIn("corp"));
    `));
    rig.service.strip(true);
    // Not `rig.open`: what it evaluates in the page counts as something that a person does.
    await rig.watch(await rig.browser.newPage()).goto(rig.app.origin).catch(() => {});
    await until(() => rig.console.some(line => line.includes("No further sign-in")), 10_000);
    await sleep(500);
    expect(rig.provider.seen.length).toBe(2);
    expect(rig.console.find(line => line.includes("No further sign-in"))).toMatch(/cookies/);
  });

  test("after a sign-out an eager page starts nothing by itself", async () => {
    rig.app.serve(await bundle(`
      import { createMintgate } from "@mintgate/client";
      const auth = globalThis.auth = createMintgate({ url: "${rig.service.url}" });
      globalThis.stopped = "";
      const eager = ({ status }) => status === "signed_out" && auth.signIn("corp").catch(error => (globalThis.stopped = error.message));
      auth.onChange(eager);
      const button = document.body.appendChild(document.createElement("button"));
      button.onclick = () => auth.signOut();
    `));
    const page = await rig.browser.newPage();
    await page.goto(rig.app.origin);
    await page.waitForFunction(() => globalThis.auth?.session.status === "signed_in", { polling: 50 });
    await page.click("button");
    await page.waitForFunction(() => (globalThis as any).stopped.includes("SIGNED_OUT"), { polling: 50 });
    await page.reload();
    await page.waitForFunction(() => (globalThis as any).stopped.includes("SIGNED_OUT"), { polling: 50 });
    expect(rig.provider.seen).toHaveLength(1);
  });

  describe("the programs of docs/frontend.md", () => {
    const docs = readFileSync(source("../../docs/frontend.md"), "utf8");
    const program = (language: string, first: string) => {
      const found = [...docs.matchAll(new RegExp("```" + language + "\\n([\\s\\S]*?)\\n```", "g"))].map(block => block[1]!).find(block => block.startsWith(first));
      if (!found) throw new Error(`docs/frontend.md has no ${first}`);
      return found.replaceAll("http://localhost:8080", rig.service.url).replaceAll('signIn("mock")', 'signIn("corp")');
    };

    test("the first one: sign in, reload, three tabs, sign out, in less than 15 lines", async () => {
      const main = program("js", "// src/main.js");
      expect(main.split("\n").filter(line => line.trim() && !line.startsWith("//")).length).toBeLessThan(15);
      rig.app.page(program("html", "<!-- index.html of the app").replace("/src/main.js", "/app.js"));
      rig.app.serve(await bundle(main));
      const page = await rig.browser.newPage();
      await page.goto(rig.app.origin);
      const says = (tab: typeof page, text: string) => tab.waitForFunction(text => document.getElementById("who")!.textContent === text, { polling: 50, timeout: 5000 }, text);
      await says(page, "signed_out");
      await page.click("#in");
      await says(page, "Hello alice");
      await page.reload();
      await says(page, "Hello alice");
      const others = [await rig.browser.newPage(), await rig.browser.newPage()];
      for (const tab of others) {
        await tab.goto(rig.app.origin);
        await says(tab, "Hello alice");
      }
      await page.bringToFront();
      await page.click("#out");
      for (const tab of [page, ...others]) await says(tab, "signed_out");
      expect(rig.console).toEqual([]);
    });

    test("the one for React", async () => {
      rig.app.serve(await bundle(`${program("jsx", "// App.jsx")}
        import { createRoot } from "react-dom/client";
        createRoot(document.getElementById("root")).render(<App />);`));
      const page = await rig.browser.newPage();
      await page.goto(rig.app.origin);
      const says = (text: string) => page.waitForFunction(text => document.querySelector("button")?.textContent === text, { polling: 50, timeout: 5000 }, text);
      await says("Sign in");
      await page.click("button");
      await says("Sign out alice");
      await page.click("button");
      await says("Sign in");
    });
  });
});
