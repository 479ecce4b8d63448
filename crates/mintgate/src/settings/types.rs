//! The settings, typed: what is in here has been validated.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use mintgate_domain::model::{LostAnswer, ProviderId, Role};
use mintgate_domain::{OnLookupFailure, Requirement, RoleRule, SecretText};
use mintgate_identity_openid::{
    ClientAuthentication, Dialect, GuardConfig, IssuerRule, Network, OAuth2Endpoints, Preset,
};
use url::Url;

pub use mintgate_signer_jose::Algorithm;

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[server]`
    pub server: ServerSettings,
    /// `[ops]`
    pub ops: OpsSettings,
    /// `[store]`
    pub store: StoreSettings,
    /// `[tokens]`
    pub tokens: TokenSettings,
    /// `[keys]`
    pub keys: KeySettings,
    /// `[refresh]`
    pub refresh: RefreshSettings,
    /// `[cookies]`
    pub cookies: CookieSettings,
    /// `[cors]`
    pub cors: CorsSettings,
    /// `[login]`
    pub login: LoginSettings,
    /// `[roles]`
    pub roles: RoleSettings,
    /// `[limits]`
    pub limits: LimitSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[[providers]]`
    pub providers: Vec<ProviderSettings>,
    /// All of the above as it was read: TOML, masked.
    pub(super) effective: String,
}

/// The public listener.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its address as clients see it; its origin is "own" for CORS and CSRF.
    pub public_url: Url,
    /// Peers whose `X-Forwarded-*` headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Worker threads; the number of cores if 0.
    pub workers: usize,
}

/// The operations listener.
#[derive(Debug, Clone)]
pub struct OpsSettings {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// Where sessions are kept.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Which store.
    pub url: StoreUrl,
    /// Connections at most (Postgres).
    pub pool_size: u32,
    /// How long a request waits for a connection, and for one to be made.
    pub connect_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// How long an ended session can still be told about.
    pub keep_ended: Duration,
    /// Time between two rounds of clean-up; not zero.
    pub cleanup_interval: Duration,
}

/// A store's address.
#[derive(Debug, Clone)]
pub enum StoreUrl {
    /// `sqlite://PATH`
    Sqlite(PathBuf),
    /// `postgres://…`, with its password and TLS mode.
    Postgres(SecretText),
}

/// Our tokens.
#[derive(Debug, Clone)]
pub struct TokenSettings {
    /// `iss`, character for character as it is written.
    pub issuer: String,
    /// `aud`; never empty.
    pub audience: Vec<String>,
    /// Signs access tokens.
    pub algorithm: Algorithm,
    /// Signs refresh tokens: deterministic ones only (HS256, EdDSA, RS256).
    pub refresh_algorithm: Algorithm,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Idle limit of a session.
    pub refresh_ttl: Duration,
    /// Absolute limit of a session.
    pub session_ttl: Duration,
    /// Whether `tokenDelivery = "body"` is allowed.
    pub body_delivery: bool,
    /// Claims copied from the provider's: our name, its path.
    pub extra_claims: Vec<(String, String)>,
}

/// The signing keys.
#[derive(Debug, Clone)]
pub struct KeySettings {
    /// Where keys are made and found.
    pub dir: PathBuf,
    /// A PEM or JWK that signs access tokens, instead of those of the ring.
    pub access_key: Option<SecretText>,
    /// A PEM or JWK that signs refresh tokens, instead of those of the ring.
    pub refresh_key: Option<SecretText>,
    /// The text of a `KeyEncryptionKey`: the ring is in the store, encrypted under it. It is in the
    /// directory if there is none.
    pub encryption_key: Option<SecretText>,
    /// How long a key is published before it signs.
    pub publish_ahead: Duration,
    /// How long a key signs before the next takes its place; `None`: until it is told to.
    pub rotate_every: Option<Duration>,
    /// How soon a rotation is noticed; not zero.
    pub reload: Duration,
}

/// Rotation of refresh tokens.
#[derive(Debug, Clone)]
pub struct RefreshSettings {
    /// How long a token's predecessor is still answered with it.
    pub grace: Duration,
    /// How often.
    pub grace_replays: u16,
    /// What a predecessor means after that.
    pub lost_answer: LostAnswer,
}

/// `SameSite`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum SameSite {
    Strict,
    Lax,
    None,
}

/// The two cookies.
#[derive(Debug, Clone)]
pub struct CookieSettings {
    /// Name of the access cookie, prefix included.
    pub access_name: String,
    /// Name of the refresh cookie, prefix included.
    pub refresh_name: String,
    /// `SameSite`
    pub same_site: SameSite,
    /// `Domain`, if any.
    pub domain: Option<String>,
    /// `Partitioned`
    pub partitioned: bool,
    /// `Path` of the refresh cookie.
    pub refresh_path: String,
    /// `Secure`
    pub secure: bool,
}

/// Which pages may call us.
#[derive(Debug, Clone)]
pub struct CorsSettings {
    /// Exact origins.
    pub allowed_origins: Vec<String>,
}

/// Logins that are begun here.
#[derive(Debug, Clone)]
pub struct LoginSettings {
    /// How long a person may take at the provider.
    pub ttl: Duration,
}

/// Who gets which roles.
#[derive(Debug, Clone)]
pub struct RoleSettings {
    /// For everybody.
    pub default: Vec<Role>,
    /// In addition.
    pub rules: Vec<RoleRule>,
    /// Whether roles are decided anew at every refresh.
    pub at_refresh: bool,
    /// The operator's own user system, if it is asked.
    pub lookup: Option<RoleLookupSettings>,
}

/// The operator's own user system, asked over HTTP.
#[derive(Debug, Clone)]
pub struct RoleLookupSettings {
    /// Where.
    pub url: Url,
    /// The bearer token it is asked with.
    pub token: Option<SecretText>,
    /// How long it may take.
    pub timeout: Duration,
    /// How long an answer is remembered; not at all if zero.
    pub cache: Duration,
    /// What becomes of a sign-in that it does not answer.
    pub on_failure: OnLookupFailure,
}

/// Bounds on what clients can take up.
#[derive(Debug, Clone)]
pub struct LimitSettings {
    /// Requests worked on at once on the public listener; more are 503 `OVERLOADED`.
    pub max_in_flight: usize,
    /// How long a request's head and its body may take to arrive, each.
    pub request_timeout: Duration,
    /// Bytes of a request's headers.
    pub max_header_bytes: usize,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// The log.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines: a `tracing` filter such as `info` or `mintgate=debug,info`.
    pub filter: String,
}

/// One identity provider.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Its name in requests.
    pub id: ProviderId,
    /// What a login page calls it.
    pub display_name: String,
    /// Which of the known providers it is.
    pub preset: &'static Preset,
    /// Its issuer identifier, character for character.
    pub issuer: String,
    /// Our client id there.
    pub client_id: String,
    /// Our secret there; none for a public client, or one that proves itself by a key.
    pub client_secret: Option<SecretText>,
    /// The redirect URIs, character for character; never empty.
    pub redirect_uris: Vec<String>,
    /// The scopes.
    pub scopes: Vec<String>,
    /// What the authorization request says besides, as names and values.
    pub authorization_parameters: Vec<(String, String)>,
    /// PKCE.
    pub pkce: Requirement,
    /// How old its word on somebody may become before it is asked again at a refresh; never if `None`.
    pub recheck: Option<Duration>,
    /// How the provider may be reached, and how long that may take.
    pub network: Network,
    /// The limits that keep its trouble from harming anybody else.
    pub guard: GuardConfig,
    /// How it is asked.
    pub kind: ProviderKind,
}

/// How a provider is asked, and what is to be known for that.
#[derive(Debug, Clone)]
pub enum ProviderKind {
    /// By OpenID Connect with discovery.
    OpenId(OpenIdSettings),
    /// By OAuth 2.0 alone.
    OAuth2(OAuth2Settings),
}

/// What is configured of OpenID Connect.
#[derive(Debug, Clone)]
pub struct OpenIdSettings {
    /// The nonce.
    pub nonce: Requirement,
    /// The ID token algorithms accepted, by their JWS names.
    pub id_token_algorithms: Vec<String>,
    /// Whether userinfo is asked in addition to the ID token.
    pub userinfo: bool,
    /// What this provider does in its own way, client authentication included.
    pub dialect: Dialect,
}

/// What is configured of OAuth 2.0.
#[derive(Debug, Clone)]
pub struct OAuth2Settings {
    /// How the client authenticates.
    pub client_authentication: ClientAuthentication,
    /// What the token request says besides, as names and values.
    pub token_parameters: Vec<(String, String)>,
    /// Where it is asked.
    pub endpoints: OAuth2Endpoints,
    /// The path to the subject in the user endpoint's answer.
    pub subject: String,
    /// More claims, as names and paths.
    pub claims: Vec<(String, String)>,
    /// Headers of the requests to the user endpoint, as names and values.
    pub headers: Vec<(String, String)>,
}

impl ProviderSettings {
    /// The issuers that its people's identities may have, and its authorization responses may name:
    /// the configured one, and those of its tenants.
    pub fn issuers(&self) -> Vec<String> {
        let mut issuers = vec![self.issuer.clone()];
        if let ProviderKind::OpenId(OpenIdSettings { dialect, .. }) = &self.kind
            && let IssuerRule::Tenants { template, allowed } = &dialect.issuer
        {
            issuers.extend(allowed.iter().map(|tenant| template.replace("{tenantid}", tenant)));
        }
        issuers
    }

    /// Whether it answers with ID tokens.
    pub fn has_id_tokens(&self) -> bool {
        matches!(self.kind, ProviderKind::OpenId(_))
    }
}
