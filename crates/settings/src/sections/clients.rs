//! `[[clients]]`: back ends that may ask about sessions, and say for whom they ask.

use mintgate_config_reader::{Invalid, Section, invalid, key, unknown_name};
use mintgate_domain::model::ProviderId;
use mintgate_domain::{Client, SecretText};

use crate::rules;

/// What a client's keys are held to.
pub(crate) struct KnownNames<'a> {
    /// The ids of the clients that were read before.
    pub(crate) clients: Vec<String>,
    /// The ids of the configured providers.
    pub(crate) providers: &'a [String],
    /// The ids of those whose access tokens are kept; `None` if a provider has a mistake.
    pub(crate) keeping: Option<Vec<String>>,
    /// The audience of access tokens; `None` if that has a mistake.
    pub(crate) audience: Option<Vec<String>>,
}

/// Reads one client.
pub(crate) fn client(s: &mut Section<'_>, known: &mut KnownNames<'_>) -> Option<Client> {
    let id = s.text(
        key("id", "The client's name, by which it authenticates; unique among the clients.")
            .required("id = \"app\""),
        "1 to 64 of `a`–`z`, `0`–`9`, `-`, `_`",
        |id| client_id(id, &mut known.clients),
    );
    let secret_hash = s.text(
        key(
            "secret_hash",
            "The SHA-256 hash of the client's secret. `mintgate clients new` makes both; the secret itself is \
             not for this file.",
        )
        .secret()
        .required("the line that `mintgate clients new` prints"),
        "64 hexadecimal digits",
        |text| rules::token_hash(text, "mintgate clients new"),
    );
    let known = &*known;
    let provider_tokens = s.list(
        key(
            "provider_tokens",
            "The providers whose own access tokens the client gets at `POST /api/v1/auth/provider-token`. \
             Each of them has `keep_access_token = true`.",
        )
        .default([]),
        "list of provider ids",
        |name| provider(name, known),
    );
    let audience = s.text(
        key(
            "audience",
            "The client sees access tokens for this audience, one of `tokens.audience`, at `POST \
             /oauth2/introspect` and `POST /oauth2/revoke`.",
        )
        .optional("it sees none"),
        "text",
        |text| own_audience(text, known),
    );
    let refresh_tokens = s.flag(
        key("refresh_tokens", "Whether the client sees refresh tokens there too.").default(false),
    );
    let address_key = s.text_or_file(
        key(
            "address_key",
            "The key by which the client signs for whom it asks, in the header `X-Auth-Client-Address` of its \
             requests. `mintgate clients new` makes one.",
        )
        .optional("it cannot say so")
        .secret(),
        "43 to 128 of `A`–`Z`, `a`–`z`, `0`–`9`, `-`, `_`",
        address_key,
    );
    Some(Client {
        id: id?,
        secret_hash: secret_hash?,
        provider_tokens: provider_tokens?,
        audience,
        refresh_tokens: refresh_tokens?,
        address_key,
    })
}

fn address_key(text: &str) -> Result<SecretText, Invalid> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if (43..=128).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(SecretText::new(text));
    }
    Err(invalid("This is not a key.", "write the line that `mintgate clients new` prints"))
}

fn client_id(id: &str, known: &mut Vec<String>) -> Result<String, Invalid> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if !(1..=64).contains(&id.len()) || !id.bytes().all(allowed) {
        let problem = "An id has 1 to 64 lower-case letters, digits, - and _.";
        return Err(invalid(problem, "write for example \"app\""));
    }
    if known.iter().any(|other| other == id) {
        let problem = "Another client has this id.";
        return Err(invalid(problem, "choose an id that no other client has"));
    }
    known.push(id.to_owned());
    Ok(id.to_owned())
}

fn own_audience(text: &str, known: &KnownNames<'_>) -> Result<String, Invalid> {
    let audience = known.audience.as_deref();
    if audience.is_none_or(|audience| audience.iter().any(|one| one == text)) {
        return Ok(text.to_owned());
    }
    let problem = "No access token is for this audience.";
    Err(invalid(problem, "write one of tokens.audience, or add it there"))
}

fn provider(name: &str, known: &KnownNames<'_>) -> Result<ProviderId, Invalid> {
    if !known.providers.iter().any(|id| id == name) {
        let names: Vec<&str> = known.providers.iter().map(String::as_str).collect();
        return Err(unknown_name(name, &names));
    }
    let keeps = known.keeping.as_ref().is_none_or(|keeping| keeping.iter().any(|id| id == name));
    if !keeps {
        let problem = "Of this provider no access tokens are kept.";
        return Err(invalid(problem, "write keep_access_token = true in its table"));
    }
    Ok(ProviderId::new(name))
}
