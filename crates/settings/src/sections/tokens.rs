//! `[tokens]`, `[keys]` and `[refresh]`: the tokens that Mintgate issues, and the keys that sign them.

use mintgate_config_reader::{DefaultValue, Invalid, Section, Unit, invalid, key, unknown_name};
use std::path::PathBuf;

use mintgate_domain::SecretText;
use mintgate_domain::model::{LostAnswer, NewerToken};
use mintgate_signer_jose::{AccessTokenType, KeyEncryptionKey, STANDARD_CLAIMS};

use crate::rules;
use crate::types::{Algorithm, KeySettings, RefreshSettings, TokenSettings};

const ALGORITHMS: [(&str, Algorithm); 6] = [
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
    ("RS256", Algorithm::Rs256),
    ("PS256", Algorithm::Ps256),
    ("HS256", Algorithm::Hs256),
];

/// The algorithms that sign equal claims with equal bytes.
const DETERMINISTIC: [&str; 3] = ["HS256", "EdDSA", "RS256"];

/// Claims that our access tokens do not have, and that an extra claim must not imitate.
const RESERVED_BESIDES: [&str; 2] = ["gen", "typ"];

const TEN_YEARS_SECS: u32 = 10 * 366 * 86_400;

/// Reads the section `[tokens]`. `public_url` is the text of `server.public_url` as it is configured.
pub(crate) fn tokens(s: &mut Section<'_>, public_url: Option<&str>) -> Option<TokenSettings> {
    let issuer = s.text(
        key("issuer", "The issuer of Mintgate's tokens (`iss`), kept character for character.")
            .default_from("`server.public_url`", public_url),
        "URL",
        rules::issuer,
    );
    let own = issuer.as_deref().map(|issuer| [issuer]);
    let audience = s.non_empty_list(
        key("audience", "The audience of access tokens (`aud`): the services that accept them.")
            .default_from("`[issuer]`", own),
        "list of texts",
        "[\"https://api.example.com\"]",
        rules::non_empty,
    );
    let client_id = s.text(
        key("client_id", "The client of access tokens (`client_id`), which RFC 9068 requires.")
            .default("mintgate"),
        "text",
        rules::non_empty,
    );
    let access_type = s.choice(
        key(
            "typ",
            "The type in the header of access tokens: `at+jwt` (RFC 9068), or `JWT` for verifiers that \
             know no other, such as Spring Boot's default.",
        )
        .default("at+jwt"),
        &[("at+jwt", AccessTokenType::AtJwt), ("JWT", AccessTokenType::Jwt)],
    );
    let algorithm = s.choice(
        key(
            "algorithm",
            "The algorithm that signs access tokens. With `HS256` there is no public key to publish.",
        )
        .default("ES256"),
        &ALGORITHMS,
    );
    let refresh_algorithm = s.text(
        key(
            "refresh_algorithm",
            "The algorithm that signs refresh tokens. It must sign equal claims with equal bytes, \
             because Mintgate answers a repeated refresh with the same token, made again from the \
             stored state.",
        )
        .default("HS256"),
        "`HS256`, `EdDSA`, `RS256`",
        refresh_algorithm,
    );
    let access_ttl = s.seconds(
        key("access_ttl_secs", "The life of an access token, in seconds.").default(3600),
        1..=86_400,
    );
    let refresh_ttl = s.seconds(
        key(
            "refresh_ttl_secs",
            "The idle limit of a session: how long it lives without a refresh, in seconds.",
        )
        .default(2_592_000),
        1..=TEN_YEARS_SECS,
    );
    let session_ttl = s.seconds(
        key("session_ttl_secs", "The absolute limit of a session: its life in all, in seconds.")
            .default(7_776_000),
        1..=TEN_YEARS_SECS,
    );
    s.in_order(
        Unit::Secs,
        ("access_ttl_secs", access_ttl),
        ("refresh_ttl_secs", refresh_ttl),
        "An access token would outlive its refresh token.",
    );
    s.in_order(
        Unit::Secs,
        ("refresh_ttl_secs", refresh_ttl),
        ("session_ttl_secs", session_ttl),
        "A refresh token would outlive its session.",
    );
    let body_delivery = s.flag(
        key(
            "body_delivery",
            "Whether a native app may ask for `tokenDelivery: \"body\"`, to get tokens in the answer \
             instead of in cookies.",
        )
        .default(false),
    );
    let (extra_claims, former_ids_claim) = more_claims(s);
    Some(TokenSettings {
        issuer: issuer?,
        audience: audience?,
        client_id: client_id?,
        access_type: access_type?,
        algorithm: algorithm?,
        refresh_algorithm: refresh_algorithm?,
        access_ttl: access_ttl?,
        refresh_ttl: refresh_ttl?,
        session_ttl: session_ttl?,
        body_delivery: body_delivery?,
        extra_claims: extra_claims?,
        former_ids_claim,
    })
}

fn refresh_algorithm(name: &str) -> Result<Algorithm, Invalid> {
    let known = ALGORITHMS.iter().find(|(known, _)| *known == name);
    match known {
        Some((_, algorithm)) if DETERMINISTIC.contains(&name) => Ok(*algorithm),
        Some(_) => Err(invalid(
            format!(
                "{name} signs with fresh randomness, and a repeated refresh must be answered with \
                 the same bytes."
            ),
            format!("write one of {}", DETERMINISTIC.join(", ")),
        )),
        None => Err(unknown_name(name, &DETERMINISTIC)),
    }
}

fn extra_claims(s: &mut Section<'_>) -> Option<Vec<(String, String)>> {
    s.texts_by_name(
        key(
            "extra_claims",
            "Claims that are copied from the provider's into access tokens: \
             `name = \"path.of.claim\"`.",
        )
        .default(DefaultValue::empty_table()),
        "table of texts",
        |name, path| {
            claim_name(name)?;
            let Some(path) = path else {
                let fix = format!("write {name} = \"path.of.the.claim\"");
                return Err(invalid("This must be the path of a claim: a text.", fix));
            };
            Ok((name.to_owned(), rules::non_empty(path)?))
        },
    )
}

/// Reads the keys `extra_claims` and `former_ids_claim`.
fn more_claims(s: &mut Section<'_>) -> (Option<Vec<(String, String)>>, Option<String>) {
    let extra_claims = extra_claims(s);
    let former_ids_claim = former_ids_claim(s, extra_claims.as_deref());
    (extra_claims, former_ids_claim)
}

/// Reads the key `former_ids_claim`.
fn former_ids_claim(
    s: &mut Section<'_>,
    extra_claims: Option<&[(String, String)]>,
) -> Option<String> {
    s.text(
        key(
            "former_ids_claim",
            "The claim of access tokens that lists the ids which the user had in systems that were \
             [imported](moving-in.md): a list of texts, first the one that the applications knew. Who \
             was not imported has no such claim.",
        )
        .optional("no claim"),
        "name of a claim",
        |name| {
            claim_name(name)?;
            if extra_claims.is_some_and(|claims| claims.iter().any(|(other, _)| other == name)) {
                let problem = "The claim is copied from the provider too, by extra_claims.";
                return Err(invalid(problem, "choose another name"));
            }
            Ok(name.to_owned())
        },
    )
}

fn claim_name(name: &str) -> Result<(), Invalid> {
    if STANDARD_CLAIMS.contains(&name) || RESERVED_BESIDES.contains(&name) {
        let problem =
            format!("The claim {name} is not free: Mintgate sets it, or a standard does.");
        return Err(invalid(problem, "choose another name"));
    }
    if name.is_empty() || name.len() > 64 || !name.bytes().all(|b| b.is_ascii_graphic()) {
        let problem = "A claim's name has 1 to 64 visible ASCII characters.";
        return Err(invalid(problem, "choose another name"));
    }
    Ok(())
}

/// Reads the section `[keys]`.
pub(crate) fn keys(s: &mut Section<'_>) -> Option<KeySettings> {
    let dir = s.text(
        key(
            "dir",
            "The directory of the signing keys, which Mintgate creates at the first start. Not used \
             where `encryption_key` is set.",
        )
        .default("keys"),
        "path",
        rules::non_empty,
    );
    let encryption_key_text = s.text_or_file(
        key(
            "encryption_key",
            "The key that encrypts the signing keys: 32 random bytes, for example what \
             `openssl rand -base64 32` prints. With it the signing keys are in the store, and every \
             replica has the same ones.",
        )
        .optional("none: the keys are in `dir`")
        .secret(),
        "32 bytes in base64 or hex",
        encryption_key,
    );
    let former_encryption_keys = s.text_or_file(
        key(
            "former_encryption_keys",
            "Other values of `encryption_key`, separated by spaces or lines: they open what is sealed under \
             them, and seal nothing. For the change from one key to another: the new one on every replica, \
             then the old one.",
        )
        .secret(),
        "keys as `encryption_key`",
        |text| text.split_whitespace().map(encryption_key).collect::<Result<Vec<_>, _>>(),
    );
    if former_encryption_keys.is_some() && encryption_key_text.is_none() {
        let problem = "Without `encryption_key` nothing is sealed.";
        s.reject("former_encryption_keys", invalid(problem, "set encryption_key too"));
    }
    let keep = |text: &str| Ok(SecretText::new(text));
    let access_key = s.text_or_file(
        key(
            "access_key",
            "A key that signs access tokens, in place of keys that Mintgate makes. It is never \
             rotated.",
        )
        .secret(),
        "PEM or JWK",
        keep,
    );
    let refresh_key = s.text_or_file(
        key(
            "refresh_key",
            "A key that signs refresh tokens, in place of keys that Mintgate makes. It is never \
             rotated.",
        )
        .secret(),
        "PEM or JWK",
        keep,
    );
    let publish_ahead = s.seconds(
        key(
            "publish_ahead_secs",
            "How long a key is published before it signs, in seconds. Services may cache the JWKS for \
             300 seconds, so a shorter time makes them refuse tokens after a rotation.",
        )
        .default(600),
        0..=86_400,
    );
    let rotate_after = s.days(
        key(
            "rotate_after_days",
            "The number of days after which Mintgate rotates a signing key. 0 disables automatic \
             rotation.",
        )
        .default(90),
        0..=3650,
    );
    let reload = s.seconds(
        key(
            "reload_secs",
            "The longest until a running service notices that keys have changed, in seconds.",
        )
        .default(10),
        1..=300,
    );
    Some(KeySettings {
        dir: PathBuf::from(dir?),
        access_key,
        refresh_key,
        encryption_key: encryption_key_text,
        former_encryption_keys: former_encryption_keys.unwrap_or_default(),
        publish_ahead: publish_ahead?,
        rotate_every: rotate_after.map(|span| (!span.is_zero()).then_some(span))?,
        reload: reload?,
    })
}

fn encryption_key(text: &str) -> Result<SecretText, Invalid> {
    let text = SecretText::new(text);
    KeyEncryptionKey::from_text(&text).map(|_| text).map_err(|_| {
        let fix = "write 32 random bytes in base64, base64url or hex, for example what \
                   `openssl rand -base64 32` prints";
        invalid("This is not a key of 32 bytes.", fix)
    })
}

/// Reads the section `[refresh]`.
pub(crate) fn refresh(s: &mut Section<'_>) -> Option<RefreshSettings> {
    let grace = s.seconds(
        key(
            "grace_secs",
            "How long after a refresh the previous token is still answered with the current one, in \
             seconds: for parallel tabs and lost answers.",
        )
        .default(30),
        0..=300,
    );
    let grace_replays = s.number(
        key(
            "grace_replays",
            "How many replays of the previous token are answered within `grace_secs`. Replays that \
             arrive while another request of the session is in progress do not count.",
        )
        .default(10),
        0..=1000,
    );
    let lost_answer = s.choice(
        key(
            "lost_answer",
            "What a replay of the previous token after `grace_secs`, or beyond `grace_replays`, means. \
             `until_used`: until the current token is used, its answer was lost, and a new token \
             replaces it, so that sleep, a slow proxy or a failover signs nobody out; a thief is noticed \
             at the owner's next refresh. `grace`: the token was stolen, and the session ends.",
        )
        .default("until_used"),
        &[("grace", LostAnswer::Grace), ("until_used", LostAnswer::UntilUsed)],
    );
    let newer_token = s.choice(
        key(
            "newer_token",
            "What a genuine, unexpired refresh token means that is newer than its session: the store has lost what it had \
             acknowledged, because a failover has undone the last writes or a backup was restored. `follow`: the session \
             goes on from that token, unless it has ended. `refuse`: the token is refused, and its user signs in again; \
             the session stays as it is. Both are logged, with the command to run after a restore.",
        )
        .default("follow"),
        &[("follow", NewerToken::Follow), ("refuse", NewerToken::Refuse)],
    );
    Some(RefreshSettings {
        newer_token: newer_token?,
        grace: grace?,
        grace_replays: grace_replays?.try_into().ok()?,
        lost_answer: lost_answer?,
    })
}
