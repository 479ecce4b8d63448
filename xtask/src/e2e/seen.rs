//! What went over the wire: the secrets, to look for where they must not be, and the answers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};

/// What was seen so far, shared by everything that makes requests.
#[derive(Clone, Default)]
pub(super) struct Seen {
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    /// Each with its kind.
    secrets: BTreeSet<(&'static str, String)>,
    /// Answers 200 of the token endpoint.
    sessions: u64,
    last_request_id: Option<String>,
}

impl Seen {
    pub(super) fn add(&self, kind: &'static str, secret: &str) {
        self.lock().secrets.insert((kind, secret.to_owned()));
    }

    /// An answer of the token endpoint.
    pub(super) fn answer(&self, status: u16, request_id: Option<&str>) {
        let mut record = self.lock();
        record.sessions += u64::from(status == 200);
        record.last_request_id = request_id.map(str::to_owned);
    }

    pub(super) fn sessions(&self) -> u64 {
        self.lock().sessions
    }

    pub(super) fn last_request_id(&self) -> Option<String> {
        self.lock().last_request_id.clone()
    }

    /// A JWS, and its signature alone: what a log would give away by cutting it short.
    pub(super) fn add_token(&self, kind: &'static str, token: &str) {
        self.add(kind, token);
        if let Some((_, signature)) = token.rsplit_once('.') {
            self.add(kind, signature);
        }
    }

    /// Fails if any of them is in the text; says which kind, not which secret.
    pub(super) fn not_in(&self, place: &str, text: &str) -> Result<()> {
        let record = self.lock();
        if record.secrets.is_empty() {
            bail!("no secret was seen, so that looking for them proves nothing");
        }
        let found: BTreeSet<&str> = record
            .secrets
            .iter()
            .filter(|(_, secret)| text.contains(secret.as_str()))
            .map(|(kind, _)| *kind)
            .collect();
        if !found.is_empty() {
            let kinds = found.into_iter().collect::<Vec<_>>().join(", ");
            bail!("{place} holds secrets: {kinds}");
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_whole_or_by_its_signature() {
        let seen = Seen::default();
        assert!(seen.not_in("log", "").is_err(), "nothing seen proves nothing");
        seen.add("code", "SplxlOBe");
        seen.add_token("access token", "head.body.signature");
        assert!(seen.not_in("log", "a clean line").is_ok());
        let error = seen.not_in("log", "code=SplxlOBe token=…signature").unwrap_err().to_string();
        assert_eq!(error, "log holds secrets: access token, code");
    }
}
