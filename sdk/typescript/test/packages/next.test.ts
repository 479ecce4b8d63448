// A fresh Next.js project with the three packages: it builds, and its server hands the session in.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, get as request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { source } from "../rig/app.js";
import { listen } from "../rig/listen.js";

const dir = mkdtempSync(join(tmpdir(), "mintgate-next-"));
const { privateKey, publicKey } = await generateKeyPair("ES256");
const service = createServer(async (_, response) => void response.end(JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: "1", alg: "ES256" }] })));
let url: string;
let port: number;
let app: ReturnType<typeof spawn>;

const files: Record<string, string> = {
  "package.json": '{ "private": true }',
  "lib/server.js": `import { createMintgateServer } from "@mintgate/server";
export const server = createMintgateServer({ url: process.env.MINTGATE_URL, origin: "https://app.example.com", audience: "api" });`,
  "middleware.js": `import { NextResponse } from "next/server";
import { server } from "./lib/server";
export async function middleware(request) {
  const { redirect } = await server.getSession(request);
  const response = redirect ? NextResponse.redirect(redirect, 303) : NextResponse.next();
  response.headers.set("Cache-Control", "private, no-store");
  return response;
}`,
  "app/providers.jsx": `"use client";
import { createMintgate } from "@mintgate/client";
import { MintgateProvider } from "@mintgate/react";
export const auth = createMintgate({ url: "https://auth.example.com" });
export const Providers = ({ session, children }) => <MintgateProvider client={auth} session={session}>{children}</MintgateProvider>;`,
  "app/layout.jsx": `import { headers } from "next/headers";
import { server } from "../lib/server";
import { Providers } from "./providers";
export default async function Layout({ children }) {
  const { status, user } = await server.getSession({ method: "GET", url: "/", headers: await headers() });
  return <html lang="en"><body><Providers session={user ? { status, user } : { status }}>{children}</Providers></body></html>;
}`,
  // From a server component: "use client" of the package counts.
  "app/page.jsx": `import { SignedIn, SignedOut } from "@mintgate/react";
export default function Page() { return <main><SignedIn>in</SignedIn><SignedOut>out</SignedOut></main>; }`,
};

beforeAll(async () => {
  url = `http://127.0.0.1:${await listen(service)}`;
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(dir, name, ".."), { recursive: true });
    writeFileSync(join(dir, name), text);
  }
  for (const name of ["client", "react", "server"]) execFileSync("npm", ["pack", "--silent", "--pack-destination", dir], { cwd: source(name) });
  const packages = readdirSync(dir).filter(file => file.endsWith(".tgz")).map(file => `./${file}`);
  const env = { ...process.env, MINTGATE_URL: url, NEXT_TELEMETRY_DISABLED: "1", NODE_ENV: "production" as const };
  execFileSync("npm", ["install", "--silent", ...packages, "next@15", "react@19", "react-dom@19"], { cwd: dir });
  try {
    execFileSync("npx", ["next", "build"], { cwd: dir, env, encoding: "utf8", stdio: "pipe" });
  } catch (error: any) {
    throw new Error(error.stdout + error.stderr);
  }
  const free = createServer();
  port = await listen(free);
  await new Promise(resolve => free.close(resolve));
  app = spawn(join(dir, "node_modules/.bin/next"), ["start", "-p", String(port), "-H", "127.0.0.1"], { cwd: dir, env, stdio: "ignore" });
  while (!(await fetch(`http://127.0.0.1:${port}/`).catch(() => false))) await new Promise(resolve => setTimeout(resolve, 200));
});
afterAll(() => {
  app?.kill();
  service.close();
  rmSync(dir, { recursive: true, force: true });
});

// Node's `fetch` would say of itself that it is no navigation.
const get = (cookie: string) =>
  new Promise<{ status: number; location: string | undefined; cache: string; body: string }>(resolve => {
    request(`http://127.0.0.1:${port}/?a=1`, { headers: { cookie, accept: "text/html" } }, async response => {
      let body = "";
      for await (const part of response) body += part;
      resolve({ status: response.statusCode!, location: response.headers.location, cache: response.headers["cache-control"] ?? "", body });
    });
  });

test("renders for whoever is signed in, and lets no cache keep it", async () => {
  const now = Math.floor(Date.now() / 1000);
  const token = await new SignJWT({ sid: "s", roles: ["user"], iss: url, aud: "api", sub: "1", exp: now + 60 })
    .setProtectedHeader({ alg: "ES256", kid: "1", typ: "at+jwt" }).sign(privateKey);
  const main = async (cookie: string) => {
    const { cache, body } = await get(cookie);
    return [cache, /<main>(.*?)<\/main>/.exec(body)?.[1]];
  };
  expect(await main(`Auth-Access-Token=${token}`)).toEqual([expect.stringContaining("no-store"), "in"]);
  expect(await main("")).toEqual([expect.stringContaining("no-store"), "out"]);
  const over = await get("Auth-Session=1");
  const round = `${url}/api/v1/auth/refresh/return?to=${encodeURIComponent("https://app.example.com/?a=1")}`;
  expect([over.status, over.location, over.cache]).toEqual([303, round, "private, no-store"]);
});
