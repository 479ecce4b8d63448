//! What the token endpoint can answer, and what becomes of the code.

use mintgate_domain::SecretText;
use mintgate_domain::ports::{Misbehaviour, ProviderEndpoint, ProviderError};
use mintgate_mock_idp::{FaultKind, Faults, SignIn};
use serde_json::json;

use crate::support::{Adapter, CLIENT_SECRET, genuine, logged, warm};

fn answering(status: u16, body: &str) -> Faults {
    let kind = FaultKind::Status { status, body: body.to_owned() };
    Faults { token: Some(kind.into()), ..Faults::default() }
}

fn answering_as(content_type: &str, body: &str) -> Faults {
    let (body, content_type) = (body.to_owned(), content_type.to_owned());
    Faults { token: Some(FaultKind::Body { body, content_type }.into()), ..Faults::default() }
}

#[tokio::test]
async fn case_16_an_error_is_one_under_any_status_and_content_type() {
    let (idp, adapter) = warm().await;
    let bad_code = r#"{"error":"bad_verification_code","error_description":"expired"}"#;
    for faults in [
        answering(200, bad_code),
        answering(400, bad_code),
        answering(500, r#"{"error":"invalid_grant"}"#),
        answering_as("text/plain", bad_code),
        answering_as("application/x-www-form-urlencoded", "error=invalid_grant&id_token=a.b.c"),
        answering(200, r#"{"error":"invalid_grant","access_token":"x","token_type":"Bearer"}"#),
    ] {
        idp.control().set_faults(faults.clone());
        let refused = adapter.redeem("some-code", None).await;
        assert!(matches!(refused, Err(ProviderError::CodeRefused(_))), "{faults:?}: {refused:?}");
        assert_eq!(adapter.counted.requests().last(), Some(&(ProviderEndpoint::Token, "refused")));
    }
}

#[tokio::test]
async fn case_16_an_answer_without_an_id_token_is_the_providers_fault() {
    let (idp, adapter) = warm().await;
    let code = idp.control().issue_code(SignIn { scope: "profile".into(), ..SignIn::default() });
    let refused = adapter.redeem(&code, None).await;
    assert!(matches!(refused, Err(ProviderError::Misbehaved(..))), "{refused:?}");
    assert_eq!(adapter.counted.requests().last(), Some(&(ProviderEndpoint::Token, "malformed")));
}

#[tokio::test]
async fn what_is_no_oauth_answer_is_the_providers_fault_and_is_not_repeated() {
    let (idp, adapter) = warm().await;
    for faults in [
        answering(200, ""),
        answering(200, "[]"),
        answering(200, r#"{"access_token":"hunter2","token_type":"Bearer""#),
        answering(200, "{}"),
        answering(200, r#"{"access_token":"hunter2","token_type":"Bearer","id_token":7}"#),
        answering(200, r#"{"access_token":"hunter2","token_type":"Bearer","id_token":null}"#),
        answering(204, ""),
        answering(400, "hunter2"),
        answering(404, "<html>hunter2</html>"),
        answering(429, r#"{"error":"slow_down"}"#),
        answering(500, "hunter2"),
        answering(503, r#"{"error":"temporarily_unavailable"}"#),
        answering_as("application/x-www-form-urlencoded", "hunter2=error"),
        answering_as("text/html", r#"{"access_token":"hunter2","token_type":"Bearer"}"#),
    ] {
        idp.control().set_faults(faults.clone());
        let failed = adapter.redeem("some-code", None).await;
        let failed = failed.unwrap_err();
        assert!(matches!(failed, ProviderError::Misbehaved(..)), "{faults:?}: {failed:?}");
        assert!(!logged(&failed).contains("hunter2"), "{failed:?}");
    }
}

#[tokio::test]
async fn an_error_text_never_repeats_what_was_sent() {
    let (idp, adapter) = warm().await;
    let (code, verifier) = ("the-code-itself", "the-verifier-itself".repeat(3));
    let echo = json!({
        "error": "invalid_grant",
        "error_description": format!("{code} {verifier} {CLIENT_SECRET}\r\n{}", "x".repeat(9999)),
    });
    idp.control().set_faults(answering(400, &echo.to_string()));
    let refused = logged(&adapter.redeem(code, Some(&verifier)).await.unwrap_err());
    for secret in [code, &verifier, CLIENT_SECRET, "\n"] {
        assert!(!refused.contains(secret), "{refused}");
    }
    assert!(refused.len() < 300, "{refused}");
}

#[tokio::test]
async fn a_wrong_client_secret_is_told_to_the_operator_and_not_blamed_on_the_code() {
    let (idp, _) = warm().await;
    let adapter = Adapter::new(idp.issuer(), |config| {
        config.client_secret = Some(SecretText::new("wrong-secret"));
    });
    let code = idp.control().issue_code(SignIn::default());
    let failed = adapter.redeem(&code, None).await.unwrap_err();
    assert_eq!(failed, ProviderError::Misbehaved(Misbehaviour::ClientRefused, "".into()));
    assert!(!logged(&failed).contains("wrong-secret"));
}

#[tokio::test]
async fn an_unreadable_id_token_is_the_tokens_fault_and_shows_at_verification() {
    let (idp, adapter) = warm().await;
    let merge = json!({ "id_token": "not.a.token" }).as_object().unwrap().clone();
    idp.control().set_faults(Faults { token_merge: merge, ..Faults::default() });
    let failed = adapter.sign_in(&idp, SignIn::default()).await;
    assert!(matches!(failed, Err(ProviderError::IdTokenRefused(_))), "{failed:?}");
}

#[tokio::test]
async fn an_answer_in_unusual_but_readable_form_is_taken() {
    let (idp, adapter) = warm().await;
    let body = json!({
        "access_token": "x",
        "token_type": "bearer",
        "expires_in": "3599",
        "id_token": genuine(&idp),
    });
    idp.control().set_faults(answering_as("application/json;charset=UTF-8", &body.to_string()));
    let tokens = adapter.redeem("some-code", None).await.unwrap();
    assert!(tokens.access_token.is_some());
    adapter.verify(tokens.id_token.unwrap().expose(), None).await.unwrap();
}
