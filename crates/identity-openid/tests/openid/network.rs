//! Cases 12, 13 and 17: where requests go, how long they take, and how much comes back.

use std::time::Duration;

use mintgate_domain::ports::ProviderError;
use mintgate_mock_idp::{FaultKind, Faults, MockConfig, MockIdp, SignIn};
use serde_json::{Value, json};

use crate::support::{Adapter, fetched, genuine, logged, start, warm};

/// Soon enough for a test, late enough for a busy machine.
const TIMEOUT: Duration = Duration::from_millis(1500);

fn at_token(kind: FaultKind) -> Faults {
    Faults { token: Some(kind.into()), ..Faults::default() }
}

fn discovering(changes: &Value) -> Faults {
    Faults { discovery_merge: changes.as_object().unwrap().clone(), ..Faults::default() }
}

#[tokio::test]
async fn case_12_a_redirect_is_not_followed() {
    let idp = start().await;
    let other = start().await;
    let to = |path: &str| FaultKind::Redirect { to: format!("{}/{path}", other.issuer()) };
    for faults in [
        Faults {
            discovery: Some(to(".well-known/openid-configuration").into()),
            ..Faults::default()
        },
        Faults { jwks: Some(to("jwks").into()), ..Faults::default() },
        at_token(to("token")),
    ] {
        idp.control().set_faults(faults.clone());
        let adapter = Adapter::new(idp.issuer(), |_| {});
        let failed = adapter.sign_in(&idp, SignIn::default()).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{faults:?}: {failed:?}");
        assert_eq!(adapter.counted.requests().last().unwrap().1, "redirect");
    }
    let stats = other.control().stats();
    assert_eq!((stats.discovery, stats.jwks, stats.token), (0, 0, 0));
}

#[tokio::test]
async fn case_13_another_issuer_in_the_discovery_document_is_refused() {
    let idp = start().await;
    let issuer = idp.issuer();
    for other in [
        json!(format!("{issuer}/")),
        json!(issuer.replace("http", "HTTP")),
        json!(issuer.replace("127.0.0.1", "localhost")),
        json!("https://attacker.example.com"),
        json!("not a url"),
        json!(""),
        Value::Null,
    ] {
        idp.control().set_faults(discovering(&json!({ "issuer": other })));
        let failed =
            Adapter::new(issuer, |_| {}).sign_in(&idp, SignIn::default()).await.unwrap_err();
        assert!(matches!(failed, ProviderError::Misbehaved(..)), "{other}: {failed:?}");
    }
    assert_eq!((idp.control().stats().jwks, idp.control().stats().token), (0, 0));

    // The same the other way round: the mock says what it is, the configuration says more.
    idp.control().clear_faults();
    let slash = Adapter::new(&format!("{issuer}/"), |_| {});
    let failed = slash.sign_in(&idp, SignIn::default()).await;
    assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{failed:?}");
}

#[tokio::test]
async fn case_13_an_endpoint_in_a_place_where_no_provider_can_be_is_refused() {
    let idp = start().await;
    let port = idp.address().port();
    for url in [
        "http://idp.example.com/x".to_owned(),
        "http://10.0.0.1/x".to_owned(),
        "https://10.0.0.1/x".to_owned(),
        "https://192.168.0.1/x".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://[fe80::1]/x".to_owned(),
        "https://[fd00::1]/x".to_owned(),
        "https://[::ffff:10.0.0.1]/x".to_owned(),
        "https://0.0.0.0/x".to_owned(),
        "https://224.0.0.1/x".to_owned(),
        "ftp://127.0.0.1/x".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("http://user:secret@127.0.0.1:{port}/x"),
        format!("http://secret@127.0.0.1:{port}/x"),
    ] {
        for endpoint in ["jwks_uri", "token_endpoint", "userinfo_endpoint"] {
            idp.control().set_faults(discovering(&json!({ endpoint: url })));
            let adapter = Adapter::new(idp.issuer(), |config| config.userinfo = true);
            let failed = adapter.sign_in(&idp, SignIn::default()).await;
            let failed = failed.unwrap_err();
            assert!(
                matches!(failed, ProviderError::Misbehaved(..)),
                "{endpoint} {url}: {failed:?}"
            );
            assert!(!logged(&failed).contains("secret"), "{failed:?}");
        }
    }
    let stats = idp.control().stats();
    assert_eq!((stats.jwks, stats.token, stats.userinfo), (0, 0, 0));
}

#[tokio::test]
async fn a_document_that_is_no_metadata_or_no_key_set_is_the_providers_fault() {
    let idp = start().await;
    let body = |body: &str| FaultKind::Body {
        body: body.to_owned(),
        content_type: "application/json".to_owned(),
    };
    let mut faults = vec![
        discovering(&json!({ "token_endpoint": null })),
        discovering(&json!({ "jwks_uri": null })),
        discovering(&json!({ "jwks_uri": 7 })),
        Faults { jwks_replace: Some(json!({ "keys": [] })), ..Faults::default() },
        Faults { jwks_replace: Some(json!({ "keys": {} })), ..Faults::default() },
        Faults { jwks_replace: Some(json!([])), ..Faults::default() },
    ];
    for kind in [
        body("not json"),
        body("{}"),
        FaultKind::Status { status: 404, body: String::new() },
        FaultKind::Status { status: 500, body: "{}".to_owned() },
        FaultKind::Close,
    ] {
        faults.push(Faults { discovery: Some(kind.clone().into()), ..Faults::default() });
        faults.push(Faults { jwks: Some(kind.into()), ..Faults::default() });
    }
    for fault in faults {
        idp.control().set_faults(fault.clone());
        let failed = Adapter::new(idp.issuer(), |_| {}).sign_in(&idp, SignIn::default()).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{fault:?}: {failed:?}");
    }
    assert_eq!(idp.control().stats().token, 0);
}

#[tokio::test]
async fn case_17_a_huge_answer_is_cut_at_the_cap() {
    for bytes in [None, Some(256 * 1024 + 1)] {
        let (idp, adapter) = warm().await;
        for (count, faults) in [
            at_token(FaultKind::Huge { bytes }),
            Faults { discovery: Some(FaultKind::Huge { bytes }.into()), ..Faults::default() },
            Faults { jwks: Some(FaultKind::Huge { bytes }.into()), ..Faults::default() },
        ]
        .into_iter()
        .enumerate()
        {
            idp.control().set_faults(faults);
            let cold = Adapter::new(idp.issuer(), |_| {});
            let adapter = if count == 0 { &adapter } else { &cold };
            let failed = adapter.sign_in(&idp, SignIn::default()).await;
            assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{failed:?}");
            assert_eq!(adapter.counted.requests().last().unwrap().1, "too_large");
        }
        // What was on its way when the connection was cut, and no more.
        assert!(idp.control().stats().huge_bytes < 64 * 1024 * 1024);
    }
}

#[tokio::test]
async fn case_17_an_answer_of_announced_excess_is_not_even_begun() {
    let (idp, adapter) = warm().await;
    let body = " ".repeat(256 * 1024 + 1);
    idp.control().set_faults(at_token(FaultKind::Status { status: 200, body }));
    let failed = adapter.sign_in(&idp, SignIn::default()).await;
    assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{failed:?}");
    assert_eq!(adapter.counted.requests().last().unwrap().1, "too_large");
}

#[tokio::test]
async fn case_17_a_provider_that_hangs_or_drips_is_given_up_and_the_code_not_sent_again() {
    let (idp, _) = warm().await;
    for kind in [FaultKind::Hang, FaultKind::Drip { interval_ms: 50 }] {
        let adapter = Adapter::new(idp.issuer(), |config| {
            config.id_token_algorithms = vec!["EdDSA".to_owned()];
            config.network.timeout = TIMEOUT;
        });
        adapter.sign_in(&idp, SignIn::default()).await.unwrap();
        let before = idp.control().stats().token;
        idp.control().set_faults(at_token(kind.clone()));
        let code = idp.control().issue_code(SignIn::default());
        let limit = tokio::time::timeout(TIMEOUT * 4, adapter.redeem(&code, None));
        let failed = limit.await.expect("the call is bounded");
        assert!(matches!(failed, Err(ProviderError::TimedOut(_))), "{kind:?}: {failed:?}");
        assert_eq!(idp.control().stats().token, before + 1);
        assert_eq!(adapter.counted.requests().last().unwrap().1, "timeout");
        idp.control().clear_faults();
        adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    }
}

#[tokio::test]
async fn case_17_loading_the_metadata_is_bounded_as_a_whole() {
    let idp = start().await;
    let token = genuine(&idp);
    let delay = FaultKind::Delay { ms: 1000 };
    for faults in [
        Faults { discovery: Some(FaultKind::Hang.into()), ..Faults::default() },
        Faults { jwks: Some(FaultKind::Drip { interval_ms: 50 }.into()), ..Faults::default() },
        Faults {
            discovery: Some(delay.clone().into()),
            jwks: Some(delay.into()),
            ..Faults::default()
        },
    ] {
        idp.control().set_faults(faults.clone());
        let adapter = Adapter::new(idp.issuer(), |config| config.network.timeout = TIMEOUT);
        let both =
            async { tokio::join!(adapter.redeem("some-code", None), adapter.verify(&token, None)) };
        let (redeemed, verified) =
            tokio::time::timeout(TIMEOUT * 4, both).await.expect("the calls are bounded");
        assert!(matches!(redeemed, Err(ProviderError::TimedOut(_))), "{faults:?}: {redeemed:?}");
        assert!(matches!(verified, Err(ProviderError::TimedOut(_))), "{faults:?}: {verified:?}");
    }
    assert_eq!(idp.control().stats().token, 0);
}

#[tokio::test]
async fn case_17_a_connection_that_breaks_has_an_unknown_outcome_and_the_code_is_not_sent_again() {
    let (idp, adapter) = warm().await;
    // The second time over a connection that was kept, where a client might think of trying again.
    for requests in [2, 4] {
        idp.control().set_faults(at_token(FaultKind::Close));
        let failed = adapter.sign_in(&idp, SignIn::default()).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{failed:?}");
        assert_eq!(idp.control().stats().token, requests);
        idp.control().clear_faults();
        adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_provider_that_is_down_at_start_is_used_once_it_is_up() {
    let idp = start().await;
    let (issuer, listen) = (idp.issuer().to_owned(), idp.address());
    idp.stop().await;
    let adapter = Adapter::new(&issuer, |_| {});
    for _ in 0..2 {
        let failed = adapter.redeem("some-code", None).await;
        assert!(matches!(failed, Err(ProviderError::Unreachable(_))), "{failed:?}");
    }
    let config = MockConfig { listen, ..MockConfig::default() };
    let idp = MockIdp::start(config).await.unwrap();
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    assert_eq!(fetched(&idp), (1, 1));
}

#[tokio::test]
async fn a_provider_that_goes_down_later_is_unreachable_and_the_code_was_not_sent() {
    let (idp, adapter) = warm().await;
    idp.stop().await;
    // The kept connection may outlive the listener for a moment.
    let unreachable = async {
        while !matches!(adapter.redeem("x", None).await, Err(ProviderError::Unreachable(_))) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), unreachable).await.is_ok());
    assert_eq!(adapter.counted.requests().last().unwrap().1, "unreachable");
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_unreachable() {
    // No name server is asked about a label of more than 63 bytes (RFC 1035 §2.3.4).
    let adapter = Adapter::new(&format!("https://{}.invalid", "x".repeat(64)), |_| {});
    let failed = adapter.redeem("some-code", None).await;
    assert!(matches!(failed, Err(ProviderError::Unreachable(_))), "{failed:?}");
}

#[tokio::test]
async fn a_server_that_cannot_prove_who_it_is_is_unreachable() {
    let idp = start().await;
    let adapter = Adapter::new(&idp.issuer().replace("http:", "https:"), |_| {});
    let failed = adapter.redeem("some-code", None).await;
    assert!(matches!(failed, Err(ProviderError::Unreachable(_))), "{failed:?}");
    assert_eq!(fetched(&idp), (0, 0));
}
