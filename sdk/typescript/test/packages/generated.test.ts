import { readFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";
import { expect, test } from "vitest";
import { source } from "../rig/app.js";

test("the types are those of the OpenAPI document; `npm run generate` makes them anew", async () => {
  const made = astToString(await openapiTS(new URL(`file://${source("../../docs/openapi.json")}`)));
  const kept = readFileSync(source("client/src/api.ts"), "utf8");
  const code = (text: string) => text.replace(/\/\*\*[\s\S]*?\*\//g, "").replace(/\s+/g, " ").trim();
  // Not `toBe` of the texts: nobody reads a difference of two lines with 80 KB each.
  expect(code(kept) === code(made), "run `npm run generate`").toBe(true);
});
