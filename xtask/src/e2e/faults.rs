//! A provider that hangs, and a database that dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use super::login::{Caller, expect_error};
use super::stage::{PROVIDER, SLOW_PROVIDER, SLOW_TIMEOUT, Stage};
use super::steps::Steps;
use crate::database::Database;
use crate::http::{Answer, expect};
use crate::postgres::Postgres;
use crate::process::until;

/// The longest time of an answer while another provider hangs.
const PROMPT: Duration = Duration::from_secs(1);
/// How much longer than its setting a timeout may take.
const SLACK: Duration = Duration::from_secs(2);
/// How long the service may take to notice a fault or its end.
const NOTICE_LIMIT: Duration = Duration::from_secs(30);
const STREAMS: usize = 4;
/// How many logins must have succeeded before the database is killed.
const WARM_UP: usize = 12;

pub(super) async fn hanging_provider(steps: &mut Steps, stage: &Stage) -> Result<()> {
    let name = "a provider hangs: its login is 504 in time, another's and JWKS go on";
    steps.step(name, hang(stage)).await
}

async fn hang(stage: &Stage) -> Result<()> {
    // Discovery first, so that the code exchange is what hangs.
    stage.caller.login(SLOW_PROVIDER, &stage.slow).await?;
    let before = stage.slow.stats().await?.token;
    stage.slow.order_token_fault(json!({"kind": "hang"})).await?;
    let code = stage.caller.code(&stage.slow).await?;
    let hanging = tokio::spawn({
        let caller = stage.caller.clone();
        async move { caller.redeem(SLOW_PROVIDER, &code).await }
    });
    until(NOTICE_LIMIT, || async {
        let arrived = stage.slow.stats().await?.token - before;
        ensure!(arrived == 1, "{arrived} requests arrived at the hanging token endpoint");
        Ok(())
    })
    .await?;

    let code = stage.caller.code(&stage.mock).await?;
    let other = stage.caller.redeem(PROVIDER, &code).await?;
    stage.caller.session(&other)?;
    let jwks = stage.service.jwks().await?;
    jwks.expect_status(200)?;
    ensure!(!hanging.is_finished(), "the hanging login was answered before the others were");
    ensure!(
        other.took < PROMPT && jwks.took < PROMPT,
        "login {:?}, JWKS {:?}",
        other.took,
        jwks.took
    );

    let answer = hanging.await??;
    expect_error(&answer, 504, "PROVIDER_TIMEOUT")?;
    ensure!(answer.took < SLOW_TIMEOUT + SLACK, "the 504 took {:?}", answer.took);
    expect("requests sent for the code", &(stage.slow.stats().await?.token - before), &1)?;
    stage.slow.clear_faults().await?;
    stage.caller.login(SLOW_PROVIDER, &stage.slow).await.map(drop)
}

/// Kills the database while logins arrive, and starts it again.
pub(super) async fn database_crash(
    steps: &mut Steps,
    stage: &Stage,
    postgres: &mut Postgres,
    database: &Database,
) -> Result<()> {
    let mut stream = Stream::start(stage);
    let name = "Postgres dies under a stream of logins: 503 with Retry-After, not ready, alive";
    steps.step(name, die(stage, postgres, &mut stream)).await?;
    let name = "Postgres comes back: ready and a login without a restart, no session lost";
    steps.step(name, recover(stage, postgres, database, stream)).await
}

async fn die(stage: &Stage, postgres: &mut Postgres, stream: &mut Stream) -> Result<()> {
    while stream.sessions.len() < WARM_UP {
        stream.next().await?;
    }
    postgres.crash().await?;
    while stream.refused == 0 {
        stream.next().await?;
    }
    until(NOTICE_LIMIT, || async { stage.service.ops("/health/ready").await?.expect_status(503) })
        .await
        .context("readiness")?;
    stage.service.ops("/health/live").await?.expect_status(200)?;
    stage.service.jwks().await?.expect_status(200)?;
    let code = stage.caller.code(&stage.mock).await?;
    expect_error(&stage.caller.redeem(PROVIDER, &code).await?, 503, "STORE_UNAVAILABLE")
}

async fn recover(
    stage: &Stage,
    postgres: &mut Postgres,
    database: &Database,
    stream: Stream,
) -> Result<()> {
    postgres.restart().await?;
    until(NOTICE_LIMIT, || async { stage.service.ops("/health/ready").await?.expect_status(200) })
        .await
        .context("readiness")?;
    stage.caller.login(PROVIDER, &stage.mock).await?;
    let acknowledged = stream.finish().await?;
    expect("acknowledged sessions lost", &database.missing(&acknowledged).await?, &Vec::new())
}

/// Several clients, each of which logs in again and again until [`Stream::finish`].
struct Stream {
    workers: JoinSet<()>,
    answers: UnboundedReceiver<Result<Answer>>,
    over: Arc<AtomicBool>,
    caller: Caller,
    sessions: Vec<String>,
    refused: usize,
}

impl Stream {
    fn start(stage: &Stage) -> Self {
        let (sender, answers) = unbounded_channel();
        let over = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for _ in 0..STREAMS {
            let (caller, mock) = (stage.caller.clone(), stage.mock.base.clone());
            workers.spawn(log_in_until(Arc::clone(&over), caller, mock, sender.clone()));
        }
        let caller = stage.caller.clone();
        Self { workers, answers, over, caller, sessions: Vec::new(), refused: 0 }
    }

    /// Takes the next answer, which must be a complete 200 or the 503 of an unavailable store.
    async fn next(&mut self) -> Result<()> {
        let answer = self.answers.recv().await.context("the logins ended")?;
        self.take(&answer?)
    }

    fn take(&mut self, answer: &Answer) -> Result<()> {
        match answer.status {
            200 => self.sessions.push(self.caller.session(answer)?),
            503 => {
                expect_error(answer, 503, "STORE_UNAVAILABLE")?;
                self.refused += 1;
            }
            other => bail!("expected 200 or 503, got {other} with {}", answer.body),
        }
        Ok(())
    }

    /// Ends the logins; returns the sessions that were acknowledged.
    async fn finish(mut self) -> Result<Vec<String>> {
        self.over.store(true, Ordering::Relaxed);
        while let Some(answer) = self.answers.recv().await {
            self.take(&answer?)?;
        }
        while let Some(ended) = self.workers.join_next().await {
            ended?;
        }
        Ok(self.sessions)
    }
}

async fn log_in_until(
    over: Arc<AtomicBool>,
    caller: Caller,
    mock: String,
    answers: UnboundedSender<Result<Answer>>,
) {
    while !over.load(Ordering::Relaxed) {
        let answer = async {
            let code = caller.code_of(&mock).await?;
            caller.redeem(PROVIDER, &code).await
        };
        if answers.send(answer.await).is_err() {
            return;
        }
    }
}
