//! A store in a directory of its own, and a way around it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use diesel::connection::SimpleConnection;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query};
use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    AccessGrant, ClientInfo, KeyId, NewSession, ProviderId, RefreshState, Role, SessionId,
    Timestamp, UserId,
};
use mintgate_store_sqlite::{SqliteConfig, SqliteStore};
use mintgate_testkit::{
    Dump, ManualClock, NoMetrics, Store, StoreUnderTest, StoredSession, claim_from_json,
};
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

impl SqliteUnderTest {
    pub(crate) fn execute(&self, sql: &str) {
        self.admin.lock().unwrap().batch_execute(sql).unwrap();
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
struct SessionRow {
    #[diesel(sql_type = Binary)]
    user_id: Vec<u8>,
    #[diesel(sql_type = Text)]
    provider: String,
    #[diesel(sql_type = BigInt)]
    generation: i64,
    #[diesel(sql_type = Binary)]
    cur_hash: Vec<u8>,
    #[diesel(sql_type = Text)]
    cur_kid: String,
    #[diesel(sql_type = BigInt)]
    cur_iat: i64,
    #[diesel(sql_type = BigInt)]
    cur_exp: i64,
    #[diesel(sql_type = BigInt)]
    absolute_expires_at: i64,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
    #[diesel(sql_type = BigInt)]
    last_used_at: i64,
    #[diesel(sql_type = Nullable<Text>)]
    user_agent: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    ip_prefix: Option<String>,
    #[diesel(sql_type = Text)]
    roles: String,
    #[diesel(sql_type = BigInt)]
    auth_time: i64,
    #[diesel(sql_type = Nullable<Text>)]
    acr: Option<String>,
    #[diesel(sql_type = Text)]
    amr: String,
    #[diesel(sql_type = Text)]
    extra_claims: String,
}

/// A UUID as an SQL literal.
fn literal(id: &Uuid) -> String {
    format!("x'{}'", id.simple())
}

#[async_trait]
impl StoreUnderTest for SqliteUnderTest {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
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

    async fn find_session(&self, id: SessionId) -> Option<StoredSession> {
        let id_literal = literal(id.as_uuid());
        let select = format!("SELECT *, gen AS generation FROM sessions WHERE id = {id_literal}");
        self.query::<SessionRow>(&select).pop().map(|row| stored_session(id, row))
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

/// SQLite writes bytes in capitals.
fn lowercase_hex(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex { word.to_lowercase() } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn stored_session(id: SessionId, row: SessionRow) -> StoredSession {
    let texts = |json: &str| serde_json::from_str::<Vec<String>>(json).unwrap();
    let extra: serde_json::Value = serde_json::from_str(&row.extra_claims).unwrap();
    let extra = extra.as_object().unwrap().iter();
    let session = NewSession {
        id,
        provider: ProviderId::new(row.provider),
        refresh: RefreshState {
            generation: row.generation.try_into().unwrap(),
            hash: TokenHash::from_bytes(row.cur_hash.try_into().unwrap()),
            key_id: KeyId::new(row.cur_kid),
            issued_at: Timestamp::from_unix(row.cur_iat),
            expires_at: Timestamp::from_unix(row.cur_exp),
        },
        absolute_expires_at: Timestamp::from_unix(row.absolute_expires_at),
        grant: AccessGrant {
            roles: texts(&row.roles).into_iter().map(Role::new).collect(),
            auth_time: Timestamp::from_unix(row.auth_time),
            acr: row.acr,
            amr: texts(&row.amr),
            extra: extra.map(|(name, value)| (name.clone(), claim_from_json(value))).collect(),
        },
        client: ClientInfo { user_agent: row.user_agent, ip_prefix: row.ip_prefix },
        created_at: Timestamp::from_unix(row.created_at),
    };
    let user = UserId::from_uuid(Uuid::from_slice(&row.user_id).unwrap());
    let last_used_at = Timestamp::from_unix(row.last_used_at);
    StoredSession { user, session, last_used_at }
}
