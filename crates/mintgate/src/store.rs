//! The configured store, whichever it is, as the ports it serves.

use std::sync::Arc;

use mintgate_domain::ports::{
    Clock, Housekeeping, KeyRepo, Metrics, RefreshTokenRepo, StoreError, StoreHealth,
    UpstreamTokenRepo, UserDirectory,
};
use mintgate_store_postgres::{PgConfig, PgStore};
use mintgate_store_sqlite::{SqliteConfig, SqliteStore};

use crate::settings::{StoreSettings, StoreUrl};

/// An opened store.
pub(crate) enum Store {
    Postgres(Arc<PgStore>),
    Sqlite(Arc<SqliteStore>),
}

impl Store {
    /// Opens the store; a database that is down is noticed later, at its first use.
    pub(crate) fn open(
        settings: &StoreSettings,
        metrics: Arc<dyn Metrics>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        Ok(match &settings.url {
            StoreUrl::Postgres(url) => {
                let config = PgConfig {
                    url: url.clone(),
                    pool_size: settings.pool_size,
                    connect_timeout: settings.connect_timeout,
                    statement_timeout: settings.statement_timeout,
                };
                Self::Postgres(Arc::new(PgStore::connect(&config, metrics, clock)?))
            }
            StoreUrl::Sqlite(path) => {
                let config =
                    SqliteConfig { path: path.clone(), busy_timeout: settings.statement_timeout };
                Self::Sqlite(Arc::new(SqliteStore::open(&config, metrics, clock)?))
            }
        })
    }

    pub(crate) fn users(&self) -> Arc<dyn UserDirectory> {
        match self {
            Self::Postgres(store) => store.clone(),
            Self::Sqlite(store) => store.clone(),
        }
    }

    pub(crate) fn upstream_tokens(&self) -> Arc<dyn UpstreamTokenRepo> {
        match self {
            Self::Postgres(store) => store.clone(),
            Self::Sqlite(store) => store.clone(),
        }
    }

    pub(crate) fn sessions(&self) -> Arc<dyn RefreshTokenRepo> {
        match self {
            Self::Postgres(store) => store.clone(),
            Self::Sqlite(store) => store.clone(),
        }
    }

    /// Where the ring of signing keys is, if it is in the store.
    pub(crate) fn keys(&self) -> Arc<dyn KeyRepo> {
        match self {
            Self::Postgres(store) => store.clone(),
            Self::Sqlite(store) => store.clone(),
        }
    }

    pub(crate) fn housekeeping(&self) -> Arc<dyn Housekeeping> {
        match self {
            Self::Postgres(store) => store.clone(),
            Self::Sqlite(store) => store.clone(),
        }
    }

    pub(crate) fn health(&self) -> Arc<dyn StoreHealth> {
        match self {
            Self::Postgres(store) => store.clone(),
            Self::Sqlite(store) => store.clone(),
        }
    }

    /// Brings the schema up to date; the names of the migrations run.
    pub(crate) async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Postgres(store) => store.migrate().await,
            Self::Sqlite(store) => store.migrate().await,
        }
    }

    /// The names of the migrations that [`migrate`](Self::migrate) would run.
    pub(crate) async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Postgres(store) => store.pending_migrations().await,
            Self::Sqlite(store) => store.pending_migrations().await,
        }
    }
}
