//! A store on a database of its own, and a way around it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    AccessGrant, ClientInfo, KeyId, NewSession, ProviderId, RefreshState, Role, SessionId,
    Timestamp, UserId,
};
use mintgate_domain::{SecretText, TokenHash};
use mintgate_store_postgres::{PgConfig, PgStore};
use mintgate_testkit::postgres::TestDatabase;
use mintgate_testkit::{
    Dump, ManualClock, NoMetrics, Store, StoreUnderTest, StoredSession, claim_from_json,
};
use tokio_postgres::{Client, Row};

/// Short enough for a test that waits for them, long enough for a busy machine.
pub(crate) fn config(url: impl Into<String>) -> PgConfig {
    PgConfig {
        url: SecretText::new(url),
        pool_size: 4,
        connect_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_secs(10),
    }
}

pub(crate) fn store(config: &PgConfig) -> Arc<PgStore> {
    let clock = Arc::new(ManualClock::default());
    Arc::new(PgStore::connect(config, Arc::new(NoMetrics), clock).unwrap())
}

pub(crate) async fn migrated() -> TestDatabase {
    TestDatabase::create(async |url| {
        store(&config(url)).migrate().await.unwrap();
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

#[async_trait]
impl StoreUnderTest for PgUnderTest {
    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
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

    async fn find_session(&self, id: SessionId) -> Option<StoredSession> {
        let select = "SELECT user_id::text, provider, gen, cur_hash, cur_kid,
                extract(epoch FROM cur_iat)::bigint AS cur_iat,
                extract(epoch FROM cur_exp)::bigint AS cur_exp,
                extract(epoch FROM absolute_expires_at)::bigint AS absolute_expires_at,
                extract(epoch FROM created_at)::bigint AS created_at,
                extract(epoch FROM last_used_at)::bigint AS last_used_at,
                extract(epoch FROM auth_time)::bigint AS auth_time,
                user_agent, ip_prefix, roles, acr, amr, extra_claims::text
            FROM sessions WHERE id = $1::text::uuid";
        let row = self.admin.query_opt(select, &[&id.to_string()]).await.unwrap()?;
        Some(stored_session(id, &row))
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

fn stored_session(id: SessionId, row: &Row) -> StoredSession {
    let at = |column| Timestamp::from_unix(row.get(column));
    let extra: serde_json::Value =
        serde_json::from_str(row.get::<_, &str>("extra_claims")).unwrap();
    let extra = extra.as_object().unwrap().iter();
    let hash: [u8; 32] = row.get::<_, &[u8]>("cur_hash").try_into().unwrap();
    let session = NewSession {
        id,
        provider: ProviderId::new(row.get::<_, &str>("provider")),
        refresh: RefreshState {
            generation: row.get::<_, i64>("gen").try_into().unwrap(),
            hash: TokenHash::from_bytes(hash),
            key_id: KeyId::new(row.get::<_, &str>("cur_kid")),
            issued_at: at("cur_iat"),
            expires_at: at("cur_exp"),
        },
        absolute_expires_at: at("absolute_expires_at"),
        grant: AccessGrant {
            roles: row.get::<_, Vec<String>>("roles").into_iter().map(Role::new).collect(),
            auth_time: at("auth_time"),
            acr: row.get("acr"),
            amr: row.get("amr"),
            extra: extra.map(|(name, value)| (name.clone(), claim_from_json(value))).collect(),
        },
        client: ClientInfo { user_agent: row.get("user_agent"), ip_prefix: row.get("ip_prefix") },
        created_at: at("created_at"),
    };
    let user: uuid::Uuid = row.get::<_, &str>("user_id").parse().unwrap();
    StoredSession { user: UserId::from_uuid(user), session, last_used_at: at("last_used_at") }
}
