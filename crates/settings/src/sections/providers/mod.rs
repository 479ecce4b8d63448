//! `[[providers]]`: the identity providers that people sign in at.

mod client;
mod conflicts;
mod limits;
mod location;
mod login;
mod network;
mod oauth2;
mod openid;
mod preset;

use std::fmt::Display;

use mintgate_config_reader::{Invalid, Section, invalid, key};
use mintgate_domain::model::{AllowedUri, ProviderId};
use mintgate_domain::{LoginRequest, NonceRule, ProviderPolicy, Requirement, SecretText};
use mintgate_identity_openid::{
    ClientAuthentication, GroupOverage, IssuerRule, Network, OAuth2ConfigError, OpenIdConfigError,
};

use crate::rules;
use crate::types::{ProviderConfig, ProviderSettings};
use client::Client;
pub(crate) use conflicts::IssuerConflicts;
use limits::{access_rule, guard, keeps_access_token, recheck, recheck_rule};
use location::Location;
pub(crate) use network::EnvironmentProxies;
use network::network;
use oauth2::oauth2;
use openid::{logout_scope, openid};
use preset::SelectedPreset;

const REQUIREMENTS: [(&str, Requirement); 2] =
    [("auto", Requirement::Auto), ("required", Requirement::Required)];

/// The part of the configuration that both kinds of adapter have.
struct ProviderClient {
    id: ProviderId,
    issuer: String,
    client_id: String,
    client_secret: Option<SecretText>,
    client_authentication: ClientAuthentication,
    token_parameters: Vec<(String, String)>,
    network: Network,
}

/// Reads one provider. `can_seal` tells whether providers' tokens can be encrypted; `None` if
/// `[keys]` has a mistake. `environment` are the proxies that apply where the provider has no key for them.
pub(crate) fn provider(
    s: &mut Section<'_>,
    can_seal: Option<bool>,
    environment: &EnvironmentProxies,
    conflicts: &mut IssuerConflicts,
) -> Option<ProviderSettings> {
    let id = s.text(
        key("id", "The provider's name in requests, logs and metrics; unique among the providers.")
            .required("id = \"corp\""),
        "1 to 64 of `a`–`z`, `0`–`9`, `-`, `_`",
        |id| {
            if !conflicts.add_id(id) {
                let problem = "Another provider has this id.";
                return Err(invalid(problem, "choose an id that no other provider has"));
            }
            provider_id(id)
        },
    );
    let selected = SelectedPreset::read(s);
    let display_name = s.text(
        key("display_name", "The provider's name on login pages.")
            .default_from("the preset's", selected.0.map(|preset| preset.display_name)),
        "1 to 64 characters",
        display_name,
    );
    let location = Location::read(s, selected);
    let client = Client::read(s, selected, location.issuer.as_deref());
    let redirect_uris = redirect_uris(s);
    let logout = login::logout(s, selected, can_seal);
    let scopes = login::scopes(s, selected);
    let parameters = login::parameters(s, location.filled.as_ref());
    let pkce = pkce(s);
    let client_parameters = login::client_parameters(s, selected);
    let max_age = login::max_age(s, parameters.as_deref());
    let openid = openid(s, selected, &location);
    let oauth2 = oauth2(s, selected, &location);
    let recheck = recheck(s, can_seal);
    let keeps_access_token = keeps_access_token(s, can_seal);
    let recheck_scope = login::recheck_scope(s, selected);
    let logout_scope = logout_scope(s, selected);
    let network = network(s, environment);
    let guard = guard(s, network.as_ref().map(|network| network.timeout));
    let (network, guard) = (network?, guard?);
    let longest_call = network.timeout + guard.max_wait;

    let preset = selected.0?;
    let client = ProviderClient {
        id: id?,
        issuer: location.issuer?,
        client_id: client.id?,
        client_secret: client.secret,
        client_authentication: client.authentication?,
        token_parameters: location.filled?.token_parameters,
        network,
    };
    let id = client.id.clone();
    let issuer_rule = location.issuer_rule?;
    let issuers = issuers(&client.issuer, &issuer_rule);
    let mut login = LoginRequest {
        display_name: display_name?,
        preset: preset.name.to_owned(),
        client_id: client.client_id.clone(),
        scopes: scopes?,
        parameters: parameters?,
        client_parameters: client_parameters?,
        offline: None,
        has_id_tokens: selected.openid().is_some(),
    };
    let (nonce, config) = if login.has_id_tokens {
        let keys = openid?;
        if let (GroupOverage::Follow(_), Some(scope)) = (&keys.group_overage, preset.group_scope) {
            login::add_scope(&mut login.scopes, scope);
        }
        let hosted_domain = location.values.get("hosted_domain");
        let nonce = keys.nonce;
        let hosted_domain = hosted_domain.map(String::as_str);
        (nonce, keys.config(client, issuer_rule, preset, hosted_domain, max_age?))
    } else {
        // Without ID tokens nothing can prove a nonce.
        (NonceRule::Auto, oauth2?.config(client))
    };
    let keeps_access_token = keeps_access_token?;
    if recheck.is_some() || keeps_access_token {
        login::ask_for_refresh_token(&mut login, preset.offline, &recheck_scope?);
    }
    let recheck = recheck.map(|every| recheck_rule(every, longest_call));
    let policy = ProviderPolicy {
        id,
        issuers,
        redirect_uris: redirect_uris?,
        pkce: pkce?,
        nonce,
        login,
        logout: logout?,
        logout_scope: logout_scope.unwrap_or_default(),
        recheck,
        access: keeps_access_token.then(|| access_rule(longest_call)),
    };
    let settings = ProviderSettings { preset, policy, guard, config };
    if let Some(other) = conflicts.add(&settings) {
        let problem = format!(
            "The provider {other} has this issuer too, and is asked elsewhere who somebody is: \
             people of one could pass as people of the other."
        );
        s.reject("issuer", invalid(problem, "give each of them an issuer of its own"));
        return None;
    }
    is_accepted(s, &settings.config).then_some(settings)
}

/// Reads the key `redirect_uris`.
fn redirect_uris(s: &mut Section<'_>) -> Option<Vec<AllowedUri>> {
    s.non_empty_list(
        key(
            "redirect_uris",
            "The redirect URIs that a request may name, compared character for character. Each is \
             `https`, `http` on a loopback host, or a private-use scheme with a dot in it. Two parts \
             may be left open: without a port, `http://127.0.0.1/…` and `http://[::1]/…` allow every \
             port; `https://*.preview.example.com/…` allows every label in place of `*`, and a code \
             for it needs PKCE.",
        )
        .required("redirect_uris = [\"https://app.example.com/callback\"]"),
        "list of URIs",
        "[\"https://app.example.com/callback\"]",
        rules::redirect_uri,
    )
}

/// Reads the key `pkce`.
fn pkce(s: &mut Section<'_>) -> Option<Requirement> {
    s.choice(
        key(
            "pkce",
            "`required`: Mintgate refuses a sign-in without `codeVerifier`. `auto`: Mintgate leaves \
             that to the provider, which refuses a challenged code without its verifier.",
        )
        .default("auto"),
        &REQUIREMENTS,
    )
}

/// The issuers that people's identities may have, and that authorization responses may name: the
/// configured one, and those of its tenants.
fn issuers(issuer: &str, rule: &IssuerRule) -> Vec<String> {
    let mut issuers = vec![issuer.to_owned()];
    if let IssuerRule::Tenants { template, allowed } = rule {
        issuers.extend(allowed.iter().map(|tenant| template.replace("{tenantid}", tenant)));
    }
    issuers
}

/// Whether the provider's adapter accepts its configuration; reports the mistake if it does not.
fn is_accepted(s: &mut Section<'_>, config: &ProviderConfig) -> bool {
    const ADDRESS: &str =
        "correct it, or set allow_private_network = true for one on a private network";
    const TLS: &str = "look at the TLS library and the CA certificates of this machine";
    const CLIENT_ID: (&str, &str) = ("client_id", "write it as the provider shows it");
    const SECRET: (&str, &str) = ("client_auth", "add client_secret_file, or write \"none\"");
    let endpoint;
    let (problem, (name, fix)) = match config {
        ProviderConfig::OpenId(config, dialect) => {
            let Err(error) = config.check(dialect) else { return true };
            let at = match &error {
                OpenIdConfigError::Issuer(_) => ("issuer", ADDRESS),
                OpenIdConfigError::ClientId => CLIENT_ID,
                OpenIdConfigError::NoAlgorithm
                | OpenIdConfigError::UnsupportedAlgorithm(_)
                | OpenIdConfigError::MixedAlgorithms
                | OpenIdConfigError::SecretRequired => ("id_token_algs", "write [\"RS256\"]"),
                OpenIdConfigError::ClientSecretRequired => SECRET,
                OpenIdConfigError::IssuerRule(_) => ("tenants", "list the ids of tenants, GUIDs"),
                OpenIdConfigError::GroupEndpoint => ("graph", ADDRESS),
                OpenIdConfigError::HttpClient(_) => ("id", TLS),
            };
            (sentence(&error), at)
        }
        ProviderConfig::OAuth2(config) => {
            let Err(error) = config.check() else { return true };
            let at = match &error {
                OAuth2ConfigError::Issuer => ("issuer", "write the provider's address"),
                OAuth2ConfigError::ClientId => CLIENT_ID,
                OAuth2ConfigError::ClientSecretRequired => SECRET,
                OAuth2ConfigError::Subject => ("subject", "write the path to an id, mostly \"id\""),
                OAuth2ConfigError::Endpoint(which) => {
                    endpoint = format!("{which}_endpoint");
                    (endpoint.as_str(), ADDRESS)
                }
                OAuth2ConfigError::Header(_) | OAuth2ConfigError::HttpClient(_) => ("id", TLS),
            };
            (sentence(&error), at)
        }
    };
    s.reject(name, invalid(problem, fix));
    false
}

fn provider_id(id: &str) -> Result<ProviderId, Invalid> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if (1..=64).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(ProviderId::new(id));
    }
    let problem = "An id has 1 to 64 lower-case letters, digits, - and _.";
    Err(invalid(problem, "write for example \"corp\""))
}

fn display_name(text: &str) -> Result<String, Invalid> {
    let length = text.trim().chars().count();
    if !(1..=64).contains(&length) || text.chars().any(char::is_control) {
        let problem = "A name has 1 to 64 characters, and no control characters.";
        return Err(invalid(problem, "write what people call it"));
    }
    Ok(text.trim().to_owned())
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Names with values, where `more` replaces those of the same name.
fn overlaid(known: Vec<(String, String)>, more: Vec<(String, String)>) -> Vec<(String, String)> {
    let is_new = |(name, _): &(String, String)| !more.iter().any(|(other, _)| other == name);
    let mut all: Vec<_> = known.into_iter().filter(is_new).collect();
    all.extend(more);
    all
}

/// An error of a library as a sentence.
pub(super) fn sentence(error: &impl Display) -> String {
    let text = error.to_string();
    let mut rest = text.chars();
    let first = rest.next().into_iter().flat_map(char::to_uppercase);
    format!("{}{}.", first.collect::<String>(), rest.as_str().trim_end_matches('.'))
}
