//! The table of presets: what is the same for everybody who uses a provider.
//!
//! A new provider is an entry of this table, which says how it differs from [`PLAIN`]. What an entry
//! cannot say needs code in `quirks`.

use crate::dialect::EmailRule;
use crate::preset::{
    Offline, Parameter, ParameterKind, Preset, PresetAuthentication, PresetKind, UserEndpoint,
};

impl Preset {
    /// Every preset, in the order of the documentation.
    pub const ALL: &'static [Self] =
        &[GOOGLE, GITHUB, OKTA, ENTRA, ADFS, APPLE, GITLAB, KEYCLOAK, AUTH0, COGNITO, OIDC, OAUTH2];
}

const fn required(
    name: &'static str,
    kind: ParameterKind,
    example: &'static str,
    meaning: &'static str,
) -> Parameter {
    Parameter { name, kind, default: None, required: true, example, meaning }
}

const fn optional(
    name: &'static str,
    kind: ParameterKind,
    example: &'static str,
    meaning: &'static str,
) -> Parameter {
    Parameter { required: false, ..required(name, kind, example, meaning) }
}

const fn defaulted(
    name: &'static str,
    kind: ParameterKind,
    default: &'static str,
    meaning: &'static str,
) -> Parameter {
    Parameter { default: Some(default), ..optional(name, kind, default, meaning) }
}

/// Plain OpenID Connect; every other entry says how it differs.
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
    domain_hint: None,
    logout_redirect_parameter: "post_logout_redirect_uri",
    offline: Offline::Scope("offline_access"),
    token_parameters: &[],
    required_claims: &[],
    email: EmailRule::Standard,
    tenant_template: None,
    group_endpoint: None,
    group_scope: None,
    no_probe: None,
    documentation: "https://openid.net/specs/openid-connect-core-1_0.html",
};

const OIDC: Preset = Preset {
    parameters: &[required(
        "issuer",
        ParameterKind::Url,
        "https://idp.example.com",
        "the issuer identifier, exactly as the discovery document has it",
    )],
    // Each is asymmetric, and every one of them is accepted until the configuration names fewer.
    id_token_algorithms: &["RS256", "ES256", "PS256", "EdDSA"],
    offline: Offline::ConsentedScope("offline_access"),
    ..PLAIN
};

/// A restriction to one Workspace domain rests on the claim `hd`
/// ([`Dialect::with_hosted_domain`](crate::Dialect::with_hosted_domain)); `hd` in the request only
/// chooses which accounts Google offers.
const GOOGLE: Preset = Preset {
    name: "google",
    display_name: "Google",
    issuer: "https://accounts.google.com",
    parameters: &[optional(
        "hosted_domain",
        ParameterKind::Domain,
        "example.com",
        "the Google Workspace domain whose people are let in",
    )],
    authorization_parameters: &[("hd", "{hosted_domain}")],
    domain_hint: Some("hd"),
    // Google has no scope for it, and issues another refresh token only after another consent.
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
        // A login name can pass to another person; an id cannot.
        subject: "id",
        claims: &[("preferred_username", "login"), ("picture", "avatar_url")],
        headers: &[
            ("Accept", "application/vnd.github+json"),
            ("X-GitHub-Api-Version", "2022-11-28"),
        ],
    }),
    issuer: "https://{domain}",
    parameters: &[
        defaulted("domain", ParameterKind::Host, "github.com", "the server's domain"),
        defaulted("api", ParameterKind::Host, "api.github.com", "the API's domain and path"),
    ],
    scopes: &["read:user", "user:email"],
    id_token_algorithms: &[],
    client_authentication: PresetAuthentication::SecretPost,
    // An OAuth app gets none; a GitHub App gets one if its tokens are set to expire.
    offline: Offline::Nothing,
    documentation: "https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps",
    ..PLAIN
};

/// An ID token that comes with an access token has few claims; the others are in userinfo.
const OKTA: Preset = Preset {
    name: "okta",
    display_name: "Okta",
    issuer: "https://{domain}/oauth2/{server}",
    parameters: &[
        required(
            "domain",
            ParameterKind::Host,
            "example.okta.com",
            "your Okta domain, such as example.okta.com",
        ),
        defaulted(
            "server",
            ParameterKind::UrlPart,
            "default",
            "the id of the authorization server",
        ),
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
            ParameterKind::Tenant,
            "72f988bf-86f1-41af-91ab-2d7cd011db47",
            "the tenant's id (a GUID, not its domain name), or common or organizations with a list of tenants",
        ),
        defaulted(
            "domain",
            ParameterKind::Host,
            "login.microsoftonline.com",
            "the domain of the cloud",
        ),
        defaulted(
            "graph",
            ParameterKind::Host,
            "graph.microsoft.com",
            "the domain of the cloud's Microsoft Graph",
        ),
    ],
    domain_hint: Some("domain_hint"),
    email: EmailRule::DomainOwner,
    tenant_template: Some("https://{domain}/{tenantid}/v2.0"),
    group_endpoint: Some("https://{graph}/v1.0/me/getMemberObjects"),
    group_scope: Some("User.Read"),
    documentation: "https://learn.microsoft.com/en-us/entra/identity-platform/v2-protocols-oidc",
    ..PLAIN
};

/// ID tokens name the discovery document's `issuer`; its `access_token_issuer` is in access tokens
/// alone ([MS-OIDCE] §2.2.3.2), which Mintgate does not read. `upn` is a claim for role rules; a
/// person's identity is `sub`.
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
        required(
            "domain",
            ParameterKind::Host,
            "fs.example.com",
            "the name of the federation service",
        ),
        optional(
            "resource",
            ParameterKind::Text,
            "urn:example:mintgate",
            "the identifier of the web API whose claim rules apply",
        ),
    ],
    // This scope puts the claims of the resource into the ID token.
    scopes: &["openid", "allatclaims"],
    authorization_parameters: &[("resource", "{resource}")],
    token_parameters: &[("resource", "{resource}")],
    // AD FS always issues one; its life is a setting of the farm's single sign-on.
    offline: Offline::Nothing,
    documentation: "https://learn.microsoft.com/en-us/windows-server/identity/ad-fs/development/ad-fs-openid-connect-oauth-concepts",
    ..PLAIN
};

/// Apple answers an authorization request with the scopes `name` or `email` by POST. Every code yields
/// a refresh token; Apple may refuse to be asked with it more than once a day.
///
/// Apple, "Verifying a user":
/// <https://developer.apple.com/documentation/signinwithapple/verifying-a-user>
const APPLE: Preset = Preset {
    name: "apple",
    display_name: "Apple",
    issuer: "https://appleid.apple.com",
    scopes: &["openid", "name", "email"],
    client_authentication: PresetAuthentication::AppleKey,
    email: EmailRule::Text,
    authorization_parameters: &[("response_mode", "form_post")],
    offline: Offline::Nothing,
    no_probe: Some("Apple may throttle a server that asks it needlessly"),
    documentation: "https://developer.apple.com/documentation/signinwithapplerestapi",
    ..PLAIN
};

/// The claim `groups` is in userinfo alone; an ID token has `groups_direct`, the direct memberships.
const GITLAB: Preset = Preset {
    name: "gitlab",
    display_name: "GitLab",
    issuer: "https://{domain}",
    parameters: &[defaulted("domain", ParameterKind::Host, "gitlab.com", "the server's domain")],
    userinfo: true,
    // Every code yields one; GitLab would refuse a scope that it does not know.
    offline: Offline::Nothing,
    documentation: "https://docs.gitlab.com/integration/openid_connect_provider/",
    ..PLAIN
};

/// Every code yields a refresh token. Without the scope `offline_access` it ends with the person's session
/// at Keycloak: after a sign-out there, after half an hour without activity, after ten hours at most (by
/// Keycloak's defaults). With that scope it outlives the session, and Keycloak sends no logout token.
const KEYCLOAK: Preset = Preset {
    name: "keycloak",
    display_name: "Keycloak",
    issuer: "https://{domain}/realms/{realm}",
    parameters: &[
        required(
            "domain",
            ParameterKind::Host,
            "id.example.com/auth",
            "the server's domain, with its path if it has one",
        ),
        required("realm", ParameterKind::UrlPart, "staff", "the realm"),
    ],
    offline: Offline::Nothing,
    documentation: "https://www.keycloak.org/securing-apps/oidc-layers",
    ..PLAIN
};

/// The issuer ends with a slash.
const AUTH0: Preset = Preset {
    name: "auth0",
    display_name: "Auth0",
    issuer: "https://{domain}/",
    parameters: &[
        required(
            "domain",
            ParameterKind::Host,
            "example.eu.auth0.com",
            "the tenant's domain, such as example.eu.auth0.com",
        ),
        optional(
            "audience",
            ParameterKind::Text,
            "https://api.example.com",
            "the identifier of the API that the access token is for",
        ),
    ],
    authorization_parameters: &[("audience", "{audience}")],
    token_parameters: &[("audience", "{audience}")],
    documentation: "https://auth0.com/docs/get-started/applications/configure-applications-with-oidc-discovery",
    ..PLAIN
};

/// Cognito's tokens say in `token_use` which kind they are. Every code yields a refresh token. Its
/// logout endpoint has parameters of its own.
///
/// AWS, "Logout endpoint":
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/logout-endpoint.html>
/// AWS, "Verifying JSON web tokens":
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html>
const COGNITO: Preset = Preset {
    name: "cognito",
    display_name: "Amazon Cognito",
    issuer: "https://cognito-idp.{region}.amazonaws.com/{pool}",
    parameters: &[
        required(
            "region",
            ParameterKind::UrlPart,
            "eu-central-1",
            "the region, such as eu-central-1",
        ),
        required(
            "pool",
            ParameterKind::UrlPart,
            "eu-central-1_AbCdEfGhI",
            "the id of the user pool, such as eu-central-1_AbCdEfGhI",
        ),
    ],
    required_claims: &[("token_use", "id")],
    logout_redirect_parameter: "logout_uri",
    email: EmailRule::Text,
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
        required(
            "issuer",
            ParameterKind::Url,
            "https://hub.example.com",
            "what identities name as their issuer, the same for ever",
        ),
        required(
            "authorization_endpoint",
            ParameterKind::Url,
            "https://hub.example.com/authorize?x=y",
            "the URL that people are sent to",
        ),
        required(
            "token_endpoint",
            ParameterKind::Url,
            "https://hub.example.com/token",
            "the URL where codes are exchanged",
        ),
        required(
            "user_endpoint",
            ParameterKind::Url,
            "https://api.hub.example.com/user",
            "the URL that says who somebody is",
        ),
        optional(
            "emails_endpoint",
            ParameterKind::Url,
            "https://api.hub.example.com/emails",
            "the URL that lists somebody's email addresses",
        ),
    ],
    scopes: &[],
    id_token_algorithms: &[],
    // Only the operator knows what this provider wants.
    offline: Offline::Nothing,
    documentation: "https://www.rfc-editor.org/rfc/rfc6749",
    ..PLAIN
};

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::preset::ParameterValues;

    fn values(pairs: &[(&str, &str)]) -> ParameterValues {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn preset(name: &str) -> &'static Preset {
        Preset::find(name).unwrap()
    }

    fn issuer(name: &str, given: &[(&str, &str)]) -> Option<String> {
        preset(name).fill(&values(given)).addresses.remove("issuer")
    }

    /// The example of every parameter.
    fn examples(preset: &Preset) -> ParameterValues {
        preset.parameters.iter().map(|p| (p.name.to_owned(), p.example.to_owned())).collect()
    }

    #[test]
    fn every_preset_has_a_name_of_its_own_and_is_found_by_it_exactly() {
        for preset in Preset::ALL {
            let name = preset.name;
            let namesakes = Preset::ALL.iter().filter(|other| other.name == name);
            assert_eq!(namesakes.count(), 1, "{name}");
            assert!(Preset::find(&name.to_uppercase()).is_none(), "{name}");
            assert!(Preset::find(&format!("{name} ")).is_none(), "{name}");
        }
        assert!(Preset::find("").is_none());
    }

    #[test]
    fn every_pattern_is_filled_by_the_parameters_its_preset_names() {
        for preset in Preset::ALL {
            let filled = preset.fill(&examples(preset));
            assert_eq!(filled.addresses.len(), preset.address_patterns().len(), "{}", preset.name);
            let addresses = filled.addresses.values().chain(&filled.group_endpoint);
            for text in addresses {
                let url = Url::parse(text).unwrap();
                assert!(url.scheme() == "https" && !text.contains(['{', '}']), "{text}");
            }
            let sent = filled.token_parameters.iter().chain(&filled.authorization_parameters);
            for (_, value) in sent {
                assert!(!value.contains('{'), "{}: {value}", preset.name);
            }
            let openid = matches!(preset.kind, PresetKind::OpenId);
            assert_eq!(openid, !preset.id_token_algorithms.is_empty(), "{}", preset.name);
            assert_eq!(openid, preset.scopes.contains(&"openid"), "{}", preset.name);
            // A provider that is not asked again has no such token to leave behind.
            assert!(!preset.scopes.contains(&"offline_access"), "{}", preset.name);
            assert!(preset.documentation.starts_with("https://"));
            for parameter in preset.parameters {
                assert!(!(parameter.required && parameter.default.is_some()));
                assert!(parameter.kind.allows(parameter.example), "{}", parameter.example);
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
            ("keycloak", Offline::Nothing),
            ("auth0", scope),
            ("cognito", Offline::Nothing),
            ("oidc", Offline::ConsentedScope("offline_access")),
            ("oauth2", Offline::Nothing),
        ] {
            assert_eq!(preset(name).offline, offline, "{name}");
        }
    }

    #[test]
    fn issuers_are_what_the_providers_say() {
        for (name, given, expected) in [
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
            (
                "keycloak",
                &[("domain", "http://localhost:1"), ("realm", "r")],
                "http://localhost:1/realms/r",
            ),
            ("auth0", &[("domain", "x.eu.auth0.com")], "https://x.eu.auth0.com/"),
            (
                "cognito",
                &[("region", "eu-central-1"), ("pool", "eu-central-1_X")],
                "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_X",
            ),
            ("oidc", &[("issuer", "https://x.com/t/")], "https://x.com/t/"),
        ] {
            assert_eq!(issuer(name, given).unwrap(), expected);
        }
    }

    #[test]
    fn a_value_that_would_make_another_address_fills_no_pattern() {
        assert_eq!(issuer("okta", &[]), None);
        for domain in ["", "x y", "evil.com#", "evil.com?", "u@evil.com", "{server}", "x\n", "é"] {
            assert_eq!(issuer("okta", &[("domain", domain)]), None, "{domain}");
        }
    }

    #[test]
    fn optional_parameters_are_sent_where_they_are_given() {
        let adfs = preset("adfs");
        let without = adfs.fill(&values(&[("domain", "fs.x.com")]));
        assert_eq!(without.token_parameters, []);
        let with = adfs.fill(&values(&[("domain", "fs.x.com"), ("resource", "urn:a?b#c")]));
        let resource = [("resource".to_owned(), "urn:a?b#c".to_owned())];
        assert_eq!(with.token_parameters, resource);
        assert_eq!(with.authorization_parameters, resource);
    }

    #[test]
    fn the_template_of_tenants_keeps_the_place_of_their_ids() {
        let filled = preset("entra").fill(&values(&[("tenant", "common")]));
        let template = "https://login.microsoftonline.com/{tenantid}/v2.0";
        assert_eq!(filled.tenant_template.unwrap(), template);
    }
}
