//! What a sign-in leaves besides its session: marks, idempotency records, providers' tokens.

use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    IdempotencyKey, Reservation, SealedToken, SessionId, SingleUse, Timestamp, UpstreamTokens,
};
use mintgate_domain::ports::{
    ClaimedUpstream, Holder, IdempotencyRecords, OnceMarks, Reserved, SealedBefore, SealedPage,
    StoreError, UpstreamDue, UpstreamRenewal, UpstreamTokenRepo,
};

use super::{MemoryStore, State};

impl State {
    pub(super) fn is_used_up(&self, single_use: Option<SingleUse>) -> bool {
        single_use.is_some_and(|mark| self.single_use.contains_key(&mark.hash))
    }

    pub(super) fn use_up(&mut self, single_use: Option<SingleUse>) {
        self.single_use.extend(single_use.map(|mark| (mark.hash, mark.expires_at)));
    }

    pub(super) fn opened_by(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Option<(IdempotencyKey, SessionId)> {
        let (record, session) = self.openings.get(&key)?;
        (now < record.expires_at).then_some((record.request, *session))
    }

    /// The tokens of a session whose refresh token is still this one; their claim ends.
    fn unclaim(&mut self, session: SessionId, shown: &SealedToken) -> Option<&mut UpstreamTokens> {
        self.upstream.get_mut(&session)?.unclaim(shown)
    }

    fn keep_upstream(&mut self, session: SessionId, renewal: &UpstreamRenewal) {
        if let Some(upstream) = self.upstream.get_mut(&session) {
            upstream.keep(renewal);
        }
        if let (Some(session), Some(roles)) =
            (self.sessions.get_mut(&session), &renewal.claimed_roles)
        {
            session.claimed_roles.clone_from(roles);
        }
    }
}

#[async_trait]
impl OnceMarks for MemoryStore {
    async fn claim(&self, mark: &SingleUse) -> Result<bool, StoreError> {
        self.with(|state| {
            let is_new = !state.is_used_up(Some(*mark));
            state.use_up(Some(*mark));
            is_new
        })
    }

    async fn is_claimed(&self, hash: TokenHash) -> Result<bool, StoreError> {
        self.with(|state| state.single_use.contains_key(&hash))
    }
}

#[async_trait]
impl IdempotencyRecords for MemoryStore {
    async fn reserve(
        &self,
        request: &IdempotencyKey,
        holder: &Holder,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Reserved, StoreError> {
        self.with(|state| {
            if let Some((before, session)) = state.opened_by(request.key, now) {
                return Reserved::Opened(before, session);
            }
            let held = state.reservations.get(&request.key);
            if let Some(refused) = held.and_then(|held| held.refuses(request, holder, now)) {
                return refused;
            }
            let (request, holder, until) = (*request, *holder, now + lease);
            state.reservations.insert(request.key, Reservation { request, holder, until });
            Reserved::Own
        })
    }

    async fn release(&self, key: TokenHash, holder: &Holder) -> Result<(), StoreError> {
        self.with(|state| {
            if state.reservations.get(&key).is_some_and(|held| held.holder == *holder) {
                state.reservations.remove(&key);
            }
        })
    }

    async fn find(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, SessionId)>, StoreError> {
        self.with(|state| state.opened_by(key, now))
    }
}

#[async_trait]
impl UpstreamTokenRepo for MemoryStore {
    async fn load_upstream(&self, session: SessionId) -> Result<UpstreamTokens, StoreError> {
        self.with(|state| {
            state.upstream.get(&session).map(|row| row.tokens.clone()).unwrap_or_default()
        })
    }

    async fn claim_upstream(
        &self,
        session: SessionId,
        due: UpstreamDue,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<ClaimedUpstream>, StoreError> {
        self.with(|state| state.upstream.get_mut(&session)?.claim(due, now, lease))
    }

    async fn release_upstream(
        &self,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError> {
        self.with(|state| {
            state.unclaim(session, refresh);
        })
    }

    async fn forget_upstream(
        &self,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError> {
        self.with(|state| {
            if let Some(tokens) = state.unclaim(session, refresh) {
                (tokens.refresh, tokens.access) = (None, None);
            }
        })
    }

    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError> {
        self.with(|state| state.keep_upstream(session, renewal))
    }

    async fn sealed_before(
        &self,
        mark: &str,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<SealedPage, StoreError> {
        self.with(|state| {
            let limit = usize::try_from(limit).expect("a small limit");
            let sessions =
                state.upstream.keys().filter(|id| after.is_none_or(|after| **id > after));
            let mut sessions: Vec<_> = sessions.copied().collect();
            sessions.sort_unstable();
            sessions.truncate(limit);
            let next = sessions.last().copied().filter(|_| sessions.len() == limit);
            let tokens = sessions.iter().flat_map(|id| state.upstream[id].sealed_before(*id, mark));
            SealedPage { tokens: tokens.collect(), next }
        })
    }

    async fn reseal_upstream(
        &self,
        token: &SealedBefore,
        sealed: &SealedToken,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.with(|state| {
            let row = state.upstream.get_mut(&token.session);
            row.is_some_and(|row| row.reseal(token, sealed, now))
        })
    }
}
