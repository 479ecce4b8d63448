//! `cargo xtask isolation`: what a provider that is paused does to everybody else, in ratios.
//!
//! The same clients run twice for the same time against the shipped binary: once with two providers
//! that work, once with one of them stopped (SIGSTOP) in the middle of its requests. Refreshes and the
//! other provider's logins are timed in both; the paused one's logins must be told so in time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::e2e::rig::{Binaries, CLIENT_ID, CLIENT_SECRET, Mock, REDIRECT_URI, Service, code};
use crate::process::{free_addresses, until};
use crate::say;

const STEADY: &str = "steady";
const PAUSED: &str = "paused";
/// The default of `timeout_ms` and the longest wait for a place at a provider, and some slack.
const IN_TIME: Duration = Duration::from_secs(12);
/// How long the service may take to find out that the provider is back.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);
/// Between two requests of one client: the machine is not to be what is measured.
const PACE: Duration = Duration::from_millis(200);
/// Clients of each kind.
const CLIENTS: usize = 4;

#[derive(Args)]
pub(crate) struct Options {
    /// How long the provider is paused, in seconds; the undisturbed run takes as long
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Use optimised programs (they are built first)
    #[arg(long)]
    release: bool,
}

/// What a client does, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refresh,
    OtherLogin,
    OwnLogin,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Refresh, Self::OtherLogin, Self::OwnLogin];

    fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::OtherLogin => "login, other provider",
            Self::OwnLogin => "login, paused provider",
        }
    }
}

struct Sample {
    kind: Kind,
    status: u16,
    took: Duration,
}

/// The service and its two providers.
struct Rig {
    service: Service,
    steady: Mock,
    paused: Mock,
    client: Client,
    base: String,
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let binaries = Binaries::build_profile(options.release).await?;
    let dir = tempfile::Builder::new().prefix("mintgate-isolation-").tempdir()?;
    let rig = Arc::new(Rig::start(&binaries, dir.path()).await?);
    let span = Duration::from_secs(options.seconds.max(5));
    let measured = measure(&rig, span).await;
    if measured.is_err() {
        say::error(&format!("--- the service's log\n{}", crate::process::tail(&rig.service.log())));
    }
    measured
}

async fn measure(rig: &Arc<Rig>, span: Duration) -> Result<()> {
    // Discovery and connections first: both runs are to find the same.
    for (provider, mock) in [(STEADY, &rig.steady), (PAUSED, &rig.paused)] {
        let status = rig.login(provider, &code(&rig.client, &mock.issuer).await?).await?.0;
        ensure!(status == 200, "a login with {provider} gave {status}");
    }
    let undisturbed = load(rig, span, false).await?;
    rig.paused.process().signal(Signal::STOP)?;
    let disturbed = load(rig, span, true).await;
    let circuit = rig.circuit().await;
    rig.paused.process().signal(Signal::CONT)?;
    let (disturbed, circuit) = (disturbed?, circuit?);
    let recovered = rig.recovery().await?;
    report(&undisturbed, &disturbed);
    judge(&undisturbed, &disturbed, &circuit)?;
    say::line(&format!(
        "isolation: ok (paused for {} s; its circuit was {circuit} at the end, and closed {} ms after it went on)",
        span.as_secs(),
        recovered.as_millis()
    ));
    Ok(())
}

impl Rig {
    async fn start(binaries: &Binaries, dir: &Path) -> Result<Self> {
        let steady = Mock::start(binaries, dir, "mock-steady").await?;
        let paused = Mock::start(binaries, dir, "mock-paused").await?;
        let [public, ops] = free_addresses()?;
        let provider = |id: &str, issuer: &str| {
            format!(
                "[[providers]]\nid = \"{id}\"\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT_ID}\"\n\
                 client_secret = \"{CLIENT_SECRET}\"\nredirect_uris = [\"{REDIRECT_URI}\"]\n"
            )
        };
        let text = format!(
            "[server]\nlisten = \"{public}\"\npublic_url = \"http://{public}\"\n\
             [ops]\nlisten = \"{ops}\"\n[store]\nurl = \"sqlite://{}\"\n[keys]\ndir = \"keys\"\n\
             [tokens]\nbody_delivery = true\n{}{}",
            dir.join("mintgate.db").display(),
            provider(STEADY, &steady.issuer),
            provider(PAUSED, &paused.issuer),
        );
        let mut service = Service::with_config(binaries, dir, &text, [public, ops])?;
        service.migrate().await?;
        service.start().await?;
        let client = Client::builder().no_proxy().timeout(IN_TIME * 2).build()?;
        Ok(Self { base: service.base(), service, steady, paused, client })
    }

    /// The status and the refresh token.
    async fn login(&self, provider: &str, code: &str) -> Result<(u16, Option<String>)> {
        let body = json!({ "provider": provider, "authCode": code, "tokenDelivery": "body" });
        self.post("token", &body).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(u16, Option<String>)> {
        let url = format!("{}/api/v1/auth/{path}", self.base);
        let answer = self.client.post(url).json(body).send().await?;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await?;
        Ok((status, body["refreshToken"].as_str().map(str::to_owned)))
    }

    /// What the metrics say of the paused provider's circuit.
    async fn circuit(&self) -> Result<String> {
        let metrics = self.service.ops("/metrics").await?.body;
        let series = format!("mintgate_provider_circuit_state{{provider=\"{PAUSED}\"}} ");
        let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
        Ok(match value.with_context(|| format!("there is no series {series}"))? {
            "0" => "closed".to_owned(),
            "1" => "half open".to_owned(),
            "2" => "open".to_owned(),
            other => other.to_owned(),
        })
    }

    /// How long it takes until the provider that went on is used again.
    async fn recovery(&self) -> Result<Duration> {
        let started = Instant::now();
        until(RECOVERY_LIMIT, || async {
            let code = code(&self.client, &self.paused.issuer).await?;
            let (status, _) = self.login(PAUSED, &code).await?;
            ensure!(status == 200, "a login with the provider that is back gave {status}");
            let circuit = self.circuit().await?;
            ensure!(circuit == "closed", "its circuit is {circuit}");
            Ok(())
        })
        .await?;
        Ok(started.elapsed())
    }
}

/// All clients for so long; what they saw.
async fn load(rig: &Arc<Rig>, span: Duration, is_paused: bool) -> Result<Vec<Sample>> {
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for kind in Kind::ALL {
        for number in 0..CLIENTS {
            let (rig, over) = (Arc::clone(rig), Arc::clone(&over));
            clients.spawn(async move { client(&rig, kind, number, is_paused, &over).await });
        }
    }
    tokio::time::sleep(span).await;
    over.store(true, Ordering::Relaxed);
    let mut samples = Vec::new();
    while let Some(done) = clients.join_next().await {
        samples.extend(done??);
    }
    Ok(samples)
}

async fn client(
    rig: &Rig,
    kind: Kind,
    number: usize,
    is_paused: bool,
    over: &AtomicBool,
) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let (_, mut refresh) = rig.login(STEADY, &code(&rig.client, &rig.steady.issuer).await?).await?;
    while !over.load(Ordering::Relaxed) {
        // A code is asked for first and not timed; a provider that is stopped gives none, nor will
        // it ever see one.
        let code = match kind {
            Kind::Refresh => String::new(),
            Kind::OtherLogin => code(&rig.client, &rig.steady.issuer).await?,
            Kind::OwnLogin if is_paused => format!("code-{number}-{}", samples.len()),
            Kind::OwnLogin => code(&rig.client, &rig.paused.issuer).await?,
        };
        let started = Instant::now();
        let (status, next) = match kind {
            Kind::Refresh => {
                let token = refresh.take().context("a refresh gave no refresh token")?;
                rig.post("refresh", &json!({ "refreshToken": token })).await?
            }
            Kind::OtherLogin => rig.login(STEADY, &code).await?,
            Kind::OwnLogin => rig.login(PAUSED, &code).await?,
        };
        samples.push(Sample { kind, status, took: started.elapsed() });
        refresh = next.or(refresh);
        tokio::time::sleep(PACE).await;
    }
    Ok(samples)
}

fn times(samples: &[Sample], kind: Kind) -> Vec<Duration> {
    let mut times: Vec<_> =
        samples.iter().filter(|sample| sample.kind == kind).map(|sample| sample.took).collect();
    times.sort_unstable();
    times
}

/// The time that this share of the requests stays within.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn report(undisturbed: &[Sample], disturbed: &[Sample]) {
    say::line(&format!(
        "{:<24} {:>9} {:>9} {:>7} {:>9} {:>9} {:>7} {:>9}",
        "", "median", "paused", "ratio", "p99", "paused", "ratio", "requests"
    ));
    for kind in Kind::ALL {
        let (before, during) = (times(undisturbed, kind), times(disturbed, kind));
        let columns = [50, 99].map(|percent| {
            let (before, during) = (quantile(&before, percent), quantile(&during, percent));
            let ratio = during.as_secs_f64() / before.as_secs_f64().max(f64::EPSILON);
            format!("{:>6.1} ms {:>6.1} ms {ratio:>6.2}×", millis(before), millis(during))
        });
        let [median, p99] = columns;
        let counts = format!("{:>4}/{}", before.len(), during.len());
        say::line(&format!("{:<24} {median} {p99} {counts}", kind.name()));
    }
}

fn judge(undisturbed: &[Sample], disturbed: &[Sample], circuit: &str) -> Result<()> {
    let unwell = undisturbed.iter().filter(|sample| sample.status != 200).count();
    ensure!(unwell == 0, "{unwell} requests of the undisturbed run were refused");
    let mut told = [0_usize; 2];
    for Sample { kind, status, took } in disturbed {
        match (kind, status) {
            (Kind::Refresh | Kind::OtherLogin, 200) => {}
            (Kind::OwnLogin, 503) => told[0] += 1,
            (Kind::OwnLogin, 504) => told[1] += 1,
            _ => bail!("{}: status {status} after {took:?}", kind.name()),
        }
        ensure!(*took < IN_TIME, "{}: {took:?} until {status}", kind.name());
    }
    let slowest = times(disturbed, Kind::OwnLogin).pop().unwrap_or_default();
    say::line(&format!(
        "the paused provider's own logins: {} × 504, {} × 503, the slowest after {:.1} s",
        told[1],
        told[0],
        slowest.as_secs_f64()
    ));
    ensure!(
        told.iter().all(|count| *count > 0),
        "expected both 504 and, once the circuit is open, 503"
    );
    ensure!(circuit != "closed", "the paused provider's circuit is closed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_time_that_was_measured() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 50), Duration::from_millis(51));
        assert_eq!(quantile(&times, 99), Duration::from_millis(100));
        assert_eq!(quantile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(quantile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn whoever_is_harmed_by_the_paused_provider_fails_the_run() {
        let sample = |kind, status, secs| Sample { kind, status, took: Duration::from_secs(secs) };
        let told = || vec![sample(Kind::OwnLogin, 504, 5), sample(Kind::OwnLogin, 503, 0)];
        let judged = |more: Sample| {
            let mut samples = told();
            samples.push(more);
            judge(&[], &samples, "open").is_ok()
        };
        assert!(judged(sample(Kind::Refresh, 200, 0)));
        assert!(!judged(sample(Kind::Refresh, 503, 0)));
        assert!(!judged(sample(Kind::OtherLogin, 504, 0)));
        assert!(!judged(sample(Kind::OwnLogin, 200, 0)));
        assert!(!judged(sample(Kind::OwnLogin, 504, 13)));
        assert!(judge(&[], &told(), "closed").is_err());
        assert!(judge(&[], &told()[..1], "open").is_err());
    }
}
