//! A store that keeps everything in memory: a fake for tests of what uses a store. It passes
//! the same suite as the real ones.

mod administration;
mod audit;
mod duties;
mod housekeeping;
mod keys;
mod people_import;
mod records;
mod replicas;
mod revocations;
mod sessions;
mod under_test;
mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    DeletedSession, DutyRecord, IdempotencyRecord, KeptUpstream, KeyRecord, KeyUse, LinkedIdentity,
    ReplicaId, Reservation, Session, SessionId, Timestamp, User, UserId,
};
use mintgate_domain::ports::{Duty, PoolState, SessionEngines, StoreError, StoreHealth};

use self::replicas::Announced;

/// Users, sessions and keys in memory. Clones share what they hold.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, User>,
    created_at: HashMap<UserId, Timestamp>,
    /// The epoch that the next identity of a user starts with.
    identity_floors: HashMap<UserId, u64>,
    /// The linked identities with their users and session epochs, the oldest first.
    identities: Vec<(UserId, LinkedIdentity, u64)>,
    /// The former ids, by id and source.
    former_ids: BTreeMap<(String, String), people_import::Former>,
    /// When users who are disabled may sign in again.
    bans: BTreeMap<UserId, Timestamp>,
    single_use: HashMap<TokenHash, Timestamp>,
    sessions: BTreeMap<SessionId, Session>,
    /// The idempotency records, by the hash of the key.
    openings: HashMap<TokenHash, (IdempotencyRecord, SessionId)>,
    reservations: HashMap<TokenHash, Reservation>,
    keys: BTreeMap<(KeyUse, u32), KeyRecord>,
    sealing_keys: BTreeSet<String>,
    upstream: HashMap<SessionId, KeptUpstream>,
    replicas: BTreeMap<ReplicaId, Announced>,
    restore_epoch: u64,
    session_engine: Option<String>,
    deleted: BTreeMap<SessionId, DeletedSession>,
    duties: BTreeMap<Duty, DutyRecord>,
    audit: audit::AuditState,
    log: revocations::LogState,
    /// Whether the users are in another store.
    has_no_users: bool,
    /// The store's clock: the time that the last rotation named.
    now: Option<Timestamp>,
    fault: Option<StoreError>,
}

impl MemoryStore {
    /// A store of sessions whose users are in another store, as with two different engines.
    pub fn of_sessions_alone() -> Self {
        Self(Arc::new(Mutex::new(State { has_no_users: true, ..State::default() })))
    }

    /// Has every call fail from now on, or work again.
    pub fn set_fault(&self, fault: Option<StoreError>) {
        self.0.lock().unwrap().fault = fault;
    }

    /// Every session, ordered by id.
    pub fn sessions(&self) -> Vec<Session> {
        self.0.lock().unwrap().sessions.values().cloned().collect()
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        let mut state = self.0.lock().unwrap();
        match &state.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(work(&mut state)),
        }
    }
}

#[async_trait]
impl StoreHealth for MemoryStore {
    async fn check(&self) -> Result<(), StoreError> {
        self.with(|_| ())
    }

    fn pool_state(&self) -> PoolState {
        PoolState { idle: 1, in_use: 0 }
    }
}

#[async_trait]
impl SessionEngines for MemoryStore {
    async fn session_engine(&self) -> Result<Option<String>, StoreError> {
        self.with(|state| state.session_engine.clone())
    }

    async fn record_session_engine(
        &self,
        before: Option<&str>,
        mark: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.with(|state| {
            let is_before = state.session_engine.as_deref() == before;
            if is_before {
                state.session_engine = mark.map(str::to_owned);
            }
            is_before
        })
    }

    async fn has_sessions(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.with(|state| state.sessions.values().any(|session| session.is_live(now)))
    }
}
