//! The keys that only a provider of OpenID Connect has: they are about ID tokens.

use mintgate_config_reader::{Invalid, Section, invalid, key, unknown_name};
use mintgate_domain::Requirement;
use mintgate_identity_openid::{
    Dialect, GraphGroups, GroupOverage, IssuerRule, OpenIdConfig, Preset,
};
use url::Url;

use super::client::has_secret;
use super::location::Location;
use super::preset::SelectedPreset;
use super::{ProviderClient, REQUIREMENTS, owned};
use crate::types::ProviderConfig;

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
    pub(super) nonce: Requirement,
    pub(super) id_token_algorithms: Vec<String>,
    pub(super) userinfo: bool,
    pub(super) group_overage: GroupOverage,
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
    ) -> ProviderConfig {
        let dialect = Dialect {
            client_authentication: client.client_authentication,
            token_parameters: client.token_parameters,
            issuer,
            group_overage: self.group_overage,
            required_claims: owned(preset.required_claims),
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
             nonce where the ID token has one.",
        )
        .default("auto")
        .forbidden(selected.unless_openid()),
        &REQUIREMENTS,
    );
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
    })
}

fn id_token_algorithms(s: &mut Section<'_>, selected: SelectedPreset) -> Option<Vec<String>> {
    let algorithms = s.non_empty_list(
        key(
            "id_token_algs",
            "The algorithms that may sign an ID token: asymmetric ones alone, or `HS256`, `HS384`, \
             `HS512` alone, which are keyed with the client secret.",
        )
        .default_from(
            "the preset's, mostly `[\"RS256\"]`",
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
