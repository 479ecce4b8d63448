//! The table of known providers: what is the same for everybody who uses one.
//!
//! A new provider is a few lines of [`PLAIN`] and what differs. What no line can say is code, in
//! `quirks`.

use std::collections::BTreeMap;

use url::Url;

use crate::client_auth::ClientAuthentication;
use crate::dialect::{Dialect, GraphGroups, IssuerRule};
use crate::oauth2_config::OAuth2Endpoints;

/// A known provider. Patterns have `{names}` of parameters in them, which the configuration gives.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// What the configuration calls it.
    pub name: &'static str,
    /// What a login page calls it.
    pub display_name: &'static str,
    /// Whether it is asked by OpenID Connect or by OAuth 2.0 alone.
    pub kind: PresetKind,
    /// The pattern of its issuer.
    pub issuer: &'static str,
    /// What its patterns need to be told.
    pub parameters: &'static [Parameter],
    /// The scopes asked for unless the configuration says otherwise.
    pub scopes: &'static [&'static str],
    /// The algorithms it signs ID tokens with, by their JWS names; empty without ID tokens.
    pub id_token_algorithms: &'static [&'static str],
    /// Whether userinfo is asked besides: its ID tokens leave claims out that roles rest on.
    pub userinfo: bool,
    /// How a client authenticates there.
    pub client_authentication: PresetAuthentication,
    /// What an authorization request says besides, as names and patterns; one whose parameter is
    /// optional and not given is left out.
    pub authorization_parameters: &'static [(&'static str, &'static str)],
    /// What makes it give a refresh token with the sign-in, so that it can be asked again later.
    pub offline: Offline,
    /// What a token request says besides, likewise.
    pub token_parameters: &'static [(&'static str, &'static str)],
    /// Claims that its ID tokens must carry with this text, as names and values.
    pub required_claims: &'static [(&'static str, &'static str)],
    /// What the discovery document names as the issuer where one document is for several tenants:
    /// a pattern that keeps `{tenantid}`.
    pub tenant_template: Option<&'static str>,
    /// Where group overage is followed to, as a pattern; whether it is, the configuration says.
    pub group_endpoint: Option<&'static str>,
    /// The scope that following it needs.
    pub group_scope: Option<&'static str>,
    /// The provider's own page on this.
    pub documentation: &'static str,
}

/// How a provider is asked.
#[derive(Debug, Clone, Copy)]
pub enum PresetKind {
    /// OpenID Connect with discovery: [`OpenIdProvider`](crate::OpenIdProvider).
    OpenId,
    /// OAuth 2.0 alone: [`OAuth2Provider`](crate::OAuth2Provider).
    OAuth2(UserEndpoint),
}

/// What [`OAuth2Config`](crate::OAuth2Config) is told of a provider.
#[derive(Debug, Clone, Copy)]
pub struct UserEndpoint {
    /// The pattern of the authorization endpoint.
    pub authorization: &'static str,
    /// The pattern of the token endpoint.
    pub token: &'static str,
    /// The pattern of the user endpoint.
    pub user: &'static str,
    /// The pattern of the emails endpoint; left out if its parameter is optional and not given.
    pub emails: Option<&'static str>,
    /// The path to the subject; the configuration must give it where it is empty.
    pub subject: &'static str,
    /// More claims: their names, and the paths to their values.
    pub claims: &'static [(&'static str, &'static str)],
    /// Headers of the requests to the user endpoint, as names and values.
    pub headers: &'static [(&'static str, &'static str)],
}

/// Something that a pattern needs to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, as in the pattern.
    pub name: &'static str,
    /// What it is if the configuration does not say.
    pub default: Option<&'static str>,
    /// Whether it must be said; never where there is a default.
    pub required: bool,
    /// What it means, for the reference and for error messages.
    pub meaning: &'static str,
}

/// How a client authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresetAuthentication {
    /// As the discovery document says: [`ClientAuthentication::Negotiated`].
    Negotiated,
    /// [`ClientAuthentication::SecretPost`].
    SecretPost,
    /// [`ClientAuthentication::MintedSecret`] from a key, a key id and a team id of the configuration.
    AppleKey,
}

/// What makes a provider give a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offline {
    /// One scope more in the authorization request: `offline_access` (OIDC Core §11).
    Scope(&'static str),
    /// More parameters of the authorization request, as names and values.
    Parameters(&'static [(&'static str, &'static str)]),
    /// Nothing: one comes anyway, or what makes one come is set at the provider, or none ever does.
    Nothing,
}

/// Why a preset cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresetError {
    /// A parameter is needed and not given.
    #[error("{0} is missing: {1}")]
    Missing(&'static str, &'static str),
    /// A parameter cannot be what it is.
    #[error("{0} cannot be this: {1}")]
    Invalid(&'static str, &'static str),
    /// A parameter is given that this preset does not have.
    #[error("{0} means nothing to this preset")]
    Unknown(String),
    /// The document of several tenants is used, and none is let in.
    #[error("a tenant of common or organizations needs a list of the tenant ids that are let in")]
    Tenants,
}

/// The values of a preset's parameters, by their names.
type Values = BTreeMap<String, String>;

impl Preset {
    /// Every preset.
    pub const ALL: &'static [Self] =
        &[GOOGLE, GITHUB, OKTA, ENTRA, ADFS, APPLE, GITLAB, KEYCLOAK, AUTH0, COGNITO, OIDC, OAUTH2];

    /// The preset of this name, exactly.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|preset| preset.name == name)
    }

    /// The issuer: what is discovered, or what the identities of an OAuth 2.0 provider name.
    ///
    /// # Errors
    /// If a parameter is missing or cannot be.
    pub fn issuer(&self, values: &Values) -> Result<String, PresetError> {
        self.fill(self.issuer, values)
    }

    /// The endpoints of an OAuth 2.0 provider; none for OpenID Connect, which discovers them.
    ///
    /// # Errors
    /// If a parameter is missing or cannot be.
    pub fn endpoints(&self, values: &Values) -> Result<Option<OAuth2Endpoints>, PresetError> {
        let PresetKind::OAuth2(endpoints) = self.kind else { return Ok(None) };
        let emails = endpoints.emails.map(|emails| self.fill_optional(emails, values));
        Ok(Some(OAuth2Endpoints {
            authorization: self.fill(endpoints.authorization, values)?,
            token: self.fill(endpoints.token, values)?,
            user: self.fill(endpoints.user, values)?,
            emails: emails.transpose()?.flatten(),
        }))
    }

    /// The dialect, as far as the preset knows it: client authentication by [Apple's
    /// key](PresetAuthentication::AppleKey) and what becomes of group overage are the
    /// configuration's to add. `tenants` are the ids let in where the issuer is that of several.
    ///
    /// # Errors
    /// If a parameter is missing or cannot be, or if no tenant is let in.
    pub fn dialect(&self, values: &Values, tenants: &[String]) -> Result<Dialect, PresetError> {
        let client_authentication = match self.client_authentication {
            PresetAuthentication::SecretPost => ClientAuthentication::SecretPost,
            PresetAuthentication::Negotiated | PresetAuthentication::AppleKey => {
                ClientAuthentication::Negotiated
            }
        };
        let required_claims = self.required_claims.iter();
        Ok(Dialect {
            client_authentication,
            token_parameters: self.fill_all(self.token_parameters, values)?,
            issuer: self.issuer_rule(values, tenants)?,
            required_claims: required_claims
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Dialect::default()
        })
    }

    /// What an authorization request says besides the usual, as names and values.
    ///
    /// # Errors
    /// If a parameter is missing or cannot be.
    pub fn authorization_parameters(
        &self,
        values: &Values,
    ) -> Result<Vec<(String, String)>, PresetError> {
        self.fill_all(self.authorization_parameters, values)
    }

    /// Where group overage can be followed to, if this provider has it.
    ///
    /// # Errors
    /// If a parameter is missing or cannot be.
    pub fn graph_groups(&self, values: &Values) -> Result<Option<GraphGroups>, PresetError> {
        let Some(pattern) = self.group_endpoint else { return Ok(None) };
        let endpoint = Url::parse(&self.fill(pattern, values)?);
        let endpoint = endpoint
            .map_err(|_| PresetError::Invalid("graph", "the endpoint for groups is no URL"))?;
        Ok(Some(GraphGroups::at(endpoint)))
    }

    /// Whether every value given has a parameter.
    ///
    /// # Errors
    /// Names the first one that has none.
    pub fn check_names(&self, values: &Values) -> Result<(), PresetError> {
        let known = |name: &str| self.parameters.iter().any(|parameter| parameter.name == name);
        match values.keys().find(|name| !known(name)) {
            Some(unknown) => Err(PresetError::Unknown(unknown.clone())),
            None => Ok(()),
        }
    }

    fn issuer_rule(&self, values: &Values, tenants: &[String]) -> Result<IssuerRule, PresetError> {
        const SHARED: [&str; 2] = ["common", "organizations"];
        let Some(template) = self.tenant_template else { return Ok(IssuerRule::Exact) };
        let tenant = values.get("tenant").map_or("", String::as_str);
        match (SHARED.contains(&tenant), tenants.is_empty()) {
            (false, _) => Ok(IssuerRule::Exact),
            (true, true) => Err(PresetError::Tenants),
            (true, false) => Ok(IssuerRule::Tenants {
                template: self.fill(template, values)?,
                allowed: tenants.to_vec(),
            }),
        }
    }

    fn fill_all(
        &self,
        patterns: &[(&str, &str)],
        values: &Values,
    ) -> Result<Vec<(String, String)>, PresetError> {
        let mut filled = Vec::new();
        for (name, pattern) in patterns {
            if let Some(value) = self.fill_optional(pattern, values)? {
                filled.push(((*name).to_owned(), value));
            }
        }
        Ok(filled)
    }

    /// The pattern filled in; none if it needs something that is optional and not given.
    fn fill_optional(&self, pattern: &str, values: &Values) -> Result<Option<String>, PresetError> {
        let left_out = |parameter: &Parameter| {
            pattern.contains(&placeholder(parameter))
                && !parameter.required
                && parameter.default.is_none()
                && !values.contains_key(parameter.name)
        };
        if self.parameters.iter().any(left_out) {
            return Ok(None);
        }
        self.fill(pattern, values).map(Some)
    }

    fn fill(&self, pattern: &str, values: &Values) -> Result<String, PresetError> {
        let mut filled = pattern.to_owned();
        for parameter in self.parameters {
            let placeholder = placeholder(parameter);
            if !filled.contains(&placeholder) {
                continue;
            }
            let given = values.get(parameter.name).map(String::as_str).or(parameter.default);
            let value = given.ok_or(PresetError::Missing(parameter.name, parameter.meaning))?;
            // A value in the middle of a URL must not make another URL of it.
            let whole = pattern == placeholder;
            if value.is_empty() || !value.chars().all(|c| is_plain(c) || (whole && is_printable(c)))
            {
                return Err(PresetError::Invalid(parameter.name, parameter.meaning));
            }
            filled = filled.replace(&placeholder, value);
        }
        Ok(filled)
    }
}

fn placeholder(parameter: &Parameter) -> String {
    format!("{{{}}}", parameter.name)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | ':' | '/')
}

fn is_printable(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '{' | '}')
}

const fn required(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, default: None, required: true, meaning }
}

const fn optional(name: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, default: None, required: false, meaning }
}

const fn defaulted(name: &'static str, default: &'static str, meaning: &'static str) -> Parameter {
    Parameter { name, default: Some(default), required: false, meaning }
}

/// OpenID Connect as it is written; the others say what differs.
const PLAIN: Preset = Preset {
    name: "oidc",
    display_name: "OpenID Connect",
    kind: PresetKind::OpenId,
    issuer: "{issuer}",
    parameters: &[],
    scopes: &["openid", "profile", "email"],
    id_token_algorithms: &["RS256"],
    userinfo: false,
    client_authentication: PresetAuthentication::Negotiated,
    authorization_parameters: &[],
    offline: Offline::Scope("offline_access"),
    token_parameters: &[],
    required_claims: &[],
    tenant_template: None,
    group_endpoint: None,
    group_scope: None,
    documentation: "https://openid.net/specs/openid-connect-core-1_0.html",
};

const OIDC: Preset = Preset {
    parameters: &[required(
        "issuer",
        "the issuer identifier, exactly as the discovery document has it",
    )],
    id_token_algorithms: &["RS256", "ES256", "PS256", "EdDSA"],
    ..PLAIN
};

/// The optional restriction to one Workspace domain is [`Dialect::with_hosted_domain`]; `hd` in the
/// request only chooses the accounts that are offered.
const GOOGLE: Preset = Preset {
    name: "google",
    display_name: "Google",
    issuer: "https://accounts.google.com",
    parameters: &[optional("hosted_domain", "the Google Workspace domain whose people are let in")],
    authorization_parameters: &[("hd", "{hosted_domain}")],
    // Google has no such scope, and gives a token again only to who is asked for consent again.
    offline: Offline::Parameters(&[("access_type", "offline"), ("prompt", "consent")]),
    documentation: "https://developers.google.com/identity/openid-connect/openid-connect",
    ..PLAIN
};

/// An enterprise server has its API under its own domain: `api = "github.example.com/api/v3"`.
const GITHUB: Preset = Preset {
    name: "github",
    display_name: "GitHub",
    kind: PresetKind::OAuth2(UserEndpoint {
        authorization: "https://{domain}/login/oauth/authorize",
        token: "https://{domain}/login/oauth/access_token",
        user: "https://{api}/user",
        emails: Some("https://{api}/user/emails"),
        // Logins change hands; ids do not.
        subject: "id",
        claims: &[("preferred_username", "login"), ("picture", "avatar_url")],
        headers: &[
            ("Accept", "application/vnd.github+json"),
            ("X-GitHub-Api-Version", "2022-11-28"),
        ],
    }),
    issuer: "https://{domain}",
    parameters: &[
        defaulted("domain", "github.com", "the server's domain"),
        defaulted("api", "api.github.com", "the API's domain and path"),
    ],
    scopes: &["read:user", "user:email"],
    id_token_algorithms: &[],
    client_authentication: PresetAuthentication::SecretPost,
    // An OAuth app gets none; for a GitHub App it is set there that its tokens expire.
    offline: Offline::Nothing,
    documentation: "https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps",
    ..PLAIN
};

/// With an access token beside it the ID token is a thin one, and the rest is in userinfo.
const OKTA: Preset = Preset {
    name: "okta",
    display_name: "Okta",
    issuer: "https://{domain}/oauth2/{server}",
    parameters: &[
        required("domain", "your Okta domain, such as example.okta.com"),
        defaulted("server", "default", "the id of the authorization server"),
    ],
    userinfo: true,
    documentation: "https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/",
    ..PLAIN
};

/// Sovereign clouds are other domains: `login.microsoftonline.us` with `graph.microsoft.us`,
/// `login.partner.microsoftonline.cn` with `microsoftgraph.chinacloudapi.cn`.
const ENTRA: Preset = Preset {
    name: "entra",
    display_name: "Microsoft",
    issuer: "https://{domain}/{tenant}/v2.0",
    parameters: &[
        required(
            "tenant",
            "the tenant's id (a GUID, not its domain name), or common or organizations with a list of tenants",
        ),
        defaulted("domain", "login.microsoftonline.com", "the domain of the cloud"),
        defaulted("graph", "graph.microsoft.com", "the domain of the cloud's Microsoft Graph"),
    ],
    tenant_template: Some("https://{domain}/{tenantid}/v2.0"),
    group_endpoint: Some("https://{graph}/v1.0/me/getMemberObjects"),
    group_scope: Some("User.Read"),
    documentation: "https://learn.microsoft.com/en-us/entra/identity-platform/v2-protocols-oidc",
    ..PLAIN
};

/// ID tokens name the discovery document's `issuer`; its `access_token_issuer` is in access tokens
/// alone ([MS-OIDCE] §2.2.3.2), which are none of ours to read. `upn` is a claim for role rules; who
/// somebody is, `sub` says.
///
/// [MS-OIDCE], "OpenID Provider Metadata":
/// <https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-oidce/586de7dd-3385-47c7-93a2-935d9e90441c>
/// [MS-OAPX], "Common URI Parameters" (`resource`, required by older farms):
/// <https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-oapx/65aeaef4-5553-43cd-b778-6e89f126717c>
const ADFS: Preset = Preset {
    name: "adfs",
    display_name: "AD FS",
    issuer: "https://{domain}/adfs",
    parameters: &[
        required("domain", "the name of the federation service"),
        optional("resource", "the identifier of the web API whose claim rules apply"),
    ],
    // What else there is to say of somebody is in the claims of the resource, which this scope puts
    // into the ID token.
    scopes: &["openid", "allatclaims"],
    authorization_parameters: &[("resource", "{resource}")],
    token_parameters: &[("resource", "{resource}")],
    // One comes by itself; how long it lives, the farm's single sign-on settings say.
    offline: Offline::Nothing,
    documentation: "https://learn.microsoft.com/en-us/windows-server/identity/ad-fs/development/ad-fs-openid-connect-oauth-concepts",
    ..PLAIN
};

/// Asked for a name or an address, Apple answers by POST. A refresh token comes with every code;
/// Apple may refuse to be asked with it more than once a day.
///
/// Apple, "Verifying a user":
/// <https://developer.apple.com/documentation/signinwithapple/verifying-a-user>
const APPLE: Preset = Preset {
    name: "apple",
    display_name: "Apple",
    issuer: "https://appleid.apple.com",
    scopes: &["openid", "name", "email"],
    client_authentication: PresetAuthentication::AppleKey,
    authorization_parameters: &[("response_mode", "form_post")],
    offline: Offline::Nothing,
    documentation: "https://developer.apple.com/documentation/signinwithapplerestapi",
    ..PLAIN
};

/// `groups` are in userinfo alone; an ID token has those of direct members, as `groups_direct`.
const GITLAB: Preset = Preset {
    name: "gitlab",
    display_name: "GitLab",
    issuer: "https://{domain}",
    parameters: &[defaulted("domain", "gitlab.com", "the server's domain")],
    userinfo: true,
    // One comes with every code; a scope that GitLab does not know would be an error.
    offline: Offline::Nothing,
    documentation: "https://docs.gitlab.com/integration/openid_connect_provider/",
    ..PLAIN
};

/// A refresh token comes by itself, but ends with the person's session at Keycloak, which idles out in
/// half an hour unless the realm says otherwise. With the scope it outlives that.
const KEYCLOAK: Preset = Preset {
    name: "keycloak",
    display_name: "Keycloak",
    issuer: "https://{domain}/realms/{realm}",
    parameters: &[
        required("domain", "the server's domain, with its path if it has one"),
        required("realm", "the realm"),
    ],
    documentation: "https://www.keycloak.org/securing-apps/oidc-layers",
    ..PLAIN
};

/// The issuer ends with a slash.
const AUTH0: Preset = Preset {
    name: "auth0",
    display_name: "Auth0",
    issuer: "https://{domain}/",
    parameters: &[
        required("domain", "the tenant's domain, such as example.eu.auth0.com"),
        optional("audience", "the identifier of the API that the access token is for"),
    ],
    authorization_parameters: &[("audience", "{audience}")],
    token_parameters: &[("audience", "{audience}")],
    documentation: "https://auth0.com/docs/get-started/applications/configure-applications-with-oidc-discovery",
    ..PLAIN
};

/// Its tokens say in `token_use` what they are. A refresh token comes with every code.
///
/// AWS, "Verifying JSON web tokens":
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html>
const COGNITO: Preset = Preset {
    name: "cognito",
    display_name: "Amazon Cognito",
    issuer: "https://cognito-idp.{region}.amazonaws.com/{pool}",
    parameters: &[
        required("region", "the region, such as eu-central-1"),
        required("pool", "the id of the user pool, such as eu-central-1_AbCdEfGhI"),
    ],
    required_claims: &[("token_use", "id")],
    offline: Offline::Nothing,
    documentation: "https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-id-token.html",
    ..PLAIN
};

const OAUTH2: Preset = Preset {
    name: "oauth2",
    display_name: "OAuth 2.0",
    kind: PresetKind::OAuth2(UserEndpoint {
        authorization: "{authorization_endpoint}",
        token: "{token_endpoint}",
        user: "{user_endpoint}",
        emails: Some("{emails_endpoint}"),
        subject: "",
        claims: &[],
        headers: &[],
    }),
    parameters: &[
        required("issuer", "what identities name as their issuer, the same for ever"),
        required("authorization_endpoint", "the URL that people are sent to"),
        required("token_endpoint", "the URL where codes are exchanged"),
        required("user_endpoint", "the URL that says who somebody is"),
        optional("emails_endpoint", "the URL that lists somebody's email addresses"),
    ],
    scopes: &[],
    id_token_algorithms: &[],
    // What its provider wants, only the operator knows.
    offline: Offline::Nothing,
    documentation: "https://www.rfc-editor.org/rfc/rfc6749",
    ..PLAIN
};

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn preset(name: &str) -> &'static Preset {
        Preset::find(name).unwrap()
    }

    /// What every parameter of a preset could be.
    fn samples(preset: &Preset) -> Values {
        let sample = |name: &str| match name {
            "issuer"
            | "authorization_endpoint"
            | "token_endpoint"
            | "user_endpoint"
            | "emails_endpoint" => format!("https://idp.example.com/{name}?a=b"),
            "tenant" => "72f988bf-86f1-41af-91ab-2d7cd011db47".to_owned(),
            "resource" => "urn:example:mintgate".to_owned(),
            _ => "idp.example.com".to_owned(),
        };
        preset.parameters.iter().map(|p| (p.name.to_owned(), sample(p.name))).collect()
    }

    #[test]
    fn every_provider_there_is_to_be_is_there() {
        let names: Vec<_> = Preset::ALL.iter().map(|preset| preset.name).collect();
        let expected = [
            "google", "github", "okta", "entra", "adfs", "apple", "gitlab", "keycloak", "auth0",
            "cognito", "oidc", "oauth2",
        ];
        assert_eq!(names, expected);
        for name in ["Google", "google ", "", "azure"] {
            assert!(Preset::find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_pattern_is_filled_by_the_parameters_its_preset_names() {
        for preset in Preset::ALL {
            let values = samples(preset);
            preset.check_names(&values).unwrap();
            let mut texts = vec![preset.issuer(&values).unwrap()];
            if let Some(endpoints) = preset.endpoints(&values).unwrap() {
                texts.extend([endpoints.authorization, endpoints.token, endpoints.user]);
                texts.extend(endpoints.emails);
            }
            texts.extend(preset.graph_groups(&values).unwrap().map(|g| g.endpoint.to_string()));
            for text in &texts {
                let url = Url::parse(text).unwrap();
                assert!(url.scheme() == "https" && !text.contains(['{', '}']), "{text}");
            }
            let dialect = preset.dialect(&values, &[]).unwrap();
            let sent = preset.authorization_parameters(&values).unwrap();
            for (_, value) in dialect.token_parameters.iter().chain(&sent) {
                assert!(!value.contains('{'), "{}: {value}", preset.name);
            }
            let openid = matches!(preset.kind, PresetKind::OpenId);
            assert_eq!(openid, !preset.id_token_algorithms.is_empty(), "{}", preset.name);
            assert_eq!(openid, preset.scopes.contains(&"openid"), "{}", preset.name);
            assert!(preset.documentation.starts_with("https://"));
            for parameter in preset.parameters {
                assert!(!(parameter.required && parameter.default.is_some()));
            }
        }
    }

    #[test]
    fn a_refresh_token_is_asked_for_as_each_provider_wants_it() {
        let scope = Offline::Scope("offline_access");
        for (name, offline) in [
            ("google", Offline::Parameters(&[("access_type", "offline"), ("prompt", "consent")])),
            ("github", Offline::Nothing),
            ("okta", scope),
            ("entra", scope),
            ("adfs", Offline::Nothing),
            ("apple", Offline::Nothing),
            ("gitlab", Offline::Nothing),
            ("keycloak", scope),
            ("auth0", scope),
            ("cognito", Offline::Nothing),
            ("oidc", scope),
            ("oauth2", Offline::Nothing),
        ] {
            let preset = preset(name);
            assert_eq!(preset.offline, offline, "{name}");
            // Who is not asked again leaves no such token behind.
            assert!(!preset.scopes.contains(&"offline_access"), "{name}");
        }
    }

    #[test]
    fn issuers_are_what_the_providers_say() {
        for (name, given, issuer) in [
            ("google", &[][..], "https://accounts.google.com"),
            ("github", &[], "https://github.com"),
            ("okta", &[("domain", "x.okta.com")], "https://x.okta.com/oauth2/default"),
            ("entra", &[("tenant", "common")], "https://login.microsoftonline.com/common/v2.0"),
            (
                "entra",
                &[("tenant", "t"), ("domain", "login.microsoftonline.us")],
                "https://login.microsoftonline.us/t/v2.0",
            ),
            ("adfs", &[("domain", "fs.x.com")], "https://fs.x.com/adfs"),
            ("apple", &[], "https://appleid.apple.com"),
            ("gitlab", &[], "https://gitlab.com"),
            (
                "keycloak",
                &[("domain", "x.com:8443/auth"), ("realm", "r")],
                "https://x.com:8443/auth/realms/r",
            ),
            ("auth0", &[("domain", "x.eu.auth0.com")], "https://x.eu.auth0.com/"),
            (
                "cognito",
                &[("region", "eu-central-1"), ("pool", "eu-central-1_X")],
                "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_X",
            ),
            ("oidc", &[("issuer", "https://x.com/t/")], "https://x.com/t/"),
        ] {
            assert_eq!(preset(name).issuer(&values(given)).unwrap(), issuer);
        }
    }

    #[test]
    fn what_is_missing_unknown_or_no_value_is_named() {
        let okta = preset("okta");
        assert!(matches!(okta.issuer(&Values::new()), Err(PresetError::Missing("domain", _))));
        let unknown = okta.check_names(&values(&[("domian", "x")]));
        assert_eq!(unknown, Err(PresetError::Unknown("domian".to_owned())));
        for domain in ["", "x y", "evil.com#", "evil.com?", "u@evil.com", "{server}", "x\n", "é"] {
            let filled = okta.issuer(&values(&[("domain", domain)]));
            assert!(matches!(filled, Err(PresetError::Invalid("domain", _))), "{domain}");
        }
    }

    #[test]
    fn a_shared_document_of_tenants_needs_a_list_of_them() {
        let entra = preset("entra");
        let tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47".to_owned();
        for shared in ["common", "organizations"] {
            let values = values(&[("tenant", shared)]);
            assert_eq!(entra.dialect(&values, &[]).unwrap_err(), PresetError::Tenants);
            let dialect = entra.dialect(&values, std::slice::from_ref(&tenant)).unwrap();
            let rule = IssuerRule::Tenants {
                template: "https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(),
                allowed: vec![tenant.clone()],
            };
            assert_eq!(dialect.issuer, rule);
        }
        let single = entra.dialect(&values(&[("tenant", &tenant)]), &[]).unwrap();
        assert_eq!(single.issuer, IssuerRule::Exact);
    }

    #[test]
    fn optional_parameters_are_sent_where_they_are_given() {
        let adfs = preset("adfs");
        let without = values(&[("domain", "fs.x.com")]);
        assert_eq!(adfs.dialect(&without, &[]).unwrap().token_parameters, []);
        let with = values(&[("domain", "fs.x.com"), ("resource", "urn:a?b#c")]);
        let resource = [("resource".to_owned(), "urn:a?b#c".to_owned())];
        assert_eq!(adfs.dialect(&with, &[]).unwrap().token_parameters, resource);
        assert_eq!(adfs.authorization_parameters(&with).unwrap(), resource);
        let oauth2 = preset("oauth2");
        let mut given = samples(oauth2);
        given.remove("emails_endpoint");
        assert_eq!(oauth2.endpoints(&given).unwrap().unwrap().emails, None);
    }
}
