//! How one provider's OpenID Connect differs from the plain one, as data.

use url::Url;

use crate::client_auth::ClientAuthentication;

/// What a provider does otherwise. The default is plain OpenID Connect.
#[derive(Debug, Clone, Default)]
pub struct Dialect {
    /// How the client authenticates at the token endpoint.
    pub client_authentication: ClientAuthentication,
    /// What the token request says besides what RFC 6749 §4.1.3 asks for, as names and values: AD FS's
    /// `resource`, Auth0's `audience`.
    pub token_parameters: Vec<(String, String)>,
    /// Which issuers are this provider.
    pub issuer: IssuerRule,
    /// What becomes of people with more groups than the ID token holds.
    pub group_overage: GroupOverage,
    /// Claims that the ID token itself must carry with exactly this text, as names and values:
    /// Google's `hd`, Cognito's `token_use`.
    pub required_claims: Vec<(String, String)>,
}

impl Dialect {
    /// Lets in people of one Google Workspace domain alone: a `hd` that is absent is a private account.
    ///
    /// Google, "OpenID Connect", an ID token's payload:
    /// <https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload>
    #[must_use]
    pub fn with_hosted_domain(mut self, domain: impl Into<String>) -> Self {
        self.required_claims.push(("hd".to_owned(), domain.into()));
        self
    }
}

/// Which issuers are one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IssuerRule {
    /// The configured issuer, character for character.
    #[default]
    Exact,
    /// Entra's tenants behind one discovery document, at the configured issuer (which no token names).
    /// A person's issuer is the template with the tenant filled in.
    Tenants {
        /// What the discovery document names, with `{tenantid}` in place of the tenant.
        template: String,
        /// The ids of the tenants let in: anybody can make one.
        allowed: Vec<String>,
    },
}

/// What becomes of people whose groups the ID token leaves out because they are too many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GroupOverage {
    /// They sign in without groups: roles that rest on groups are not theirs.
    #[default]
    Ignore,
    /// They cannot sign in.
    Refuse,
    /// Their groups are asked for.
    Follow(GraphGroups),
}

/// Where somebody's groups are asked for, with the provider's own access token. It takes the place of
/// the address that the token names, which is a foreign and by now an outdated one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphGroups {
    /// For example `https://graph.microsoft.com/v1.0/me/getMemberObjects`, which is posted to, or
    /// `https://graph.microsoft.com/v1.0/me/transitiveMemberOf?$select=id&$top=999`, which is got and
    /// paged: an answer of more than 256 KiB (some 6,500 ids) is too long.
    pub endpoint: Url,
    /// Whether only security groups are asked for, where it is posted to.
    pub security_enabled_only: bool,
    /// How many pages of an answer are read; with more the sign-in fails.
    pub max_pages: usize,
}

impl GraphGroups {
    /// All groups of an endpoint, in at most 20 pages.
    pub fn at(endpoint: Url) -> Self {
        Self { endpoint, security_enabled_only: false, max_pages: 20 }
    }
}
