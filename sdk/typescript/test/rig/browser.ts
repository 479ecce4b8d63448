import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import puppeteer, { type Browser } from "puppeteer-core";

export const chromium = process.env["CHROMIUM_BIN"] ?? "/usr/bin/chromium";

/** Starts Chromium; every host below `.test` is this machine, and with `strict` cookies of other sites are blocked. */
export function startBrowser({ strict = false } = {}): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), "mintgate-profile-"));
  mkdirSync(join(profile, "Default"));
  if (strict) writeFileSync(join(profile, "Default/Preferences"), '{"profile":{"cookie_controls_mode":1}}');
  return puppeteer.launch({
    executablePath: chromium, userDataDir: profile, acceptInsecureCerts: true,
    args: ["--no-sandbox", "--host-resolver-rules=MAP *.test 127.0.0.1"],
  });
}
