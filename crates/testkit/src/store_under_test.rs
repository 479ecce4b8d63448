//! What the contract suite needs of a store besides its ports.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{ReplicaId, Rotation, Session, SessionId, Timestamp, UserId};
use mintgate_domain::ports::{
    Housekeeping, IdempotencyRecords, KeyRepo, OnceMarks, OpenOutcome, RefreshTokenRepo, Replicas,
    SessionAdministration, StoreError, StoreHealth, UpstreamTokenRepo, UserAdministration,
    UserDirectory,
};
use mintgate_domain::{RotateOutcome, Sessions};

use crate::openings::Opening;

/// The ports that a store for everything implements.
pub trait Store:
    RefreshTokenRepo
    + UserDirectory
    + UserAdministration
    + SessionAdministration
    + OnceMarks
    + IdempotencyRecords
    + UpstreamTokenRepo
    + Housekeeping
    + KeyRepo
    + Replicas
    + StoreHealth
    + 'static
{
}

impl<T> Store for T where
    T: RefreshTokenRepo
        + UserDirectory
        + UserAdministration
        + SessionAdministration
        + OnceMarks
        + IdempotencyRecords
        + UpstreamTokenRepo
        + Housekeeping
        + KeyRepo
        + Replicas
        + StoreHealth
        + 'static
{
}

/// Steps of the use cases that take several calls of a store.
#[async_trait]
pub trait StoreCalls {
    /// Rotates a refresh token by the rules of [`Sessions::rotate`].
    async fn rotate(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError>;

    /// Creates the user, if the opening is for a new one, and stores the session. The epochs of the
    /// session are those of the person as found now.
    async fn open_session(&self, opening: &Opening) -> Result<OpenOutcome, StoreError>;

    /// The session of this id, ended or not.
    async fn find_session(&self, id: SessionId) -> Result<Option<Session>, StoreError>;
}

#[async_trait]
impl StoreCalls for Arc<dyn Store> {
    async fn rotate(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError> {
        let sessions = Sessions {
            repo: self.clone(),
            users: self.clone(),
            marks: self.clone(),
            idempotency: self.clone(),
        };
        sessions.rotate(rotation, None, || Duration::ZERO, |_| Ok(())).await
    }

    async fn open_session(&self, opening: &Opening) -> Result<OpenOutcome, StoreError> {
        let new_user = opening.new_user();
        let mut opening = opening.clone();
        let session = &mut opening.opening.session;
        let person = if opening.is_new_user {
            Some(self.find_or_create(&new_user).await?)
        } else {
            self.find_person(session.user, &session.identity).await?
        };
        if let Some(person) = person {
            session.user = person.user.id;
            session.epochs = person.epochs();
        }
        self.open(&opening.opening).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.load(id).await?.map(|loaded| loaded.session))
    }
}

#[async_trait]
impl<S: Store> StoreCalls for Arc<S> {
    async fn rotate(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError> {
        let store: Arc<dyn Store> = self.clone();
        store.rotate(rotation).await
    }

    async fn open_session(&self, opening: &Opening) -> Result<OpenOutcome, StoreError> {
        let store: Arc<dyn Store> = self.clone();
        store.open_session(opening).await
    }

    async fn find_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.load(id).await?.map(|loaded| loaded.session))
    }
}

/// A fresh store with a current schema, and a way around its ports: into the rows themselves.
#[async_trait]
pub trait StoreUnderTest: Send + Sync {
    /// The store under test, as its ports.
    fn store(&self) -> Arc<dyn Store>;

    /// Disables a user, as an operator does.
    async fn disable_user(&self, user: UserId, at: Timestamp);

    /// Gives a user these roles in the store.
    async fn grant_roles(&self, user: UserId, roles: &[&str]);

    /// Lets time go by for a session's last rotation alone: what the row says about when it was
    /// moves into the past. Whichever clock the store measures by, it then measures so much more.
    async fn age_rotation(&self, session: SessionId, by: Duration);

    /// Lets time go by for a process alone, since it was first and last heard of.
    async fn age_replica(&self, id: &ReplicaId, by: Duration);

    /// Has a process seem to have been heard of so much later, as after the store's clock was set back.
    async fn hurry_replica(&self, id: &ReplicaId, by: Duration);

    /// Everything that is stored, every column of every row.
    async fn dump(&self) -> Dump;
}

/// All rows as text, by table; digests and other bytes in lowercase hexadecimal.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Dump(BTreeMap<String, Vec<String>>);

impl Dump {
    /// The tables that a dump has to have.
    pub const TABLES: [&'static str; 11] = [
        "users",
        "external_identities",
        "single_use_marks",
        "sessions",
        "idempotency_keys",
        "idempotency_reservations",
        "signing_keys",
        "duties",
        "replicas",
        "upstream_tokens",
        "deleted_sessions",
    ];

    /// Adds a table; the order of its rows does not matter.
    pub fn insert(&mut self, table: &str, mut rows: Vec<String>) {
        rows.sort();
        self.0.insert(table.to_owned(), rows);
    }

    /// The rows of a table, which must be one of [`Dump::TABLES`].
    pub fn rows(&self, table: &str) -> &[String] {
        self.0.get(table).expect("a table that is dumped")
    }

    /// The numbers of users, identities, single-use marks and sessions, which a sign-in writes.
    pub fn counts(&self) -> [usize; 4] {
        ["users", "external_identities", "single_use_marks", "sessions"]
            .map(|table| self.rows(table).len())
    }
}

/// Bytes in lowercase hexadecimal, as a dump shows them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, rows) in &self.0 {
            writeln!(f, "{table}:")?;
            for row in rows {
                writeln!(f, "  {row}")?;
            }
        }
        Ok(())
    }
}
