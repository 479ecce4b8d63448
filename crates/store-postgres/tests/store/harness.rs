//! A store on a database of its own, and a way around it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    ExternalIdentity, NewIdentity, ProviderId, ReplicaId, Role, SealedToken, Session, SessionId,
    Timestamp, UpstreamTokens, UserId,
};
use mintgate_domain::ports::{LogoutOrder, OpenOutcome, UpstreamRenewal};
use mintgate_domain::{SecretText, TokenHash};
use mintgate_store_postgres::{PgConfig, PgStore, Pooling};
use mintgate_testkit::StoreCalls;
use mintgate_testkit::openings::{NOW, Opening, Openings, identity};
use mintgate_testkit::postgres::{self, TestDatabase};
use mintgate_testkit::{Dump, ManualClock, NoMetrics, StoreUnderTest, Stores};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// How long migrations wait for locks in a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Short enough for a test that waits for them, long enough for a busy machine.
pub(crate) fn config(url: impl Into<String>) -> PgConfig {
    PgConfig {
        url: SecretText::new(url),
        pool_size: 4,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
        pooling: Pooling::Session,
    }
}

pub(crate) fn store(config: &PgConfig) -> Arc<PgStore> {
    let clock = Arc::new(ManualClock::default());
    Arc::new(PgStore::connect(config, Arc::new(NoMetrics), clock).unwrap())
}

pub(crate) async fn empty() -> TestDatabase {
    postgres::is_given_or_exit();
    TestDatabase::create_empty().await
}

pub(crate) async fn migrated() -> TestDatabase {
    postgres::is_given_or_exit();
    TestDatabase::create(async |url| {
        store(&config(url)).migrate(PATIENCE, &|_| ()).await.unwrap();
    })
    .await
}

pub(crate) struct PgUnderTest {
    pub(crate) store: Arc<PgStore>,
    pub(crate) admin: Client,
    pub(crate) database: TestDatabase,
}

pub(crate) async fn fresh_store() -> PgUnderTest {
    let database = migrated().await;
    let store = store(&config(database.url()));
    PgUnderTest { store, admin: database.client().await, database }
}

/// Opens it, and reads it back.
pub(crate) async fn opened(store: &Arc<PgStore>, opening: &Opening) -> Session {
    assert_eq!(store.open_session(opening).await, Ok(OpenOutcome::Opened));
    read(store, opening.session.id).await
}

/// A session of a user of its own.
pub(crate) async fn session(store: &Arc<PgStore>, openings: &Openings, subject: &str) -> Session {
    opened(store, &openings.new_user(identity(subject))).await
}

pub(crate) async fn read(store: &Arc<PgStore>, id: SessionId) -> Session {
    store.find_session(id).await.unwrap().expect("a session")
}

/// An identity to be linked now.
pub(crate) fn linking(identity: &ExternalIdentity) -> NewIdentity {
    NewIdentity { identity: identity.clone(), provider: ProviderId::new("other"), now: NOW }
}

/// An order of the tests' provider; orders of one name are one.
pub(crate) fn order(subject: Option<&str>, session: Option<&str>, name: &str) -> LogoutOrder {
    LogoutOrder {
        issuer: identity("").issuer,
        subject: subject.map(str::to_owned),
        session: session.map(str::to_owned),
        id: TokenHash::of(name),
        expires_at: NOW + Duration::from_mins(2),
    }
}

/// The provider gave a new token, and claims that give a role.
pub(crate) fn renewal(token: &str, at: Timestamp) -> UpstreamRenewal {
    let claimed_roles = Some(vec![Role::new(token)]);
    let refresh = Some(SealedToken(token.to_owned()));
    let tokens = UpstreamTokens { refresh, id: None, access: None };
    UpstreamRenewal { tokens, claimed_roles, at }
}

/// Returns as soon as a statement in this database waits for a lock.
pub(crate) async fn somebody_waits_for_a_lock(watcher: &Client) {
    let waiting = "SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let wait = async {
        while watcher.query(waiting, &[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("a statement that waits");
}

/// Returns when the server executes nothing else in this database any more.
pub(crate) async fn everything_is_executed(watcher: &Client) {
    let working = "SELECT FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid() AND state = 'active'";
    let wait = async {
        while !watcher.query(working, &[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("statements end");
}

#[async_trait]
impl StoreUnderTest for PgUnderTest {
    fn store(&self) -> Stores {
        self.store.clone().into()
    }

    async fn disable_user(&self, user: UserId, at: Timestamp) {
        let update = "UPDATE users SET disabled_at = to_timestamp($2::bigint::float8)
                      WHERE id = $1::text::uuid";
        let rows = self.admin.execute(update, &[&user.to_string(), &at.as_unix()]).await.unwrap();
        assert_eq!(rows, 1);
    }

    async fn grant_roles(&self, user: UserId, roles: &[&str]) {
        let update = "UPDATE users SET granted_roles = $2 WHERE id = $1::text::uuid";
        let rows = self.admin.execute(update, &[&user.to_string(), &roles]).await.unwrap();
        assert_eq!(rows, 1);
    }

    async fn age_rotation(&self, session: SessionId, by: Duration) {
        let update = "UPDATE sessions SET rotated_at = rotated_at - make_interval(secs => $2)
                      WHERE id = $1::text::uuid AND rotated_at IS NOT NULL";
        let parameters: [&(dyn ToSql + Sync); 2] = [&session.to_string(), &by.as_secs_f64()];
        assert_eq!(self.admin.execute(update, &parameters).await.unwrap(), 1);
    }

    async fn age_replica(&self, id: &ReplicaId, by: Duration) {
        let update = "UPDATE replicas SET known_since = known_since - make_interval(secs => $2),
            seen_at = seen_at - make_interval(secs => $2) WHERE id = $1";
        let parameters: [&(dyn ToSql + Sync); 2] = [&id.as_slice(), &by.as_secs_f64()];
        assert_eq!(self.admin.execute(update, &parameters).await.unwrap(), 1);
    }

    async fn hurry_replica(&self, id: &ReplicaId, by: Duration) {
        let update =
            "UPDATE replicas SET seen_at = seen_at + make_interval(secs => $2) WHERE id = $1";
        let parameters: [&(dyn ToSql + Sync); 2] = [&id.as_slice(), &by.as_secs_f64()];
        assert_eq!(self.admin.execute(update, &parameters).await.unwrap(), 1);
    }

    async fn dump(&self) -> Dump {
        let mut dump = Dump::default();
        for table in Dump::TABLES {
            let rows = self.admin.query(&format!("SELECT t::text FROM {table} t"), &[]).await;
            dump.insert(table, rows.unwrap().iter().map(|row| row.get(0)).collect());
        }
        dump
    }
}

/// The migrations by their files, the oldest first.
pub(crate) struct Migration {
    /// Such as `0001_users_and_sessions`.
    pub(crate) name: String,
    pub(crate) up: String,
    pub(crate) down: String,
}

/// All migrations from a number on, such as `0001`; the oldest first.
pub(crate) fn migrations_from(number: &str) -> Vec<Migration> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres");
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<Migration> = entries
        .map(|entry| {
            let read = |name| std::fs::read_to_string(entry.path().join(name)).unwrap();
            let name = entry.file_name().into_string().unwrap();
            Migration { name, up: read("up.sql"), down: read("down.sql") }
        })
        .filter(|migration| migration.name.as_str() >= number)
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// Their names.
pub(crate) fn names_from(number: &str) -> Vec<String> {
    migrations_from(number).into_iter().map(|migration| migration.name).collect()
}

/// Undoes all migrations from a number on, the latest first.
pub(crate) async fn undo_from(admin: &Client, number: &str) {
    for migration in migrations_from(number).into_iter().rev() {
        admin.batch_execute(&migration.down).await.unwrap();
    }
}
