//! The experiments in which somebody uses up what requests need: connections, places for requests, a
//! provider's time, the log's pipe. Refreshes, the JWKS and health must go on meanwhile.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Url;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::api::{Api, Grant, Outcome, Sender, SignIn};
use super::faults::StoppedProcesses;
use super::journal::{self, Journal, Purpose};
use super::plan::{Overload, Plan};
use super::report::Row;
use super::rig::{Deployment, PAUSED_PROVIDER, PROVIDER, Shared};
use crate::http::{client, send};
use crate::process::until;
use crate::rig::{REDIRECT_URI, Service};

/// After this an answer counts as missing. How fast answers are is no matter of a development build on a
/// machine that the experiment itself keeps busy.
const IN_TIME: Duration = Duration::from_secs(10);
const PACE: Duration = Duration::from_millis(100);
/// How long each of those who ask a hanging provider waits after a refusal.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long it may take until the log's pipe is full.
const UNTIL_FULL: Duration = Duration::from_mins(1);
const TOKEN: &str = "/api/v1/auth/token";

/// Runs the experiment; returns its row of the table.
pub(super) async fn run(
    shared: &Shared,
    plan: &Plan,
    by: Overload,
    during: Duration,
    deployment: &mut Deployment,
    dir: &Path,
) -> Result<Row> {
    // Each connection is a file here as well.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let file = dir.join("journal.jsonl");
    let journal = Arc::new(Journal::create(&file)?);
    let providers = [shared.mock.issuer.clone(), shared.paused.issuer.clone()];
    let service = &mut deployment.replicas.first_mut().context("there is no replica")?.service;
    // Past the proxy, which holds connections of its own.
    let api = Api::new(vec![service.base()], providers, Arc::clone(&journal))?;
    let grant = log_in(&api).await?;
    let injected = match by {
        Overload::SlowBodies(count) => {
            let bytes = format!(
                "POST {TOKEN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 content-length: 100\r\n\r\n{{"
            );
            let held = connections(&service.base(), count, bytes.as_bytes()).await?;
            serve(&api, service, grant, during).await?;
            format!("{} bodies", held.len())
        }
        Overload::IdleConnections(count) => {
            let held = connections(&service.base(), count, b"").await?;
            serve(&api, service, grant, during).await?;
            format!("{} connections", held.len())
        }
        Overload::CodesAtHangingProvider(count) => {
            let paused = StoppedProcesses::with_children(shared.paused.process().pid())?;
            let asking = sign_ins(&format!("{}{TOKEN}", service.base()), count)?;
            serve(&api, service, grant, during).await?;
            drop((asking, paused));
            format!("{count} codes")
        }
        Overload::LogPipe => {
            let pipe = Pipe::make(service.log_file())?;
            service.kill().await?;
            service.start().await?;
            until(UNTIL_FULL, || async {
                for _ in 0..50 {
                    service.jwks().await?.expect_status(200)?;
                }
                ensure!(dropped_lines(service).await? > 0, "the pipe is not full");
                Ok(())
            })
            .await?;
            serve(&api, service, grant, during).await?;
            let dropped = dropped_lines(service).await?;
            service.kill().await?;
            drop(pipe);
            format!("{dropped} lines")
        }
    };
    let records = journal::read(&file)?;
    Ok(Row::new(plan, injected, &records, Vec::new()))
}

/// Asks for everything that must go on, for this long.
async fn serve(api: &Api, service: &Service, mut grant: Grant, during: Duration) -> Result<()> {
    let end = Instant::now() + during;
    while Instant::now() < end {
        let started = Instant::now();
        let sender = Sender { client: 0, login: 0, purpose: Purpose::Usual };
        match api.refresh(sender, 0, &grant).await? {
            Outcome::Granted(newer) => grant = *newer,
            _ => bail!("a refresh was not answered with tokens"),
        }
        ensure!(started.elapsed() < IN_TIME, "a refresh took {:?}", started.elapsed());
        // On a connection of its own.
        let jwks = send(client()?.get(format!("{}/.well-known/jwks.json", service.base()))).await;
        let answers = [
            ("JWKS", jwks),
            ("health", service.ops("/health/live").await),
            ("readiness", service.ops("/health/ready").await),
        ];
        for (what, answer) in answers {
            let answer = answer.context(what)?;
            answer.expect_status(200).context(what)?;
            ensure!(answer.took < IN_TIME, "{what} took {:?}", answer.took);
        }
        sleep(PACE).await;
    }
    Ok(())
}

async fn log_in(api: &Api) -> Result<Grant> {
    let code = api.code(PROVIDER, 0).await.context("the provider gave no code")?;
    let sign_in = SignIn::new(PROVIDER, format!("overload-{code}"), &code);
    let sender = Sender { client: 0, login: 0, purpose: Purpose::Usual };
    match api.log_in(sender, 0, &sign_in).await? {
        Outcome::Granted(grant) => Ok(*grant),
        _ => bail!("the login failed"),
    }
}

/// So many connections that have sent this.
async fn connections(base: &str, count: usize, bytes: &[u8]) -> Result<Vec<TcpStream>> {
    let url = Url::parse(base)?;
    let address = url.socket_addrs(|| None)?;
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(&address[..]).await.context("a connection")?;
        // The service may have closed it, to make room for a later one.
        let _ = stream.write_all(bytes).await;
        held.push(stream);
    }
    Ok(held)
}

/// Keeps so many sign-ins going, with codes that nobody has given, until it is dropped.
fn sign_ins(url: &str, count: usize) -> Result<JoinSet<()>> {
    let client = client()?;
    let mut asking = JoinSet::new();
    for number in 0..count {
        let (client, url) = (client.clone(), url.to_owned());
        asking.spawn(async move {
            for attempt in 0.. {
                let body = json!({
                    "authCode": format!("code-{number}-{attempt}"), "provider": PAUSED_PROVIDER,
                    "redirectUri": REDIRECT_URI,
                });
                let _ = client.post(&url).json(&body).send().await;
                sleep(ASK_AGAIN).await;
            }
        });
    }
    Ok(asking)
}

async fn dropped_lines(service: &Service) -> Result<u64> {
    let metrics = service.ops("/metrics").await?.body;
    let series = "mintgate_log_lines_dropped_total ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(series));
    Ok(value.context("there is no count of dropped lines")?.parse()?)
}

/// A pipe in the place of a log; it can be written to, and nobody reads it.
struct Pipe {
    path: PathBuf,
    _open: File,
}

impl Pipe {
    fn make(path: PathBuf) -> Result<Self> {
        let _ = std::fs::remove_file(&path);
        let made = Command::new("mkfifo").arg(&path).status().context("mkfifo")?;
        ensure!(made.success(), "mkfifo failed");
        // For reading and writing, which does not wait for somebody at the other end.
        let open = File::options().read(true).write(true).open(&path)?;
        Ok(Self { path, _open: open })
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // Who shows the end of the log must not wait for it.
        let _ = std::fs::remove_file(&self.path);
        let _ = File::create(&self.path);
    }
}
