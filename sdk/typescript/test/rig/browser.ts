import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import puppeteer, { type Browser } from "puppeteer-core";

export const chromium = process.env["CHROMIUM_BIN"] ?? "/usr/bin/chromium";

/** Starts Chromium; every host below `.test` is this machine, and with `strict` cookies of other sites are blocked. */
export async function startBrowser({ strict = false } = {}): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), "mintgate-profile-"));
  mkdirSync(join(profile, "Default"));
  if (strict) writeFileSync(join(profile, "Default/Preferences"), '{"profile":{"cookie_controls_mode":1}}');
  const browser = await puppeteer.launch({
    executablePath: chromium, userDataDir: profile, acceptInsecureCerts: true,
    args: ["--no-sandbox", "--host-resolver-rules=MAP *.test 127.0.0.1"],
  });
  browser.on("disconnected", () => rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  return browser;
}
