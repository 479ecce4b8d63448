//! What a mock is started with: its address, clients and people.

use std::error::Error;
use std::fmt::{self, Display, Formatter};
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ClientAuth, ClientKey, Dialect, DialectOptions};

/// How a mock is set up.
#[derive(Debug, Clone)]
pub struct MockConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its issuer, if that is not `http://ADDRESS` of the listener. A path in it is served too.
    pub issuer: Option<String>,
    /// The registered clients.
    pub clients: Vec<MockClient>,
    /// The people its sign-in page offers.
    pub users: Vec<MockUser>,
    /// What signs its ID tokens.
    pub id_token_alg: IdTokenAlg,
    /// Whether `/control/*` is served; [`crate::Control`] works in process either way.
    pub control: bool,
    /// Whose dialect it speaks.
    pub dialect: Dialect,
    /// What an operator sets at the provider the dialect is of.
    pub options: DialectOptions,
    /// The keys of clients that prove themselves by a signature.
    pub client_keys: Vec<ClientKey>,
    /// The ways of client authentication it takes and advertises, if not the dialect's.
    pub client_auth: Option<Vec<ClientAuth>>,
    /// Whether authorization responses carry `iss` (RFC 9207), if not as the dialect has it.
    pub iss_parameter: Option<bool>,
}

/// A registered client.
#[derive(Debug, Clone)]
pub struct MockClient {
    /// `client_id`
    pub id: String,
    /// `client_secret`; none makes it a public client.
    pub secret: Option<String>,
    /// The redirect URIs it may use, compared character for character.
    pub redirect_uris: Vec<String>,
}

/// Somebody who can sign in.
#[derive(Debug, Clone)]
pub struct MockUser {
    /// What the sign-in page, `login_hint` and [`SignIn::user`] call them; `preferred_username`.
    pub username: String,
    /// `sub`; not the username, so that mixing them up shows.
    pub sub: String,
    /// `name`
    pub name: String,
    /// `email`
    pub email: String,
    /// `email_verified`
    pub email_verified: bool,
    /// `groups`
    pub groups: Vec<String>,
    /// Entra: the tenant they belong to, if not the one in the issuer.
    pub tenant: Option<String>,
    /// GitHub: whether the address is on the public profile; if not, `email` is null there.
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

/// One sign-in: who, for which client, bound to what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct SignIn {
    /// A configured username; any other name stands for a person made up on the spot, without
    /// groups and with an unverified address.
    pub user: String,
    /// The client the code or token is for.
    pub client_id: String,
    /// The redirect URI the code is bound to.
    pub redirect_uri: String,
    /// The nonce of the authorization request.
    pub nonce: Option<String>,
    /// Its PKCE challenge, S256 (RFC 7636 §4.2).
    pub code_challenge: Option<String>,
    /// The scopes, by spaces. Without `openid` there is no ID token; nothing else hangs on them.
    pub scope: String,
    /// The resource the access token is for: `resource` (AD FS) or `audience` (Auth0).
    pub resource: Option<String>,
    /// Whether a refresh token was asked for by parameter (`access_type=offline`, Google).
    pub offline: bool,
    /// `sid`: the provider's own session, which a logout token names. Dialects with back-channel
    /// logout make one up for each code that has none.
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
    /// Alice, at the default client with its first redirect URI, without nonce or PKCE.
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
    /// Somebody with the subject `mock|USERNAME` and the address `USERNAME@example.com`.
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
    /// Its name in JOSE headers.
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

/// There is no algorithm of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownAlg;

impl Display for UnknownAlg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("no such algorithm; there are RS256, ES256, EdDSA and PS256")
    }
}

impl Error for UnknownAlg {}
