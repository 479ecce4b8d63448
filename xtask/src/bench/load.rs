//! The load: clients that each send one request after another.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::{client, send};
use crate::rig::{REDIRECT_URI, code};

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

struct Target {
    http: Client,
    base: String,
    issuer: String,
    provider: &'static str,
}

impl Clients {
    pub(super) async fn sign_in(base: &str, issuer: &str, provider: &'static str) -> Result<Self> {
        let target =
            Target { http: client()?, base: base.to_owned(), issuer: issuer.to_owned(), provider };
        let mut tokens = Vec::new();
        for number in 0..CLIENTS {
            tokens.push(target.log_in(number).await?);
        }
        Ok(Self { service: Arc::new(target), tokens })
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
                        Operation::Refresh => token = service.refresh(&token).await?,
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
        let code = code(&self.http, &self.issuer, &format!("bench-{number}")).await?;
        let body = json!({
            "provider": self.provider, "authCode": code, "redirectUri": REDIRECT_URI,
            "tokenDelivery": "body",
        });
        self.tokens("token", &body).await
    }

    async fn refresh(&self, token: &str) -> Result<String> {
        self.tokens("refresh", &json!({ "refreshToken": token })).await
    }

    /// Sends a request that is answered with tokens; returns the refresh token.
    async fn tokens(&self, endpoint: &str, body: &Value) -> Result<String> {
        let url = format!("{}/api/v1/auth/{endpoint}", self.base);
        let answer = send(self.http.post(url).json(body)).await?;
        ensure!(answer.status == 200, "{endpoint}: {} with {}", answer.status, answer.body);
        let token = answer.json()?["refreshToken"].as_str().map(str::to_owned);
        token.context("the answer has no refresh token")
    }
}
