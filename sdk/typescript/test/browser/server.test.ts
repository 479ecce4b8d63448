// A server that renders pages, with @mintgate/server, beside the real service.
import { createServer, type Server } from "node:http";
import { createMintgateServer } from "@mintgate/server";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { canBrowse, type Rig, startRig } from "../rig/index.js";
import { listen } from "../rig/listen.js";

describe.skipIf(!canBrowse)("a server that renders pages", () => {
  let rig: Rig;
  let app: Server;
  let origin: string;
  let rendered: string[] = [];

  beforeAll(async () => {
    let middleware: (request: any, response: any, next: () => void) => void;
    app = createServer((request, response: any) => {
      if (request.url === "/favicon.ico") return response.end();
      middleware(request, response, () => {
        const { status, user } = response.locals.session;
        rendered.push(status);
        response.setHeader("Content-Type", "text/html").end(`<title>app</title><p>${status} ${user?.sub ?? ""}</p>`);
      });
    });
    origin = `http://localhost:${await listen(app)}`;
    rig = await startRig({ pages: [origin], client: { crossSite: false } });
    middleware = createMintgateServer({ url: rig.service.url, origin, audience: "api" }).express();
  });
  afterAll(async () => {
    app?.close();
    await rig?.stop();
  });

  test("goes round once for a token that is over, and shows no sign-in page between", async () => {
    const client = await rig.open();
    await rig.signIn(client);
    const sub = await client.evaluate(() => auth.session.user!.sub);
    const page = await rig.browser.newPage();
    const text = () => page.$eval("p", found => found.textContent);
    await page.goto(origin + "/dashboard?a=1");
    expect(await text()).toBe(`signed_in ${sub}`);

    await page.deleteCookie(...(await rig.browser.cookies()).filter(cookie => cookie.name === "Auth-Access-Token"));
    rendered = [];
    await page.goto(origin + "/dashboard?a=1");
    expect([await text(), rendered]).toEqual([`signed_in ${sub}`, ["signed_in"]]);
    expect(page.url()).toBe(origin + "/dashboard?a=1&mintgate_result=signed_in");
    expect(rig.service.count("/refresh/return", 303)).toBe(1);

    // Without the service, nobody is signed out.
    await page.deleteCookie(...(await rig.browser.cookies()).filter(cookie => cookie.name === "Auth-Access-Token"));
    await rig.service.kill();
    rendered = [];
    await page.goto(origin + "/dashboard?a=1").catch(() => {});
    expect(rendered).toEqual([]);
    await rig.service.start();

    // The session ends, and the cookies stay behind: one round, and the answer is clear.
    rig.service.run("sessions", "end-all", sub);
    rendered = [];
    await page.goto(origin + "/dashboard?a=1");
    expect([(await text())!.trim(), rendered]).toEqual(["signed_out", ["signed_out"]]);
    expect(rig.service.count("/refresh/return", 303)).toBe(2);
  });
});
