//! The dialects of the well-known providers. Each has a file with a table of its differences from
//! plain OpenID Connect and the documentation that they rest on.

mod adfs;
mod apple;
mod auth0;
mod cognito;
mod entra;
mod github;
mod gitlab;
mod google;
mod keycloak;
mod okta;
mod options;
mod plain;
mod traits;

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

pub use entra::object_id as entra_object_id;
pub use options::{DialectOptions, Overage};
pub(crate) use traits::{Refresh, RefreshWhen, Reuse, Subject, Traits, reshape};

/// The provider that a mock behaves like: its URLs, claims, client authentication and errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenID Connect as the standards define it.
    #[default]
    Plain,
    /// Google: `hd`, `azp`, `access_type=offline`.
    Google,
    /// GitHub: OAuth 2.0 without OpenID Connect, errors under HTTP 200.
    Github,
    /// Okta, a custom authorization server: a filtered `groups` claim.
    Okta,
    /// Microsoft Entra ID: single-tenant by its issuer, multi-tenant under `/common/v2.0` and
    /// `/organizations/v2.0`, group overage, Microsoft Graph.
    Entra,
    /// AD FS: `access_token_issuer`, `upn`, `resource`, a userinfo endpoint that returns only `sub`.
    Adfs,
    /// Sign in with Apple: signed client secrets, `form_post`, the name at the first login only.
    Apple,
    /// GitLab: `groups_direct` in ID tokens, `groups` in userinfo.
    Gitlab,
    /// Keycloak: realms, `realm_access`, `resource_access`.
    Keycloak,
    /// Auth0: an issuer with a slash at its end, namespaced claims, `audience`.
    Auth0,
    /// Amazon Cognito: `cognito:groups`, `token_use`, another host for the endpoints.
    Cognito,
}

impl Dialect {
    /// Every dialect, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Plain,
        Self::Google,
        Self::Github,
        Self::Okta,
        Self::Entra,
        Self::Adfs,
        Self::Apple,
        Self::Gitlab,
        Self::Keycloak,
        Self::Auth0,
        Self::Cognito,
    ];

    /// The name of the dialect for `--dialect`.
    pub fn name(self) -> &'static str {
        self.traits().name
    }

    pub(crate) fn traits(self) -> &'static Traits {
        match self {
            Self::Plain => &plain::TRAITS,
            Self::Google => &google::TRAITS,
            Self::Github => &github::TRAITS,
            Self::Okta => &okta::TRAITS,
            Self::Entra => &entra::TRAITS,
            Self::Adfs => &adfs::TRAITS,
            Self::Apple => &apple::TRAITS,
            Self::Gitlab => &gitlab::TRAITS,
            Self::Keycloak => &keycloak::TRAITS,
            Self::Auth0 => &auth0::TRAITS,
            Self::Cognito => &cognito::TRAITS,
        }
    }
}

impl Display for Dialect {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name).ok_or(UnknownDialect)
    }
}

/// The error of a name that no dialect has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such dialect; there are {}", Dialect::ALL.map(Dialect::name).join(", "))]
pub struct UnknownDialect;
