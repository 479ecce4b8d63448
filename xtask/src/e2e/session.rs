//! A session after its login: refreshes, logout, key rotation.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::login::{Caller, Tokens, expect_error};
use super::stage::{PROVIDER, Stage};
use super::steps::Steps;
use crate::http::expect;
use crate::process::until;
use crate::rig::REDIRECT_URI;

const LOGGED_IN: &str = "Tokens generated successfully.";
const REFRESHED: &str = "Tokens refreshed successfully.";
/// How long the service may take to load new keys; `keys.reload_secs` is 1.
const NOTICE_LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn walk(steps: &mut Steps, stage: &Stage) -> Result<()> {
    let name = "a refresh: the same session, the next generation";
    let (before, after) = steps.step(name, refresh(stage)).await?;
    let name = "the token before is answered with the same successor, byte for byte";
    steps.step(name, replay(stage, &before, &after)).await?;
    let name = "a logout: the cookies are cleared, the session's tokens are 401";
    steps.step(name, log_out(&stage.caller, &after)).await?;
    let name = "a logout at the provider too: the browser goes there and comes back";
    steps.step(name, sign_out(stage)).await?;
    let name = "the issuer's metadata leads to the key that signed";
    steps.step(name, metadata(stage)).await
}

/// A login at the mock with this base URL, a refresh and a logout.
pub(super) async fn from_login_to_logout(caller: &Caller, mock: &str) -> Result<()> {
    let before = log_in(caller, mock).await?;
    let after = successor(caller, &before).await?;
    expect_me(caller, &after).await?;
    log_out(caller, &after).await
}

async fn log_in(caller: &Caller, mock: &str) -> Result<Tokens> {
    let code = caller.code_of(mock).await?;
    caller.tokens(&caller.redeem(PROVIDER, &code).await?, LOGGED_IN)
}

/// Refreshes, and checks that the session goes on; returns the new tokens.
async fn successor(caller: &Caller, before: &Tokens) -> Result<Tokens> {
    let after = caller.tokens(&caller.refresh(&before.refresh).await?, REFRESHED)?;
    expect("sid", &after.session, &before.session)?;
    expect("gen", &after.generation, &(before.generation + 1))?;
    Ok(after)
}

async fn expect_me(caller: &Caller, tokens: &Tokens) -> Result<()> {
    let me = caller.me(&tokens.access).await?;
    me.expect_status(200)?;
    expect("sid of /me", &me.json()?["sid"], &json!(tokens.session))
}

async fn refresh(stage: &Stage) -> Result<(Tokens, Tokens)> {
    let before = log_in(&stage.caller, &stage.mock.base).await?;
    let after = successor(&stage.caller, &before).await?;
    ensure!(after.access != before.access, "the access token is the same as before");
    expect_me(&stage.caller, &after).await?;
    Ok((before, after))
}

async fn replay(stage: &Stage, before: &Tokens, after: &Tokens) -> Result<()> {
    let again = successor(&stage.caller, before).await?;
    // Without `expect`, because a failure must not print tokens.
    ensure!(again.refresh == after.refresh, "another refresh token of the same generation");
    Ok(())
}

async fn log_out(caller: &Caller, tokens: &Tokens) -> Result<()> {
    for _ in 0..2 {
        let ended = caller.log_out(&tokens.access).await?;
        ended.expect_status(200)?;
        let cleared = ended.all("set-cookie");
        let is_cleared = |cookie: &&str| cookie.contains("Max-Age=0");
        ensure!(cleared.len() == 2 && cleared.iter().all(is_cleared), "Set-Cookie: {cleared:?}");
    }
    expect_error(&caller.refresh(&tokens.refresh).await?, 401, "SESSION_REVOKED")?;
    expect_error(&caller.me(&tokens.access).await?, 401, "SESSION_REVOKED")
}

async fn sign_out(stage: &Stage) -> Result<()> {
    let tokens = log_in(&stage.caller, &stage.mock.base).await?;
    let ended = stage.caller.sign_out(&tokens.access, REDIRECT_URI, "bye").await?;
    ended.expect_status(200)?;
    let Some(url) = ended.json()?["logoutUrl"].as_str().map(str::to_owned) else {
        bail!("no logoutUrl: {}", ended.body)
    };
    let back = stage.service.document(&url).await?;
    back.expect_status(303)?;
    expect("Location", &back.header("location"), &Some(&*format!("{REDIRECT_URI}?state=bye")))?;
    expect_error(&stage.caller.refresh(&tokens.refresh).await?, 401, "SESSION_REVOKED")
}

async fn metadata(stage: &Stage) -> Result<()> {
    let issuer = stage.service.base();
    for name in ["openid-configuration", "oauth-authorization-server"] {
        let document =
            stage.service.document(&format!("{issuer}/.well-known/{name}")).await?.json()?;
        expect("issuer", &document["issuer"], &json!(issuer))?;
        let Some(jwks_uri) = document["jwks_uri"].as_str() else {
            bail!("no jwks_uri: {document}")
        };
        let jwks = stage.service.document(jwks_uri).await?;
        let kid = log_in(&stage.caller, &stage.mock.base).await?.access_key;
        ensure!(published(&jwks.body, &kid), "{jwks_uri} lacks the key {kid}: {}", jwks.body);
    }
    Ok(())
}

fn published(jwks: &str, kid: &str) -> bool {
    jwks.contains(&format!("\"{kid}\""))
}

/// Rotates the keys while sessions go on.
pub(super) async fn keys(steps: &mut Steps, stage: &Stage) -> Result<()> {
    let name = "mintgate keys rotate: the next key, published before, signs; nobody notices";
    steps.step(name, rotate_access(stage)).await?;
    let name = "mintgate keys rotate --use refresh: old refresh tokens stay good";
    steps.step(name, rotate_refresh(stage)).await
}

async fn rotate_access(stage: &Stage) -> Result<()> {
    let before = log_in(&stage.caller, &stage.mock.base).await?;
    let published_before = stage.service.jwks().await?.body;
    let list = stage.service.keys(&["list"]).await?;
    ensure!(list.contains(&before.access_key), "the current key is not listed:\n{list}");
    stage.service.keys(&["rotate"]).await?;

    let after =
        changed(stage, before, |before, after| before.access_key != after.access_key).await?;
    let kid = &after.now.access_key;
    ensure!(published(&published_before, kid), "{kid} signs and was not published before");
    // The key that signed before, and the one that signs now.
    expect_me(&stage.caller, &after.first).await?;
    expect_me(&stage.caller, &after.now).await?;
    let jwks = stage.service.jwks().await?.body;
    for kid in [&after.first.access_key, kid] {
        ensure!(published(&jwks, kid), "the JWKS lacks {kid}: {jwks}");
    }
    Ok(())
}

async fn rotate_refresh(stage: &Stage) -> Result<()> {
    let before = log_in(&stage.caller, &stage.mock.base).await?;
    let idle = log_in(&stage.caller, &stage.mock.base).await?;
    stage.service.keys(&["rotate", "--use", "refresh"]).await?;
    let after =
        changed(stage, before, |before, after| before.refresh_key != after.refresh_key).await?;
    let of_idle = successor(&stage.caller, &idle).await?;
    expect("kid", &of_idle.refresh_key, &after.now.refresh_key)?;
    expect_me(&stage.caller, &successor(&stage.caller, &after.now).await?).await
}

struct Changed {
    first: Tokens,
    now: Tokens,
}

/// Refreshes a session until its tokens have changed as `so` says.
async fn changed(
    stage: &Stage,
    first: Tokens,
    so: impl Fn(&Tokens, &Tokens) -> bool,
) -> Result<Changed> {
    let newest = tokio::sync::Mutex::new(successor(&stage.caller, &first).await?);
    until(NOTICE_LIMIT, || async {
        let mut newest = newest.lock().await;
        *newest = successor(&stage.caller, &newest).await?;
        ensure!(so(&first, &newest), "the former key still signs");
        Ok(())
    })
    .await?;
    Ok(Changed { first, now: newest.into_inner() })
}
