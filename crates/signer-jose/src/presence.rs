//! Whether all processes on one store have the same signing keys.
//!
//! Each process notes in the store that it lives and which keys it verifies tokens with. Where two have no
//! key in common, each refuses what the other has signed: the one that came later does not serve.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mintgate_domain::model::{
    KeyDispute, KeyUse, LiveReplica, REPLICA_PATIENCE, Replica, ReplicaId,
};
use mintgate_domain::ports::{Entropy, Replicas, StoreError};
use mintgate_domain::{AgreementChange, KeyAgreement, KeyConflict, KeyDoubt, chain};
use tokio::time::Instant;

use crate::ring::KeyRing;

/// The time between two reports of a process to the store that it is alive.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often a process that starts looks whether another one lives.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The longest that the end of a process waits for the store.
const FAREWELL: Duration = Duration::from_secs(2);
/// The time to the next attempt as long as the store has never said who else lives.
const RETRY: Duration = Duration::from_secs(1);

/// This process among those on its store.
pub struct Presence {
    replicas: Arc<dyn Replicas>,
    ring: Arc<KeyRing>,
    id: ReplicaId,
    name: String,
    issuer: String,
    agreement: Mutex<KeyAgreement>,
    /// Whether the store is for one process alone: others are warned of.
    pub is_to_be_alone: bool,
    /// When the process first said that it lives, and the other one that was warned of since.
    company: Mutex<Option<(Instant, Option<String>)>>,
}

impl Presence {
    /// A process that has not said yet that it lives. People know it by `name`, of at most 255 bytes; its
    /// tokens are of `issuer`; it draws its id from `entropy`.
    pub fn new(
        name: String,
        issuer: String,
        replicas: Arc<dyn Replicas>,
        ring: Arc<KeyRing>,
        entropy: &dyn Entropy,
    ) -> Self {
        let mut id = ReplicaId::default();
        entropy.fill(&mut id);
        let (agreement, company) = (Mutex::default(), Mutex::default());
        Self { replicas, ring, id, name, issuer, agreement, is_to_be_alone: false, company }
    }

    /// What a process does before it serves: it says that it lives, and waits while another process that
    /// has other keys may do so too. One that was killed is silent, and does not for long.
    ///
    /// # Errors
    /// If the other process says again that it lives. A store that is down is no error.
    pub async fn start(&self) -> Result<(), KeyConflict> {
        let mut waited = Duration::ZERO;
        loop {
            let Ok(Some(KeyDispute { with: other, gives_way: true })) = self.announce().await
            else {
                return Ok(());
            };
            // A second for clocks that count whole ones.
            if other.silent_for + LOOK_AGAIN < waited || waited > REPLICA_PATIENCE * 2 {
                self.withdraw().await;
                return Err((&other).into());
            }
            if waited.is_zero() {
                let (seconds, name) =
                    (REPLICA_PATIENCE.saturating_sub(other.silent_for), &other.name);
                tracing::warn!(
                    other = name,
                    at_most_secs = seconds.as_secs(),
                    "a process with other signing keys was on this store a moment ago; waiting to see whether it still is"
                );
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            waited += LOOK_AGAIN;
        }
    }

    /// Says that the process lives, and notes what the store answers.
    ///
    /// # Errors
    /// If the store does not answer; what it said before still counts.
    pub async fn announce(&self) -> Result<Option<KeyDispute>, StoreError> {
        let replica = Replica {
            id: self.id,
            name: self.name.clone(),
            issuer: self.issuer.clone(),
            access: self.ring.key_set(KeyUse::Access),
            refresh: self.ring.key_set(KeyUse::Refresh),
        };
        let answer = self.replicas.announce(&replica, REPLICA_PATIENCE).await;
        let mut agreement = self.agreement();
        let changes = agreement.note(&self.id, answer.as_deref());
        let dispute = agreement.dispute().cloned();
        drop(agreement);
        changes.iter().for_each(log);
        if self.is_to_be_alone
            && let Ok(living) = &answer
        {
            self.warn_of_company(living);
        }
        answer.map(|_| dispute)
    }

    /// Says once if another process lives that has said so since this one came: one that was killed is silent.
    fn warn_of_company(&self, living: &[LiveReplica]) {
        let mut company = self.company.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, warned_of) = company.get_or_insert_with(|| (Instant::now(), None));
        let mut others = living.iter().filter(|other| other.id != self.id);
        // A second for clocks that count whole ones.
        let other = others.find(|other| other.silent_for + LOOK_AGAIN < since.elapsed());
        let other = other.map(|other| other.name.clone());
        if let Some(other) = &other
            && warned_of.is_none()
        {
            tracing::warn!(
                other,
                "another process serves from this SQLite file, which is for one process alone: limits and replays are \
                 counted by each for itself; stop one of the two, or move to Postgres"
            );
        }
        *warned_of = other;
    }

    /// Another process that lives on a store that is for one alone, by its name.
    pub fn company(&self) -> Option<String> {
        let company = self.company.lock().unwrap_or_else(PoisonError::into_inner);
        company.as_ref().and_then(|(_, other)| other.clone())
    }

    /// Takes the process out of the store, if that can be done soon.
    pub async fn withdraw(&self) {
        let done = tokio::time::timeout(FAREWELL, self.replicas.withdraw(&self.id)).await;
        if !matches!(done, Ok(Ok(()))) {
            let secs = REPLICA_PATIENCE.as_secs();
            tracing::warn!(secs, "the store was not told that this process ends; it will notice");
        }
    }

    /// When the process is to say again that it lives, counted from the last time.
    pub fn pause(&self) -> Duration {
        if self.agreement().is_known() { INTERVAL } else { RETRY }
    }

    /// Why the process must not be sent requests, if it must not.
    pub fn doubt(&self) -> Option<KeyDoubt> {
        self.agreement().doubt()
    }

    fn agreement(&self) -> MutexGuard<'_, KeyAgreement> {
        self.agreement.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(change: &AgreementChange) {
    match change {
        AgreementChange::Unknown(error) => {
            tracing::warn!(error = %chain(error), "it cannot be told at present which other processes are on this store");
        }
        AgreementChange::KnownAgain => {
            tracing::info!("the other processes on this store are known again");
        }
        AgreementChange::Agrees => {
            tracing::info!("all processes on this store have the same signing keys again");
        }
        AgreementChange::GivesWay(conflict) => tracing::error!(reason = %conflict, "not ready"),
        AgreementChange::Outlives(other) => {
            tracing::warn!(
                other,
                "a process with other signing keys came to this store; it is not to serve"
            );
        }
    }
}
