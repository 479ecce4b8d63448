//! Tokens that somebody else has made or changed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintgate_verify::{Algorithm, Refusal, Verifier};
use ring::hmac;
use serde_json::{Value, json};

use crate::fake_issuer::FakeIssuer;
use crate::signer::Signer;
use crate::{builder, claims, claims_with, ready, refused, verifier_of};

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

#[tokio::test]
async fn an_unsigned_token_is_refused_however_alg_spells_none() {
    let signer = Signer::es256("1");
    let verifier = verifier_of(&[&signer]).await;
    let signature = signer.token(&claims());
    let signature = signature.rsplit_once('.').unwrap().1;
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256", "es256", "ES256 "] {
        let header = json!({ "alg": alg, "typ": "at+jwt", "kid": "1" });
        for signature in ["", signature] {
            let token = format!("{}.{}.{signature}", encoded(&header), encoded(&claims()));
            assert_eq!(refused(verifier.verify(&token)), Refusal::WrongAlgorithm, "{alg}");
        }
    }
}

#[tokio::test]
async fn an_hmac_with_the_public_key_is_no_signature() {
    let signer = Signer::es256("1");
    let verifier = verifier_of(&[&signer]).await;
    let jwk = signer.jwk();
    let point = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let secrets = [jwk.to_string().into_bytes(), [vec![4], point("x"), point("y")].concat()];
    for secret in secrets {
        for alg in ["HS256", "ES256"] {
            let header = json!({ "alg": alg, "typ": "at+jwt", "kid": "1" });
            let input = format!("{}.{}", encoded(&header), encoded(&claims()));
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
            let tag = hmac::sign(&key, input.as_bytes());
            let token = format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag));
            let refusal = refused(verifier.verify(&token));
            assert!(
                matches!(refusal, Refusal::WrongAlgorithm | Refusal::BadSignature),
                "{refusal:?}"
            );
        }
    }
}

#[tokio::test]
async fn another_key_with_the_same_kid_does_not_sign_for_ours() {
    let [ours, theirs] = [Signer::es256("1"), Signer::es256("1")];
    let verifier = verifier_of(&[&ours]).await;
    assert_eq!(refused(verifier.verify(&theirs.token(&claims()))), Refusal::BadSignature);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_a_token_brings_itself_is_never_used() {
    let [ours, theirs] = [Signer::es256("1"), Signer::es256("2")];
    let verifier = verifier_of(&[&ours]).await;
    let url = "https://evil.example/jwks";
    for kid in ["1", "2"] {
        for brought in [
            json!({ "kid": kid, "jwk": theirs.jwk() }),
            json!({ "kid": kid, "jku": url, "x5u": url }),
            json!({ "kid": kid, "x5c": ["MIIB"] }),
        ] {
            let token = theirs.token_with(&brought, &claims());
            let refusal = refused(verifier.verify_or_fetch(&token).await);
            assert!(matches!(refusal, Refusal::BadSignature | Refusal::UnknownKey), "{refusal:?}");
        }
        let brought = json!({ "kid": null, "jwk": theirs.jwk() });
        let token = theirs.token_with(&brought, &claims());
        assert_eq!(refused(verifier.verify(&token)), Refusal::BadSignature);
    }
}

#[tokio::test]
async fn a_key_signs_only_with_the_algorithm_that_it_is_published_for() {
    let [.., rs256, ps256] = Signer::all();
    let issuer = FakeIssuer::with(&[&rs256, &ps256]);
    let verifier = ready(builder(&issuer).algorithms(&[Algorithm::Rs256, Algorithm::Ps256])).await;
    for (signer, alg) in [(&rs256, "PS256"), (&ps256, "RS256")] {
        let token = signer.token_with(&json!({ "alg": alg }), &claims());
        assert_eq!(refused(verifier.verify(&token)), Refusal::WrongAlgorithm);
    }
}

#[tokio::test]
async fn a_critical_header_is_refused() {
    let signer = Signer::es256("1");
    let verifier = verifier_of(&[&signer]).await;
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!("exp")] {
        let token = signer.token_with(&json!({ "crit": crit, "b64": false }), &claims());
        assert_eq!(refused(verifier.verify(&token)), Refusal::CriticalHeader);
    }
}

#[tokio::test]
async fn a_member_that_occurs_twice_is_refused() {
    let signer = Signer::es256("1");
    let verifier = verifier_of(&[&signer]).await;
    let header = r#"{"alg":"ES256","typ":"at+jwt","kid":"1"}"#;
    let claims = claims().to_string();
    assert!(verifier.verify(&signer.token_of(header, &claims)).is_ok());
    for twice in [
        r#""alg":"ES256""#,
        r#""typ":"at+jwt""#,
        r#""kid":"1""#,
        r#""x":1,"x":1"#,
        r#""\u0061lg":"ES256""#,
    ] {
        let header = header.replacen('{', &format!("{{{twice},"), 1);
        assert_malformed(&verifier, &signer.token_of(&header, &claims));
    }
    for twice in [
        r#""sub":"a""#,
        r#""exp":1"#,
        r#""aud":[]"#,
        r#""roles":[]"#,
        r#""iss":"a""#,
        r#""x":1,"x":2"#,
        r#""\u0073ub":"a""#,
    ] {
        let claims = claims.replacen('{', &format!("{{{twice},"), 1);
        assert_malformed(&verifier, &signer.token_of(header, &claims));
    }
}

#[tokio::test]
async fn claims_of_another_form_are_refused() {
    let signer = Signer::es256("1");
    let verifier = verifier_of(&[&signer]).await;
    for missing in ["iss", "sub", "aud", "exp", "iat"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(missing);
        assert_malformed(&verifier, &signer.token(&claims));
    }
    for odd in [
        json!({ "exp": "1790003600" }),
        json!({ "exp": null }),
        json!({ "roles": "admin" }),
        json!({ "roles": [1] }),
        json!({ "aud": { "a": 1 } }),
        json!({ "sub": 1 }),
        json!({ "sid": ["a"] }),
        json!({ "epoch": -1 }),
    ] {
        assert_malformed(&verifier, &signer.token(&claims_with(&odd)));
    }
    let header = r#"{"alg":"ES256","typ":"at+jwt","kid":"1"}"#;
    for text in ["", "[]", "null", "{} {}", "\"a\""] {
        assert_malformed(&verifier, &signer.token_of(header, text));
        assert_malformed(&verifier, &signer.token_of(text, &claims().to_string()));
    }
}

#[tokio::test]
async fn a_changed_token_is_refused_wherever_a_byte_differs() {
    let signer = Signer::es256("1");
    let verifier = verifier_of(&[&signer]).await;
    let token = signer.token(&claims());
    assert!(verifier.verify(&token).is_ok());
    for index in 0..token.len() {
        for other in ['A', 'z', '.', '=', '+', 'é'] {
            if token[index..].starts_with(other) {
                continue;
            }
            let changed = format!("{}{other}{}", &token[..index], &token[index + 1..]);
            assert!(!refused(verifier.verify(&changed)).is_temporary() || index < 100, "{index}");
        }
    }
    for odd in ["", ".", "..", "...", "a.b.c", "a.b", &token.replace('.', ""), &format!("{token}.")]
    {
        assert_malformed(&verifier, odd);
    }
    for odd in [format!(" {token}"), format!("{token} "), format!("{token}="), format!("{token}\n")]
    {
        assert_malformed(&verifier, &odd);
    }
}

#[tokio::test]
async fn a_token_over_the_limit_is_not_read() {
    let signer = Signer::es256("1");
    let verifier = verifier_of(&[&signer]).await;
    for length in [4000, 5500] {
        let token = signer.token(&claims_with(&json!({ "x": "x".repeat(length) })));
        assert!(verifier.verify(&token).is_ok(), "{length}");
    }
    let token = signer.token(&claims_with(&json!({ "x": "x".repeat(6000) })));
    assert_eq!(refused(verifier.verify(&token)), Refusal::TooLong { limit: 8192 });
    assert_eq!(refused(verifier.verify(&"a".repeat(9000))), Refusal::TooLong { limit: 8192 });
    let header = json!({ "x": "x".repeat(1100) });
    assert_malformed(&verifier, &signer.token_with(&header, &claims()));
}

#[track_caller]
fn assert_malformed(verifier: &Verifier, token: &str) {
    let refusal = refused(verifier.verify(token));
    assert!(matches!(refusal, Refusal::Malformed(_)), "{refusal:?}: {token}");
    assert!(refusal.status() == 401);
}
