//! The page of `docs/frontend.md` on another site than the service, in a browser that blocks third-party
//! cookies, as today's do.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fantoccini::{Client, Locator};
use mintgate_testkit::free_addresses;
use mintgate_testkit::tls::{Certificates, Entrance};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::frontends::{program, serve};
use super::steps::Steps;
use super::webdriver::{self, Browser, PAGE_LIMIT, Programs, wait_for};
use crate::process::until;
use crate::rig::{Binaries, Mock, Service, listeners, provider};

const PARTITIONED: &str = "with partitioned cookies a page of another site signs in";
const NOT_PARTITIONED: &str = "without Partitioned the browser drops the cookies of the same page";

pub(super) async fn walk(
    steps: &mut Steps,
    binaries: &Binaries,
    dir: &Path,
    with_browser: bool,
) -> Result<()> {
    match webdriver::find() {
        _ if !with_browser => {
            for name in [PARTITIONED, NOT_PARTITIONED] {
                Steps::left_out(name, "--no-browser");
            }
        }
        Some(programs) => {
            for (name, partitioned, me) in [(PARTITIONED, true, 200), (NOT_PARTITIONED, false, 401)]
            {
                let dir = dir.join(format!("partitioned-{partitioned}"));
                std::fs::create_dir_all(&dir)?;
                let visited = visit(&programs, binaries, &dir, partitioned, me);
                steps.step(name, visited).await?;
            }
        }
        None => {
            for name in [PARTITIONED, NOT_PARTITIONED] {
                steps.not_run(name, webdriver::MISSING);
            }
        }
    }
    Ok(())
}

/// Has somebody sign in on the page, and expects this status when the page asks who they are.
async fn visit(
    programs: &Programs,
    binaries: &Binaries,
    dir: &Path,
    partitioned: bool,
    me: u16,
) -> Result<()> {
    const HOST: &str = "auth.example.com";
    let auth = format!("https://{HOST}");
    let [public, ops, page] = free_addresses();
    let origin = format!("http://localhost:{}", page.port());
    let callback = format!("{origin}/callback");
    let mock = Mock::start_for(binaries, dir, "mock-idp", &[&callback]).await?;
    let config = [
        listeners([public, ops], &auth),
        format!("[store]\nurl = \"sqlite://{}\"\n\n", dir.join("mintgate.db").display()),
        "[keys]\ndir = \"keys\"\n\n".to_owned(),
        format!("[cookies]\nsame_site = \"None\"\npartitioned = {partitioned}\n\n"),
        format!("[cors]\nallowed_origins = [\"{origin}\"]\n"),
        provider("corp", &mock.issuer, &[&callback], ""),
    ];
    let mut service =
        Service::configure("mintgate", &binaries.service, dir, &config.concat(), [public, ops])?;
    service.migrate().await?;
    service.start().await?;
    let entrance = Entrance::open(Some(&Certificates::made_for(HOST))).await;
    entrance.lead_to(public);
    let html = program("html", "<!-- index.html, served at")?;
    ensure!(html.contains(&auth), "the page does not call {auth}");
    let serving = tokio::spawn(serve(TcpListener::bind(page).await?, html));

    let names = format!("--host-resolver-rules=MAP {HOST} {}", entrance.address);
    // 1 is "block third-party cookies".
    let preferences = json!({ "profile.cookie_controls_mode": 1 });
    let browser = Browser::start_with(programs, dir, &[names], &preferences).await?;
    let walked = sign_in(&browser.client, &origin, &auth, me).await;
    let ended = browser.end(walked, "cross-site-failure").await;
    serving.abort();
    ended
}

async fn sign_in(browser: &Client, origin: &str, auth: &str, expected: u16) -> Result<()> {
    browser.goto(origin).await?;
    wait_for(browser, "#buttons button").await?.click().await?;
    wait_for(browser, r#"button[value="alice"]"#).await?.click().await?;
    until(PAGE_LIMIT, || async {
        let at = browser.current_url().await?;
        let status = browser.find(Locator::Css("#status")).await?.text().await?;
        ensure!(at.as_str().starts_with(origin) && status != "…", "at {at}: {status}");
        Ok(())
    })
    .await
    .context("back on the page")?;
    let me = format!(
        "const done = arguments[arguments.length - 1];
         fetch('{auth}/api/v1/auth/me', {{ credentials: 'include' }})
           .then(answer => done(answer.status), error => done(String(error)));"
    );
    let status: Value = browser.execute_async(&me, Vec::new()).await?;
    ensure!(status == json!(expected), "the status of /me is {status}, not {expected}");
    Ok(())
}
