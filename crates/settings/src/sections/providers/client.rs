//! Our client at a provider: its id, and how it authenticates.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use mintgate_domain::SecretText;
use mintgate_identity_openid::{
    AppleSecret, AssertionAlgorithm, AssertionAudience, AssertionKey, ClientAuthentication,
    ClientKeyError, PresetAuthentication,
};

use super::preset::{SelectedPreset, mints_secrets};
use super::sentence;
use crate::rules;

/// The values of the key `client_auth`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Auto,
    Basic,
    Post,
    PrivateKeyJwt,
    None,
}

const METHODS: [(&str, Method); 5] = [
    ("auto", Method::Auto),
    ("client_secret_basic", Method::Basic),
    ("client_secret_post", Method::Post),
    ("private_key_jwt", Method::PrivateKeyJwt),
    ("none", Method::None),
];

const AUDIENCES: [(&str, AssertionAudience); 2] =
    [("token_endpoint", AssertionAudience::TokenEndpoint), ("issuer", AssertionAudience::Issuer)];

/// Our client at a provider, as far as its keys are valid.
pub(super) struct Client {
    pub(super) id: Option<String>,
    pub(super) secret: Option<SecretText>,
    pub(super) authentication: Option<ClientAuthentication>,
}

/// The keys about a client's private key.
struct ClientKey {
    pem: Option<SecretText>,
    id: Option<String>,
    algorithm: Option<AssertionAlgorithm>,
    audience: Option<AssertionAudience>,
    team: Option<String>,
}

impl Client {
    /// Reads the client's keys. `issuer` is the audience of Apple's client secrets.
    pub(super) fn read(
        s: &mut Section<'_>,
        selected: SelectedPreset,
        issuer: Option<&str>,
    ) -> Self {
        let id = s.text(
            key("client_id", "The client id that the provider has assigned to Mintgate.")
                .required("client_id = \"mintgate\""),
            "1 to 255 characters",
            client_id,
        );
        let minted = selected.mints_secrets().then(|| {
            let problem = "Apple's client secrets are made from client_key, and expire.";
            invalid(problem, "remove it, and set client_key_file, client_key_id and team_id")
        });
        let secret = s.text_or_file(
            key("client_secret", "The client secret that the provider has assigned to Mintgate.")
                .secret()
                .optional("none: a public client, or one with a key")
                .forbidden(minted),
            "text",
            |text| Ok(SecretText::new(text)),
        );
        let method = s.choice(
            key(
                "client_auth",
                "How Mintgate authenticates at the token endpoint. `auto`: with the secret, by the \
                 method that the provider or the preset asks for; without a secret as a public \
                 client. `private_key_jwt`: with assertions signed by `client_key`. `none`: as a \
                 public client.",
            )
            .default("auto")
            .forbidden(selected.unless(|preset| !mints_secrets(preset))),
            &METHODS,
        );
        let client_key = ClientKey::read(s, selected);
        let authentication = if selected.mints_secrets() {
            client_key.apple(s, issuer)
        } else {
            method.zip(selected.0).and_then(|(method, preset)| match method {
                Method::PrivateKeyJwt => client_key.private_key_jwt(s),
                _ => by_secret(s, method, preset.client_authentication, preset.display_name),
            })
        };
        Self { id, secret, authentication }
    }
}

/// Whether there is meant to be a client secret, valid or not.
pub(super) fn has_secret(s: &Section<'_>) -> bool {
    is_set(s, "client_secret", "client_secret_file")
}

fn has_key(s: &Section<'_>) -> bool {
    is_set(s, "client_key", "client_key_file")
}

fn is_set(s: &Section<'_>, name: &str, file: &str) -> bool {
    !s.is_default(name) || !s.is_default(file)
}

/// Reads how the client authenticates by a secret, or that it has none.
fn by_secret(
    s: &mut Section<'_>,
    method: Method,
    preset: PresetAuthentication,
    provider: &str,
) -> Option<ClientAuthentication> {
    let refused = || {
        let problem = "This is for client_auth = \"private_key_jwt\" alone.";
        invalid(problem, "write that, or remove it")
    };
    if has_key(s) {
        reject_key(s, refused());
    }
    for name in ["client_key_id", "client_key_alg", "client_assertion_audience"] {
        if !s.is_default(name) {
            s.reject(name, refused());
        }
    }
    let by_secret = match (method, preset) {
        (Method::None, _) => {
            if has_secret(s) {
                let problem = "With client_auth = \"none\" there is no secret.";
                reject_secret(s, invalid(problem, "remove it, or write client_auth = \"auto\""));
            }
            return Some(ClientAuthentication::Public);
        }
        (Method::Basic, _) => ClientAuthentication::SecretBasic,
        (Method::Post, _) | (_, PresetAuthentication::SecretPost) => {
            ClientAuthentication::SecretPost
        }
        _ => return Some(ClientAuthentication::Negotiated),
    };
    if !has_secret(s) {
        let fix = format!("add client_secret_file = \"…\": {provider} knows us by a secret");
        s.missing("client_secret", fix);
        return None;
    }
    Some(by_secret)
}

impl ClientKey {
    fn read(s: &mut Section<'_>, selected: SelectedPreset) -> Self {
        let pem = s.text_or_file(
            key(
                "client_key",
                "The client's private key, for `private_key_jwt`. For `apple` (**required**): the \
                 `.p8` file from Apple. If the same PEM holds the key's certificate, assertions name \
                 it (`x5t#S256`), as Entra requires.",
            )
            .secret(),
            "PEM",
            |text| Ok(SecretText::new(text)),
        );
        let id = s.text(
            key(
                "client_key_id",
                "The id of the client's key at the provider, sent as `kid` of assertions. \
                 **Required** for `apple`.",
            ),
            "text",
            rules::non_empty,
        );
        let algorithms = AssertionAlgorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
        let algorithm = s.choice(
            key("client_key_alg", "The algorithm that signs assertions with `private_key_jwt`.")
                .optional("the key's; `RS256` for RSA")
                .forbidden(selected.unless(|preset| !mints_secrets(preset))),
            &algorithms,
        );
        let audience = s.choice(
            key(
                "client_assertion_audience",
                "The audience (`aud`) of assertions with `private_key_jwt`: the URL of the token \
                 endpoint (OIDC Core §9), or the issuer, which newer providers prefer.",
            )
            .optional("`token_endpoint`")
            .forbidden(selected.unless(|preset| !mints_secrets(preset))),
            &AUDIENCES,
        );
        let team = s.text(
            key("team_id", "`apple` (**required**): the id of your team at Apple, ten characters.")
                .forbidden(selected.unless(mints_secrets)),
            "text",
            rules::non_empty,
        );
        Self { pem, id, algorithm, audience, team }
    }

    /// Authentication at Apple: by a key with its id, and a team.
    fn apple(self, s: &mut Section<'_>, issuer: Option<&str>) -> Option<ClientAuthentication> {
        for (is_set, name, fix) in [
            (has_key(s), "client_key", "add client_key_file = \"…\": the .p8 file from Apple"),
            (
                !s.is_default("client_key_id"),
                "client_key_id",
                "add client_key_id = \"…\": the id of that key",
            ),
            (
                !s.is_default("team_id"),
                "team_id",
                "add team_id = \"…\": the id of your team at Apple",
            ),
        ] {
            if !is_set {
                s.missing(name, fix);
            }
        }
        // The key is checked even if its id is missing.
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let secret = AppleSecret::from_pem(&self.pem?, text(&self.team), text(&self.id));
        let secret = secret.map_err(|error| reject_client_key(s, &error)).ok()?;
        let secret = secret.with_audience(issuer?);
        self.team.and(self.id).map(|_| ClientAuthentication::MintedSecret(secret))
    }

    fn private_key_jwt(self, s: &mut Section<'_>) -> Option<ClientAuthentication> {
        if has_secret(s) {
            let problem = "With client_auth = \"private_key_jwt\" a key takes its place.";
            reject_secret(s, invalid(problem, "remove it, or write client_auth = \"auto\""));
        }
        if !has_key(s) {
            s.missing("client_key", "add client_key_file = \"…\": our private key in PEM");
        }
        let pem = self.pem?;
        let is_algorithm_set = !s.is_default("client_key_alg");
        if is_algorithm_set && self.algorithm.is_none() {
            return None;
        }
        let key = read_key(&pem, self.algorithm).map_err(|error| match error {
            ClientKeyError::Unfit(_) if is_algorithm_set => {
                let fix = "write the algorithm of the key, or remove this key";
                s.reject("client_key_alg", invalid(sentence(&error), fix));
            }
            error => reject_client_key(s, &error),
        });
        let key = key.ok()?;
        let key = if pem.expose().contains("BEGIN CERTIFICATE") {
            key.with_certificate(pem.expose()).map_err(|error| reject_client_key(s, &error)).ok()?
        } else {
            key
        };
        let key = key.with_audience(self.audience.unwrap_or_default());
        Some(ClientAuthentication::PrivateKeyJwt(match self.id {
            Some(id) => key.with_key_id(id),
            None => key,
        }))
    }
}

/// The key with the given algorithm, or with the first one that it fits.
fn read_key(
    pem: &SecretText,
    algorithm: Option<AssertionAlgorithm>,
) -> Result<AssertionKey, ClientKeyError> {
    let read = |algorithm| AssertionKey::from_pem(pem, algorithm);
    if let Some(algorithm) = algorithm {
        return read(algorithm);
    }
    let [first, others @ ..] = AssertionAlgorithm::ALL;
    others.into_iter().fold(read(first), |found, next| found.or_else(|_| read(next)))
}

fn reject_client_key(s: &mut Section<'_>, error: &ClientKeyError) {
    reject_key(s, invalid(sentence(error), "name another file, or make a new key"));
}

fn reject_key(s: &mut Section<'_>, invalid: Invalid) {
    let name = if s.is_default("client_key") { "client_key_file" } else { "client_key" };
    s.reject(name, invalid);
}

fn reject_secret(s: &mut Section<'_>, invalid: Invalid) {
    let name = if s.is_default("client_secret") { "client_secret_file" } else { "client_secret" };
    s.reject(name, invalid);
}

fn client_id(text: &str) -> Result<String, Invalid> {
    let length = text.chars().count();
    if !(1..=255).contains(&length) || text.chars().any(char::is_control) {
        let problem = "A client id has 1 to 255 characters, and no control characters.";
        return Err(invalid(problem, "write it as the provider shows it"));
    }
    Ok(text.to_owned())
}
