//! Keycloak, from Maven Central.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use mintgate_testkit::free_addresses;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::site::Site;
use super::{AFTER_LOGOUT, FETCH_LIMIT, PASSWORD, START_LIMIT, configure, explained, fetch, step};
use crate::http::{Answer, client, send};
use crate::process::{Process, capture};
use crate::rig::{Binaries, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI};

const VERSION: &str = "26.5.6";
const REPOSITORY: &str = "https://repo1.maven.org/maven2/org/keycloak/keycloak-quarkus-dist";
const SHA256: &str = "490189d9dff05272432d51f71a069462eeca97f2920a694d539a1e6c26a5a347";
const REALM: &str = "people";

pub(super) async fn run(binaries: &Binaries) -> Result<()> {
    let home = step("it is fetched", fetched()).await?;
    let dir = tempfile::Builder::new().prefix("mintgate-keycloak-").tempdir()?;
    let [public, ops, address] = free_addresses();
    let lines = format!(
        "preset = \"keycloak\"\ndomain = \"http://{address}\"\nrealm = \"{REALM}\"\n\
         client_id = \"{CLIENT_ID}\"\nclient_secret = \"{CLIENT_SECRET}\"\nkeep_id_token = true\n"
    );
    let mut service = configure(binaries, dir.path(), [public, ops], "keycloak", &lines)?;
    let keycloak = step("it starts", Keycloak::start(&home, dir.path(), address)).await?;
    step("a realm with a client and two people", keycloak.make_realm(&service.base())).await?;
    step("mintgate starts", async {
        service.migrate().await?;
        service.start().await
    })
    .await?;
    let walked = walk(&keycloak, &Site { service: &service, provider: "keycloak" }).await;
    explained(walked, &service, &keycloak.process.output())
}

/// Downloads and unpacks the distribution, unless an earlier run has.
async fn fetched() -> Result<PathBuf> {
    let dir = fetch::directory("keycloak");
    let home = dir.join(format!("keycloak-{VERSION}"));
    if home.join("unpacked").exists() {
        return Ok(home);
    }
    std::fs::create_dir_all(&dir)?;
    let name = format!("keycloak-quarkus-dist-{VERSION}.zip");
    fetch::file(&format!("{REPOSITORY}/{VERSION}/{name}"), &dir.join(&name), SHA256).await?;
    let mut unzip = Command::new("python3");
    capture(unzip.current_dir(&dir).args(["-m", "zipfile", "-e", &name, "."]), FETCH_LIMIT).await?;
    std::fs::write(home.join("unpacked"), "")?;
    Ok(home)
}

async fn walk(keycloak: &Keycloak, site: &Site<'_>) -> Result<()> {
    let mut alice = step("a login", site.sign_in("alice")).await?;
    step("a refresh that asks the provider again", site.recheck(&mut alice)).await?;
    step("two new signing keys, one after the other, and a login after each", async {
        for priority in [200, 300] {
            keycloak.rotate_key(priority).await?;
            site.sign_in("bob").await?;
        }
        Ok(())
    })
    .await?;
    step("an administrator's sign-out ends the session here", async {
        keycloak.sign_out("alice").await?;
        site.ended_by_itself(&alice).await
    })
    .await?;
    let mut bob = site.sign_in("bob").await?;
    step("a disabled account ends the session here", async {
        keycloak.set_enabled("bob", false).await?;
        site.ended(&mut bob).await?;
        keycloak.set_enabled("bob", true).await
    })
    .await?;
    let alice = site.sign_in("alice").await?;
    let name = "a sign-out here is one at the provider too, which asks for no confirmation";
    step(name, site.sign_out(alice, "alice")).await
}

/// A Keycloak in a process of its own.
struct Keycloak {
    process: Process,
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
        process.ready(START_LIMIT, ready).await?;
        Ok(Self { process, base })
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
