//! The experiments in which somebody uses up what requests need: connections, places for requests, a
//! provider's time, the log's pipe. Refreshes, the JWKS and health must go on meanwhile.

use std::any::Any;
use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Url;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::api::{Api, Grant, Outcome, Sender, SignIn};
use super::faults::StoppedProcesses;
use super::journal::{self, Journal, Purpose, Record};
use super::plan::{Overload, Plan};
use super::report::Row;
use super::rig::{Deployment, PAUSED_PROVIDER, PROVIDER, Shared};
use crate::http::{client, send};
use crate::process::until;
use crate::rig::{REDIRECT_URI, Service};

/// After this an answer counts as missing.
const IN_TIME: Duration = Duration::from_secs(10);
/// The time within which nearly all refreshes must be answered. Judged in the full form alone: how fast
/// answers are is no matter of a development build on a machine that the tests keep busy.
const PROMPT: Duration = Duration::from_secs(1);
/// How many of a hundred refreshes must be answered in that time.
const PROMPT_PERCENT: u64 = 95;
/// How long the service may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const PACE: Duration = Duration::from_millis(100);
/// How long each of those who ask a hanging provider waits after a refusal.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often connections that the service has ended are opened again, and which part of all at a time.
const OPEN_AGAIN: Duration = Duration::from_millis(100);
const PARTS: usize = 100;
/// How long it may take until the log's pipe is full.
const UNTIL_FULL: Duration = Duration::from_mins(1);
/// How many descriptors are needed for everything but the connections.
const OTHER_FILES: u64 = 1000;
/// How many of the requests without an answer are shown.
const SHOWN: usize = 5;
const TOKEN: &str = "/api/v1/auth/token";

/// Fails, saying why, if this process cannot cause it.
pub(super) fn can_cause(by: Overload) -> Result<()> {
    let needed = match by {
        Overload::SlowBodies(count)
        | Overload::CodesAtHangingProvider(count)
        | Overload::IdleConnections(count) => u64::try_from(count)? + OTHER_FILES,
        Overload::LogPipe => OTHER_FILES,
    };
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Some(limit) = maximum.filter(|limit| *limit < needed) {
        bail!("it needs {needed} open files, and the limit is {limit}");
    }
    // Each connection is a file here as well.
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(())
}

/// Runs the experiment; returns its row of the table.
pub(super) async fn run(
    shared: &Shared,
    plan: &Plan,
    by: Overload,
    during: Duration,
    deployment: &mut Deployment,
    dir: &Path,
) -> Result<Row> {
    let file = dir.join("journal.jsonl");
    let journal = Arc::new(Journal::create(&file)?);
    let providers = [shared.mock.issuer.clone(), shared.paused.issuer.clone()];
    let service = &mut deployment.replicas.first_mut().context("there is no replica")?.service;
    // Past the proxy, which holds connections of its own.
    let api = Api::new(vec![service.base()], providers, Arc::clone(&journal))?;
    let grant = log_in(&api).await?;
    let trouble = make_trouble(by, shared, service).await?;
    let served = serve(&api, service, grant, during).await?;
    let injected = injected(by, service).await?;
    let stopped = stop(service).await;
    drop(trouble);
    let ended = match &stopped {
        Ok(took) => format!("ended {} ms after SIGTERM", took.as_millis()),
        Err(error) => format!("SIGTERM: {error:#}"),
    };
    let note = format!("{served}; {ended}");
    let unmet = served.unmet(plan.judges_speed).or(stopped.is_err().then_some(ended));
    let records = journal::read(&file)?;
    let unanswered = records.iter().filter_map(|record| match record {
        Record::Unanswered { id, why, .. } => Some(format!("request {id} was not answered: {why}")),
        _ => None,
    });
    let notes = [note].into_iter().chain(unanswered.take(SHOWN)).collect();
    Ok(Row::new(plan, injected, &records, Vec::new()).with_notes(notes, unmet))
}

/// Makes what uses up what requests need, until it is dropped.
async fn make_trouble(
    by: Overload,
    shared: &Shared,
    service: &mut Service,
) -> Result<Box<dyn Any>> {
    Ok(match by {
        Overload::SlowBodies(count) => {
            let bytes = format!(
                "POST {TOKEN} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 content-length: 100\r\n\r\n{{"
            );
            Box::new(Connections::open(&service.base(), count, bytes).await?)
        }
        Overload::IdleConnections(count) => {
            Box::new(Connections::open(&service.base(), count, String::new()).await?)
        }
        Overload::CodesAtHangingProvider(count) => {
            let paused = StoppedProcesses::with_children(shared.paused.process().pid())?;
            Box::new((sign_ins(&format!("{}{TOKEN}", service.base()), count)?, paused))
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
            Box::new(pipe)
        }
    })
}

/// What was used up, in words.
async fn injected(by: Overload, service: &Service) -> Result<String> {
    Ok(match by {
        Overload::SlowBodies(count) => format!("{count} bodies"),
        Overload::CodesAtHangingProvider(count) => format!("{count} codes"),
        Overload::IdleConnections(count) => format!("{count} connections"),
        Overload::LogPipe => format!("{} lines", dropped_lines(service).await?),
    })
}

/// How what must go on was answered.
#[derive(Default)]
struct Served {
    rounds: u64,
    jwks: u64,
    refreshes: u64,
    prompt_refreshes: u64,
}

impl Served {
    /// The expectation that was not met.
    fn unmet(&self, judges_speed: bool) -> Option<String> {
        let Self { rounds, jwks, refreshes, prompt_refreshes } = *self;
        if rounds == 0 {
            Some("nothing was asked".to_owned())
        } else if jwks < rounds {
            Some(format!("{} of {rounds} JWKS requests were not answered 200", rounds - jwks))
        } else if refreshes < rounds {
            Some(format!("{} of {rounds} refreshes were not answered 200", rounds - refreshes))
        } else if judges_speed && prompt_refreshes * 100 < rounds * PROMPT_PERCENT {
            Some(format!("{} of {rounds} refreshes took longer", rounds - prompt_refreshes))
        } else {
            None
        }
    }
}

impl Display for Served {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { rounds, jwks, refreshes, prompt_refreshes } = *self;
        let share = |good: u64| {
            let of_thousand = good * 1000 / rounds.max(1);
            format!("{}.{} %", of_thousand / 10, of_thousand % 10)
        };
        write!(
            f,
            "of {rounds}: JWKS 200 {}, refreshes 200 {}, within {PROMPT:?} {}",
            share(jwks),
            share(refreshes),
            share(prompt_refreshes)
        )
    }
}

/// Asks for everything that must go on, for this long.
async fn serve(api: &Api, service: &Service, mut grant: Grant, during: Duration) -> Result<Served> {
    let mut served = Served::default();
    let end = Instant::now() + during;
    while Instant::now() < end {
        served.rounds += 1;
        let started = Instant::now();
        let sender = Sender { client: 0, login: 0, purpose: Purpose::Usual };
        match api.refresh(sender, 0, &grant).await? {
            Outcome::Granted(newer) => {
                grant = *newer;
                served.refreshes += 1;
                served.prompt_refreshes += u64::from(started.elapsed() < PROMPT);
            }
            // The same token again, as clients are asked to.
            Outcome::Unknown => {}
            Outcome::Done | Outcome::Refused => bail!("a refresh was refused"),
        }
        // On a connection of its own.
        let jwks = send(client()?.get(format!("{}/.well-known/jwks.json", service.base()))).await;
        served.jwks += u64::from(jwks.is_ok_and(|it| it.status == 200 && it.took < IN_TIME));
        for path in ["/health/live", "/health/ready"] {
            let answer = service.ops(path).await.context(path)?;
            answer.expect_status(200).context(path)?;
            ensure!(answer.took < IN_TIME, "{path} took {:?}", answer.took);
        }
        sleep(PACE).await;
    }
    Ok(served)
}

/// Asks the service to stop; returns how long it took.
async fn stop(service: &mut Service) -> Result<Duration> {
    let asked = Instant::now();
    let process = service.process()?;
    process.signal(Signal::TERM)?;
    let status = process.wait_at_most(STOP_LIMIT).await?;
    ensure!(status.success(), "expected exit code 0, got {status}");
    Ok(asked.elapsed())
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

/// Connections that have all sent the same. Those that the service ends are opened again, as far as it
/// lets them, until this is dropped.
struct Connections(JoinHandle<()>);

impl Connections {
    async fn open(base: &str, count: usize, bytes: String) -> Result<Self> {
        let url = Url::parse(base)?;
        let addresses = url.socket_addrs(|| None)?;
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(connection(&addresses, &bytes).await.context("a connection")?);
        }
        Ok(Self(tokio::spawn(async move {
            loop {
                sleep(OPEN_AGAIN).await;
                let ended = held.iter_mut().filter(|connection| has_ended(connection));
                for ended in ended.take(count / PARTS) {
                    // The service may be about to stop.
                    if let Ok(opened) = connection(&addresses, &bytes).await {
                        *ended = opened;
                    }
                }
            }
        })))
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connection(addresses: &[SocketAddr], bytes: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(addresses).await?;
    // The service may have closed it, to make room for a later one.
    let _ = stream.write_all(bytes.as_bytes()).await;
    Ok(stream)
}

/// Whether the service has answered, or closed the connection.
fn has_ended(connection: &TcpStream) -> bool {
    !matches!(connection.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
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
