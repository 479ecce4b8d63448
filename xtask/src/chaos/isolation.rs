//! The experiment `one-provider-paused`: what a provider that hangs does to everybody else.
//!
//! The same load runs twice for the same time: once with two providers that work, once with one of
//! them paused. Refreshes and the other provider's logins are compared; the paused provider's own
//! logins must be refused in time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::api::{Api, Grant, Outcome, Sender, SignIn};
use super::experiment::RECOVERY_LIMIT;
use super::faults::StoppedProcesses;
use super::journal::{self, Exchange, Journal, Purpose, Record, exchanges};
use super::plan::Plan;
use super::report::Row;
use super::rig::{Deployment, PAUSED_PROVIDER, PROVIDER, Shared};
use crate::process::until;

/// Two timeouts of the provider (waiting for a free call, and the call), and some slack.
const IN_TIME: Duration = Duration::from_secs(5);
/// The pause between two requests of one client: the machine's speed is not what is measured.
const PACE: Duration = Duration::from_millis(100);
/// How many clients send each kind of request.
const CLIENTS: u32 = 4;
/// The numbers of the undisturbed run's clients begin at 0, those of the disturbed run's here; the
/// remainder of a number by 3 says which load the client is.
const DISTURBED: u32 = 300;
/// The number of the client that signs in before and after the two runs; higher ones prepare.
const OPERATOR: u32 = 600;
/// A closed circuit in the metrics.
const CLOSED: &str = "0";

/// What a client does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Refresh,
    OtherLogin,
    PausedLogin,
}

impl Load {
    const ALL: [Self; 3] = [Self::Refresh, Self::OtherLogin, Self::PausedLogin];

    fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::OtherLogin => "login, other provider",
            Self::PausedLogin => "login, paused provider",
        }
    }
}

struct Sample {
    load: Load,
    is_disturbed: bool,
    status: u16,
    took: Duration,
}

/// Runs the experiment; returns its row of the table.
pub(super) async fn run(
    shared: &Shared,
    plan: &Plan,
    during: Duration,
    deployment: &Deployment,
    dir: &Path,
) -> Result<Row> {
    let file = dir.join("journal.jsonl");
    let journal = Arc::new(Journal::create(&file)?);
    let providers = [shared.mock.issuer.clone(), shared.paused.issuer.clone()];
    let api = Arc::new(Api::new(deployment.urls(), providers, Arc::clone(&journal))?);
    // Discovery first, so that both runs find the same.
    for provider in [PROVIDER, PAUSED_PROVIDER] {
        log_in(&api, provider, OPERATOR, 0).await?;
    }
    run_clients(&api, during, false).await?;
    let paused = StoppedProcesses::with_children(shared.paused.process().pid())?;
    let ran = run_clients(&api, during, true).await;
    let circuit = circuit(deployment).await;
    drop(paused);
    journal.fault_ended()?;
    ran?;
    until(RECOVERY_LIMIT, || async {
        log_in(&api, PAUSED_PROVIDER, OPERATOR, 1).await?;
        let circuit = self::circuit(deployment).await?;
        ensure!(circuit == CLOSED, "the circuit's state is {circuit}");
        Ok(())
    })
    .await
    .context("the provider that goes on")?;
    let records = journal::read(&file)?;
    let samples = samples(&records);
    let unmet = judge(&samples, &circuit?).err().map(|error| error.to_string());
    Ok(Row::new(plan, "1 pause".to_owned(), &records, Vec::new())
        .with_notes(comparison(&samples), unmet))
}

/// Runs all clients for this long.
async fn run_clients(api: &Arc<Api>, span: Duration, is_disturbed: bool) -> Result<()> {
    let end = Instant::now() + span;
    let mut clients = JoinSet::new();
    for (index, load) in (0..).zip(Load::ALL) {
        for number in 0..CLIENTS {
            let number = number * 3 + index + if is_disturbed { DISTURBED } else { 0 };
            let api = Arc::clone(api);
            clients.spawn(async move { client(&api, load, number, is_disturbed, end).await });
        }
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

async fn client(
    api: &Api,
    load: Load,
    number: u32,
    is_disturbed: bool,
    end: Instant,
) -> Result<()> {
    let mut grant = match load {
        Load::Refresh => Some(log_in(api, PROVIDER, OPERATOR + number, 0).await?),
        Load::OtherLogin | Load::PausedLogin => None,
    };
    let mut count = 0;
    while Instant::now() < end {
        count += 1;
        let outcome = match (load, &grant) {
            (Load::Refresh, Some(held)) => api.refresh(sender(number, 0), 0, held).await?,
            (Load::Refresh, None) => bail!("a refresh gave no tokens"),
            (Load::OtherLogin, _) => attempt(api, PROVIDER, number, count, None).await?,
            (Load::PausedLogin, _) => {
                // A paused provider gives no code, and never sees one.
                let made_up = is_disturbed.then(|| format!("code-{number}-{count}"));
                attempt(api, PAUSED_PROVIDER, number, count, made_up).await?
            }
        };
        if let Outcome::Granted(newer) = outcome {
            grant = Some(*newer);
        }
        sleep(PACE).await;
    }
    Ok(())
}

fn sender(client: u32, login: u32) -> Sender {
    Sender { client, login, purpose: Purpose::Usual }
}

/// Sends one login, with a fresh code of the provider unless another code is given.
async fn attempt(
    api: &Api,
    provider: &str,
    client: u32,
    login: u32,
    code: Option<String>,
) -> Result<Outcome> {
    let code = match code {
        Some(code) => code,
        None => api.code(provider, client).await.context("the provider gave no code")?,
    };
    let sign_in = SignIn::new(provider, format!("isolation-{client}-{code}"), &code);
    api.log_in(sender(client, login), 0, &sign_in).await
}

async fn log_in(api: &Api, provider: &str, client: u32, login: u32) -> Result<Grant> {
    match attempt(api, provider, client, login, None).await? {
        Outcome::Granted(grant) => Ok(*grant),
        _ => bail!("a login with the provider {provider} failed"),
    }
}

/// What the metrics say of the paused provider's circuit: 0 closed, 1 half open, 2 open.
async fn circuit(deployment: &Deployment) -> Result<String> {
    let replica = deployment.replicas.first().context("there is no replica")?;
    let metrics = replica.service.ops("/metrics").await?.body;
    let series = format!("mintgate_provider_circuit_state{{provider=\"{PAUSED_PROVIDER}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    Ok(value.with_context(|| format!("there is no series {series}"))?.to_owned())
}

/// The requests of the two runs; one that was not answered has status 0.
fn samples(records: &[Record]) -> Vec<Sample> {
    let sample = |Exchange { sent, answer }: Exchange<'_>| {
        let client = sent.request.client;
        let load = Load::ALL[client as usize % Load::ALL.len()];
        let status = answer.map_or(0, |answer| answer.status);
        let nanos = answer.map_or(0, |answer| answer.at.saturating_sub(sent.at));
        let took = Duration::from_nanos(nanos);
        (client < OPERATOR).then_some(Sample {
            load,
            is_disturbed: client >= DISTURBED,
            status,
            took,
        })
    };
    exchanges(records).into_iter().filter_map(sample).collect()
}

/// The times of one kind of request in one of the runs, sorted.
fn times(samples: &[Sample], load: Load, is_disturbed: bool) -> Vec<Duration> {
    let fits = |sample: &&Sample| sample.load == load && sample.is_disturbed == is_disturbed;
    let mut times: Vec<_> = samples.iter().filter(fits).map(|sample| sample.took).collect();
    times.sort_unstable();
    times
}

/// The time within which this share of the requests was answered.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

/// The comparison of the two runs, one line for each kind of request.
fn comparison(samples: &[Sample]) -> Vec<String> {
    let line = |load: Load| {
        let [before, during] = [false, true].map(|disturbed| times(samples, load, disturbed));
        let columns = [("median", 50), ("p99", 99)].map(|(name, percent)| {
            let [before, during] =
                [&before, &during].map(|times| quantile(times, percent).as_secs_f64() * 1000.0);
            let ratio = during / before.max(f64::EPSILON);
            format!("{name} {before:>6.1} ms, paused {during:>6.1} ms {ratio:>6.2}×")
        });
        format!(
            "{:<23} {}; {} and {} requests",
            load.name(),
            columns.join("; "),
            before.len(),
            during.len()
        )
    };
    Load::ALL.map(line).into()
}

/// Fails if the paused provider harmed anybody but its own logins, or those not as it must.
fn judge(samples: &[Sample], circuit: &str) -> Result<()> {
    let (mut unavailable, mut timeout) = (0, 0);
    for Sample { load, is_disturbed, status, took } in samples {
        match (*load == Load::PausedLogin && *is_disturbed, status) {
            (false, 200) => {}
            (true, 503) => unavailable += 1,
            (true, 504) => timeout += 1,
            _ => bail!("{}: status {status} after {took:?}", load.name()),
        }
        ensure!(*took < IN_TIME, "{}: {took:?} until {status}", load.name());
    }
    ensure!(
        unavailable > 0 && timeout > 0,
        "{timeout} logins were 504 and {unavailable} were 503; both were expected"
    );
    ensure!(circuit != CLOSED, "the paused provider's circuit is closed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(load: Load, is_disturbed: bool, status: u16, secs: u64) -> Sample {
        Sample { load, is_disturbed, status, took: Duration::from_secs(secs) }
    }

    #[test]
    fn a_quantile_is_a_time_that_was_measured() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&times, 50), Duration::from_millis(51));
        assert_eq!(quantile(&times, 99), Duration::from_millis(100));
        assert_eq!(quantile(&times[..1], 99), Duration::from_millis(1));
        assert_eq!(quantile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn harm_by_the_paused_provider_fails_the_experiment() {
        let refused = || {
            vec![sample(Load::PausedLogin, true, 504, 2), sample(Load::PausedLogin, true, 503, 0)]
        };
        let passes = |more: Sample| {
            let mut samples = refused();
            samples.push(more);
            judge(&samples, "2").is_ok()
        };
        assert!(passes(sample(Load::Refresh, true, 200, 0)));
        assert!(passes(sample(Load::PausedLogin, false, 200, 0)));
        assert!(!passes(sample(Load::PausedLogin, false, 503, 0)));
        assert!(!passes(sample(Load::Refresh, true, 503, 0)));
        assert!(!passes(sample(Load::Refresh, true, 0, 0)));
        assert!(!passes(sample(Load::OtherLogin, true, 504, 0)));
        assert!(!passes(sample(Load::PausedLogin, true, 200, 0)));
        assert!(!passes(sample(Load::PausedLogin, true, 504, 6)));
        assert!(judge(&refused(), CLOSED).is_err());
        assert!(judge(&refused()[..1], "2").is_err());
    }
}
