//! `[tokens]`, `[keys]` and `[refresh]`: what is signed, by what, and for how long it is good.

use std::path::PathBuf;

use mintgate_domain::SecretText;
use mintgate_domain::model::LostAnswer;
use mintgate_signer_jose::{KeyEncryptionKey, STANDARD_CLAIMS};

use crate::settings::key::key;
use crate::settings::kinds::not_among;
use crate::settings::mistakes::{Flaw, flaw};
use crate::settings::reader::Section;
use crate::settings::rules;
use crate::settings::show::quoted;
use crate::settings::source::{Node, Shape, Table, Value};
use crate::settings::types::{Algorithm, KeySettings, RefreshSettings, TokenSettings};

const ALGORITHMS: [(&str, Algorithm); 6] = [
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
    ("RS256", Algorithm::Rs256),
    ("PS256", Algorithm::Ps256),
    ("HS256", Algorithm::Hs256),
];

/// Those that sign equal claims with equal bytes.
const DETERMINISTIC: [&str; 3] = ["HS256", "EdDSA", "RS256"];

/// Claims that no access token of ours has, and that an extra claim must not pass for either.
const RESERVED_BESIDES: [&str; 3] = ["gen", "typ", "client_id"];

const TEN_YEARS: u32 = 10 * 366 * 86_400;

/// Reads `[tokens]`; `public_url` is what it is written as.
pub(in crate::settings) fn tokens(
    s: &mut Section<'_>,
    public_url: Option<&str>,
) -> Option<TokenSettings> {
    let issuer = s.text(
        key("issuer", "`iss` of our tokens, kept character for character.")
            .or_derived("`server.public_url`", public_url.map(Value::from)),
        "URL",
        rules::issuer,
    );
    let own = issuer.as_deref().map(|issuer| Value::from([issuer]));
    let audience = s.non_empty_list(
        key("audience", "`aud` of our access tokens: the services that accept them.")
            .or_derived("`[issuer]`", own),
        "list of texts",
        "[\"https://api.example.com\"]",
        rules::non_empty,
    );
    let algorithm = s.choice(
        key("algorithm", "Signs access tokens. With `HS256` there is no public key to publish.")
            .or("ES256"),
        &ALGORITHMS,
    );
    let refresh_algorithm = s.text(
        key(
            "refresh_algorithm",
            "Signs refresh tokens. Only algorithms that sign equal claims with equal bytes: a \
             repeated refresh is answered with the same token, made again from the stored state.",
        )
        .or("HS256"),
        "`HS256`, `EdDSA`, `RS256`",
        refresh_algorithm,
    );
    let [access_ttl, refresh_ttl, session_ttl] = [
        key("access_ttl_secs", "Life of an access token.").or(3600),
        key("refresh_ttl_secs", "Idle limit: how long a session lives without a refresh.")
            .or(2_592_000),
        key("session_ttl_secs", "Absolute limit: how long it lives in all.").or(7_776_000),
    ]
    .map(|key| {
        let longest = if key.name == "access_ttl_secs" { 86_400 } else { TEN_YEARS };
        s.seconds(key, 1..=longest)
    });
    s.in_order(
        ("access_ttl_secs", access_ttl),
        ("refresh_ttl_secs", refresh_ttl),
        "An access token would outlive its refresh token.",
    );
    s.in_order(
        ("refresh_ttl_secs", refresh_ttl),
        ("session_ttl_secs", session_ttl),
        "A refresh token would outlive its session.",
    );
    let body_delivery = s.flag(
        key("body_delivery", "Whether native apps may ask for `tokenDelivery: \"body\"`.")
            .or(false),
    );
    let extra_claims = extra_claims(s);
    Some(TokenSettings {
        issuer: issuer?,
        audience: audience?,
        algorithm: algorithm?,
        refresh_algorithm: refresh_algorithm?,
        access_ttl: access_ttl?,
        refresh_ttl: refresh_ttl?,
        session_ttl: session_ttl?,
        body_delivery: body_delivery?,
        extra_claims: extra_claims?,
    })
}

fn refresh_algorithm(name: &str) -> Result<Algorithm, Flaw> {
    let known = ALGORITHMS.iter().find(|(known, _)| *known == name);
    match known {
        Some((_, algorithm)) if DETERMINISTIC.contains(&name) => Ok(*algorithm),
        Some(_) => Err(flaw(
            format!(
                "{name} signs with fresh randomness, and a repeated refresh must be answered with \
                 the same bytes."
            ),
            format!("write one of {}", DETERMINISTIC.join(", ")),
        )),
        None => Err(not_among(name, &DETERMINISTIC)),
    }
}

fn extra_claims(s: &mut Section<'_>) -> Option<Vec<(String, String)>> {
    let key = key(
        "extra_claims",
        "Claims copied from the provider's into our access tokens: `name = \"path.of.claim\"`.",
    )
    .or(Value::Table(Table::new()));
    let Value::Table(table) = s.take(key, Shape::Table, "table of texts")?.value else {
        return None;
    };
    let count = table.len();
    let mut claims = Vec::new();
    for (name, node) in table {
        match extra_claim(&name, &node) {
            Ok(path) => claims.push((name, path)),
            Err(flaw) => s.blame_value(&format!("extra_claims.{name}"), &node, flaw),
        }
    }
    (claims.len() == count).then_some(claims)
}

fn extra_claim(name: &str, node: &Node) -> Result<String, Flaw> {
    if STANDARD_CLAIMS.contains(&name) || RESERVED_BESIDES.contains(&name) {
        let problem =
            format!("The claim {name} is not free: Mintgate sets it, or a standard does.");
        return Err(flaw(problem, "choose another name"));
    }
    if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_graphic()) {
        let problem = "A claim's name has 1 to 64 visible ASCII characters.";
        return Err(flaw(problem, "choose another name"));
    }
    let Value::Text(path) = &node.value else {
        let fix = format!("write {name} = {}", quoted("path.of.the.claim"));
        return Err(flaw("This must be the path of a claim: a text.", fix));
    };
    rules::non_empty(path)
}

/// Reads `[keys]`.
pub(in crate::settings) fn keys(s: &mut Section<'_>) -> Option<KeySettings> {
    let dir = s.text(
        key(
            "dir",
            "The directory where signing keys are found, and made at the first start. Not used \
             where `encryption_key` is set.",
        )
        .or("keys"),
        "path",
        rules::non_empty,
    );
    let encryption_key = s.text_or_file(
        key(
            "encryption_key",
            "With it the signing keys are kept in the store, encrypted under it, and every \
             replica has the same ones: 32 random bytes, as `openssl rand -base64 32` prints them.",
        )
        .or_nothing("none: the keys are in `dir`")
        .secret(),
        "32 bytes in base64 or hex",
        encryption_key,
    );
    let keep = |text: &str| Ok(SecretText::new(text));
    let access_key = s.text_or_file(
        key(
            "access_key",
            "Signs access tokens, in place of keys that Mintgate makes; it is never rotated.",
        )
        .secret(),
        "PEM or JWK",
        keep,
    );
    let refresh_key = s.text_or_file(
        key(
            "refresh_key",
            "Signs refresh tokens, in place of keys that Mintgate makes; it is never rotated.",
        )
        .secret(),
        "PEM or JWK",
        keep,
    );
    let publish_ahead = s.seconds(
        key(
            "publish_ahead_secs",
            "How long a key is published before it signs: longer than the 300 seconds that others \
             may keep the JWKS.",
        )
        .or(600),
        0..=86_400,
    );
    let rotate_after = s.days(
        key(
            "rotate_after_days",
            "After so long another key takes a key's place; 0: only when `mintgate keys rotate` \
             says so.",
        )
        .or(90),
        0..=3650,
    );
    let reload = s.seconds(
        key("reload_secs", "How soon a running service notices that keys have changed.").or(10),
        1..=300,
    );
    Some(KeySettings {
        dir: PathBuf::from(dir?),
        access_key,
        refresh_key,
        encryption_key,
        publish_ahead: publish_ahead?,
        rotate_every: rotate_after.map(|span| (!span.is_zero()).then_some(span))?,
        reload: reload?,
    })
}

fn encryption_key(text: &str) -> Result<SecretText, Flaw> {
    let text = SecretText::new(text);
    KeyEncryptionKey::from_text(&text).map(|_| text).map_err(|_| {
        let fix = "write 32 random bytes in base64, base64url or hex, for example what \
                   `openssl rand -base64 32` prints";
        flaw("This is not a key of 32 bytes.", fix)
    })
}

/// Reads `[refresh]`.
pub(in crate::settings) fn refresh(s: &mut Section<'_>) -> Option<RefreshSettings> {
    let grace = s.seconds(
        key(
            "grace_secs",
            "How long after a refresh the token before it is answered with the same successor: \
             for parallel tabs and lost answers.",
        )
        .or(30),
        0..=300,
    );
    let grace_replays = s.number(
        key(
            "grace_replays",
            "How often, within `grace_secs`. Counted one after another; several at once do not \
             count.",
        )
        .or(10),
        0..=1000,
    );
    let lost_answer = s.choice(
        key(
            "lost_answer",
            "What it means that a token comes later, or more often, than that. `grace`: it was \
             stolen, and its session ends. `until_used`: as long as nobody has used its successor, \
             that one was lost, and another takes its place; kinder to clients on bad networks, \
             later to notice a thief.",
        )
        .or("grace"),
        &[("grace", LostAnswer::Grace), ("until_used", LostAnswer::UntilUsed)],
    );
    Some(RefreshSettings {
        grace: grace?,
        grace_replays: grace_replays?.try_into().ok()?,
        lost_answer: lost_answer?,
    })
}
