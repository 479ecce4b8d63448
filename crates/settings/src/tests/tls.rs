//! The certificates and the private keys of the listeners.

use super::{PROVIDER, mistakes};
use crate::{Configuration, Settings, Warning};

fn refused(server: &str) -> Vec<String> {
    refused_in("server", server)
}

fn refused_in(section: &str, lines: &str) -> Vec<String> {
    let error = Settings::from_toml(&format!("[{section}]\n{lines}\n{PROVIDER}")).unwrap_err();
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

#[test]
fn the_operations_listener_takes_client_certificates_over_tls_alone() {
    let ops = |lines: &str| refused_in("ops", lines);
    assert_eq!(ops("tls_cert_file = \"/nowhere\""), ["ops.tls_key_file"]);
    assert_eq!(ops("client_ca_file = \"/nowhere\""), ["ops.client_ca_file"]);
    assert_eq!(ops("client_cert_scope = \"all\""), ["ops.client_cert_scope"]);
    let both = "tls_cert_file = \"/nowhere\"\ntls_key_file = \"/nowhere\"";
    assert_eq!(ops(both), ["ops.tls_cert_file"]);

    let text =
        format!("[ops]\n{both}\nclient_ca_file = \"/clients\"\nclient_cert_scope = \"write\"");
    let ops = Configuration::from_toml(&text).unwrap().ops().unwrap();
    assert!(ops.takes_certificates() && ops.certificates_may_write);
    let plain = Configuration::from_toml("").unwrap().ops().unwrap();
    assert!(!plain.takes_certificates() && !plain.certificates_may_write);
}

#[test]
fn admin_tokens_that_others_may_read_on_the_way_are_a_warning() {
    let made = mintgate_testkit::tls::Certificates::made_for("ops.example.com");
    let dir = tempfile::tempdir().unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
    std::fs::write(&certificate, &made.certificate).unwrap();
    std::fs::write(&key, &made.key).unwrap();
    let (certificate, key) = (certificate.display(), key.display());
    let tls = format!("tls_cert_file = \"{certificate}\"\ntls_key_file = \"{key}\"");
    let token = format!("[[admin.tokens]]\nname = \"ops\"\nhash = \"{}\"", "0".repeat(64));
    let warns = |ops: &str, more: &str| {
        let text = format!("[ops]\n{ops}\n{more}\n{PROVIDER}");
        let settings = Settings::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
        settings.warnings().iter().any(|it| matches!(it, Warning::AdminWithoutTls { .. }))
    };
    let everywhere = "listen = \"0.0.0.0:9464\"";
    assert!(warns(everywhere, &token));
    assert!(!warns(everywhere, ""), "nothing is sent that is worth reading");
    assert!(!warns("", &token), "on loopback");
    assert!(!warns(&format!("{everywhere}\n{tls}"), &token));
}
