//! How one provider's OpenID Connect differs from the plain one, as data.

use std::time::Duration;

use url::Url;

use crate::client_auth::ClientAuthentication;

/// The differences of a provider from OpenID Connect as the standard defines it. The default has
/// none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dialect {
    /// How the client authenticates at the token endpoint.
    pub client_authentication: ClientAuthentication,
    /// Additional parameters of the token request (RFC 6749 §4.1.3), as names and values: AD FS's
    /// `resource`, Auth0's `audience`.
    pub token_parameters: Vec<(String, String)>,
    /// The rule for the issuers in the provider's tokens.
    pub issuer: IssuerRule,
    /// Other audiences that a token for us may have (OIDC Core §3.1.3.7 item 3).
    pub trusted_audiences: Vec<String>,
    /// Other clients that may have asked for a token whose only audience we are: the value of `azp`
    /// (OIDC Core §3.1.3.7 item 5).
    pub authorized_parties: Vec<String>,
    /// Whether the provider never returns a nonce. An ID token without one is then accepted from the
    /// token endpoint for a code that a PKCE verifier protected.
    pub lacks_nonce: bool,
    /// The longest time since the person authenticated, as the authorization request asks for it
    /// (`max_age`, OIDC Core §3.1.2.1).
    pub max_age: Option<Duration>,
    /// When an email address counts as verified.
    pub email: EmailRule,
    /// The rule for people who have more groups than the ID token can hold (Entra's group overage).
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

/// When an email address counts as verified, besides `email_verified` with the value true
/// (OIDC Core §5.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EmailRule {
    /// No deviation from the standard.
    #[default]
    Standard,
    /// `email_verified` with the text `true`, as the provider's documentation has it.
    Text,
    /// Entra's claim `xms_edov`: the tenant owns the domain of the address.
    DomainOwner,
    /// Always: all users of the provider belong to one tenant that the operator trusts.
    Tenant,
}

/// The rule for the issuers in a provider's tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IssuerRule {
    /// Tokens name the configured issuer, character for character.
    #[default]
    Exact,
    /// Entra's tenants behind one discovery document, at the configured issuer (which no token names).
    /// A person's issuer is the template with the tenant filled in.
    Tenants {
        /// The issuer in the discovery document, with `{tenantid}` in place of the tenant.
        template: String,
        /// The ids of the tenants whose people may sign in. Others may not: anybody can create a
        /// tenant.
        allowed: Vec<String>,
    },
}

/// The rule for people whose groups the ID token leaves out because they are too many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GroupOverage {
    /// Such people sign in without groups, so role rules over groups do not apply to them.
    #[default]
    Ignore,
    /// Users with too many groups cannot sign in.
    Refuse,
    /// The groups of users with too many groups are read from this endpoint.
    Follow(GraphGroups),
}

/// The endpoint that lists a person's groups, asked with the provider's access token. It replaces
/// the address in the token, which is another service's (Azure AD Graph, retired).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphGroups {
    /// The URL, for example `https://graph.microsoft.com/v1.0/me/getMemberObjects` (asked with
    /// POST) or `https://graph.microsoft.com/v1.0/me/transitiveMemberOf?$select=id&$top=999` (asked
    /// with GET, page by page). An answer of more than 256 KiB (some 6,500 ids) is refused.
    pub endpoint: Url,
    /// Whether only security groups are listed, where the endpoint is asked with POST.
    pub security_enabled_only: bool,
    /// The most pages of an answer that are read; if there are more, the sign-in fails.
    pub max_pages: usize,
}

impl GraphGroups {
    /// All groups at this endpoint, in at most 20 pages.
    pub fn at(endpoint: Url) -> Self {
        Self { endpoint, security_enabled_only: false, max_pages: 20 }
    }
}
