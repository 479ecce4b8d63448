//! A store that keeps everything in memory: a fake for tests of what uses a store. It passes
//! the same suite as the real ones.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    AccessGrant, ExternalIdentity, IdempotencyKey, IdempotencyRecord, KeyId, KeyRecord, KeyUse,
    LinkedIdentity, NewIdentity, NewUser, Person, PreviousToken, Profile, RevokeReason, Role,
    Rotation, SealedToken, Session, SessionEnd, SessionId, SessionOpening, SingleUse, Standing,
    Timestamp, User, UserId, Verdict,
};
use mintgate_domain::ports::{
    EndOutcome, Holder, Housekeeping, IdempotencyRecords, KeyRepo, LinkOutcome, LoadedSession,
    LogoutOrder, OnceMarks, OpenOutcome, PoolState, ProviderLogoutOutcome, RefreshTokenRepo,
    Reserved, SessionChange, SessionOwner, StoreError, StoreHealth, SweepStep, Swept,
    UnlinkOutcome, UpstreamRenewal, UpstreamTokenRepo, UserDirectory,
};

use crate::store_under_test::{Dump, Store, StoreUnderTest, hex};

/// Users, sessions and keys in memory. Clones share what they hold.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserId, User>,
    /// The epoch that the next identity of a user starts with.
    identity_floors: HashMap<UserId, u64>,
    /// The linked identities with their users and session epochs, the oldest first.
    identities: Vec<(UserId, LinkedIdentity, u64)>,
    single_use: HashMap<TokenHash, Timestamp>,
    sessions: BTreeMap<SessionId, Session>,
    /// The idempotency records, by the hash of the key.
    openings: HashMap<TokenHash, (IdempotencyRecord, SessionId)>,
    /// The reserved idempotency keys: the request, who holds it, and until when.
    reservations: HashMap<TokenHash, (IdempotencyKey, Holder, Timestamp)>,
    keys: BTreeMap<(KeyUse, u32), KeyRecord>,
    upstream: HashMap<SessionId, Upstream>,
    sweep: Duty,
    /// Whether the users are in another store.
    has_no_users: bool,
    /// The store's clock: the time that the last rotation named.
    now: Option<Timestamp>,
    fault: Option<StoreError>,
}

#[derive(Debug)]
struct Upstream {
    sealed: SealedToken,
    asked_at: Timestamp,
    claimed_until: Option<Timestamp>,
}

/// The duty of sweeping, which one replica holds.
#[derive(Debug, Default)]
struct Duty {
    held_until: Option<Timestamp>,
    ended_at: Option<Timestamp>,
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
        if let Some(sealed) = opening.upstream.clone() {
            let upstream = Upstream { sealed, asked_at: new.created_at, claimed_until: None };
            self.upstream.insert(new.id, upstream);
        }
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

    fn person(&self, user: UserId, identity: &ExternalIdentity) -> Option<Person> {
        let mut own = self.identities.iter().filter(|(owner, ..)| *owner == user);
        let identity_epoch =
            own.find(|(_, linked, _)| linked.identity == *identity).map(|(.., epoch)| *epoch);
        Some(Person { user: self.users.get(&user)?.clone(), identity_epoch })
    }

    fn owner_of(&self, identity: &ExternalIdentity) -> Option<UserId> {
        let mut all = self.identities.iter();
        all.find(|(_, linked, _)| linked.identity == *identity).map(|(user, ..)| *user)
    }

    fn find_or_create(&mut self, new: &NewUser) -> Option<Person> {
        let user = self.owner_of(&new.identity).unwrap_or_else(|| {
            let user = User {
                id: new.id,
                disabled_at: None,
                granted_roles: vec![],
                session_epoch: 0,
                profile: Profile::default(),
            };
            self.users.insert(new.id, user);
            let NewUser { identity, provider, now, .. } = new.clone();
            self.add_identity(new.id, LinkedIdentity { identity, provider, linked_at: now });
            new.id
        });
        self.person(user, &new.identity)
    }

    fn add_identity(&mut self, user: UserId, linked: LinkedIdentity) {
        let epoch = self.identity_floors.get(&user).copied().unwrap_or(0);
        self.identities.push((user, linked, epoch));
    }

    fn is_used_up(&self, single_use: Option<SingleUse>) -> bool {
        single_use.is_some_and(|mark| self.single_use.contains_key(&mark.hash))
    }

    fn use_up(&mut self, single_use: Option<SingleUse>) {
        self.single_use.extend(single_use.map(|mark| (mark.hash, mark.expires_at)));
    }

    fn link(
        &mut self,
        user: UserId,
        new: &NewIdentity,
        single_use: Option<SingleUse>,
    ) -> LinkOutcome {
        if self.is_disabled(user) {
            return LinkOutcome::UserDisabled;
        }
        if self.is_used_up(single_use) {
            return LinkOutcome::Replayed;
        }
        match self.owner_of(&new.identity) {
            Some(owner) if owner != user => LinkOutcome::Taken,
            Some(_) => {
                self.use_up(single_use);
                LinkOutcome::LinkedBefore
            }
            None => {
                self.use_up(single_use);
                let NewIdentity { identity, provider, now } = new.clone();
                self.add_identity(user, LinkedIdentity { identity, provider, linked_at: now });
                LinkOutcome::Linked
            }
        }
    }

    fn unlink(
        &mut self,
        user: UserId,
        identity: &ExternalIdentity,
        keep: SessionId,
        end: SessionEnd,
    ) -> UnlinkOutcome {
        if self.owner_of(identity) != Some(user) {
            return UnlinkOutcome::Unknown;
        }
        if self.identities.iter().filter(|(owner, ..)| *owner == user).count() == 1 {
            return UnlinkOutcome::Last;
        }
        self.identities.retain(|(_, linked, epoch)| {
            let goes = linked.identity == *identity;
            if goes {
                let floor = self.identity_floors.entry(user).or_default();
                *floor = (*floor).max(epoch + 1);
            }
            !goes
        });
        let ended = self.end_sessions(user, Some(identity), Some(keep), end);
        UnlinkOutcome::Unlinked { ended }
    }

    fn end_sessions(
        &mut self,
        user: UserId,
        identity: Option<&ExternalIdentity>,
        keep: Option<SessionId>,
        end: SessionEnd,
    ) -> u64 {
        let mut ended = 0;
        for session in self.sessions.values_mut() {
            ended += u64::from(session.end_as_one_of(user, identity, keep, end));
        }
        ended
    }

    fn end_live(&mut self, end: SessionEnd, is_meant: impl Fn(&Session) -> bool) -> u64 {
        let live = self.sessions.values_mut().filter(|session| session.is_live(end.at));
        let mut ended = 0;
        for session in live.filter(|session| is_meant(session)) {
            session.end = Some(end);
            ended += 1;
        }
        ended
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

    fn claim_upstream(
        &mut self,
        session: SessionId,
        due: Timestamp,
        now: Timestamp,
        lease: Timestamp,
    ) -> Option<SealedToken> {
        let upstream = self.upstream.get_mut(&session)?;
        let is_claimed = upstream.claimed_until.is_some_and(|until| now < until);
        if upstream.asked_at > due || is_claimed {
            return None;
        }
        upstream.claimed_until = Some(lease);
        Some(upstream.sealed.clone())
    }

    fn keep_upstream(&mut self, session: SessionId, renewal: &UpstreamRenewal) {
        if let Some(upstream) = self.upstream.get_mut(&session) {
            upstream.asked_at = renewal.at;
            upstream.claimed_until = None;
            if let Some(token) = &renewal.token {
                upstream.sealed = token.clone();
            }
        }
        if let (Some(session), Some(roles)) =
            (self.sessions.get_mut(&session), &renewal.claimed_roles)
        {
            session.claimed_roles.clone_from(roles);
        }
    }

    /// Whether the user is disabled or does not exist.
    fn is_disabled(&self, user: UserId) -> bool {
        self.users.get(&user).is_none_or(|user| user.disabled_at.is_some())
    }

    fn opened_by(&self, key: TokenHash, now: Timestamp) -> Option<(IdempotencyKey, SessionId)> {
        let (record, session) = self.openings.get(&key)?;
        (now < record.expires_at).then_some((record.request, *session))
    }

    fn raise_identity_epoch(&mut self, identity: &ExternalIdentity) {
        let own = self.identities.iter_mut().filter(|(_, l, _)| l.identity == *identity);
        own.for_each(|(.., epoch)| *epoch += 1);
    }

    fn standing(&self, session: &Session) -> Standing {
        if self.has_no_users {
            return Standing::Good;
        }
        Person::standing(self.person(session.user, &session.identity).as_ref(), session)
    }

    fn exchange(&mut self, rotation: &Rotation, grant_limit: Option<u32>) -> Option<Box<Session>> {
        self.now = Some(rotation.now);
        let session = self.sessions.get(&rotation.session)?;
        let is_current = session.refresh.hash == rotation.presented.hash;
        let standing = self.standing(session);
        let verdict = rotation.judge(session, standing, Duration::ZERO);
        let is_small =
            grant_limit.is_none_or(|limit| grant_bytes(&session.grant) <= limit as usize);
        let exchanges = is_current && is_small && verdict == Verdict::Rotate;
        if !exchanges {
            return None;
        }
        let session = self.sessions.get_mut(&rotation.session)?;
        session.rotate(rotation);
        Some(Box::new(session.clone()))
    }

    fn replace(&mut self, seen: &Session, change: SessionChange<'_>) -> Option<Box<Session>> {
        let standing = self.standing(seen);
        let session = self.sessions.get_mut(&seen.id)?;
        let rotates = matches!(change, SessionChange::Rotate(_));
        if !session.is_unchanged_since(seen) || rotates && standing != Standing::Good {
            return None;
        }
        session.change(change);
        Some(Box::new(session.clone()))
    }

    fn load(&self, id: SessionId) -> Option<LoadedSession> {
        let session = self.sessions.get(&id)?.clone();
        let ago = |previous: PreviousToken| {
            let now = self.now.unwrap_or(previous.rotated_at);
            let seconds = now.as_unix() - previous.rotated_at.as_unix();
            Duration::from_secs(seconds.try_into().unwrap_or(0))
        };
        let rotated_ago = session.previous.map_or(Duration::ZERO, ago);
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
        match self.sessions.get_mut(&id) {
            Some(session) if session.user == user => {
                if session.end.is_some() {
                    return EndOutcome::EndedBefore;
                }
                session.end = Some(SessionEnd { at, reason });
                EndOutcome::Ended
            }
            _ => EndOutcome::Unknown,
        }
    }

    fn sweep(&mut self, step: &SweepStep) -> Swept {
        let mut swept = Swept::default();
        let limit = usize::try_from(step.limit).expect("a small limit");
        let begin = step.after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.sessions.range_mut((begin, Bound::Unbounded));
        let mut looked_at = Vec::new();
        let mut deleted = Vec::new();
        for (id, session) in range.take(limit) {
            looked_at.push(*id);
            if let Some(end) = session.expiry(step.now) {
                match end.reason {
                    RevokeReason::ExpiredAbsolute => swept.expired_absolute += 1,
                    _ => swept.expired_idle += 1,
                }
                session.end = Some(end);
            }
            if session.end.is_some_and(|end| end.at + step.keep_ended < step.now) {
                deleted.push(*id);
            }
        }
        if looked_at.len() == limit {
            swept.next = looked_at.last().copied();
        }
        swept.deleted = deleted.len().try_into().expect("a small number");
        for id in deleted {
            self.sessions.remove(&id);
            self.openings.retain(|_, (_, session)| *session != id);
            self.upstream.remove(&id);
        }
        let ended = looked_at.iter().filter(|id| self.is_ended(**id)).copied().collect::<Vec<_>>();
        for id in ended {
            self.upstream.remove(&id);
        }
        forget(&mut self.single_use, limit, |expires_at| *expires_at <= step.now);
        forget(&mut self.openings, limit, |(record, _)| record.expires_at <= step.now);
        forget(&mut self.reservations, limit, |(.., until)| *until <= step.now);
        swept
    }

    fn is_ended(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|session| session.end.is_some())
    }

    fn add_key(&mut self, record: &KeyRecord) -> bool {
        let of_use = self.keys.keys().filter(|(key_use, _)| *key_use == record.key_use);
        let highest = of_use.map(|(_, number)| *number).max().unwrap_or(0);
        let is_new = self.keys.values().all(|key| key.id != record.id);
        let fits = record.number == highest + 1 && is_new;
        if fits {
            self.keys.insert((record.key_use, record.number), record.clone());
        }
        fits
    }

    fn activate_key(&mut self, key_use: KeyUse, id: &KeyId, at: Timestamp) -> bool {
        let mut keys = self.keys.values_mut();
        match keys.find(|key| key.key_use == key_use && key.id == *id) {
            Some(key) if key.activates_at.is_none_or(|before| at < before) => {
                key.activates_at = Some(at);
                true
            }
            _ => false,
        }
    }
}

/// Removes at most `limit` rows.
fn forget<T>(rows: &mut HashMap<TokenHash, T>, limit: usize, is_over: impl Fn(&T) -> bool) {
    let over = rows.iter().filter(|(_, row)| is_over(row)).map(|(hash, _)| *hash);
    for hash in over.take(limit).collect::<Vec<_>>() {
        rows.remove(&hash);
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

    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        self.with(|state| state.carry_out(order, now))
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
            match state.reservations.get(&request.key) {
                Some((held, by, until)) if now < *until && (held, by) != (request, holder) => {
                    Reserved::ByAnother(Some(held.body))
                }
                _ => {
                    let reservation = (*request, *holder, now + lease);
                    state.reservations.insert(request.key, reservation);
                    Reserved::Own
                }
            }
        })
    }

    async fn release(&self, key: TokenHash, holder: &Holder) -> Result<(), StoreError> {
        self.with(|state| {
            if state.reservations.get(&key).is_some_and(|(_, by, _)| by == holder) {
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
    async fn claim_upstream(
        &self,
        session: SessionId,
        due: Timestamp,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<SealedToken>, StoreError> {
        self.with(|state| state.claim_upstream(session, due, now, lease))
    }

    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError> {
        self.with(|state| state.keep_upstream(session, renewal))
    }
}

#[async_trait]
impl Housekeeping for MemoryStore {
    async fn claim_sweep(
        &self,
        now: Timestamp,
        lease: Duration,
        every: Duration,
    ) -> Result<bool, StoreError> {
        self.with(|State { sweep, .. }| {
            let is_held = sweep.held_until.is_some_and(|until| now < until);
            let was_done = sweep.ended_at.is_some_and(|at| now < at + every);
            let claims = !is_held && !was_done;
            if claims {
                sweep.held_until = Some(now + lease);
            }
            claims
        })
    }

    async fn sweep(&self, step: &SweepStep) -> Result<Swept, StoreError> {
        self.with(|state| state.sweep(step))
    }

    async fn refresh_key_in_use(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        self.with(|state| {
            let mut live = state.sessions.values().filter(|session| session.is_live(now));
            live.any(|session| session.refresh.key_id == *id)
        })
    }

    async fn end_sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        self.with(|state| state.sweep = Duty { held_until: None, ended_at: Some(now) })
    }
}

#[async_trait]
impl KeyRepo for MemoryStore {
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.with(|state| state.keys.values().cloned().collect())
    }

    async fn add_key(&self, record: &KeyRecord) -> Result<bool, StoreError> {
        self.with(|state| state.add_key(record))
    }

    async fn activate_key(
        &self,
        key_use: KeyUse,
        id: &KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.with(|state| state.activate_key(key_use, id, at))
    }

    async fn remove_key(&self, key_use: KeyUse, id: &KeyId) -> Result<bool, StoreError> {
        self.with(|state| {
            let before = state.keys.len();
            state.keys.retain(|(its_use, _), key| *its_use != key_use || key.id != *id);
            state.keys.len() < before
        })
    }
}

#[async_trait]
impl UserDirectory for MemoryStore {
    async fn find_user(&self, identity: &ExternalIdentity) -> Result<Option<Person>, StoreError> {
        self.with(|state| state.person(state.owner_of(identity)?, identity))
    }

    async fn find_or_create(&self, new: &NewUser) -> Result<Person, StoreError> {
        self.with(|state| state.find_or_create(new).expect("a user that was just found or created"))
    }

    async fn find_person(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
    ) -> Result<Option<Person>, StoreError> {
        self.with(|state| state.person(user, identity))
    }

    async fn keep_profile(&self, user: UserId, profile: &Profile) -> Result<(), StoreError> {
        self.with(|state| {
            if let Some(user) = state.users.get_mut(&user) {
                user.profile = profile.clone();
            }
        })
    }

    async fn end_user_sessions(
        &self,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.with(|state| {
            if let Some(user) = state.users.get_mut(&user) {
                user.session_epoch += 1;
            }
            state.end_live(SessionEnd { at: now, reason }, |session| session.user == user)
        })
    }

    async fn end_identity_sessions(
        &self,
        identity: &ExternalIdentity,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.with(|state| {
            state.raise_identity_epoch(identity);
            let end = SessionEnd { at: now, reason };
            state.end_live(end, |session| session.identity == *identity)
        })
    }

    async fn identities(&self, user: UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        self.with(|state| {
            let own = state.identities.iter().filter(|(owner, ..)| *owner == user);
            own.map(|(_, linked, _)| linked.clone()).collect()
        })
    }

    async fn link_identity(
        &self,
        user: UserId,
        identity: &NewIdentity,
        single_use: Option<SingleUse>,
    ) -> Result<LinkOutcome, StoreError> {
        self.with(|state| state.link(user, identity, single_use))
    }

    async fn unlink_identity(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
        keep: SessionId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<UnlinkOutcome, StoreError> {
        self.with(|state| state.unlink(user, identity, keep, SessionEnd { at: now, reason }))
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

    async fn age_rotation(&self, session: SessionId, by: Duration) {
        let mut state = self.0.lock().unwrap();
        let session = state.sessions.get_mut(&session).expect("a session");
        let previous = session.previous.as_mut().expect("a session that was rotated");
        previous.rotated_at = previous.rotated_at - by;
    }

    async fn dump(&self) -> Dump {
        let state = self.0.lock().unwrap();
        let mut dump = Dump::default();
        dump.insert("users", state.users.iter().map(|row| format!("{row:?}")).collect());
        let identities = state.identities.iter().map(|row| format!("{row:?}"));
        dump.insert("external_identities", identities.collect());
        let marks =
            state.single_use.iter().map(|(hash, at)| format!("{} {at:?}", hex(hash.as_bytes())));
        dump.insert("single_use_marks", marks.collect());
        dump.insert(
            "upstream_tokens",
            state.upstream.iter().map(|row| format!("{row:?}")).collect(),
        );
        dump.insert("sessions", state.sessions.values().map(session_row).collect());
        let openings =
            state.openings.values().map(|(IdempotencyRecord { request, expires_at }, id)| {
                let (key, body) = (hex(request.key.as_bytes()), hex(request.body.as_bytes()));
                format!("{key} {body} {id} {expires_at:?}")
            });
        dump.insert("idempotency_keys", openings.collect());
        let reservations = state.reservations.values().map(|row| format!("{row:?}"));
        dump.insert("idempotency_reservations", reservations.collect());
        let keys = state.keys.values().map(|key| format!("{} {key:?}", key.material.expose()));
        dump.insert("signing_keys", keys.collect());
        dump.insert("duties", vec![format!("{:?}", state.sweep)]);
        dump
    }
}

/// Digests are not printed with the rest.
/// About how many bytes a grant takes as JSON.
fn grant_bytes(grant: &AccessGrant) -> usize {
    let texts = grant.roles.iter().map(Role::as_str).chain(grant.amr.iter().map(String::as_str));
    let extra = grant.extra.iter().map(|(name, value)| name.len() + value.approximate_len() + 4);
    texts.chain(grant.acr.as_deref()).map(|text| text.len() + 3).sum::<usize>()
        + extra.sum::<usize>()
}

fn session_row(session: &Session) -> String {
    let current = hex(session.refresh.hash.as_bytes());
    let previous = session.previous.map(|previous| hex(previous.hash.as_bytes()));
    let reason = session.end.map(|end| end.reason.name());
    format!("{current} {previous:?} {reason:?} {session:?}")
}
