//! What the command finds out; what it says, to the letter, is in the samples of `docs/roles.md` alone.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::Parser as _;
use mintgate_domain::RoleCondition;
use mintgate_domain::RoleCondition::{Domain, Equals, In};
use mintgate_identity_openid::Preset;
use mintgate_strict_json::Error;

use super::claims_file::NoClaims;
use super::*;
use crate::settings::Configuration;

fn text(value: &str) -> ClaimValue {
    ClaimValue::Text(value.to_owned())
}

fn claims(pairs: &[(&str, ClaimValue)]) -> BTreeMap<String, ClaimValue> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn roles(names: &[&str]) -> Vec<Role> {
    names.iter().map(|name| Role::new(*name)).collect()
}

fn rule(provider: Option<&str>, claim: &str, condition: RoleCondition, grant: &str) -> RoleRule {
    RoleRule {
        provider: provider.map(ProviderId::new),
        claim: claim.to_owned(),
        condition,
        grant: roles(&[grant]),
    }
}

fn explained(policy: &RolePolicy, pairs: &[(&str, ClaimValue)]) -> Explanation {
    explain(&Admission::Open, policy, &ProviderId::new("okta"), &claims(pairs))
}

fn reasons(explanation: &Explanation) -> Vec<Reason> {
    explanation.rules.iter().map(|(_, reason)| reason.clone()).collect()
}

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
        let explanation = with(claims);
        assert_eq!(explanation.admitted, Admitted::By(entry));
        assert_eq!(explanation.exit_code(), ExitCode::SUCCESS);
        let text = explanation.to_string();
        assert!(said.iter().all(|value| text.contains(value)), "{text}");
    }
    let stranger =
        with(r#"{"email":"ada@example.com","sub":"7","iss":"https://other.example.com"}"#);
    assert_eq!(stranger.admitted, Admitted::NotListed);
    assert_eq!((stranger.roles.len(), stranger.exit_code()), (0, ExitCode::from(DENIED)));
}

#[test]
fn every_rule_has_a_reason_and_a_line() {
    let policy = RolePolicy {
        default: roles(&["user", "guest"]),
        rules: vec![
            rule(Some("okta"), "groups", In(vec!["ops".into(), "admins".into()]), "admin"),
            rule(None, "email", Domain("example.com".into()), "staff"),
            rule(Some("corp"), "groups", Equals("admins".into()), "boss"),
            rule(None, "groups", RoleCondition::matching("team-.*|x").unwrap(), "dev"),
            rule(None, "realm.roles", Equals("a \"b\"".into()), "c"),
            rule(None, "level", Equals("7".into()), "seven"),
        ],
    };
    let groups = ClaimValue::List(vec![ClaimValue::Integer(1), text("staff"), text("admins")]);
    let given =
        [("groups", groups), ("email", text("a@example.com")), ("level", ClaimValue::Integer(7))];
    let explanation = explained(&policy, &given);
    let expected = [
        Reason::Applies("admins".to_owned()),
        Reason::EmailDropped,
        Reason::OtherProvider,
        Reason::NotSatisfied,
        Reason::NoSuchClaim,
        Reason::NoText,
    ];
    assert_eq!(reasons(&explanation), expected);
    assert_eq!(explanation.dropped_email, Some(DroppedEmail::Absent));
    assert_eq!(explanation.default, roles(&["user", "guest"]));
    assert_eq!(explanation.roles, roles(&["admin", "guest", "user"]));
    assert_eq!(explanation.exit_code(), ExitCode::SUCCESS);

    // Every rule is told as the configuration has it, each on a line of its own.
    let said = explanation.to_string();
    let mut lines = said.lines().skip(1);
    for values in [
        ["okta", "groups", "[\"ops\", \"admins\"]", "\"admins\"", "admin"],
        ["email", "\"example.com\"", "", "", "staff"],
        ["corp", "groups", "\"admins\"", "", "boss"],
        ["groups", "'team-.*|x'", "", "", "dev"],
        ["realm.roles", r#""a \"b\"""#, "", "", "c"],
        ["level", "\"7\"", "", "", "seven"],
    ] {
        let line = lines.next().unwrap();
        assert!(values.iter().all(|value| line.contains(value)), "{line}");
    }
}

#[test]
fn case_30_an_email_counts_if_and_only_if_it_is_verified() {
    let policy = RolePolicy {
        default: vec![],
        rules: vec![rule(None, "email", Domain("example.com".into()), "staff")],
    };
    let email = ("email", text("ada@example.com"));
    let verified = [email.clone(), ("email_verified", ClaimValue::Bool(true))];
    let explanation = explained(&policy, &verified);
    assert_eq!(reasons(&explanation), [Reason::Applies("ada@example.com".to_owned())]);
    assert_eq!((explanation.dropped_email, explanation.roles), (None, roles(&["staff"])));
    for (value, why) in [
        (ClaimValue::Bool(false), DroppedEmail::NotTrue),
        (ClaimValue::Integer(1), DroppedEmail::NotTrue),
        (text("true"), DroppedEmail::Text),
    ] {
        let explanation = explained(&policy, &[email.clone(), ("email_verified", value)]);
        assert_eq!(explanation.dropped_email, Some(why));
        assert_eq!(reasons(&explanation), [Reason::EmailDropped]);
        assert_eq!(explanation.roles, []);
    }
    // Without an address there is none to drop.
    let without = explained(&policy, &[("email_verified", ClaimValue::Bool(false))]);
    assert_eq!(without.dropped_email, None);
    assert_eq!(reasons(&without), [Reason::NoSuchClaim]);
}

#[test]
fn without_any_role_access_is_denied_and_the_exit_code_says_so() {
    let explanation = explained(&RolePolicy::default(), &[]);
    assert!(explanation.default.is_empty() && explanation.rules.is_empty());
    assert_eq!(explanation.roles, []);
    assert_eq!(explanation.exit_code(), ExitCode::from(3));
}

#[test]
fn a_claim_cannot_write_lines_of_its_own_or_fill_the_screen() {
    let policy = RolePolicy {
        default: vec![],
        rules: vec![rule(None, "x", RoleCondition::matching("(?s).*").unwrap(), "a")],
    };
    let lines = |value: &str| explained(&policy, &[("x", text(value))]).to_string();
    let plain = lines("x");
    let nasty = lines(&format!("\u{1b}[2J\nroles: admin {}", "x".repeat(1000)));
    assert_eq!(nasty.lines().count(), plain.lines().count(), "{nasty}");
    assert!(!nasty.contains('\u{1b}') && nasty.len() < plain.len() + 200, "{nasty}");
}

/// Runs a command with a configuration of these roles and one provider.
fn run_with(
    command: &RolesCommand,
    roles: &str,
    provider: &str,
    stdin: &[u8],
) -> anyhow::Result<Explanation> {
    let toml = format!("{roles}\n[[providers]]\nid = \"{provider}\"\n");
    let configuration = Configuration::from_toml(&toml).unwrap();
    let providers = configuration.provider_ids();
    let roles = configuration.people().unwrap_or_else(|error| panic!("{toml}\n{error}"));
    command.run(&roles, &providers, stdin)
}

fn run(roles: &str, known: &str, provider: &str, json: &[u8]) -> anyhow::Result<Explanation> {
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
    error.downcast().unwrap()
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
        assert!(error.is::<std::io::Error>(), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error:#}");
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
    let explanation = run_with(&command, rules, "okta", br#"{"a":"b"}"#).unwrap();
    assert_eq!(explanation.roles, roles(&["c", "user"]));
    let error = run_with(&command, rules, "okta", b"x").unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(NoClaims::Json(_))), "{error:#}");
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
            let explanation = run(&rules, provider, provider, json.as_bytes());
            let explanation = explanation.unwrap_or_else(|error| panic!("{provider}: {error:#}"));
            let _ = write!(out, "{first}\n{explanation}");
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
