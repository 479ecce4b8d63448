//! The signing keys as the configuration describes them: where they are stored, how the service loads
//! them when it starts, and the errors and warnings about them.

mod command;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{Clock, Housekeeping, StoreError, TokenSeal};
use mintgate_domain::{SecretText, chain};
use mintgate_signer_jose::{
    Algorithm, FixedKeys, KeyChange, KeyDirectory, KeyEncryptionKey, KeyInfo, KeyRing,
    KeyRingConfig, KeyRingError, KeySeal, KeyState, SealedTokens, SigningKey, StoredKeys,
};
use time::format_description::well_known::Rfc3339;

pub use command::{KeysCommand, RotatedUse};

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

/// The encryption of providers' refresh tokens, under the same key as that of the signing keys in the
/// store.
///
/// # Errors
/// If no key-encryption key is configured, or it is not one.
pub(crate) fn token_seal(settings: &Settings) -> anyhow::Result<Arc<dyn TokenSeal>> {
    let text = settings.keys.encryption_key.as_ref();
    let text = text.context("keys.encryption_key is needed to keep providers' refresh tokens")?;
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
    status.failed(&error);
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

/// Logs a change that this process has made to the ring.
pub(crate) fn log(change: &KeyChange) {
    let KeyInfo { key_use, id, algorithm, activates_at, .. } = change.key();
    let (kid, key_use) = (id.as_str(), key_use.name());
    let signs_from = activates_at.map(rfc_3339);
    match change {
        KeyChange::Added(_) => {
            let algorithm = algorithm.map(Algorithm::name);
            tracing::info!(kid, key_use, algorithm, signs_from, "a signing key was made");
        }
        KeyChange::Activated(_) => {
            tracing::info!(kid, key_use, signs_from, "a signing key takes over");
        }
        KeyChange::Removed(_) => {
            tracing::info!(kid, key_use, "a former signing key was removed");
        }
    }
}

/// Logs that the ring holds a key which this version cannot use.
pub(crate) fn log_unusable(KeyInfo { id, key_use, .. }: &KeyInfo) {
    tracing::warn!(
        kid = %id,
        key_use = key_use.name(),
        "this signing key is ignored: this version does not know its algorithm"
    );
}

/// A time in the format of RFC 3339, in UTC.
fn rfc_3339(at: Timestamp) -> String {
    let text = at.to_datetime().and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_else(|| at.as_unix().to_string())
}

/// Warnings about settings of the keys that are allowed but rarely intended.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    let keys = &settings.keys;
    let mut warnings = Vec::new();
    if let (Some(KeyLocation::Directory(path)), StoreUrl::Postgres(_)) =
        (KeyLocation::of(keys), &settings.store.url)
    {
        warnings.push(format!(
            "the signing keys are in the directory {} (keys.dir) and not in the store: a replica \
             without that directory would refuse what this one has signed; set \
             keys.encryption_key before there is a second replica",
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

/// Why the signing keys could not be loaded or maintained the last time, if that failed.
#[derive(Debug, Default)]
pub(crate) struct KeyRingStatus(Mutex<Option<String>>);

impl KeyRingStatus {
    /// Notes a failure. `true` if the attempt before had succeeded.
    pub(crate) fn failed(&self, error: &KeyRingError) -> bool {
        self.lock().replace(chain(error).to_string()).is_none()
    }

    /// Notes a success. `true` if the attempt before had failed.
    pub(crate) fn succeeded(&self) -> bool {
        self.lock().take().is_some()
    }

    /// The text of the last failure, unless an attempt has succeeded since.
    pub(crate) fn failure(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use mintgate_domain::ports::{KeyRepo, NoMetrics};
    use mintgate_testkit::ManualClock;

    use super::*;

    pub(crate) const ENCRYPTION_KEY: &str = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";

    /// The example of RFC 7515 appendix A.3.
    pub(crate) const FIXED_ACCESS_KEY: &str = r#"{"kty":"EC","kid":"fixed-access","crv":"P-256",
"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

    pub(crate) const FIXED_REFRESH_KEY: &str =
        r#"{"kty":"oct","kid":"fixed-refresh","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#;

    /// A directory of a test's own, with a store and with keys in one of the two.
    pub(crate) struct TestKeys {
        dir: tempfile::TempDir,
        lines: String,
    }

    impl TestKeys {
        /// Keys in a directory that does not exist yet.
        pub(crate) async fn in_directory() -> Self {
            let keys = Self { dir: tempfile::tempdir().unwrap(), lines: String::new() };
            TestKeys::store_of(&keys.settings("")).migrations.migrate().await.unwrap();
            keys
        }

        /// Keys in a store with its schema.
        pub(crate) async fn in_store() -> Self {
            let keys = Self::in_store_without_schema();
            TestKeys::store_of(&keys.settings("")).migrations.migrate().await.unwrap();
            keys
        }

        pub(crate) fn in_store_without_schema() -> Self {
            let lines = format!("encryption_key = \"{ENCRYPTION_KEY}\"");
            Self { dir: tempfile::tempdir().unwrap(), lines }
        }

        pub(crate) fn directory(&self) -> PathBuf {
            self.dir.path().join("keys")
        }

        /// The settings, with more lines in their section `[keys]`.
        pub(crate) fn settings(&self, lines: &str) -> Settings {
            let text = format!(
                "[store]\nurl = \"sqlite://{}\"\n[keys]\ndir = \"{}\"\n{}\n{lines}\n\
                 [[providers]]\nid = \"x\"\nissuer = \"https://idp.example.com\"\n\
                 client_id = \"x\"\nredirect_uris = [\"https://app.example.com\"]",
                self.dir.path().join("test.db").display(),
                self.directory().display(),
                self.lines,
            );
            Settings::from_toml(&text).unwrap_or_else(|error| panic!("{error}"))
        }

        pub(crate) fn store_of(settings: &Settings) -> Store {
            Store::open(&settings.store, Arc::new(NoMetrics), Arc::new(ManualClock::default()))
                .unwrap()
        }

        /// Does what a service does at its start; the ring it then has.
        pub(crate) async fn started_ring(
            &self,
            settings: &Settings,
            clock: &Arc<ManualClock>,
        ) -> Arc<KeyRing> {
            let store = Self::store_of(settings);
            let ring = open(&settings.keys, &settings.tokens, &store, clock.clone()).unwrap();
            let status = KeyRingStatus::default();
            start(&settings.keys, &ring, &*store.housekeeping, &status).await.unwrap();
            assert!(ring.is_loaded());
            ring
        }

        /// Changes the algorithm in a file of the directory to one that a later version may know.
        pub(crate) fn make_algorithm_unknown(&self, file: &str) {
            let path = self.directory().join(file);
            let mut jwk: serde_json::Value =
                serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            jwk["alg"] = "ML-DSA-65".into();
            std::fs::write(&path, jwk.to_string()).unwrap();
        }

        /// The private members of every key there is.
        pub(crate) async fn secrets(&self, settings: &Settings) -> Vec<String> {
            let store = Self::store_of(settings);
            let repo: Arc<dyn KeyRepo> = match KeyLocation::of(&settings.keys) {
                Some(KeyLocation::Directory(path)) => {
                    Arc::new(KeyDirectory::open_or_create(path).unwrap())
                }
                _ => Arc::clone(&store.keys),
            };
            let mut secrets = Vec::new();
            for record in repo.list_keys().await.unwrap() {
                let text = record.material.expose();
                match serde_json::from_str::<serde_json::Value>(text) {
                    Ok(jwk) => secrets.extend(
                        ["d", "k"].iter().filter_map(|name| jwk[*name].as_str().map(str::to_owned)),
                    ),
                    Err(_) => secrets.push(text.to_owned()),
                }
            }
            secrets
        }
    }

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
        assert!(error.starts_with("keys.dir: ") && error.contains("access-1.jwk"), "{error}");
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
            assert!(format!("{error:#}").starts_with(&format!("keys.{name}: ")), "{error:#}");
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
        assert!(status.failure().unwrap().contains("mintgate migrate"), "{status:?}");
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
        let other = TestKeys {
            dir: keys.dir,
            lines: format!("encryption_key = \"{}\"", ENCRYPTION_KEY.replace("//79", "//78")),
        };
        let settings = other.settings("");
        let ring = open(&settings.keys, &settings.tokens, &store, clock.clone()).unwrap();
        let status = KeyRingStatus::default();
        let error = start(&settings.keys, &ring, &*store.housekeeping, &status).await.unwrap_err();
        assert!(format!("{error:#}").starts_with("keys.encryption_key: "), "{error:#}");
        assert_eq!(Arc::clone(&store.keys).list_keys().await.unwrap(), before);
    }

    #[test]
    fn a_failure_is_noted_when_it_begins_and_when_it_ends() {
        let status = KeyRingStatus::default();
        assert!(!status.succeeded());
        let down = KeyRingError::Store(StoreError::Unavailable("connection refused".into()));
        assert!(status.failed(&KeyRingError::Contended));
        assert!(!status.failed(&down));
        assert!(status.failure().unwrap().contains("connection refused"));
        assert!(status.succeeded());
        assert_eq!(status.failure(), None);
        assert!(status.failed(&down));
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
        assert!(shared.len() == 1 && shared[0].contains("set keys.encryption_key"), "{shared:?}");
        assert!(warned(&format!("{postgres}encryption_key = \"{ENCRYPTION_KEY}\"")).is_empty());
        assert!(warned(&format!("{postgres}{fixed}refresh_key = \"b\"")).is_empty());
        assert_eq!(warned(&format!("{postgres}{fixed}")).len(), 1);
        let short = warned("[keys]\npublish_ahead_secs = 359");
        assert!(short.len() == 1 && short[0].contains("360 or more"), "{short:?}");
        assert!(warned("[keys]\npublish_ahead_secs = 360").is_empty());
        assert!(warned(&format!("[keys]\npublish_ahead_secs = 0\n{fixed}")).is_empty());
    }
}
