//! The certificate and the private key of the public listener.

use super::{PROVIDER, mistakes};
use crate::{Configuration, Settings};

fn refused(server: &str) -> Vec<String> {
    let error = Settings::from_toml(&format!("[server]\n{server}\n{PROVIDER}")).unwrap_err();
    mistakes(&error).iter().map(|mistake| mistake.key().to_owned()).collect()
}

#[test]
fn one_file_without_the_other_and_files_that_do_not_fit_are_mistakes() {
    assert_eq!(refused("tls_cert_file = \"/nowhere\""), ["server.tls_key_file"]);
    assert_eq!(refused("tls_key_file = \"/nowhere\""), ["server.tls_cert_file"]);
    let both = "tls_cert_file = \"/nowhere\"\ntls_key_file = \"/nowhere\"";
    assert_eq!(refused(both), ["server.tls_cert_file"]);
    let plain = format!("{both}\npublic_url = \"http://localhost:8080\"");
    assert_eq!(refused(&plain), ["server.tls_cert_file", "server.public_url"]);
}

#[test]
fn a_command_that_starts_no_listener_does_not_read_the_files() {
    let text = "[server]\ntls_cert_file = \"/nowhere\"\ntls_key_file = \"/nowhere\"";
    let settings = Configuration::from_toml(text).unwrap().administration().unwrap();
    assert_eq!(settings.tokens.issuer, "https://127.0.0.1:8080", "the listener speaks TLS");
}
