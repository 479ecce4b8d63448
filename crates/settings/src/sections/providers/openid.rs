//! The keys that only a provider of OpenID Connect has: they are about ID tokens.

use std::time::Duration;

use mintgate_config_reader::{Invalid, Section, invalid, key, unknown_name};
use mintgate_domain::{LogoutScope, NonceRule};
use mintgate_identity_openid::{
    Dialect, EmailRule, GraphGroups, GroupOverage, IssuerRule, OpenIdConfig, Preset,
};
use url::Url;

use super::client::has_secret;
use super::location::Location;
use super::preset::SelectedPreset;
use super::{ProviderClient, owned};
use crate::rules;
use crate::types::ProviderConfig;

const NONCE_RULES: [(&str, NonceRule); 3] =
    [("auto", NonceRule::Auto), ("required", NonceRule::Required), ("off", NonceRule::Off)];

const ASYMMETRIC: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
const SYMMETRIC: [&str; 3] = ["HS256", "HS384", "HS512"];

/// The values of the key `group_overage`.
#[derive(Clone, Copy)]
enum Overage {
    Ignore,
    Refuse,
    Follow,
}

const OVERAGES: [(&str, Overage); 3] =
    [("ignore", Overage::Ignore), ("refuse", Overage::Refuse), ("follow", Overage::Follow)];

/// The values of the keys that only OpenID Connect providers have.
pub(super) struct OpenIdKeys {
    pub(super) nonce: NonceRule,
    pub(super) id_token_algorithms: Vec<String>,
    pub(super) userinfo: bool,
    pub(super) group_overage: GroupOverage,
    trusted_audiences: Vec<String>,
    authorized_parties: Vec<String>,
    email: EmailRule,
}

impl OpenIdKeys {
    /// The configuration of the adapter
    /// [`OpenIdProvider`](mintgate_identity_openid::OpenIdProvider).
    pub(super) fn config(
        self,
        client: ProviderClient,
        issuer: IssuerRule,
        preset: &Preset,
        hosted_domain: Option<&str>,
        max_age: Option<Duration>,
    ) -> ProviderConfig {
        let dialect = Dialect {
            client_authentication: client.client_authentication,
            token_parameters: client.token_parameters,
            issuer,
            group_overage: self.group_overage,
            required_claims: owned(preset.required_claims),
            trusted_audiences: self.trusted_audiences,
            authorized_parties: self.authorized_parties,
            lacks_nonce: self.nonce == NonceRule::Off,
            max_age,
            email: self.email,
        };
        let dialect = match hosted_domain {
            Some(domain) => dialect.with_hosted_domain(domain),
            None => dialect,
        };
        let config = OpenIdConfig {
            id: client.id,
            issuer: client.issuer,
            client_id: client.client_id,
            client_secret: client.client_secret,
            id_token_algorithms: self.id_token_algorithms,
            userinfo: self.userinfo,
            network: client.network,
        };
        ProviderConfig::OpenId(config, dialect)
    }
}

/// Reads these keys; `None` for a provider without ID tokens.
pub(super) fn openid(
    s: &mut Section<'_>,
    selected: SelectedPreset,
    location: &Location,
) -> Option<OpenIdKeys> {
    let nonce = s.choice(
        key(
            "nonce",
            "`required`: Mintgate refuses a sign-in without `nonce`. `auto`: Mintgate compares the \
             nonce where the ID token has one. `off`, for a provider that never returns a nonce: an \
             ID token without one is accepted for a code with a PKCE verifier; one that is there must \
             be right, and a posted `idToken` needs it.",
        )
        .default("auto")
        .forbidden(selected.unless_openid()),
        &NONCE_RULES,
    );
    let trusted_audiences = s.list(
        key(
            "trusted_audiences",
            "Other audiences that an ID token or logout token may have besides `client_id`, for \
             example the id of a ZITADEL project. A token with any other is refused, and so is an ID \
             token for several audiences whose `azp` is not `client_id` (OIDC Core §3.1.3.7).",
        )
        .default([])
        .forbidden(selected.unless_openid()),
        "list of audiences",
        rules::non_empty,
    );
    let authorized_parties = s.list(
        key(
            "authorized_parties",
            "Other client ids that `azp` may name where `client_id` is the only audience, for \
             example those of the Android and iOS apps of the same Google project.",
        )
        .default([])
        .forbidden(selected.unless_openid()),
        "list of client ids",
        rules::non_empty,
    );
    let email = email(s, selected, location);
    let id_token_algorithms = id_token_algorithms(s, selected);
    let userinfo = s.flag(
        key("userinfo", "Whether Mintgate asks the userinfo endpoint in addition to the ID token.")
            .default_from("the preset's", selected.0.map(|preset| preset.userinfo))
            .forbidden(selected.unless_openid()),
    );
    let overage = s.choice(
        key(
            "group_overage",
            "`entra`: what happens to a person in more groups than an ID token holds. `ignore`: the \
             sign-in succeeds without groups. `refuse`: the sign-in fails. `follow`: Mintgate asks \
             Microsoft Graph for the groups.",
        )
        .default("ignore")
        .forbidden(selected.unless(|preset| preset.group_endpoint.is_some())),
        &OVERAGES,
    );
    selected.openid()?;
    let group_overage = match overage {
        None | Some(Overage::Ignore) => GroupOverage::Ignore,
        Some(Overage::Refuse) => GroupOverage::Refuse,
        Some(Overage::Follow) => {
            let endpoint = location.filled.as_ref()?.group_endpoint.as_deref()?;
            GroupOverage::Follow(GraphGroups::at(Url::parse(endpoint).ok()?))
        }
    };
    Some(OpenIdKeys {
        nonce: nonce?,
        id_token_algorithms: id_token_algorithms?,
        userinfo: userinfo?,
        group_overage,
        trusted_audiences: trusted_audiences?,
        authorized_parties: authorized_parties?,
        email: email?,
    })
}

/// Reads the key `logout_sid`.
pub(super) fn logout_scope(s: &mut Section<'_>, selected: SelectedPreset) -> Option<LogoutScope> {
    s.choice(
        key(
            "logout_sid",
            "What ends when a logout token of the provider names a session (`sid`). `session`: the \
             sessions that were opened in that session at the provider. `person`: all sessions of \
             the person, if the token names the person (`sub`) too.",
        )
        .default("session")
        .forbidden(selected.unless_openid()),
        &[("session", LogoutScope::Session), ("person", LogoutScope::Person)],
    )
}

/// Reads the key `trust_email`.
fn email(s: &mut Section<'_>, selected: SelectedPreset, location: &Location) -> Option<EmailRule> {
    let trusted = s.flag(
        key(
            "trust_email",
            "`entra`, with the id of one tenant: whether the email addresses in that tenant's ID \
             tokens count as verified. Its administrators can give anybody any address. Without \
             this, an address counts where the claim `xms_edov` is true.",
        )
        .default(false)
        .forbidden(selected.unless(|preset| preset.tenant_template.is_some())),
    );
    if trusted != Some(true) {
        return Some(selected.0?.email);
    }
    if location.issuer_rule.as_ref()? != &IssuerRule::Exact {
        let problem = "Several tenants sign in here, and each could give any address to anybody.";
        s.reject("trust_email", invalid(problem, "write the id of one tenant, or remove it"));
        return None;
    }
    Some(EmailRule::Tenant)
}

fn id_token_algorithms(s: &mut Section<'_>, selected: SelectedPreset) -> Option<Vec<String>> {
    let algorithms = s.non_empty_list(
        key(
            "id_token_algs",
            "The algorithms that may sign an ID token: asymmetric ones alone, or `HS256`, `HS384`, \
             `HS512` alone, which are keyed with the client secret.",
        )
        .default_from(
            "the preset's: `[\"RS256\", \"ES256\", \"PS256\", \"EdDSA\"]` for `oidc`, `[\"RS256\"]` for the \
             others",
            selected.0.map(|preset| preset.id_token_algorithms),
        )
        .forbidden(selected.unless_openid()),
        "list of JWS algorithms",
        "[\"RS256\"]",
        id_token_algorithm,
    )?;
    let symmetric = algorithms.iter().filter(|a| SYMMETRIC.contains(&a.as_str())).count();
    if symmetric > 0 && symmetric < algorithms.len() {
        let problem = "With both kinds allowed, a public key can be passed off as a shared secret.";
        s.reject("id_token_algs", invalid(problem, "keep the kind that the provider signs with"));
        return None;
    }
    if symmetric > 0 && !has_secret(s) {
        let problem = "These are keyed with the client secret, and there is none.";
        s.reject("id_token_algs", invalid(problem, "set client_secret_file, or write [\"RS256\"]"));
        return None;
    }
    Some(algorithms)
}

fn id_token_algorithm(name: &str) -> Result<String, Invalid> {
    if name.eq_ignore_ascii_case("none") {
        let problem = "An ID token without a signature proves nothing.";
        let fix = "write the algorithm the provider signs with, mostly \"RS256\"";
        return Err(invalid(problem, fix));
    }
    let names: Vec<&str> = ASYMMETRIC.into_iter().chain(SYMMETRIC).collect();
    if names.contains(&name) { Ok(name.to_owned()) } else { Err(unknown_name(name, &names)) }
}
