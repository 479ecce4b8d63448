//! The list of what is in the container image.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_components_of_the_program_are_listed_with_what_is_compiled_into_it() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/sbom.sh");
    let output = Command::new(script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["bomFormat"], "CycloneDX");
    assert_eq!(list["metadata"]["component"]["name"], "mintgate");
    let components = list["components"].as_array().unwrap();
    let version = |name: &str| {
        let component = components.iter().find(|component| component["name"] == name);
        component.unwrap_or_else(|| panic!("no {name}"))["version"].as_str().unwrap().to_owned()
    };
    for name in ["openssl", "sqlite"] {
        let version = version(name);
        assert!(version.starts_with('3') && version.split('.').count() == 3, "{name} {version}");
    }
    // The OpenSSL that is compiled in is that of the crate with its sources.
    assert!(version("openssl-src").ends_with(&format!("+{}", version("openssl"))));
    for name in ["mintgate-domain", "actix-web", "openssl-src", "libsqlite3-sys"] {
        version(name);
    }
    // What only `mintgate dev` and the tests link is not in the image.
    for name in ["mintgate-mock-idp", "mintgate-testkit", "tempfile"] {
        assert!(components.iter().all(|component| component["name"] != name), "{name}");
    }
    let references: BTreeSet<_> =
        components.iter().map(|component| component["bom-ref"].as_str().unwrap()).collect();
    assert_eq!(references.len(), components.len());
}
