//! Cases 23 to 26: claims that are not this provider's, for this client, now; and other tokens.

use mintgate_domain::ports::ProviderError;
use mintgate_mock_idp::{IdTokenRecipe, SignIn};
use serde_json::{Value, json};

use crate::support::{Adapter, NONCE, start, with_nonce};
use crate::variants::{Table, now_secs, refuse, refuse_all};

#[tokio::test]
async fn case_23_the_issuer_is_this_provider_character_for_character() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let issuer = idp.issuer();
    let mut table = Table::default();
    for other in [
        json!(format!("{issuer}/")),
        json!(issuer.replace("http", "HTTP")),
        json!(issuer.replace("http", "https")),
        json!(issuer.replace("127.0.0.1", "localhost")),
        json!(format!("{issuer}/tenant")),
        json!("https://login.microsoftonline.com/{tenantid}/v2.0"),
        json!("https://attacker.example.com"),
        json!("127.0.0.1"),
        json!(""),
        json!([issuer]),
        json!(7),
        Value::Null,
    ] {
        table.claims(&format!("iss {other}"), &json!({ "iss": other }));
    }
    refuse_all(&idp, &adapter, table.0).await;

    // A well-formed token of an attacker's own provider.
    let attacker = start().await;
    let foreign = attacker.control().issue_id_token(&with_nonce(), &IdTokenRecipe::default());
    let refused = adapter.verify(&foreign, Some(NONCE)).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))));
    assert_eq!(attacker.control().stats().jwks, 0);
}

#[tokio::test]
async fn case_24_the_audience_is_this_client_alone() {
    let mut table = Table::default();
    for audience in [
        json!("mint"),
        json!("mintgate2"),
        json!("Mintgate"),
        json!("mintgate "),
        json!("other"),
        json!(""),
        json!([]),
        json!(["other"]),
        json!(["mintgate", "other"]),
        json!(["other", "mintgate"]),
        json!(["mintgate", 5]),
        json!([["mintgate"]]),
        json!({ "mintgate": true }),
        json!(7),
        Value::Null,
    ] {
        table.claims(&format!("aud {audience}"), &json!({ "aud": audience }));
    }
    for (audience, party) in [
        (json!("mintgate"), json!("other")),
        (json!("mintgate"), json!("")),
        (json!("mintgate"), json!(["mintgate"])),
        (json!("mintgate"), json!(7)),
        (json!(["mintgate", "other"]), json!("mintgate")),
        (json!(["mintgate", "other"]), json!("other")),
        (json!("other"), json!("mintgate")),
    ] {
        table.claims(
            &format!("aud {audience}, azp {party}"),
            &json!({ "aud": audience, "azp": party }),
        );
    }
    refuse(table).await;
}

#[tokio::test]
async fn case_24_a_token_has_its_time() {
    let now = now_secs();
    let mut table = Table::default();
    for name in ["exp", "iat", "nbf"] {
        for value in [json!(now.to_string()), json!("2030-01-01T00:00:00Z"), json!(-1), json!(true)]
        {
            table.claims(&format!("{name} {value}"), &json!({ name: value }));
        }
    }
    for claims in [
        json!({ "exp": null }),
        json!({ "exp": 0 }),
        json!({ "exp": now - 1 }),
        json!({ "exp": now - 3600 }),
        json!({ "exp": 1e300 }),
        json!({ "exp": [now + 60] }),
        json!({ "iat": null }),
        json!({ "iat": 0 }),
        json!({ "iat": now + 3600 }),
        json!({ "iat": now - 25 * 3600 }),
        json!({ "iat": now + 3600, "exp": now + 7200 }),
        json!({ "nbf": now + 3600 }),
        json!({ "nbf": 1e300 }),
        json!({ "auth_time": "yesterday" }),
        json!({ "auth_time": -5 }),
    ] {
        table.claims(&claims.to_string(), &claims);
    }
    refuse(table).await;
}

#[tokio::test]
async fn case_25_nonce_and_subject_are_there_and_right() {
    let mut table = Table::default();
    for nonce in [
        Value::Null,
        json!(""),
        json!("other"),
        json!(NONCE.to_lowercase()),
        json!(format!("{NONCE} ")),
        json!(&NONCE[..4]),
        json!([NONCE]),
        json!({ "nonce": NONCE }),
        json!(7),
        json!(true),
    ] {
        table.claims(&format!("nonce {nonce}"), &json!({ "nonce": nonce }));
    }
    for subject in [
        Value::Null,
        json!(""),
        json!(7),
        json!(["mock|alice"]),
        json!({}),
        json!("x".repeat(256)),
        json!("mock|alice\u{0}"),
        json!("mock|\nalice"),
    ] {
        table.claims(&format!("sub {subject}"), &json!({ "sub": subject }));
    }
    refuse(table).await;
}

#[tokio::test]
async fn case_25_a_nonce_of_another_type_is_not_the_absence_of_one() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    for nonce in ["null", "7", "[]", "{}", "false", "\"\""] {
        let claims = format!(
            r#"{{"iss":"{}","aud":"mintgate","sub":"a","iat":{},"exp":{},"nonce":{nonce}}}"#,
            idp.issuer(),
            now_secs(),
            now_secs() + 60
        );
        let recipe = IdTokenRecipe { raw_payload: Some(claims), ..IdTokenRecipe::default() };
        let token = idp.control().issue_id_token(&SignIn::default(), &recipe);
        let refused = adapter.verify(&token, None).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{nonce}: {refused:?}");
    }
}

#[tokio::test]
async fn case_26_another_kind_of_token_is_no_id_token() {
    let mut table = Table::default();
    for typ in [
        json!("at+jwt"),
        json!("application/at+jwt"),
        json!("AT+JWT"),
        json!("logout+jwt"),
        json!("rt+jwt"),
        json!("secevent+jwt"),
        json!("dpop+jwt"),
        json!("JOSE"),
        json!(""),
        json!("JWT "),
        json!("text/jwt"),
        json!(7),
        json!(["JWT"]),
    ] {
        table.header(&format!("typ {typ}"), &json!({ "typ": typ }));
    }
    let logout = "http://schemas.openid.net/event/backchannel-logout";
    table.claims("a logout token typed JWT", &json!({ "events": { logout: {} } }));
    for typ in ["Bearer", "Refresh", "Offline", "Logout"] {
        table.claims(&format!("claim typ {typ}"), &json!({ "typ": typ }));
    }
    refuse(table).await;
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
