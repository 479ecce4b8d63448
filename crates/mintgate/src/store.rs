//! The configured store, as the ports it implements.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_audit::{AuditTrail, AuditTrailPorts};
use mintgate_domain::model::{Actor, AuditKeys};
use mintgate_domain::ports::{
    AuditLog, AuditStore, Clock, Duties, Housekeeping, IdempotencyRecords, KeyRepo, Metrics,
    OnceMarks, PeopleImport, RefreshTokenRepo, Replicas, RevocationLog, SessionAdministration,
    SessionEngines, SharedCounts, StoreError, StoreExamination, StoreHealth, UpstreamTokenRepo,
    UserAdministration, UserDirectory,
};
use mintgate_domain::{Administration, AuditReview, SecretText, Sessions};
use mintgate_store_postgres::{PgConfig, PgStore};
use mintgate_store_sqlite::{SqliteConfig, SqliteStore};

use crate::session_engine;
use crate::settings::{Pooling, StoreSettings, StoreUrl};
use crate::system::OsEntropy;

/// The ports of an opened store. Each could be of another engine.
pub(crate) struct Store {
    /// Sessions and users, and what is stored with sessions.
    pub(crate) sessions: Sessions,
    /// The port of the operators' searches and changes.
    pub(crate) users: Arc<dyn UserAdministration>,
    /// The people who come from another system, in the store of the users.
    pub(crate) import: Arc<dyn PeopleImport>,
    pub(crate) session_records: Arc<dyn SessionAdministration>,
    pub(crate) upstream_tokens: Arc<dyn UpstreamTokenRepo>,
    /// The signing keys that are kept in the store.
    pub(crate) keys: Arc<dyn KeyRepo>,
    /// The processes that run on the store of the signing keys and the users.
    pub(crate) replicas: Arc<dyn Replicas>,
    /// The audit log, in the store of the users.
    pub(crate) audit: Arc<dyn AuditStore>,
    /// What other services must refuse, logged by each engine for what it ends.
    pub(crate) revocations: Arc<dyn RevocationLog>,
    /// What the limits of the processes on the store tell one another; `None` where one process has the store.
    pub(crate) shared_counts: Option<Arc<dyn SharedCounts>>,
    pub(crate) housekeeping: Arc<dyn Housekeeping>,
    pub(crate) duties: Arc<dyn Duties>,
    /// Which engine the sessions are in, recorded in the store of the users.
    pub(crate) engines: Arc<dyn SessionEngines>,
    pub(crate) health: Arc<dyn StoreHealth>,
    pub(crate) examination: Arc<dyn StoreExamination>,
    pub(crate) migrations: Arc<dyn Migrations>,
}

impl Store {
    /// Opens the store. A database that is down is noticed later, at its first use.
    ///
    /// # Errors
    /// If the configured address or its TLS options cannot be used.
    pub(crate) fn open(
        settings: &StoreSettings,
        metrics: Arc<dyn Metrics>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let engine = (metrics.clone(), clock.clone());
        let store = match &settings.url {
            StoreUrl::Postgres(url) => {
                let store = Arc::new(PgStore::connect(&postgres(settings, url), metrics, clock)?);
                Self { shared_counts: Some(store.clone()), ..Self::of_one(store) }
            }
            StoreUrl::Sqlite(path) => {
                let config =
                    SqliteConfig { path: path.clone(), busy_timeout: settings.statement_timeout };
                Self::of_one(Arc::new(SqliteStore::open(&config, metrics, clock)?))
            }
        };
        Ok(store.with_session_engine(settings, engine.0, engine.1)?)
    }

    /// All ports from one store, but for what a store with one process does not need.
    fn of_one<S>(store: Arc<S>) -> Self
    where
        S: UserDirectory + RefreshTokenRepo + OnceMarks + IdempotencyRecords,
        S: UserAdministration + PeopleImport + SessionAdministration,
        S: UpstreamTokenRepo
            + KeyRepo
            + Replicas
            + AuditStore
            + RevocationLog
            + Housekeeping
            + Duties
            + SessionEngines
            + StoreHealth
            + StoreExamination
            + Migrations
            + 'static,
    {
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
            keys: store.clone(),
            replicas: store.clone(),
            audit: store.clone(),
            revocations: store.clone(),
            shared_counts: None,
            housekeeping: store.clone(),
            duties: store.clone(),
            engines: store.clone(),
            health: store.clone(),
            examination: store.clone(),
            migrations: store,
        }
    }

    /// The operators' use cases, on this store.
    pub(crate) fn administration(
        &self,
        access_ttl: Duration,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
        audit: Arc<dyn AuditLog>,
        actor: Actor,
    ) -> Administration {
        Administration {
            sessions: self.sessions.clone(),
            users: Arc::clone(&self.users),
            session_records: Arc::clone(&self.session_records),
            access_ttl,
            clock,
            metrics,
            audit,
            actor,
        }
    }

    /// The audit log as an operator reads it.
    pub(crate) fn audit_review(&self, keys: AuditKeys) -> AuditReview {
        AuditReview { store: Arc::clone(&self.audit), keys }
    }

    /// The audit log of this process on this store.
    pub(crate) fn audit_trail(
        &self,
        keys: AuditKeys,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
    ) -> Arc<AuditTrail> {
        let (store, duties) = (Arc::clone(&self.audit), Arc::clone(&self.duties));
        let entropy = Arc::new(OsEntropy);
        let ports = AuditTrailPorts { store, duties, keys, clock, entropy, metrics };
        Arc::new(AuditTrail::new(ports))
    }
}

fn postgres(settings: &StoreSettings, url: &SecretText) -> PgConfig {
    PgConfig {
        url: url.clone(),
        pool_size: settings.pool_size,
        connect_timeout: settings.connect_timeout,
        statement_timeout: settings.statement_timeout,
        pooling: match settings.pooling {
            Pooling::Auto => mintgate_store_postgres::Pooling::Auto,
            Pooling::Session => mintgate_store_postgres::Pooling::Session,
            Pooling::Transaction => mintgate_store_postgres::Pooling::Transaction,
        },
    }
}

/// Checks what only the store's driver knows of its address, without connecting.
///
/// # Errors
/// Those with which the service would not start.
pub fn check(settings: &StoreSettings) -> anyhow::Result<()> {
    if let StoreUrl::Postgres(url) = &settings.url {
        postgres(settings, url).check()?;
    }
    Ok(session_engine::check(settings)?)
}

/// Copies the configured database to `target` while the service runs; what was copied, and how it is restored.
///
/// # Errors
/// If the store is not SQLite, or the copy fails.
pub async fn back_up(settings: &StoreSettings, target: &Path) -> anyhow::Result<String> {
    match &settings.url {
        StoreUrl::Sqlite(path) => {
            Ok(mintgate_store_sqlite::back_up(path, target).await?.to_string())
        }
        StoreUrl::Postgres(_) => anyhow::bail!(
            "`mintgate backup` copies an SQLite file, and store.url names Postgres: use \
             `pg_dump --format=custom --file={}`, or the backups of your server",
            target.display()
        ),
    }
}

/// Tells the operator, in a line, what is waited for.
pub(crate) type Say<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// A store whose schema can be brought up to date.
#[async_trait]
pub(crate) trait Migrations: Send + Sync {
    /// Runs every pending migration; the names of those that were run. Locks of others are waited for until
    /// `patience` is over, and `say` is told whose.
    async fn migrate(&self, patience: Duration, say: Say<'_>) -> Result<Vec<String>, StoreError>;

    /// What [`migrate`](Self::migrate) would do, as lines of text; empty if nothing.
    async fn plan(&self) -> Result<String, StoreError>;
}

#[async_trait]
impl Migrations for PgStore {
    async fn migrate(&self, patience: Duration, say: Say<'_>) -> Result<Vec<String>, StoreError> {
        self.migrate(patience, say).await
    }

    async fn plan(&self) -> Result<String, StoreError> {
        self.migration_plan().await
    }
}

/// A lock on the one file is waited for as every statement does.
#[async_trait]
impl Migrations for SqliteStore {
    async fn migrate(&self, _: Duration, _: Say<'_>) -> Result<Vec<String>, StoreError> {
        self.migrate().await
    }

    async fn plan(&self) -> Result<String, StoreError> {
        let names = self.pending_migrations().await?;
        let lines: Vec<_> = names.iter().map(|name| format!("would run {name}\n")).collect();
        Ok(lines.concat())
    }
}
