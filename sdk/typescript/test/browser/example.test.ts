// examples/vite-react, with its service worker active.
import { createServer as createHttp } from "node:http";
import { createServer, type ViteDevServer } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { source } from "../rig/app.js";
import { canBrowse, type Rig, startRig } from "../rig/index.js";
import { listen } from "../rig/listen.js";

describe.skipIf(!canBrowse)("examples/vite-react", () => {
  let rig: Rig;
  let vite: ViteDevServer;
  let origin: string;

  beforeAll(async () => {
    const free = createHttp();
    const port = await listen(free);
    await new Promise(resolve => free.close(resolve));
    origin = `http://localhost:${port}`;
    rig = await startRig({ pages: [origin] });
    process.env["MINTGATE_URL"] = rig.service.url;
    const modules = source("node_modules");
    const root = source("../../examples/vite-react");
    vite = await createServer({
      root, configFile: `${root}/vite.config.js`, logLevel: "error", cacheDir: `${modules}/.vite-example`,
      server: { host: "localhost", port, fs: { strict: false } },
      resolve: {
        alias: [
          { find: /^@mintgate\/(client|react)$/, replacement: source("$1/dist/index.js") },
          { find: /^(react(-dom)?)($|\/)/, replacement: `${modules}/$1$3` },
        ],
      },
    });
    await vite.listen();
  });
  afterAll(async () => {
    await rig?.stop();
    await vite?.close();
  });

  test("signs in and out past its service worker, and shows the app without a network", async () => {
    const page = rig.watch(await rig.browser.newPage());
    await page.goto(origin + "/orders?tab=2");
    await page.evaluate(() => navigator.serviceWorker.ready.then(() => {}));
    await page.reload();
    expect(await page.evaluate(() => !!navigator.serviceWorker.controller)).toBe(true);
    const button = (text: string) => page.waitForSelector(`::-p-text(${text})`, { timeout: 10_000 });
    await (await button("Sign in with"))!.click();
    await page.waitForSelector("h1");
    expect(await page.$eval("h1", found => found.textContent)).toBe("Hello alice");
    expect(page.url()).toBe(origin + "/orders?tab=2");
    await button("this device");
    await (await button("Sign out"))!.click();
    await button("Sign in with");
    expect(rig.console.filter(line => !line.startsWith("debug"))).toEqual([]);
  });
});
