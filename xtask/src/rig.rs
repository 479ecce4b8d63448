//! What commands run: the shipped binary and mock providers as processes, and their configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use mintgate_testkit::free_addresses;
use mintgate_testkit::http::{Client, RequestBuilder};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;

use crate::http::{Answer, client, send};
use crate::process::{Process, capture, output_of};
use crate::workspace;

pub(crate) const CLIENT_ID: &str = "mintgate";
pub(crate) const CLIENT_SECRET: &str = "e2e-client-secret-7e0b1f";
pub(crate) const REDIRECT_URI: &str = "https://app.example.com/callback";

const START_LIMIT: Duration = Duration::from_secs(30);
const NOT_STARTED: &str = "the service was not started";

/// The service and the mock provider, built.
pub(crate) struct Binaries {
    pub(crate) service: PathBuf,
    pub(crate) mock: PathBuf,
}

#[derive(Deserialize)]
struct Built {
    executable: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

impl Binaries {
    /// Builds with the same features as every command that chooses no packages, so that nothing is
    /// compiled that `cargo test` has compiled.
    pub(crate) async fn build() -> Result<Self> {
        Self::by(&["build", "--bin", "mintgate", "--bin", "mintgate-mock-idp"]).await
    }

    /// Builds with optimisation and, because it chooses packages, with no feature that only others use.
    pub(crate) async fn build_release() -> Result<Self> {
        Self::by(&["build", "--release", "-p", "mintgate", "-p", "mintgate-mock-idp", "--bins"])
            .await
    }

    async fn by(args: &[&str]) -> Result<Self> {
        let names = ["mintgate", "mintgate-mock-idp"];
        let [service, mock] = build(&workspace::root(), args, names).await?;
        Ok(Self { service, mock })
    }
}

/// Runs a cargo command that builds, and returns where the programs of these names are.
pub(crate) async fn build<const N: usize>(
    workspace: &Path,
    args: &[&str],
    names: [&str; N],
) -> Result<[PathBuf; N]> {
    let mut command = workspace::cargo();
    command.current_dir(workspace).args(args);
    command.args(["--message-format", "json-render-diagnostics"]);
    let built: Vec<Built> = output_of("cargo build", &mut command)
        .await?
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let find = |name: &str| {
        let is_it = |it: &&Built| {
            it.target.as_ref().is_some_and(|target| target.name == name)
                && it.profile.as_ref().is_some_and(|profile| !profile.test)
        };
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
    /// The URL that it listens at.
    pub(crate) base: String,
}

impl Mock {
    pub(crate) async fn start(binaries: &Binaries, dir: &Path, name: &str) -> Result<Self> {
        Self::start_for(binaries, dir, name, &[REDIRECT_URI]).await
    }

    /// Starts one whose client has these redirect URIs.
    pub(crate) async fn start_for(
        binaries: &Binaries,
        dir: &Path,
        name: &str,
        redirect_uris: &[&str],
    ) -> Result<Self> {
        Self::start_as(binaries, dir, name, redirect_uris, None).await
    }

    /// Starts one with this issuer, which is where it listens if there is none.
    pub(crate) async fn start_as(
        binaries: &Binaries,
        dir: &Path,
        name: &str,
        redirect_uris: &[&str],
        issuer: Option<&str>,
    ) -> Result<Self> {
        let [address] = free_addresses();
        let base = format!("http://{address}");
        let issuer = issuer.unwrap_or(&base).to_owned();
        let mut command = plain(&binaries.mock, dir);
        command.args(["--listen", &address.to_string(), "--control", "--issuer", &issuer]);
        command.args(["--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET]);
        for uri in redirect_uris {
            command.args(["--redirect-uri", uri]);
        }
        let mut process = Process::logged(name, &mut command, &dir.join(format!("{name}.log")))?;
        let client = client()?;
        process.ready(START_LIMIT, || stats(&client, &base)).await?;
        Ok(Self { process, client, issuer, base })
    }

    /// Has its token endpoint fail in this way from now on.
    pub(crate) async fn order_token_fault(&self, fault: Value) -> Result<()> {
        self.order(&serde_json::json!({ "token": fault })).await
    }

    /// Has it behave in this way from now on: the faults of docs/mock-provider.md.
    pub(crate) async fn order(&self, faults: &Value) -> Result<()> {
        let url = format!("{}/control/faults", self.base);
        send(self.client.put(url).json(faults)).await?.expect_status(204)
    }

    /// Ends all faults that were ordered.
    pub(crate) async fn clear_faults(&self) -> Result<()> {
        let url = format!("{}/control/faults", self.base);
        send(self.client.delete(url)).await?.expect_status(204)
    }

    pub(crate) async fn stats(&self) -> Result<Stats> {
        stats(&self.client, &self.base).await
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}

async fn stats(client: &Client, base: &str) -> Result<Stats> {
    let answer = send(client.get(format!("{base}/control/stats"))).await?;
    answer.expect_status(200)?;
    Ok(serde_json::from_str(&answer.body)?)
}

/// An authorization code from the mock with this base URL, as if this user had just signed in there.
pub(crate) async fn code(client: &Client, base: &str, user: &str) -> Result<String> {
    code_for_scope(client, base, user, "openid profile email").await
}

/// The same for an authorization request with this scope.
pub(crate) async fn code_for_scope(
    client: &Client,
    base: &str,
    user: &str,
    scope: &str,
) -> Result<String> {
    let sign_in = serde_json::json!({
        "user": user, "clientId": CLIENT_ID, "redirectUri": REDIRECT_URI, "scope": scope,
    });
    let answer = send(client.post(format!("{base}/control/code")).json(&sign_in)).await?;
    answer.expect_status(200)?;
    let json = answer.json()?;
    Ok(json["code"].as_str().context("the mock gave no code")?.to_owned())
}

/// The counts of a mock provider.
#[derive(Debug, Deserialize)]
pub(crate) struct Stats {
    /// Requests to the mock's token endpoint.
    pub(crate) token: u64,
    /// Codes exchanged for tokens.
    pub(crate) exchanges: u64,
    /// Requests to the mock's userinfo endpoint.
    pub(crate) userinfo: u64,
    /// Refresh tokens exchanged for tokens.
    pub(crate) refreshes: u64,
}

/// The service in a process of its own, with a config file and a log named after it.
pub(crate) struct Service {
    process: Option<Process>,
    client: Client,
    name: String,
    program: PathBuf,
    config: PathBuf,
    public: SocketAddr,
    ops: SocketAddr,
}

impl Service {
    /// Writes the configuration, which must have these addresses; nothing runs yet.
    pub(crate) fn configure(
        name: &str,
        program: &Path,
        dir: &Path,
        config: &str,
        [public, ops]: [SocketAddr; 2],
    ) -> Result<Self> {
        let file = dir.join(format!("{name}.toml"));
        std::fs::write(&file, config)?;
        Ok(Self {
            process: None,
            client: client()?,
            name: name.to_owned(),
            program: program.to_owned(),
            config: file,
            public,
            ops,
        })
    }

    fn command(&self, program: &Path, subcommand: &str) -> Command {
        let dir = self.config.parent().unwrap_or(Path::new("/"));
        let mut command = plain(program, dir);
        command.arg(subcommand).arg("--config").arg(&self.config);
        command
    }

    /// Runs `mintgate migrate`.
    pub(crate) async fn migrate(&self) -> Result<()> {
        self.migrate_with(&self.program).await
    }

    /// Runs `migrate` of a program that need not be the one that serves.
    pub(crate) async fn migrate_with(&self, program: &Path) -> Result<()> {
        capture(&mut self.command(program, "migrate"), START_LIMIT).await.map(drop)
    }

    /// Runs `mintgate keys …` and returns what it prints.
    pub(crate) async fn keys(&self, args: &[&str]) -> Result<String> {
        capture(self.command(&self.program, "keys").args(args), START_LIMIT).await
    }

    /// Starts `mintgate serve` and waits until it is ready.
    pub(crate) async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        self.ready().await
    }

    /// Starts `mintgate serve`.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        let log = self.log_file();
        let mut command = self.command(&self.program, "serve");
        self.process = Some(Process::logged(&self.name, &mut command, &log)?);
        Ok(())
    }

    /// The file that the service's output is appended to.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.config.with_extension("log")
    }

    /// Waits until the service is ready.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let url = format!("http://{}/health/ready", self.ops);
        let client = &self.client;
        let ready = || async { send(client.get(&url)).await?.expect_status(200) };
        self.process.as_mut().context(NOT_STARTED)?.ready(START_LIMIT, ready).await
    }

    /// Kills the service with SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL)?;
            process.wait_at_most(START_LIMIT).await?;
        }
        Ok(())
    }

    pub(crate) fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context(NOT_STARTED)
    }

    /// Everything that the service has logged.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// The URL of the service's public listener.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.public)
    }

    pub(crate) async fn jwks(&self) -> Result<Answer> {
        send(self.jwks_request()).await
    }

    /// Asks for the JWKS only if it is not the one with this ETag (RFC 9110 §13.1.2).
    pub(crate) async fn jwks_unless(&self, etag: &str) -> Result<Answer> {
        send(self.jwks_request().header("if-none-match", etag)).await
    }

    /// Fetches a document from an absolute URL.
    pub(crate) async fn document(&self, url: &str) -> Result<Answer> {
        send(self.client.get(url)).await
    }

    fn jwks_request(&self) -> RequestBuilder {
        self.client.get(format!("http://{}/.well-known/jwks.json", self.public))
    }

    /// Sends a GET request to the service's operations listener.
    pub(crate) async fn ops(&self, path: &str) -> Result<Answer> {
        send(self.client.get(format!("http://{}{path}", self.ops))).await
    }
}

/// The sections `[server]` and `[ops]` of a configuration.
pub(crate) fn listeners([public, ops]: [SocketAddr; 2], public_url: &str) -> String {
    format!(
        "[server]\nlisten = \"{public}\"\npublic_url = \"{public_url}\"\n\n\
         [ops]\nlisten = \"{ops}\"\n\n"
    )
}

/// A table `[[providers]]` of a configuration; `more` is whole lines of it.
pub(crate) fn provider(id: &str, issuer: &str, redirect_uris: &[&str], more: &str) -> String {
    format!(
        "\n[[providers]]\nid = \"{id}\"\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\n\
         client_secret = \"{CLIENT_SECRET}\"\nredirect_uris = {redirect_uris:?}\n{more}"
    )
}
