//! What operators see and do, in memory.

use async_trait::async_trait;
use mintgate_domain::model::{
    Account, DeletedSession, RevokeReason, Revoked, Role, SearchText, Session, SessionEnd,
    SessionId, Timestamp, UserId, searched,
};
use mintgate_domain::ports::{SessionAdministration, StoreError, UserAdministration, UserChange};

use super::{MemoryStore, State};

impl State {
    fn account(&self, user: UserId) -> Option<Account> {
        let own = self.identities.iter().filter(|(owner, ..)| *owner == user);
        let mut identities: Vec<_> = own.map(|(_, linked, _)| linked.clone()).collect();
        identities.sort_by(|a, b| {
            let key = |linked: &mintgate_domain::model::LinkedIdentity| {
                let identity = linked.identity.clone();
                (linked.linked_at, identity.issuer, identity.subject)
            };
            key(a).cmp(&key(b))
        });
        let user = self.users.get(&user)?.clone();
        let created_at = *self.created_at.get(&user.id).expect("the time of every user");
        let former_ids = self.former_ids_of(user.id);
        Some(Account { user, created_at, identities, former_ids })
    }

    fn is_found(account: &Account, search: &SearchText) -> bool {
        let subjects = account.identities.iter().map(|linked| linked.identity.subject.as_str());
        account.user.profile.searched().is_some_and(|texts| search.is_in(&texts))
            || search.is_in(&searched(subjects))
            || search.is_in(&searched(account.former_ids.iter().map(|id| id.id.as_str())))
    }

    fn disable(&mut self, user: UserId, now: Timestamp) -> (UserChange, u64) {
        let Some(found) = self.users.get_mut(&user) else { return (UserChange::Unknown, 0) };
        let was_disabled = found.disabled_at.is_some();
        found.disabled_at.get_or_insert(now);
        self.bans.remove(&user);
        self.raise_user_epoch(user, now);
        let change = if was_disabled { UserChange::AsBefore } else { UserChange::Changed };
        let end = SessionEnd { at: now, reason: RevokeReason::UserDisabled };
        (change, self.end_live(end, |session| session.user == user))
    }

    fn change_roles(&mut self, user: UserId, change: impl FnOnce(&mut Vec<Role>)) -> UserChange {
        let Some(user) = self.users.get_mut(&user) else { return UserChange::Unknown };
        let before = user.granted_roles.clone();
        change(&mut user.granted_roles);
        if user.granted_roles == before { UserChange::AsBefore } else { UserChange::Changed }
    }

    fn delete_sessions(&mut self, user: UserId, now: Timestamp, forget_after: Timestamp) -> u64 {
        let own = self.sessions.values().filter(|session| session.user == user);
        let own: Vec<Session> = own.cloned().collect();
        for session in &own {
            let left = session.deleted(now, forget_after);
            self.deleted.extend(left.map(|left| (session.id, left)));
            self.sessions.remove(&session.id);
            self.openings.retain(|_, (_, id)| *id != session.id);
            self.upstream.remove(&session.id);
        }
        own.iter().filter(|session| session.is_live(now)).count() as u64
    }

    fn delete(
        &mut self,
        user: UserId,
        now: Timestamp,
        forget_after: Timestamp,
    ) -> (UserChange, u64) {
        let Some(found) = self.users.remove(&user) else { return (UserChange::Unknown, 0) };
        self.log.add(Revoked::User { user, epoch: found.session_epoch + 1 }, now);
        self.created_at.remove(&user);
        self.identity_floors.remove(&user);
        self.identities.retain(|(owner, ..)| *owner != user);
        self.former_ids.retain(|_, former| former.user != user);
        self.bans.remove(&user);
        (UserChange::Changed, self.delete_sessions(user, now, forget_after))
    }
}

#[async_trait]
impl UserAdministration for MemoryStore {
    async fn find_accounts(
        &self,
        search: Option<&SearchText>,
        after: Option<UserId>,
        limit: u32,
    ) -> Result<Vec<Account>, StoreError> {
        self.with(|state| {
            let mut ids: Vec<UserId> = state.users.keys().copied().collect();
            ids.sort();
            let behind = ids.into_iter().filter(|id| after.is_none_or(|after| *id > after));
            let accounts = behind.filter_map(|id| state.account(id));
            let found = accounts
                .filter(|account| search.is_none_or(|search| State::is_found(account, search)));
            found.take(limit.try_into().expect("a small limit")).collect()
        })
    }

    async fn account(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        self.with(|state| state.account(user))
    }

    async fn disable_user(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<(UserChange, u64), StoreError> {
        self.with(|state| state.disable(user, now))
    }

    async fn enable_user(&self, user: UserId) -> Result<UserChange, StoreError> {
        self.with(|state| {
            state.bans.remove(&user);
            let disabled_at = state.users.get_mut(&user).map(|user| user.disabled_at.take());
            disabled_at.map_or(UserChange::Unknown, |disabled_at| {
                if disabled_at.is_some() { UserChange::Changed } else { UserChange::AsBefore }
            })
        })
    }

    async fn grant_role(&self, user: UserId, role: &Role) -> Result<UserChange, StoreError> {
        self.with(|state| {
            state.change_roles(user, |roles| {
                if !roles.contains(role) {
                    roles.push(role.clone());
                }
            })
        })
    }

    async fn revoke_role(&self, user: UserId, role: &Role) -> Result<UserChange, StoreError> {
        self.with(|state| state.change_roles(user, |roles| roles.retain(|granted| granted != role)))
    }

    async fn delete_user(
        &self,
        user: UserId,
        now: Timestamp,
        forget_after: Timestamp,
    ) -> Result<(UserChange, u64), StoreError> {
        self.with(|state| state.delete(user, now, forget_after))
    }
}

#[async_trait]
impl SessionAdministration for MemoryStore {
    async fn user_sessions(
        &self,
        user: UserId,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        self.with(|state| {
            let own = state.sessions.values().rev().filter(|session| session.user == user);
            let below = own.filter(|session| before.is_none_or(|before| session.id < before));
            below.take(limit.try_into().expect("a small limit")).cloned().collect()
        })
    }

    async fn deleted_session(&self, id: SessionId) -> Result<Option<DeletedSession>, StoreError> {
        self.with(|state| state.deleted.get(&id).copied())
    }

    async fn delete_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        forget_after: Timestamp,
    ) -> Result<u64, StoreError> {
        self.with(|state| state.delete_sessions(user, now, forget_after))
    }
}
