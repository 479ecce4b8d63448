//! Answers that are larger than what proxies buffer.

use super::good;
use crate::Warning;

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
