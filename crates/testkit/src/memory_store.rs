//! A store that keeps everything in memory: a fake for tests of what uses a store. It passes
//! the same suite as the real ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    ExternalIdentity, IdempotencyKey, KeyId, KeyRecord, KeyUse, ProviderId, RevokeReason, Role,
    Rotation, Session, SessionId, SessionOpening, SessionOwner, Timestamp, User, UserId,
};
use mintgate_domain::ports::{
    EndOutcome, Housekeeping, KeyRepo, OpenOutcome, PoolState, RefreshTokenRepo, RotateOutcome,
    StoreError, StoreHealth, SweepStep, Swept, UserDirectory,
};

use crate::store_under_test::{Dump, Store, StoreUnderTest, StoredSession, hex};

/// Users and sessions in memory. Clones share what they hold.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, User>,
    identities: HashMap<ExternalIdentity, (UserId, ProviderId)>,
    consumed: HashMap<TokenHash, Timestamp>,
    sessions: HashMap<SessionId, StoredSession>,
    fault: Option<StoreError>,
}

impl MemoryStore {
    /// Has every call fail from now on, or work again.
    pub fn set_fault(&self, fault: Option<StoreError>) {
        self.0.lock().unwrap().fault = fault;
    }

    /// Every session, in no order.
    pub fn sessions(&self) -> Vec<StoredSession> {
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

impl State {
    fn open(&mut self, opening: &SessionOpening) -> OpenOutcome {
        let session = &opening.session;
        if self.sessions.contains_key(&session.id) {
            return OpenOutcome::Opened;
        }
        match &opening.owner {
            SessionOwner::New(user) if self.identities.contains_key(&user.identity) => {
                return OpenOutcome::IdentityTaken;
            }
            SessionOwner::Existing(id)
                if self.users.get(id).is_none_or(|user| user.disabled_at.is_some()) =>
            {
                return OpenOutcome::UserDisabled;
            }
            SessionOwner::New(_) | SessionOwner::Existing(_) => {}
        }
        if let Some(token) = &opening.consumed {
            if self.consumed.contains_key(&token.hash) {
                return OpenOutcome::IdTokenReplayed;
            }
            self.consumed.insert(token.hash, token.expires_at);
        }
        let user = opening.owner.user_id();
        if let SessionOwner::New(new) = &opening.owner {
            self.users.insert(user, User { id: user, disabled_at: None, granted_roles: vec![] });
            self.identities.insert(new.identity.clone(), (user, session.provider.clone()));
        }
        let last_used_at = session.created_at;
        let stored = StoredSession { user, session: session.clone(), last_used_at };
        self.sessions.insert(session.id, stored);
        OpenOutcome::Opened
    }
}

#[async_trait]
impl RefreshTokenRepo for MemoryStore {
    async fn open_session(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        self.with(|state| state.open(opening))
    }

    async fn find_opening(
        &self,
        _: TokenHash,
        _: Timestamp,
    ) -> Result<Option<(IdempotencyKey, Session)>, StoreError> {
        Err(unwritten())
    }

    async fn rotate(&self, _: &Rotation) -> Result<RotateOutcome, StoreError> {
        Err(unwritten())
    }

    async fn find_session(&self, _: SessionId) -> Result<Option<Session>, StoreError> {
        Err(unwritten())
    }

    async fn live_sessions(
        &self,
        _: UserId,
        _: Timestamp,
        _: u32,
    ) -> Result<Vec<Session>, StoreError> {
        Err(unwritten())
    }

    async fn end_session(
        &self,
        _: SessionId,
        _: UserId,
        _: RevokeReason,
        _: Timestamp,
    ) -> Result<EndOutcome, StoreError> {
        Err(unwritten())
    }

    async fn end_user_sessions(
        &self,
        _: UserId,
        _: RevokeReason,
        _: Timestamp,
    ) -> Result<u64, StoreError> {
        Err(unwritten())
    }
}

#[async_trait]
impl Housekeeping for MemoryStore {
    async fn claim_sweep(
        &self,
        _: Timestamp,
        _: Duration,
        _: Duration,
    ) -> Result<bool, StoreError> {
        Err(unwritten())
    }

    async fn sweep(&self, _: &SweepStep) -> Result<Swept, StoreError> {
        Err(unwritten())
    }

    async fn refresh_key_in_use(&self, _: &KeyId, _: Timestamp) -> Result<bool, StoreError> {
        Err(unwritten())
    }

    async fn end_sweep(&self, _: Timestamp) -> Result<(), StoreError> {
        Err(unwritten())
    }
}

#[async_trait]
impl KeyRepo for MemoryStore {
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        Err(unwritten())
    }

    async fn add_key(&self, _: &KeyRecord) -> Result<bool, StoreError> {
        Err(unwritten())
    }

    async fn activate_key(&self, _: KeyUse, _: &KeyId, _: Timestamp) -> Result<bool, StoreError> {
        Err(unwritten())
    }

    async fn remove_key(&self, _: KeyUse, _: &KeyId) -> Result<bool, StoreError> {
        Err(unwritten())
    }
}

fn unwritten() -> StoreError {
    StoreError::Unavailable("not written yet".to_owned())
}

#[async_trait]
impl UserDirectory for MemoryStore {
    async fn find_user(&self, identity: &ExternalIdentity) -> Result<Option<User>, StoreError> {
        self.with(|state| {
            let (id, _) = state.identities.get(identity)?;
            state.users.get(id).cloned()
        })
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
impl StoreUnderTest for MemoryStore {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    async fn disable_user(&self, user: UserId, at: Timestamp) {
        self.0.lock().unwrap().users.get_mut(&user).expect("a user").disabled_at = Some(at);
    }

    async fn grant_roles(&self, user: UserId, roles: &[&str]) {
        self.0.lock().unwrap().users.get_mut(&user).expect("a user").granted_roles =
            roles.iter().map(|role| Role::new(*role)).collect();
    }

    async fn find_session(&self, id: SessionId) -> Option<StoredSession> {
        self.0.lock().unwrap().sessions.get(&id).cloned()
    }

    async fn dump(&self) -> Dump {
        let state = self.0.lock().unwrap();
        let mut dump = Dump::default();
        dump.insert("users", state.users.iter().map(|row| format!("{row:?}")).collect());
        let identities = state.identities.iter().map(|row| format!("{row:?}"));
        dump.insert("external_identities", identities.collect());
        let consumed =
            state.consumed.iter().map(|(hash, at)| format!("{} {at:?}", hex(hash.as_bytes())));
        dump.insert("consumed_id_tokens", consumed.collect());
        let sessions = state.sessions.values();
        let rows =
            sessions.map(|row| format!("{} {row:?}", hex(row.session.refresh.hash.as_bytes())));
        dump.insert("sessions", rows.collect());
        dump
    }
}
