//! `cargo xtask keycloak`: the service with a real Keycloak, which is fetched on the first run.
//!
//! Needs Java 17 or later and the network, so `cargo xtask test` does not run it.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::http::{Answer, client, send};
use crate::process::{Process, capture, free_addresses, tail};
use crate::rig::{Binaries, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, Service, listeners};
use crate::{say, workspace};

const VERSION: &str = "26.5.6";
const REPOSITORY: &str = "https://repo1.maven.org/maven2/org/keycloak/keycloak-quarkus-dist";
const FETCH_LIMIT: Duration = Duration::from_mins(10);
const START_LIMIT: Duration = Duration::from_mins(5);
/// How long what Keycloak does by itself may take, such as sending a logout token.
const SOON: Duration = Duration::from_secs(20);
const REALM: &str = "people";
const PASSWORD: &str = "correct horse battery staple";
const AFTER_LOGOUT: &str = "https://app.example.com/goodbye";

pub(crate) async fn run() -> Result<()> {
    let home = fetch().await?;
    let binaries = Binaries::build().await?;
    let dir = tempfile::Builder::new().prefix("mintgate-keycloak-").tempdir()?;
    let addresses = free_addresses()?;
    let mut service = configure(&binaries, dir.path(), addresses)?;
    let [_, _, keycloak] = addresses;
    let walk = Walk {
        keycloak: Keycloak::start(&home, dir.path(), keycloak).await?,
        service: service.base(),
    };
    step("a realm with a client and two people", walk.keycloak.make_realm(&service.base())).await?;
    step("mintgate starts", async {
        service.migrate().await?;
        service.start().await
    })
    .await?;
    let walked = walk.all().await;
    if walked.is_err() {
        say::error(&format!("--- the end of the service's log\n{}", tail(&service.log())));
    }
    walked?;
    say::line(&format!("keycloak: ok, with Keycloak {VERSION}"));
    Ok(())
}

/// Downloads and unpacks the distribution, unless an earlier run has.
async fn fetch() -> Result<PathBuf> {
    let dir = workspace::root().join("target/keycloak");
    let home = dir.join(format!("keycloak-{VERSION}"));
    if home.join("unpacked").exists() {
        return Ok(home);
    }
    std::fs::create_dir_all(&dir)?;
    let name = format!("keycloak-quarkus-dist-{VERSION}.zip");
    say::line(&format!("keycloak: fetching {name}"));
    let mut curl = Command::new("curl");
    curl.current_dir(&dir).args([
        "--fail",
        "--silent",
        "--show-error",
        "--location",
        "--output",
        &name,
    ]);
    capture(curl.arg(format!("{REPOSITORY}/{VERSION}/{name}")), FETCH_LIMIT).await?;
    let mut unzip = Command::new("python3");
    capture(unzip.current_dir(&dir).args(["-m", "zipfile", "-e", &name, "."]), FETCH_LIMIT).await?;
    std::fs::write(home.join("unpacked"), "")?;
    Ok(home)
}

fn configure(binaries: &Binaries, dir: &Path, addresses: [SocketAddr; 3]) -> Result<Service> {
    let [public, ops, keycloak] = addresses;
    let config = listeners([public, ops], &format!("http://{public}"))
        + &format!(
            "[store]\nurl = \"sqlite://mintgate.db\"\n\n\
             [keys]\ndir = \"keys\"\nencryption_key = \"{}\"\n\n\
             [[providers]]\nid = \"keycloak\"\npreset = \"keycloak\"\ndomain = \"http://{keycloak}\"\n\
             realm = \"{REALM}\"\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"{CLIENT_SECRET}\"\n\
             redirect_uris = [\"{REDIRECT_URI}\"]\npost_logout_redirect_uris = [\"{AFTER_LOGOUT}\"]\n\
             recheck_secs = 1\n",
            "0f".repeat(32),
        );
    Service::configure("mintgate", &binaries.service, dir, &config, [public, ops])
}

async fn step<T>(name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let started = Instant::now();
    let done = work.await.with_context(|| format!("step “{name}”"));
    let mark = if done.is_ok() { "✓" } else { "✗" };
    say::line(&format!("  {mark} {name}, {} ms", started.elapsed().as_millis()));
    done
}

/// A Keycloak in a process of its own.
struct Keycloak {
    _process: Process,
    base: String,
}

impl Keycloak {
    async fn start(home: &Path, dir: &Path, address: SocketAddr) -> Result<Self> {
        let mut command = Command::new("sh");
        command.arg(home.join("bin/kc.sh")).args(["start-dev", "--http-host", "127.0.0.1"]);
        command.args(["--http-port", &address.port().to_string(), "--db", "dev-mem"]);
        command.env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin");
        command.env("KC_BOOTSTRAP_ADMIN_PASSWORD", PASSWORD);
        let mut process = Process::logged("keycloak", &mut command, &dir.join("keycloak.log"))?
            .stopped_by(Signal::TERM);
        let base = format!("http://{address}");
        let client = client()?;
        let ready = || async {
            send(client.get(format!("{base}/realms/master"))).await?.expect_status(200)
        };
        step("Keycloak starts", process.ready(START_LIMIT, ready)).await?;
        Ok(Self { _process: process, base })
    }

    /// Calls the admin API with a token of its own, as they last for a minute.
    async fn admin(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer> {
        let client = client()?;
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", "admin"),
            ("password", PASSWORD),
        ];
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.base);
        let token = send(client.post(url).form(&form)).await?;
        token.expect_status(200)?;
        let token = token.json()?;
        let token = token["access_token"].as_str().context("no access token")?;
        let request = client.request(method, format!("{}/admin/realms{path}", self.base));
        let request = request.bearer_auth(token);
        let answer = send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await?;
        ensure!(answer.status < 300, "{path}: {} with {}", answer.status, answer.body);
        Ok(answer)
    }

    async fn make_realm(&self, service: &str) -> Result<()> {
        let person = |name: &str| {
            json!({
                "username": name, "enabled": true, "email": format!("{name}@example.com"),
                "emailVerified": true, "firstName": name, "lastName": "Example",
                "credentials": [{ "type": "password", "value": PASSWORD }],
            })
        };
        let realm = json!({
            "realm": REALM, "enabled": true, "users": [person("alice"), person("bob")],
            "clients": [{
                "clientId": CLIENT_ID, "secret": CLIENT_SECRET, "redirectUris": [REDIRECT_URI],
                "frontchannelLogout": false,
                "attributes": {
                    "backchannel.logout.url":
                        format!("{service}/api/v1/auth/backchannel-logout/keycloak"),
                    "backchannel.logout.session.required": "true",
                    "post.logout.redirect.uris": AFTER_LOGOUT,
                },
            }],
        });
        self.admin(reqwest::Method::POST, "", Some(realm)).await.map(drop)
    }

    async fn user_id(&self, name: &str) -> Result<String> {
        let path = format!("/{REALM}/users?exact=true&username={name}");
        let found = self.admin(reqwest::Method::GET, &path, None).await?.json()?;
        Ok(found[0]["id"].as_str().context("no such person")?.to_owned())
    }

    async fn set_enabled(&self, name: &str, enabled: bool) -> Result<()> {
        let path = format!("/{REALM}/users/{}", self.user_id(name).await?);
        self.admin(reqwest::Method::PUT, &path, Some(json!({ "enabled": enabled }))).await.map(drop)
    }

    /// Ends all of a person's sessions there, as an administrator does.
    async fn sign_out(&self, name: &str) -> Result<()> {
        let path = format!("/{REALM}/users/{}/logout", self.user_id(name).await?);
        self.admin(reqwest::Method::POST, &path, None).await.map(drop)
    }

    /// Makes a key that signs from now on.
    async fn rotate_key(&self, priority: u32) -> Result<()> {
        let realm = self.admin(reqwest::Method::GET, &format!("/{REALM}"), None).await?.json()?;
        let key = json!({
            "name": format!("key-{priority}"), "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider", "parentId": realm["id"],
            "config": { "priority": [priority.to_string()], "algorithm": ["RS256"], "keySize": ["2048"] },
        });
        self.admin(reqwest::Method::POST, &format!("/{REALM}/components"), Some(key))
            .await
            .map(drop)
    }
}

/// The cookies of a browser, by name.
#[derive(Default)]
struct Browser(BTreeMap<String, String>);

impl Browser {
    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.all("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Result<Answer> {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        let header = pairs.collect::<Vec<_>>().join("; ");
        let answer = send(request.header("cookie", header)).await?;
        self.keep(&answer);
        Ok(answer)
    }
}

/// One login: a browser that is signed in at Keycloak, and the tokens of the session here.
struct SignedIn {
    browser: Browser,
    access: String,
    refresh: String,
}

struct Walk {
    keycloak: Keycloak,
    /// The URL of the service.
    service: String,
}

impl Walk {
    async fn all(&self) -> Result<()> {
        let mut alice = step("a login", self.sign_in("alice")).await?;
        step("a refresh that asks Keycloak again", async {
            tokio::time::sleep(Duration::from_millis(1100)).await;
            self.refresh(&mut alice).await?.expect_status(200)
        })
        .await?;
        step("two new signing keys, one after the other, and a login after each", async {
            for priority in [200, 300] {
                self.keycloak.rotate_key(priority).await?;
                self.sign_in("bob").await?;
            }
            Ok(())
        })
        .await?;
        step("an administrator's sign-out ends the session here", async {
            self.keycloak.sign_out("alice").await?;
            self.ended(&mut alice).await
        })
        .await?;
        let mut bob = self.sign_in("bob").await?;
        step("a disabled account ends the session here", async {
            self.keycloak.set_enabled("bob", false).await?;
            self.ended(&mut bob).await?;
            self.keycloak.set_enabled("bob", true).await
        })
        .await?;
        let alice = self.sign_in("alice").await?;
        step("a sign-out here is one at Keycloak too", self.sign_out(alice)).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/auth/{path}", self.service)
    }

    async fn sign_in(&self, name: &str) -> Result<SignedIn> {
        let (client, mut browser) = (client()?, Browser::default());
        let begun =
            send(client.post(self.url("login")).json(&json!({ "provider": "keycloak" }))).await?;
        begun.expect_status(200)?;
        let mut login = Browser::default();
        login.keep(&begun);
        let begun = begun.json()?;
        let address = begun["authorizationUrl"].as_str().context("no authorizationUrl")?;
        let page = browser.send(client.get(address)).await?;
        page.expect_status(200)?;
        let form = [("username", name), ("password", PASSWORD)];
        let answer = browser.send(client.post(form_action(&page.body)?).form(&form)).await?;
        answer.expect_status(302)?;
        let back = Url::parse(answer.header("location").context("no Location")?)?;
        let mut response: BTreeMap<String, String> = back.query_pairs().into_owned().collect();
        let code = response.remove("code").with_context(|| format!("no code in {back}"))?;
        let body = json!({
            "authCode": code, "provider": "keycloak",
            "state": response.get("state"), "iss": response.get("iss"),
        });
        let answer = login.send(client.post(self.url("token")).json(&body)).await?;
        answer.expect_status(200)?;
        let token = |name: &str| login.0.get(name).cloned().context("a cookie is missing");
        let (access, refresh) = (token("Auth-Access-Token")?, token("Auth-Refresh-Token")?);
        Ok(SignedIn { browser, access, refresh })
    }

    async fn refresh(&self, session: &mut SignedIn) -> Result<Answer> {
        let cookie = format!("Auth-Refresh-Token={}", session.refresh);
        let answer = send(client()?.post(self.url("refresh")).header("cookie", cookie)).await?;
        let mut cookies = Browser::default();
        cookies.keep(&answer);
        if let Some(refresh) = cookies.0.remove("Auth-Refresh-Token").filter(|it| !it.is_empty()) {
            session.refresh = refresh;
        }
        Ok(answer)
    }

    /// Waits until refreshes are refused because the session has ended.
    async fn ended(&self, session: &mut SignedIn) -> Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let answer = self.refresh(session).await?;
            match (answer.status, answer.json()?["errorCode"].as_str()) {
                (401, Some("SESSION_REVOKED")) => return Ok(()),
                (200, _) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                (status, code) => bail!("the session lives: {status} {code:?}"),
            }
        }
    }

    async fn sign_out(&self, mut session: SignedIn) -> Result<()> {
        let client = client()?;
        let body =
            json!({ "provider": true, "postLogoutRedirectUri": AFTER_LOGOUT, "state": "x1" });
        let request = client.post(self.url("logout")).bearer_auth(&session.access).json(&body);
        let answer = send(request).await?;
        answer.expect_status(200)?;
        let answer = answer.json()?;
        let address = answer["logoutUrl"].as_str().context("no logoutUrl")?;
        let left = session.browser.send(client.get(address)).await?;
        // Without the ID token as a hint, Keycloak asks whether that is meant.
        left.expect_status(200)?;
        let code = between(&left.body, "name=\"session_code\" value=\"", '"')?;
        let form = [("session_code", code.as_str()), ("confirmLogout", "Logout")];
        let action = between(&left.body, "action=\"", '"')?.replace("&amp;", "&");
        let action = Url::parse(address)?.join(&action)?;
        let left = session.browser.send(client.post(action).form(&form)).await?;
        left.expect_status(302)?;
        let back = left.header("location").context("no Location")?;
        ensure!(back == format!("{AFTER_LOGOUT}?state=x1"), "it leads to {back}");
        let begun =
            send(client.post(self.url("login")).json(&json!({ "provider": "keycloak" }))).await?;
        let begun = begun.json()?;
        let address = begun["authorizationUrl"].as_str().context("no authorizationUrl")?;
        let page = session.browser.send(client.get(address)).await?;
        page.expect_status(200).context("somebody is still signed in there")?;
        form_action(&page.body).map(drop)
    }
}

/// Where the form of Keycloak's login page goes.
fn form_action(page: &str) -> Result<String> {
    let (_, form) = page.split_once("kc-form-login").context("this is not the login page")?;
    Ok(between(form, "action=\"", '"')?.replace("&amp;", "&"))
}

/// The text from behind `start` up to `end`.
fn between(page: &str, start: &str, end: char) -> Result<String> {
    let (_, rest) = page.split_once(start).with_context(|| format!("no {start} in the page"))?;
    Ok(rest.split(end).next().unwrap_or_default().to_owned())
}
