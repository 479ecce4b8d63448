//! Signing keys for tests, in a directory or in a store.

use std::path::PathBuf;
use std::sync::Arc;

use mintgate_domain::ports::{KeyRepo, NoMetrics};
use mintgate_signer_jose::{KeyDirectory, KeyRing, KeyRingStatus};
use mintgate_testkit::ManualClock;

use super::{open, start};
use crate::settings::{KeyLocation, Settings};
use crate::store::Store;

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
        TestKeys::store_of(&keys.settings(""))
            .migrations
            .migrate(std::time::Duration::ZERO, &|_| ())
            .await
            .unwrap();
        keys
    }

    /// Keys in a store with its schema.
    pub(crate) async fn in_store() -> Self {
        let keys = Self::in_store_without_schema();
        TestKeys::store_of(&keys.settings(""))
            .migrations
            .migrate(std::time::Duration::ZERO, &|_| ())
            .await
            .unwrap();
        keys
    }

    pub(crate) fn in_store_without_schema() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, lines: String::new() }.sealed_under(ENCRYPTION_KEY)
    }

    /// The same place, with this key-encryption key.
    pub(crate) fn sealed_under(self, encryption_key: &str) -> Self {
        Self { lines: format!("encryption_key = \"{encryption_key}\""), ..self }
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
        Store::open(&settings.store, Arc::new(NoMetrics), Arc::new(ManualClock::default())).unwrap()
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
        let repo: Arc<dyn KeyRepo> = match settings.keys.location() {
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
