//! What the command says, to the letter, and that the samples in `docs/roles.md` say it too.

use std::io::Write as _;

use clap::Parser as _;
use mintgate_domain::RoleCondition::{Domain, Equals, In};
use mintgate_identity_openid::Preset;

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
    explain(policy, &ProviderId::new("okta"), &claims(pairs))
}

/// Ends every explanation.
const NOTE: &str = "At a sign-in, roles granted in the store and roles looked up are added.\n";

#[test]
fn every_rule_has_a_line_that_says_why() {
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
    let expected = "\
default roles, for everybody: user, guest
rule 1 (okta, groups in [\"ops\", \"admins\"]): applies because of \"admins\"; grants admin
rule 2 (any provider, email at domain \"example.com\"): no such claim, as email is dropped; does not grant staff
rule 3 (corp, groups equals \"admins\"): is for another provider; does not grant boss
rule 4 (any provider, groups matches 'team-.*|x'): not satisfied; does not grant dev
rule 5 (any provider, realm.roles equals \"a \\\"b\\\"\"): no such claim; does not grant c
rule 6 (any provider, level equals \"7\"): not satisfied, as there is no text in the claim; does not grant seven
email is dropped: email_verified is not true; there is no such claim
roles: admin, guest, user
";
    assert_eq!(explanation.text, format!("{expected}{NOTE}"));
    assert_eq!(explanation.roles, roles(&["admin", "guest", "user"]));
    assert_eq!(explanation.exit_code(), ExitCode::SUCCESS);
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
    let expected = "\
default roles, for everybody: none
rule 1 (any provider, email at domain \"example.com\"): applies because of \"ada@example.com\"; grants staff
roles: staff
";
    assert_eq!(explanation.text, format!("{expected}{NOTE}"));
    for (value, why) in [
        (ClaimValue::Bool(false), ""),
        (ClaimValue::Integer(1), ""),
        (text("true"), "; it is a text, not a boolean"),
    ] {
        let explanation = explained(&policy, &[email.clone(), ("email_verified", value)]);
        let line = format!("email is dropped: email_verified is not true{why}\n");
        assert!(explanation.text.contains(&line), "{}", explanation.text);
        assert!(explanation.text.contains("no such claim, as email is dropped"));
        assert_eq!(explanation.roles, []);
    }
    // Without an address there is none to drop.
    let without = explained(&policy, &[("email_verified", ClaimValue::Bool(false))]);
    assert!(!without.text.contains("dropped"), "{}", without.text);
}

#[test]
fn without_any_role_access_is_denied_and_the_exit_code_says_so() {
    let explanation = explained(&RolePolicy::default(), &[]);
    let expected = "\
default roles, for everybody: none
there are no rules
roles: none
Nobody lets this person in: access is denied.
";
    assert_eq!(explanation.text, format!("{expected}{NOTE}"));
    assert_eq!(explanation.exit_code(), ExitCode::from(3));
}

#[test]
fn a_claim_cannot_write_lines_of_its_own_or_fill_the_screen() {
    let policy = RolePolicy {
        default: vec![],
        rules: vec![rule(None, "x", RoleCondition::matching("(?s).*").unwrap(), "a")],
    };
    let nasty = format!("\u{1b}[2J\nroles: admin {}", "x".repeat(1000));
    let explanation = explained(&policy, &[("x", text(&nasty))]);
    assert_eq!(explanation.text.lines().count(), 4, "{}", explanation.text);
    assert!(!explanation.text.contains('\u{1b}') && explanation.text.len() < 400);
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
    let roles = configuration.roles().unwrap_or_else(|error| panic!("{toml}\n{error}"));
    command.run(&roles, &providers, stdin)
}

fn run(roles: &str, known: &str, provider: &str, json: &[u8]) -> anyhow::Result<Explanation> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(json).unwrap();
    let claims = file.path().to_owned();
    run_with(&RolesCommand::Test { provider: provider.to_owned(), claims }, roles, known, &[])
}

fn refusal(provider: &str, json: &[u8]) -> String {
    format!("{:#}", run("", "okta", provider, json).unwrap_err())
}

#[test]
fn an_unknown_provider_is_told_with_the_known_ones() {
    let near = "there is no provider \"Otka\"; did you mean \"okta\"? There are: okta";
    assert_eq!(refusal("Otka", b"{}"), near);
    let far = "there is no provider \"keycloak\"; there are: okta";
    assert_eq!(refusal("keycloak", b"{}"), far);
    assert!(refusal(&"okta".repeat(10_000), b"{}").len() < 300);
}

#[test]
fn claims_that_are_none_are_refused_with_what_is_wrong() {
    for (json, words) in [
        (&b""[..], "is not valid JSON"),
        (b"{'sub': 1}", "is not valid JSON"),
        (b"{} {}", "is not valid JSON"),
        (b"{\"a\":\"\xff\"}", "is not valid JSON"),
        (b"{\"a\":{\"b\":1,\"\\u0062\":2}}", "has a member name twice"),
        (b"[]", "is not a JSON object"),
        (b"\"eyJ\"", "is not a JSON object"),
        (b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln\n", "this is a token"),
    ] {
        let text = refusal("okta", json);
        assert!(text.starts_with("the claims in /") && text.contains(words), "{text}");
    }
    let nested = |depth| format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(run("", "okta", "okta", nested(31).as_bytes()).is_ok());
    assert!(refusal("okta", nested(32).as_bytes()).contains("is nested too deeply"));
    assert!(refusal("okta", nested(100_000).as_bytes()).contains("is nested too deeply"));
}

#[test]
fn claims_are_at_most_one_mebibyte() {
    let padded = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    assert!(run("", "okta", "okta", padded(1 << 20).as_bytes()).is_ok());
    let text = refusal("okta", padded((1 << 20) + 1).as_bytes());
    assert!(text.ends_with("are longer than 1 MiB"), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("absent.json"), directory.path().to_owned()] {
        let command = RolesCommand::Test { provider: "okta".to_owned(), claims: path.clone() };
        let error = run_with(&command, "", "okta", &[]).unwrap_err();
        let begin = format!("the claims cannot be read from {}: ", path.display());
        assert!(format!("{error:#}").starts_with(&begin), "{error:#}");
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
    assert!(format!("{error:#}").starts_with("the claims in standard input: "), "{error:#}");
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
            let _ = write!(out, "{first}\n{}", explanation.text);
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
