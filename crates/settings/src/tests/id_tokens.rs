//! What is demanded of a provider's tokens.

use std::time::Duration;

use mintgate_domain::NonceRule;
use mintgate_identity_openid::{Dialect, EmailRule};

use super::presets::{preset, refused};
use super::{dialect, one, only, refused_for};

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const ISSUER: &str = "issuer = \"https://idp.example.com\"";

fn corp(lines: &str) -> Dialect {
    dialect(&only(&one("corp", &format!("{ISSUER}\n{lines}")))).clone()
}

#[test]
fn nobody_else_is_trusted_unless_the_configuration_says_so() {
    let plain = corp("");
    assert!(plain.trusted_audiences.is_empty() && plain.authorized_parties.is_empty());
    assert!(!plain.lacks_nonce && plain.max_age.is_none());
    let told = corp("trusted_audiences = [\"a\", \"b\"]\nauthorized_parties = [\"app\"]");
    assert_eq!(told.trusted_audiences, ["a", "b"]);
    assert_eq!(told.authorized_parties, ["app"]);
    for key in ["trusted_audiences", "authorized_parties"] {
        refused_for([
            (
                preset("oidc", &format!("{ISSUER}\n{key} = [\"\"]")),
                format!("providers[0].{key}[0]: This is empty."),
            ),
            (
                preset("github", &format!("client_secret = \"x\"\n{key} = [\"a\"]")),
                format!("providers[0].{key}: The preset has no such key."),
            ),
        ]);
    }
}

#[test]
fn a_nonce_that_never_comes_is_done_without_at_that_provider_alone() {
    let lines = format!("{ISSUER}\nnonce = \"off\"");
    let provider = only(&one("corp", &lines));
    assert_eq!(provider.policy.nonce, NonceRule::Off);
    assert!(dialect(&provider).lacks_nonce);
}

#[test]
fn case_30_entra_is_trusted_for_the_addresses_of_one_tenant() {
    let rule = |name: &str, lines: &str| dialect(&only(&preset(name, lines))).email;
    let one = format!("tenant = \"{TENANT}\"");
    assert_eq!(rule("entra", &one), EmailRule::DomainOwner);
    assert_eq!(rule("entra", &format!("{one}\ntrust_email = true")), EmailRule::Tenant);
    let several = format!("tenant = \"common\"\ntenants = [\"{TENANT}\"]\ntrust_email = true");
    assert_eq!(refused("entra", &several).key(), "providers[0].trust_email");
    assert_eq!(corp("").email, EmailRule::Standard);
    let foreign = refused("oidc", &format!("{ISSUER}\ntrust_email = true"));
    assert_eq!(foreign.key(), "providers[0].trust_email");
}

#[test]
fn the_age_that_a_request_asks_for_is_demanded_of_tokens() {
    let aged = |value: &str| format!("authorization_params = [\"max_age={value}\"]");
    assert_eq!(corp(&aged("300")).max_age, Some(Duration::from_mins(5)));
    assert_eq!(corp(&aged("0")).max_age, Some(Duration::ZERO));
    for wrong in ["soon", "-1", "1.5", "99999999999999"] {
        let mistake = refused("oidc", &format!("{ISSUER}\n{}", aged(wrong)));
        assert_eq!(mistake.key(), "providers[0].authorization_params");
    }
}
