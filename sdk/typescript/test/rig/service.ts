// The real service, behind a proxy that counts its requests and can lose its answers.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { certificate } from "./certificate.js";
import { listen } from "./listen.js";

export interface Seen {
  method: string;
  path: string;
  status: number;
  at: number;
}
/** What happens to a request instead of being passed on; `lose` passes it on and drops the answer. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => void | "lose" | { delay: number };

/** The service under test: a path. */
export const binary = process.env["MINTGATE_BIN"];

export async function startService(options: { pages: string[]; issuer: string; accessTtl: number; redirectUris: string[]; otherSite?: boolean }) {
  const dir = mkdtempSync(join(tmpdir(), "mintgate-sdk-"));
  const seen: Seen[] = [];
  let fault: Fault | undefined;
  let target = 0;
  let stripped = false;
  const proxy = options.otherSite ? createHttps(certificate(), pass) : createServer(pass);
  function pass(request: IncomingMessage, response: ServerResponse): void {
    const verdict = fault?.(request, response);
    if (response.writableEnded || response.destroyed) return;
    const at = Date.now();
    const passed = httpRequest(
      { host: "127.0.0.1", port: target, method: request.method, path: request.url, headers: request.headers },
      async answer => {
        seen.push({ method: request.method!, path: request.url!.split("?")[0]!, status: answer.statusCode!, at });
        const body: Buffer[] = [];
        for await (const part of answer) body.push(part);
        if (verdict === "lose") return void response.destroy();
        if (verdict) await new Promise(resolve => setTimeout(resolve, verdict.delay));
        const headers = { ...answer.headers };
        if (stripped) headers["set-cookie"] = (headers["set-cookie"] ?? []).filter(cookie => !/^Auth-(Access|Refresh|Session)/.test(cookie));
        response.writeHead(answer.statusCode!, headers).end(Buffer.concat(body));
      },
    );
    passed.on("error", () => response.destroy());
    request.pipe(passed);
  }
  const port = await listen(proxy);
  const url = options.otherSite ? `https://auth.mint.test:${port}` : `http://localhost:${port}`;

  const free = async () => {
    const server = createServer();
    const found = await listen(server);
    await new Promise(resolve => server.close(resolve));
    return found;
  };
  target = await free();
  const quoted = (list: string[]) => JSON.stringify(list);
  const config = `
[server]
listen = "127.0.0.1:${target}"
public_url = "${url}"
[ops]
listen = "127.0.0.1:${await free()}"
[store]
url = "sqlite://${dir}/mintgate.db"
[keys]
dir = "${dir}/keys"
[cookies]
${options.otherSite ? 'same_site = "None"\npartitioned = true' : "secure = false"}
hint = true
[cors]
allowed_origins = ${quoted(options.pages)}
[tokens]
access_ttl_secs = ${options.accessTtl}
audience = ["api"]
[users]
profile = ["name"]
[roles]
default = ["user"]
at_refresh = "evaluate"
[[providers]]
id = "corp"
issuer = "${options.issuer}"
client_id = "mintgate"
client_secret = "secret"
redirect_uris = ${quoted(options.redirectUris)}
login_params = ["prompt", "loginHint"]
`;
  const file = join(dir, "mintgate.toml");
  writeFileSync(file, config);
  const run = (...args: string[]) => execFileSync(binary!, ["--config", file, ...args], { encoding: "utf8" });
  run("migrate");

  let child: ChildProcess | undefined;
  async function start() {
    child = spawn(binary!, ["--config", file, "serve"], { stdio: process.env["MINTGATE_LOG"] ? "inherit" : "ignore" });
    for (;;) {
      try {
        await fetch(`http://127.0.0.1:${target}/api/v1/auth/providers`);
        return;
      } catch {
        await new Promise(resolve => setTimeout(resolve, 30));
      }
    }
  }
  async function kill() {
    const gone = new Promise(resolve => child!.once("exit", resolve));
    child!.kill("SIGKILL");
    await gone;
  }
  await start();
  return {
    url, seen, run, start, kill,
    /** The requests with this path at the end of theirs. */
    count: (path: string, status?: number) => seen.filter(one => one.path.endsWith(path) && (!status || one.status === status)).length,
    fault: (next?: Fault) => (fault = next),
    /** Takes the cookies of sessions away, as a browser does that blocks them. */
    strip: (next: boolean) => (stripped = next),
    stop: async () => {
      await kill();
      proxy.closeAllConnections();
      proxy.close();
      rmSync(dir, { recursive: true });
    },
  };
}
export type Service = Awaited<ReturnType<typeof startService>>;
