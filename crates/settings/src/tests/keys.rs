//! Settings of the signing keys that are allowed but rarely intended.

use std::time::Duration;

use super::with_provider;
use crate::{Settings, Warning};

#[test]
fn keys_that_a_second_replica_would_not_have_are_warned_of() {
    let warned = |keys: &str| {
        let text = format!("[store]\nurl = \"postgres://h/db\"\n[keys]\n{keys}");
        Settings::from_toml(&with_provider(&text)).unwrap().warnings()
    };
    let in_directory = || vec![Warning::KeysInDirectory { dir: "keys".into() }];
    assert_eq!(warned(""), in_directory());
    let encryption_key = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";
    assert_eq!(warned(&format!("encryption_key = \"{encryption_key}\"")), []);
    assert_eq!(warned("access_key = \"a\"\nrefresh_key = \"b\""), []);
    assert_eq!(warned("access_key = \"a\""), in_directory());
    let text = in_directory()[0].to_string();
    assert!(text.contains("keys.encryption_key"), "{text}");
}

#[test]
fn keys_that_are_published_shortly_before_they_sign_are_warned_of() {
    let warned = |keys: &str| {
        Settings::from_toml(&with_provider(&format!("[keys]\n{keys}"))).unwrap().warnings()
    };
    assert_eq!(warned(""), []);
    let short = Warning::ShortPublication { publish_ahead: Duration::from_secs(359) };
    assert!(short.to_string().contains("360"), "{short}");
    assert_eq!(warned("publish_ahead_secs = 359"), [short]);
    assert_eq!(warned("publish_ahead_secs = 360"), []);
    assert_eq!(warned("publish_ahead_secs = 0\naccess_key = \"a\""), []);
}
