//! People who come from another system.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{
    Ban, ExternalIdentity, FormerId, ImportRecord, ImportedUser, ProviderId, Timestamp, UserId,
};

/// What is asked about people who are to be imported, all at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportQuestion {
    /// The system that they come from.
    pub source: String,
    /// Their ids there.
    pub former_ids: Vec<String>,
    /// Their identities.
    pub identities: Vec<ExternalIdentity>,
    /// The ids that they would have here.
    pub ids: Vec<UserId>,
}

/// What a store has of those who are to be imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredPeople {
    /// The former ids that are known, with their users and, for the first id of a user, the text of the
    /// last [`ImportRecord`].
    pub former_ids: Vec<(String, UserId, Option<String>)>,
    /// The identities that are linked, with their users.
    pub identities: Vec<(ExternalIdentity, UserId)>,
    /// Those of these users who have a former id of the same source.
    pub imported: Vec<UserId>,
    /// The ids that are taken.
    pub ids: Vec<UserId>,
}

/// What is changed at a user who was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedChange {
    /// The user.
    pub user: UserId,
    /// Identities that are to be linked, if they are not.
    pub link: Vec<(ExternalIdentity, ProviderId)>,
    /// The time at which they are linked.
    pub now: Timestamp,
    /// What is taken over; its former ids are added to those that are known, the first one first.
    pub record: ImportRecord,
}

/// Whether a write of several rows has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// Everything is stored, durably.
    Stored,
    /// A user id, an identity or a former id belongs to somebody else by now, or the user is gone; nothing
    /// was stored.
    Overtaken,
}

/// The store of users, as an import uses it, and the ids that people had in other systems.
///
/// Issuer, subject and former ids MUST be compared byte for byte.
///
/// Every method returns [`StoreError::Unavailable`] when the store cannot be asked, or did not say
/// whether the call took effect. Repeating a call after such an error MUST be harmless.
#[async_trait]
pub trait PeopleImport: Send + Sync {
    /// What the store has of these people.
    async fn stored(&self, question: &ImportQuestion) -> Result<StoredPeople, StoreError>;

    /// Creates these users with their identities, former ids, roles and bans, in one transaction: all of
    /// them or none. A banned user is disabled since `now`.
    async fn create(
        &self,
        source: &str,
        users: &[ImportedUser],
        now: Timestamp,
    ) -> Result<ImportOutcome, StoreError>;

    /// Links identities to a user, disabled or not, and keeps the former ids and the record, in one
    /// transaction.
    async fn change(
        &self,
        source: &str,
        change: &ImportedChange,
    ) -> Result<ImportOutcome, StoreError>;

    /// Says how long a disabled user stays so; nothing happens to one who is not disabled.
    async fn set_ban(&self, user: UserId, ban: Ban) -> Result<(), StoreError>;

    /// Lets users sign in again whose ban has ended at `now`, at most `limit`; returns how many. Sessions
    /// that have ended stay so. MUST NOT wait for a user who is being changed.
    async fn end_bans(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// The first former ids of the users who came from a system, behind `after` in the order of their
    /// bytes, at most `limit`.
    async fn imported(
        &self,
        source: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, UserId)>, StoreError>;

    /// The former ids of a user, by source, the first one of each first.
    async fn former_ids(&self, user: UserId) -> Result<Vec<FormerId>, StoreError>;

    /// The user with this former id.
    async fn find_former(&self, id: &FormerId) -> Result<Option<UserId>, StoreError>;
}
