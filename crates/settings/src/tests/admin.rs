//! Who may use the admin API.

use mintgate_domain::TokenHash;

use super::{good, refusal, refused_for, with_provider};
use crate::Warning;

fn hash(token: &str) -> String {
    TokenHash::of(token).to_hex()
}

fn token(lines: &str) -> String {
    format!("[[admin.tokens]]\n{lines}\n")
}

#[test]
fn without_tokens_nobody_may_and_each_token_has_a_name_a_hash_and_a_scope() {
    assert!(good("").admin.tokens.is_empty());
    let reader = token(&format!("name = \"dashboard\"\nhash = \"{}\"", hash("a")));
    let upper = hash("b").to_uppercase();
    let writer = token(&format!("name = \"on call\"\nhash = \"{upper}\"\nscope = \"write\""));
    let admin = good(&format!("[admin]\nhosts = [\"Ops.example.com\"]\n{reader}{writer}")).admin;
    assert_eq!(admin.hosts, ["ops.example.com"]);
    let tokens: Vec<_> =
        admin.tokens.iter().map(|t| (t.name.as_str(), t.hash, t.may_write)).collect();
    let expected =
        [("dashboard", TokenHash::of("a"), false), ("on call", TokenHash::of("b"), true)];
    assert_eq!(tokens, expected);
}

#[test]
fn what_would_admit_nobody_or_two_as_one_is_a_mistake() {
    let valid = hash("a");
    let with = |lines: &str| with_provider(&token(lines));
    let two = |first: &str, second: &str| {
        let first = token(&format!("name = \"{first}\"\nhash = \"{}\"", hash(first)));
        with_provider(&format!("{first}{}", token(second)))
    };
    refused_for([
        (with(&format!("hash = \"{valid}\"")), "admin.tokens[0].name: This key is required"),
        (with("name = \"a\""), "admin.tokens[0].hash: This key is required"),
        (with("name = \"a\"\nhash = \"abc\""), "admin.tokens[0].hash: not a SHA-256"),
        (
            with(&format!("name = \"\"\nhash = \"{valid}\"")),
            "admin.tokens[0].name: 1 to 64 characters",
        ),
        (
            with(&format!("name = \"a\"\nhash = \"{valid}\"\nscope = \"all\"")),
            "admin.tokens[0].scope: read",
        ),
        (
            two("a", &format!("name = \"a\"\nhash = \"{}\"", hash("b"))),
            "admin.tokens[1].name: Another token",
        ),
        (
            two("a", &format!("name = \"b\"\nhash = \"{valid}\"")),
            "admin.tokens[1].hash: Another token",
        ),
        (with_provider("[admin]\nhosts = [\"a b\"]"), "admin.hosts[0]: example.com"),
    ]);
}

/// The token in place of its hash is no hash, and must not end up in a log.
#[test]
fn a_token_in_place_of_its_hash_is_not_shown() {
    let text = with_provider(&token("name = \"a\"\nhash = \"n0t-4-h4sh-but-the-token-itself\""));
    let mistake = refusal(&text).to_string();
    assert!(!mistake.contains("n0t-4-h4sh"), "{mistake}");
}

#[test]
fn an_admin_api_that_others_can_reach_without_tls_is_warned_of() {
    let token = token(&format!("name = \"a\"\nhash = \"{}\"", hash("a")));
    let warnings =
        |ops: &str, token: &str| good(&format!("{token}[ops]\nlisten = \"{ops}\"")).warnings();
    let listen = "0.0.0.0:9464".parse().unwrap();
    assert_eq!(warnings("0.0.0.0:9464", &token), [Warning::AdminWithoutTls { listen }]);
    assert_eq!(warnings("127.0.0.1:9464", &token), []);
    assert_eq!(warnings("0.0.0.0:9464", ""), []);
}
