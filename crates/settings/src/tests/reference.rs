//! The reference, and `config print`.

use super::{good, load, with_provider};
use crate::{Settings, reference};

#[test]
fn the_reference_in_the_docs_is_the_one_the_code_makes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    if std::env::var_os("MINTGATE_TEST_UPDATE_DOCS").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == reference(),
        "docs/configuration.md is out of step: `MINTGATE_TEST_UPDATE_DOCS=1 cargo test -p \
         mintgate-settings` or `mintgate config reference > docs/configuration.md` writes it anew"
    );
}

#[test]
fn the_reference_has_every_section_and_tells_the_environments_names() {
    let text = reference();
    for expected in [
        "## `[server]`",
        "## `[[roles.rules]]`",
        "## `[roles.lookup]`",
        "## `[[providers]]`",
        "`MINTGATE__ROLES__LOOKUP__KEY`",
        "`MINTGATE__SERVER__KEY`",
        "| `listen` | IP address and port | `\"127.0.0.1:8080\"` |",
        "| `issuer` | URL | the preset's |",
        "| `realm` | text | the preset's | `keycloak` (**required**): the realm. |",
        "| `server` | text | the preset's | `okta` (default `default`): ",
        "| `client_key_file` | path | none |",
        "| `ttl_secs` | whole number, 1 to 3600 | `600` |",
        "| `client_secret_file` | path | none |",
        "| `max_header_bytes` | whole number, 1024 to 65536 | `16384` |",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
    // No cell may hold a bar: it would be two.
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        assert_eq!(row.matches('|').count(), 5, "{row}");
    }
}

#[test]
fn print_shows_every_key_with_its_origin() {
    let text = with_provider("[tokens]\nextra_claims = { dept = \"org.dept\" }");
    let printed = load(&text, &[("MINTGATE__SERVER__WORKERS", "4")]).unwrap().print();
    for line in [
        "workers = 4  # MINTGATE__SERVER__WORKERS\n",
        "listen = \"127.0.0.1:9464\"  # default\n",
        "public_url = \"http://127.0.0.1:8080\"  # default\n",
        "extra_claims = { \"dept\" = \"org.dept\" }  # ",
        "\n# domain ",
        "[[providers]]\nid = \"corp\"  # ",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    let rules =
        "[[roles.rules]]\nclaim = \"email\"\nmatches = '\\w+@x\\.test'\ngrant = [\"a\", \"b\"]";
    let first = good(rules).print();
    let again = Settings::from_toml(&first).unwrap().print();
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|l| l.split("  # ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(values(&first), values(&again));
    assert!(first.contains(r#"matches = "\\w+@x\\.test""#), "{first}");
}
