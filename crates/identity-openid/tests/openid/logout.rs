//! Logout tokens (OIDC Back-Channel Logout §2.4 to §2.6): which end sessions, and which must not.

use mintgate_domain::TokenHash;
use mintgate_domain::ports::ProviderError;
use mintgate_mock_idp::{
    Faults, IdTokenAlg, IdTokenRecipe, LogoutOrder, LogoutTokenFault, MockIdp, Shape, SignIn,
    SignWith,
};
use serde_json::{Value, json};

use crate::support::{Adapter, fetched, start, start_with, warm};
use crate::variants::{now_secs, object};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How a genuine logout token is made where a test wants to spoil more than its claims.
fn recipe(changes: &Value) -> IdTokenRecipe {
    let now = now_secs();
    let mut claims = object(&json!({
        "sid": "session-1", "jti": "order-1", "iat": now, "exp": now + 120, "events": { EVENT: {} },
    }));
    claims.extend(object(changes));
    IdTokenRecipe {
        header: object(&json!({ "typ": "logout+jwt" })),
        claims,
        ..IdTokenRecipe::default()
    }
}

fn make(idp: &MockIdp, recipe: &IdTokenRecipe) -> String {
    idp.control().issue_id_token(&SignIn::default(), recipe)
}

fn is_refused(result: &Result<mintgate_domain::ports::LogoutOrder, ProviderError>) -> bool {
    matches!(result, Err(ProviderError::LogoutTokenRefused(_)))
}

#[tokio::test]
async fn a_logout_token_says_whose_sessions_end() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let sid = Some("session-1".to_owned());
    let of = |sid: &Option<String>, without_sub| LogoutOrder {
        sign_in: SignIn { sid: sid.clone(), ..SignIn::default() },
        without_sub,
        ..LogoutOrder::default()
    };
    let mut ids = Vec::new();
    for (order, subject, session) in [
        (of(&None, false), Some("mock|alice"), None),
        (of(&sid, false), Some("mock|alice"), Some("session-1")),
        (of(&sid, true), None, Some("session-1")),
    ] {
        let token = idp.control().logout_token(&order);
        let order = adapter.verify_logout(&token).await.unwrap();
        assert_eq!(order.issuer, idp.issuer());
        assert_eq!((order.subject.as_deref(), order.session.as_deref()), (subject, session));
        let left = order.expires_at.as_unix() - now_secs();
        assert!((1..=120).contains(&left), "{left}");
        // The same order, however often it comes.
        assert_eq!(adapter.verify_logout(&token).await.unwrap(), order);
        assert!(!ids.contains(&order.id), "each its own");
        ids.push(order.id);
    }
    assert_eq!(fetched(&idp), (1, 1));
}

#[tokio::test]
async fn what_a_logout_token_may_leave_open_is_left_open() {
    let (idp, adapter) = warm().await;
    let now = now_secs();
    for (name, header, claims) in [
        ("as it is", json!({}), json!({})),
        ("typed JWT", json!({ "typ": "JWT" }), json!({})),
        ("typed in full", json!({ "typ": "application/logout+jwt" }), json!({})),
        ("not typed", json!({ "typ": null }), json!({})),
        ("for us in a list", json!({}), json!({ "aud": ["mintgate"] })),
        ("an event with content", json!({}), json!({ "events": { EVENT: { "x": 1 } } })),
        ("more events", json!({}), json!({ "events": { EVENT: {}, "urn:other": {} } })),
        ("Keycloak's word for it", json!({}), json!({ "typ": "Logout" })),
        ("five minutes old", json!({}), json!({ "iat": now - 300 })),
        ("a clock ahead", json!({}), json!({ "iat": now + 30 })),
        ("claims of its own", json!({}), json!({ "trace_id": [1, 2] })),
        (
            "parameters of its own",
            json!({ "jku": "http://127.0.0.1/jwks", "x5c": ["MIIB"] }),
            json!({}),
        ),
        ("no end", json!({}), json!({ "exp": null })),
        ("a long session id", json!({}), json!({ "sid": "x".repeat(304) })),
    ] {
        let mut recipe = recipe(&claims);
        recipe.header.extend(object(&header));
        let order = adapter.verify_logout(&make(&idp, &recipe)).await;
        let order = order.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(order.id, TokenHash::of_parts(&[idp.issuer(), "order-1"]), "{name}");
    }
    let far = recipe(&json!({ "exp": now + 365 * 24 * 3600 }));
    let order = adapter.verify_logout(&make(&idp, &far)).await.unwrap();
    let bounded = order.expires_at.as_unix() - now;
    assert!((590..=610).contains(&bounded), "{bounded}");
}

#[tokio::test]
async fn every_rule_of_the_specification_is_kept() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let good = idp.control().logout_token(&LogoutOrder::default());
    adapter.verify_logout(&good).await.unwrap();
    for fault in LogoutTokenFault::ALL {
        let order = LogoutOrder { fault: Some(fault), ..LogoutOrder::default() };
        let refused = adapter.verify_logout(&idp.control().logout_token(&order)).await;
        assert!(is_refused(&refused), "{fault:?}: {refused:?}");
    }
    assert_eq!(fetched(&idp), (1, 2), "once for all bad signatures");
}

/// Claims that no genuine logout token for us has now.
fn wrong_claims(issuer: &str) -> Vec<Value> {
    let now = now_secs();
    let mut wrong = Vec::new();
    let long = "x".repeat(256);
    for (name, values) in [
        (
            "iss",
            vec![json!(null), json!(""), json!(7), json!(format!("{issuer}/")), json!([issuer])],
        ),
        (
            "aud",
            vec![json!(null), json!([]), json!("mint"), json!(["mintgate", "other"]), json!(7)],
        ),
        ("azp", vec![json!("other"), json!(7)]),
        ("iat", vec![json!(now - 601), json!(now + 120), json!(now.to_string()), json!(-1)]),
        ("exp", vec![json!(now - 1), json!(now), json!((now + 60).to_string())]),
        ("nbf", vec![json!(now + 3600), json!("now")]),
        ("jti", vec![json!(null), json!(""), json!(7), json!(["order-1"])]),
        ("sub", vec![json!(""), json!(7), json!(["mock|alice"]), json!(long), json!("a\u{0}b")]),
        ("sid", vec![json!(""), json!(7), json!({})]),
        ("nonce", vec![json!("n-0S6_WzA2Mj"), json!(""), json!(7), json!({})]),
        (
            "events",
            vec![
                json!(null),
                json!(EVENT),
                json!([EVENT]),
                json!({}),
                json!({ "urn:other": {} }),
                json!({ EVENT: null }),
                json!({ EVENT: "" }),
                json!({ EVENT: true }),
                json!({ EVENT: [] }),
                json!({ EVENT.to_uppercase(): {} }),
                json!({ EVENT.replace("http:", "https:"): {} }),
            ],
        ),
        ("typ", vec![json!("ID"), json!("Bearer"), json!("Refresh"), json!("Offline")]),
    ] {
        wrong.extend(values.into_iter().map(|value| json!({ name: value })));
    }
    wrong.push(json!({ "sub": null, "sid": null }));
    wrong
}

#[tokio::test]
async fn case_24_wrong_claims_are_refused_before_anything_is_fetched() {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    let adapter = Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["EdDSA".to_owned()];
    });
    let wrong = wrong_claims(idp.issuer());
    assert!(wrong.len() > 40);
    for claims in wrong {
        let refused = adapter.verify_logout(&make(&idp, &recipe(&claims))).await;
        assert!(is_refused(&refused), "{claims}: {refused:?}");
    }
    // A nonce counts as one though its value is none.
    let genuine = recipe(&json!({}));
    let now = now_secs();
    let raw = format!(
        r#"{{"iss":"{}","aud":"mintgate","sub":"a","jti":"1","iat":{now},"exp":{},
            "events":{{"{EVENT}":{{}}}},"nonce":null}}"#,
        idp.issuer(),
        now + 60
    );
    let null_nonce = IdTokenRecipe { raw_payload: Some(raw), ..genuine.clone() };
    assert!(is_refused(&adapter.verify_logout(&make(&idp, &null_nonce)).await));
    for text in ["", ".", "a.b.c", "null", "{}", &"A".repeat(1_000_000)] {
        assert!(is_refused(&adapter.verify_logout(text).await), "{text:.20}");
    }
    assert_eq!(fetched(&idp), (0, 0), "nothing is loaded for garbage");
    adapter.verify_logout(&make(&idp, &genuine)).await.unwrap();
}

#[tokio::test]
async fn case_20_forged_logout_tokens_end_nobodys_session() {
    // RSA, as only its public keys can be taken for an HMAC's.
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let genuine = recipe(&json!({}));
    adapter.verify_logout(&make(&idp, &genuine)).await.unwrap();
    for sign in [
        SignWith::AttackerKeySameKid,
        SignWith::AttackerKeyWithJwk,
        SignWith::Unsigned,
        SignWith::HmacWithPublicKeyPem,
        SignWith::HmacWithJwkN,
        SignWith::HmacWithClientSecret,
        SignWith::Garbage,
    ] {
        let forged = make(&idp, &IdTokenRecipe { sign, ..genuine.clone() });
        assert!(is_refused(&adapter.verify_logout(&forged).await), "{sign:?}");
    }
    for shape in
        [Shape::TwoSegments, Shape::FourSegments, Shape::FiveSegments, Shape::JsonSerialization]
    {
        let spoilt = IdTokenRecipe { shape, ..genuine.clone() };
        assert!(is_refused(&adapter.verify_logout(&make(&idp, &spoilt)).await), "{shape:?}");
    }
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "None" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "PS256" }),
        json!({ "alg": null }),
        json!({ "typ": "at+jwt" }),
        json!({ "typ": "rt+jwt" }),
        json!({ "typ": "secevent+jwt" }),
        json!({ "typ": "" }),
        json!({ "typ": 7 }),
        json!({ "crit": ["exp"] }),
        json!({ "b64": false }),
        json!({ "kid": 7 }),
    ] {
        let mut spoilt = genuine.clone();
        spoilt.header.extend(object(&header));
        assert!(is_refused(&adapter.verify_logout(&make(&idp, &spoilt)).await), "{header}");
    }
    let claims = r#"{"events":1,"events":{}}"#.to_owned();
    let twice = IdTokenRecipe { raw_payload: Some(claims), ..genuine.clone() };
    assert!(is_refused(&adapter.verify_logout(&make(&idp, &twice)).await));
    assert_eq!(fetched(&idp), (1, 2), "once for all bad signatures");

    let attacker = start().await;
    let foreign = attacker.control().logout_token(&LogoutOrder::default());
    assert!(is_refused(&adapter.verify_logout(&foreign).await));
    assert_eq!(attacker.control().stats().jwks, 0);
}

#[tokio::test]
async fn case_26_no_other_token_is_a_logout_token_nor_the_other_way_round() {
    let (idp, adapter) = warm().await;
    let id_token = make(&idp, &IdTokenRecipe::default());
    adapter.verify(&id_token, None).await.unwrap();
    assert!(is_refused(&adapter.verify_logout(&id_token).await), "an ID token");
    for (name, typ, claims) in [
        ("an ID token that is called one", "logout+jwt", json!({})),
        ("an access token", "at+jwt", json!({ "scope": "openid", "client_id": "mintgate" })),
        (
            "one of our own",
            "at+jwt",
            json!({ "sid": "0190", "roles": ["admin"], "idp": "corp", "jti": "1" }),
        ),
        ("a refresh token of ours", "rt+jwt", json!({ "sid": "0190", "gen": 1, "jti": "1" })),
    ] {
        let recipe = IdTokenRecipe {
            header: object(&json!({ "typ": typ })),
            claims: object(&claims),
            ..IdTokenRecipe::default()
        };
        assert!(is_refused(&adapter.verify_logout(&make(&idp, &recipe)).await), "{name}");
    }
    let logout_token = idp.control().logout_token(&LogoutOrder::default());
    adapter.verify_logout(&logout_token).await.unwrap();
    for typ in [json!("logout+jwt"), json!("JWT"), Value::Null] {
        let mut recipe = recipe(&json!({}));
        recipe.header.extend(object(&json!({ "typ": typ })));
        let token = make(&idp, &recipe);
        adapter.verify_logout(&token).await.unwrap();
        let posted = adapter.verify(&token, None).await;
        assert!(matches!(posted, Err(ProviderError::IdTokenRefused(_))), "{typ}: {posted:?}");
        let faults = Faults { id_token: Some(recipe), ..Faults::default() };
        idp.control().set_faults(faults);
        let by_code = adapter.sign_in(&idp, SignIn::default()).await;
        assert!(matches!(by_code, Err(ProviderError::IdTokenRefused(_))), "{typ}: {by_code:?}");
        idp.control().clear_faults();
    }
}

#[tokio::test]
async fn case_50_a_logout_token_under_a_new_key_is_good_after_one_fetch() {
    let (idp, adapter) = warm().await;
    let old = idp.control().logout_token(&LogoutOrder::default());
    idp.control().rotate_keys();
    let new = idp.control().logout_token(&LogoutOrder::default());
    adapter.verify_logout(&new).await.unwrap();
    assert_eq!(fetched(&idp), (1, 2));
    assert!(is_refused(&adapter.verify_logout(&old).await), "the old key is gone");
    assert_eq!(fetched(&idp), (1, 2));
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_for_its_keys_is_not_blamed_on_the_token() {
    let idp = start().await;
    let token = idp.control().logout_token(&LogoutOrder::default());
    let adapter = Adapter::new(idp.issuer(), |_| {});
    idp.stop().await;
    let failed = adapter.verify_logout(&token).await;
    assert!(matches!(failed, Err(ProviderError::Unreachable(_))), "{failed:?}");
}

#[tokio::test]
async fn a_shared_secret_signs_logout_tokens_where_it_signs_id_tokens() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["HS256".to_owned()];
    });
    let by = |sign| make(&idp, &IdTokenRecipe { sign, ..recipe(&json!({})) });
    adapter.verify_logout(&by(SignWith::HmacWithClientSecret)).await.unwrap();
    for sign in [SignWith::Genuine, SignWith::HmacWithPublicKeyPem, SignWith::Unsigned] {
        assert!(is_refused(&adapter.verify_logout(&by(sign)).await), "{sign:?}");
    }
}
