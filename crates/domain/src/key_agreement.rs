//! Whether a process has the signing keys of the others on its store, as far as it has been told.

use std::fmt;
use std::time::Duration;

use crate::chain;
use crate::model::{KeyDispute, LiveReplica, ReplicaId, key_dispute};
use crate::ports::StoreError;

/// Another process lives on the same store with other signing keys; this one must not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConflict {
    /// The host and the process id of the other process.
    pub other: String,
    /// How long ago the other process said that it lives.
    pub silent_for: Duration,
}

impl std::error::Error for KeyConflict {}

impl fmt::Display for KeyConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (other, secs) = (&self.other, self.silent_for.as_secs());
        write!(
            f,
            "keys: another process on this store has other signing keys: {other}, heard of {secs} s ago. \
             Each would refuse what the other has signed. Give all of them one ring of keys, that is the \
             same keys.encryption_key (or the same keys.access_key and keys.refresh_key); stop them all, \
             and start them again"
        )
    }
}

impl From<&LiveReplica> for KeyConflict {
    fn from(other: &LiveReplica) -> Self {
        Self { other: other.name.clone(), silent_for: other.silent_for }
    }
}

/// Why a process cannot be sure that it has the keys of the others.
#[derive(Debug)]
pub enum KeyDoubt {
    /// The store has not said yet who else lives, for this reason or because nobody has asked yet.
    Unknown(Option<StoreError>),
    /// Another process has other keys, and has lived longer.
    GivesWay(KeyConflict),
}

impl fmt::Display for KeyDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNKNOWN: &str = "it is not known yet whether the other processes on this store have the same signing keys";
        match self {
            Self::Unknown(None) => f.write_str(UNKNOWN),
            Self::Unknown(Some(error)) => write!(f, "{UNKNOWN}: {}", chain(error)),
            Self::GivesWay(conflict) => conflict.fmt(f),
        }
    }
}

/// What an answer of the store has changed, for the log.
#[derive(Debug, PartialEq, Eq)]
pub enum AgreementChange {
    /// The store does not say any more who else lives.
    Unknown(StoreError),
    /// The store says again who else lives.
    KnownAgain,
    /// No process has other keys any more.
    Agrees,
    /// Another process has other keys, and has lived longer than this one.
    GivesWay(KeyConflict),
    /// Another process has other keys, and has lived less long than this one; this is its name.
    Outlives(String),
}

/// What a process knows of the keys of the others on its store.
#[derive(Debug, Default)]
pub struct KeyAgreement {
    /// Why the store said nothing the last time, if it did not.
    failure: Option<StoreError>,
    /// Whether the store has ever said anything.
    is_known: bool,
    dispute: Option<KeyDispute>,
}

impl KeyAgreement {
    /// Takes in what the store answered when the process `own` said that it lives. After an error, what
    /// the store said before still counts.
    pub fn note(
        &mut self,
        own: &ReplicaId,
        answer: Result<&[LiveReplica], &StoreError>,
    ) -> Vec<AgreementChange> {
        let live = match answer {
            Ok(live) => live,
            Err(error) => {
                let is_new = self.failure.replace(error.clone()).is_none();
                return is_new
                    .then(|| AgreementChange::Unknown(error.clone()))
                    .into_iter()
                    .collect();
            }
        };
        self.is_known = true;
        let known_again = self.failure.take().map(|_| AgreementChange::KnownAgain);
        let before = std::mem::replace(&mut self.dispute, key_dispute(own, live));
        let turn = |dispute: &KeyDispute| (dispute.with.id, dispute.gives_way);
        let is_another = before.as_ref().map(turn) != self.dispute.as_ref().map(turn);
        let dispute = is_another.then(|| match &self.dispute {
            None => AgreementChange::Agrees,
            Some(KeyDispute { with, gives_way: true }) => AgreementChange::GivesWay(with.into()),
            Some(KeyDispute { with, gives_way: false }) => {
                AgreementChange::Outlives(with.name.clone())
            }
        });
        known_again.into_iter().chain(dispute).collect()
    }

    /// The dispute with another process, by the last answer of the store.
    pub fn dispute(&self) -> Option<&KeyDispute> {
        self.dispute.as_ref()
    }

    /// Whether the store has ever said who else lives.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// Why the process must not be sent requests, if it must not.
    pub fn doubt(&self) -> Option<KeyDoubt> {
        if !self.is_known {
            return Some(KeyDoubt::Unknown(self.failure.clone()));
        }
        let dispute = self.dispute.as_ref().filter(|dispute| dispute.gives_way)?;
        Some(KeyDoubt::GivesWay((&dispute.with).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KeyId, KeySet};

    const OWN: ReplicaId = [0; 16];

    fn live(id: u8, key: &str) -> LiveReplica {
        let keys = KeySet::Own(vec![KeyId::new(key)]);
        LiveReplica {
            id: [id; 16],
            name: format!("host {id}"),
            access: keys.clone(),
            refresh: keys,
            silent_for: Duration::ZERO,
        }
    }

    #[test]
    fn each_change_is_told_once() {
        use AgreementChange::{Agrees, GivesWay, KnownAgain, Outlives, Unknown};
        let own = live(0, "ours");
        let [first, second] = [live(1, "x"), live(2, "x")];
        let down = StoreError::Unavailable("connection refused".into());
        let mut agreement = KeyAgreement::default();
        let mut told = |live: &[LiveReplica]| agreement.note(&OWN, Ok(live));

        assert_eq!(told(std::slice::from_ref(&own)), []);
        let before = [first.clone(), own.clone()];
        assert_eq!(told(&before), [GivesWay((&first).into())]);
        assert_eq!(told(&before), []);
        assert_eq!(told(&[second.clone(), own.clone()]), [GivesWay((&second).into())]);
        assert_eq!(told(&[own.clone(), second.clone()]), [Outlives("host 2".to_owned())]);
        assert_eq!(agreement.note(&OWN, Err(&down)), [Unknown(down.clone())]);
        assert_eq!(agreement.note(&OWN, Err(&down)), []);
        assert_eq!(agreement.note(&OWN, Ok(&[own])), [KnownAgain, Agrees]);
    }
}
