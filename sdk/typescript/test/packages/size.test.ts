import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { expect, test } from "vitest";
import { source } from "../rig/app.js";

const LIMIT = 6000;

async function size(contents: string): Promise<number> {
  const built = await build({
    stdin: { contents, resolveDir: source(".") }, bundle: true, minify: true, format: "esm", write: false, target: "es2022",
    external: ["react", "react/jsx-runtime"],
  });
  return gzipSync(built.outputFiles[0]!.contents, { level: 9 }).length;
}

test("the client stays small", async () => {
  const client = await size(`export * from "@mintgate/client"`);
  const react = await size(`export * from "@mintgate/react"`);
  console.log(`@mintgate/client: ${client} bytes gzipped (at most ${LIMIT}); with @mintgate/react: ${react}`);
  expect(client).toBeLessThanOrEqual(LIMIT);
});

test("unused parts fall away", async () => {
  expect(await size(`import { MintgateError } from "@mintgate/client"; console.log(MintgateError)`)).toBeLessThan(300);
  expect(await size(`import "@mintgate/client"`)).toBeLessThan(50);
});
