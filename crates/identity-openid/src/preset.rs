//! What a preset says of a provider, and how its patterns are filled.

use std::collections::BTreeMap;

use crate::dialect::EmailRule;

/// A known provider. Its patterns contain `{names}` of parameters, whose values the configuration
/// gives.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// The preset's name in the configuration.
    pub name: &'static str,
    /// The provider's name on login pages, unless the configuration sets another.
    pub display_name: &'static str,
    /// The protocol that the provider speaks.
    pub kind: PresetKind,
    /// The pattern of the issuer identifier. An OpenID Connect provider is discovered there (OIDC
    /// Discovery §4); identities of an OAuth 2.0 provider carry it as their issuer.
    pub issuer: &'static str,
    /// The parameters of the patterns.
    pub parameters: &'static [Parameter],
    /// The scopes of the authorization request, unless the configuration sets others.
    pub scopes: &'static [&'static str],
    /// The algorithms that sign the provider's ID tokens, by their JWS names; empty for a provider
    /// without ID tokens.
    pub id_token_algorithms: &'static [&'static str],
    /// Whether the userinfo endpoint is asked too, because the ID token lacks claims that role rules
    /// need.
    pub userinfo: bool,
    /// How a client authenticates at the token endpoint.
    pub client_authentication: PresetAuthentication,
    /// Additional parameters of the authorization request, as names and patterns. One whose pattern
    /// needs an optional value that is not given is left out.
    pub authorization_parameters: &'static [(&'static str, &'static str)],
    /// The parameter of the authorization request that names the domain of the people who sign in, if
    /// the provider has one.
    pub domain_hint: Option<&'static str>,
    /// The parameter of a sign-out at the provider that says where the browser goes afterwards (OIDC
    /// RP-Initiated Logout §2).
    pub logout_redirect_parameter: &'static str,
    /// The request for a refresh token at the sign-in, so that the provider can be asked again.
    pub offline: Offline,
    /// Additional parameters of the token request, as names and patterns, left out likewise.
    pub token_parameters: &'static [(&'static str, &'static str)],
    /// Claims that an ID token must carry with exactly this text, as names and values.
    pub required_claims: &'static [(&'static str, &'static str)],
    /// When an email address counts as verified, besides `email_verified` with the value true.
    pub email: EmailRule,
    /// The pattern of the `issuer` in a discovery document that several tenants share. It contains
    /// `{tenantid}`, which is not a parameter: each tenant's id takes its place.
    pub tenant_template: Option<&'static str>,
    /// The pattern of the endpoint that lists a person's groups where the ID token leaves them out
    /// (group overage).
    pub group_endpoint: Option<&'static str>,
    /// The scope that a request to the group endpoint needs.
    pub group_scope: Option<&'static str>,
    /// Why the provider is not sent a code that it has never issued, to see whether it knows the client;
    /// `None` if that does no harm.
    pub no_probe: Option<&'static str>,
    /// The address of the provider's own documentation.
    pub documentation: &'static str,
}

/// The protocol that a provider speaks.
#[derive(Debug, Clone, Copy)]
pub enum PresetKind {
    /// OpenID Connect with discovery: [`OpenIdProvider`](crate::OpenIdProvider).
    OpenId,
    /// OAuth 2.0 without ID tokens: [`OAuth2Provider`](crate::OAuth2Provider).
    OAuth2(UserEndpoint),
}

/// The endpoints and claims of an OAuth 2.0 provider.
#[derive(Debug, Clone, Copy)]
pub struct UserEndpoint {
    /// The pattern of the authorization endpoint.
    pub authorization: &'static str,
    /// The pattern of the token endpoint.
    pub token: &'static str,
    /// The pattern of the user endpoint, which returns the claims of the signed-in user.
    pub user: &'static str,
    /// The pattern of the emails endpoint, if the provider has one.
    pub emails: Option<&'static str>,
    /// The path to the subject in the user endpoint's answer. Where it is empty, the configuration
    /// must give it.
    pub subject: &'static str,
    /// Additional claims, as their names and the paths to their values.
    pub claims: &'static [(&'static str, &'static str)],
    /// Headers of the requests to the user endpoint, as names and values.
    pub headers: &'static [(&'static str, &'static str)],
}

/// A value that a pattern needs, and that the configuration gives under this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// The name, in patterns and in the configuration.
    pub name: &'static str,
    /// The kind of text that the value is.
    pub kind: ParameterKind,
    /// The value that applies if the configuration gives none.
    pub default: Option<&'static str>,
    /// Whether the configuration must give a value; never where there is a default.
    pub required: bool,
    /// A value that is allowed, for examples and tests.
    pub example: &'static str,
    /// What the value means, for the reference and for messages.
    pub meaning: &'static str,
}

/// The kind of text that the value of a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterKind {
    /// A host, with a port or a path if it has one, that follows `https://` in a pattern. A value that
    /// begins with `http://` replaces that scheme too.
    Host,
    /// A part of an address other than the host.
    UrlPart,
    /// A whole URL; the pattern is the parameter alone.
    Url,
    /// A domain name, such as `example.com`.
    Domain,
    /// The id of a tenant, or one of [`SHARED_TENANTS`].
    Tenant,
    /// Visible ASCII characters other than braces.
    Text,
}

/// The names that stand for many tenants behind one discovery document.
pub const SHARED_TENANTS: [&str; 2] = ["common", "organizations"];

/// How a client authenticates at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresetAuthentication {
    /// The method that the discovery document offers:
    /// [`ClientAuthentication::Negotiated`](crate::ClientAuthentication::Negotiated).
    Negotiated,
    /// The secret in the body:
    /// [`ClientAuthentication::SecretPost`](crate::ClientAuthentication::SecretPost).
    SecretPost,
    /// [`ClientAuthentication::MintedSecret`](crate::ClientAuthentication::MintedSecret), from a key,
    /// a key id and a team id in the configuration.
    AppleKey,
}

/// The part of an authorization request that makes a provider issue a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offline {
    /// An additional scope in the authorization request: `offline_access` (OIDC Core §11).
    Scope(&'static str),
    /// An additional scope with `prompt=consent`, without which the standard has a provider ignore it
    /// (OIDC Core §11).
    ConsentedScope(&'static str),
    /// Additional parameters of the authorization request, as names and values.
    Parameters(&'static [(&'static str, &'static str)]),
    /// Nothing in the request: the provider issues one in any case, or by its own setting, or
    /// never.
    Nothing,
}

/// The values of a preset's parameters, by their names.
pub type ParameterValues = BTreeMap<String, String>;

/// A preset's patterns with the values filled in. A pattern that needs a value which is not given, or
/// not [allowed](ParameterKind::allows), is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilledPreset {
    /// The issuer and the endpoints, by the keys that replace them in the configuration: `issuer`,
    /// `authorization_endpoint`, `token_endpoint`, `user_endpoint`, `emails_endpoint`.
    pub addresses: BTreeMap<&'static str, String>,
    /// Additional parameters of the authorization request, as names and values.
    pub authorization_parameters: Vec<(String, String)>,
    /// Additional parameters of the token request, as names and values.
    pub token_parameters: Vec<(String, String)>,
    /// The `issuer` in a shared discovery document, with `{tenantid}` in it.
    pub tenant_template: Option<String>,
    /// The URL of the endpoint that lists a user's groups.
    pub group_endpoint: Option<String>,
}

impl Preset {
    /// The preset with exactly this name; `None` if there is none.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|preset| preset.name == name)
    }

    /// The preset's parameter of this name; `None` if it has none.
    pub fn parameter(&self, name: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// The patterns of the issuer and the endpoints, by the keys that replace them in the
    /// configuration.
    pub fn address_patterns(&self) -> Vec<(&'static str, &'static str)> {
        let mut patterns = vec![("issuer", self.issuer)];
        if let PresetKind::OAuth2(user) = self.kind {
            patterns.extend([
                ("authorization_endpoint", user.authorization),
                ("token_endpoint", user.token),
                ("user_endpoint", user.user),
            ]);
            patterns.extend(user.emails.map(|emails| ("emails_endpoint", emails)));
        }
        patterns
    }

    /// Fills the preset's patterns with values of its parameters.
    pub fn fill(&self, values: &ParameterValues) -> FilledPreset {
        let pairs = |patterns: &[(&str, &str)]| {
            let fill = |(name, pattern): &(&str, &str)| {
                Some(((*name).to_owned(), self.fill_pattern(pattern, values)?))
            };
            patterns.iter().filter_map(fill).collect()
        };
        let addresses = self.address_patterns().into_iter();
        let fill = |pattern| self.fill_pattern(pattern, values);
        FilledPreset {
            addresses: addresses.filter_map(|(key, pattern)| Some((key, fill(pattern)?))).collect(),
            authorization_parameters: pairs(self.authorization_parameters),
            token_parameters: pairs(self.token_parameters),
            tenant_template: self.tenant_template.and_then(fill),
            group_endpoint: self.group_endpoint.and_then(fill),
        }
    }

    fn fill_pattern(&self, pattern: &str, values: &ParameterValues) -> Option<String> {
        let mut filled = pattern.to_owned();
        for parameter in self.parameters {
            let placeholder = parameter.placeholder();
            if pattern.contains(&placeholder) {
                let given = values.get(parameter.name).map(String::as_str);
                let value = given.or(parameter.default).filter(|v| parameter.kind.allows(v))?;
                if value.starts_with("http://") && parameter.kind == ParameterKind::Host {
                    filled = filled.replace(&format!("https://{placeholder}"), value);
                }
                filled = filled.replace(&placeholder, value);
            }
        }
        Some(filled)
    }
}

impl Offline {
    /// The scope that is asked for, if there is one.
    pub fn scope(self) -> Option<&'static str> {
        match self {
            Self::Scope(scope) | Self::ConsentedScope(scope) => Some(scope),
            Self::Parameters(_) | Self::Nothing => None,
        }
    }
}

impl Parameter {
    /// The placeholder of the parameter in a pattern: `{name}`.
    pub fn placeholder(&self) -> String {
        format!("{{{}}}", self.name)
    }
}

impl ParameterKind {
    /// Whether a value can be put into a pattern: one in the middle of an address must not make
    /// another address of it.
    pub fn allows(self, value: &str) -> bool {
        let in_address =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | ':' | '/');
        let visible = |c: char| c.is_ascii_graphic() && !matches!(c, '{' | '}');
        !value.is_empty()
            && match self {
                Self::Host | Self::UrlPart | Self::Domain | Self::Tenant => {
                    value.chars().all(in_address)
                }
                Self::Url | Self::Text => value.chars().all(visible),
            }
    }
}
