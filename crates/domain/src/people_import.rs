//! The use case: people of another system become users of this one, as often as that is asked for.

use std::collections::HashSet;
use std::sync::Arc;

use crate::model::{
    Ban, ExternalIdentity, ImportRecord, ImportedUser, RevokeReason, Role, SessionId, Timestamp,
    UserId,
};
use crate::ports::{
    Entropy, ImportOutcome, ImportQuestion, ImportedChange, PeopleImport, StoredPeople,
    UnlinkOutcome,
};
use crate::{Administration, AdministrationError, Cause};

/// How often a batch is judged again because somebody signed in meanwhile.
const ATTEMPTS: usize = 5;

/// Imports people, and reconciles those who were imported before.
///
/// Repeating a batch changes nothing. What was changed here since the last import stays as long as the
/// other system says the same as then.
#[derive(Clone)]
pub struct ImportPeople {
    /// The users as an import sees and writes them.
    pub people: Arc<dyn PeopleImport>,
    /// Changes of users who are there, which are noted in the audit log.
    pub administration: Administration,
    /// The source of the random bits of new user ids.
    pub entropy: Arc<dyn Entropy>,
}

/// The result for one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportResult {
    /// The user is new.
    Created,
    /// The user was there; what the other system says has changed, or the user had signed in here before
    /// the first import.
    Changed,
    /// The other system says the same as at the last import.
    Unchanged,
    /// Nothing was stored.
    Conflict(ImportConflict),
}

/// Why a person cannot be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImportConflict {
    /// The former ids belong to several users here.
    SeveralUsers,
    /// The identities belong to several users here.
    SeveralOwners,
    /// An identity belongs to another user here, or to another person of the same import.
    IdentityTaken,
    /// A former id belongs to another person of the same import.
    IdTaken,
    /// The other system has unlinked the last identity that the user has here.
    LastIdentity,
}

/// What is to be done about one person.
enum Plan {
    Create,
    Change { user: UserId, last: ImportRecord },
    Leave,
    Refuse(ImportConflict),
}

/// What the people before in this import have claimed, so that a dry run finds what an import would.
#[derive(Debug, Default)]
pub struct ImportClaims {
    identities: HashSet<u128>,
    ids: HashSet<u128>,
}

impl ImportClaims {
    /// Takes what belongs to a person, unless somebody has it.
    fn claim(&mut self, user: &ImportedUser) -> Option<ImportConflict> {
        let identities: Vec<u128> =
            user.identities.iter().map(|(identity, _)| identity.short_name()).collect();
        let ids: Vec<u128> = user.former_ids.iter().map(|id| short(id)).collect();
        if ids.iter().any(|id| self.ids.contains(id)) {
            return Some(ImportConflict::IdTaken);
        }
        if identities.iter().any(|identity| self.identities.contains(identity)) {
            return Some(ImportConflict::IdentityTaken);
        }
        self.identities.extend(identities);
        self.ids.extend(ids);
        None
    }

    /// Notes that somebody with this former id is there, and cannot be imported.
    pub fn see(&mut self, id: &str) {
        self.ids.insert(short(id));
    }

    /// Whether somebody of this import has the former id.
    pub fn has_id(&self, id: &str) -> bool {
        self.ids.contains(&short(id))
    }
}

fn short(id: &str) -> u128 {
    ExternalIdentity { issuer: String::new(), subject: id.to_owned() }.short_name()
}

impl ImportPeople {
    /// Imports people of `source`, or only says what that would do. Those who are created are created in
    /// one transaction.
    ///
    /// # Errors
    /// [`AdministrationError`]: nobody was created, and some of the others may be changed; the same call
    /// may be made again.
    pub async fn import(
        &self,
        source: &str,
        people: &mut [ImportedUser],
        claims: &mut ImportClaims,
        apply: bool,
    ) -> Result<Vec<ImportResult>, AdministrationError> {
        let claimed: Vec<_> = people.iter().map(|person| claims.claim(person)).collect();
        for _ in 0..ATTEMPTS {
            let stored = self.people.stored(&question(source, people)).await?;
            let mut results = vec![];
            let mut created = vec![];
            let mut changes = vec![];
            for (index, person) in people.iter_mut().enumerate() {
                let plan = claimed[index].map_or_else(|| plan(person, &stored), Plan::Refuse);
                results.push(match plan {
                    Plan::Create => {
                        if stored.ids.contains(&person.id) {
                            person.id = self.new_id();
                        }
                        created.push(person.clone());
                        ImportResult::Created
                    }
                    Plan::Change { user, last } => {
                        changes.push((index, user, last));
                        ImportResult::Changed
                    }
                    Plan::Leave => ImportResult::Unchanged,
                    Plan::Refuse(conflict) => ImportResult::Conflict(conflict),
                });
            }
            if !apply {
                return Ok(results);
            }
            if !created.is_empty() {
                let outcome = self.people.create(source, &created, self.now()).await?;
                if outcome == ImportOutcome::Overtaken {
                    continue;
                }
            }
            for (index, user, last) in changes {
                if let Some(conflict) = self.change(source, &people[index], user, &last).await? {
                    results[index] = ImportResult::Conflict(conflict);
                }
            }
            return Ok(results);
        }
        let cause = Cause::from("users are created elsewhere, again and again");
        Err(crate::ports::StoreError::Unavailable(cause).into())
    }

    /// Brings a user to what the other system says by now. The record is written last, so that a change
    /// that was cut off is made again by the next import.
    async fn change(
        &self,
        source: &str,
        person: &ImportedUser,
        user: UserId,
        last: &ImportRecord,
    ) -> Result<Option<ImportConflict>, AdministrationError> {
        let record = ImportRecord::from(person);
        // What takes rights away comes first.
        let in_force = |ban: Option<Ban>| ban.and_then(|ban| ban.at(self.now()));
        if let Some(ban) = in_force(record.ban) {
            if in_force(last.ban).is_none() {
                self.administration.disable(user).await?;
            }
            self.people.set_ban(user, ban).await?;
        }
        for role in last.roles.iter().filter(|role| !record.roles.contains(role)) {
            self.administration.revoke_role(user, role.as_str()).await?;
        }
        let link = person.identities.iter();
        let link = link.filter(|(identity, _)| !last.identities.contains(identity));
        let mut change = ImportedChange {
            user,
            link: link.cloned().collect(),
            now: self.now(),
            record: last.clone(),
        };
        change.record.former_ids.clone_from(&record.former_ids);
        if self.people.change(source, &change).await? == ImportOutcome::Overtaken {
            return Ok(Some(ImportConflict::IdentityTaken));
        }
        for identity in last.identities.iter().filter(|it| !record.identities.contains(it)) {
            if !self.unlink(user, identity).await? {
                return Ok(Some(ImportConflict::LastIdentity));
            }
        }
        let new = |role: &&Role| !last.roles.contains(role);
        for role in record.roles.iter().filter(new) {
            self.administration.grant_role(user, role.as_str()).await?;
        }
        if in_force(record.ban).is_none() && in_force(last.ban).is_some() {
            self.administration.enable(user).await?;
        }
        let change = ImportedChange { link: vec![], record, ..change };
        let stored = self.people.change(source, &change).await?;
        Ok((stored == ImportOutcome::Overtaken).then_some(ImportConflict::IdTaken))
    }

    /// Unlinks an identity, and ends the sessions that were opened with it; false if it is the last one.
    async fn unlink(
        &self,
        user: UserId,
        identity: &ExternalIdentity,
    ) -> Result<bool, AdministrationError> {
        let (sessions, reason, now) =
            (&self.administration.sessions, RevokeReason::Other, self.now());
        // A session of nobody: none of them goes on.
        let nobodys = SessionId::from_uuid(uuid::Uuid::nil());
        let users = &sessions.users;
        let unlinked = users.unlink_identity(user, identity, nobodys, reason, now).await?;
        if matches!(unlinked, UnlinkOutcome::Unlinked { .. }) {
            // The raised epoch has ended them all: if this fails, only their rows say otherwise.
            let _ = sessions.end_rows(user, Some(identity), None, reason, now).await;
        }
        Ok(unlinked != UnlinkOutcome::Last)
    }

    /// An id for a user whose former one is none.
    pub fn new_id(&self) -> UserId {
        UserId::generate(self.administration.clock.now(), self.entropy.bytes())
    }

    fn now(&self) -> Timestamp {
        self.administration.clock.now().into()
    }
}

fn question(source: &str, people: &[ImportedUser]) -> ImportQuestion {
    let identities = people.iter().flat_map(|person| &person.identities);
    ImportQuestion {
        source: source.to_owned(),
        former_ids: people.iter().flat_map(|person| person.former_ids.clone()).collect(),
        identities: identities.map(|(identity, _)| identity.clone()).collect(),
        ids: people.iter().map(|person| person.id).collect(),
    }
}

fn plan(person: &ImportedUser, stored: &StoredPeople) -> Plan {
    let known = stored.former_ids.iter().filter(|(id, ..)| person.former_ids.contains(id));
    let known: Vec<_> = known.collect();
    let users: HashSet<UserId> = known.iter().map(|(_, user, _)| *user).collect();
    if users.len() > 1 {
        return Plan::Refuse(ImportConflict::SeveralUsers);
    }
    let is_own =
        |identity: &ExternalIdentity| person.identities.iter().any(|(own, _)| own == identity);
    let owners = stored.identities.iter().filter(|(identity, _)| is_own(identity));
    let owners: HashSet<UserId> = owners.map(|(_, owner)| *owner).collect();
    let Some(user) = users.into_iter().next() else {
        return match owners.into_iter().collect::<Vec<_>>()[..] {
            [] => Plan::Create,
            // Signed in here before the first import; or somebody else of the same system.
            [owner] if stored.imported.contains(&owner) => {
                Plan::Refuse(ImportConflict::IdentityTaken)
            }
            [owner] => Plan::Change { user: owner, last: ImportRecord::default() },
            _ => Plan::Refuse(ImportConflict::SeveralOwners),
        };
    };
    if owners.iter().any(|owner| *owner != user) {
        return Plan::Refuse(ImportConflict::IdentityTaken);
    }
    let text = known.iter().find_map(|(.., record)| record.as_deref());
    if text == Some(ImportRecord::from(person).to_text().as_str()) {
        return Plan::Leave;
    }
    Plan::Change { user, last: text.map(ImportRecord::parse).unwrap_or_default() }
}
