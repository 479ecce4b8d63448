//! The console in a real browser: strangers' texts, the scopes, the keyboard, the name it is called by.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, ensure};
use fantoccini::key::Key;
use fantoccini::{Client, Locator};
use mintgate_testkit::free_addresses;
use serde_json::json;

use super::steps::Steps;
use super::webdriver::{self, Browser, PAGE_LIMIT, screenshot, wait_for};
use crate::http::{client, send};
use crate::process::until;
use crate::rig::{Binaries, Mock, REDIRECT_URI, Service, code, listeners, provider};

/// The SHA-256 of the tokens `reader` and `writer`.
const HASHES: [&str; 2] = [
    "3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30",
    "b93006774cbdd4b299389a03ac3d88c3a76b460d538795bc12718011a909fba5",
];
/// A person's name and a user agent, as somebody who wants to be more than text would choose them.
const NAME: &str = "<img src=x onerror=alert(1)>";
const USER_AGENT: &str = "\"><script>alert(2)</script>";

/// The names of the steps.
const STEPS: [&str; 5] = [
    "the console shows how the service is, and what the file says now",
    "strangers' texts are texts",
    "a token of the scope read can press nothing that changes",
    "by keyboard alone a person is found, a session explained and ended",
    "the console does not answer to a stranger's name",
];

pub(super) async fn walk(
    steps: &mut Steps,
    binaries: &Binaries,
    dir: &Path,
    with_browser: bool,
) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let programs = match webdriver::find() {
        _ if !with_browser => {
            for name in STEPS {
                Steps::left_out(name, "--no-browser");
            }
            return Ok(());
        }
        Some(programs) => programs,
        None => {
            for name in STEPS {
                steps.not_run(name, webdriver::MISSING);
            }
            return Ok(());
        }
    };
    let mock = Mock::start(binaries, dir, "mock-idp").await?;
    let addresses @ [public, ops] = free_addresses();
    let config = config(addresses, dir, &mock);
    let mut service = Service::configure("mintgate", &binaries.service, dir, &config, addresses)?;
    service.migrate().await?;
    service.start().await?;
    sign_in(&mock, public).await?;

    // As when a name server says that a stranger's name is this machine.
    let rules = ["--host-resolver-rules=MAP evil.example 127.0.0.1".to_owned()];
    let browser = Browser::start_with(&programs, dir, &rules, &json!({})).await?;
    let page = format!("http://{ops}/");
    let walked = async {
        let client = &browser.client;
        let [overview, texts, read_only, keyboard, other_name] = STEPS;
        let file = dir.join("mintgate.toml");
        steps.step(overview, health(client, &page, &file, &config)).await?;
        steps.step(texts, strangers(client)).await?;
        steps.step(read_only, reading(client, &page)).await?;
        steps.step(keyboard, keys_alone(client, &page)).await?;
        steps.step(other_name, rebinding(client, ops)).await
    };
    let walked = walked.await;
    browser.end(walked, "console-failure").await
}

fn config(addresses: [SocketAddr; 2], dir: &Path, mock: &Mock) -> String {
    let [reader, writer] = HASHES;
    [
        listeners(addresses, &format!("http://{}", addresses[0])),
        format!("[store]\nurl = \"sqlite://{}\"\n", dir.join("mintgate.db").display()),
        "[keys]\ndir = \"keys\"\n[users]\nprofile = [\"name\"]\n".to_owned(),
        format!("[[admin.tokens]]\nname = \"dashboard\"\nhash = \"{reader}\"\n"),
        format!("[[admin.tokens]]\nname = \"on call\"\nhash = \"{writer}\"\nscope = \"write\"\n"),
        provider("corp", &mock.issuer, &[REDIRECT_URI], ""),
    ]
    .concat()
}

/// Somebody signs in, and somebody else shows a code that is none.
async fn sign_in(mock: &Mock, public: SocketAddr) -> Result<()> {
    let http = client()?;
    for (code, status) in [(code(&http, &mock.base, NAME).await?, 200), ("none".to_owned(), 401)] {
        let body = json!({"authCode": code, "provider": "corp", "redirectUri": REDIRECT_URI});
        let request = http.post(format!("http://{public}/api/v1/auth/token")).json(&body);
        send(request.header("user-agent", USER_AGENT)).await?.expect_status(status)?;
    }
    Ok(())
}

async fn open(browser: &Client, page: &str, token: &str) -> Result<()> {
    browser.goto(page).await?;
    wait_for(browser, "#open:not([hidden])").await?;
    // The field has the focus.
    press(browser, &format!("{token}{}", char::from(Key::Enter))).await?;
    wait_for(browser, ".tiles").await.map(drop)
}

async fn press(browser: &Client, keys: &str) -> Result<()> {
    Ok(browser.active_element().await?.send_keys(keys).await?)
}

/// Waits until the element shows this text.
async fn says(browser: &Client, selector: &str, expected: &str) -> Result<()> {
    until(PAGE_LIMIT, || async {
        let shown = browser.find(Locator::Css(selector)).await?.text().await?;
        ensure!(shown.contains(expected), "{selector} says “{shown}”, not “{expected}”");
        Ok(())
    })
    .await
}

async fn health(browser: &Client, page: &str, file: &Path, config: &str) -> Result<()> {
    browser.goto(page).await?;
    wait_for(browser, "#open:not([hidden])").await?;
    press(browser, &format!("wrong{}", char::from(Key::Enter))).await?;
    says(browser, "#refused", "does not know this token").await?;
    open(browser, page, "reader").await?;
    says(browser, "#state", "Ready").await?;
    says(browser, "#part-charts", "success 1").await?;
    says(browser, "#part-charts", "invalid_auth_code 1").await?;
    says(browser, "#part-details", "closed: asked as usual").await?;
    says(browser, "#part-details", "The file says what runs").await?;
    std::fs::write(file, format!("{config}[limits]\nmax_sign_ins = 7\n"))?;
    says(browser, "#part-details", "limits.max_sign_ins").await?;
    std::fs::write(file, "[server]\nlisten = \"nowhere\"\n")?;
    says(browser, "#part-details", "server.listen").await?;
    std::fs::write(file, config)?;
    let kept = "return [document.cookie, localStorage.length, sessionStorage.length]";
    let kept = browser.execute(kept, Vec::new()).await?;
    ensure!(kept == json!(["", 0, 0]), "something is kept in the browser: {kept}");
    for (theme, sizes) in
        [("dark", [(1280, 800), (390, 844)]), ("light", [(1280, 800), (390, 844)])]
    {
        let choose = "document.documentElement.dataset.theme = arguments[0]";
        browser.execute(choose, vec![json!(theme)]).await?;
        for (width, height) in sizes {
            browser.set_window_size(width, height).await?;
            let over = "return document.documentElement.scrollWidth - innerWidth";
            let over = browser.execute(over, Vec::new()).await?;
            ensure!(over.as_i64().is_some_and(|over| over <= 0), "{width} wide: {over} too wide");
            screenshot(browser, &format!("console-{theme}-{width}")).await?;
        }
    }
    Ok(browser.set_window_size(1280, 900).await?)
}

async fn strangers(browser: &Client) -> Result<()> {
    says(browser, "#part-refusals", USER_AGENT).await?;
    let go = "location.hash = arguments[0]";
    browser.execute(go, vec![json!("#/people")]).await?;
    says(browser, "#found", NAME).await?;
    wait_for(browser, "#found td a").await?.click().await?;
    says(browser, "#view h1", NAME).await?;
    says(browser, ".agent", USER_AGENT).await?;
    wait_for(browser, "td a[href^='#/sessions/']").await?.click().await?;
    says(browser, "#view", "What the audit log knows").await?;
    says(browser, "#view", USER_AGENT).await?;
    let made = "return document.querySelectorAll('main img, main script, [onerror]').length";
    let made = browser.execute(made, Vec::new()).await?;
    ensure!(made == json!(0), "{made} elements were made of strangers' texts");
    ensure!(browser.get_alert_text().await.is_err(), "a stranger's script has run");
    let inner = "try { document.body.innerHTML = '<b>'; return 'set' } catch (e) { return e.name }";
    let inner = browser.execute(inner, Vec::new()).await?;
    ensure!(inner == json!("TypeError"), "markup from a text: {inner}");
    Ok(())
}

async fn reading(browser: &Client, page: &str) -> Result<()> {
    open(browser, page, "reader").await?;
    browser.execute("location.hash = '#/people'", Vec::new()).await?;
    wait_for(browser, "#found td a").await?.click().await?;
    says(browser, "#reads", "scope read").await?;
    let buttons = browser.find_all(Locator::Css("button.danger[aria-disabled]")).await?;
    // All sessions, the person, the one session.
    ensure!(buttons.len() == 3, "{} buttons of 3 say that they cannot be pressed", buttons.len());
    for button in buttons {
        button.send_keys(&char::from(Key::Enter).to_string()).await?;
        let dialogs = browser.find_all(Locator::Css("dialog[open]")).await?;
        ensure!(dialogs.is_empty(), "a button that changes was pressed");
    }
    Ok(())
}

/// Presses Tab until the element that has the focus shows this text.
async fn tab_to(browser: &Client, text: &str) -> Result<()> {
    for _ in 0..60 {
        press(browser, &char::from(Key::Tab).to_string()).await?;
        if browser.active_element().await?.text().await? == text {
            let seen = "return getComputedStyle(document.activeElement).outlineStyle";
            let seen = browser.execute(seen, Vec::new()).await?;
            ensure!(seen != json!("none"), "the focus on “{text}” cannot be seen");
            return Ok(());
        }
    }
    anyhow::bail!("“{text}” is not reached with Tab")
}

async fn keys_alone(browser: &Client, page: &str) -> Result<()> {
    let enter = char::from(Key::Enter).to_string();
    open(browser, page, "writer").await?;
    tab_to(browser, "People").await?;
    press(browser, &enter).await?;
    wait_for(browser, "#find:focus").await?;
    wait_for(browser, "#found td a").await?;
    press(browser, &format!("onerror{enter}")).await?;
    says(browser, "#found", NAME).await?;
    tab_to(browser, NAME).await?;
    press(browser, &enter).await?;
    wait_for(browser, "td a[href^='#/sessions/']").await?;
    tab_to(browser, "Explain").await?;
    press(browser, &enter).await?;
    says(browser, "#view", "What the audit log knows").await?;
    tab_to(browser, "End").await?;
    press(browser, &enter).await?;
    wait_for(browser, "dialog[open]").await?;
    // Cancel has the focus: Enter changes nothing.
    press(browser, &enter).await?;
    says(browser, ".facts", "live").await?;
    tab_to(browser, "End").await?;
    press(browser, &enter).await?;
    wait_for(browser, "dialog[open]").await?;
    tab_to(browser, "End").await?;
    press(browser, &enter).await?;
    says(browser, "#said", "The session has ended").await?;
    says(browser, "#view", "token:on call").await?;
    says(browser, ".facts", "an operator ended it").await?;
    screenshot(browser, "console-ended").await
}

async fn rebinding(browser: &Client, ops: SocketAddr) -> Result<()> {
    let port = ops.port();
    browser.goto(&format!("http://localhost:{port}/")).await?;
    wait_for(browser, "#open:not([hidden])").await?;
    browser.goto(&format!("http://evil.example:{port}/")).await?;
    says(browser, "body", "admin.hosts").await?;
    let asked = "const done = arguments[0]; fetch('/admin/v1/overview', { headers: { Authorization: 'Bearer reader' } })
        .then((answer) => done(answer.status), (error) => done(String(error)))";
    let asked = browser.execute_async(asked, Vec::new()).await?;
    // The policy of the page forbids nothing of this: it is the name that is refused.
    ensure!(asked == json!(403), "the admin API answered {asked}");
    Ok(())
}
