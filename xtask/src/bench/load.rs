//! The load: clients that each send one request after another.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::http::{client, plain_client, send_plain};
use crate::rig::{REDIRECT_URI, code};

/// Names the caller to a service that trusts its peer.
pub(super) const FORWARDED_FOR: &str = "x-forwarded-for";

/// How many clients send requests at the same time.
pub(super) const CLIENTS: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Refresh,
    Login,
}

/// The clients of one service. Each has a user and a session of its own.
pub(super) struct Clients {
    service: Arc<Target>,
    /// The current refresh token of each client.
    tokens: Vec<String>,
}

#[derive(Clone)]
struct Target {
    http: reqwest::Client,
    /// For codes of the provider.
    provider_http: mintgate_testkit::http::Client,
    base: String,
    issuer: String,
    provider: &'static str,
    /// Whether each client has an address of its own, as behind a proxy.
    names_callers: bool,
}

impl Clients {
    pub(super) async fn sign_in(base: &str, issuer: &str, provider: &'static str) -> Result<Self> {
        let target = Target {
            http: plain_client()?,
            provider_http: client()?,
            base: base.to_owned(),
            issuer: issuer.to_owned(),
            provider,
            names_callers: false,
        };
        let mut tokens = Vec::new();
        for number in 0..CLIENTS {
            tokens.push(target.log_in(number).await?);
        }
        Ok(Self { service: Arc::new(target), tokens })
    }

    /// The same clients, each from an address of its own from now on.
    pub(super) fn naming_callers(self) -> Self {
        let target = Target { names_callers: true, ..Target::clone(&self.service) };
        Self { service: Arc::new(target), ..self }
    }

    /// Has each client refresh its session at this pace for this long; returns how long each refresh took.
    pub(super) async fn refresh_times(
        &mut self,
        span: Duration,
        pace: Duration,
    ) -> Result<Vec<Duration>> {
        let end = Instant::now() + span;
        let mut clients = JoinSet::new();
        for (number, token) in self.tokens.drain(..).enumerate() {
            let service = Arc::clone(&self.service);
            clients.spawn(async move {
                let (mut token, mut times) = (token, Vec::new());
                // Not all at the same moment.
                let first = pace * u32::try_from(number)? / u32::try_from(CLIENTS)?;
                let mut due = Instant::now() + first;
                while due < end {
                    sleep_until(due).await;
                    let started = Instant::now();
                    token = service.refresh(number, &token).await?;
                    times.push(started.elapsed());
                    due = (due + pace).max(Instant::now());
                }
                anyhow::Ok((token, times))
            });
        }
        let mut all = Vec::new();
        while let Some(client) = clients.join_next().await {
            let (token, times) = client??;
            self.tokens.push(token);
            all.extend(times);
        }
        Ok(all)
    }

    /// Has all clients send requests for this long; returns how many were answered, each with 200.
    pub(super) async fn run(&mut self, operation: Operation, span: Duration) -> Result<u64> {
        let end = Instant::now() + span;
        let mut clients = JoinSet::new();
        for (number, token) in self.tokens.drain(..).enumerate() {
            let service = Arc::clone(&self.service);
            clients.spawn(async move {
                let (mut token, mut requests) = (token, 0);
                while Instant::now() < end {
                    match operation {
                        Operation::Refresh => token = service.refresh(number, &token).await?,
                        Operation::Login => drop(service.log_in(number).await?),
                    }
                    requests += 1;
                }
                anyhow::Ok((token, requests))
            });
        }
        let mut sum = 0;
        while let Some(client) = clients.join_next().await {
            let (token, requests) = client??;
            self.tokens.push(token);
            sum += requests;
        }
        Ok(sum)
    }
}

impl Target {
    async fn log_in(&self, number: usize) -> Result<String> {
        let code = code(&self.provider_http, &self.issuer, &format!("bench-{number}")).await?;
        let body = json!({
            "provider": self.provider, "authCode": code, "redirectUri": REDIRECT_URI,
            "tokenDelivery": "body",
        });
        self.tokens(number, "token", &body).await
    }

    async fn refresh(&self, number: usize, token: &str) -> Result<String> {
        self.tokens(number, "refresh", &json!({ "refreshToken": token })).await
    }

    /// Sends a request that is answered with tokens; returns the refresh token.
    async fn tokens(&self, number: usize, endpoint: &str, body: &Value) -> Result<String> {
        let url = format!("{}/api/v1/auth/{endpoint}", self.base);
        let mut request = self.http.post(url).json(body);
        if self.names_callers {
            request = request.header(FORWARDED_FOR, format!("198.51.100.{number}"));
        }
        let answer = send_plain(request).await?;
        ensure!(answer.status == 200, "{endpoint}: {} with {}", answer.status, answer.body);
        let token = answer.json()?["refreshToken"].as_str().map(str::to_owned);
        token.context("the answer has no refresh token")
    }
}
