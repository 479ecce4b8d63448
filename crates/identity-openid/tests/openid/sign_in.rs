//! Sign-ins that succeed, and what is known of the person then.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::SecretText;
use mintgate_domain::model::ClaimValue;
use mintgate_domain::ports::{ProviderEndpoint, ProviderError};
use mintgate_mock_idp::{
    Faults, IdTokenAlg, IdTokenRecipe, MockClient, MockConfig, MockIdp, SignIn, SignWith,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::{Adapter, NONCE, genuine, logged, start, start_with, warm, with_nonce};

fn text(value: &str) -> ClaimValue {
    ClaimValue::Text(value.to_owned())
}

#[tokio::test]
async fn a_code_becomes_a_verified_identity() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let identity = adapter.sign_in(&idp, with_nonce()).await.unwrap();
    assert_eq!(identity.identity.issuer, idp.issuer());
    assert_eq!(identity.identity.subject, "mock|alice");
    assert_eq!(identity.claims.find("email"), Some(&text("alice@example.com")));
    let groups = vec![text("admins"), text("engineering")];
    assert_eq!(identity.claims.find("groups"), Some(&ClaimValue::List(groups)));
    assert_eq!(
        (identity.acr.as_deref(), identity.amr.as_slice()),
        (Some("1"), &["pwd".into()][..])
    );
    assert!(identity.auth_time.is_some() && identity.id_token.is_some());
    let counted = [ProviderEndpoint::Discovery, ProviderEndpoint::Jwks, ProviderEndpoint::Token]
        .map(|endpoint| (endpoint, "success"));
    assert_eq!(adapter.counted.requests(), counted);
}

#[tokio::test]
async fn every_pinned_signature_algorithm_is_verified() {
    for alg in [IdTokenAlg::Rs256, IdTokenAlg::Ps256, IdTokenAlg::Es256, IdTokenAlg::EdDsa] {
        let idp = start_with(alg).await;
        let pinned = Adapter::new(idp.issuer(), |config| {
            config.id_token_algorithms = vec!["ES384".to_owned(), alg.name().to_owned()];
        });
        pinned.sign_in(&idp, with_nonce()).await.unwrap();
        let other = Adapter::new(idp.issuer(), |config| {
            config.id_token_algorithms = vec!["ES384".to_owned()];
        });
        let refused = other.sign_in(&idp, with_nonce()).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{}", alg.name());
    }
}

#[tokio::test]
async fn a_provider_pinned_to_hs256_signs_with_the_client_secret_alone() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["HS256".to_owned()];
    });
    let with = |sign| IdTokenRecipe { sign, ..IdTokenRecipe::default() };
    let token = |sign| idp.control().issue_id_token(&SignIn::default(), &with(sign));
    adapter.verify(&token(SignWith::HmacWithClientSecret), None).await.unwrap();
    for sign in [SignWith::HmacWithPublicKeyPem, SignWith::Genuine, SignWith::Unsigned] {
        let refused = adapter.verify(&token(sign), None).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{sign:?}");
    }
    assert_eq!(idp.control().stats().jwks, 0);
}

#[tokio::test]
async fn case_14_the_verifier_decides_about_a_challenged_code() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
    let challenged = SignIn { code_challenge: Some(challenge), ..SignIn::default() };

    let code = idp.control().issue_code(challenged.clone());
    let tokens = adapter.redeem(&code, Some(verifier)).await.unwrap();
    adapter.verify(tokens.id_token.unwrap().expose(), None).await.unwrap();

    let wrong = "wrong".repeat(10);
    for (sign_in, verifier) in [
        (challenged.clone(), None),
        (challenged, Some(wrong.as_str())),
        (SignIn::default(), Some(verifier)),
    ] {
        let code = idp.control().issue_code(sign_in);
        let refused = adapter.redeem(&code, verifier).await.unwrap_err();
        assert!(matches!(refused, ProviderError::CodeRefused(_)), "{refused}");
        assert!(!logged(&refused).contains(&code));
    }
}

#[tokio::test]
async fn case_14_a_nonce_is_asked_back_in_both_directions() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let issue = |sign_in| idp.control().issue_id_token(&sign_in, &IdTokenRecipe::default());
    let (with, without) = (issue(with_nonce()), issue(SignIn::default()));
    adapter.verify(&with, Some(NONCE)).await.unwrap();
    adapter.verify(&without, None).await.unwrap();
    for (token, nonce) in [(&with, None), (&with, Some("another")), (&without, Some(NONCE))] {
        let refused = adapter.verify(token, nonce).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{nonce:?}");
    }
}

#[tokio::test]
async fn a_key_without_use_or_algorithm_and_a_token_without_type_or_kid_are_enough() {
    let idp = start().await;
    let bare_key = json!({ "use": null, "alg": null, "kid": null });
    idp.control().set_faults(Faults {
        jwks_merge: bare_key.as_object().unwrap().clone(),
        ..Faults::default()
    });
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let bare = json!({ "typ": null, "kid": null, "x5t": "thumbprint" });
    let recipe =
        IdTokenRecipe { header: bare.as_object().unwrap().clone(), ..IdTokenRecipe::default() };
    let token = idp.control().issue_id_token(&SignIn::default(), &recipe);
    adapter.verify(&token, None).await.unwrap();
}

#[tokio::test]
async fn odd_but_harmless_claims_do_not_keep_anybody_out() {
    let (idp, adapter) = warm().await;
    let odd = json!({
        "updated_at": "2024-05-01T10:00:00.000Z",
        "email_verified": "true",
        "big": 1.8e19,
        "nested": { "a": { "b": [{ "c": null }] } },
        "aud": ["mintgate"],
        "azp": "mintgate",
    });
    let recipe =
        IdTokenRecipe { claims: odd.as_object().unwrap().clone(), ..IdTokenRecipe::default() };
    let token = idp.control().issue_id_token(&SignIn::default(), &recipe);
    let identity = adapter.verify(&token, None).await.unwrap();
    assert_eq!(identity.claims.find("email"), None, "verified as a text is not verified");
    assert!(identity.claims.find("nested.a.b").is_some());
}

#[tokio::test]
async fn case_31_ten_thousand_groups_are_too_many_for_a_token_and_stay_so() {
    let (idp, adapter) = warm().await;
    let token = |count: u32| {
        let groups: Vec<_> = (0..count).map(|i| format!("group-{i}")).collect();
        let claims = json!({ "groups": groups }).as_object().unwrap().clone();
        let recipe = IdTokenRecipe { claims, ..IdTokenRecipe::default() };
        idp.control().issue_id_token(&SignIn::default(), &recipe)
    };
    let identity = adapter.verify(&token(500), None).await.unwrap();
    assert_eq!(identity.claims.find("groups").unwrap().texts().count(), 500);
    for _ in 0..3 {
        let refused = adapter.verify(&token(10_000), None).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))));
    }
}

#[tokio::test]
async fn case_25_an_id_token_is_one_and_the_same_whatever_its_signature_is_turned_into() {
    let idp = start_with(IdTokenAlg::Es256).await;
    let adapter = Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["ES256".to_owned()];
    });
    let token = genuine(&idp);
    let turned = turn_signature(&token);
    assert_ne!(token, turned);
    let one = adapter.verify(&token, None).await.unwrap();
    // Valid as well, as ECDSA is; so only its hash can tell that it has been used.
    let other = adapter.verify(&turned, None).await.unwrap();
    assert_eq!(one.id_token, other.id_token);
    let another = idp.control().issue_id_token(
        &SignIn { user: "bob".to_owned(), ..SignIn::default() },
        &IdTokenRecipe::default(),
    );
    assert_ne!(adapter.verify(&another, None).await.unwrap().id_token, one.id_token);
}

/// The other ECDSA signature over the same message: (r, n - s), n being the order of P-256.
fn turn_signature(token: &str) -> String {
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for i in (0..32).rev() {
        let order = i16::from_str_radix(&ORDER[2 * i..2 * i + 2], 16).unwrap();
        let difference = order - i16::from(bytes[32 + i]) - borrow;
        borrow = i16::from(difference < 0);
        bytes[32 + i] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[tokio::test]
async fn the_client_authenticates_by_header_by_body_or_by_name_alone() {
    let awkward = "p%ss:w+rd & é";
    let client = |id: &str, secret: Option<&str>| MockClient {
        id: id.to_owned(),
        secret: secret.map(ToOwned::to_owned),
        redirect_uris: vec![SignIn::default().redirect_uri],
    };
    let clients = vec![client("confi:dential", Some(awkward)), client("public", None)];
    let idp = MockIdp::start(MockConfig { clients, ..MockConfig::default() }).await.unwrap();
    for methods in [
        json!(null),
        json!(["client_secret_basic", "client_secret_post"]),
        json!(["private_key_jwt", "client_secret_post"]),
    ] {
        let merge = json!({ "token_endpoint_auth_methods_supported": methods });
        idp.control().set_faults(Faults {
            discovery_merge: merge.as_object().unwrap().clone(),
            ..Faults::default()
        });
        for (id, secret) in [("confi:dential", Some(awkward)), ("public", None)] {
            let adapter = Adapter::new(idp.issuer(), |config| {
                id.clone_into(&mut config.client_id);
                config.client_secret = secret.map(SecretText::new);
            });
            let sign_in = SignIn { client_id: id.to_owned(), ..SignIn::default() };
            let identity = adapter.sign_in(&idp, sign_in).await;
            assert!(identity.is_ok(), "{id} {methods}: {:?}", identity.err());
        }
    }
}
