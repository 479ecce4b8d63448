//! The development page in a real browser, in one and in two windows.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fantoccini::wd::WindowHandle;
use fantoccini::{Client, Locator};
use serde_json::{Value, json};

use super::steps::Steps;
use super::webdriver::{Browser, PAGE_LIMIT, Programs, screenshot, wait_for};
use crate::process::until;

const SIGNED_IN: &str = r#"#result[data-state="signed-in"]"#;

const ROUNDS: usize = 6;
/// How far ahead the common moment is, so that both windows have their script by then.
const LEAD_MILLIS: u64 = 500;
const REFRESH: &str = "return (await fetch('/api/v1/auth/refresh', { method: 'POST' })).status;";
const RELOAD: &str = "location.reload(); await new Promise(() => {});";
const ME: &str = "const done = arguments[arguments.length - 1];
    fetch('/api/v1/auth/me').then(answer => done(answer.status), error => done(String(error)));";
const ME_AND_REFRESH: &str = "const done = arguments[arguments.length - 1];
    (async () => [
      (await fetch('/api/v1/auth/me')).status,
      (await fetch('/api/v1/auth/refresh', { method: 'POST' })).status,
    ])().then(done, error => done(String(error)));";

/// The names of the steps.
pub(super) const STEPS: [&str; 4] = [
    "a person signs in on the page with a browser",
    "two windows refresh at the same instant: both stay signed in",
    "the page refreshes, ends another session, and logs out",
    "the hosted pages sign in, add an identity, remove it, and sign out",
];

/// Opens the page in a browser and goes through the steps.
pub(super) async fn walk(
    steps: &mut Steps,
    programs: &Programs,
    dir: &Path,
    page: &str,
) -> Result<()> {
    let browser = Browser::start(programs, dir).await?;
    let client = &browser.client;
    let walked = async {
        let [sign_in_once, in_two_windows, to_the_end, hosted_pages] = STEPS;
        steps.step(sign_in_once, sign_in(client, page)).await?;
        steps.step(in_two_windows, two_windows(client, page)).await?;
        steps.step(to_the_end, sessions(client)).await?;
        steps.step(hosted_pages, hosted(client, page)).await
    };
    let walked = walked.await;
    browser.end(walked, "failure").await
}

/// Signs in as alice at the provider, and checks what the page then shows.
async fn sign_in(browser: &Client, page: &str) -> Result<()> {
    browser.goto(page).await?;
    wait_for(browser, "#sign-in").await?.click().await?;
    pick_alice(browser).await?;

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
    ensure!(visible == json!("Auth-Session=1"), "scripts can read other cookies: {visible}");
    Ok(())
}

async fn pick_alice(browser: &Client) -> Result<()> {
    wait_for(browser, r#"button[value="alice"]"#).await?.click().await?;
    wait_for(browser, SIGNED_IN).await.map(drop)
}

/// Has both windows refresh at the same instant several times, then load the page at the same instant,
/// which refreshes when it is loaded.
async fn two_windows(browser: &Client, page: &str) -> Result<()> {
    let first = browser.window().await?;
    let second = browser.new_window(false).await?.handle;
    let windows = [first.clone(), second.clone()];
    browser.switch_to_window(second).await?;
    browser.goto(page).await?;
    wait_for(browser, SIGNED_IN).await.context("a window that finds the cookies")?;

    for round in 0..ROUNDS {
        let statuses = at_once(browser, &windows, REFRESH).await?;
        ensure!(statuses == [json!(200), json!(200)], "round {round}: {statuses:?}");
    }
    each(browser, &windows, ME_AND_REFRESH).await?;

    for _ in 0..ROUNDS {
        at_once(browser, &windows, RELOAD).await?;
        for window in &windows {
            browser.switch_to_window(window.clone()).await?;
            wait_for(browser, SIGNED_IN).await.context("after both windows were loaded")?;
        }
    }
    each(browser, &windows, ME_AND_REFRESH).await?;
    browser.close_window().await?;
    browser.switch_to_window(first).await?;
    Ok(())
}

/// Has every window run the script at the same moment; returns the result of each.
async fn at_once(browser: &Client, windows: &[WindowHandle], script: &str) -> Result<Vec<Value>> {
    let scheduled = format!(
        "window.outcome = null;
         const run = async () => {{ {script} }};
         setTimeout(() => {{
           while (Date.now() < arguments[0]);
           run().then(it => window.outcome = it, error => window.outcome = String(error));
         }}, arguments[0] - Date.now() - 50);"
    );
    let now = browser.execute("return Date.now()", Vec::new()).await?;
    let moment = json!(now.as_u64().context("Date.now() is no number")? + LEAD_MILLIS);
    for window in windows {
        browser.switch_to_window(window.clone()).await?;
        let left =
            browser.execute("return arguments[0] - Date.now()", vec![moment.clone()]).await?;
        ensure!(left.as_i64().is_some_and(|left| left > 60), "too late for it: {left} ms left");
        browser.execute(&scheduled, vec![moment.clone()]).await?;
    }
    let mut outcomes = Vec::new();
    for window in windows {
        browser.switch_to_window(window.clone()).await?;
        let outcome = until(PAGE_LIMIT, || async {
            let outcome = browser.execute("return window.outcome ?? null", Vec::new()).await?;
            // A page that was loaded again has no such variable.
            let is_new = browser.execute("return !('outcome' in window)", Vec::new()).await?;
            ensure!(is_new == json!(true) || !outcome.is_null(), "the script has no result");
            Ok(outcome)
        });
        outcomes.push(outcome.await?);
    }
    Ok(outcomes)
}

/// Has each window run a script whose result is two statuses, and expects 200 for both.
async fn each(browser: &Client, windows: &[WindowHandle], script: &str) -> Result<()> {
    for window in windows {
        browser.switch_to_window(window.clone()).await?;
        let statuses = browser.execute_async(script, Vec::new()).await?;
        ensure!(statuses == json!([200, 200]), "/me and a refresh afterwards: {statuses}");
    }
    Ok(())
}

/// Clicks the page's own buttons.
async fn sessions(browser: &Client) -> Result<()> {
    wait_for(browser, "#refresh").await?.click().await?;
    until(PAGE_LIMIT, || async {
        let said = wait_for(browser, "#refreshed").await?.text().await?;
        ensure!(said.starts_with("refreshed"), "the page says “{said}”");
        Ok(())
    })
    .await?;

    // The printed line, which was run before, opened a session too.
    let before = count(browser).await?;
    wait_for(browser, "#again").await?.click().await?;
    pick_alice(browser).await?;
    listed(browser, before + 1).await?;
    let scroll = "document.querySelector('#sessions').scrollIntoView({ block: 'center' })";
    browser.execute(scroll, Vec::new()).await?;
    screenshot(browser, "dev-page").await?;
    wait_for(browser, "#sessions button").await?.click().await?;
    listed(browser, before).await?;

    for (button, left) in [("#log-out", before - 1), ("#log-out-all", 0)] {
        wait_for(browser, button).await?.click().await?;
        wait_for(browser, r#"#result[data-state="signed-out"]"#).await?;
        let status = browser.execute_async(ME, Vec::new()).await?;
        ensure!(status == json!(401), "/me after {button}: {status}");
        wait_for(browser, "#sign-in").await?.click().await?;
        pick_alice(browser).await?;
        listed(browser, left + 1).await?;
    }
    Ok(())
}

async fn count(browser: &Client) -> Result<usize> {
    wait_for(browser, "#sessions .session").await?;
    Ok(browser.find_all(Locator::Css("#sessions .session")).await?.len())
}

async fn listed(browser: &Client, expected: usize) -> Result<()> {
    until(PAGE_LIMIT, || async {
        let listed = count(browser).await?;
        ensure!(listed == expected, "{listed} sessions are listed, and there are {expected}");
        Ok(())
    })
    .await
}

/// Signs in by `/login`; adds carol's identity on `/account`, takes it away again, and signs out there.
async fn hosted(browser: &Client, page: &str) -> Result<()> {
    let press = async |selector: &str| -> Result<()> {
        wait_for(browser, selector).await?.click().await?;
        Ok(())
    };
    let identities = async |expected: usize| -> Result<()> {
        wait_for(browser, "[role=status]").await?;
        let found = browser.find_all(Locator::Css("form[action='/account/unlink']")).await?.len();
        ensure!(found == expected, "{found} identities can be removed, not {expected}");
        Ok(())
    };
    browser.goto(&format!("{page}login")).await?;
    press("a.provider").await?;
    press(r#"button[value="alice"]"#).await?;
    press("form[action='/account/link'] button").await?;
    press(r#"button[value="carol"]"#).await?;
    identities(2).await.context("after one was added")?;
    press("li:last-child form[action='/account/unlink'] button").await?;
    identities(0).await.context("after one of two was removed")?;
    press("form[action='/api/v1/auth/refresh/sign-out'] button").await?;
    wait_for(browser, "a.provider").await?;
    browser.goto(&format!("{page}account")).await?;
    wait_for(browser, "a.provider").await.context("nobody is signed in").map(drop)
}
