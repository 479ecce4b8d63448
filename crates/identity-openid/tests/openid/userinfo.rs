//! Claims from the userinfo endpoint.

use mintgate_domain::model::ClaimValue;
use mintgate_domain::ports::{Misbehaviour, ProviderEndpoint, ProviderError};
use mintgate_mock_idp::{FaultKind, Faults, IdTokenAlg, IdTokenRecipe, MockIdp, SignIn};
use serde_json::{Value, json};

use crate::support::{Adapter, genuine, logged, start, start_with};

async fn with_userinfo() -> (MockIdp, Adapter) {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    let adapter = Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["EdDSA".to_owned()];
        config.userinfo = true;
    });
    (idp, adapter)
}

fn answering(userinfo: &Value, id_token: &Value) -> Faults {
    Faults {
        userinfo_merge: userinfo.as_object().unwrap().clone(),
        id_token: Some(IdTokenRecipe {
            claims: id_token.as_object().unwrap().clone(),
            ..IdTokenRecipe::default()
        }),
        ..Faults::default()
    }
}

#[tokio::test]
async fn userinfo_adds_claims_and_overrides_none() {
    let (idp, adapter) = with_userinfo().await;
    let userinfo = json!({ "department": "R&D", "groups": ["admins", "root"], "acr": "9" });
    let id_token = json!({ "groups": ["staff"], "acr": null });
    idp.control().set_faults(answering(&userinfo, &id_token));
    let identity = adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    let text = |text: &str| ClaimValue::Text(text.to_owned());
    assert_eq!(identity.claims.find("department"), Some(&text("R&D")));
    assert_eq!(identity.claims.find("groups"), Some(&ClaimValue::List(vec![text("staff")])));
    assert_eq!(identity.acr, None, "how somebody signed in is the ID token's to say");
    assert_eq!(adapter.counted.requests().last(), Some(&(ProviderEndpoint::Userinfo, "success")));
}

#[tokio::test]
async fn case_30_an_email_of_userinfo_needs_userinfos_own_word() {
    let (idp, adapter) = with_userinfo().await;
    for (userinfo, id_token, expected) in [
        (json!({}), json!({ "email": null, "email_verified": null }), Some("alice@example.com")),
        (json!({ "email_verified": null }), json!({ "email": null, "email_verified": true }), None),
        (json!({ "email_verified": "true" }), json!({ "email": null }), None),
        (json!({ "email_verified": true }), json!({ "email_verified": false }), None),
        (json!({ "email": "eve@example.com" }), json!({}), Some("alice@example.com")),
    ] {
        idp.control().set_faults(answering(&userinfo, &id_token));
        let identity = adapter.sign_in(&idp, SignIn::default()).await.unwrap();
        let email = identity.claims.find("email").and_then(ClaimValue::as_text);
        assert_eq!(email, expected, "{userinfo} {id_token}");
    }
}

#[tokio::test]
async fn case_25_userinfo_about_somebody_else_is_refused() {
    let (idp, adapter) = with_userinfo().await;
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    for sub in [json!("mock|bob"), json!("MOCK|ALICE"), json!(""), json!(7), Value::Null] {
        idp.control().set_faults(answering(&json!({ "sub": sub }), &json!({})));
        let refused = adapter.sign_in(&idp, SignIn::default()).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{sub}");
    }
}

#[tokio::test]
async fn userinfo_is_asked_only_where_it_is_configured_and_there_is_an_access_token() {
    let (idp, adapter) = with_userinfo().await;
    adapter.verify(&genuine(&idp), None).await.unwrap();
    for without in [json!({ "token_type": "N_A" }), json!({ "access_token": null })] {
        let token_merge = without.as_object().unwrap().clone();
        idp.control().set_faults(Faults { token_merge, ..Faults::default() });
        let failed = adapter.sign_in(&idp, SignIn::default()).await.unwrap_err();
        assert_eq!(failed, ProviderError::Misbehaved(Misbehaviour::BadAnswer, "".into()));
        assert!(logged(&failed).contains("access_token"), "{failed:?}");
    }
    let plain = start().await;
    Adapter::new(plain.issuer(), |_| {}).sign_in(&plain, SignIn::default()).await.unwrap();
    assert_eq!((idp.control().stats().userinfo, plain.control().stats().userinfo), (0, 0));
}

#[tokio::test]
async fn userinfo_that_is_no_proper_answer_fails_the_sign_in() {
    let (idp, adapter) = with_userinfo().await;
    let other = start().await;
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    let body = |body: &str| FaultKind::Body {
        body: body.to_owned(),
        content_type: "application/json".to_owned(),
    };
    for fault in [
        FaultKind::Status { status: 401, body: String::new() },
        FaultKind::Status { status: 500, body: "{}".to_owned() },
        FaultKind::Redirect { to: format!("{}/userinfo", other.issuer()) },
        FaultKind::Huge { bytes: None },
        FaultKind::Close,
        body("not json"),
        body("[]"),
        body(r#"{"sub":"mock|alice","sub":"mock|alice"}"#),
    ] {
        idp.control()
            .set_faults(Faults { userinfo: Some(fault.clone().into()), ..Faults::default() });
        let failed = adapter.sign_in(&idp, SignIn::default()).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{fault:?}: {failed:?}");
    }
    assert_eq!(other.control().stats().userinfo, 0);
}
