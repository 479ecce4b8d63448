//! Commands read the sections they need, and no others.

use std::path::Path;
use std::process::{Command, Output};

/// A configuration with a provider that has two mistakes.
fn broken_provider(dir: &Path) -> String {
    format!(
        "[store]\nurl = \"sqlite://{}\"\n[keys]\nencryption_key = \"{}\"\n\
         [[providers]]\nid = \"corp\"\npreset = \"okta\"\nclient_idd = \"x\"\n",
        dir.join("mintgate.db").display(),
        "0f".repeat(32)
    )
}

fn mintgate(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintgate"));
    command.current_dir(dir).env_clear().args(["--config", "broken.toml"]).args(arguments);
    command.output().unwrap()
}

#[test]
fn a_broken_provider_stops_neither_migrations_nor_keys_nor_role_rules() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("broken.toml"), broken_provider(dir)).unwrap();
    std::fs::write(dir.join("claims.json"), "{\"groups\": []}").unwrap();
    for (arguments, expected) in [
        (&["migrate", "--plan"][..], "0001_users_and_sessions"),
        (&["migrate"], "0001_users_and_sessions"),
        (&["migrate"], ""),
        (&["keys", "list"], ""),
        (&["roles", "test", "--provider", "corp", "--claims", "claims.json"], "user"),
    ] {
        let output = mintgate(dir, arguments);
        let (out, err) = (output.stdout, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {err}");
        let out = String::from_utf8_lossy(&out);
        assert!(out.contains(expected), "{arguments:?}: {out}");
    }
    for arguments in [&["config", "check"][..], &["config", "print"], &["serve"]] {
        let output = mintgate(dir, arguments);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.contains("providers[0].client_idd"), "{arguments:?}: {err}");
    }
}

/// What the driver alone knows of an address is refused alike, before anything is started.
#[test]
fn an_address_that_serve_refuses_does_not_pass_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let provider = "[[providers]]\nid = \"corp\"\nissuer = \"https://idp.example.com\"\n\
        client_id = \"x\"\nredirect_uris = [\"https://app.example.com\"]";
    for query in ["unknown=1", "sslmode=require&sslcert=/none.pem&sslkey=/none.key"] {
        let store = format!("[store]\nurl = \"postgres://u@127.0.0.1/d?{query}\"\n{provider}");
        std::fs::write(dir.join("mintgate.toml"), store).unwrap();
        let refused = [&["config", "check"][..], &["serve"]].map(|arguments| {
            let output = mintgate(dir, arguments);
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            err.lines().last().unwrap_or_default().to_owned()
        });
        assert_eq!(refused[0], refused[1]);
    }
}

#[test]
fn a_misspelt_section_stops_a_command_that_would_take_the_default_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("broken.toml"), "[stor]\nurl = \"postgres://db/mint\"\n").unwrap();
    let output = mintgate(dir, &["migrate"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("broken.toml:1") && err.contains("[store]"), "{err}");
    assert!(!dir.join("mintgate.db").exists());
}

#[test]
fn a_backup_of_postgres_is_left_to_its_own_tools() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("broken.toml"), "[store]\nurl = \"postgres://u@127.0.0.1:1/d\"\n")
        .unwrap();
    let output = mintgate(dir, &["backup", "copy.db"]);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("pg_dump"), "{err}");
    assert!(!dir.join("copy.db").exists());
}
