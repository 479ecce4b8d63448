//! The secrets that were sent and received, to look for where they must not be.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};

/// Records the secrets and answers of all clients; clones share one record.
#[derive(Clone, Default)]
pub(super) struct Recorder {
    record: Arc<Mutex<Record>>,
}

#[derive(Default)]
struct Record {
    /// The kind and the text of each secret.
    secrets: BTreeSet<(&'static str, String)>,
    /// How many answers of the token endpoint were 200.
    sessions: u64,
    last_request_id: Option<String>,
}

impl Recorder {
    pub(super) fn add(&self, kind: &'static str, secret: &str) {
        self.lock().secrets.insert((kind, secret.to_owned()));
    }

    /// Records an answer of the token endpoint.
    pub(super) fn add_answer(&self, status: u16, request_id: Option<&str>) {
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

    /// Records a JWS, and its signature alone, which a shortened log line could still contain.
    pub(super) fn add_token(&self, kind: &'static str, token: &str) {
        self.add(kind, token);
        if let Some((_, signature)) = token.rsplit_once('.') {
            self.add(kind, signature);
        }
    }

    /// Fails if the text contains a secret; the error names its kind only.
    pub(super) fn check_absent(&self, place: &str, text: &str) -> Result<()> {
        let record = self.lock();
        if record.secrets.is_empty() {
            bail!("no secret was recorded, so that the check proves nothing");
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
        let recorder = Recorder::default();
        assert!(
            recorder.check_absent("log", "").is_err(),
            "without secrets the check proves nothing"
        );
        recorder.add("code", "SplxlOBe");
        recorder.add_token("access token", "head.body.signature");
        assert!(recorder.check_absent("log", "a clean line").is_ok());
        let error =
            recorder.check_absent("log", "code=SplxlOBe token=…signature").unwrap_err().to_string();
        assert_eq!(error, "log holds secrets: access token, code");
    }
}
