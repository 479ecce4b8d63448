//! Which client we are at a provider, and how we prove it.

use mintgate_domain::SecretText;
use mintgate_identity_openid::{
    AppleSecret, AssertionAlgorithm, AssertionKey, ClientAuthentication, ClientKeyError,
    PresetAuthentication,
};

use super::chosen::{Chosen, mints_secrets};
use super::sentence;
use crate::settings::key::key;
use crate::settings::mistakes::{Flaw, flaw};
use crate::settings::reader::Section;
use crate::settings::rules;

/// What `client_auth` can be.
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

/// Which client we are.
pub(super) struct Client {
    pub(super) id: Option<String>,
    pub(super) secret: Option<SecretText>,
    /// Whether there is meant to be a secret, rightly or wrongly.
    pub(super) has_secret: bool,
    pub(super) authentication: Option<ClientAuthentication>,
}

/// What was read, before it is compared.
struct Credentials {
    has_secret: bool,
    has_key: bool,
    key: Option<SecretText>,
    has_key_id: bool,
    key_id: Option<String>,
    has_algorithm: bool,
    algorithm: Option<AssertionAlgorithm>,
    has_team: bool,
    team: Option<String>,
}

impl Client {
    /// Reads the keys of the client. `issuer` is whom Apple's secrets are for.
    pub(super) fn read(s: &mut Section<'_>, chosen: Chosen, issuer: Option<&str>) -> Self {
        let id = s.text(
            key("client_id", "Our client id there.").required("client_id = \"mintgate\""),
            "1 to 255 characters",
            client_id,
        );
        let has_secret = s.is_given("client_secret") || s.is_given("client_secret_file");
        let minted = chosen.mints_secrets().then(|| {
            let problem = "Apple's client secrets are made from client_key, and expire.";
            flaw(problem, "remove it, and set client_key_file, client_key_id and team_id")
        });
        let secret = s.text_or_file(
            key("client_secret", "Our secret there.")
                .secret()
                .or_nothing("none: a public client, or one with a key")
                .barred(minted),
            "text",
            |text| Ok(SecretText::new(text)),
        );
        let method = s.choice(
            key(
                "client_auth",
                "How we prove who we are at the token endpoint. `auto`: with the secret, in the way \
                 that the provider or the preset asks for; without one as a public client. \
                 `private_key_jwt`: with `client_key`, in place of a secret. `none`: a public \
                 client.",
            )
            .or("auto")
            .barred(chosen.unless(|preset| !mints_secrets(preset))),
            &METHODS,
        );
        let credentials = Credentials::read(s, chosen, has_secret);
        let authentication = if chosen.mints_secrets() {
            credentials.apple(s, issuer)
        } else {
            method.zip(chosen.0).and_then(|(method, preset)| {
                credentials.chosen(s, method, preset.client_authentication, preset.display_name)
            })
        };
        Self { id, secret, has_secret, authentication }
    }
}

impl Credentials {
    fn read(s: &mut Section<'_>, chosen: Chosen, has_secret: bool) -> Self {
        let has_key = s.is_given("client_key") || s.is_given("client_key_file");
        let key_text = s.text_or_file(
            key(
                "client_key",
                "Our private key, for `private_key_jwt`, and for `apple` (the `.p8` file). A \
                 certificate beside it in the same PEM is named in our assertions (`x5t#S256`), as \
                 Entra asks for.",
            )
            .secret(),
            "PEM",
            |text| Ok(SecretText::new(text)),
        );
        let has_key_id = s.is_given("client_key_id");
        let key_id = s.text(
            key(
                "client_key_id",
                "The key's id there, the `kid` of our assertions. `apple` (**required**): the id \
                 of the key.",
            ),
            "text",
            rules::non_empty,
        );
        let has_algorithm = s.is_given("client_key_alg");
        let algorithms = AssertionAlgorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
        let algorithm = s.choice(
            key("client_key_alg", "What `private_key_jwt` signs with.")
                .or_nothing("what the key is for; `RS256` for RSA")
                .barred(chosen.unless(|preset| !mints_secrets(preset))),
            &algorithms,
        );
        let has_team = s.is_given("team_id");
        let team = s.text(
            key("team_id", "`apple` (**required**): the id of your team, ten characters.")
                .barred(chosen.unless(mints_secrets)),
            "text",
            rules::non_empty,
        );
        Self {
            has_secret,
            has_key,
            key: key_text,
            has_key_id,
            key_id,
            has_algorithm,
            algorithm,
            has_team,
            team,
        }
    }

    /// Apple's: a key with its id, and a team.
    fn apple(self, s: &mut Section<'_>, issuer: Option<&str>) -> Option<ClientAuthentication> {
        for (is_given, name, fix) in [
            (self.has_key, "client_key", "add client_key_file = \"…\": the .p8 file from Apple"),
            (self.has_key_id, "client_key_id", "add client_key_id = \"…\": the id of that key"),
            (self.has_team, "team_id", "add team_id = \"…\": the id of your team at Apple"),
        ] {
            if !is_given {
                s.missing(name, fix);
            }
        }
        // The key is looked at even if its id is missing.
        let (team, key_id) = (self.team, self.key_id);
        let secret = AppleSecret::from_pem(
            &self.key?,
            team.as_deref().unwrap_or_default(),
            key_id.as_deref().unwrap_or_default(),
        );
        let secret = secret.map_err(|error| blame_key(s, &error)).ok()?;
        let secret = secret.with_audience(issuer?);
        team.and(key_id).map(|_| ClientAuthentication::MintedSecret(secret))
    }

    /// Everybody else's.
    fn chosen(
        self,
        s: &mut Section<'_>,
        method: Method,
        preset: PresetAuthentication,
        provider: &str,
    ) -> Option<ClientAuthentication> {
        if method == Method::PrivateKeyJwt {
            return self.private_key_jwt(s);
        }
        self.refuse_key(s);
        if method == Method::None {
            if self.has_secret {
                let problem = "With client_auth = \"none\" there is no secret.";
                blame_secret(s, flaw(problem, "remove it, or write client_auth = \"auto\""));
            }
            return Some(ClientAuthentication::Public);
        }
        let by_secret = match (method, preset) {
            (Method::Basic, _) => Some(ClientAuthentication::SecretBasic),
            (Method::Post, _) | (_, PresetAuthentication::SecretPost) => {
                Some(ClientAuthentication::SecretPost)
            }
            _ => None,
        };
        if by_secret.is_some() && !self.has_secret {
            let fix = format!("add client_secret_file = \"…\": {provider} knows us by a secret");
            s.missing("client_secret", fix);
            return None;
        }
        Some(by_secret.unwrap_or_default())
    }

    /// A key is for `private_key_jwt` alone.
    fn refuse_key(&self, s: &mut Section<'_>) {
        let refused = || {
            let problem = "This is for client_auth = \"private_key_jwt\" alone.";
            flaw(problem, "write that, or remove it")
        };
        if self.has_key {
            blame_key_with(s, refused());
        }
        for (is_given, name) in
            [(self.has_key_id, "client_key_id"), (self.has_algorithm, "client_key_alg")]
        {
            if is_given {
                s.blame(name, refused());
            }
        }
    }

    fn private_key_jwt(self, s: &mut Section<'_>) -> Option<ClientAuthentication> {
        if self.has_secret {
            let problem = "With client_auth = \"private_key_jwt\" a key takes its place.";
            blame_secret(s, flaw(problem, "remove it, or write client_auth = \"auto\""));
        }
        if !self.has_key {
            s.missing("client_key", "add client_key_file = \"…\": our private key in PEM");
        }
        let pem = self.key?;
        if self.has_algorithm && self.algorithm.is_none() {
            return None;
        }
        let key = read_key(&pem, self.algorithm).map_err(|error| match error {
            ClientKeyError::Unfit(_) if self.has_algorithm => {
                let fix = "write the algorithm of the key, or remove this key";
                s.blame("client_key_alg", flaw(sentence(&error), fix));
            }
            error => blame_key(s, &error),
        });
        let key = key.ok()?;
        let key = if pem.expose().contains("BEGIN CERTIFICATE") {
            key.with_certificate(pem.expose()).map_err(|error| blame_key(s, &error)).ok()?
        } else {
            key
        };
        Some(ClientAuthentication::PrivateKeyJwt(match self.key_id {
            Some(id) => key.with_key_id(id),
            None => key,
        }))
    }
}

/// With the algorithm given, or the first one that the key is for.
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

fn blame_key(s: &mut Section<'_>, error: &ClientKeyError) {
    blame_key_with(s, flaw(sentence(error), "name another file, or make a new key"));
}

fn blame_key_with(s: &mut Section<'_>, flaw: Flaw) {
    blame_of(s, "client_key", "client_key_file", flaw);
}

fn blame_secret(s: &mut Section<'_>, flaw: Flaw) {
    blame_of(s, "client_secret", "client_secret_file", flaw);
}

/// Blames the one of two keys that is set.
fn blame_of(s: &mut Section<'_>, name: &str, file: &str, flaw: Flaw) {
    let name = if s.is_default(name) { file } else { name };
    s.blame(name, flaw);
}

fn client_id(text: &str) -> Result<String, Flaw> {
    let length = text.chars().count();
    if !(1..=255).contains(&length) || text.chars().any(char::is_control) {
        let problem = "A client id has 1 to 255 characters, and no control characters.";
        return Err(flaw(problem, "write it as the provider shows it"));
    }
    Ok(text.to_owned())
}
