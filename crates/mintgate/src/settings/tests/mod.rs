//! What the configuration promises, tested through its own front door.

mod bounds;
mod defaults;
mod environment;
mod messages;
mod reference;
mod secrets;

use std::ffi::OsString;
use std::io::Write as _;

use super::{ConfigError, Settings};

/// A provider, and nothing else: everything but this has a default.
const PROVIDER: &str = r#"
[[providers]]
id = "corp"
issuer = "https://idp.example.com"
client_id = "mintgate"
redirect_uris = ["https://app.example.com/callback"]
"#;

fn with_provider(text: &str) -> String {
    format!("{text}\n{PROVIDER}")
}

fn good(text: &str) -> Settings {
    Settings::from_toml(&with_provider(text)).unwrap_or_else(|e| panic!("{text}\n{e}"))
}

/// The message for a text that must be refused.
fn refusal(text: &str) -> String {
    match Settings::from_toml(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// Loads `text` from a file under an environment.
fn load(text: &str, env: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::load(Some(file.path()), env)
}
