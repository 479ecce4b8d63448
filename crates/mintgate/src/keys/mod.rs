//! The ring of signing keys as the settings say: where it is kept, and what keeps it from being used.

mod command;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use mintgate_domain::SecretText;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::{Clock, Housekeeping, KeyRepo, StoreError, TokenSeal};
use mintgate_signer_jose::{
    Algorithm, FixedKeys, KeyChange, KeyDirectory, KeyEncryptionKey, KeyInfo, KeyRing,
    KeyRingConfig, KeyRingError, KeySeal, SealedTokens, SigningKey,
};
use time::format_description::well_known::Rfc3339;

pub use command::{KeysCommand, RotatedUse};

use crate::settings::{KeySettings, Settings, StoreUrl};
use crate::store::Store;

/// Verifiers may keep the JWKS for 300 seconds; a minute more is for clocks that disagree.
const LEAST_PUBLISH_AHEAD: Duration = Duration::from_mins(6);

/// Opens the ring; nothing is loaded yet.
///
/// # Errors
/// If a configured key is not one, or the key directory cannot be used.
pub(crate) fn open(
    settings: &Settings,
    store: &Store,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<KeyRing>> {
    let Settings { keys, tokens, .. } = settings;
    let config = KeyRingConfig {
        access: tokens.algorithm,
        refresh: tokens.refresh_algorithm,
        publish_ahead: keys.publish_ahead,
        rotate_every: keys.rotate_every,
        access_ttl: tokens.access_ttl,
        refresh_ttl: tokens.refresh_ttl,
    };
    let fixed = FixedKeys {
        access: fixed("keys.access_key", keys.access_key.as_ref(), tokens.algorithm)?,
        refresh: fixed("keys.refresh_key", keys.refresh_key.as_ref(), tokens.refresh_algorithm)?,
    };
    let (repo, seal): (Arc<dyn KeyRepo>, _) = match KeyPlace::of(keys) {
        KeyPlace::Store(text) => {
            let key = KeyEncryptionKey::from_text(text).context("keys.encryption_key")?;
            (store.keys(), KeySeal::Sealed(key))
        }
        KeyPlace::Directory(path) => {
            let directory = KeyDirectory::open_or_create(path).context("keys.dir")?;
            (Arc::new(directory), KeySeal::Guarded)
        }
        // Some place there must be; it is never asked.
        KeyPlace::Configuration => (store.keys(), KeySeal::Guarded),
    };
    let ring = KeyRing::new(config, repo, seal, fixed, clock);
    ring.map(Arc::new).map_err(|error| explained(error, keys))
}

/// Who encrypts the providers' refresh tokens: the key that encrypts the ring's in the store.
///
/// # Errors
/// If there is no such key, or it is none.
pub(crate) fn token_seal(settings: &Settings) -> anyhow::Result<Arc<dyn TokenSeal>> {
    let text = settings.keys.encryption_key.as_ref();
    let text = text.context("keys.encryption_key is needed to keep providers' refresh tokens")?;
    let key = KeyEncryptionKey::from_text(text).context("keys.encryption_key")?;
    Ok(Arc::new(SealedTokens::new(key)))
}

fn fixed(
    name: &'static str,
    text: Option<&SecretText>,
    algorithm: Algorithm,
) -> anyhow::Result<Option<SigningKey>> {
    text.map(|text| SigningKey::from_text(text, algorithm)).transpose().context(name)
}

/// Where the keys are.
pub(crate) enum KeyPlace<'a> {
    /// In the store, under this key.
    Store(&'a SecretText),
    /// In this directory.
    Directory(&'a Path),
    /// Both are given in the configuration, and there is no ring.
    Configuration,
}

impl<'a> KeyPlace<'a> {
    pub(crate) fn of(keys: &'a KeySettings) -> Self {
        if keys.access_key.is_some() && keys.refresh_key.is_some() {
            return Self::Configuration;
        }
        match &keys.encryption_key {
            Some(key) => Self::Store(key),
            None => Self::Directory(&keys.dir),
        }
    }
}

/// Loads the keys, and makes those that are missing. Not being able to is an error unless it can
/// only be that the store is down, or has no schema yet: that is waited for.
///
/// # Errors
/// If a key cannot be read, opened or used, or the key directory fails.
pub(crate) async fn start(
    settings: &Settings,
    ring: &KeyRing,
    housekeeping: &dyn Housekeeping,
    trouble: &KeyTrouble,
) -> anyhow::Result<()> {
    let error = match ring.maintain(housekeeping).await {
        Ok(changes) => {
            changes.iter().for_each(log);
            return Ok(());
        }
        Err(error) => error,
    };
    let passing = match &error {
        _ if ring.is_loaded() => true,
        KeyRingError::Store(StoreError::Unavailable(_) | StoreError::SchemaMismatch(_)) => {
            matches!(KeyPlace::of(&settings.keys), KeyPlace::Store(_))
        }
        KeyRingError::Contended => true,
        _ => false,
    };
    if !passing {
        return Err(explained(error, &settings.keys));
    }
    tracing::warn!(%error, "the signing keys cannot be loaded, or looked after, yet");
    trouble.begin(&error);
    Ok(())
}

/// The error, with the setting it is about.
fn explained(error: KeyRingError, keys: &KeySettings) -> anyhow::Error {
    match (KeyPlace::of(keys), error) {
        // The texts of a store are about a database; those in it, about the directory.
        (
            KeyPlace::Directory(_),
            KeyRingError::Store(StoreError::Unavailable(text) | StoreError::Corrupt(text)),
        ) => anyhow::anyhow!(text).context("keys.dir"),
        (KeyPlace::Directory(_), error) => anyhow::Error::new(error).context("keys.dir"),
        (_, error @ KeyRingError::Sealed { .. }) => {
            anyhow::Error::new(error).context("keys.encryption_key")
        }
        (_, error) => error.into(),
    }
}

/// Tells the log what has been done to the ring.
pub(crate) fn log(change: &KeyChange) {
    let KeyInfo { key_use, id, algorithm, activates_at, .. } = change.key();
    let (kid, key_use) = (id.as_str(), key_use.name());
    let signs_from = activates_at.map(rfc_3339);
    match change {
        KeyChange::Added(_) => {
            tracing::info!(kid, key_use, %algorithm, signs_from, "a signing key was made");
        }
        KeyChange::Activated(_) => {
            tracing::info!(kid, key_use, signs_from, "a signing key takes over");
        }
        KeyChange::Removed(_) => {
            tracing::info!(kid, key_use, "a former signing key was removed");
        }
    }
}

/// A time as people and programs read it (RFC 3339), in UTC.
fn rfc_3339(at: Timestamp) -> String {
    let text = at.to_datetime().and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_else(|| at.as_unix().to_string())
}

/// What about the keys is allowed, and seldom meant.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    let keys = &settings.keys;
    let mut warnings = Vec::new();
    if let (KeyPlace::Directory(path), StoreUrl::Postgres(_)) =
        (KeyPlace::of(keys), &settings.store.url)
    {
        warnings.push(format!(
            "the signing keys are in the directory {} (keys.dir) and not in the store: a replica \
             without that directory would refuse what this one has signed; set \
             keys.encryption_key before there is a second one",
            path.display()
        ));
    }
    if keys.access_key.is_none() && keys.publish_ahead < LEAST_PUBLISH_AHEAD {
        warnings.push(format!(
            "keys.publish_ahead_secs = {} is short: others may keep the JWKS for 300 seconds, and \
             after a rotation refuse tokens until they fetch it again; {} or more is safe",
            keys.publish_ahead.as_secs(),
            LEAST_PUBLISH_AHEAD.as_secs()
        ));
    }
    warnings
}

/// Why the keys cannot be loaded or kept up to date at present.
#[derive(Debug, Default)]
pub(crate) struct KeyTrouble(Mutex<Option<String>>);

impl KeyTrouble {
    /// There is trouble; whether there was none before.
    pub(crate) fn begin(&self, why: &impl ToString) -> bool {
        self.lock().replace(why.to_string()).is_none()
    }

    /// All is well; whether it was not before.
    pub(crate) fn end(&self) -> bool {
        self.lock().take().is_some()
    }

    /// What it is.
    pub(crate) fn get(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use mintgate_testkit::{ManualClock, NoMetrics};

    use super::*;

    pub(crate) const ENCRYPTION_KEY: &str = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";

    /// The example of RFC 7515 appendix A.3.
    pub(crate) const FIXED_ACCESS_KEY: &str = r#"{"kty":"EC","kid":"fixed-access","crv":"P-256",
"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

    pub(crate) const FIXED_REFRESH_KEY: &str =
        r#"{"kty":"oct","kid":"fixed-refresh","k":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}"#;

    /// A place where keys are, of a test's own.
    pub(crate) struct Place {
        dir: tempfile::TempDir,
        lines: String,
    }

    impl Place {
        /// Keys in a directory, which is not there yet.
        pub(crate) async fn directory() -> Self {
            let place = Self { dir: tempfile::tempdir().unwrap(), lines: String::new() };
            Place::store_of(&place.settings("")).migrate().await.unwrap();
            place
        }

        /// Keys in a store.
        pub(crate) async fn store() -> Self {
            let place = Self::store_without_schema();
            Place::store_of(&place.settings("")).migrate().await.unwrap();
            place
        }

        pub(crate) fn store_without_schema() -> Self {
            let lines = format!("encryption_key = \"{ENCRYPTION_KEY}\"");
            Self { dir: tempfile::tempdir().unwrap(), lines }
        }

        pub(crate) fn keys(&self) -> PathBuf {
            self.dir.path().join("keys")
        }

        /// The settings, with lines of `[keys]` besides.
        pub(crate) fn settings(&self, lines: &str) -> Settings {
            let text = format!(
                "[store]\nurl = \"sqlite://{}\"\n[keys]\ndir = \"{}\"\n{}\n{lines}\n\
                 [[providers]]\nid = \"x\"\nissuer = \"https://idp.example.com\"\n\
                 client_id = \"x\"\nredirect_uris = [\"https://app.example.com\"]",
                self.dir.path().join("test.db").display(),
                self.keys().display(),
                self.lines,
            );
            Settings::from_toml(&text).unwrap_or_else(|error| panic!("{error}"))
        }

        pub(crate) fn store_of(settings: &Settings) -> Store {
            Store::open(&settings.store, Arc::new(NoMetrics), Arc::new(ManualClock::default()))
                .unwrap()
        }

        /// What a service does at its start; the ring it has then.
        pub(crate) async fn maintain(
            &self,
            settings: &Settings,
            clock: &Arc<ManualClock>,
        ) -> Arc<KeyRing> {
            let store = Self::store_of(settings);
            let ring = open(settings, &store, clock.clone()).unwrap();
            let trouble = KeyTrouble::default();
            start(settings, &ring, &*store.housekeeping(), &trouble).await.unwrap();
            assert!(ring.is_loaded());
            ring
        }

        /// The private members of every key there is.
        pub(crate) async fn secrets(&self, settings: &Settings) -> Vec<String> {
            let store = Self::store_of(settings);
            let repo: Arc<dyn KeyRepo> = match KeyPlace::of(&settings.keys) {
                KeyPlace::Directory(path) => Arc::new(KeyDirectory::open_or_create(path).unwrap()),
                _ => store.keys(),
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
        for (place, in_directory) in
            [(Place::directory().await, true), (Place::store().await, false)]
        {
            let settings = place.settings("");
            let ring = place.maintain(&settings, &clock).await;
            assert_eq!(place.keys().exists(), in_directory);
            let records = Place::store_of(&settings).keys().list_keys().await.unwrap();
            assert_eq!(records.len(), if in_directory { 0 } else { 4 });
            // Another process has the same keys.
            assert_eq!(place.maintain(&settings, &clock).await.keys(), ring.keys());
        }
    }

    #[tokio::test]
    async fn a_key_directory_that_cannot_be_used_is_an_error_at_the_start() {
        let clock = Arc::new(ManualClock::default());
        let place = Place::directory().await;
        let settings = place.settings("");
        place.maintain(&settings, &clock).await;
        let store = Place::store_of(&settings);
        let attempt = async || {
            let ring = open(&settings, &store, clock.clone())?;
            start(&settings, &ring, &*store.housekeeping(), &KeyTrouble::default()).await
        };
        let damaged = place.keys().join("access-1.jwk");
        let whole = std::fs::read(&damaged).unwrap();
        std::fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
        let error = format!("{:#}", attempt().await.unwrap_err());
        assert!(error.starts_with("keys.dir: ") && error.contains("access-1.jwk"), "{error}");
        std::fs::write(&damaged, &whole).unwrap();
        attempt().await.unwrap();

        let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(place.keys(), open_to_all).unwrap();
        let error = format!("{:#}", attempt().await.unwrap_err());
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[tokio::test]
    async fn a_configured_key_that_is_none_is_an_error_at_the_start_that_names_it() {
        let place = Place::directory().await;
        for name in ["access_key", "refresh_key"] {
            let settings = place.settings(&format!("{name} = \"none\""));
            let store = Place::store_of(&settings);
            let error = open(&settings, &store, Arc::new(ManualClock::default())).unwrap_err();
            assert!(format!("{error:#}").starts_with(&format!("keys.{name}: ")), "{error:#}");
        }
    }

    #[tokio::test]
    async fn keys_in_a_store_that_is_not_ready_are_waited_for() {
        let clock = Arc::new(ManualClock::default());
        let place = Place::store_without_schema();
        let settings = place.settings("");
        let store = Place::store_of(&settings);
        let ring = open(&settings, &store, clock.clone()).unwrap();
        let trouble = KeyTrouble::default();
        start(&settings, &ring, &*store.housekeeping(), &trouble).await.unwrap();
        assert!(!ring.is_loaded());
        assert!(trouble.get().unwrap().contains("mintgate migrate"), "{trouble:?}");
        store.migrate().await.unwrap();
        ring.maintain(&*store.housekeeping()).await.unwrap();
        assert!(ring.is_loaded());
    }

    #[tokio::test]
    async fn another_encryption_key_is_an_error_at_the_start_and_changes_nothing() {
        let clock = Arc::new(ManualClock::default());
        let place = Place::store().await;
        let settings = place.settings("");
        place.maintain(&settings, &clock).await;
        let store = Place::store_of(&settings);
        let before = store.keys().list_keys().await.unwrap();
        let other = Place {
            dir: place.dir,
            lines: format!("encryption_key = \"{}\"", ENCRYPTION_KEY.replace("//79", "//78")),
        };
        let settings = other.settings("");
        let ring = open(&settings, &store, clock.clone()).unwrap();
        let trouble = KeyTrouble::default();
        let error = start(&settings, &ring, &*store.housekeeping(), &trouble).await.unwrap_err();
        assert!(format!("{error:#}").starts_with("keys.encryption_key: "), "{error:#}");
        assert_eq!(store.keys().list_keys().await.unwrap(), before);
    }

    #[test]
    fn trouble_is_told_when_it_begins_and_when_it_ends() {
        let trouble = KeyTrouble::default();
        assert!(!trouble.end());
        assert!(trouble.begin(&"the store is down"));
        assert!(!trouble.begin(&"the store is still down"));
        assert_eq!(trouble.get().as_deref(), Some("the store is still down"));
        assert!(trouble.end());
        assert_eq!(trouble.get(), None);
        assert!(trouble.begin(&"the store is down again"));
    }

    #[test]
    fn what_is_seldom_meant_is_warned_of() {
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
