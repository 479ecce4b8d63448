//! A real browser: Chromium, driven over WebDriver.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use mintgate_testkit::free_addresses;
use serde_json::{Value, json};

use crate::process::Process;
use crate::{say, workspace};

const DRIVER_LIMIT: Duration = Duration::from_secs(20);
/// How long a page may take to show an element.
pub(super) const PAGE_LIMIT: Duration = Duration::from_secs(20);

/// Why no browser can be used.
pub(super) const MISSING: &str =
    "no chromium with chromedriver in PATH; Debian: apt-get install chromium chromium-driver";

/// The browser's program and its driver's.
pub(super) struct Programs {
    chromium: PathBuf,
    driver: PathBuf,
}

/// Finds the programs in `PATH`.
pub(super) fn find() -> Option<Programs> {
    let chromium = workspace::find_program(&[
        "chromium",
        "chromium-browser",
        "google-chrome-stable",
        "google-chrome",
    ])?;
    Some(Programs { chromium, driver: workspace::find_program(&["chromedriver"])? })
}

/// A browser with a new profile; it ends with its driver.
pub(super) struct Browser {
    pub(super) client: Client,
    _driver: Process,
}

impl Browser {
    /// Starts driver and browser; their files are in this directory.
    pub(super) async fn start(programs: &Programs, dir: &Path) -> Result<Self> {
        Self::start_with(programs, dir, &[], &json!({})).await
    }

    /// Starts a browser with more arguments and with these preferences, which takes any certificate.
    pub(super) async fn start_with(
        programs: &Programs,
        dir: &Path,
        arguments: &[String],
        preferences: &Value,
    ) -> Result<Self> {
        let [address] = free_addresses();
        let mut command = Command::new(&programs.driver);
        command.arg(format!("--port={}", address.port()));
        let log = dir.join("chromedriver.log");
        let mut driver = Process::logged("chromedriver", &mut command, &log)?;
        let profile = dir.join("browser-profile");
        let opened = || open(&programs.chromium, &profile, address.port(), arguments, preferences);
        let client = driver.ready(DRIVER_LIMIT, opened).await?;
        Ok(Self { client, _driver: driver })
    }

    /// Closes the browser; keeps a screenshot first if the result is an error.
    pub(super) async fn end<T>(self, walked: Result<T>, failure: &str) -> Result<T> {
        if walked.is_err() {
            let shown = self.client.find(Locator::Css("body")).await?.text().await?;
            say::error(&format!("--- what the page shows\n{shown}"));
            screenshot(&self.client, failure).await?;
        }
        // A browser that does not close ends with its driver.
        let _ = self.client.close().await;
        walked
    }
}

async fn open(
    chromium: &Path,
    profile: &Path,
    driver_port: u16,
    more: &[String],
    preferences: &Value,
) -> Result<Client> {
    let mut arguments = vec![
        "--headless".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--no-first-run".to_owned(),
        "--no-proxy-server".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        // The window in the background must not be throttled.
        "--disable-background-timer-throttling".to_owned(),
        "--disable-backgrounding-occluded-windows".to_owned(),
        "--disable-renderer-backgrounding".to_owned(),
        "--window-size=1000,1100".to_owned(),
        format!("--user-data-dir={}", profile.display()),
    ];
    arguments.extend_from_slice(more);
    if rustix::process::geteuid().is_root() {
        // Chromium's sandbox does not work for root.
        arguments.push("--no-sandbox".to_owned());
    }
    let capabilities = json!({
        "browserName": "chrome",
        "acceptInsecureCerts": true,
        "goog:chromeOptions": {"binary": chromium, "args": arguments, "prefs": preferences},
    });
    let capabilities = capabilities.as_object().cloned().unwrap_or_default();
    let url = format!("http://127.0.0.1:{driver_port}");
    let mut builder = ClientBuilder::new(HttpConnector::new());
    Ok(builder.capabilities(capabilities).connect(&url).await?)
}

/// Waits until an element is on the page.
pub(super) async fn wait_for(
    browser: &Client,
    selector: &str,
) -> Result<fantoccini::elements::Element> {
    let found = browser.wait().at_most(PAGE_LIMIT).for_element(Locator::Css(selector)).await;
    found.with_context(|| format!("expected {selector} on the page"))
}

/// Writes a screenshot under `target/e2e`.
pub(super) async fn screenshot(browser: &Client, name: &str) -> Result<()> {
    let dir = workspace::root().join("target/e2e");
    std::fs::create_dir_all(&dir)?;
    Ok(std::fs::write(dir.join(format!("{name}.png")), browser.screenshot().await?)?)
}
