//! The typed settings. Every value in here has been validated.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use mintgate_domain::model::{
    AllowedUri, AuditKey, AuditKeys, LostAnswer, NewerToken, ProfileClaims, ReturnOrigins, Role,
};
use mintgate_domain::{
    AdminToken, Admission, Clients, OnLookupFailure, ProviderPolicy, RoleRule, SecretText,
};
use mintgate_identity_openid::{Dialect, GuardConfig, OAuth2Config, OpenIdConfig, Preset};
pub use mintgate_log_writer::LogFormat;
use mintgate_signer_jose::AccessTokenType;
use mintgate_tls::PairFiles;
use url::Url;

pub use mintgate_signer_jose::Algorithm;

/// Where a configuration was read, so that it can be read again.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) path: Option<PathBuf>,
    /// The environment, which holds secrets.
    pub(crate) env: Vec<(OsString, OsString)>,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Mintgate's whole configuration, validated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The section `[server]`.
    pub server: ServerSettings,
    /// The section `[ops]`.
    pub ops: OpsSettings,
    /// The section `[admin]`.
    pub admin: AdminSettings,
    /// The section `[audit]`.
    pub audit: AuditSettings,
    /// The section `[store]`.
    pub store: StoreSettings,
    /// The section `[tokens]`.
    pub tokens: TokenSettings,
    /// The section `[keys]`.
    pub keys: KeySettings,
    /// The section `[refresh]`.
    pub refresh: RefreshSettings,
    /// The section `[cookies]`.
    pub cookies: CookieSettings,
    /// The section `[cors]`.
    pub cors: CorsSettings,
    /// The section `[login]`.
    pub login: LoginSettings,
    /// The section `[pages]`.
    pub pages: PageSettings,
    /// The section `[users]`.
    pub users: UserSettings,
    /// The section `[roles]`.
    pub roles: RoleSettings,
    /// The section `[limits]`.
    pub limits: LimitSettings,
    /// The section `[log]`.
    pub log: LogSettings,
    /// The section `[telemetry]`.
    pub telemetry: TelemetrySettings,
    /// The tables `[[providers]]`.
    pub providers: Vec<ProviderSettings>,
    /// The tables `[[clients]]`.
    pub clients: Clients,
    /// The tables `[[gateways]]`.
    pub gateways: Vec<GatewaySettings>,
    /// Every key with its value and origin, as TOML with secrets masked.
    pub(crate) effective: String,
    /// The files that secrets were read from, the configuration file among them if it holds one.
    pub secret_files: Vec<PathBuf>,
    /// Where it was read; `None` for a text.
    pub(crate) origin: Option<Origin>,
}

/// A gateway whose demands are configured here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    /// The name by which it asks.
    pub name: String,
    /// The roles that callers must have, all of them.
    pub roles: Vec<Role>,
    /// Whether navigations of callers who are not signed in are redirected to the login.
    pub redirects: bool,
}

/// The settings of the public listener.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The address that the public listener binds.
    pub listen: SocketAddr,
    /// The server's address as clients see it. Its origin is our own for CORS and CSRF.
    pub public_url: Url,
    /// The networks of reverse proxies, whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The number of worker threads; 0 means one for each core.
    pub workers: usize,
    /// How long connections are accepted after the service was asked to stop.
    pub drain: Duration,
    /// The certificate and the private key, if the listener speaks TLS.
    pub tls: Option<PairFiles>,
}

/// The operations listener, for metrics and health, the console and the admin API.
#[derive(Debug, Clone)]
pub struct OpsSettings {
    /// The address that the operations listener binds.
    pub listen: SocketAddr,
    /// The certificate, the private key and the authorities of clients, if the listener speaks TLS.
    pub tls: Option<PairFiles>,
    /// Whether client certificates are good for changes, and not for looking alone.
    pub certificates_may_write: bool,
}

impl OpsSettings {
    /// Whether operators are known by client certificates too.
    pub fn takes_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_authorities.is_some())
    }
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// How long an entry is kept.
    pub retention: Duration,
    /// The secret that entries are proven with, if it is one of their own.
    pub key: Option<SecretText>,
    /// The secret before it.
    pub former_key: Option<SecretText>,
}

impl AuditSettings {
    /// The keys of the audit log: of its own secret or else of the key-encryption key, and of the former
    /// ones.
    pub fn keys(&self, keys: &KeySettings) -> AuditKeys {
        let secret = self.key.as_ref().or(keys.encryption_key.as_ref());
        let former = self.former_key.iter().chain(&keys.former_encryption_keys);
        AuditKeys {
            current: secret.map_or_else(AuditKey::none, AuditKey::derived),
            former: former.map(AuditKey::derived).collect(),
        }
    }
}

/// The admin API of the operations listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSettings {
    /// The names, besides `localhost` and IP addresses, by which it may be called.
    pub hosts: Vec<String>,
    /// Who may use it; without any there is none.
    pub tokens: Vec<AdminToken>,
}

/// The store of users and sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The address of the store, which also says which engine it is.
    pub url: StoreUrl,
    /// The most connections to Postgres.
    pub pool_size: u32,
    /// The longest that a request waits for a connection, and for a new one to be made.
    pub connect_timeout: Duration,
    /// The longest that one statement may take.
    pub statement_timeout: Duration,
    /// What stands between Mintgate and Postgres.
    pub pooling: Pooling,
    /// How long a session is kept after its end; 0 means until the next clean-up.
    pub keep_ended: Duration,
    /// The time between two clean-ups; never 0.
    pub cleanup_interval: Duration,
    /// Where sessions are kept: the section `[sessions]`.
    pub sessions: SessionSettings,
}

/// Where sessions are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSettings {
    /// The address of the Redis that keeps them; `None` if they are in the store.
    pub url: Option<SecretText>,
    /// How many replicas must have confirmed a login or an end.
    pub replicas: u32,
    /// How long replicas may take to confirm.
    pub wait: Duration,
}

/// How long a connection to Postgres keeps the server process that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// It is found out whether a pooler takes server processes away.
    #[default]
    Auto,
    /// For as long as the connection is open.
    Session,
    /// For a transaction.
    Transaction,
}

/// The address of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `sqlite://PATH`: the path of the database file.
    Sqlite(PathBuf),
    /// `postgres://…`: the whole URL, with its password and TLS mode.
    Postgres(SecretText),
}

/// The tokens that Mintgate issues.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// The issuer of our tokens (`iss`), character for character as it is configured.
    pub issuer: String,
    /// The audience of our access tokens (`aud`); never empty.
    pub audience: Vec<String>,
    /// The `client_id` of our access tokens (RFC 9068 §2.2).
    pub client_id: String,
    /// The `typ` of our access tokens.
    pub access_type: AccessTokenType,
    /// The algorithm that signs access tokens.
    pub algorithm: Algorithm,
    /// The algorithm that signs refresh tokens: HS256, EdDSA or RS256, which are deterministic.
    pub refresh_algorithm: Algorithm,
    /// The life of an access token.
    pub access_ttl: Duration,
    /// The idle limit of a session: its life without a refresh.
    pub refresh_ttl: Duration,
    /// The absolute limit of a session: its life in all.
    pub session_ttl: Duration,
    /// Whether a client may ask for `tokenDelivery = "body"`.
    pub body_delivery: bool,
    /// Claims copied from the provider's into access tokens, as our name and the path in theirs.
    pub extra_claims: Vec<(String, String)>,
    /// The claim of access tokens with the ids of systems from which users were imported.
    pub former_ids_claim: Option<String>,
}

/// The settings of the signing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySettings {
    /// The directory of the key ring.
    pub dir: PathBuf,
    /// A PEM or JWK that signs access tokens in place of the key ring.
    pub access_key: Option<SecretText>,
    /// A PEM or JWK that signs refresh tokens in place of the key ring.
    pub refresh_key: Option<SecretText>,
    /// The text of a `KeyEncryptionKey`. With it the key ring is in the store, encrypted; without it
    /// the key ring is in the directory.
    pub encryption_key: Option<SecretText>,
    /// Texts of `KeyEncryptionKey`s that open what is sealed, and seal nothing.
    pub former_encryption_keys: Vec<SecretText>,
    /// How long a key is published before it signs.
    pub publish_ahead: Duration,
    /// How long a key signs before the next takes its place; `None` disables automatic rotation.
    pub rotate_every: Option<Duration>,
    /// The longest until a running service notices changed keys; never 0.
    pub reload: Duration,
}

/// Where signing keys are stored.
#[derive(Debug, Clone, Copy)]
pub enum KeyLocation<'a> {
    /// The keys are in the store, encrypted under this key.
    Store(&'a SecretText),
    /// The keys are files in this directory.
    Directory(&'a Path),
}

impl KeySettings {
    /// Where the keys are stored; `None` if both are given in the configuration, so that none is stored.
    pub fn location(&self) -> Option<KeyLocation<'_>> {
        if self.access_key.is_some() && self.refresh_key.is_some() {
            return None;
        }
        let in_store = self.encryption_key.as_ref().map(KeyLocation::Store);
        Some(in_store.unwrap_or(KeyLocation::Directory(&self.dir)))
    }
}

/// The rotation of refresh tokens.
#[derive(Debug, Clone)]
pub struct RefreshSettings {
    /// How long after a refresh the previous token is still answered with the current one.
    pub grace: Duration,
    /// How many replays of the previous token are answered within `grace`.
    pub grace_replays: u16,
    /// The rule for a replay after `grace`, or beyond `grace_replays`.
    pub lost_answer: LostAnswer,
    /// The rule for a token that is newer than its session.
    pub newer_token: NewerToken,
}

/// The values of the cookie attribute `SameSite` (RFC 6265bis §5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// The access cookie and the refresh cookie.
#[derive(Debug, Clone)]
pub struct CookieSettings {
    /// The name of the access cookie, prefix included.
    pub access_name: String,
    /// The name of the refresh cookie, prefix included.
    pub refresh_name: String,
    /// The attribute `SameSite` of both cookies.
    pub same_site: SameSite,
    /// The attribute `Domain` of both cookies; `None` leaves it out.
    pub domain: Option<String>,
    /// Whether both cookies have the attribute `Partitioned`.
    pub partitioned: bool,
    /// The attribute `Path` of the refresh cookie.
    pub refresh_path: String,
    /// Whether both cookies have the attribute `Secure`.
    pub secure: bool,
    /// Whether a cookie that scripts can read says that there is a session.
    pub hint: bool,
    /// The attribute `Domain` of that cookie; `None` leaves it out.
    pub hint_domain: Option<String>,
}

/// The settings of cross-origin requests (CORS, Fetch standard).
#[derive(Debug, Clone)]
pub struct CorsSettings {
    /// The other origins whose pages may call with credentials.
    pub allowed_origins: Vec<AllowedUri>,
}

/// Logins that begin with `POST /api/v1/auth/login`.
#[derive(Debug, Clone)]
pub struct LoginSettings {
    /// The longest time from the beginning of a login to its end, which the person spends at the
    /// provider.
    pub ttl: Duration,
}

/// The pages to which a login that is two links returns.
#[derive(Debug, Clone)]
pub struct PageSettings {
    /// The origins of these pages.
    pub return_origins: ReturnOrigins,
    /// The page where people choose how to sign in, for callers of a gateway.
    pub login_url: Option<Url>,
    /// The pages that are served here, if they are.
    pub hosted: Option<HostedPageSettings>,
}

/// The login page and the account page.
#[derive(Debug, Clone)]
pub struct HostedPageSettings {
    /// The name of whom the pages belong to.
    pub name: String,
    /// The page of an app to which one goes on, of one of the return origins.
    pub home: Option<String>,
    /// The tag (BCP 47) of the language for browsers that prefer none of the others.
    pub language: String,
    /// The operator's languages: the tag of each, and its texts by key.
    pub languages: Vec<(String, BTreeMap<String, String>)>,
    /// The operator's style sheet.
    pub stylesheet: Option<String>,
    /// The operator's logo.
    pub logo: Option<LogoFile>,
}

/// A picture that has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoFile {
    /// The media type of its format, which its first bytes tell.
    pub media_type: &'static str,
    /// The file, at most 256 KiB.
    pub bytes: Vec<u8>,
}

/// The settings about users: who may sign in, and which claims are stored.
#[derive(Debug, Clone)]
pub struct UserSettings {
    /// Whom sign-ins are open to.
    pub admission: Admission,
    /// The claims that are kept of whoever signs in.
    pub profile: ProfileClaims,
}

/// The settings about roles: the default, the rules and the lookup.
#[derive(Debug, Clone)]
pub struct RoleSettings {
    /// The roles of everybody who signs in.
    pub default: Vec<Role>,
    /// The rules that grant further roles.
    pub rules: Vec<RoleRule>,
    /// Whether every refresh decides the roles again.
    pub at_refresh: bool,
    /// The operator's user system, if it is asked for roles.
    pub lookup: Option<RoleLookupSettings>,
}

/// The operator's user system, which is asked for roles over HTTP.
#[derive(Debug, Clone)]
pub struct RoleLookupSettings {
    /// The URL that returns a user's roles.
    pub url: Url,
    /// The bearer token of the requests, if any.
    pub token: Option<SecretText>,
    /// The longest that an answer may take.
    pub timeout: Duration,
    /// How long an answer is cached; 0 disables the cache.
    pub cache: Duration,
    /// What happens to a sign-in or refresh if the user system does not answer.
    pub on_failure: OnLookupFailure,
}

/// Limits on what clients can use.
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// The most connections of the public listener; the limit of file descriptors may allow fewer.
    pub max_connections: usize,
    /// The most requests that ask the store alone in progress; further ones get 503 `OVERLOADED`.
    pub max_in_flight: usize,
    /// The most requests that may wait for a provider in progress; further ones get 503 `OVERLOADED`.
    pub max_sign_ins: usize,
    /// The most request bodies that are waited for; further ones get 503 `OVERLOADED`.
    pub max_slow_bodies: usize,
    /// How many streams about revocations may be open.
    pub max_revocation_streams: usize,
    /// How often callers may ask.
    pub rate: RateLimitSettings,
    /// The longest that the head of a request may take to arrive, and then its body.
    pub request_timeout: Duration,
    /// The most bytes of a request's headers.
    pub max_header_bytes: usize,
}

/// Limits on how often callers may ask.
#[derive(Debug, Clone)]
pub struct RateLimitSettings {
    /// The most logins that one caller may begin in a minute; 0 for any number, as below.
    pub logins_per_minute: u32,
    /// The most sign-ins of one caller in a minute.
    pub sign_ins_per_minute: u32,
    /// The most sign-ins of one caller that may be refused in a minute.
    pub refused_sign_ins_per_minute: u32,
    /// The most sign-ins at one provider in a minute, shared out among the callers.
    pub provider_sign_ins_per_minute: u32,
    /// The most refresh tokens of one caller that may be refused in a minute.
    pub refused_refreshes_per_minute: u32,
    /// The most logout tokens of one caller that may be refused in a minute.
    pub refused_logout_tokens_per_minute: u32,
    /// The most refreshes of one session in a minute.
    pub session_refreshes_per_minute: u32,
    /// The most tokens of the admin API of one network that may be refused in a minute.
    pub refused_admin_tokens_per_minute: u32,
    /// The networks whose callers are not limited by any of these.
    pub exempt: Vec<IpNet>,
    /// Whether all processes on one store count together.
    pub shared: bool,
}

/// The settings of the log.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The format of the log's lines.
    pub format: LogFormat,
    /// Which lines are written: a `tracing` filter such as `info` or `mintgate=debug,info`.
    pub filter: String,
}

/// The settings of traces.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// The OpenTelemetry collector, if spans are sent to one.
    pub otlp_endpoint: Option<Url>,
    /// The header `Authorization` of what is sent to it.
    pub otlp_authorization: Option<SecretText>,
    /// Of a hundred traces, how many are recorded.
    pub sample_percent: u32,
    /// The name of the service in traces.
    pub service_name: String,
    /// The networks of peers whose traces are continued.
    pub trusted_callers: Vec<IpNet>,
}

/// The settings of one identity provider.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// The provider's preset.
    pub preset: &'static Preset,
    /// The provider's id, how a login begins, and what a sign-in must satisfy before the provider is
    /// asked.
    pub policy: ProviderPolicy,
    /// The limits that keep a provider in trouble from harming the others.
    pub guard: GuardConfig,
    /// The configuration of the provider's adapter.
    pub config: ProviderConfig,
}

/// The configuration of a provider's adapter, by protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderConfig {
    /// OpenID Connect with discovery, and how this provider differs from the standard.
    OpenId(OpenIdConfig, Dialect),
    /// OAuth 2.0 without ID tokens.
    OAuth2(OAuth2Config),
}
