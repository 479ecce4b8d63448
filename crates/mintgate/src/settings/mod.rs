//! The configuration: one TOML file, environment variables over it, all of it checked at once.

mod environment;
mod file;
mod key;
mod kinds;
mod mistakes;
mod reader;
mod reference;
mod rules;
mod sections;
mod show;
mod source;
#[cfg(test)]
pub(crate) mod tests;
mod types;
mod unknown;

use std::ffi::OsString;
use std::path::Path;

pub use mistakes::ConfigError;
pub use reference::reference;
pub use types::*;

use reader::{Reader, Section};
use source::Table;

const PROVIDERS_DOC: &str = "The identity providers; at least one. Which keys there are depends on \
the preset, and so do the defaults; a key that means nothing to a preset is a mistake.";

/// What to write where there is no provider at all.
const FIRST_PROVIDER: &str = "add at least this\n\
\x20     [[providers]]\n\
\x20     id = \"corp\"\n\
\x20     issuer = \"https://idp.example.com\"\n\
\x20     client_id = \"mintgate\"\n\
\x20     client_secret_file = \"/run/secrets/corp\"\n\
\x20     redirect_uris = [\"https://app.example.com/callback\"]\n\
\x20  with your provider's values";

impl Settings {
    /// Reads the file at `path` (`./mintgate.toml`, if there is one, for `None`) and lays `env`
    /// over it: `MINTGATE__SECTION__KEY`, `MINTGATE__PROVIDERS__ID__KEY`.
    ///
    /// # Errors
    /// All mistakes at once; a file that cannot be read or is not TOML is the only one told.
    pub fn load(
        path: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        Self::from_table(file::read(path)?, env)
    }

    /// Reads a configuration that is a text, without an environment.
    ///
    /// # Errors
    /// All mistakes at once; a syntax error is the only one told.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Self::from_table(source::parse(file::DEFAULT_NAME, text)?, [])
    }

    /// The configuration as it was read, defaults included: TOML with secrets masked, each key
    /// with the place its value came from.
    pub fn print(&self) -> String {
        self.effective.clone()
    }

    fn from_table(
        mut table: Table,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut reader = Reader::default();
        reader.mistakes = environment::overlay(&mut table, env);
        let settings = read(&mut reader, table);
        match settings {
            Some(settings) if reader.mistakes.is_empty() => {
                Ok(Self { effective: reference::effective(&reader.records), ..settings })
            }
            _ => Err(ConfigError::new(reader.mistakes)),
        }
    }
}

/// Reads every section; `None` only where the reader has noted a mistake.
fn read(reader: &mut Reader, table: Table) -> Option<Settings> {
    let provider_ids = environment::provider_ids(&table);
    reader.read(table, |root| read_sections(root, &provider_ids))
}

fn read_sections(root: &mut Section<'_>, provider_ids: &[String]) -> Option<Settings> {
    let (server, public_url) =
        root.section("server", "The public listener.", sections::server).unzip();
    let public_listen = server.as_ref().map(|server| server.listen);
    let url = server.as_ref().map(|server| &server.public_url);
    let ops = root.section("ops", "The operations listener: metrics and health.", |s| {
        sections::ops(s, public_listen)
    });
    let store = root.section("store", "Where users and sessions are kept.", sections::store);
    let tokens =
        root.section("tokens", "Our tokens.", |s| sections::tokens(s, public_url.as_deref()));
    let keys = root.section("keys", "The signing keys.", sections::keys);
    let refresh = root.section("refresh", "Rotation of refresh tokens.", sections::refresh);
    let cookies = root.section("cookies", "The two cookies.", |s| sections::cookies(s, url));
    let cors = root.section("cors", "Which pages may call.", sections::cors);
    let login = root.section("login", "Logins that are begun here.", sections::login);
    let roles =
        root.section("roles", "Who gets which roles.", |s| sections::roles(s, provider_ids));
    let limits = root.section("limits", "What clients can take up.", sections::limits);
    let log = root.section("log", "The log, on standard output.", sections::log);
    let can_seal = keys.as_ref().map(|keys| keys.encryption_key.is_some());
    let mut neighbours = sections::Neighbours::default();
    let providers = root.tables(unknown::PROVIDERS, PROVIDERS_DOC, |s| {
        sections::provider(s, can_seal, &mut neighbours)
    });
    if providers.as_ref().is_some_and(Vec::is_empty) {
        root.missing(unknown::PROVIDERS, FIRST_PROVIDER);
    }
    Some(Settings {
        server: server?,
        ops: ops?,
        store: store?,
        tokens: tokens?,
        keys: keys?,
        refresh: refresh?,
        cookies: cookies?,
        cors: cors?,
        login: login?,
        roles: roles?,
        limits: limits?,
        log: log?,
        providers: providers?,
        effective: String::new(),
    })
}
