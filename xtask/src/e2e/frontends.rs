//! The programs of `docs/frontend.md`, unchanged but for addresses: each signs in, refreshes and signs
//! out.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fantoccini::{Client, Locator};
use mintgate_testkit::free_addresses;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use url::Url;

use super::native;
use super::steps::Steps;
use super::webdriver::{self, Browser, PAGE_LIMIT, screenshot, wait_for};
use crate::http::{client, plain_client, send, send_plain};
use crate::process::{Process, until};
use crate::rig::{Binaries, Mock, Service, listeners, plain, provider};
use crate::{say, workspace};

const START_LIMIT: Duration = Duration::from_secs(20);
const IN_A_BROWSER: &str =
    "a page of another origin signs in, refreshes and signs out in a browser";
const NOT_LISTED: &str = "the same page of an origin that is not listed gets nothing";
const ON_A_SERVER: &str = "a server-rendered app signs in, refreshes and signs out";
const NATIVE: &str = "a native app signs in, refreshes and signs out";

/// The service, and the addresses of the programs.
struct Setup {
    service: Service,
    auth: String,
    page: SocketAddr,
    app: SocketAddr,
    native: SocketAddr,
}

impl Setup {
    fn page_origin(&self) -> String {
        format!("http://localhost:{}", self.page.port())
    }

    fn native_callback(&self) -> String {
        format!("http://{}/callback", self.native)
    }
}

pub(super) async fn walk(
    steps: &mut Steps,
    binaries: &Binaries,
    dir: &Path,
    options: &super::Options,
) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let (setup, _mock) =
        steps.step("a service for pages of another origin starts", set(binaries, dir)).await?;
    let walked = async {
        in_turn(steps, &setup, dir, !options.no_browser).await?;
        if options.consumers {
            let native = native::run(&setup.auth, setup.native.port(), dir);
            return steps.step_within(native::LIMIT, native::NAME, native).await;
        }
        Ok(())
    };
    let walked = walked.await;
    if walked.is_err() {
        say::error(&format!(
            "--- the service's log\n{}",
            crate::process::tail(&setup.service.log())
        ));
    }
    walked
}

async fn set(binaries: &Binaries, dir: &Path) -> Result<(Setup, Mock)> {
    let [public, ops, page, app, native] = free_addresses();
    let callbacks = [
        format!("http://localhost:{}/callback", page.port()),
        format!("http://{app}/callback"),
        format!("http://{native}/callback"),
    ];
    let uris: Vec<&str> = callbacks.iter().map(String::as_str).collect();
    let mock = Mock::start_for(binaries, dir, "mock-idp", &uris).await?;
    // All ports of localhost are one site, and browsers accept Secure cookies from it.
    let auth = format!("http://localhost:{}", public.port());
    let more = "display_name = \"the corporation\"\npkce = \"required\"\nnonce = \"required\"\n";
    let config = [
        listeners([public, ops], &auth),
        format!("[store]\nurl = \"sqlite://{}\"\n\n", dir.join("mintgate.db").display()),
        "[keys]\ndir = \"keys\"\n\n[tokens]\nbody_delivery = true\n\n".to_owned(),
        format!("[cors]\nallowed_origins = [\"http://localhost:{}\"]\n", page.port()),
        provider("corp", &mock.issuer, &uris, more),
    ];
    let mut service =
        Service::configure("mintgate", &binaries.service, dir, &config.concat(), [public, ops])?;
    service.migrate().await?;
    service.start().await?;
    Ok((Setup { service, auth, page, app, native }, mock))
}

async fn in_turn(steps: &mut Steps, setup: &Setup, dir: &Path, with_browser: bool) -> Result<()> {
    match webdriver::find() {
        _ if !with_browser => {
            for name in [IN_A_BROWSER, NOT_LISTED] {
                Steps::left_out(name, "--no-browser");
            }
        }
        Some(programs) => {
            let html = program("html", "<!-- index.html, served at")?
                .replace("https://auth.example.com", &setup.auth);
            let serving = tokio::spawn(serve(TcpListener::bind(setup.page).await?, html));
            let browser = Browser::start(&programs, dir).await?;
            let walked = async {
                steps.step(IN_A_BROWSER, in_a_browser(&browser.client, setup)).await?;
                steps.step(NOT_LISTED, not_listed(&browser.client, setup)).await
            };
            let walked = walked.await;
            let ended = browser.end(walked, "frontend-failure").await;
            serving.abort();
            ended?;
        }
        None => {
            for name in [IN_A_BROWSER, NOT_LISTED] {
                steps.not_run(name, webdriver::MISSING);
            }
        }
    }
    if workspace::find_program(&["python3"]).is_none() {
        for name in [ON_A_SERVER, NATIVE] {
            steps.not_run(name, "no python3 in PATH; Debian: apt-get install python3");
        }
        return Ok(());
    }
    std::fs::write(dir.join("server.py"), program("python", "# server.py")?)?;
    std::fs::write(dir.join("native.py"), program("python", "# native.py")?)?;
    let python = |name: &str| {
        let mut command = plain(Path::new("python3"), dir);
        command.args(["-u", name]).env("NO_PROXY", "*").env("BROWSER", "true");
        command
    };
    steps.step(ON_A_SERVER, on_a_server(&python, setup, dir)).await?;
    steps.step(NATIVE, native(&python, setup, dir)).await
}

/// A program of the page: the code block of this language that begins with this line.
pub(super) fn program(language: &str, first: &str) -> Result<String> {
    let page = std::fs::read_to_string(workspace::root().join("docs/frontend.md"))?;
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    let block =
        blocks.filter_map(|rest| rest.split("\n```").next()).find(|it| it.starts_with(first));
    Ok(block.with_context(|| format!("docs/frontend.md has no {first}"))?.to_owned())
}

/// Answers every request with the page.
pub(super) async fn serve(listener: TcpListener, html: String) -> Result<()> {
    loop {
        let (mut socket, _) = listener.accept().await?;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{html}",
            html.len()
        );
        tokio::spawn(async move {
            let mut head = [0; 4096];
            // A browser opens connections that it never uses.
            if socket.read(&mut head).await.is_ok_and(|bytes| bytes > 0) {
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
    }
}

async fn in_a_browser(browser: &Client, setup: &Setup) -> Result<()> {
    browser.goto(&setup.page_origin()).await?;
    says(browser, "signed out").await?;
    wait_for(browser, "#buttons button").await?.click().await?;
    wait_for(browser, r#"button[value="alice"]"#).await?.click().await?;
    says(browser, "signed in as ").await?;
    let address = browser.current_url().await?;
    ensure!(address.query().is_none(), "the code is still in the address bar: {address}");
    let visible = browser.execute("return document.cookie", Vec::new()).await?;
    ensure!(visible == json!(""), "scripts can read cookies: {visible}");

    let refresh = format!(
        "const done = arguments[arguments.length - 1];
         fetch('{}/api/v1/auth/refresh', {{ method: 'POST', credentials: 'include' }})
           .then(answer => done(answer.status), error => done(String(error)));",
        setup.auth
    );
    let status = browser.execute_async(&refresh, Vec::new()).await?;
    ensure!(status == json!(200), "a refresh from the page: {status}");
    browser.refresh().await?;
    says(browser, "signed in as ").await?;
    screenshot(browser, "frontend").await?;
    wait_for(browser, "#buttons button").await?.click().await?;
    says(browser, "signed out").await
}

/// Opens the page at an address that `cors.allowed_origins` does not list.
async fn not_listed(browser: &Client, setup: &Setup) -> Result<()> {
    browser.goto(&format!("http://{}/", setup.page)).await?;
    says(browser, "Failed to fetch").await
}

async fn says(browser: &Client, expected: &str) -> Result<()> {
    until(PAGE_LIMIT, || async {
        let status = browser.find(Locator::Css("#status")).await?.text().await?;
        ensure!(status.starts_with(expected), "the page says “{status}”, not “{expected}”");
        Ok(())
    })
    .await
}

async fn on_a_server(python: &impl Fn(&str) -> Command, setup: &Setup, dir: &Path) -> Result<()> {
    let app = format!("http://{}", setup.app);
    let mut command = python("server.py");
    command.env("AUTH", &setup.auth).env("APP", &app);
    let mut process = Process::logged("server.py", &mut command, &dir.join("server.log"))?;
    // The app has paths that the service has too.
    let http = plain_client()?;
    let get =
        async |url: &str, cookie: &str| send_plain(http.get(url).header("cookie", cookie)).await;
    let home = process.ready(START_LIMIT, || get(&app, "")).await?;
    ensure!(home.body.contains("Sign in"), "the app says {}", home.body);

    let begun = get(&format!("{app}/login"), "").await?;
    let cookie = app_cookie(&begun)?;
    let at_provider = get(&signed_in_there(location(&begun)?)?, "").await?;
    let callback = location(&at_provider)?;
    // Another browser cannot finish the login.
    let elsewhere = get(callback, "").await?;
    ensure!(elsewhere.body.contains("INVALID_STATE"), "elsewhere: {}", elsewhere.body);
    let finished = get(callback, &cookie).await?;
    let cookie = app_cookie(&finished).with_context(|| finished.body.clone())?;
    let home = get(&app, &cookie).await?;
    ensure!(home.body.starts_with("signed in as "), "the app says {}", home.body);
    let out = send_plain(http.post(format!("{app}/logout")).header("cookie", &cookie)).await?;
    out.expect_status(303)?;
    let home = get(&app, &cookie).await?;
    ensure!(home.body.contains("Sign in"), "the app says {}", home.body);
    Ok(())
}

fn app_cookie(answer: &crate::http::Answer) -> Result<String> {
    let cookie = answer.header("set-cookie").context("no cookie was set")?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

pub(super) fn location(answer: &crate::http::Answer) -> Result<&str> {
    answer.header("location").with_context(|| format!("no redirect: {}", answer.body))
}

/// Follows the authorization URL as a browser with a session at the provider does.
pub(super) fn signed_in_there(url: &str) -> Result<String> {
    let mut url = Url::parse(url)?;
    url.query_pairs_mut().append_pair("prompt", "none").append_pair("login_hint", "alice");
    Ok(url.into())
}

async fn native(python: &impl Fn(&str) -> Command, setup: &Setup, dir: &Path) -> Result<()> {
    let mut command = python("native.py");
    command.env("AUTH", &setup.auth).env("REDIRECT_URI", setup.native_callback());
    let mut process = Process::logged("native.py", &mut command, &dir.join("native.log"))?;
    let log = dir.join("native.log");
    let url = process.ready(START_LIMIT, || async {
        let output = std::fs::read_to_string(&log)?;
        let mut lines = output.lines().filter_map(|line| line.strip_prefix("sign in at "));
        Ok(lines.next().context("no address was printed")?.to_owned())
    });
    let url = url.await?;
    let http = client()?;
    let at_provider = send(http.get(signed_in_there(&url)?)).await?;
    send(http.get(location(&at_provider)?)).await?.expect_status(200)?;
    let status = process.wait_at_most(START_LIMIT).await?;
    let output = process.output();
    if !status.success() {
        bail!("native.py ended with {status}: {output}");
    }
    for expected in ["signed in as ", "signed out"] {
        ensure!(output.contains(expected), "native.py did not say “{expected}”: {output}");
    }
    Ok(())
}
