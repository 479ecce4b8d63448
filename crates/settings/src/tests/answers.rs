//! Answers that are larger than what proxies buffer, and limits that are shared with nobody.

use super::{PROVIDER, good};
use crate::{Settings, Warning};

fn warned(public_url: &str, more: &str) -> Vec<Warning> {
    good(&format!("[server]\npublic_url = \"{public_url}\"\n{more}")).warnings()
}

#[test]
fn roles_and_claims_that_may_outgrow_the_buffers_of_a_proxy_are_warned_of() {
    let public = "https://auth.example.com";
    let roles = |count: usize| {
        let roles: Vec<_> = (0..count).map(|n| format!("role-number-{n:03}")).collect();
        format!("[roles]\ndefault = {roles:?}")
    };
    assert_eq!(warned(public, &roles(20)), []);
    let large = warned(public, &roles(120));
    assert!(matches!(large[..], [Warning::LargeAnswers { bytes: 4097..9000 }]), "{large:?}");
    let claims: Vec<_> = (0..12).map(|n| format!("claim_{n} = \"{n}\"")).collect();
    let claims = format!("[tokens]\nextra_claims = {{ {} }}", claims.join(", "));
    assert_eq!(warned(public, &claims).len(), 1);
    // Without a proxy there is no buffer.
    assert_eq!(warned("http://localhost:8080", &roles(120)), []);
}

#[test]
fn the_usual_configurations_fit_whatever_signs_the_tokens() {
    for algorithm in ["ES256", "ES384", "EdDSA", "RS256", "PS256", "HS256"] {
        let tokens = format!("[tokens]\nalgorithm = {algorithm:?}\nrefresh_algorithm = \"RS256\"");
        assert_eq!(warned("https://auth.example.com", &tokens), [], "{algorithm}");
    }
}

#[test]
fn limits_that_are_shared_with_nobody_are_a_warning() {
    let warns = |store: &str, limits: &str| {
        let text = format!("[store]\nurl = \"{store}\"\n[limits]\n{limits}\n{PROVIDER}");
        let settings = Settings::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
        settings.warnings().contains(&Warning::SharedLimitsOfOne)
    };
    assert!(warns("sqlite:///var/lib/mintgate/mintgate.db", "shared = true"));
    assert!(!warns("sqlite:///var/lib/mintgate/mintgate.db", ""));
    assert!(!warns("postgres://db/mintgate", "shared = true"));
}

#[test]
fn a_drain_that_outlasts_the_usual_patience_is_a_warning() {
    let warned = |seconds: u64| {
        let text = format!("[server]\ndrain_secs = {seconds}\n{PROVIDER}");
        let settings = Settings::from_toml(&text).unwrap_or_else(|error| panic!("{error}"));
        settings.warnings()
    };
    assert_eq!(warned(0), []);
    assert_eq!(warned(20), []);
    let drain = std::time::Duration::from_secs(21);
    assert_eq!(warned(21), [Warning::LongDrain { drain }]);
}
