//! The signing keys as the configuration describes them: where they are stored, how the service loads
//! them when it starts, and the errors about them.

mod command;
#[cfg(test)]
pub(crate) mod test_keys;

use std::sync::Arc;

use anyhow::Context as _;
use mintgate_domain::ports::{Clock, Housekeeping, Metrics, StoreError, TokenSeal};
use mintgate_domain::{SecretText, chain};
use mintgate_signer_jose::{
    Algorithm, EncryptionKeys, FixedKeys, KeyDirectory, KeyEncryptionKey, KeyRing, KeyRingConfig,
    KeyRingError, KeyRingStatus, KeySeal, Resealing, ResealingError, ResealingPorts, SealedTokens,
    SigningKey, StoredKeys,
};

pub use command::{KeysCommand, NoKeyDirectory, RotatedUse};

use crate::settings::{KeyLocation, KeySettings, Settings, TokenSettings};
use crate::store::Store;

/// Opens the ring of signing keys with the configured keys; stored keys are not loaded yet.
///
/// # Errors
/// If a configured key is not a key of its algorithm, or the key directory cannot be used.
pub(crate) fn open(
    keys: &KeySettings,
    tokens: &TokenSettings,
    store: &Store,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<KeyRing>> {
    let config = KeyRingConfig {
        access: tokens.algorithm,
        refresh: tokens.refresh_algorithm,
        access_type: tokens.access_type,
        publish_ahead: keys.publish_ahead,
        rotate_every: keys.rotate_every,
        access_ttl: tokens.access_ttl,
        refresh_ttl: tokens.refresh_ttl,
    };
    let fixed = FixedKeys {
        access: fixed("keys.access_key", keys.access_key.as_ref(), tokens.algorithm)?,
        refresh: fixed("keys.refresh_key", keys.refresh_key.as_ref(), tokens.refresh_algorithm)?,
    };
    let stored = match keys.location() {
        Some(KeyLocation::Store(_)) => {
            let seal = KeySeal::Sealed(required_encryption_keys(keys)?);
            Some(StoredKeys { repo: Arc::clone(&store.keys), seal })
        }
        Some(KeyLocation::Directory(path)) => {
            let directory = KeyDirectory::open_or_create(path).context("keys.dir")?;
            Some(StoredKeys { repo: Arc::new(directory), seal: KeySeal::Plain })
        }
        None => None,
    };
    let ring = KeyRing::new(config, stored, fixed, clock);
    ring.map(Arc::new).map_err(|error| explained(error, keys))
}

/// Opens the ring of a service that has run, and loads its keys; makes nothing.
///
/// # Errors
/// [`NoKeyDirectory`], those of [`open`], or if the keys cannot be read.
pub(crate) async fn open_existing(
    keys: &KeySettings,
    tokens: &TokenSettings,
    store: &Store,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<KeyRing>> {
    if let Some(KeyLocation::Directory(path)) = keys.location()
        && !path.is_dir()
    {
        return Err(NoKeyDirectory(path.to_owned()).into());
    }
    let ring = open(keys, tokens, store, clock)?;
    ring.load().await.map_err(|error| explained(error, keys))?;
    Ok(ring)
}

/// The encryption of providers' tokens, under the same key as that of the signing keys in the
/// store.
///
/// # Errors
/// If no key-encryption key is configured, or it is not one.
pub(crate) fn token_seal(settings: &Settings) -> anyhow::Result<Arc<dyn TokenSeal>> {
    Ok(Arc::new(SealedTokens::new(required_encryption_keys(&settings.keys)?)))
}

fn required_encryption_keys(keys: &KeySettings) -> anyhow::Result<Arc<EncryptionKeys>> {
    encryption_keys(keys)?.context("keys.encryption_key is needed to keep secrets in the store")
}

/// The keys that encrypt secrets in the store; `None` if none is configured.
///
/// # Errors
/// If one is no key.
pub(crate) fn encryption_keys(keys: &KeySettings) -> anyhow::Result<Option<Arc<EncryptionKeys>>> {
    let Some(text) = &keys.encryption_key else { return Ok(None) };
    let current = KeyEncryptionKey::from_text(text).context("keys.encryption_key")?;
    let former = keys.former_encryption_keys.iter().map(KeyEncryptionKey::from_text);
    let former = former.collect::<Result<_, _>>().context("keys.former_encryption_keys")?;
    Ok(Some(Arc::new(EncryptionKeys::new(current, former))))
}

/// What seals anew, under the current key, what is sealed under a former one; `None` without a key. It has
/// made sure that all there is can be opened, unless the store is down.
///
/// # Errors
/// If something is sealed under a key that is not configured.
pub(crate) async fn resealing(
    keys: &KeySettings,
    store: &Store,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
) -> anyhow::Result<Option<Resealing>> {
    let Some(encryption) = encryption_keys(keys)? else { return Ok(None) };
    let ports = ResealingPorts {
        keys: Arc::clone(&store.keys),
        upstream: Arc::clone(&store.upstream_tokens),
        duties: Arc::clone(&store.duties),
        metrics,
        clock,
    };
    let mut resealing = Resealing::new(ports, encryption);
    match resealing.start().await {
        Err(error @ ResealingError::MissingKeys(_)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "what is sealed in the store cannot be looked at yet");
            Ok(Some(resealing))
        }
        Ok(()) => Ok(Some(resealing)),
    }
}

fn fixed(
    name: &'static str,
    text: Option<&SecretText>,
    algorithm: Algorithm,
) -> anyhow::Result<Option<SigningKey>> {
    text.map(|text| SigningKey::from_text(text, algorithm)).transpose().context(name)
}

/// Loads the signing keys when the service starts, and makes those that are missing. If the store is
/// down or has no schema yet, the service starts without keys and retries.
///
/// # Errors
/// If a key cannot be read, opened or used, or the key directory fails.
pub(crate) async fn start(
    keys: &KeySettings,
    ring: &KeyRing,
    housekeeping: &dyn Housekeeping,
    status: &KeyRingStatus,
) -> anyhow::Result<()> {
    let Err(error) = ring.start(housekeeping).await else { return Ok(()) };
    let is_passing = match &error {
        KeyRingError::Contended => true,
        KeyRingError::Store(StoreError::Unavailable(_) | StoreError::SchemaMismatch(_)) => {
            matches!(keys.location(), Some(KeyLocation::Store(_)))
        }
        _ => false,
    };
    if !is_passing && !ring.is_loaded() {
        return Err(explained(error, keys));
    }
    tracing::warn!(error = %chain(&error), "the signing keys cannot be loaded or maintained yet");
    status.failed(error);
    Ok(())
}

/// The error with the setting that it is about.
fn explained(error: KeyRingError, keys: &KeySettings) -> anyhow::Error {
    match (keys.location(), error) {
        // `StoreError` itself speaks of a store, its cause of the directory.
        (
            Some(KeyLocation::Directory(_)),
            KeyRingError::Store(StoreError::Unavailable(cause) | StoreError::Corrupt(cause)),
        ) => anyhow::Error::new(cause).context("keys.dir"),
        (Some(KeyLocation::Directory(_)), error) => anyhow::Error::new(error).context("keys.dir"),
        (_, error @ KeyRingError::Sealed { .. }) => {
            anyhow::Error::new(error).context("keys.encryption_key")
        }
        (_, error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use mintgate_signer_jose::KeyError;
    use mintgate_testkit::ManualClock;

    use super::test_keys::{ENCRYPTION_KEY, TestKeys};
    use super::*;

    #[tokio::test]
    async fn keys_are_where_the_settings_say_and_nowhere_else() {
        let clock = Arc::new(ManualClock::default());
        for (keys, in_directory) in
            [(TestKeys::in_directory().await, true), (TestKeys::in_store().await, false)]
        {
            let settings = keys.settings("");
            let ring = keys.started_ring(&settings, &clock).await;
            assert_eq!(keys.directory().exists(), in_directory);
            let records = TestKeys::store_of(&settings).keys.list_keys().await.unwrap();
            assert_eq!(records.len(), if in_directory { 0 } else { 4 });
            // Another process has the same keys.
            assert_eq!(keys.started_ring(&settings, &clock).await.keys(), ring.keys());
        }
    }

    #[tokio::test]
    async fn a_key_directory_that_cannot_be_used_is_an_error_at_the_start() {
        let clock = Arc::new(ManualClock::default());
        let keys = TestKeys::in_directory().await;
        let settings = keys.settings("");
        keys.started_ring(&settings, &clock).await;
        let store = TestKeys::store_of(&settings);
        let attempt = async || {
            let ring = open(&settings.keys, &settings.tokens, &store, clock.clone())?;
            start(&settings.keys, &ring, &*store.housekeeping, &KeyRingStatus::default()).await
        };
        let damaged = keys.directory().join("access-1.jwk");
        let whole = std::fs::read(&damaged).unwrap();
        std::fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
        let error = format!("{:#}", attempt().await.unwrap_err());
        assert!(error.contains("keys.dir") && error.contains("access-1.jwk"), "{error}");
        std::fs::write(&damaged, &whole).unwrap();
        attempt().await.unwrap();

        let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(keys.directory(), open_to_all).unwrap();
        let error = format!("{:#}", attempt().await.unwrap_err());
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[tokio::test]
    async fn a_configured_key_that_is_none_is_an_error_at_the_start_that_names_it() {
        let keys = TestKeys::in_directory().await;
        for name in ["access_key", "refresh_key"] {
            let settings = keys.settings(&format!("{name} = \"none\""));
            let store = TestKeys::store_of(&settings);
            let error =
                open(&settings.keys, &settings.tokens, &store, Arc::new(ManualClock::default()))
                    .unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(KeyError::Unreadable { .. })), "{error:?}");
            assert!(format!("{error:#}").contains(&format!("keys.{name}")), "{error:#}");
        }
    }

    #[tokio::test]
    async fn keys_in_a_store_that_is_not_ready_are_waited_for() {
        let clock = Arc::new(ManualClock::default());
        let keys = TestKeys::in_store_without_schema();
        let settings = keys.settings("");
        let store = TestKeys::store_of(&settings);
        let ring = open(&settings.keys, &settings.tokens, &store, clock.clone()).unwrap();
        let status = KeyRingStatus::default();
        start(&settings.keys, &ring, &*store.housekeeping, &status).await.unwrap();
        assert!(!ring.is_loaded());
        let failure = status.failure().unwrap();
        let expected = matches!(*failure, KeyRingError::Store(StoreError::SchemaMismatch(_)));
        assert!(expected, "{failure:?}");
        store.migrations.migrate(std::time::Duration::ZERO, &|_| ()).await.unwrap();
        ring.apply_due_changes(&*store.housekeeping).await.unwrap();
        assert!(ring.is_loaded());
    }

    #[tokio::test]
    async fn another_encryption_key_is_an_error_at_the_start_and_changes_nothing() {
        let clock = Arc::new(ManualClock::default());
        let keys = TestKeys::in_store().await;
        let settings = keys.settings("");
        keys.started_ring(&settings, &clock).await;
        let store = TestKeys::store_of(&settings);
        let before = Arc::clone(&store.keys).list_keys().await.unwrap();
        let other = ENCRYPTION_KEY.replace("//79", "//78");
        let settings = keys.sealed_under(&other).settings("");
        let ring = open(&settings.keys, &settings.tokens, &store, clock.clone()).unwrap();
        let status = KeyRingStatus::default();
        let error = start(&settings.keys, &ring, &*store.housekeeping, &status).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(KeyRingError::Sealed { .. })), "{error:?}");
        assert!(format!("{error:#}").contains("keys.encryption_key"), "{error:#}");
        assert_eq!(Arc::clone(&store.keys).list_keys().await.unwrap(), before);
    }
}
