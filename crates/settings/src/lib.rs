//! Mintgate's configuration: one TOML file with environment variables over it, checked as a whole.
//!
//! `sections` declares each key where it is read, `types` is what comes of it, `rules` are the rules
//! that texts must satisfy. A command that needs a part of the configuration loads that part alone.

mod changes;
mod reference;
mod rules;
mod running;
mod sections;
#[cfg(test)]
mod tests;
mod types;
mod warnings;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

pub use changes::Changes;
pub use mintgate_config_reader::{ConfigError, nearest};
pub use reference::reference;
pub use rules::is_loopback;
pub use types::*;
pub use warnings::{Warning, site};

use mintgate_config_reader::{Conventions, NamedList, Section, Source};
use mintgate_identity_openid::Proxies;
use sections::EnvironmentProxies;
use types::Origin;

const CONVENTIONS: Conventions = Conventions {
    default_file: "mintgate.toml",
    file_option: "with --config or in MINTGATE_CONFIG",
    env_prefix: "MINTGATE__",
    named_lists: &[
        NamedList { section: PROVIDERS, name_key: "id", noun: "provider" },
        NamedList { section: CLIENTS, name_key: "id", noun: "client" },
        NamedList { section: GATEWAYS, name_key: "name", noun: "gateway" },
    ],
};

const PROVIDERS: &str = "providers";

const PROVIDERS_DOC: &str = "The identity providers that people sign in at: at least one. Which keys a \
provider may have, and their defaults, depend on its preset. It is a mistake to set a key that the \
preset does not have.";

const CLIENTS: &str = "clients";

const CLIENTS_DOC: &str = "The back ends that may ask about sessions, and say for whom they ask. `mintgate clients new` makes such a \
     table.";

const GATEWAYS: &str = "gateways";

const GATEWAYS_DOC: &str = "What gateways demand that cannot say it themselves, as Envoy. nginx, Caddy and Traefik need no such \
table: they say it in the address at which they ask, `/api/v1/auth/check`.";

/// Every section at the top level.
const SECTIONS: [&str; 21] = [
    "server",
    "ops",
    "admin",
    "audit",
    "store",
    "sessions",
    "tokens",
    "keys",
    "refresh",
    "cookies",
    "cors",
    "login",
    "pages",
    "users",
    "roles",
    "limits",
    "log",
    "telemetry",
    PROVIDERS,
    CLIENTS,
    GATEWAYS,
];

/// The remedy for a configuration without a provider.
const FIRST_PROVIDER: &str = "add at least this\n\
\x20     [[providers]]\n\
\x20     id = \"corp\"\n\
\x20     issuer = \"https://idp.example.com\"\n\
\x20     client_id = \"mintgate\"\n\
\x20     client_secret_file = \"/run/secrets/corp\"\n\
\x20     redirect_uris = [\"https://app.example.com/callback\"]\n\
\x20  with your provider's values";

/// A configuration that has been read from its file and the environment, and not validated yet.
pub struct Configuration {
    source: Source,
    proxies: EnvironmentProxies,
    origin: Option<Origin>,
}

/// The sections about the signing keys and the store that may hold them.
#[derive(Debug, Clone)]
pub struct KeyRingSettings {
    /// The section `[store]`.
    pub store: StoreSettings,
    /// The section `[tokens]`.
    pub tokens: TokenSettings,
    /// The section `[keys]`.
    pub keys: KeySettings,
    /// The section `[audit]`.
    pub audit: AuditSettings,
}

/// The sections that operators' commands about users and sessions need.
#[derive(Debug, Clone)]
pub struct AdministrationSettings {
    /// The section `[store]`.
    pub store: StoreSettings,
    /// The section `[tokens]`.
    pub tokens: TokenSettings,
    /// The section `[keys]`, which may hold the key of the audit log.
    pub keys: KeySettings,
    /// The section `[audit]`.
    pub audit: AuditSettings,
}

impl Configuration {
    /// Reads the file at `path` (`./mintgate.toml`, if it exists, for `None`) and applies `env`:
    /// `MINTGATE__SECTION__KEY`, `MINTGATE__PROVIDERS__ID__KEY`. `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` in
    /// it say through which proxies providers are reached.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML.
    pub fn load(
        path: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let env: Vec<_> = env.into_iter().collect();
        let variable = |name: &str| {
            let (_, value) = env.iter().find(|(other, _)| other == name)?;
            value.to_str().map(ToOwned::to_owned)
        };
        let proxies = Proxies::from_environment(variable);
        let origin = Origin { path: path.map(Path::to_path_buf), env: env.clone() };
        Ok(Self { source: CONVENTIONS.load(path, env)?, proxies, origin: Some(origin) })
    }

    /// Reads a configuration from a text, without an environment.
    ///
    /// # Errors
    /// If the text is not TOML.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Ok(Self { source: CONVENTIONS.parse(text)?, proxies: Ok(Proxies::default()), origin: None })
    }

    /// Reads the text `defaults`, which messages call `name`, with the file at `path` (none for `None`) over
    /// it and `env` over both, as [`load`](Self::load) does. It cannot be read again while the service runs.
    ///
    /// # Errors
    /// If the file cannot be read, or either is not TOML.
    pub fn load_over(
        defaults: (&str, &str),
        path: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let source = CONVENTIONS.load_over(defaults, path, env)?;
        Ok(Self { source, proxies: Ok(Proxies::default()), origin: None })
    }

    /// Validates the whole configuration.
    ///
    /// # Errors
    /// Every mistake.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        let provider_ids = self.provider_ids();
        let Self { source, proxies, origin } = self;
        let loaded = source.read(|root| settings(root, &provider_ids, &proxies))?;
        let (effective, mut secret_files) = (loaded.effective, loaded.secret_files);
        let (public, ops) = (&loaded.value.server.tls, &loaded.value.ops.tls);
        secret_files.extend(public.iter().chain(ops).map(|tls| tls.key.clone()));
        Ok(Settings { effective, secret_files, origin, ..loaded.value })
    }

    /// Validates the section `[store]` alone.
    ///
    /// # Errors
    /// Every mistake in that section, and every section that does not exist.
    pub fn store(self) -> Result<StoreSettings, ConfigError> {
        Ok(self.only(&["store", "sessions"]).read(store)?.value)
    }

    /// Validates the section `[ops]` alone.
    ///
    /// # Errors
    /// Every mistake in that section, and every section that does not exist.
    pub fn ops(self) -> Result<OpsSettings, ConfigError> {
        Ok(self.only(&["ops"]).read(|root| ops(root, None, false))?.value)
    }

    /// Validates the sections about the signing keys and the store alone.
    ///
    /// # Errors
    /// Every mistake in these sections, and every section that does not exist.
    pub fn key_ring(self) -> Result<KeyRingSettings, ConfigError> {
        let read = |root: &mut Section<'_>| {
            let (_, public_url) = server(root, false).unzip();
            let (store, tokens) = (store(root), tokens(root, public_url.as_deref()));
            let (keys, audit) = (keys(root), audit(root));
            Some(KeyRingSettings { store: store?, tokens: tokens?, keys: keys?, audit: audit? })
        };
        Ok(self.only(&["server", "store", "sessions", "tokens", "keys", "audit"]).read(read)?.value)
    }

    /// Validates the sections about the store, the tokens, the keys and the audit log alone.
    ///
    /// # Errors
    /// Every mistake in these sections, and every section that does not exist.
    pub fn administration(self) -> Result<AdministrationSettings, ConfigError> {
        let read = |root: &mut Section<'_>| {
            let (_, public_url) = server(root, false).unzip();
            let (store, tokens) = (store(root), tokens(root, public_url.as_deref()));
            let (keys, audit) = (keys(root), audit(root));
            Some(AdministrationSettings {
                store: store?,
                tokens: tokens?,
                keys: keys?,
                audit: audit?,
            })
        };
        Ok(self.only(&["server", "store", "sessions", "tokens", "keys", "audit"]).read(read)?.value)
    }

    /// Validates the sections `[users]` and `[roles]` alone.
    ///
    /// # Errors
    /// Every mistake in these sections, and every section that does not exist.
    pub fn people(self) -> Result<(UserSettings, RoleSettings), ConfigError> {
        let provider_ids = self.provider_ids();
        let read = |root: &mut Section<'_>| {
            let (users, roles) = (users(root), roles(root, &provider_ids));
            Some((users?, roles?))
        };
        Ok(self.only(&["users", "roles"]).read(read)?.value)
    }

    /// The ids of the configured providers, valid or not.
    pub fn provider_ids(&self) -> Vec<String> {
        self.source.names(PROVIDERS)
    }

    fn only(self, sections: &[&str]) -> Source {
        self.source.without(SECTIONS.into_iter().filter(|section| !sections.contains(section)))
    }
}

impl Settings {
    /// Loads and validates the whole configuration; see [`Configuration::load`].
    ///
    /// # Errors
    /// Every mistake; if the file cannot be read or is not TOML, that one alone.
    pub fn load(
        path: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        Configuration::load(path, env)?.settings()
    }

    /// Validates a whole configuration that is a text, without an environment.
    ///
    /// # Errors
    /// Every mistake; if the text is not TOML, that one alone.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Configuration::from_toml(text)?.settings()
    }

    /// The settings for the signing keys and the store.
    pub fn key_ring(&self) -> KeyRingSettings {
        let Self { store, tokens, keys, audit, .. } = self.clone();
        KeyRingSettings { store, tokens, keys, audit }
    }

    /// The configuration in force as TOML, defaults included and secrets masked. A comment behind each
    /// key says where its value was written.
    pub fn print(&self) -> String {
        self.effective.clone()
    }

    /// The configuration in force as one `section.key = value` a line, secrets masked.
    pub fn lines(&self) -> Vec<String> {
        let mut section = String::new();
        let (mut lines, mut tables) = (vec![], 0);
        for line in self.effective.lines() {
            if let Some(name) = line.strip_prefix('[') {
                name.trim_matches(['[', ']']).clone_into(&mut section);
                if line.starts_with("[[") {
                    tables += 1;
                    section = format!("{section}.{tables}");
                }
            } else if let Some((key, value)) = line.split_once(" = ") {
                let value = value.split("  # ").next().unwrap_or_default();
                lines.push(format!("{section}.{key} = {value}"));
            }
        }
        lines
    }
}

fn server(root: &mut Section<'_>, reads_files: bool) -> Option<(ServerSettings, String)> {
    root.section("server", "The public listener.", |s| sections::server(s, reads_files))
}

fn store(root: &mut Section<'_>) -> Option<StoreSettings> {
    let doc = "The engine of the sessions, where they are not in the store.";
    let sessions = root.section("sessions", doc, sections::sessions);
    let doc = "The store of users and, unless `sessions.url` is set, of sessions.";
    root.section("store", doc, |s| sections::store(s, sessions))
}

fn tokens(root: &mut Section<'_>, public_url: Option<&str>) -> Option<TokenSettings> {
    let doc = "The tokens that Mintgate issues.";
    root.section("tokens", doc, |s| sections::tokens(s, public_url))
}

fn keys(root: &mut Section<'_>) -> Option<KeySettings> {
    root.section("keys", "The signing keys.", sections::keys)
}

fn audit(root: &mut Section<'_>) -> Option<AuditSettings> {
    root.section("audit", "The audit log.", sections::audit)
}

fn roles(root: &mut Section<'_>, provider_ids: &[String]) -> Option<RoleSettings> {
    root.section("roles", "Which roles people get.", |s| sections::roles(s, provider_ids))
}

fn users(root: &mut Section<'_>) -> Option<UserSettings> {
    root.section("users", "The people who sign in.", sections::users)
}

fn ops(
    root: &mut Section<'_>,
    public_listen: Option<SocketAddr>,
    reads_files: bool,
) -> Option<OpsSettings> {
    let doc =
        "The operations listener, which serves metrics and health, the console and the admin API.";
    root.section("ops", doc, |s| sections::ops(s, public_listen, reads_files))
}

fn settings(
    root: &mut Section<'_>,
    provider_ids: &[String],
    proxies: &EnvironmentProxies,
) -> Option<Settings> {
    let (server, public_url) = server(root, true).unzip();
    let public_listen = server.as_ref().map(|server| server.listen);
    let url = server.as_ref().map(|server| &server.public_url);
    let ops = ops(root, public_listen, true);
    let admin_doc = "The console and the admin API, which the operations listener serves at `/` and `/admin/v1`.";
    let admin = root.section("admin", admin_doc, sections::admin);
    let audit = audit(root);
    let store = store(root);
    let tokens = tokens(root, public_url.as_deref());
    let keys = keys(root);
    let refresh = root.section("refresh", "The rotation of refresh tokens.", sections::refresh);
    let cookies_doc = "The access cookie and the refresh cookie.";
    let cookies = root.section("cookies", cookies_doc, |s| sections::cookies(s, url));
    let cors = root.section("cors", "Cross-origin requests (CORS).", sections::cors);
    let login_doc = "Logins that begin with `POST /api/v1/auth/login`.";
    let login = root.section("login", login_doc, sections::login);
    let pages_doc =
        "The pages to which a login that is two links returns, and those that Mintgate serves.";
    let pages = root.section("pages", pages_doc, |s| sections::pages(s, url, cors.as_ref()));
    let users = users(root);
    let roles = roles(root, provider_ids);
    let limits = root.section("limits", "Limits on what clients can use.", sections::limits);
    let log = root.section("log", "The log, on standard output.", sections::log);
    let telemetry = root.section("telemetry", "Traces.", sections::telemetry);
    let can_seal = keys.as_ref().map(|keys| keys.encryption_key.is_some());
    let mut conflicts = sections::IssuerConflicts::default();
    let providers = root.tables(PROVIDERS, PROVIDERS_DOC, |s| {
        sections::provider(s, can_seal, proxies, &mut conflicts)
    });
    if providers.as_ref().is_some_and(Vec::is_empty) {
        root.missing(PROVIDERS, FIRST_PROVIDER);
    }
    let keeping = providers.as_ref().map(|providers| {
        let keeping = providers.iter().filter(|provider| provider.policy.access.is_some());
        keeping.map(|provider| provider.policy.id.as_str().to_owned()).collect()
    });
    let mut known = sections::KnownNames {
        clients: Vec::new(),
        providers: provider_ids,
        keeping,
        audience: tokens.as_ref().map(|tokens| tokens.audience.clone()),
    };
    let clients = root.tables(CLIENTS, CLIENTS_DOC, |s| sections::client(s, &mut known));
    let mut names = Vec::new();
    let gateways = root.tables(GATEWAYS, GATEWAYS_DOC, |s| sections::gateway(s, &mut names));
    Some(Settings {
        server: server?,
        ops: ops?,
        admin: admin?,
        audit: audit?,
        store: store?,
        tokens: tokens?,
        keys: keys?,
        refresh: refresh?,
        cookies: cookies?,
        cors: cors?,
        login: login?,
        pages: pages?,
        users: users?,
        roles: roles?,
        limits: limits?,
        log: log?,
        telemetry: telemetry?,
        providers: providers?,
        clients: clients?.into_iter().collect(),
        gateways: gateways?,
        effective: String::new(),
        secret_files: Vec::new(),
        origin: None,
    })
}
