//! The development page in a real browser: Chromium, driven over WebDriver.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

use crate::process::{Process, free_addresses, until};
use crate::{say, workspace};

const DRIVER_LIMIT: Duration = Duration::from_secs(20);
const PAGE_LIMIT: Duration = Duration::from_secs(20);

/// A browser and its driver.
pub(super) struct Programs {
    chromium: PathBuf,
    driver: PathBuf,
}

/// Finds them in `PATH`.
pub(super) fn find() -> Option<Programs> {
    let chromium = workspace::find_program(&[
        "chromium",
        "chromium-browser",
        "google-chrome-stable",
        "google-chrome",
    ])?;
    Some(Programs { chromium, driver: workspace::find_program(&["chromedriver"])? })
}

/// Opens the page, signs in as alice at the provider, and looks at what the page then shows.
pub(super) async fn sign_in(programs: &Programs, dir: &Path, page: &str) -> Result<()> {
    let [address] = free_addresses()?;
    let mut command = Command::new(&programs.driver);
    command.arg(format!("--port={}", address.port()));
    let mut driver = Process::logged("chromedriver", &mut command, &dir.join("chromedriver.log"))?;
    let profile = dir.join("browser-profile");
    let opened = || open(&programs.chromium, &profile, address.port());
    let browser = driver.ready(DRIVER_LIMIT, opened).await?;
    let walked = walk(&browser, page).await;
    let shot = screenshot(&browser).await;
    if walked.is_err() {
        let shown = browser.find(Locator::Css("body")).await?.text().await?;
        say::error(&format!("--- what the page shows\n{shown}"));
    }
    // The driver's end ends a browser that does not close.
    let _ = browser.close().await;
    walked.and(shot)
}

async fn open(chromium: &Path, profile: &Path, driver_port: u16) -> Result<Client> {
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
        "--window-size=1000,1100".to_owned(),
        format!("--user-data-dir={}", profile.display()),
    ];
    if rustix::process::geteuid().is_root() {
        // Chromium's sandbox does not work for root.
        arguments.push("--no-sandbox".to_owned());
    }
    let capabilities = json!({
        "browserName": "chrome",
        "goog:chromeOptions": {"binary": chromium, "args": arguments},
    });
    let capabilities = capabilities.as_object().cloned().unwrap_or_default();
    let url = format!("http://127.0.0.1:{driver_port}");
    let mut builder = ClientBuilder::new(HttpConnector::new());
    Ok(builder.capabilities(capabilities).connect(&url).await?)
}

async fn walk(browser: &Client, page: &str) -> Result<()> {
    browser.goto(page).await?;
    wait_for(browser, "#sign-in").await?.click().await?;
    wait_for(browser, r#"button[value="alice"]"#).await?.click().await?;
    wait_for(browser, r#"#result[data-state="signed-in"]"#).await?;

    let claims = browser.find(Locator::Css("#claims")).await?.text().await?;
    for expected in ["sub", "roles", "alice@example.com"] {
        ensure!(claims.contains(expected), "the claims on the page lack {expected}: {claims}");
    }
    until(PAGE_LIMIT, || async {
        let kept = browser.find_all(Locator::Css("#cookies .ok")).await?;
        ensure!(kept.len() == 2, "{} of 2 cookies are reported as kept", kept.len());
        Ok(())
    })
    .await?;
    let cookies = browser.find(Locator::Css("#cookies")).await?.text().await?;
    for name in ["Auth-Access-Token", "Auth-Refresh-Token"] {
        ensure!(cookies.contains(name), "{name} is not reported: {cookies}");
    }
    let visible = browser.execute("return document.cookie", Vec::new()).await?;
    ensure!(visible == json!(""), "scripts can read cookies: {visible}");
    Ok(())
}

async fn wait_for(browser: &Client, selector: &str) -> Result<fantoccini::elements::Element> {
    let found = browser.wait().at_most(PAGE_LIMIT).for_element(Locator::Css(selector)).await;
    found.with_context(|| format!("expected {selector} on the page"))
}

async fn screenshot(browser: &Client) -> Result<()> {
    let dir = workspace::root().join("target/e2e");
    std::fs::create_dir_all(&dir)?;
    Ok(std::fs::write(dir.join("dev-page.png"), browser.screenshot().await?)?)
}
