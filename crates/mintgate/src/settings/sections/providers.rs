//! `[[providers]]`: the identity providers people sign in at.

use mintgate_domain::model::ProviderId;
use mintgate_domain::{Requirement, SecretText};

use crate::settings::key::key;
use crate::settings::kinds::not_among;
use crate::settings::mistakes::{Flaw, flaw};
use crate::settings::reader::Section;
use crate::settings::rules;
use crate::settings::types::ProviderSettings;

/// Presets that have a name already, but no code yet.
const FUTURE_PRESETS: [&str; 10] = [
    "google", "github", "okta", "entra", "adfs", "apple", "gitlab", "keycloak", "auth0", "cognito",
];

const ASYMMETRIC: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
const SYMMETRIC: [&str; 3] = ["HS256", "HS384", "HS512"];

const REQUIREMENTS: [(&str, Requirement); 2] =
    [("auto", Requirement::Auto), ("required", Requirement::Required)];

/// Reads one provider; `earlier` are the ids before it.
pub(in crate::settings) fn provider(
    s: &mut Section<'_>,
    earlier: &mut Vec<String>,
) -> Option<ProviderSettings> {
    let id = s.text(
        key("id", "Its name in requests, logs and metrics.").required("id = \"corp\""),
        "1 to 64 of `a`–`z`, `0`–`9`, `-`, `_`",
        |id| {
            let duplicate = earlier.iter().any(|other| other == id);
            earlier.push(id.to_owned());
            if duplicate {
                let problem = "Another provider has this id.";
                return Err(flaw(problem, "choose an id that no other provider has"));
            }
            provider_id(id)
        },
    );
    s.text(
        key("preset", "What kind of provider it is. In this version: OpenID Connect by discovery.")
            .or("oidc"),
        "`oidc`",
        preset,
    );
    let issuer = s.text(
        key(
            "issuer",
            "Its issuer identifier, kept character for character: exactly the `issuer` of its \
             `/.well-known/openid-configuration`.",
        )
        .required("issuer = \"https://idp.example.com\""),
        "URL",
        rules::issuer,
    );
    let client_id = s.text(
        key("client_id", "Our client id there.").required("client_id = \"mintgate\""),
        "1 to 255 characters",
        client_id,
    );
    let has_secret = s.is_given("client_secret") || s.is_given("client_secret_file");
    let client_secret = s.text_or_file(
        key("client_secret", "Our secret there.").secret().or_nothing("none: a public client"),
        "text",
        |text| Ok(SecretText::new(text)),
    );
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
    let scopes = s.list(
        key("scopes", "The scopes asked for; `openid` is among them.")
            .or(["openid", "profile", "email"]),
        "list of scopes",
        scope,
    );
    if scopes.as_ref().is_some_and(|scopes| !scopes.iter().any(|scope| scope == "openid")) {
        let problem = "Without the scope openid there is no ID token.";
        s.blame("scopes", flaw(problem, "add \"openid\" to the list"));
    }
    let (pkce, nonce) = requirements(s);
    let id_token_algorithms = id_token_algorithms(s, has_secret);
    let userinfo = s.flag(
        key("userinfo", "Whether the userinfo endpoint is asked in addition to the ID token.")
            .or(false),
    );
    let allow_private_network = s.flag(
        key(
            "allow_private_network",
            "Whether it may live on private, link-local or loopback addresses though its issuer \
             does not name one.",
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
    Some(ProviderSettings {
        id: id?,
        issuer: issuer?,
        client_id: client_id?,
        client_secret,
        redirect_uris: redirect_uris?,
        scopes: scopes?,
        pkce: pkce?,
        nonce: nonce?,
        id_token_algorithms: id_token_algorithms?,
        userinfo: userinfo?,
        allow_private_network: allow_private_network?,
        connect_timeout: connect_timeout?,
        timeout: timeout?,
    })
}

/// What a request must bring to protect its code and its ID token.
fn requirements(s: &mut Section<'_>) -> (Option<Requirement>, Option<Requirement>) {
    let pkce = s.choice(
        key(
            "pkce",
            "`required`: a code without `codeVerifier` is refused. `auto`: the provider refuses a \
             challenged code without it.",
        )
        .or("auto"),
        &REQUIREMENTS,
    );
    let nonce = s.choice(
        key(
            "nonce",
            "`required`: a request without `nonce` is refused. `auto`: it must match where the ID \
             token has one.",
        )
        .or("auto"),
        &REQUIREMENTS,
    );
    (pkce, nonce)
}

fn id_token_algorithms(s: &mut Section<'_>, has_secret: bool) -> Option<Vec<String>> {
    let algorithms = s.non_empty_list(
        key(
            "id_token_algs",
            "The signatures accepted on ID tokens: asymmetric ones, or `HS256`, `HS384`, `HS512` \
             alone, keyed with the client secret.",
        )
        .or(["RS256", "ES256", "PS256", "EdDSA"]),
        "list of JWS algorithms",
        "[\"RS256\"]",
        id_token_algorithm,
    )?;
    let symmetric = algorithms.iter().filter(|a| SYMMETRIC.contains(&a.as_str())).count();
    if symmetric > 0 && symmetric < algorithms.len() {
        let problem = "With both kinds allowed, a public key can be passed off as a shared secret.";
        s.blame("id_token_algs", flaw(problem, "keep the kind that the provider signs with"));
    } else if symmetric > 0 && !has_secret {
        let problem = "These are keyed with the client secret, and there is none.";
        s.blame("id_token_algs", flaw(problem, "set client_secret_file, or write [\"RS256\"]"));
    }
    Some(algorithms)
}

fn provider_id(id: &str) -> Result<ProviderId, Flaw> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if (1..=64).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(ProviderId::new(id));
    }
    let problem = "An id has 1 to 64 lower-case letters, digits, - and _.";
    Err(flaw(problem, "write for example \"corp\""))
}

fn preset(name: &str) -> Result<(), Flaw> {
    if name == "oidc" {
        Ok(())
    } else if FUTURE_PRESETS.contains(&name) {
        let problem = "This preset is not available in this version.";
        Err(flaw(problem, "use preset = \"oidc\" with the provider's issuer"))
    } else {
        Err(not_among(name, &["oidc"]))
    }
}

fn client_id(text: &str) -> Result<String, Flaw> {
    let length = text.chars().count();
    if !(1..=255).contains(&length) || text.chars().any(char::is_control) {
        let problem = "A client id has 1 to 255 characters, and no control characters.";
        return Err(flaw(problem, "write it as the provider shows it"));
    }
    Ok(text.to_owned())
}

/// RFC 6749 §3.3.
fn scope(text: &str) -> Result<String, Flaw> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
        let problem = "A scope is visible ASCII without spaces, quotes and backslashes.";
        return Err(flaw(problem, "write each scope as an element of its own"));
    }
    Ok(text.to_owned())
}

fn id_token_algorithm(name: &str) -> Result<String, Flaw> {
    if name.eq_ignore_ascii_case("none") {
        let problem = "An ID token without a signature proves nothing.";
        return Err(flaw(problem, "write the algorithm the provider signs with, mostly \"RS256\""));
    }
    let names: Vec<&str> = ASYMMETRIC.into_iter().chain(SYMMETRIC).collect();
    if names.contains(&name) { Ok(name.to_owned()) } else { Err(not_among(name, &names)) }
}
