//! What commands do on the configured store.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mintgate_audit::AuditTrail;
use mintgate_doctor::{Installation, Opened};
use mintgate_domain::Explain;
use mintgate_domain::ports::{Clock, NoMetrics, StoreError};

use crate::keys;
use crate::settings::{AdministrationSettings, Settings, StoreSettings};
use crate::store::Store;
pub use crate::store::{back_up, check as check_store};
use crate::system::{OsEntropy, SystemClock};

/// What operators do with people and sessions, on the configured store, and the audit log, which is to be
/// flushed afterwards.
///
/// # Errors
/// If the configured address or its TLS options cannot be used.
pub fn administration(
    settings: &AdministrationSettings,
) -> anyhow::Result<(Explain, Arc<AuditTrail>)> {
    let (metrics, clock) = (Arc::new(NoMetrics), Arc::new(SystemClock::new()));
    let store = Store::open(&settings.store, metrics.clone(), clock.clone())?;
    let keys = settings.audit.keys(&settings.keys);
    let audit = store.audit_trail(keys.clone(), clock.clone(), metrics.clone());
    let (access_ttl, actor) = (settings.tokens.access_ttl, mintgate_admin::operator());
    let review = store.audit_review(keys);
    let administration = store.administration(access_ttl, clock, metrics, audit.clone(), actor);
    Ok((Explain { administration, review }, audit))
}

/// Says if what a command has done is not in the audit log.
pub fn warn_if_unwritten(written: Result<(), StoreError>) {
    if let Err(error) = written {
        // There may be nobody to say it to.
        let _ = writeln!(
            std::io::stderr(),
            "mintgate: warning: not everything that was done is in the audit log: {}",
            mintgate_domain::chain(&error)
        );
    }
}

/// An installation for `mintgate doctor`, which leaves it as it is.
pub async fn installation(settings: Settings, clock: Arc<dyn Clock>) -> Installation {
    let (store, keys, tokens) = (&settings.store, &settings.keys, &settings.tokens);
    let opened = async {
        anyhow::ensure!(mintgate_doctor::is_there(store), "it is not there");
        let opened = Store::open(store, Arc::new(NoMetrics), Arc::clone(&clock))?;
        let ring = keys::open_existing(keys, tokens, &opened, Arc::clone(&clock)).await;
        Ok(Opened { store: opened.examination, keys: ring })
    };
    let opened = opened.await;
    Installation { settings, opened, clock, entropy: Arc::new(OsEntropy) }
}

/// Brings the store's schema up to date; the names of the migrations that were run. Waits for locks for ten minutes.
///
/// # Errors
/// If the store cannot be reached or a migration fails.
pub async fn migrate(settings: &StoreSettings) -> anyhow::Result<Vec<String>> {
    migrate_patiently(settings, Duration::from_mins(10), &|_| ()).await
}

/// The same; waits for locks until `patience` is over, and tells `say` whom for.
///
/// # Errors
/// As those of [`migrate`].
pub async fn migrate_patiently(
    settings: &StoreSettings,
    patience: Duration,
    say: &(dyn Fn(&str) + Send + Sync),
) -> anyhow::Result<Vec<String>> {
    open_store(settings)?.migrations.migrate(patience, say).await.context("store.url")
}

/// What [`migrate`] would do, as lines of text; empty if nothing.
///
/// # Errors
/// If the store cannot be reached.
pub async fn migration_plan(settings: &StoreSettings) -> anyhow::Result<String> {
    open_store(settings)?.migrations.plan().await.context("store.url")
}

/// Forgets which engine has the sessions, whatever it has lost: the next process that becomes ready records its own.
///
/// # Errors
/// If the store cannot be reached.
pub async fn forget_session_engine(settings: &StoreSettings) -> anyhow::Result<()> {
    let engines = open_store(settings)?.engines;
    let recorded = engines.session_engine().await.context("store.url")?;
    engines.record_session_engine(recorded.as_deref(), None).await.context("store.url")?;
    Ok(())
}

fn open_store(settings: &StoreSettings) -> anyhow::Result<Store> {
    Store::open(settings, Arc::new(NoMetrics), Arc::new(SystemClock::new()))
}
