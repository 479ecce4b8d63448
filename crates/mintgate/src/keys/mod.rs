//! The signing keys as the configuration describes them: where they are stored, how the service loads
//! them when it starts, and the errors and warnings about them.

mod command;
mod status;
#[cfg(test)]
pub(crate) mod test_keys;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mintgate_domain::model::KeyUse;
use mintgate_domain::ports::{Clock, Housekeeping, StoreError, TokenSeal};
use mintgate_domain::{SecretText, chain};
use mintgate_signer_jose::{
    Algorithm, FixedKeys, KeyDirectory, KeyEncryptionKey, KeyRing, KeyRingConfig, KeyRingError,
    KeySeal, KeyState, SealedTokens, SigningKey, StoredKeys,
};

pub use command::{KeysCommand, NoKeyDirectory, RotatedUse};
pub(crate) use status::{KeyRingStatus, log, log_unusable};

use crate::settings::{KeySettings, Settings, StoreUrl, TokenSettings};
use crate::store::Store;

/// The shortest `keys.publish_ahead_secs` without a warning: verifiers may cache the JWKS for 300
/// seconds, and clocks may differ by a minute.
const LEAST_PUBLISH_AHEAD: Duration = Duration::from_mins(6);

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
    let stored = match KeyLocation::of(keys) {
        Some(KeyLocation::Store(text)) => Some(StoredKeys {
            repo: Arc::clone(&store.keys),
            seal: KeySeal::Sealed(encryption_key(text)?),
        }),
        Some(KeyLocation::Directory(path)) => {
            let directory = KeyDirectory::open_or_create(path).context("keys.dir")?;
            Some(StoredKeys { repo: Arc::new(directory), seal: KeySeal::Plain })
        }
        None => None,
    };
    let ring = KeyRing::new(config, stored, fixed, clock);
    ring.map(Arc::new).map_err(|error| explained(error, keys))
}

/// The encryption of providers' tokens, under the same key as that of the signing keys in the
/// store.
///
/// # Errors
/// If no key-encryption key is configured, or it is not one.
pub(crate) fn token_seal(settings: &Settings) -> anyhow::Result<Arc<dyn TokenSeal>> {
    let text = settings.keys.encryption_key.as_ref();
    let text = text.context("keys.encryption_key is needed to keep providers' tokens")?;
    Ok(Arc::new(SealedTokens::new(encryption_key(text)?)))
}

fn encryption_key(text: &SecretText) -> anyhow::Result<KeyEncryptionKey> {
    KeyEncryptionKey::from_text(text).context("keys.encryption_key")
}

fn fixed(
    name: &'static str,
    text: Option<&SecretText>,
    algorithm: Algorithm,
) -> anyhow::Result<Option<SigningKey>> {
    text.map(|text| SigningKey::from_text(text, algorithm)).transpose().context(name)
}

/// Where signing keys are stored.
#[derive(Clone, Copy)]
enum KeyLocation<'a> {
    /// In the store, encrypted under this key.
    Store(&'a SecretText),
    /// The keys are files in this directory.
    Directory(&'a Path),
}

impl<'a> KeyLocation<'a> {
    /// `None` if both keys are given in the configuration, so that none is stored.
    fn of(keys: &'a KeySettings) -> Option<Self> {
        if keys.access_key.is_some() && keys.refresh_key.is_some() {
            return None;
        }
        let in_store = keys.encryption_key.as_ref().map(Self::Store);
        Some(in_store.unwrap_or(Self::Directory(&keys.dir)))
    }
}

/// Whether the keys of this use are kept in the store, so that every process on it has the same ones.
pub(crate) fn is_in_store(keys: &KeySettings, key_use: KeyUse) -> bool {
    let configured = match key_use {
        KeyUse::Access => &keys.access_key,
        KeyUse::Refresh => &keys.refresh_key,
    };
    configured.is_none() && matches!(KeyLocation::of(keys), Some(KeyLocation::Store(_)))
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
    let error = match ring.apply_due_changes(housekeeping).await {
        Ok(changes) => {
            changes.iter().for_each(log);
            ring.keys().iter().filter(|key| key.state == KeyState::Unusable).for_each(log_unusable);
            return Ok(());
        }
        Err(error) => error,
    };
    let is_passing = match &error {
        KeyRingError::Contended => true,
        KeyRingError::Store(StoreError::Unavailable(_) | StoreError::SchemaMismatch(_)) => {
            matches!(KeyLocation::of(keys), Some(KeyLocation::Store(_)))
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
    match (KeyLocation::of(keys), error) {
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

/// Warnings about settings of the keys that are allowed but rarely intended.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    let keys = &settings.keys;
    let mut warnings = Vec::new();
    if let (Some(KeyLocation::Directory(path)), StoreUrl::Postgres(_)) =
        (KeyLocation::of(keys), &settings.store.url)
    {
        warnings.push(format!(
            "the signing keys are in the directory {} (keys.dir) and not in the store: a second \
             process with a directory of its own is refused at its start, since each would refuse what \
             the other has signed; set keys.encryption_key before there is a second replica",
            path.display()
        ));
    }
    if keys.access_key.is_none() && keys.publish_ahead < LEAST_PUBLISH_AHEAD {
        warnings.push(format!(
            "keys.publish_ahead_secs = {} is short: verifiers may cache the JWKS for 300 seconds, \
             and after a rotation refuse tokens until they fetch it again; {} or more is safe",
            keys.publish_ahead.as_secs(),
            LEAST_PUBLISH_AHEAD.as_secs()
        ));
    }
    warnings
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
        store.migrations.migrate().await.unwrap();
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

    #[test]
    fn settings_that_are_seldom_intended_are_warned_of() {
        let warned = |text: &str| {
            let provider = "[[providers]]\nid = \"x\"\nissuer = \"https://idp.example.com\"\n\
                            client_id = \"x\"\nredirect_uris = [\"https://app.example.com\"]";
            warnings(&Settings::from_toml(&format!("{text}\n{provider}")).unwrap())
        };
        let postgres = "[store]\nurl = \"postgres://h/db\"\n[keys]\n";
        let fixed = "access_key = \"a\"\n";
        assert_eq!(warned(""), Vec::<String>::new());
        let shared = warned(postgres);
        assert!(shared.len() == 1 && shared[0].contains("keys.encryption_key"), "{shared:?}");
        assert!(warned(&format!("{postgres}encryption_key = \"{ENCRYPTION_KEY}\"")).is_empty());
        assert!(warned(&format!("{postgres}{fixed}refresh_key = \"b\"")).is_empty());
        assert_eq!(warned(&format!("{postgres}{fixed}")).len(), 1);
        let short = warned("[keys]\npublish_ahead_secs = 359");
        assert!(short.len() == 1 && short[0].contains("360"), "{short:?}");
        assert!(warned("[keys]\npublish_ahead_secs = 360").is_empty());
        assert!(warned(&format!("[keys]\npublish_ahead_secs = 0\n{fixed}")).is_empty());
    }
}
