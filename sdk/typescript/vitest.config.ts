import { defineConfig } from "vitest/config";

const alias = {
  "@mintgate/client": new URL("client/src/index.ts", import.meta.url).pathname,
  "@mintgate/react": new URL("react/src/index.tsx", import.meta.url).pathname,
  "@mintgate/server": new URL("server/src/index.ts", import.meta.url).pathname,
};

export default defineConfig({
  resolve: { alias },
  test: {
    projects: [
      { extends: true, test: { name: "unit", include: ["test/unit/**/*.test.{ts,tsx}"] } },
      { extends: true, test: { name: "browser", include: ["test/browser/**/*.test.ts"], testTimeout: 120_000, hookTimeout: 60_000, maxWorkers: 1 } },
      { extends: true, test: { name: "packages", include: ["test/packages/**/*.test.ts"], testTimeout: 300_000, hookTimeout: 300_000 } },
    ],
  },
});
