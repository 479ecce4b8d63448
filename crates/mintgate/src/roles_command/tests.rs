//! What the command says of the explanation; to the letter, that is in the samples of `docs/roles.md`
//! alone.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use mintgate_domain::model::{ExternalIdentity, Role};
use mintgate_domain::{Admitted, Invitation};
use mintgate_identity_openid::{ClaimsFileError, NoClaims, Preset};
use mintgate_strict_json::Error;

use super::*;
use crate::settings::Configuration;

#[test]
fn the_admission_names_the_entry_that_lets_somebody_in() {
    let users = "[users]\nadmission = \"listed\"\nadmit_emails = [\"ada@example.com\"]\n\
        admit_domains = [\"example.org\"]\nadmit_groups = [\"staff\"]\n\
        admit_subjects = [\"https://idp.example.com 7\"]";
    let with = |claims: &str| run(users, "okta", "okta", claims.as_bytes()).unwrap();
    let (issuer, subject) = ("https://idp.example.com".to_owned(), "7".to_owned());
    for (claims, entry, said) in [
        (
            r#"{"email":"Ada@example.com","email_verified":true}"#,
            Invitation::Email("ada@example.com".to_owned()),
            ["admit_emails", "\"ada@example.com\""],
        ),
        (
            r#"{"email":"bob@example.org","email_verified":true}"#,
            Invitation::Domain("example.org".to_owned()),
            ["admit_domains", "\"example.org\""],
        ),
        (
            r#"{"groups":["x","staff"]}"#,
            Invitation::Group("staff".to_owned()),
            ["admit_groups", "\"staff\""],
        ),
        (
            r#"{"iss":"https://idp.example.com","sub":"7"}"#,
            Invitation::Subject(ExternalIdentity { issuer, subject }),
            ["admit_subjects", "\"https://idp.example.com 7\""],
        ),
    ] {
        let answer = with(claims);
        assert_eq!(answer.0.admitted, Admitted::By(entry));
        assert_eq!(answer.exit_code(), ExitCode::SUCCESS);
        let text = answer.to_string();
        assert!(said.iter().all(|value| text.contains(value)), "{text}");
    }
    let stranger =
        with(r#"{"email":"ada@example.com","sub":"7","iss":"https://other.example.com"}"#);
    assert_eq!(stranger.0.admitted, Admitted::NotListed);
    assert_eq!((stranger.0.roles.len(), stranger.exit_code()), (0, ExitCode::from(3)));
}

#[test]
fn every_rule_is_told_on_a_line_of_its_own_as_the_configuration_has_it() {
    let rules = r#"[roles]
default = ["user", "guest"]
rules = [
    { provider = "okta", claim = "groups", in = ["ops", "admins"], grant = ["admin"] },
    { claim = "email", domain = "example.com", grant = ["staff"] },
    { claim = "groups", matches = "team-.*|x", grant = ["dev"] },
    { claim = "realm.roles", equals = "a \"b\"", grant = ["c"] },
]
"#;
    let answer = run(rules, "okta", "okta", br#"{"groups":["staff","admins"]}"#).unwrap();
    assert_eq!(answer.exit_code(), ExitCode::SUCCESS);
    let said = answer.to_string();
    let mut lines = said.lines().skip(1);
    for values in [
        ["okta", "groups", "[\"ops\", \"admins\"]", "\"admins\"", "admin"],
        ["email", "\"example.com\"", "", "", "staff"],
        ["groups", "'team-.*|x'", "", "", "dev"],
        ["realm.roles", r#""a \"b\"""#, "", "", "c"],
    ] {
        let line = lines.next().unwrap();
        assert!(values.iter().all(|value| line.contains(value)), "{line}");
    }
}

#[test]
fn without_any_role_the_exit_code_says_so() {
    let answer = run("[roles]\ndefault = []", "okta", "okta", b"{}").unwrap();
    assert_eq!((answer.0.roles.len(), answer.exit_code()), (0, ExitCode::from(3)));
}

#[test]
fn a_claim_cannot_write_lines_of_its_own_or_fill_the_screen() {
    let rules = "[roles]\ndefault = []\n[[roles.rules]]\nclaim = \"x\"\nmatches = \"(?s).*\"\n\
        grant = [\"a\"]";
    let said = |claim: &str| {
        let claims = serde_json::json!({ "x": claim }).to_string();
        run(rules, "okta", "okta", claims.as_bytes()).unwrap().to_string()
    };
    let plain = said("x");
    let nasty = said(&format!("\u{1b}[2J\nroles: admin {}", "x".repeat(1000)));
    assert_eq!(nasty.lines().count(), plain.lines().count(), "{nasty}");
    assert!(!nasty.contains('\u{1b}') && nasty.len() < plain.len() + 200, "{nasty}");
}

/// Runs a command with a configuration of these roles and one provider.
fn run_with(
    command: &RolesCommand,
    roles: &str,
    provider: &str,
    stdin: &[u8],
) -> anyhow::Result<RolesAnswer> {
    let toml = format!("{roles}\n[[providers]]\nid = \"{provider}\"\n");
    let configuration = Configuration::from_toml(&toml).unwrap();
    let providers = configuration.provider_ids();
    let roles = configuration.people().unwrap_or_else(|error| panic!("{toml}\n{error}"));
    command.run(&roles, &providers, stdin)
}

fn run(roles: &str, known: &str, provider: &str, json: &[u8]) -> anyhow::Result<RolesAnswer> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(json).unwrap();
    let claims = file.path().to_owned();
    run_with(&RolesCommand::Test { provider: provider.to_owned(), claims }, roles, known, &[])
}

fn refusal(provider: &str, json: &[u8]) -> anyhow::Error {
    run("", "okta", provider, json).unwrap_err()
}

#[test]
fn an_unknown_provider_is_told_with_the_known_ones() {
    for (id, near) in [("Otka", Some("okta")), ("keycloak", None)] {
        let error = refusal(id, b"{}");
        let (near, known) = (near.map(str::to_owned), vec!["okta".to_owned()]);
        let expected = NoSuchProvider { id: id.to_owned(), near, known };
        assert_eq!(error.downcast_ref(), Some(&expected));
        let said = error.to_string();
        assert!(said.contains(id) && said.contains("okta"), "{said}");
    }
    assert!(refusal(&"okta".repeat(10_000), b"{}").to_string().len() < 300);
}

/// Why the claims were refused.
fn no_claims(json: &[u8]) -> NoClaims {
    let error = refusal("okta", json);
    assert!(format!("{error:#}").contains('/'), "the file is named: {error:#}");
    match error.downcast() {
        Ok(ClaimsFileError::NoClaims { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn claims_that_are_none_are_refused_with_what_is_wrong() {
    for json in [&b""[..], b"{'sub': 1}", b"{} {}", b"{\"a\":\"\xff\"}"] {
        assert!(matches!(no_claims(json), NoClaims::Json(Error::Syntax(_))), "{json:?}");
    }
    let twice = no_claims(b"{\"a\":{\"b\":1,\"\\u0062\":2}}");
    assert!(matches!(twice, NoClaims::Json(Error::DuplicateName(_))), "{twice:?}");
    for json in [&b"[]"[..], b"\"eyJ\""] {
        assert_eq!(no_claims(json), NoClaims::Json(Error::NotAnObject));
    }
    assert_eq!(no_claims(b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln\n"), NoClaims::Token);
    let nested = |depth| format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(run("", "okta", "okta", nested(31).as_bytes()).is_ok());
    for depth in [32, 100_000] {
        let deep = no_claims(nested(depth).as_bytes());
        assert!(matches!(deep, NoClaims::Json(Error::TooDeep(_))), "{deep:?}");
    }
}

#[test]
fn claims_are_at_most_one_mebibyte() {
    let padded = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    assert!(run("", "okta", "okta", padded(1 << 20).as_bytes()).is_ok());
    assert_eq!(no_claims(padded((1 << 20) + 1).as_bytes()), NoClaims::TooLong);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("absent.json"), directory.path().to_owned()] {
        let command = RolesCommand::Test { provider: "okta".to_owned(), claims: path.clone() };
        let error = run_with(&command, "", "okta", &[]).unwrap_err();
        let error = error.downcast().unwrap();
        assert!(matches!(error, ClaimsFileError::Unreadable { .. }), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[derive(clap::Parser)]
struct Cli {
    #[command(subcommand)]
    command: RolesCommand,
}

#[test]
fn a_hyphen_is_standard_input() {
    let line = ["roles", "test", "--provider", "okta", "--claims", "-"];
    let Cli { command } = Cli::try_parse_from(line).unwrap();
    let rules = "[roles]\n[[roles.rules]]\nclaim = \"a\"\nequals = \"b\"\ngrant = [\"c\"]";
    let answer = run_with(&command, rules, "okta", br#"{"a":"b"}"#).unwrap();
    assert_eq!(answer.0.roles, [Role::new("c"), Role::new("user")]);
    let error = run_with(&command, rules, "okta", b"x").unwrap_err();
    let is_no_json = matches!(
        error.downcast_ref(),
        Some(ClaimsFileError::NoClaims { source: NoClaims::Json(_), .. })
    );
    assert!(is_no_json, "{error:#}");
}

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/roles.md");

/// The page with every `console` block as the command prints it today, and the samples in it.
fn rewritten(page: &str) -> (String, Vec<String>) {
    let (mut out, mut samples) = (String::new(), Vec::new());
    let (mut rules, mut json) = (String::new(), String::new());
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        out.push_str(line);
        out.push('\n');
        let Some(language) = line.strip_prefix("```").filter(|language| !language.is_empty())
        else {
            continue;
        };
        let mut block = String::new();
        for line in lines.by_ref().take_while(|line| *line != "```") {
            let _ = writeln!(block, "{line}");
        }
        match language {
            "toml" => rules.clone_from(&block),
            "json" => json.clone_from(&block),
            _ => {}
        }
        let first = block.lines().next().unwrap_or_default();
        if let Some(arguments) = first.strip_prefix("$ mintgate roles test --provider ") {
            let provider = arguments.split(' ').next().unwrap();
            let answer = run(&rules, provider, provider, json.as_bytes());
            let answer = answer.unwrap_or_else(|error| panic!("{provider}: {error:#}"));
            let _ = write!(out, "{first}\n{answer}");
            samples.push(provider.to_owned());
        } else {
            out.push_str(&block);
        }
        out.push_str("```\n");
    }
    (out, samples)
}

#[test]
fn the_samples_in_the_docs_say_what_the_command_says() {
    let page = std::fs::read_to_string(DOCS).unwrap();
    let (expected, samples) = rewritten(&page);
    // A preset for any provider of a protocol says nothing of the provider's claims.
    let is_known = |preset: &&Preset| preset.parameter("issuer").is_none();
    for preset in Preset::ALL.iter().filter(is_known) {
        let name = preset.name;
        let text = format!("docs/roles.md needs a sample with `roles test --provider {name}`");
        assert!(samples.iter().any(|sample| sample == name), "{text}");
    }
    if std::env::var_os("MINTGATE_TEST_UPDATE_DOCS").is_some() {
        std::fs::write(DOCS, &expected).unwrap();
        return;
    }
    assert!(
        page == expected,
        "docs/roles.md is out of step: `MINTGATE_TEST_UPDATE_DOCS=1 cargo test -p mintgate \
         roles_command` writes it anew"
    );
}
