//! Logins and refusals while everything is healthy.

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::login::expect_error;
use super::stage::{PROVIDER, Stage};
use super::steps::Steps;
use crate::database::Database;
use crate::http::expect;

const AT_ONCE: usize = 20;

pub(super) async fn walk(
    steps: &mut Steps,
    stage: &Stage,
    database: Option<&Database>,
) -> Result<()> {
    steps.step("JWKS, with an ETag that answers 304", jwks(stage)).await?;
    steps.step("a login: JSON, cookies, tokens", login(stage, database)).await?;
    steps.step("a wrong code is 401 in the error shape", wrong_code(stage, database)).await?;
    steps.step("a code works once", code_twice(stage, database)).await?;
    let name = "one code twenty times at once: one 200, one session, one exchange";
    steps.step(name, code_at_once(stage, database)).await
}

async fn jwks(stage: &Stage) -> Result<()> {
    let first = stage.service.jwks().await?;
    first.expect_status(200)?;
    first.expect_header("cache-control", "public, max-age=300")?;
    let keys = first.json()?["keys"].as_array().cloned().unwrap_or_default();
    ensure!(!keys.is_empty(), "the JWKS is empty: {}", first.body);
    for key in &keys {
        let secret = ["d", "p", "q", "dp", "dq", "qi", "k"].iter().find(|m| key.get(m).is_some());
        expect("private members", &secret, &None)?;
    }
    let etag = first.header("etag").unwrap_or_default().to_owned();
    ensure!(!etag.is_empty(), "the JWKS has no ETag");
    let second = stage.service.jwks_unless(&etag).await?;
    second.expect_status(304)?;
    expect("body of a 304", &second.body.as_str(), &"")
}

async fn login(stage: &Stage, database: Option<&Database>) -> Result<()> {
    let before = sessions(database).await?;
    let session = stage.caller.login(PROVIDER, &stage.mock).await?;
    expect_new_sessions(database, before, 1).await?;
    if let Some(database) = database {
        expect("sessions not stored", &database.missing(&[session]).await?, &Vec::new())?;
    }
    Ok(())
}

async fn wrong_code(stage: &Stage, database: Option<&Database>) -> Result<()> {
    let before = sessions(database).await?;
    let answer = stage.caller.redeem(PROVIDER, "a-code-nobody-gave-out").await?;
    expect_error(&answer, 401, "INVALID_AUTH_CODE")?;
    expect_new_sessions(database, before, 0).await
}

async fn code_twice(stage: &Stage, database: Option<&Database>) -> Result<()> {
    let before = (sessions(database).await?, stage.mock.stats().await?);
    let code = stage.caller.code(&stage.mock).await?;
    stage.caller.session(&stage.caller.redeem(PROVIDER, &code).await?)?;
    expect_error(&stage.caller.redeem(PROVIDER, &code).await?, 401, "INVALID_AUTH_CODE")?;
    let token_requests = stage.mock.stats().await?.token - before.1.token;
    expect("requests to the provider's token endpoint", &token_requests, &1)?;
    expect_new_sessions(database, before.0, 1).await
}

async fn code_at_once(stage: &Stage, database: Option<&Database>) -> Result<()> {
    let before = (sessions(database).await?, stage.mock.stats().await?);
    let code = stage.caller.code(&stage.mock).await?;
    let mut redemptions = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (caller, code) = (stage.caller.clone(), code.clone());
        redemptions.spawn(async move { caller.redeem(PROVIDER, &code).await });
    }
    let mut good = 0;
    while let Some(answer) = redemptions.join_next().await {
        let answer = answer??;
        if answer.status == 200 {
            stage.caller.session(&answer)?;
            good += 1;
        } else {
            expect_error(&answer, 401, "INVALID_AUTH_CODE")?;
        }
    }
    expect("answers 200", &good, &1)?;
    let exchanges = stage.mock.stats().await?.exchanges - before.1.exchanges;
    expect("exchanges at the provider", &exchanges, &1)?;
    expect_new_sessions(database, before.0, 1).await
}

async fn sessions(database: Option<&Database>) -> Result<i64> {
    match database {
        Some(database) => database.sessions().await,
        None => Ok(0),
    }
}

/// The steps that look into Postgres.
async fn expect_new_sessions(
    database: Option<&Database>,
    before: i64,
    expected: i64,
) -> Result<()> {
    let Some(database) = database else { return Ok(()) };
    expect("new rows in sessions", &(database.sessions().await? - before), &expected)
}
