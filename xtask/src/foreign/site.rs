//! The service with one provider, as a person with a browser sees both.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use url::Url;

use super::AFTER_LOGOUT;
use super::browser::{Browser, End};
use crate::http::{Answer, client, send};
use crate::rig::{REDIRECT_URI, Service};

/// How long what a provider does by itself may take, such as sending a logout token.
const SOON: Duration = Duration::from_secs(20);
/// After this a refresh asks the provider again (`recheck_secs`).
const RECHECK_DUE: Duration = Duration::from_millis(1100);

/// One login: a browser that is signed in at the provider, and the tokens of the session here.
pub(super) struct SignedIn {
    pub(super) browser: Browser,
    access: String,
    refresh: String,
}

pub(super) struct Site<'a> {
    pub(super) service: &'a Service,
    /// The provider's id in the configuration of the service.
    pub(super) provider: &'a str,
}

impl Site<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/auth/{path}", self.service.base())
    }

    /// Begins a login; returns the address at the provider.
    async fn begin(&self, login: &mut Browser) -> Result<Url> {
        let request = client()?.post(self.url("login")).json(&json!({ "provider": self.provider }));
        let begun = login.send(request).await?;
        begun.expect_status(200)?;
        let begun = begun.json()?;
        Ok(Url::parse(begun["authorizationUrl"].as_str().context("no authorizationUrl")?)?)
    }

    /// Signs somebody in with a new browser.
    pub(super) async fn sign_in(&self, name: &str) -> Result<SignedIn> {
        let (mut browser, mut login) = (Browser::new()?, Browser::new()?);
        let address = self.begin(&mut login).await?;
        let End::Left(back) = browser.visit(&address, name).await? else {
            bail!("the provider does not send the browser back")
        };
        ensure!(back.as_str().starts_with(REDIRECT_URI), "the browser is sent to {back}");
        let mut response: BTreeMap<String, String> = back.query_pairs().into_owned().collect();
        let code = response.remove("code").with_context(|| format!("no code in {back}"))?;
        let body = json!({
            "authCode": code, "provider": self.provider,
            "state": response.get("state"), "iss": response.get("iss"),
        });
        let answer = login.send(client()?.post(self.url("token")).json(&body)).await?;
        answer.expect_status(200)?;
        let (access, refresh) =
            (login.cookie("Auth-Access-Token")?, login.cookie("Auth-Refresh-Token")?);
        Ok(SignedIn { browser, access, refresh })
    }

    async fn refresh(&self, session: &mut SignedIn) -> Result<Answer> {
        let cookie = format!("Auth-Refresh-Token={}", session.refresh);
        let mut cookies = Browser::new()?;
        let request = client()?.post(self.url("refresh")).header("cookie", cookie);
        let answer = cookies.send(request).await?;
        if let Ok(refresh) = cookies.cookie("Auth-Refresh-Token") {
            session.refresh = refresh;
        }
        Ok(answer)
    }

    /// Refreshes when the provider is due to be asked again, and checks that it was.
    pub(super) async fn recheck(&self, session: &mut SignedIn) -> Result<()> {
        sleep(RECHECK_DUE).await;
        let before = self.token_requests().await?;
        self.refresh(session).await?.expect_status(200)?;
        let more = self.token_requests().await? - before;
        ensure!(more == 1, "{more} requests reached the provider's token endpoint");
        Ok(())
    }

    /// How many requests the provider's token endpoint has answered well.
    async fn token_requests(&self) -> Result<u64> {
        let metrics = self.service.ops("/metrics").await?.body;
        let counted = metrics.lines().filter(|line| {
            line.starts_with("mintgate_provider_requests_total{")
                && line.contains("endpoint=\"token\"")
                && line.contains("outcome=\"success\"")
        });
        let values = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(values.sum())
    }

    /// Waits until refreshes, which ask the provider again, are refused because the session has ended.
    pub(super) async fn ended(&self, session: &mut SignedIn) -> Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let answer = self.refresh(session).await?;
            if is_over(&answer, deadline)? {
                return Ok(());
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the session has ended without anybody asking the provider.
    pub(super) async fn ended_by_itself(&self, session: &SignedIn) -> Result<()> {
        let deadline = Instant::now() + SOON;
        loop {
            let me = send(client()?.get(self.url("me")).bearer_auth(&session.access)).await?;
            if is_over(&me, deadline)? {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Signs somebody out here and there, and checks that they are.
    pub(super) async fn sign_out(&self, mut session: SignedIn, name: &str) -> Result<()> {
        let body =
            json!({ "provider": true, "postLogoutRedirectUri": AFTER_LOGOUT, "state": "x1" });
        let request = client()?.post(self.url("logout")).bearer_auth(&session.access).json(&body);
        let answer = send(request).await?;
        answer.expect_status(200)?;
        let answer: Value = answer.json()?;
        let address = Url::parse(answer["logoutUrl"].as_str().context("no logoutUrl")?)?;
        let End::Left(back) = session.browser.visit(&address, name).await? else {
            bail!("the provider does not send the browser back")
        };
        ensure!(back.as_str() == format!("{AFTER_LOGOUT}?state=x1"), "it leads to {back}");
        let again = self.begin(&mut Browser::new()?).await?;
        let asked = session.browser.asks_who_it_is(&again).await?;
        ensure!(asked, "somebody is still signed in there");
        Ok(())
    }
}

/// Whether an answer says that the session has ended; an error if it should by now.
fn is_over(answer: &Answer, deadline: Instant) -> Result<bool> {
    match (answer.status, answer.json()?["errorCode"].as_str()) {
        (401, Some("SESSION_REVOKED")) => Ok(true),
        (200, _) if Instant::now() < deadline => Ok(false),
        (status, code) => bail!("the session lives: {status} {code:?}"),
    }
}
