//! Sessions, as values.

use std::ops::Bound;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    ExternalIdentity, KeptUpstream, Person, RevokeReason, Rotation, Session, SessionEnd, SessionId,
    SessionOpening, SingleUse, Standing, Timestamp, UserId,
};
use mintgate_domain::ports::{
    EndOutcome, EndedStep, LoadedSession, LogoutOrder, OpenOutcome, ProviderLogoutOutcome,
    RefreshTokenRepo, SessionChange, SessionOwner, StoreError,
};

use super::{MemoryStore, State};

impl State {
    fn open(&mut self, opening: &SessionOpening) -> OpenOutcome {
        let new = &opening.session;
        if self.sessions.contains_key(&new.id) {
            return OpenOutcome::Opened;
        }
        if let Some(refusal) = self.refusal(opening) {
            return refusal;
        }
        self.use_up(opening.single_use);
        let upstream = KeptUpstream::brought(opening.upstream.clone(), new.created_at);
        self.upstream.extend(upstream.map(|upstream| (new.id, upstream)));
        if let (Some(profile), Some(user)) = (&opening.profile, self.users.get_mut(&new.user)) {
            user.profile = profile.clone();
        }
        if let Some(record) = opening.idempotency {
            self.openings.insert(record.request.key, (record, new.id));
        }
        self.sessions.insert(new.id, new.clone().into());
        OpenOutcome::Opened
    }

    fn refusal(&self, opening: &SessionOpening) -> Option<OpenOutcome> {
        let new = &opening.session;
        let person = self.person(new.user, &new.identity);
        if !self.has_no_users && !person.is_some_and(|person| person.admits(new)) {
            return Some(OpenOutcome::PersonChanged);
        }
        if self.is_used_up(opening.single_use) {
            return Some(OpenOutcome::Replayed);
        }
        let asked = opening.idempotency.as_ref();
        if asked.is_some_and(|asked| self.opened_by(asked.request.key, new.created_at).is_some()) {
            return Some(OpenOutcome::IdempotencyKeyTaken);
        }
        None
    }

    fn standing(&self, session: &Session) -> Standing {
        if self.has_no_users {
            return Standing::Good;
        }
        Person::standing(self.person(session.user, &session.identity).as_ref(), session)
    }

    fn exchange(&mut self, rotation: &Rotation, grant_limit: Option<u32>) -> Option<Box<Session>> {
        self.now = Some(rotation.now);
        let standing = self.standing(self.sessions.get(&rotation.session)?);
        let session = self.sessions.get_mut(&rotation.session)?;
        let exchanged = session.exchange(rotation, standing, grant_limit);
        exchanged.then(|| Box::new(session.clone()))
    }

    fn replace(&mut self, seen: &Session, change: SessionChange<'_>) -> Option<Box<Session>> {
        let standing = self.standing(seen);
        let session = self.sessions.get_mut(&seen.id)?;
        let rotates = matches!(change, SessionChange::Rotate(_));
        if !session.is_unchanged_since(seen) || rotates && standing != Standing::Good {
            return None;
        }
        session.change(change);
        if let SessionChange::End(end) = change {
            self.log.session_ended(seen.id, end);
        }
        let session = Box::new(session.clone());
        if let SessionChange::Rotate(rotation) = change {
            self.now = Some(rotation.now);
        }
        Some(session)
    }

    fn load(&self, id: SessionId) -> Option<LoadedSession> {
        let session = self.sessions.get(&id)?.clone();
        let rotated_ago = self.now.map_or(Duration::ZERO, |now| session.rotated_ago(now));
        let owner = if self.has_no_users {
            SessionOwner::KeptElsewhere
        } else {
            SessionOwner::Loaded(self.person(session.user, &session.identity))
        };
        Some(LoadedSession { session, rotated_ago, owner })
    }

    fn end(
        &mut self,
        id: SessionId,
        user: UserId,
        reason: RevokeReason,
        at: Timestamp,
    ) -> EndOutcome {
        let (session, end) = (self.sessions.get_mut(&id), SessionEnd { at, reason });
        let outcome = session.map_or(EndOutcome::Unknown, |it| it.end_for(user, end));
        if outcome == EndOutcome::Ended {
            self.log.session_ended(id, end);
        }
        outcome
    }

    pub(super) fn end_live(&mut self, end: SessionEnd, is_meant: impl Fn(&Session) -> bool) -> u64 {
        let live = self.sessions.values_mut().filter(|session| session.is_live(end.at));
        let mut ended = 0;
        for session in live.filter(|session| is_meant(session)) {
            session.end = Some(end);
            self.log.session_ended(session.id, end);
            ended += 1;
        }
        ended
    }

    pub(super) fn end_sessions(
        &mut self,
        user: UserId,
        identity: Option<&ExternalIdentity>,
        keep: Option<SessionId>,
        end: SessionEnd,
    ) -> u64 {
        let mut ended = 0;
        for session in self.sessions.values_mut() {
            if session.end_as_one_of(user, identity, keep, end) {
                self.log.session_ended(session.id, end);
                ended += 1;
            }
        }
        ended
    }

    fn end_restored(
        &mut self,
        epoch: u64,
        after: Option<SessionId>,
        limit: u32,
        end: SessionEnd,
    ) -> EndedStep {
        let limit = usize::try_from(limit).expect("a small limit");
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = self.sessions.range_mut((begin, Bound::Unbounded)).take(limit);
        let (mut step, mut looked_at) = (EndedStep { ended: 0, next: None }, 0);
        for (id, session) in page {
            looked_at += 1;
            step.next = Some(*id).filter(|_| looked_at == limit);
            if session.is_live(end.at) && session.epochs.restore != epoch {
                session.end = Some(end);
                step.ended += 1;
            }
        }
        step
    }

    fn carry_out(&mut self, order: &LogoutOrder, now: Timestamp) -> ProviderLogoutOutcome {
        let mark = Some(SingleUse { hash: order.id, expires_at: order.expires_at });
        if self.is_used_up(mark) {
            return ProviderLogoutOutcome::Replayed;
        }
        self.use_up(mark);
        let end = SessionEnd { at: now, reason: RevokeReason::ProviderLogout };
        if let (Some(subject), None) = (&order.subject, &order.session) {
            let identity =
                ExternalIdentity { issuer: order.issuer.clone(), subject: subject.clone() };
            self.raise_identity_epoch(&identity);
        }
        let ended = self.end_live(end, |session| order.names(session));
        ProviderLogoutOutcome::Ended(ended)
    }
}

#[async_trait]
impl RefreshTokenRepo for MemoryStore {
    fn shares_engine_with_users(&self) -> bool {
        !self.0.lock().unwrap().has_no_users
    }

    async fn end_sessions(
        &self,
        user: UserId,
        identity: Option<&ExternalIdentity>,
        keep: Option<SessionId>,
        end: SessionEnd,
    ) -> Result<u64, StoreError> {
        self.with(|state| state.end_sessions(user, identity, keep, end))
    }

    async fn open(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        self.with(|state| state.open(opening))
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        self.with(|state| state.load(id))
    }

    async fn exchange(
        &self,
        rotation: &Rotation,
        grant_limit: Option<u32>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        self.with(|state| state.exchange(rotation, grant_limit))
    }

    async fn replace(
        &self,
        seen: &Session,
        change: SessionChange<'_>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        self.with(|state| state.replace(seen, change))
    }

    async fn live_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        self.with(|state| {
            let own = state.sessions.values().filter(|session| session.user == user);
            let own =
                own.filter(|it| state.has_no_users || it.epochs.restore == state.restore_epoch);
            let mut live: Vec<_> = own.filter(|session| session.is_live(now)).cloned().collect();
            live.sort_by_key(|session| std::cmp::Reverse((session.last_used_at, session.id)));
            live.truncate(limit.try_into().expect("a small limit"));
            live
        })
    }

    async fn end_session(
        &self,
        id: SessionId,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<EndOutcome, StoreError> {
        self.with(|state| state.end(id, user, reason, now))
    }

    async fn end_restored(
        &self,
        epoch: u64,
        after: Option<SessionId>,
        limit: u32,
        end: SessionEnd,
    ) -> Result<EndedStep, StoreError> {
        self.with(|state| state.end_restored(epoch, after, limit, end))
    }

    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        self.with(|state| state.carry_out(order, now))
    }
}
