//! Metrics, graceful shutdown, and the log without secrets.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::stage::{PROVIDER, SLOW_PROVIDER, Stage};
use super::steps::Steps;
use crate::http::expect;
use crate::process::until;

/// How long the provider delays the login that is in flight at the signal, in milliseconds.
const IN_FLIGHT_MS: u64 = 1000;
const STOPS: usize = 3;
/// How many logins are sent at once beforehand, so that every worker has connections.
const WARM_UP: usize = 8;
/// How soon after SIGTERM readiness must be 503.
const NOT_READY_LIMIT: Duration = Duration::from_millis(500);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const ARRIVAL_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn walk(steps: &mut Steps, stage: &mut Stage) -> Result<()> {
    steps.step("metrics count what happened", metrics(stage)).await?;
    // The scheduler decides which worker thread has the login and which the connection to the
    // provider, and an idle worker stops first: repeated, so that both cases occur.
    for _ in 0..STOPS {
        let name = "SIGTERM: not ready at once, the login in flight finishes, exit 0 in time";
        steps.step(name, shutdown(stage)).await?;
        steps.step("it starts again, with the same keys", start_again(stage)).await?;
    }
    steps.step("the log has the requests and no secret", log(stage)).await
}

async fn metrics(stage: &Stage) -> Result<()> {
    let answer = stage.service.ops("/metrics").await?;
    answer.expect_status(200)?;
    let generated = |provider: &str, outcome: &str| {
        let labels = [format!("provider=\"{provider}\""), format!("outcome=\"{outcome}\"")];
        sum(&answer.body, "mintgate_token_generation_total", &labels)
    };
    let successes = [PROVIDER, SLOW_PROVIDER].map(|provider| generated(provider, "success"));
    expect("logins counted", &successes.iter().sum(), &stage.caller.recorder.sessions())?;
    ensure!(generated(PROVIDER, "invalid_auth_code") > 0, "no refused code was counted");
    expect("timeouts counted", &generated(SLOW_PROVIDER, "provider_timeout"), &1)?;
    let timed = sum(&answer.body, "mintgate_token_generation_duration_seconds_count", &[]);
    ensure!(timed > 0, "no duration was observed");
    Ok(())
}

/// The sum of a metric's series that have all these labels.
fn sum(text: &str, metric: &str, labels: &[String]) -> u64 {
    text.lines()
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split('{').next()?;
            let fits = name == metric && labels.iter().all(|label| series.contains(label.as_str()));
            fits.then(|| value.parse::<u64>().ok())?
        })
        .sum()
}

async fn shutdown(stage: &mut Stage) -> Result<()> {
    let mut logins = JoinSet::new();
    for _ in 0..WARM_UP {
        let (caller, mock) = (stage.caller.clone(), stage.mock.base.clone());
        logins.spawn(async move {
            let code = caller.code_of(&mock).await?;
            caller.session(&caller.redeem(PROVIDER, &code).await?)
        });
    }
    while let Some(login) = logins.join_next().await {
        login??;
    }

    let before = stage.mock.stats().await?.token;
    stage.mock.order_token_fault(json!({"kind": "delay", "ms": IN_FLIGHT_MS})).await?;
    let code = stage.caller.code(&stage.mock).await?;
    let login = tokio::spawn({
        let caller = stage.caller.clone();
        async move { caller.redeem(PROVIDER, &code).await }
    });
    until(ARRIVAL_LIMIT, || async {
        ensure!(stage.mock.stats().await?.token > before, "the login has not reached the provider");
        Ok(())
    })
    .await?;

    let asked = Instant::now();
    stage.service.process()?.signal(Signal::TERM)?;
    until(NOT_READY_LIMIT, || async {
        stage.service.ops("/health/ready").await?.expect_status(503)
    })
    .await
    .context("readiness after SIGTERM")?;
    ensure!(!login.is_finished(), "the login was answered too early to prove anything");

    stage.caller.session(&login.await??).context("the login in flight")?;
    let left = STOP_LIMIT.saturating_sub(asked.elapsed());
    let status = stage.service.process()?.wait_at_most(left).await?;
    ensure!(status.success(), "expected exit code 0, got {status}");
    stage.mock.clear_faults().await
}

async fn start_again(stage: &mut Stage) -> Result<()> {
    stage.service.start().await?;
    let jwks = stage.service.jwks().await?;
    expect("JWKS after a restart", &jwks.body, &stage.jwks)?;
    stage.caller.login(PROVIDER, &stage.mock).await.map(drop)
}

async fn log(stage: &Stage) -> Result<()> {
    // A request id in the log proves that it is the log of those requests. A line is written a moment
    // after its answer.
    let id = stage.caller.recorder.last_request_id().context("no answer had a request id")?;
    let log = until(ARRIVAL_LIMIT, || async {
        let log = stage.service.log();
        ensure!(log.contains(&id), "the log does not mention the request {id}");
        Ok(log)
    })
    .await?;
    stage.caller.recorder.check_absent("the service's log", &log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let text = "# HELP a_total b\na_total{p=\"x\",o=\"ok\"} 3\na_total{p=\"y\",o=\"ok\"} 4\n\
                    a_total{p=\"x\",o=\"no\"} 5\na_total_more{p=\"x\",o=\"ok\"} 6\nb_count 7\n";
        assert_eq!(sum(text, "a_total", &["o=\"ok\"".into()]), 7);
        assert_eq!(sum(text, "a_total", &["o=\"ok\"".into(), "p=\"x\"".into()]), 3);
        assert_eq!(sum(text, "b_count", &[]), 7);
    }
}
