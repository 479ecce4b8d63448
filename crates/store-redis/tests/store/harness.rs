//! Sessions in a Redis of their own, and a way around it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::SecretText;
use mintgate_domain::model::{ReplicaId, SessionId, Timestamp, UserId};
use mintgate_store_redis::{RedisConfig, RedisStore};
use mintgate_testkit::redis::{RedisServer, program_or_exit};
use mintgate_testkit::{
    Dump, ManualClock, MemoryStore, NoMetrics, SeededEntropy, StoreUnderTest, Stores,
};
use redis::aio::MultiplexedConnection;

/// Fields that are no part of a session: which change was the last, and what another table of a dump shows.
const ELSEWHERE: [&str; 3] = ["op", "touched", "upstream"];

pub(crate) fn config(url: &str) -> RedisConfig {
    RedisConfig {
        url: SecretText::new(url),
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(20),
        replicas: 0,
        wait: Duration::from_secs(1),
        keep_ended: Duration::from_hours(24),
    }
}

pub(crate) fn open(config: &RedisConfig) -> Arc<RedisStore> {
    // Each is a process of its own: no two give their changes the same names.
    static OPENED: AtomicU64 = AtomicU64::new(0);
    let clock = Arc::new(ManualClock::default());
    let entropy = SeededEntropy::new(OPENED.fetch_add(1, Ordering::Relaxed));
    Arc::new(RedisStore::new(config, Arc::new(NoMetrics), clock, &entropy).unwrap())
}

pub(crate) struct RedisUnderTest {
    pub(crate) store: Arc<RedisStore>,
    pub(crate) server: RedisServer,
}

pub(crate) async fn fresh_sessions() -> RedisUnderTest {
    program_or_exit();
    let server = RedisServer::start(&["--appendonly", "no"]).await;
    RedisUnderTest { store: open(&config(&server.url())), server }
}

impl RedisUnderTest {
    async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.server.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut self.connection().await).await.unwrap()
    }

    /// The keys that have no expiry.
    pub(crate) async fn lasting_keys(&self) -> Vec<String> {
        let mut lasting = vec![];
        for key in self.ask::<Vec<String>>(&["KEYS", "*"]).await {
            if self.ask::<i64>(&["TTL", &key]).await == -1 {
                lasting.push(key);
            }
        }
        lasting
    }

    async fn hashes(&self, pattern: &str) -> Vec<(String, BTreeMap<String, String>)> {
        let mut hashes = vec![];
        for key in self.ask::<Vec<String>>(&["KEYS", pattern]).await {
            let hash = self.ask(&["HGETALL", &key]).await;
            hashes.push((key, hash));
        }
        hashes
    }

    async fn texts(&self, pattern: &str) -> Vec<String> {
        let mut texts = vec![];
        for key in self.ask::<Vec<String>>(&["KEYS", pattern]).await {
            let text: String = self.ask(&["GET", &key]).await;
            texts.push(format!("{key} {text}"));
        }
        texts
    }
}

#[async_trait]
impl StoreUnderTest for RedisUnderTest {
    /// The ports of sessions are those of Redis; the others are of an empty store, and not to be used.
    fn store(&self) -> Stores {
        let mut stores = Stores::from(Arc::new(MemoryStore::default()));
        stores.sessions.repo = self.store.clone();
        stores.sessions.marks = self.store.clone();
        stores.sessions.idempotency = self.store.clone();
        Stores {
            session_records: self.store.clone(),
            upstream_tokens: self.store.clone(),
            housekeeping: self.store.clone(),
            revocations: self.store.clone(),
            health: self.store.clone(),
            ..stores
        }
    }

    async fn disable_user(&self, _user: UserId, _at: Timestamp) {
        unreachable!("people are elsewhere");
    }

    async fn grant_roles(&self, _user: UserId, _roles: &[&str]) {
        unreachable!("people are elsewhere");
    }

    async fn age_rotation(&self, session: SessionId, by: Duration) {
        let key = format!("mg:{{{session}}}");
        let micros = format!("-{}", by.as_micros());
        self.ask::<i64>(&["HINCRBY", &key, "moved", &micros]).await;
        let seconds = format!("-{}", by.as_secs());
        self.ask::<i64>(&["HINCRBY", &key, "rotated_at", &seconds]).await;
    }

    async fn age_replica(&self, _id: &ReplicaId, _by: Duration) {
        unreachable!("processes are elsewhere");
    }

    async fn hurry_replica(&self, _id: &ReplicaId, _by: Duration) {
        unreachable!("processes are elsewhere");
    }

    async fn dump(&self) -> Dump {
        let mut dump = Dump::default();
        let sessions = self.hashes("mg:{????????-*}").await;
        let upstream = sessions
            .iter()
            .filter_map(|(key, hash)| Some(format!("{key} {}", hash.get("upstream")?)));
        dump.insert("upstream_tokens", upstream.collect());
        let sessions = sessions.iter().map(|(key, hash)| {
            hash.iter().filter(|(name, _)| !ELSEWHERE.contains(&name.as_str())).fold(
                key.clone(),
                |mut row, (name, value)| {
                    write!(row, " {name}={value}").unwrap();
                    row
                },
            )
        });
        dump.insert("sessions", sessions.collect());
        let keys = self.hashes("mg:idem:*").await;
        let (used, reserved): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|(_, hash)| hash.contains_key("sid"));
        let rows = |keys: Vec<_>| keys.iter().map(|row| format!("{row:?}")).collect();
        dump.insert("idempotency_keys", rows(used));
        dump.insert("idempotency_reservations", rows(reserved));
        dump.insert("single_use_marks", self.texts("mg:mark:*").await);
        dump.insert("deleted_sessions", self.texts("mg:deleted:*").await);
        let log: Vec<(String, i64)> =
            self.ask(&["ZRANGE", "mg:{log}:positions", "0", "-1", "WITHSCORES"]).await;
        dump.insert("revocations", log.iter().map(|entry| format!("{entry:?}")).collect());
        dump
    }
}
