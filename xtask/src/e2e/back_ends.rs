//! What the back ends of apps ask for with the credentials of a client.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::login::expect_error;
use super::single::Single;
use super::stage::PROVIDER;
use super::steps::Steps;
use crate::http::{expect, send};
use crate::process::output_of;
use crate::rig::{Binaries, Mock, plain};

const ENCRYPTION_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const AUDIENCE: &str = "https://api.example.com";
const PROVIDER_TOKEN: &str = "/api/v1/auth/provider-token";

pub(super) async fn walk(steps: &mut Steps, binaries: &Binaries, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let name = "mintgate clients new makes a client, and the service starts with it";
    let (single, secret) = steps.step(name, start(binaries, dir)).await?;
    let name = "the provider's own access token of a session, renewed; none after the logout";
    steps.step(name, provider_token(&single, &secret)).await?;
    let name = "introspection and revocation, at the endpoints that the metadata names";
    steps.step(name, introspection(&single, &secret)).await?;
    let name = "the log and the database hold no secret in clear";
    steps.step(name, async { nothing_in_clear(&single, dir) }).await
}

/// Starts a service with the client that the command makes; returns its secret too.
async fn start(binaries: &Binaries, dir: &Path) -> Result<(Single, String)> {
    let mock = Mock::start(binaries, dir, "mock-idp").await?;
    // Access tokens that are to be renewed at once.
    mock.order(&json!({ "tokenMerge": { "expires_in": 1 } })).await?;
    let mut command = plain(&binaries.service, dir);
    let made = output_of("mintgate clients new", command.args(["clients", "new", "app", "--json"]))
        .await?;
    let made: Value = serde_json::from_str(&made)?;
    let text = |name: &str| made[name].as_str().context("a text").map(str::to_owned);
    let more = format!(
        "keep_access_token = true\n[[clients]]\nid = \"app\"\nsecret_hash = \"{}\"\n\
         provider_tokens = [\"{PROVIDER}\"]\naudience = \"{AUDIENCE}\"\nrefresh_tokens = true\n\
         [tokens]\naudience = [\"{AUDIENCE}\"]\n",
        text("secret_hash")?
    );
    let store = format!("sqlite://{}", dir.join("mintgate.db").display());
    let keys = format!("encryption_key = \"{ENCRYPTION_KEY}\"");
    let single = Single::start_with_keys(binaries, dir, &store, &keys, mock, &more).await?;
    let secret = text("secret")?;
    single.caller.recorder.add("client's secret", &secret);
    Ok((single, secret))
}

async fn provider_token(single: &Single, secret: &str) -> Result<()> {
    let caller = &single.caller;
    let code = caller.offline_code(&single.mock).await?;
    let message = "Tokens generated successfully.";
    let tokens = caller.tokens(&caller.redeem(PROVIDER, &code).await?, message)?;
    let ask = async |secret: &str| {
        let request = caller.back_end(PROVIDER_TOKEN, "app", secret);
        send(request.json(&json!({ "sid": tokens.session }))).await
    };
    let mut seen = Vec::new();
    for _ in 0..2 {
        let answer = ask(secret).await?;
        answer.expect_status(200)?;
        answer.expect_header("cache-control", "no-store")?;
        let body = answer.json()?;
        let token = body["accessToken"].as_str().context("no accessToken")?.to_owned();
        caller.recorder.add("provider's access token", &token);
        seen.push(token);
        // So that the next one is due: its life is a second.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    ensure!(seen[0] != seen[1], "a token that had expired was not renewed");
    let renewals = single.mock.stats().await?.refreshes;
    ensure!(renewals > 0, "the provider was not asked");
    expect_error(&ask("another secret").await?, 401, "INVALID_CLIENT")?;
    caller.log_out(&tokens.access).await?.expect_status(200)?;
    expect_error(&ask(secret).await?, 404, "NOT_FOUND")?;
    expect("renewals after the logout", &single.mock.stats().await?.refreshes, &renewals)
}

async fn introspection(single: &Single, secret: &str) -> Result<()> {
    let caller = &single.caller;
    let code = caller.offline_code(&single.mock).await?;
    let message = "Tokens generated successfully.";
    let tokens = caller.tokens(&caller.redeem(PROVIDER, &code).await?, message)?;
    let url = format!("{}/.well-known/oauth-authorization-server", single.service.base());
    let metadata = single.service.document(&url).await?.json()?;
    let ask = async |name: &str, token: &str| {
        let endpoint = metadata[name].as_str().context("the endpoint is not named")?;
        let path = endpoint.strip_prefix(&single.service.base()).context("it is elsewhere")?;
        let request = caller.back_end(path, "app", secret);
        let answer = send(request.form(&[("token", token)])).await?;
        answer.expect_status(200)?;
        answer.expect_header("cache-control", "no-store")?;
        Ok::<_, anyhow::Error>(answer)
    };
    for token in [&tokens.access, &tokens.refresh] {
        let told = ask("introspection_endpoint", token).await?.json()?;
        expect("active", &told["active"], &json!(true))?;
        expect("sid", &told["sid"], &json!(tokens.session))?;
    }
    ask("revocation_endpoint", &tokens.refresh).await?;
    for token in [&tokens.access, &tokens.refresh, &"banana".to_owned()] {
        let told = ask("introspection_endpoint", token).await?;
        expect("body", &told.body.as_str(), &"{\"active\":false}")?;
    }
    expect_error(&caller.refresh(&tokens.refresh).await?, 401, "SESSION_REVOKED")
}

fn nothing_in_clear(single: &Single, dir: &Path) -> Result<()> {
    let recorder = &single.caller.recorder;
    recorder.check_absent("the service's log", &single.service.log())?;
    super::nothing_in_files(recorder, &dir.join("mintgate.db"))
}
