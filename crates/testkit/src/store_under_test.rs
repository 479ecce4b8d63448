//! What the contract suite needs of a store besides its ports.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{Actor, ReplicaId, Rotation, Session, SessionId, Timestamp, UserId};
use mintgate_domain::ports::{
    AuditStore, Duties, Housekeeping, IdempotencyRecords, KeyRepo, NoAuditLog, NoMetrics,
    OnceMarks, OpenOutcome, PeopleImport, RefreshTokenRepo, Replicas, RevocationLog,
    SessionAdministration, SessionEngines, StoreError, StoreHealth, UpstreamTokenRepo,
    UserAdministration, UserChange, UserDirectory,
};
use mintgate_domain::{Administration, AdministrationError, RotateOutcome, Sessions};

use crate::ManualClock;
use crate::openings::Opening;

/// The ports that a store for everything implements.
pub trait Store:
    RefreshTokenRepo
    + UserDirectory
    + UserAdministration
    + PeopleImport
    + SessionAdministration
    + OnceMarks
    + IdempotencyRecords
    + UpstreamTokenRepo
    + Housekeeping
    + Duties
    + SessionEngines
    + KeyRepo
    + Replicas
    + AuditStore
    + RevocationLog
    + StoreHealth
    + 'static
{
}

impl<T> Store for T where
    T: RefreshTokenRepo
        + UserDirectory
        + UserAdministration
        + PeopleImport
        + SessionAdministration
        + OnceMarks
        + IdempotencyRecords
        + UpstreamTokenRepo
        + Housekeeping
        + Duties
        + SessionEngines
        + KeyRepo
        + Replicas
        + AuditStore
        + RevocationLog
        + StoreHealth
        + 'static
{
}

/// The stores under test, as the service has them: all ports of one store, or sessions in one engine and
/// people in another.
#[derive(Clone)]
pub struct Stores {
    /// The stores of sessions and of people, used as one.
    pub sessions: Sessions,
    /// What operators see of people and decide about them.
    pub users: Arc<dyn UserAdministration>,
    /// What an import sees and writes, kept with the people.
    pub import: Arc<dyn PeopleImport>,
    /// What operators see of sessions, ended and deleted ones too.
    pub session_records: Arc<dyn SessionAdministration>,
    /// The providers' refresh tokens, kept with the sessions.
    pub upstream_tokens: Arc<dyn UpstreamTokenRepo>,
    /// The clean-up of the sessions and of what is kept with them.
    pub housekeeping: Arc<dyn Housekeeping>,
    /// Which engine the sessions are in, recorded with the people.
    pub engines: Arc<dyn SessionEngines>,
    /// Which process does what only one does at a time, kept with the people.
    pub duties: Arc<dyn Duties>,
    /// The records of signing keys.
    pub keys: Arc<dyn KeyRepo>,
    /// The processes that run on the store of people and keys.
    pub replicas: Arc<dyn Replicas>,
    /// The audit log, kept with the people.
    pub audit: Arc<dyn AuditStore>,
    /// What other services must refuse, logged by each engine for what it ends.
    pub revocations: Arc<dyn RevocationLog>,
    /// Whether the store works.
    pub health: Arc<dyn StoreHealth>,
}

impl<S: Store> From<Arc<S>> for Stores {
    fn from(store: Arc<S>) -> Self {
        Self {
            sessions: Sessions {
                repo: store.clone(),
                users: store.clone(),
                marks: store.clone(),
                idempotency: store.clone(),
            },
            users: store.clone(),
            import: store.clone(),
            session_records: store.clone(),
            upstream_tokens: store.clone(),
            housekeeping: store.clone(),
            engines: store.clone(),
            duties: store.clone(),
            keys: store.clone(),
            replicas: store.clone(),
            audit: store.clone(),
            revocations: store.clone(),
            health: store,
        }
    }
}

/// By so much longer than access tokens are valid the ids of deleted sessions are kept.
const CLOCK_DIFFERENCE: Duration = Duration::from_mins(1);

impl Stores {
    /// Disables a user as [`Administration::disable`] does, at this time.
    ///
    /// # Errors
    /// [`AdministrationError`], but for nobody, which is [`UserChange::Unknown`].
    pub async fn disable_user(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<(UserChange, u64), AdministrationError> {
        or_nobody(self.administration(now, Duration::ZERO).disable(user).await)
    }

    /// Deletes a user as [`Administration::delete`] does, at this time; returns how many live sessions were
    /// ended. The ids of sessions stay until `forget_after`.
    ///
    /// # Errors
    /// [`AdministrationError`], but for nobody, which is [`UserChange::Unknown`].
    pub async fn delete_user(
        &self,
        user: UserId,
        now: Timestamp,
        forget_after: Timestamp,
    ) -> Result<(UserChange, u64), AdministrationError> {
        let span = Duration::from_secs((forget_after.as_unix() - now.as_unix()).unsigned_abs());
        let administration = self.administration(now, span.saturating_sub(CLOCK_DIFFERENCE));
        let deleted = administration.delete(user).await.map(|deleted| {
            assert_eq!(deleted.forget_after, forget_after, "a span of a minute or more");
            (UserChange::Changed, deleted.ended)
        });
        or_nobody(deleted)
    }

    fn administration(&self, now: Timestamp, access_ttl: Duration) -> Administration {
        Administration {
            sessions: self.sessions.clone(),
            users: self.users.clone(),
            session_records: self.session_records.clone(),
            access_ttl,
            clock: Arc::new(ManualClock::at(now)),
            metrics: Arc::new(NoMetrics),
            audit: Arc::new(NoAuditLog),
            actor: Actor::Service,
        }
    }
}

fn or_nobody(
    outcome: Result<(UserChange, u64), AdministrationError>,
) -> Result<(UserChange, u64), AdministrationError> {
    match outcome {
        Err(AdministrationError::Nobody) => Ok((UserChange::Unknown, 0)),
        outcome => outcome,
    }
}

/// Steps of the use cases that take several calls of a store.
#[async_trait]
pub trait StoreCalls {
    /// The stores as the use cases have them.
    fn sessions(&self) -> Sessions;

    /// Rotates a refresh token by the rules of [`Sessions::rotate`].
    async fn rotate(&self, rotation: &Rotation) -> Result<RotateOutcome, StoreError> {
        self.sessions().rotate(rotation, None, || Duration::ZERO, |_| Ok(())).await
    }

    /// Creates the user, if the opening is for a new one, and stores the session. The epochs of the
    /// session are those of the person as found now.
    async fn open_session(&self, opening: &Opening) -> Result<OpenOutcome, StoreError> {
        let sessions = self.sessions();
        let new_user = opening.new_user();
        let mut opening = opening.clone();
        let session = &mut opening.opening.session;
        let person = if opening.is_new_user {
            Some(sessions.users.find_or_create(&new_user).await?)
        } else {
            sessions.users.find_person(session.user, &session.identity).await?
        };
        if let Some(person) = person {
            session.user = person.user.id;
            session.epochs = person.epochs();
        }
        sessions.open(&opening.opening).await
    }

    /// The session of this id, ended or not.
    async fn find_session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        Ok(self.sessions().repo.load(id).await?.map(|loaded| loaded.session))
    }
}

impl StoreCalls for Stores {
    fn sessions(&self) -> Sessions {
        self.sessions.clone()
    }
}

impl<S: Store> StoreCalls for Arc<S> {
    fn sessions(&self) -> Sessions {
        Stores::from(self.clone()).sessions
    }
}

/// A fresh store with a current schema, and a way around its ports: into the rows themselves.
#[async_trait]
pub trait StoreUnderTest: Send + Sync {
    /// The store under test, as its ports.
    fn store(&self) -> Stores;

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
    pub const TABLES: [&'static str; 19] = [
        "users",
        "former_ids",
        "external_identities",
        "single_use_marks",
        "sessions",
        "idempotency_keys",
        "idempotency_reservations",
        "signing_keys",
        "sealing_keys",
        "duties",
        "restores",
        "session_engine",
        "replicas",
        "upstream_tokens",
        "deleted_sessions",
        "audit_events",
        "audit_head",
        "revocation_log",
        "revocations",
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
