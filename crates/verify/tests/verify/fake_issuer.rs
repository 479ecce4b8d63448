//! An issuer in memory: what it answers can change, and its requests are counted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mintgate_verify::{Fetch, FetchError, Fetching};
use serde_json::{Value, json};

use crate::ISSUER;
use crate::signer::Signer;

#[derive(Clone)]
pub(crate) struct FakeIssuer(Arc<Mutex<State>>);

struct State {
    answer: Answer,
    delay: Duration,
    fetches: usize,
}

#[derive(Clone)]
pub(crate) enum Answer {
    /// A JWKS, or something else.
    Text(String),
    Fails,
    Hangs,
}

impl FakeIssuer {
    pub(crate) fn with(signers: &[&Signer]) -> Self {
        Self::answering(jwks(signers))
    }

    pub(crate) fn answering(answer: Answer) -> Self {
        Self(Arc::new(Mutex::new(State { answer, delay: Duration::from_millis(50), fetches: 0 })))
    }

    pub(crate) fn publish(&self, signers: &[&Signer]) {
        self.answer(jwks(signers));
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.0.lock().unwrap().answer = answer;
    }

    /// How often the JWKS has been fetched.
    pub(crate) fn fetches(&self) -> usize {
        self.0.lock().unwrap().fetches
    }
}

impl Fetch for FakeIssuer {
    fn get<'a>(&'a self, url: &'a str) -> Fetching<'a> {
        Box::pin(async move {
            if url.ends_with("/.well-known/openid-configuration") {
                let issuer = url.trim_end_matches("/.well-known/openid-configuration");
                assert_eq!(issuer, ISSUER);
                let jwks = format!("{issuer}/jwks");
                return Ok(json!({ "issuer": issuer, "jwks_uri": jwks }).to_string().into());
            }
            let (answer, delay) = {
                let mut state = self.0.lock().unwrap();
                state.fetches += 1;
                (state.answer.clone(), state.delay)
            };
            tokio::time::sleep(delay).await;
            match answer {
                Answer::Text(text) => Ok(text.into()),
                Answer::Fails => Err(FetchError::new("the connection was refused")),
                Answer::Hangs => std::future::pending().await,
            }
        })
    }
}

pub(crate) fn jwks(signers: &[&Signer]) -> Answer {
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
    Answer::Text(json!({ "keys": keys }).to_string())
}
