//! People who come from another system.

use async_trait::async_trait;
use mintgate_domain::model::{
    Ban, FormerId, ImportRecord, ImportedUser, LinkedIdentity, Timestamp, User, UserId,
};
use mintgate_domain::ports::{
    ImportOutcome, ImportQuestion, ImportedChange, PeopleImport, StoreError, StoredPeople,
};

use super::{MemoryStore, State};

/// What is kept with a former id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Former {
    pub(super) user: UserId,
    position: usize,
    record: Option<String>,
}

impl State {
    pub(super) fn former_ids_of(&self, user: UserId) -> Vec<FormerId> {
        let own = self.former_ids.iter().filter(|(_, former)| former.user == user);
        let mut own: Vec<_> =
            own.map(|((id, source), former)| (source, former.position, id)).collect();
        own.sort();
        own.into_iter()
            .map(|(source, _, id)| FormerId { source: source.clone(), id: id.clone() })
            .collect()
    }

    fn owner_of_former(&self, source: &str, id: &str) -> Option<UserId> {
        Some(self.former_ids.get(&(id.to_owned(), source.to_owned()))?.user)
    }

    fn keep_ids(&mut self, source: &str, user: UserId, record: &ImportRecord) {
        for ((_, of), former) in &mut self.former_ids {
            if *of == source && former.user == user && former.position == 0 {
                (former.position, former.record) = (1, None);
            }
        }
        for (position, id) in record.former_ids.iter().enumerate() {
            let record = (position == 0).then(|| record.to_text());
            let key = (id.clone(), source.to_owned());
            self.former_ids.insert(key, Former { user, position, record });
        }
    }

    fn create(&mut self, source: &str, new: &ImportedUser, now: Timestamp) {
        let ban = new.ban.and_then(|ban| ban.at(now));
        let user = User {
            id: new.id,
            disabled_at: ban.map(|_| now),
            granted_roles: new.roles.clone(),
            session_epoch: 0,
            profile: new.profile.clone(),
        };
        self.users.insert(new.id, user);
        self.created_at.insert(new.id, new.created_at);
        if let Some(Ban::Until(at)) = ban {
            self.bans.insert(new.id, at);
        }
        for (identity, provider) in new.identities.clone() {
            self.add_identity(new.id, LinkedIdentity { identity, provider, linked_at: now });
        }
        self.keep_ids(source, new.id, &ImportRecord::from(new));
    }
}

#[async_trait]
impl PeopleImport for MemoryStore {
    async fn stored(&self, question: &ImportQuestion) -> Result<StoredPeople, StoreError> {
        self.with(|state| {
            let mut people = StoredPeople::default();
            for id in &question.former_ids {
                let found = state.former_ids.get(&(id.clone(), question.source.clone()));
                let found = found.map(|it| (id.clone(), it.user, it.record.clone()));
                people.former_ids.extend(found);
            }
            for identity in &question.identities {
                let Some(owner) = state.owner_of(identity) else { continue };
                people.identities.push((identity.clone(), owner));
                let own = state.former_ids_of(owner);
                let is_imported = own.iter().any(|former| former.source == question.source);
                people.imported.extend(is_imported.then_some(owner));
            }
            let taken = question.ids.iter().filter(|id| state.users.contains_key(id));
            people.ids = taken.copied().collect();
            people
        })
    }

    async fn create(
        &self,
        source: &str,
        users: &[ImportedUser],
        now: Timestamp,
    ) -> Result<ImportOutcome, StoreError> {
        self.with(|state| {
            let is_taken = users.iter().any(|user| {
                let ids = user.former_ids.iter();
                state.users.contains_key(&user.id)
                    || user.identities.iter().any(|(it, _)| state.owner_of(it).is_some())
                    || ids.into_iter().any(|id| state.owner_of_former(source, id).is_some())
            });
            if is_taken {
                return ImportOutcome::Overtaken;
            }
            for user in users {
                state.create(source, user, now);
            }
            ImportOutcome::Stored
        })
    }

    async fn change(
        &self,
        source: &str,
        change: &ImportedChange,
    ) -> Result<ImportOutcome, StoreError> {
        let ImportedChange { user, link, now, record } = change;
        self.with(|state| {
            let is_others = |owner: Option<UserId>| owner.is_some_and(|owner| owner != *user);
            let ids = record.former_ids.iter();
            if !state.users.contains_key(user)
                || link.iter().any(|(identity, _)| is_others(state.owner_of(identity)))
                || ids.into_iter().any(|id| is_others(state.owner_of_former(source, id)))
            {
                return ImportOutcome::Overtaken;
            }
            for (identity, provider) in link.clone() {
                if state.owner_of(&identity).is_none() {
                    let linked = LinkedIdentity { identity, provider, linked_at: *now };
                    state.add_identity(*user, linked);
                }
            }
            state.keep_ids(source, *user, record);
            ImportOutcome::Stored
        })
    }

    async fn set_ban(&self, user: UserId, ban: Ban) -> Result<(), StoreError> {
        self.with(|state| {
            let is_disabled = |user: &User| user.disabled_at.is_some();
            match ban {
                Ban::Until(at) if state.users.get(&user).is_some_and(is_disabled) => {
                    state.bans.insert(user, at);
                }
                Ban::Until(_) => {}
                Ban::ForEver => {
                    state.bans.remove(&user);
                }
            }
        })
    }

    async fn end_bans(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.with(|state| {
            let ended = state.bans.extract_if(.., |_, until| *until <= now);
            let ended: Vec<_> = ended.take(limit.try_into().expect("a small limit")).collect();
            for (user, _) in &ended {
                if let Some(user) = state.users.get_mut(user) {
                    user.disabled_at = None;
                }
            }
            ended.len() as u64
        })
    }

    async fn imported(
        &self,
        source: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, UserId)>, StoreError> {
        self.with(|state| {
            let all = state.former_ids.iter();
            let first = all.filter(|((id, of), former)| {
                of == source && id.as_str() > after && former.position == 0
            });
            let found = first.map(|((id, _), former)| (id.clone(), former.user));
            found.take(limit.try_into().expect("a small limit")).collect()
        })
    }

    async fn former_ids(&self, user: UserId) -> Result<Vec<FormerId>, StoreError> {
        self.with(|state| state.former_ids_of(user))
    }

    async fn find_former(&self, id: &FormerId) -> Result<Option<UserId>, StoreError> {
        self.with(|state| state.owner_of_former(&id.source, &id.id))
    }
}
