// The client of docs/frontend.md that is made from the OpenAPI document of a running service.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { source } from "../rig/app.js";
import { startProvider } from "../rig/provider.js";
import { binary, type Service, startService } from "../rig/service.js";

const AUTH = "https://auth.example.com";

describe.skipIf(!binary)("a client made from the OpenAPI document", () => {
  let provider: Awaited<ReturnType<typeof startProvider>>;
  let service: Service;
  const dir = mkdtempSync(join(tmpdir(), "mintgate-openapi-"));
  // Not the synchronous one: the proxy before the service runs in this process.
  const execute = async (file: string, ...args: string[]) => {
    const done = await promisify(execFile)(file, args, { cwd: dir, timeout: 60_000 }).catch(error => {
      throw new Error(`${file} ${args.join(" ")}\n${error.stdout}\n${error.stderr}`);
    });
    return done.stdout;
  };
  const run = (command: string, ...args: string[]) => execute(join(source("node_modules/.bin"), command), ...args);

  beforeAll(async () => {
    provider = await startProvider();
    service = await startService({ pages: ["http://localhost:1"], issuer: provider.issuer, accessTtl: 60, redirectUris: ["http://localhost:1/callback"] });
    symlinkSync(source("node_modules"), join(dir, "node_modules"));
    writeFileSync(join(dir, "package.json"), '{ "private": true, "type": "module" }');
  });
  afterAll(async () => {
    rmSync(dir, { recursive: true });
    provider?.stop();
    await service?.stop();
  });

  /** The access cookie of a new session. */
  async function signIn(): Promise<string> {
    const post = (path: string, body: unknown, cookie = "") => {
      const headers = { "content-type": "application/json", cookie };
      return fetch(`${service.url}/api/v1/auth/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    };
    const begun = await post("login", { provider: "corp", redirectUri: "http://localhost:1/callback" });
    const { authorizationUrl } = (await begun.json()) as { authorizationUrl: string };
    const there = await fetch(authorizationUrl, { redirect: "manual" });
    const { code: authCode, state } = Object.fromEntries(new URL(there.headers.get("location")!).searchParams);
    const back = await post("token", { authCode, state }, begun.headers.getSetCookie()[0]!.split(";")[0]);
    return back.headers.getSetCookie().find(cookie => cookie.startsWith("Auth-Access-Token="))!.split(";")[0]!;
  }

  test("compiles, and calls the service", async () => {
    const page = readFileSync(source("../../docs/frontend.md"), "utf8");
    const block = (first: string) => new RegExp("^```\\w+\\n(" + first + "[\\s\\S]*?)^```$", "m").exec(page)![1]!.replaceAll(AUTH, service.url);
    const [, program, ...args] = block("npx openapi-typescript").trim().split(" ");
    await run(program!, ...args);
    const cookie = await signIn();
    writeFileSync(join(dir, "program.ts"), `
      const auth = { fetch: (request: Request) => (request.headers.set("cookie", ${JSON.stringify(cookie)}), fetch(request)) };
      ${block("import createClient")}
      const provider: string | undefined = data?.identities[0]?.provider;
      console.log(JSON.stringify([provider, error?.errorCode]));
      const refused = await api.DELETE("/api/v1/auth/identities/{id}", { params: { path: { id: data!.identities[0]!.id } } });
      console.log(JSON.stringify([refused.response.status, refused.error?.errorCode]));`);
    await run("tsc", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2023,dom", "--types", "node", "--skipLibCheck", "program.ts");
    const told = await execute("node", "program.js");
    expect(told.trim().split("\n").map(line => JSON.parse(line))).toEqual([["corp", null], [409, "LAST_IDENTITY"]]);
    // The types refuse what the service does not have.
    writeFileSync(join(dir, "wrong.ts"), `
      ${block("import createClient").replace("/identities", "/nowhere").replace("fetch: auth.fetch", "fetch")}`);
    await expect(run("tsc", "--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--types", "node", "--skipLibCheck", "wrong.ts")).rejects.toThrow(/wrong\.ts\(\d+,\d+\): error/);
  });
});
