//! Sessions in Redis, and everything else in the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{
    Clock, Entropy, Metrics, PoolState, SessionEngines, StoreError, StoreHealth,
};
use mintgate_domain::{JoinedHousekeeping, JoinedLog, TokenHash};
use mintgate_store_redis::{RedisConfig, RedisStore, UnusableAddress};

use crate::settings::StoreSettings;
use crate::store::Store;
use crate::system::OsEntropy;

/// The configuration of the engine; `None` if sessions are in the store.
fn config(settings: &StoreSettings) -> Option<RedisConfig> {
    Some(RedisConfig {
        url: settings.sessions.url.clone()?,
        connect_timeout: settings.connect_timeout,
        timeout: settings.statement_timeout,
        replicas: settings.sessions.replicas,
        wait: settings.sessions.wait,
        keep_ended: settings.keep_ended,
    })
}

/// Checks the address of the engine without connecting.
///
/// # Errors
/// If it cannot be used.
pub(crate) fn check(settings: &StoreSettings) -> Result<(), UnusableAddress> {
    config(settings).map_or(Ok(()), |config| RedisStore::check_address(&config))
}

impl Store {
    /// This store, with sessions in the configured engine, if that is another one. Either way it is ready only
    /// if the sessions are where it looks for them.
    ///
    /// # Errors
    /// If the configured address cannot be used.
    pub(crate) fn with_session_engine(
        mut self,
        settings: &StoreSettings,
        metrics: Arc<dyn Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, UnusableAddress> {
        let redis = match config(settings) {
            None => None,
            Some(config) => {
                let redis = RedisStore::new(&config, metrics, Arc::clone(&clock), &OsEntropy)?;
                Some(Arc::new(redis))
            }
        };
        let wanted_replicas = settings.sessions.replicas;
        self.health = Arc::new(EngineHealth {
            store: self.health,
            engines: Arc::clone(&self.engines),
            redis: redis.clone(),
            clock,
            wanted_replicas,
            lacks_replicas: AtomicBool::new(false),
        });
        let Some(redis) = redis else { return Ok(self) };
        self.sessions.repo = redis.clone();
        self.sessions.marks = redis.clone();
        self.sessions.idempotency = redis.clone();
        self.session_records = redis.clone();
        self.upstream_tokens = redis.clone();
        self.housekeeping = Arc::new(JoinedHousekeeping([redis.clone(), self.housekeeping]));
        self.revocations = Arc::new(JoinedLog([redis, self.revocations]));
        Ok(self)
    }
}

/// The health of the store and of the engine of the sessions, and whether they belong together.
struct EngineHealth {
    store: Arc<dyn StoreHealth>,
    engines: Arc<dyn SessionEngines>,
    redis: Option<Arc<RedisStore>>,
    clock: Arc<dyn Clock>,
    wanted_replicas: u32,
    /// Whether it was said that fewer replicas exist than must confirm.
    lacks_replicas: AtomicBool,
}

fn not_ready(reason: &'static str) -> StoreError {
    StoreError::Unavailable(reason.into())
}

impl EngineHealth {
    async fn check_redis(
        &self,
        redis: &RedisStore,
        recorded: Option<&str>,
    ) -> Result<(), StoreError> {
        redis.check().await?;
        match recorded {
            None => self.begin_with(redis).await?,
            Some(recorded) => match redis.marker().await? {
                Some(mark) if mark == recorded => {}
                Some(_) => {
                    return Err(not_ready(
                        "sessions.url names another Redis than the one that the store says has the sessions",
                    ));
                }
                None => {
                    return Err(not_ready(
                        "Redis has lost its data: the store says that it has the sessions, and it lacks the mark \
                         that it was given. Restore it; or, to go on without the sessions, run `mintgate \
                         restore-done`, and everybody signs in again",
                    ));
                }
            },
        }
        self.compare_replicas(redis).await
    }

    /// Leaves a mark in the engine and records it, unless sessions are in the store.
    async fn begin_with(&self, redis: &RedisStore) -> Result<(), StoreError> {
        if self.engines.has_sessions(Timestamp::from(self.clock.now())).await? {
            return Err(not_ready(
                "sessions.url is set, and the sessions are in the store: end them, or leave sessions.url out",
            ));
        }
        let random: &dyn Entropy = &OsEntropy;
        let mark = TokenHash::of_bytes(&random.bytes::<32>()).to_hex();
        let mark = redis.leave_marker(&mark).await?;
        if self.engines.record_session_engine(None, Some(&mark)).await? {
            tracing::info!("the sessions are in Redis from now on");
            return Ok(());
        }
        Err(not_ready(
            "another process has just recorded where the sessions are; this is checked again",
        ))
    }

    /// Says once that logins and ends cannot be confirmed, and once that they can.
    async fn compare_replicas(&self, redis: &RedisStore) -> Result<(), StoreError> {
        if self.wanted_replicas == 0 {
            return Ok(());
        }
        let connected = redis.connected_replicas().await?;
        let lacks = connected < self.wanted_replicas;
        if self.lacks_replicas.swap(lacks, Ordering::Relaxed) != lacks {
            if lacks {
                tracing::warn!(
                    connected,
                    wanted = self.wanted_replicas,
                    "Redis has fewer replicas than sessions.replicas: logins and logouts are answered with 503"
                );
            } else {
                tracing::info!(connected, "Redis has as many replicas as sessions.replicas again");
            }
        }
        Ok(())
    }
}

#[async_trait]
impl StoreHealth for EngineHealth {
    async fn check(&self) -> Result<(), StoreError> {
        self.store.check().await?;
        let recorded = self.engines.session_engine().await?;
        match (&self.redis, recorded) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(not_ready(
                "the sessions are in Redis, as the store says, and sessions.url is not set; set it as the other \
                 processes have it",
            )),
            (Some(redis), recorded) => self.check_redis(redis, recorded.as_deref()).await,
        }
    }

    fn pool_state(&self) -> PoolState {
        let store = self.store.pool_state();
        let redis = self.redis.as_ref().map(|redis| redis.pool_state());
        let redis = redis.unwrap_or(PoolState { idle: 0, in_use: 0 });
        PoolState { idle: store.idle + redis.idle, in_use: store.in_use + redis.in_use }
    }
}
