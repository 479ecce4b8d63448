//! A store in a directory of its own, and a way around it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use diesel::connection::SimpleConnection;
use diesel::sql_types::Text;
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{ReplicaId, Rotation, Session, SessionId, Timestamp, UserId};
use mintgate_domain::ports::OpenOutcome;
use mintgate_store_sqlite::{SqliteConfig, SqliteStore};
use mintgate_testkit::openings::{Openings, identity};
use mintgate_testkit::{Dump, ManualClock, NoMetrics, StoreCalls, StoreUnderTest, Stores};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) fn config(directory: &TempDir) -> SqliteConfig {
    let busy_timeout = Duration::from_secs(10);
    SqliteConfig { path: directory.path().join("mintgate.db"), busy_timeout }
}

pub(crate) fn open(config: &SqliteConfig) -> Arc<SqliteStore> {
    let clock = Arc::new(ManualClock::default());
    Arc::new(SqliteStore::open(config, Arc::new(NoMetrics), clock).unwrap())
}

pub(crate) struct SqliteUnderTest {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) directory: TempDir,
    admin: Mutex<SqliteConnection>,
}

pub(crate) async fn fresh_store() -> SqliteUnderTest {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&config(&directory));
    store.migrate().await.unwrap();
    let path = config(&directory).path;
    let mut admin = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    admin.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
    SqliteUnderTest { store, directory, admin: Mutex::new(admin) }
}

/// A session of somebody who has no other.
pub(crate) async fn stored(test: &SqliteUnderTest) -> Session {
    let opening = Openings::default().new_user(identity("ada"));
    assert_eq!(test.store.open_session(&opening).await, Ok(OpenOutcome::Opened));
    found(test, opening.session.id).await
}

pub(crate) async fn found(test: &SqliteUnderTest, id: SessionId) -> Session {
    test.store.find_session(id).await.unwrap().expect("a session")
}

/// Rotates, which must work; the session as it is then.
pub(crate) async fn rotated(test: &SqliteUnderTest, rotation: &Rotation) -> Session {
    match test.store.rotate(rotation).await {
        Ok(RotateOutcome::Rotated(session)) => *session,
        other => panic!("not rotated: {other:?}"),
    }
}

impl SqliteUnderTest {
    /// The same file, for a process that waits for nobody.
    pub(crate) fn impatient(&self) -> Arc<SqliteStore> {
        let busy_timeout = Duration::from_millis(100);
        open(&SqliteConfig { busy_timeout, ..config(&self.directory) })
    }

    /// A number that SQLite keeps about itself.
    pub(crate) fn pragma(&self, name: &str) -> i64 {
        let select = format!("SELECT CAST({name} AS TEXT) AS line FROM pragma_{name}");
        self.query::<Line>(&select)[0].line.parse().unwrap()
    }

    pub(crate) fn execute(&self, sql: &str) {
        self.admin.lock().unwrap().batch_execute(sql).unwrap();
    }

    /// How SQLite goes about a statement.
    pub(crate) fn plan(&self, explain: &str) -> String {
        let steps = self.query::<PlanStep>(explain).into_iter().map(|step| step.detail);
        steps.collect::<Vec<_>>().join("\n")
    }

    /// The texts of a column called `line`.
    pub(crate) fn lines(&self, sql: &str) -> Vec<String> {
        self.query::<Line>(sql).into_iter().map(|row| row.line).collect()
    }

    fn query<T: QueryableByName<diesel::sqlite::Sqlite> + 'static>(&self, sql: &str) -> Vec<T> {
        sql_query(sql).load(&mut *self.admin.lock().unwrap()).unwrap()
    }
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

#[derive(QueryableByName)]
struct PlanStep {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// A UUID as an SQL literal.
fn literal(id: &Uuid) -> String {
    format!("x'{}'", id.simple())
}

#[async_trait]
impl StoreUnderTest for SqliteUnderTest {
    fn store(&self) -> Stores {
        self.store.clone().into()
    }

    async fn disable_user(&self, user: UserId, at: Timestamp) {
        let (id, at) = (literal(user.as_uuid()), at.as_unix());
        self.execute(&format!("UPDATE users SET disabled_at = {at} WHERE id = {id}"));
    }

    async fn grant_roles(&self, user: UserId, roles: &[&str]) {
        let roles = serde_json::to_string(roles).unwrap().replace('\'', "''");
        let id = literal(user.as_uuid());
        self.execute(&format!("UPDATE users SET granted_roles = '{roles}' WHERE id = {id}"));
    }

    async fn age_rotation(&self, session: SessionId, by: Duration) {
        let (id, by) = (literal(session.as_uuid()), by.as_secs());
        self.execute(&format!(
            "UPDATE sessions SET rotated_at = rotated_at - {by} WHERE id = {id}"
        ));
    }

    async fn age_replica(&self, id: &ReplicaId, by: Duration) {
        let (id, by) = (literal(&Uuid::from_bytes(*id)), by.as_secs());
        self.execute(&format!(
            "UPDATE replicas SET known_since = known_since - {by}, seen_at = seen_at - {by}
                WHERE id = {id}"
        ));
    }

    async fn hurry_replica(&self, id: &ReplicaId, by: Duration) {
        let (id, by) = (literal(&Uuid::from_bytes(*id)), by.as_secs());
        self.execute(&format!("UPDATE replicas SET seen_at = seen_at + {by} WHERE id = {id}"));
    }

    async fn dump(&self) -> Dump {
        let mut dump = Dump::default();
        for table in Dump::TABLES {
            let columns = format!("SELECT name AS line FROM pragma_table_info('{table}')");
            let columns = self.query::<Line>(&columns).into_iter().map(|column| {
                let name = column.line;
                format!("iif(typeof({name}) = 'blob', hex({name}), quote({name}))")
            });
            let line = columns.collect::<Vec<_>>().join(" || ' ' || ");
            let rows = self.query::<Line>(&format!("SELECT {line} AS line FROM {table}"));
            dump.insert(table, rows.into_iter().map(|row| lowercase_hex(&row.line)).collect());
        }
        dump
    }
}

/// One file, and stores on it as several processes have them: each call goes to the next.
pub(crate) struct FileOfSeveralProcesses {
    file: SqliteUnderTest,
    processes: Vec<Arc<SqliteStore>>,
    calls: AtomicUsize,
}

pub(crate) async fn file_of_several_processes() -> FileOfSeveralProcesses {
    let file = fresh_store().await;
    let processes = (0..4).map(|_| open(&config(&file.directory))).collect();
    FileOfSeveralProcesses { file, processes, calls: AtomicUsize::new(0) }
}

#[async_trait]
impl StoreUnderTest for FileOfSeveralProcesses {
    fn store(&self) -> Stores {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        self.processes[call % self.processes.len()].clone().into()
    }

    async fn disable_user(&self, user: UserId, at: Timestamp) {
        self.file.disable_user(user, at).await;
    }

    async fn grant_roles(&self, user: UserId, roles: &[&str]) {
        self.file.grant_roles(user, roles).await;
    }

    async fn age_rotation(&self, session: SessionId, by: Duration) {
        self.file.age_rotation(session, by).await;
    }

    async fn age_replica(&self, id: &ReplicaId, by: Duration) {
        self.file.age_replica(id, by).await;
    }

    async fn hurry_replica(&self, id: &ReplicaId, by: Duration) {
        self.file.hurry_replica(id, by).await;
    }

    async fn dump(&self) -> Dump {
        self.file.dump().await
    }
}

/// SQLite writes bytes in capitals.
fn lowercase_hex(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex { word.to_lowercase() } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}
