import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
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
  const close = browser.close.bind(browser);
  browser.close = async () => {
    await close();
    // Its last processes may still write.
    await rm(profile, { recursive: true, force: true, maxRetries: 20 }).catch(() => {});
  };
  return browser;
}
