//! `[[providers]]`: the identity providers people sign in at.

mod chosen;
mod client;
mod neighbours;
mod oauth2;
mod openid;
mod place;
mod trial;

use std::fmt::Display;
use std::time::Duration;

use mintgate_domain::Requirement;
use mintgate_domain::model::ProviderId;
use mintgate_identity_openid::{GuardConfig, Network};

use crate::settings::key::key;
use crate::settings::mistakes::{Flaw, flaw};
use crate::settings::reader::Section;
use crate::settings::rules;
use crate::settings::source::Value;
use crate::settings::types::{ProviderKind, ProviderSettings};
use chosen::Chosen;
use client::Client;
pub(in crate::settings) use neighbours::Neighbours;
use oauth2::oauth2;
use openid::openid;
use place::Place;

const REQUIREMENTS: [(&str, Requirement); 2] =
    [("auto", Requirement::Auto), ("required", Requirement::Required)];

/// Parameters of an authorization request that protect it, or that the rest of it goes by.
const PROTECTED: [&str; 10] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];

/// The limits of the requests made to a provider.
struct Limits {
    network: Network,
    guard: GuardConfig,
}

/// Reads one provider. `can_seal` tells whether what providers entrust to us can be encrypted, if that
/// is known.
pub(in crate::settings) fn provider(
    s: &mut Section<'_>,
    can_seal: Option<bool>,
    neighbours: &mut Neighbours,
) -> Option<ProviderSettings> {
    let id = s.text(
        key("id", "Its name in requests, logs and metrics.").required("id = \"corp\""),
        "1 to 64 of `a`–`z`, `0`–`9`, `-`, `_`",
        |id| {
            if !neighbours.take_id(id) {
                let problem = "Another provider has this id.";
                return Err(flaw(problem, "choose an id that no other provider has"));
            }
            provider_id(id)
        },
    );
    let chosen = Chosen::read(s);
    let display_name = s.text(
        key("display_name", "What a login page calls it.")
            .or_derived("the preset's", chosen.0.map(|preset| Value::from(preset.display_name))),
        "1 to 64 characters",
        display_name,
    );
    let mut place = Place::read(s, chosen);
    let client = Client::read(s, chosen, place.issuer.as_deref());
    let redirect_uris = s.non_empty_list(
        key(
            "redirect_uris",
            "The redirect URIs a request may name, compared character for character: `https`, \
             `http` on a loopback host, or a private-use scheme with a dot.",
        )
        .required("redirect_uris = [\"https://app.example.com/callback\"]"),
        "list of URIs",
        "[\"https://app.example.com/callback\"]",
        rules::redirect_uri,
    );
    let scopes = scopes(s, chosen);
    let authorization_parameters = authorization_parameters(s, chosen, &place);
    let pkce = s.choice(
        key(
            "pkce",
            "`required`: a code without `codeVerifier` is refused. `auto`: the provider refuses a \
             challenged code without it.",
        )
        .or("auto"),
        &REQUIREMENTS,
    );
    let openid = openid(s, chosen, &place, &client);
    let oauth2 = oauth2(s, chosen, &mut place, &client);
    let recheck = recheck(s, can_seal);
    let limits = limits(s);
    let kind = openid.map(ProviderKind::OpenId).or(oauth2.map(ProviderKind::OAuth2));
    let limits = limits?;
    let kind = kind?;
    let settings = ProviderSettings {
        id: id?,
        display_name: display_name?,
        preset: chosen.0?,
        issuer: place.issuer?,
        client_id: client.id?,
        client_secret: client.secret,
        redirect_uris: redirect_uris?,
        scopes: scopes?,
        authorization_parameters: authorization_parameters?,
        pkce: pkce?,
        recheck,
        network: limits.network,
        guard: limits.guard,
        kind,
    };
    if let Some(other) = neighbours.take(&settings) {
        let problem = format!(
            "The provider {other} has this issuer too, and is asked elsewhere who somebody is: \
             people of one could pass as people of the other."
        );
        s.blame("issuer", flaw(problem, "give each of them an issuer of its own"));
        return None;
    }
    trial::works(s, &settings).then_some(settings)
}

fn scopes(s: &mut Section<'_>, chosen: Chosen) -> Option<Vec<String>> {
    let scopes = s.list(
        key(
            "scopes",
            "The scopes asked for; with OpenID Connect `openid` is among them. The one for a \
             refresh token comes by itself with `recheck_secs`, where there is one.",
        )
        .or_derived("the preset's", chosen.0.map(|preset| Value::from(preset.scopes))),
        "list of scopes",
        scope,
    )?;
    let is_openid = chosen.0.is_some() && chosen.user_endpoint().is_none();
    if is_openid && !scopes.iter().any(|scope| scope == "openid") {
        let problem = "Without the scope openid there is no ID token.";
        s.blame("scopes", flaw(problem, "add \"openid\" to the list"));
        return None;
    }
    Some(scopes)
}

fn authorization_parameters(
    s: &mut Section<'_>,
    chosen: Chosen,
    place: &Place,
) -> Option<Vec<(String, String)>> {
    let more = s.list(
        key(
            "authorization_params",
            "What the authorization request says besides, each as `name=value`, for example \
             `prompt=select_account`. They go over the preset's.",
        )
        .or([]),
        "list of `name=value`",
        authorization_parameter,
    );
    let known = place.authorization_parameters(s, chosen.0?)?;
    Some(overlaid(known, more?))
}

fn authorization_parameter(text: &str) -> Result<(String, String), Flaw> {
    let (name, value) = rules::pair(text)?;
    if PROTECTED.contains(&name.as_str()) {
        let problem = format!("Mintgate sets {name} itself, or does without it.");
        return Err(flaw(problem, "remove it; scopes and redirect URIs have keys of their own"));
    }
    Ok((name, value))
}

/// Names with values, and more of them over those of the same name.
fn overlaid(known: Vec<(String, String)>, more: Vec<(String, String)>) -> Vec<(String, String)> {
    let is_new = |(name, _): &(String, String)| !more.iter().any(|(other, _)| other == name);
    let mut all: Vec<_> = known.into_iter().filter(is_new).collect();
    all.extend(more);
    all
}

fn recheck(s: &mut Section<'_>, can_seal: Option<bool>) -> Option<Duration> {
    let recheck = s.seconds(
        key(
            "recheck_secs",
            "The provider is asked again at a refresh when its word on somebody is older: whoever \
             may not sign in there any more loses the session. Needs `keys.encryption_key`, as the \
             provider's refresh token is kept, encrypted.",
        )
        .or_nothing("never"),
        1..=2_592_000,
    )?;
    if can_seal == Some(false) {
        let problem =
            "The providers' refresh tokens are kept encrypted alone, and there is no key.";
        s.blame("recheck_secs", flaw(problem, "set keys.encryption_key_file, or remove this key"));
        return None;
    }
    Some(recheck)
}

fn limits(s: &mut Section<'_>) -> Option<Limits> {
    let allow_private_network = s.flag(
        key(
            "allow_private_network",
            "Whether it may live on private, link-local or loopback addresses though its issuer \
             (for OAuth 2.0 its token endpoint) does not name one.",
        )
        .or(false),
    );
    let connect_timeout =
        s.millis(key("connect_timeout_ms", "How long connecting may take.").or(2000), 1..=30_000);
    let timeout =
        s.millis(key("timeout_ms", "How long one request may take in all.").or(5000), 1..=120_000);
    s.in_order(
        ("connect_timeout_ms", connect_timeout),
        ("timeout_ms", timeout),
        "The whole request would have less time than connecting alone.",
    );
    let max_concurrent = s.number(
        key(
            "max_concurrent",
            "How many exchanges may be under way at once. More wait for their turn, for as long as \
             `timeout_ms`, and are then `PROVIDER_UNAVAILABLE`.",
        )
        .or(64),
        1..=10_000,
    );
    let failures_to_open = s.number(
        key(
            "circuit_failures",
            "After so many failures in a row it is not asked for a while: its circuit is open.",
        )
        .or(5),
        1..=1000,
    );
    let open_for = s.seconds(
        key("circuit_open_secs", "For how long, until one call is let through to try.").or(10),
        1..=3600,
    );
    Some(Limits {
        network: Network {
            allow_private_network: allow_private_network?,
            connect_timeout: connect_timeout?,
            timeout: timeout?,
        },
        guard: GuardConfig {
            max_concurrent: usize::try_from(max_concurrent?).ok()?,
            max_wait: timeout?,
            failures_to_open: failures_to_open?,
            open_for: open_for?,
        },
    })
}

fn provider_id(id: &str) -> Result<ProviderId, Flaw> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if (1..=64).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(ProviderId::new(id));
    }
    let problem = "An id has 1 to 64 lower-case letters, digits, - and _.";
    Err(flaw(problem, "write for example \"corp\""))
}

fn display_name(text: &str) -> Result<String, Flaw> {
    let length = text.trim().chars().count();
    if !(1..=64).contains(&length) || text.chars().any(char::is_control) {
        let problem = "A name has 1 to 64 characters, and no control characters.";
        return Err(flaw(problem, "write what people call it"));
    }
    Ok(text.trim().to_owned())
}

/// RFC 6749 §3.3.
fn scope(text: &str) -> Result<String, Flaw> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
        let problem = "A scope is visible ASCII without spaces, quotes and backslashes.";
        return Err(flaw(problem, "write each scope as an element of its own"));
    }
    Ok(text.to_owned())
}

/// What another part of the program says is wrong, as a sentence.
fn sentence(error: &impl Display) -> String {
    let text = error.to_string();
    let mut rest = text.chars();
    let first = rest.next().into_iter().flat_map(char::to_uppercase);
    format!("{}{}.", first.collect::<String>(), rest.as_str().trim_end_matches('.'))
}
