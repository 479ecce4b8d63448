//! Cases 20 to 22: headers, signatures and shapes that a genuine ID token does not have.

use mintgate_domain::ports::ProviderError;
use mintgate_mock_idp::{IdTokenRecipe, Shape, SignIn, SignWith};
use serde_json::json;

use crate::support::{Adapter, NONCE, start, with_nonce};
use crate::variants::{Table, assert_genuine_passes, now_secs, object, refuse, refuse_all};

#[tokio::test]
async fn case_20_the_algorithm_is_the_pinned_one_and_nobody_elses_choice() {
    let mut table = Table::default();
    table.sign("unsigned", SignWith::Unsigned);
    for alg in ["None", "NONE", "nOnE", "none ", ""] {
        table.add(format!("unsigned, alg {alg:?}"), |recipe| {
            recipe.sign = SignWith::Unsigned;
            recipe.header = object(&json!({ "alg": alg }));
        });
        table.header(&format!("signed, alg {alg:?}"), &json!({ "alg": alg }));
    }
    table.header("alg none over a genuine signature", &json!({ "alg": "none" }));
    table.sign("HS256 with the public key", SignWith::HmacWithPublicKeyPem);
    table.sign("HS256 with the client secret", SignWith::HmacWithClientSecret);
    for sign in [SignWith::HmacWithPublicKeyPem, SignWith::HmacWithClientSecret] {
        table.add(format!("{sign:?} called RS256"), |recipe| {
            recipe.sign = sign;
            recipe.header = object(&json!({ "alg": "RS256" }));
        });
        table.add(format!("{sign:?} without kid"), |recipe| {
            recipe.sign = sign;
            recipe.header = object(&json!({ "kid": null }));
        });
    }
    for alg in ["HS256", "HS512", "RS384", "RS512", "PS256", "ES256", "EdDSA", "rs256", "RS256 "] {
        table.header(&format!("alg {alg:?}"), &json!({ "alg": alg }));
    }
    table.header("no alg", &json!({ "alg": null }));
    table.header("alg a number", &json!({ "alg": 256 }));
    table.header("alg an array", &json!({ "alg": ["RS256"] }));
    refuse(table).await;
}

#[tokio::test]
async fn case_21_a_key_comes_from_the_provider_and_from_nowhere_else() {
    let attacker = start().await;
    let jwks = format!("{}/jwks", attacker.issuer());
    let mut table = Table::default();
    table.sign("attacker's key under the genuine kid", SignWith::AttackerKeySameKid);
    table.sign("attacker's key embedded as jwk", SignWith::AttackerKeyWithJwk);
    table.sign("signature turned over", SignWith::Garbage);
    for parameter in ["jku", "x5u"] {
        for sign in [SignWith::Genuine, SignWith::AttackerKeySameKid] {
            table.add(format!("{parameter}, {sign:?}"), |recipe| {
                recipe.sign = sign;
                recipe.header = object(&json!({ parameter: jwks }));
            });
        }
    }
    table.header("x5c", &json!({ "x5c": ["MIIB"] }));
    table.header("jwk, genuine signature", &json!({ "jwk": { "kty": "oct", "k": "AAAA" } }));
    table.header("kid of 10 KB", &json!({ "kid": "k".repeat(10_240) }));
    table.header("kid a number", &json!({ "kid": 1 }));
    table.header("kid an array", &json!({ "kid": ["x"] }));
    refuse(table).await;
    assert_eq!(attacker.control().stats().jwks, 0);
}

#[tokio::test]
async fn case_21_an_unknown_kid_is_only_ever_compared() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    assert_genuine_passes(&idp, &adapter).await;
    for kid in ["", "' OR 1=1 --", "../../../../dev/null", "/etc/passwd", "http://127.0.0.1/", "\0"]
    {
        let header = object(&json!({ "kid": kid }));
        let recipe = IdTokenRecipe { header, ..IdTokenRecipe::default() };
        let token = idp.control().issue_id_token(&SignIn::default(), &recipe);
        let refused = adapter.verify(&token, None).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{kid}");
    }
    let recipe = IdTokenRecipe { sign: SignWith::OldKey, ..IdTokenRecipe::default() };
    let token = idp.control().issue_id_token(&SignIn::default(), &recipe);
    assert!(matches!(adapter.verify(&token, None).await, Err(ProviderError::IdTokenRefused(_))));
    assert_eq!(idp.control().stats().jwks, 2, "the first load, and one for all unknown kids");
}

#[tokio::test]
async fn case_22_a_token_is_a_plain_compact_jws() {
    let mut table = Table::default();
    for shape in
        [Shape::TwoSegments, Shape::FourSegments, Shape::FiveSegments, Shape::JsonSerialization]
    {
        table.add(format!("{shape:?}"), |recipe| recipe.shape = shape);
    }
    for header in [
        json!({ "crit": ["exp"], "exp": 1 }),
        json!({ "crit": [] }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": false }),
        json!({ "b64": true }),
        json!({ "zip": "DEF" }),
        json!({ "enc": "A256GCM" }),
        json!({ "cty": "JWT" }),
    ] {
        table.header(&header.to_string(), &header);
    }
    for header in [
        r#"{"alg":"RS256","alg":"RS256"}"#,
        r#"{"alg":"none","typ":"JWT","alg":"RS256"}"#,
        r#"{"alg":"RS256","crit":null}"#,
        r#"["alg","RS256"]"#,
        "\"RS256\"",
        "{\"alg\":\"RS256\"",
        "{\"alg\":\"RS256\"}{}",
        "\u{feff}{\"alg\":\"RS256\"}",
        "",
    ] {
        table.add(format!("header {header}"), |recipe| recipe.raw_header = Some(header.into()));
    }
    for payload in ["", "null", "[]", "{}", "{", "\"sub\"", "{\"sub\":\"a\"}{}"] {
        table.add(format!("payload {payload}"), |recipe| recipe.raw_payload = Some(payload.into()));
    }
    refuse(table).await;
}

#[tokio::test]
async fn case_22_a_member_that_comes_twice_is_no_claim() {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let now = now_secs();
    let payload = |extra: &str| {
        let issuer = idp.issuer();
        format!(
            r#"{{"iss":"{issuer}","aud":"mintgate","sub":"mock|alice","iat":{now},
                "exp":{},"nonce":"{NONCE}"{extra}}}"#,
            now + 60
        )
    };
    let raw = |payload| IdTokenRecipe { raw_payload: Some(payload), ..IdTokenRecipe::default() };
    let genuine = idp.control().issue_id_token(&with_nonce(), &raw(payload("")));
    adapter.verify(&genuine, Some(NONCE)).await.unwrap();
    let mut table = Table::default();
    for extra in [
        r#","sub":"mock|bob""#,
        r#","s\u0075b":"mock|bob""#,
        r#","nonce":"other""#,
        r#","exp":1"#,
        r#","roles":{"a":1,"a":2}"#,
        r#","exp":1e400"#,
        r#","deep":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"#,
    ] {
        table.add(extra, |recipe| recipe.raw_payload = Some(payload(extra)));
    }
    refuse_all(&idp, &adapter, table.0).await;
}
