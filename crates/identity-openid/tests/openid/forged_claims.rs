//! Cases 23 to 26: claims that are not this provider's, for this client, now; and other tokens.

use mintgate_domain::ports::ProviderError;
use mintgate_mock_idp::forgeries::Kind;
use mintgate_mock_idp::{IdTokenRecipe, SignIn};

use crate::support::{Adapter, NONCE, start, with_nonce};
use crate::variants::{assert_passes, refuse, refuse_all, target};

#[tokio::test]
async fn case_23_the_issuer_is_this_provider_character_for_character() {
    let idp = start().await;
    let adapter = refuse_all(&idp, Kind::Issuer, "").await;

    // A well-formed token of an attacker's own provider.
    let attacker = start().await;
    let foreign = attacker.control().issue_id_token(&with_nonce(), &IdTokenRecipe::default());
    let refused = adapter.verify(&foreign, Some(NONCE)).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))));
    assert_eq!(attacker.control().stats().jwks, 0);
}

#[tokio::test]
async fn case_24_the_audience_is_this_client_alone() {
    refuse(Kind::Audience).await;
}

#[tokio::test]
async fn case_24_a_token_has_its_time() {
    refuse(Kind::Time).await;
}

#[tokio::test]
async fn case_25_a_nonce_is_there_and_right() {
    refuse(Kind::Nonce).await;
}

#[tokio::test]
async fn case_25_a_subject_is_there_and_right() {
    refuse(Kind::Subject).await;
}

#[tokio::test]
async fn case_25_a_nonce_of_another_type_is_not_the_absence_of_one() {
    let idp = start().await;
    let adapter = refuse_all(&idp, Kind::UnaskedNonce, "").await;
    let payload = target(&idp, "").payload("");
    let genuine = IdTokenRecipe { raw_payload: Some(payload), ..IdTokenRecipe::default() };
    assert_passes(&idp, &adapter, SignIn::default(), genuine).await;
}

#[tokio::test]
async fn case_26_another_kind_of_token_is_no_id_token() {
    refuse(Kind::OtherToken).await;
}

#[tokio::test]
async fn case_26_text_that_is_no_token_costs_nothing() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let token = idp.control().issue_id_token(&SignIn::default(), &IdTokenRecipe::default());
    let padded = format!("{token}=");
    let spaced = format!(" {token}");
    let long = format!("{token}.{}", "A".repeat(1_000_000));
    for text in
        ["", ".", "..", "a.b.c", "....", "null", "not a token", "é.é.é", &padded, &spaced, &long]
    {
        let refused = adapter.verify(text, None).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{text:.40}");
    }
    let stats = idp.control().stats();
    assert_eq!((stats.discovery, stats.jwks), (0, 0), "nothing is loaded for garbage");
    adapter.verify(&token, None).await.unwrap();
}
