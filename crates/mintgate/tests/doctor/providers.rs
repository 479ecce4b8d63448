//! The providers, on the mock with one fault each.

use std::sync::Arc;

use mintgate::commands;
use mintgate::settings::Settings;
use mintgate_doctor::{DoctorCommand, Verdict};
use mintgate_mock_idp::{FaultKind, Faults, MockConfig};
use mintgate_testkit::tls::{Certificates, Entrance};
use serde_json::{Value, json};

use crate::rig::{Late, Rig, Said};

/// What `doctor` says while the provider has these faults.
async fn with_faults(faults: Faults) -> (Rig, Said) {
    let rig = Rig::start().await;
    rig.idp.control().set_faults(faults);
    let said = rig.doctor().await;
    (rig, said)
}

fn describing(changes: Value) -> Faults {
    let discovery_merge = serde_json::from_value(changes).unwrap();
    Faults { discovery_merge, ..Faults::default() }
}

#[tokio::test]
async fn a_provider_that_does_not_listen_is_found() {
    let rig = Rig::start().await;
    let issuer = rig.idp.issuer().to_owned();
    rig.doctor_with(&issuer, "http://127.0.0.1:9").await.must_only_find("provider.discovery");
}

#[tokio::test]
async fn a_name_without_an_address_is_found() {
    let rig = Rig::start().await;
    let issuer = rig.idp.issuer().to_owned();
    let said = rig.doctor_with(&issuer, "https://idp.invalid").await;
    said.must_only_find("provider.discovery");
}

#[tokio::test]
async fn an_address_without_a_discovery_document_is_found() {
    let missing = FaultKind::Status { status: 404, body: "no such page".to_owned() };
    let (_rig, said) =
        with_faults(Faults { discovery: Some(missing.into()), ..Faults::default() }).await;
    said.must_only_find("provider.discovery");
}

#[tokio::test]
async fn a_discovery_document_without_a_token_endpoint_is_found() {
    let (_rig, said) = with_faults(describing(json!({ "token_endpoint": null }))).await;
    said.must_only_find("provider.discovery");
    assert!(said.out.contains("token_endpoint"), "{said:#?}");
}

#[tokio::test]
async fn an_endpoint_in_the_private_network_is_found() {
    let (_rig, said) =
        with_faults(describing(json!({ "token_endpoint": "https://10.0.0.1/t" }))).await;
    said.must_only_find("provider.discovery");
}

#[tokio::test]
async fn an_issuer_with_a_slash_too_many_is_found_with_both_spellings() {
    let rig = Rig::start().await;
    let issuer = rig.idp.issuer().to_owned();
    let said = rig.doctor_with(&format!("\"{issuer}\""), &format!("\"{issuer}/\"")).await;
    said.must_only_find("provider.issuer");
    let what = said.of("provider.issuer")[0]["what"].as_str().unwrap().to_owned();
    assert!(
        what.contains(&format!("{issuer},")) && what.ends_with(&format!("{issuer}/")),
        "{what}"
    );
}

#[tokio::test]
async fn what_a_provider_says_can_neither_flood_nor_colour_the_terminal() {
    let evil = format!("https://evil.example/\n\u{1b}[31m{}", "x".repeat(10_000));
    let rig = Rig::start().await;
    rig.idp.control().set_faults(describing(json!({ "issuer": evil })));
    let mut command = rig.command(&rig.text, &["doctor"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("evil.example") && !text.contains('\u{1b}'), "{text}");
    assert!(text.len() < 10_000, "{}", text.len());
}

#[tokio::test]
async fn keys_that_do_not_fit_the_algorithms_are_found() {
    let rig = Rig::start().await;
    rig.doctor_with("[\"RS256\"]", "[\"ES256\"]").await.must_only_find("provider.keys");
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_found() {
    let down = FaultKind::Status { status: 500, body: String::new() };
    let (_rig, said) = with_faults(Faults { jwks: Some(down.into()), ..Faults::default() }).await;
    said.must_only_find("provider.keys");
}

#[tokio::test]
async fn a_wrong_client_secret_is_found_and_not_shown() {
    let rig = Rig::start().await;
    let said = rig.doctor_with("mintgate-dev-secret", "hunter2-of-the-client").await;
    said.must_only_find("provider.client");
    assert!(!format!("{}{}", said.out, said.err).contains("hunter2"), "{said:#?}");
}

#[tokio::test]
async fn an_unknown_client_is_found() {
    let rig = Rig::start().await;
    let said = rig.doctor_with("client_id = \"mintgate\"", "client_id = \"mintgat\"").await;
    assert_eq!(said.wrong(), ["provider.client", "provider.redirect_uri"], "{said:#?}");
}

#[tokio::test]
async fn a_provider_that_takes_any_code_is_found() {
    let tokens = FaultKind::Body {
        body: r#"{"access_token":"a","token_type":"Bearer","id_token":"x"}"#.to_owned(),
        content_type: "application/json".to_owned(),
    };
    let (_rig, said) =
        with_faults(Faults { token: Some(tokens.into()), ..Faults::default() }).await;
    said.must_only_find("provider.client");
}

#[tokio::test]
async fn a_token_endpoint_that_is_down_says_nothing_of_the_client() {
    let down = FaultKind::Status { status: 503, body: String::new() };
    let (_rig, said) = with_faults(Faults { token: Some(down.into()), ..Faults::default() }).await;
    assert_eq!(
        (said.wrong(), said.cannot_be_told()),
        (vec![], vec!["provider.client"]),
        "{said:#?}"
    );
    assert_eq!(said.code, 0);
}

#[tokio::test]
async fn a_redirect_uri_that_is_not_registered_is_found() {
    let rig = Rig::start().await;
    let said = rig
        .doctor_with("[\"http://127.0.0.1:3000/callback\"]", "[\"http://127.0.0.1:3000/other\"]")
        .await;
    said.must_only_find("provider.redirect_uri");
}

#[tokio::test]
async fn a_clock_that_differs_from_the_providers_is_found() {
    let rig = Rig::start().await;
    let settings = Settings::from_toml(&rig.text).unwrap();
    let installation = commands::installation(settings, Arc::new(Late)).await;
    let report = DoctorCommand::default().run(&installation).await;
    let wrong = report.findings.iter().filter(|finding| finding.verdict == Verdict::Wrong);
    let wrong: Vec<_> = wrong.map(|finding| finding.check).collect();
    assert_eq!(wrong, ["provider.clock"], "{report}");
}

/// A provider with a certificate of a private authority that is good for a day.
async fn behind_tls() -> (Rig, Entrance, Certificates) {
    let certificates = Certificates::made_for("localhost");
    let entrance = Entrance::open(Some(&certificates)).await;
    let issuer = format!("https://localhost:{}", entrance.address.port());
    let mock = MockConfig { issuer: Some(issuer), ..MockConfig::default() };
    let rig = Rig::start_with(mock, |text| text).await;
    entrance.lead_to(rig.idp.address());
    (rig, entrance, certificates)
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_is_not_known_is_found() {
    let (rig, _entrance, _) = behind_tls().await;
    rig.doctor().await.must_only_find("provider.tls");
}

#[tokio::test]
async fn a_certificate_that_expires_soon_is_found() {
    let (rig, _entrance, certificates) = behind_tls().await;
    let authority = rig.dir().join("authority.pem");
    std::fs::write(&authority, &certificates.authority).unwrap();
    let text = format!("{}ca_file = \"{}\"\n", rig.text, authority.display());
    let said = rig.doctor_of(&text, &[]).await;
    said.must_only_find("provider.tls");
    assert!(said.out.contains("expires in"), "{said:#?}");
    assert_eq!(said.of("provider.client")[0]["verdict"], "good", "{said:#?}");
}

#[tokio::test]
async fn protection_that_a_client_may_leave_out_is_asked_for() {
    let rig = Rig::start().await;
    let said = rig.doctor_with("pkce = \"required\"\nnonce = \"required\"", "").await;
    assert_eq!((said.wrong(), said.cannot_be_told()), (vec![], vec!["provider.pkce"]), "{said:#?}");
}

#[tokio::test]
async fn one_code_is_sent_which_the_service_does_not_count_and_none_if_that_is_not_wanted() {
    let rig = Rig::start().await;
    let counted = async || {
        let metrics = reqwest::get(format!("http://{}/metrics", rig.ops)).await.unwrap();
        let metrics = metrics.text().await.unwrap();
        let about =
            ["mintgate_token_generation_total", "mintgate_rate_limit", "mintgate_provider_"];
        let lines = metrics.lines().filter(|line| about.iter().any(|it| line.starts_with(it)));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = counted().await;
    assert!(!before.is_empty());
    rig.doctor_of(&rig.text, &["--no-codes"]).await;
    assert_eq!(rig.idp.control().stats().token, 0);
    rig.doctor().await;
    let stats = rig.idp.control().stats();
    assert_eq!((stats.token, stats.refused_codes), (1, 1));
    assert_eq!(counted().await, before);
}
