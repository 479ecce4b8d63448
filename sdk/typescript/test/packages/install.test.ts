// The packages as they are published, in fresh projects.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { source } from "../rig/app.js";

const names = ["client", "react", "server"];
const dir = mkdtempSync(join(tmpdir(), "mintgate-packages-"));
const modules = source("node_modules");
let packed: Record<string, string[]>;

const run = (cwd: string, command: string, ...args: string[]) => {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: "pipe" });
  } catch (error: any) {
    throw new Error(`${command} ${args.join(" ")}\n${error.stdout}\n${error.stderr}`);
  }
};
const bin = (name: string) => join(modules, ".bin", name);

beforeAll(() => {
  packed = Object.fromEntries(
    names.map(name => {
      const [report] = JSON.parse(run(source(name), "npm", "pack", "--json", "--silent", "--pack-destination", dir));
      return [name, report.files.map((file: { path: string }) => file.path)];
    }),
  );
  writeFileSync(join(dir, "package.json"), '{ "private": true, "type": "module" }');
  const tarballs = readdirSync(dir).filter(file => file.endsWith(".tgz")).map(file => `./${file}`);
  run(dir, "npm", "install", "--silent", ...tarballs, "react@19", "@types/react@19");
});
afterAll(() => rmSync(dir, { recursive: true }));

test("contain code, types, licences and nothing else", () => {
  for (const name of names) {
    const others = packed[name]!.filter(path => !/^dist\/[\w-]+\.(js|d\.ts)$/.test(path));
    expect(others.sort()).toEqual(["LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json"]);
    const { license, dependencies } = JSON.parse(readFileSync(join(dir, "node_modules/@mintgate", name, "package.json"), "utf8"));
    expect([license, Object.keys(dependencies ?? {})]).toEqual(["MIT OR Apache-2.0", name === "server" ? ["jose"] : []]);
  }
});

test("are found by every way to resolve modules", () => {
  for (const name of names) {
    const root = join(dir, "node_modules/@mintgate", name);
    run(root, bin("publint"), "--strict");
    run(dir, bin("attw"), "--profile", "esm-only", ...readdirSync(dir).filter(file => file.includes(name)));
  }
});

test("an import starts nothing: the program ends by itself", () => {
  writeFileSync(join(dir, "plain.js"), `
    import { createMintgate } from "@mintgate/client";
    import { MintgateProvider } from "@mintgate/react";
    import { createMintgateServer } from "@mintgate/server";
    createMintgateServer({ url: "https://auth.example.com", origin: "https://app.example.com", audience: "api" });
    const auth = createMintgate({ url: "https://auth.example.com" });
    auth.onChange(() => {});
    console.log(auth.session.status, typeof MintgateProvider);`);
  expect(run(dir, "node", "plain.js").trim()).toBe("unknown function");
});

const program = `
  import { createMintgate, MintgateError, type Mintgate, type Session, type User } from "@mintgate/client";
  import { MintgateProvider, SignedIn, SignedOut, useMintgate, useSession } from "@mintgate/react";
  import { createMintgateServer, type ServerSession } from "@mintgate/server";
  export const server = createMintgateServer({ url: "https://auth.example.com", origin: "https://app.example.com", audience: "api" });
  export async function Rendered({ request }: { request: Request }) {
    const { status, user }: ServerSession = await server.getSession(request);
    return <MintgateProvider client={auth} session={user ? { status, user } : { status }} />;
  }
  export const auth = createMintgate({ url: "https://auth.example.com", origins: ["https://api.example.com"] });
  const like: typeof fetch = auth.fetch;
  export const stop = auth.onChange((now: Session, before: Session) => console.log(now.user?.name, before.status));
  export async function all(): Promise<User | null | undefined> {
    await like(new URL("https://api.example.com/x"));
    await like(new Request("https://api.example.com/x"), { method: "POST" });
    await auth.signIn("corp", { returnTo: "/x" });
    await auth.signOut({ everywhere: true, provider: true });
    const [one] = await auth.sessions();
    if (one?.current) await auth.endSession(one.sid);
    if (new MintgateError("a", "b").code) await auth.finish();
    return auth.user({ fresh: true });
  }
  export function Page({ client }: { client: Mintgate }) {
    return <MintgateProvider client={client}><SignedIn>{user => user.name ?? user.sub}</SignedIn><SignedOut><Button /></SignedOut></MintgateProvider>;
  }
  function Button() {
    const { reason } = useSession();
    const client = useMintgate();
    return <button onClick={() => client.signIn("corp")}>{reason}</button>;
  }`;

test.each([["node16", "node16"], ["nodenext", "nodenext"], ["esnext", "bundler"]])("compile strictly with %s and %s", (module, moduleResolution) => {
  const at = join(dir, `src-${moduleResolution}`);
  mkdirSync(at);
  writeFileSync(join(at, "page.tsx"), program);
  writeFileSync(join(at, "tsconfig.json"), JSON.stringify({
    compilerOptions: {
      module, moduleResolution, target: "es2022", lib: ["es2022", "dom", "dom.iterable"], jsx: "react-jsx", types: [], outDir: "out",
      strict: true, exactOptionalPropertyTypes: true, verbatimModuleSyntax: true, noUncheckedIndexedAccess: true, declaration: true,
    },
    files: ["page.tsx"],
  }));
  run(at, bin("tsc"), "-p", ".");
  expect(readFileSync(join(at, "out/page.d.ts"), "utf8")).toContain('import { type Mintgate');
});

test("Vite builds a page with them, which needs no `process`", () => {
  writeFileSync(join(dir, "index.html"), '<!doctype html><script type="module" src="/main.js"></script>');
  writeFileSync(join(dir, "main.js"), `
    import { createMintgate } from "@mintgate/client";
    document.title = createMintgate({ url: "https://auth.example.com" }).session.status;`);
  run(dir, bin("vite"), "build", "--logLevel", "error");
  const [script] = readdirSync(join(dir, "dist/assets"));
  const text = readFileSync(join(dir, "dist/assets", script!), "utf8");
  expect(text).not.toContain("process.env");
  expect(text).toContain("mintgate:");
});
