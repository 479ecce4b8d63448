import { existsSync } from "node:fs";
import type { Browser, Page } from "puppeteer-core";
import { bundle, startApp } from "./app.js";
import { chromium, startBrowser } from "./browser.js";
import { startProvider } from "./provider.js";
import { binary, startService } from "./service.js";

/** Whether this machine has what the tests in a browser need. */
export const canBrowse = !!binary && existsSync(binary) && existsSync(chromium);

export interface RigOptions {
  accessTtl?: number;
  /** Options of the client, beside `url`. */
  client?: Record<string, unknown>;
  /** More code of the page; it finds the client as `auth`. */
  code?: string;
  /** The origins of further pages. */
  pages?: string[];
  /** Page and service on two sites, with https, in a browser that blocks cookies of other sites. */
  otherSite?: boolean;
}

declare global {
  // What the pages of the rig have.
  var auth: import("../../client/src/index.js").Mintgate;
  var events: { status: string; name: string | undefined; reason: string | undefined; before: string | undefined }[];
}

export async function startRig({ accessTtl = 60, client = {}, code = "", pages = [], otherSite = false }: RigOptions = {}) {
  const provider = await startProvider();
  const app = await startApp(otherSite);
  const service = await startService({
    pages: [app.origin, ...pages], issuer: provider.issuer, accessTtl, redirectUris: [app.origin + "/callback"], otherSite,
  });
  const script = (more: Record<string, unknown> = {}) => bundle(`
    import { createMintgate } from "@mintgate/client";
    const auth = globalThis.auth = createMintgate(${JSON.stringify({ url: service.url, crossSite: true, ...client, ...more })});
    globalThis.events = [];
    ${code || 'auth.onChange((now, before) => events.push({ status: now.status, name: now.user?.name, reason: now.reason, before: before.user?.name }));'}
  `);
  app.serve(await script());
  const browser: Browser = await startBrowser({ strict: otherSite });
  const console_: string[] = [];
  const noted = new WeakSet<Page>();
  function note(page: Page) {
    if (noted.has(page)) return page;
    noted.add(page);
    page.on("console", message => message.text().includes("React DevTools") || console_.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", error => console_.push(`uncaught: ${error}`));
    return page;
  }
  return {
    provider, app, service, browser, script,
    /** Notes what the page writes to its console. */
    watch: note,
    /** What the pages have written to their consoles. */
    console: console_,
    /** Opens a page of the app in a new tab. */
    async open(path = "/", context: { newPage(): Promise<Page> } = browser) {
      const page = note(await context.newPage());
      page.setDefaultTimeout(10_000);
      await page.goto(app.origin + path);
      await page.waitForFunction(() => !!globalThis.auth);
      return page;
    },
    async signIn(page: Page, person = "alice", options: object = {}) {
      await page.setCookie({ name: "person", value: person, domain: "localhost" });
      await page.evaluate(async more => void (await auth.signIn("corp", more)), options);
      await page.waitForFunction(
        async name => (await globalThis.auth?.user())?.name === name && !location.pathname.startsWith("/callback"), { polling: 50 }, person,
      );
    },
    /** Forgets everybody, closes the tabs and takes back every fault. */
    async reset() {
      service.fault();
      service.strip(false);
      provider.answerWith("code");
      app.slow(0);
      const [first, ...others] = await browser.pages();
      for (const page of others) await page.close();
      const session = await first!.createCDPSession();
      await session.send("Network.clearBrowserCookies");
      await session.send("Storage.clearDataForOrigin", { origin: app.origin, storageTypes: "all" });
      await first!.goto("about:blank");
      console_.length = service.seen.length = app.seen.length = provider.seen.length = 0;
    },
    async stop() {
      await browser.close();
      app.stop();
      provider.stop();
      await service.stop();
    },
  };
}
export type Rig = Awaited<ReturnType<typeof startRig>>;

export const sleep = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms));

/** Waits until the condition holds. */
export async function until(condition: () => boolean | Promise<boolean>, limit = 5000): Promise<void> {
  const end = Date.now() + limit;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`still not so after ${limit} ms: ${condition}`);
    await sleep(20);
  }
}

/** Freezes a tab as browsers do with those of the background, and reports when it is so; `resume` makes it go on. */
export async function freeze(page: Page): Promise<{ resume(): Promise<void> }> {
  await page.evaluate(() => document.addEventListener("freeze", () => (document.title = "frozen")));
  const session = await page.createCDPSession();
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  await until(async () => (await page.title().catch(() => "")) === "frozen" || true, 1000);
  return { resume: () => session.send("Page.setWebLifecycleState", { state: "active" }) };
}

/** Calls the app's API through the client. */
export const call = (page: Page, path = "/api/x") =>
  page.evaluate(
    path => auth.fetch(path).then(async answer => ({ status: answer.status, ...(await answer.json()) }), error => ({ status: 0, error: error.code ?? String(error) })),
    path,
  );
