// An app: pages with the client on every address, and an API that accepts the access cookie until its `exp`.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { decodeJwt } from "jose";
import { certificate } from "./certificate.js";
import { listen } from "./listen.js";

export const source = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export async function bundle(contents: string): Promise<string> {
  const built = await build({
    stdin: { contents, resolveDir: source("."), loader: "tsx" },
    bundle: true, format: "esm", write: false, jsx: "automatic", define: { "process.env.NODE_ENV": '"development"' },
    alias: { "@mintgate/client": source("client/src/index.ts"), "@mintgate/react": source("react/src/index.tsx") },
  });
  return built.outputFiles[0]!.text;
}

export interface AppRequest {
  method: string;
  url: string;
  status: number;
  body: string;
  person: string | undefined;
  at: number;
}

export async function startApp(https = false) {
  const seen: AppRequest[] = [];
  let script = "";
  let html = "<!doctype html><meta charset=utf-8><title>app</title><div id=root></div><script type=module src=/app.js></script>";
  let delay = 0;
  const server = https ? createHttps(certificate(), answer) : createServer(answer);
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const url = new URL(request.url!, "http://localhost");
    const origin = request.headers.origin;
    if (origin) {
      response.setHeader("Access-Control-Allow-Origin", url.pathname === "/api/star" ? "*" : origin);
      if (url.pathname !== "/api/star") response.setHeader("Access-Control-Allow-Credentials", "true");
      response.setHeader("Access-Control-Allow-Headers", "content-type,x-kept");
      response.setHeader("Access-Control-Allow-Methods", "*,PUT,DELETE");
    }
    if (request.method === "OPTIONS") return response.writeHead(204).end();
    if (url.pathname === "/favicon.ico") return response.writeHead(204).end();
    if (url.pathname === "/app.js") return response.setHeader("Content-Type", "text/javascript").end(script);
    if (!url.pathname.startsWith("/api/")) return response.setHeader("Content-Type", "text/html").end(html);
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    let person: string | undefined;
    try {
      const claims = decodeJwt(/Auth-Access-Token=([^;]+)/.exec(request.headers.cookie ?? "")![1]!);
      if (claims.exp! * 1000 > Date.now()) person = claims.sub;
    } catch {
      // No token, no person.
    }
    const status = url.pathname !== "/api/never" && (person || url.pathname === "/api/star") ? 200 : 401;
    const body = Buffer.concat(parts).toString("latin1");
    seen.push({ method: request.method!, url: request.url!, status, body, person, at: Date.now() });
    if (delay) await new Promise(resolve => setTimeout(resolve, delay));
    response.writeHead(status, { "Content-Type": "application/json" });
    return response.end(JSON.stringify({ person, type: request.headers["content-type"], kept: request.headers["x-kept"], cookie: !!request.headers.cookie, body }));
  }
  const port = await listen(server);
  return {
    port, seen,
    origin: https ? `https://app.other.test:${port}` : `http://localhost:${port}`,
    serve: (next: string) => void (script = next),
    page: (next: string) => void (html = next),
    slow: (ms: number) => void (delay = ms),
    stop: () => (server.closeAllConnections(), server.close()),
  };
}
