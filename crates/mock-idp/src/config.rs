//! The configuration of a mock: its address, clients and users.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ClientAuth, ClientKey, Dialect, DialectOptions};

/// The configuration of a mock provider.
#[derive(Debug, Clone)]
pub struct MockConfig {
    /// The address to listen on; port 0 takes a free port.
    pub listen: SocketAddr,
    /// The issuer; `http://ADDRESS` of the listener if absent. A path in it is a prefix of the endpoints.
    pub issuer: Option<String>,
    /// The clients that are registered at the provider.
    pub clients: Vec<MockClient>,
    /// The users whom the sign-in page offers.
    pub users: Vec<MockUser>,
    /// The signature algorithm of ID tokens.
    pub id_token_alg: IdTokenAlg,
    /// Whether the endpoints under `/control` are served. [`crate::Control`] works in process either
    /// way.
    pub control: bool,
    /// The provider that the mock behaves like.
    pub dialect: Dialect,
    /// The settings that the operator of the real provider can change.
    pub options: DialectOptions,
    /// The keys of clients that authenticate by a signature.
    pub client_keys: Vec<ClientKey>,
    /// The client authentication methods accepted and advertised; the dialect's if absent.
    pub client_auth: Option<Vec<ClientAuth>>,
    /// Whether authorization responses carry `iss` (RFC 9207); as the dialect does if absent.
    pub iss_parameter: Option<bool>,
}

/// A client that is registered at the mock provider.
#[derive(Debug, Clone)]
pub struct MockClient {
    /// The `client_id` (RFC 6749 §2.2).
    pub id: String,
    /// The `client_secret`; `None` makes a public client (RFC 6749 §2.1).
    pub secret: Option<String>,
    /// The registered redirect URIs, compared character for character.
    pub redirect_uris: Vec<String>,
}

/// A user who can sign in at the mock provider.
#[derive(Debug, Clone)]
pub struct MockUser {
    /// The name for the sign-in page, `login_hint` and [`SignIn::user`]; also `preferred_username`.
    pub username: String,
    /// The claim `sub`; it differs from the username, so that a test notices if they are mixed up.
    pub sub: String,
    /// The claim `name`.
    pub name: String,
    /// The claim `email`.
    pub email: String,
    /// The claim `email_verified`.
    pub email_verified: bool,
    /// The claim `groups`.
    pub groups: Vec<String>,
    /// Entra: the user's tenant; the one in the issuer if absent.
    pub tenant: Option<String>,
    /// GitHub: whether the email address is on the public profile; otherwise `email` is null there.
    pub public_email: bool,
}

/// The signature algorithm of ID tokens (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum IdTokenAlg {
    #[default]
    Rs256,
    Es256,
    EdDsa,
    Ps256,
}

/// One sign-in of a user at a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SignIn {
    /// The username. A name that is not configured stands for a user without groups and with an
    /// unverified email address.
    pub user: String,
    /// The client the code or token is for.
    pub client_id: String,
    /// The redirect URI the code is bound to.
    pub redirect_uri: String,
    /// The nonce of the authorization request, which ID tokens repeat.
    pub nonce: Option<String>,
    /// The PKCE challenge of the authorization request, S256 (RFC 7636 §4.2).
    pub code_challenge: Option<String>,
    /// The scopes, separated by spaces. Without `openid` there is no ID token; no other scope matters,
    /// unless the dialect says so.
    pub scope: String,
    /// The resource the access token is for: `resource` (AD FS) or `audience` (Auth0).
    pub resource: Option<String>,
    /// Whether a parameter asked for a refresh token (`access_type=offline`, Google).
    pub offline: bool,
    /// `sid`, the session at the provider, which a logout token names. Dialects with back-channel
    /// logout generate one for each code without one.
    pub sid: Option<String>,
}

const CLIENT_ID: &str = "mintgate";
const REDIRECT_URIS: [&str; 5] = [
    "http://127.0.0.1:8080/dev/callback",
    "http://localhost:8080/dev/callback",
    "http://127.0.0.1:3000/callback",
    "http://localhost:3000/callback",
    "https://app.example.com/callback",
];

impl Default for MockConfig {
    fn default() -> Self {
        let client = MockClient {
            id: CLIENT_ID.into(),
            secret: Some("mintgate-dev-secret".into()),
            redirect_uris: REDIRECT_URIS.map(Into::into).into(),
        };
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            issuer: None,
            clients: vec![client],
            users: vec![
                MockUser::new("alice", "Alice Admin", true, &["admins", "engineering"]),
                MockUser::new("bob", "Bob Builder", true, &["engineering"]),
                MockUser::new("carol", "Carol Newcomer", false, &[]),
            ],
            id_token_alg: IdTokenAlg::default(),
            control: true,
            dialect: Dialect::default(),
            options: DialectOptions::default(),
            client_keys: Vec::new(),
            client_auth: None,
            iss_parameter: None,
        }
    }
}

impl Default for SignIn {
    /// The user alice at the default client with its first redirect URI, without nonce and PKCE.
    fn default() -> Self {
        Self {
            user: "alice".into(),
            client_id: CLIENT_ID.into(),
            redirect_uri: REDIRECT_URIS[0].into(),
            nonce: None,
            code_challenge: None,
            scope: "openid profile email".into(),
            resource: None,
            offline: false,
            sid: None,
        }
    }
}

impl MockUser {
    /// A user with the subject `mock|USERNAME` and the email address `USERNAME@example.com`.
    pub fn new(username: &str, name: &str, email_verified: bool, groups: &[&str]) -> Self {
        Self {
            username: username.into(),
            sub: format!("mock|{username}"),
            name: name.into(),
            email: format!("{username}@example.com"),
            email_verified,
            groups: groups.iter().map(ToString::to_string).collect(),
            tenant: None,
            public_email: true,
        }
    }
}

impl MockConfig {
    pub(crate) fn client(&self, id: &str) -> Option<&MockClient> {
        self.clients.iter().find(|client| client.id == id)
    }

    pub(crate) fn known_user(&self, username: &str) -> Option<&MockUser> {
        self.users.iter().find(|user| user.username == username)
    }

    pub(crate) fn user(&self, username: &str) -> MockUser {
        self.known_user(username)
            .cloned()
            .unwrap_or_else(|| MockUser::new(username, username, false, &[]))
    }
}

impl SignIn {
    pub(crate) fn has_scope(&self, name: &str) -> bool {
        self.scope.split(' ').any(|scope| scope == name)
    }
}

impl IdTokenAlg {
    /// The algorithm's name in JOSE headers (RFC 7518 §3.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
        }
    }
}

impl FromStr for IdTokenAlg {
    type Err = UnknownAlg;

    fn from_str(name: &str) -> Result<Self, UnknownAlg> {
        [Self::Rs256, Self::Es256, Self::EdDsa, Self::Ps256]
            .into_iter()
            .find(|alg| alg.name() == name)
            .ok_or(UnknownAlg)
    }
}

/// The error of a name that no algorithm has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such algorithm; there are RS256, ES256, EdDSA and PS256")]
pub struct UnknownAlg;
