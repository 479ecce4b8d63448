// The React package in a page: StrictMode, hydration, rounds of mounting, hot reload.
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { MintgateProvider, SignedIn, SignedOut, useSession } from "@mintgate/react";
import { createMintgate } from "@mintgate/client";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { bundle } from "../rig/app.js";
import { canBrowse, type Rig, sleep, startRig } from "../rig/index.js";

const app = `
  import { StrictMode, Suspense, lazy, createElement as h } from "react";
  import { createRoot, hydrateRoot } from "react-dom/client";
  import { createMintgate } from "@mintgate/client";
  import { MintgateProvider, SignedIn, SignedOut, useSession } from "@mintgate/react";
  const counts = globalThis.counts = {};
  for (const target of [globalThis, document]) {
    const { addEventListener } = target;
    target.addEventListener = function (type, ...rest) {
      counts[type] = (counts[type] ?? 0) + 1;
      return addEventListener.call(target, type, ...rest);
    };
  }
  const options = OPTIONS;
  const auth = globalThis.auth = createMintgate(options);
  function Status() { return h("p", null, useSession().status); }
  const Page = () => h(MintgateProvider, { client: auth, session: globalThis.handedIn }, h(Status), h(SignedIn, null, user => h("b", null, user.name)), h(SignedOut, null, h("i", null, "out")));
  globalThis.mount = () => {
    const root = createRoot(document.getElementById("root"));
    root.render(h(StrictMode, null, h(Page)));
    return root;
  };
  const Late = lazy(() => new Promise(resolve => setTimeout(() => resolve({ default: Status }), 500)));
  globalThis.hydrate = late => hydrateRoot(document.getElementById("root"),
    h(MintgateProvider, { client: auth }, h(Status), late && h(Suspense, { fallback: null }, h(Late))),
    { onRecoverableError: error => console.error("hydration: " + error) });
  globalThis.anotherClient = () => createMintgate({ ...options }) === auth;
`;

describe.skipIf(!canBrowse)("in React", () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
    rig.app.serve(await bundle(app.replace("OPTIONS", JSON.stringify({ url: rig.service.url, crossSite: true }))));
  });
  afterAll(() => rig?.stop());
  beforeEach(async () => {
    await rig.reset();
    rig.app.page("<!doctype html><title>app</title><div id=root></div><script type=module src=/app.js></script>");
  });
  const text = (page: Awaited<ReturnType<Rig["open"]>>) => page.evaluate(() => document.getElementById("root")!.innerHTML);
  const run = (page: Awaited<ReturnType<Rig["open"]>>, code: string) => page.evaluate(code);

  test("StrictMode asks once, and shows who is there", async () => {
    const page = await rig.open();
    await rig.signIn(page);
    rig.service.seen.length = 0;
    await page.reload();
    await run(page, "mount(); 0");
    await page.waitForSelector("b");
    expect(await text(page)).toBe("<p>signed_in</p><b>alice</b>");
    await page.evaluate(() => auth.signOut());
    await page.waitForSelector("i");
    expect(await text(page)).toBe("<p>signed_out</p><i>out</i>");
    expect(rig.service.seen.filter(one => one.path.endsWith("/me"))).toHaveLength(1);
    expect(rig.console).toEqual([]);
  });

  test("rounds of mounting and new clients of a hot reload add no listener and no request", async () => {
    const page = await rig.open();
    await rig.signIn(page);
    await run(page, "mounted = mount(); 0");
    await page.waitForSelector("b");
    const counted = await run(page, "({ ...counts })") as Record<string, number>;
    const asked = rig.service.seen.length;
    for (let i = 0; i < 8; i++) {
      await run(page, "mounted.unmount(); document.getElementById('root').remove(); document.body.append(Object.assign(document.createElement('div'), { id: 'root' })); mounted = mount(); 0");
      await sleep(20);
      expect(await run(page, "anotherClient()")).toBe(true);
    }
    const now = await run(page, "({ ...counts })") as Record<string, number>;
    for (const type of ["storage", "online", "focus", "pageshow", "visibilitychange", "resume"]) expect([type, now[type]]).toEqual([type, 1]);
    expect(counted["storage"]).toBe(1);
    expect(rig.service.seen.length).toBe(asked);
  });

  test("hydration begins with what the server has rendered, late boundaries included", async () => {
    const auth = createMintgate({ url: rig.service.url });
    const Status = () => createElement("p", null, useSession().status);
    const html = renderToString(createElement(MintgateProvider, { client: auth }, createElement(Status)));
    expect(html).toBe("<p>unknown</p>");
    const page = await rig.open();
    await rig.signIn(page);
    rig.app.page(`<!doctype html><title>app</title><div id=root>${html}<!--$--><p>unknown</p><!--/$--></div><script type=module src=/app.js></script>`);
    await page.reload();
    await page.evaluate(() => auth.user());
    await run(page, "hydrate(true); 0");
    await page.waitForFunction(() => document.getElementById("root")!.textContent === "signed_insigned_in", { polling: 20 });
    expect(rig.console).toEqual([]);
  });

  test("a session that the server hands in is shown without a flash", async () => {
    const page = await rig.open();
    await rig.signIn(page);
    rig.app.page(`<!doctype html><title>app</title><script>
      handedIn = { status: "signed_in", user: { sub: "1", sid: "2", provider: "corp", roles: [], name: "alice" } };
      seen = []; new MutationObserver(() => seen.push(document.getElementById("root").textContent)).observe(document, { subtree: true, childList: true, characterData: true });
    </script><div id=root></div><script type=module src=/app.js></script>`);
    await page.reload();
    await run(page, "mount(); 0");
    await page.evaluate(() => auth.ready());
    await sleep(100);
    expect(await run(page, "[...new Set(seen)].filter(Boolean)")).toEqual(["signed_inalice"]);
  });
});

test("outside a provider a component says what is missing", () => {
  expect(() => renderToString(createElement(SignedIn, null))).toThrow("<MintgateProvider>");
});

test("a server renders neither side while it does not know", () => {
  const children = [createElement(SignedIn, { key: 1 }, "in"), createElement(SignedOut, { key: 2 }, "out")];
  expect(renderToString(createElement(MintgateProvider, { url: "https://auth.example.com" }, children))).toBe("");
  const session = { status: "signed_out" } as const;
  expect(renderToString(createElement(MintgateProvider, { url: "https://auth.example.com", session }, children))).toBe("out");
});
