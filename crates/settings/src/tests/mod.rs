//! What the configuration promises, tested through its own front door.

mod admin;
mod answers;
mod back_ends;
mod bounds;
mod changes;
mod clients;
mod conflicts;
mod defaults;
mod entra;
mod environment;
mod gateways;
mod guides;
mod hosted;
mod id_tokens;
mod keys;
mod kubernetes;
mod logins;
mod messages;
mod pages;
mod parts;
mod presets;
mod reaching;
mod reference;
mod secrets;
mod tls;
mod users;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write as _;

use mintgate_identity_openid::{Dialect, OAuth2Config, OpenIdConfig};

use super::{ConfigError, ProviderConfig, ProviderSettings, Settings};

/// A provider, and nothing else: everything but this has a default.
const PROVIDER: &str = r#"
[[providers]]
id = "corp"
issuer = "https://idp.example.com"
client_id = "mintgate"
redirect_uris = ["https://app.example.com/callback"]
"#;

/// A provider's lines that no preset does without.
const CLIENT: &str = "client_id = \"mintgate\"\n\
                      redirect_uris = [\"https://app.example.com/callback\"]\n";

/// A P-256 key, made for these tests.
const EC_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgePVw84y//KKBC8Xf\n\
ICdD0yTFdeUjQ958cFlRNOjQokmhRANCAASxBrsLCHLWZOVBikkQTxfl/wvECJbd\n\
RiYT9xxwghIfg6IvmXD/Ip65agmMWlV5wjo0R/hlfcEhX/pmkD/0d9TO\n\
-----END PRIVATE KEY-----\n\
";
/// An Ed25519 key, made for these tests.
const ED_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VwBCIEIFS0aB3DwG+Qut3CXeGjHNEvm+aQq0yeP+j9tbKDHtjq\n\
-----END PRIVATE KEY-----\n\
";
/// The certificate of the P-256 key.
const EC_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\n\
MIIBfjCCASOgAwIBAgIUDfJVqLOlu70DdRLHSDtHZZcz+1cwCgYIKoZIzj0EAwIw\n\
EzERMA8GA1UEAwwIbWludGdhdGUwIBcNMjYxMTIzMDI1MTMxWhgPMjEyNjEwMzAw\n\
MjUxMzFaMBMxETAPBgNVBAMMCG1pbnRnYXRlMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n\
AQcDQgAEsQa7Cwhy1mTlQYpJEE8X5f8LxAiW3UYmE/cccIISH4OiL5lw/yKeuWoJ\n\
jFpVecI6NEf4ZX3BIV/6ZpA/9HfUzqNTMFEwHQYDVR0OBBYEFMpdYs+O0TSjCdsr\n\
ZPz1yImJgoC3MB8GA1UdIwQYMBaAFMpdYs+O0TSjCdsrZPz1yImJgoC3MA8GA1Ud\n\
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAOcWkTiYqxQfQ0hfRPHwtN0E\n\
+QsQvx1U2RPty2JXh9/tAiEA1QuO2VuFQoLYH9SP7FQbd6j1Q/S14Dom+O+sI56D\n\
V8k=\n\
-----END CERTIFICATE-----\n\
";

/// A provider `id` with these lines besides the client's.
fn one(id: &str, lines: &str) -> String {
    format!("[[providers]]\nid = \"{id}\"\n{CLIENT}{lines}\n")
}

/// The one provider of a configuration that must be accepted.
fn only(text: &str) -> ProviderSettings {
    let settings = Settings::from_toml(text).unwrap_or_else(|e| panic!("{text}\n{e}"));
    let [provider] = settings.providers.as_slice() else { panic!("one provider: {text}") };
    provider.clone()
}

fn openid(provider: &ProviderSettings) -> &OpenIdConfig {
    match &provider.config {
        ProviderConfig::OpenId(config, _) => config,
        ProviderConfig::OAuth2(_) => panic!("{} is asked by OAuth 2.0", provider.policy.id),
    }
}

fn dialect(provider: &ProviderSettings) -> &Dialect {
    match &provider.config {
        ProviderConfig::OpenId(_, dialect) => dialect,
        ProviderConfig::OAuth2(_) => panic!("{} is asked by OAuth 2.0", provider.policy.id),
    }
}

fn oauth2(provider: &ProviderSettings) -> &OAuth2Config {
    match &provider.config {
        ProviderConfig::OAuth2(config) => config,
        ProviderConfig::OpenId(..) => panic!("{} is asked by OpenID Connect", provider.policy.id),
    }
}

/// A text as a TOML value, on one line.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn with_provider(text: &str) -> String {
    format!("{text}\n{PROVIDER}")
}

fn good(text: &str) -> Settings {
    Settings::from_toml(&with_provider(text)).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

/// One mistake as an operator reads it.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    /// The key with its value, if it is shown, and with its place.
    heading: String,
    /// What is wrong, and how to correct it. Tests look only for names and values in it.
    body: String,
}

impl Mistake {
    fn key(&self) -> &str {
        self.heading.split([' ', '\n']).next().unwrap()
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}", self.heading, self.body)
    }
}

/// The mistakes in an error: numbered, each with a heading, and with a body that has a fix.
fn mistakes(error: &ConfigError) -> Vec<Mistake> {
    let text = error.to_string();
    let mistakes: Vec<_> = text
        .split("\n\n")
        .skip(1)
        .zip(1..)
        .map(|(mistake, number)| {
            let numbered = mistake.strip_prefix(&format!("{number}. ")).expect("a number");
            let (heading, body) = numbered.split_once("\n   ").expect("a heading and a body");
            assert!(body.contains("\n   Fix: "), "{mistake}");
            Mistake { heading: heading.to_owned(), body: body.to_owned() }
        })
        .collect();
    assert_eq!(mistakes.len(), error.count(), "{text}");
    mistakes
}

/// The mistakes of a text that must be refused.
fn refusals(text: &str) -> Vec<Mistake> {
    match Settings::from_toml(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => mistakes(&error),
    }
}

/// The one mistake of a text that must be refused.
fn refusal(text: &str) -> Mistake {
    let mut mistakes = refusals(text);
    assert_eq!(mistakes.len(), 1, "{text}\n{mistakes:?}");
    mistakes.remove(0)
}

/// Checks that each text has one mistake, for the reason that is given as `key: reason`.
///
/// The reason is in the test's words. Of these, only names, values and numbers must be in the message; but
/// texts with different reasons at one key must get different messages.
fn refused_for<T: AsRef<str>, R: AsRef<str>>(cases: impl IntoIterator<Item = (T, R)>) {
    let mut bodies: BTreeMap<(String, String), String> = BTreeMap::new();
    for (text, reason) in cases {
        let (text, reason) = (text.as_ref(), reason.as_ref());
        let (key, reason) = reason.split_once(": ").expect("a key and a reason");
        let mistake = refusal(text);
        assert_eq!(mistake.key(), key, "{text}\n{mistake}");
        let message = mistake.to_string();
        for name in reason.split(' ').filter(|word| is_name(word)) {
            let name = name.trim_end_matches([',', '.', '?', ':']);
            assert!(message.contains(name), "{name}: {text}\n{mistake}");
        }
        for ((other_key, other_reason), body) in &bodies {
            let is_other = other_key == key && other_reason != reason;
            assert!(!is_other || *body != mistake.body, "{other_reason} and {reason}: {mistake}");
        }
        bodies.insert((key.to_owned(), reason.to_owned()), mistake.body);
    }
}

/// Whether a word of a reason is a name, a value or a number.
fn is_name(word: &str) -> bool {
    let word = word.trim_end_matches([',', '.', '?', ':']);
    let is_plain = |c: char| c.is_alphabetic() || c == '\'' || c == '-';
    word.contains(char::is_alphanumeric) && !word.chars().all(is_plain)
}

/// Loads `text` from a file under an environment.
fn load(text: &str, env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::load(Some(file.path()), env)
}
