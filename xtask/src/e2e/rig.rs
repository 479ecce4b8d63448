//! The processes of a walk: the shipped binary, mock providers, and the files they need.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde_json::Value;

use super::http::{Answer, client, send};
use crate::process::{Process, capture, free_addresses, output_of};
use crate::workspace;

pub(crate) const CLIENT_ID: &str = "mintgate";
pub(crate) const CLIENT_SECRET: &str = "e2e-client-secret-7e0b1f";
pub(crate) const REDIRECT_URI: &str = "https://app.example.com/callback";
/// The provider that hangs is given up on after this long.
pub(crate) const SLOW_TIMEOUT: Duration = Duration::from_millis(1500);

const START_LIMIT: Duration = Duration::from_secs(30);

/// The two programs, built.
pub(crate) struct Binaries {
    pub(crate) service: PathBuf,
    pub(crate) mock: PathBuf,
}

#[derive(Deserialize)]
struct Built {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

impl Binaries {
    pub(crate) async fn build() -> Result<Self> {
        Self::build_profile(false).await
    }

    /// Optimised, if that is wanted.
    pub(crate) async fn build_profile(release: bool) -> Result<Self> {
        let mut targets = vec!["-p", "mintgate", "-p", "mintgate-mock-idp", "--bins"];
        targets.extend(release.then_some("--release"));
        let [service, mock] = build(&targets, ["mintgate", "mintgate-mock-idp"]).await?;
        Ok(Self { service, mock })
    }
}

/// Has cargo build these targets; the programs of these names.
pub(crate) async fn build<const N: usize>(
    targets: &[&str],
    names: [&str; N],
) -> Result<[PathBuf; N]> {
    let mut command = workspace::cargo();
    command.arg("build").args(targets).args(["--message-format", "json-render-diagnostics"]);
    let built: Vec<Built> = output_of("cargo build", &mut command)
        .await?
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let find = |name: &str| {
        let is_it = |it: &&Built| it.target.as_ref().is_some_and(|t| t.name == name);
        let found = built.iter().filter(is_it).find_map(|it| it.executable.clone());
        found.with_context(|| format!("cargo built no {name}"))
    };
    let found = names.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?;
    found.try_into().map_err(|_| anyhow::anyhow!("{N} programs were asked for"))
}

/// A command that nothing in the caller's environment configures.
pub(crate) fn plain(program: &Path, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env_remove("RUST_LOG");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MINTGATE") {
            command.env_remove(name);
        }
    }
    command
}

/// A mock provider in a process of its own.
pub(crate) struct Mock {
    process: Process,
    client: Client,
    pub(crate) issuer: String,
}

impl Mock {
    pub(crate) async fn start(binaries: &Binaries, dir: &Path, name: &str) -> Result<Self> {
        Self::start_for(binaries, dir, name, &[REDIRECT_URI]).await
    }

    /// With a client that has these redirect URIs.
    pub(crate) async fn start_for(
        binaries: &Binaries,
        dir: &Path,
        name: &str,
        redirect_uris: &[&str],
    ) -> Result<Self> {
        let [address] = free_addresses()?;
        let mut command = plain(&binaries.mock, dir);
        command.args(["--listen", &address.to_string(), "--control"]);
        command.args(["--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET]);
        for uri in redirect_uris {
            command.args(["--redirect-uri", uri]);
        }
        let mut process = Process::logged(name, &mut command, &dir.join(format!("{name}.log")))?;
        let (client, issuer) = (client()?, format!("http://{address}"));
        process.ready(START_LIMIT, || stats(&client, &issuer)).await?;
        Ok(Self { process, client, issuer })
    }

    /// Orders what its token endpoint does instead of its work.
    pub(crate) async fn order_token_fault(&self, fault: Value) -> Result<()> {
        let faults = serde_json::json!({ "token": fault });
        let url = format!("{}/control/faults", self.issuer);
        send(self.client.put(url).json(&faults)).await?.expect_status(204)
    }

    /// Has it behave again.
    pub(crate) async fn clear_faults(&self) -> Result<()> {
        let url = format!("{}/control/faults", self.issuer);
        send(self.client.delete(url)).await?.expect_status(204)
    }

    pub(crate) async fn stats(&self) -> Result<Stats> {
        stats(&self.client, &self.issuer).await
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}

async fn stats(client: &Client, issuer: &str) -> Result<Stats> {
    let answer = send(client.get(format!("{issuer}/control/stats"))).await?;
    answer.expect_status(200)?;
    Ok(serde_json::from_str(&answer.body)?)
}

/// A code from the mock at this issuer, as if alice had just picked herself on its page.
pub(crate) async fn code(client: &Client, issuer: &str) -> Result<String> {
    let sign_in = serde_json::json!({
        "user": "alice", "clientId": CLIENT_ID, "redirectUri": REDIRECT_URI,
    });
    let answer = send(client.post(format!("{issuer}/control/code")).json(&sign_in)).await?;
    answer.expect_status(200)?;
    let json = answer.json()?;
    Ok(json["code"].as_str().context("the mock gave no code")?.to_owned())
}

/// What a mock has counted.
#[derive(Debug, Deserialize)]
pub(crate) struct Stats {
    /// Requests to its token endpoint.
    pub(crate) token: u64,
    /// Codes exchanged for tokens.
    pub(crate) exchanges: u64,
}

/// The service in a process of its own, with a config file.
pub(crate) struct Service {
    process: Option<Process>,
    client: Client,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    public: SocketAddr,
    ops: SocketAddr,
}

impl Service {
    /// Writes the configuration; nothing runs yet.
    pub(super) fn configure(
        binaries: &Binaries,
        dir: &Path,
        store_url: &str,
        [mock, slow]: [&Mock; 2],
    ) -> Result<Self> {
        let [public, ops] = free_addresses()?;
        let text = config_text(public, ops, store_url, [&mock.issuer, &slow.issuer]);
        Self::with_config(binaries, dir, &text, [public, ops])
    }

    /// With a whole configuration, which says that it is at these addresses.
    pub(crate) fn with_config(
        binaries: &Binaries,
        dir: &Path,
        text: &str,
        [public, ops]: [SocketAddr; 2],
    ) -> Result<Self> {
        let config = dir.join("mintgate.toml");
        std::fs::write(&config, text)?;
        Ok(Self {
            process: None,
            client: client()?,
            program: binaries.service.clone(),
            config,
            log: dir.join("service.log"),
            public,
            ops,
        })
    }

    fn command(&self, subcommand: &str) -> Command {
        let dir = self.config.parent().unwrap_or(Path::new("/"));
        let mut command = plain(&self.program, dir);
        command.arg(subcommand).arg("--config").arg(&self.config);
        command
    }

    /// `mintgate migrate`
    pub(crate) async fn migrate(&self) -> Result<()> {
        capture(&mut self.command("migrate"), START_LIMIT).await.map(drop)
    }

    /// `mintgate keys …`; what it prints.
    pub(super) async fn keys(&self, args: &[&str]) -> Result<String> {
        capture(self.command("keys").args(args), START_LIMIT).await
    }

    /// `mintgate serve`, until it is ready.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let process = Process::logged("mintgate", &mut self.command("serve"), &self.log)?;
        let process = self.process.insert(process);
        let url = format!("http://{}/health/ready", self.ops);
        let client = &self.client;
        let ready = || async { send(client.get(&url)).await?.expect_status(200) };
        process.ready(START_LIMIT, ready).await
    }

    pub(super) fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the service was not started")
    }

    /// Everything it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Its address as clients see it, which is its issuer.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.public)
    }

    pub(super) async fn jwks(&self) -> Result<Answer> {
        send(self.jwks_request()).await
    }

    /// Asks for the JWKS only if it is not the one with this ETag (RFC 9110 §13.1.2).
    pub(super) async fn jwks_unless(&self, etag: &str) -> Result<Answer> {
        send(self.jwks_request().header("if-none-match", etag)).await
    }

    /// A document at the public address.
    pub(super) async fn document(&self, url: &str) -> Result<Answer> {
        send(self.client.get(url)).await
    }

    fn jwks_request(&self) -> RequestBuilder {
        self.client.get(format!("http://{}/.well-known/jwks.json", self.public))
    }

    pub(crate) async fn ops(&self, path: &str) -> Result<Answer> {
        send(self.client.get(format!("http://{}{path}", self.ops))).await
    }
}

fn config_text(
    public: SocketAddr,
    ops: SocketAddr,
    store_url: &str,
    [mock, slow]: [&str; 2],
) -> String {
    let timeout_ms = SLOW_TIMEOUT.as_millis();
    format!(
        r#"[server]
listen = "{public}"
public_url = "http://{public}"

[ops]
listen = "{ops}"

[store]
url = "{store_url}"

[keys]
dir = "keys"
publish_ahead_secs = 1
reload_secs = 1

[log]
format = "json"

[[providers]]
id = "mock"
preset = "oidc"
issuer = "{mock}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
redirect_uris = ["{REDIRECT_URI}"]

[[providers]]
id = "slow"
preset = "oidc"
issuer = "{slow}"
client_id = "{CLIENT_ID}"
client_secret = "{CLIENT_SECRET}"
redirect_uris = ["{REDIRECT_URI}"]
timeout_ms = {timeout_ms}
connect_timeout_ms = 1000
"#
    )
}
