//! Users and their identities.

use async_trait::async_trait;
use mintgate_domain::model::{
    ExternalIdentity, LinkedIdentity, NewIdentity, NewUser, Person, Profile, RevokeReason, Revoked,
    SessionEnd, SessionId, SingleUse, Timestamp, User, UserId,
};
use mintgate_domain::ports::{LinkOutcome, StoreError, UnlinkOutcome, UserDirectory};

use super::{MemoryStore, State};

impl State {
    pub(super) fn person(&self, user: UserId, identity: &ExternalIdentity) -> Option<Person> {
        let mut own = self.identities.iter().filter(|(owner, ..)| *owner == user);
        let identity_epoch =
            own.find(|(_, linked, _)| linked.identity == *identity).map(|(.., epoch)| *epoch);
        let (user, restore_epoch) = (self.users.get(&user)?.clone(), self.restore_epoch);
        Some(Person { user, identity_epoch, restore_epoch })
    }

    pub(super) fn owner_of(&self, identity: &ExternalIdentity) -> Option<UserId> {
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
            self.created_at.insert(new.id, new.now);
            let NewUser { identity, provider, now, .. } = new.clone();
            self.add_identity(new.id, LinkedIdentity { identity, provider, linked_at: now });
            new.id
        });
        self.person(user, &new.identity)
    }

    pub(super) fn add_identity(&mut self, user: UserId, linked: LinkedIdentity) {
        let epoch = self.identity_floors.get(&user).copied().unwrap_or(0);
        self.identities.push((user, linked, epoch));
    }

    /// Whether the user is disabled or does not exist.
    pub(super) fn is_disabled(&self, user: UserId) -> bool {
        self.users.get(&user).is_none_or(|user| user.disabled_at.is_some())
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

    pub(super) fn raise_user_epoch(&mut self, user: UserId, now: Timestamp) {
        if let Some(found) = self.users.get_mut(&user) {
            found.session_epoch += 1;
            self.log.add(Revoked::User { user, epoch: found.session_epoch }, now);
        }
    }

    pub(super) fn raise_identity_epoch(&mut self, identity: &ExternalIdentity) {
        let own = self.identities.iter_mut().filter(|(_, l, _)| l.identity == *identity);
        own.for_each(|(.., epoch)| *epoch += 1);
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
            state.raise_user_epoch(user, now);
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

    async fn raise_restore_epoch(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.with(|state| {
            let seconds = now.as_unix().try_into().unwrap_or(0);
            state.restore_epoch = state.restore_epoch.saturating_add(1).max(seconds);
            state.log.restored(state.restore_epoch, now);
            state.restore_epoch
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
