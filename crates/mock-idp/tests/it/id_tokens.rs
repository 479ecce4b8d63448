//! ID tokens: the genuine one verifies, each forgery is forged as it says.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use josekit::jws::alg::hmac::HmacJwsAlgorithm::Hs256;
use josekit::jws::{ES256, EdDSA, JwsVerifier, PS256, RS256};
use mintgate_mock_idp::{Faults, IdTokenAlg, IdTokenRecipe, MockConfig, Shape, SignIn, SignWith};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::support::{CLIENT, Mock, mock, part, sign_in, start};

async fn published(mock: &Mock) -> Vec<Map<String, Value>> {
    let document = mock.get_json("/jwks").await;
    let keys = document["keys"].as_array().expect("keys");
    keys.iter().map(|key| key.as_object().expect("a key").clone()).collect()
}

fn is_signed_by(token: &str, key: &Map<String, Value>) -> bool {
    let jwk = Jwk::from_map(key.clone()).expect("a JWK");
    let verifier: Box<dyn JwsVerifier> = match jwk.algorithm().expect("alg") {
        "RS256" => Box::new(RS256.verifier_from_jwk(&jwk).unwrap()),
        "PS256" => Box::new(PS256.verifier_from_jwk(&jwk).unwrap()),
        "ES256" => Box::new(ES256.verifier_from_jwk(&jwk).unwrap()),
        _ => Box::new(EdDSA.verifier_from_jwk(&jwk).unwrap()),
    };
    verifies(token, verifier.as_ref())
}

fn verifies(token: &str, verifier: &dyn JwsVerifier) -> bool {
    let (signed, signature) = token.rsplit_once('.').expect("a compact token");
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    verifier.verify(signed.as_bytes(), &signature).is_ok()
}

fn signed_with(sign: SignWith) -> IdTokenRecipe {
    IdTokenRecipe { sign, ..IdTokenRecipe::default() }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

impl Mock {
    fn id_token(&self, recipe: &IdTokenRecipe) -> String {
        self.idp.control().issue_id_token(&sign_in(), recipe)
    }
}

#[tokio::test]
async fn an_id_token_verifies_against_the_published_key_in_every_algorithm() {
    for alg in [IdTokenAlg::Rs256, IdTokenAlg::Ps256, IdTokenAlg::Es256, IdTokenAlg::EdDsa] {
        let mock = start(MockConfig { id_token_alg: alg, ..MockConfig::default() }).await;
        let tokens = mock.tokens().await;
        let id_token = tokens["id_token"].as_str().unwrap();
        let keys = published(&mock).await;
        assert_eq!(keys.len(), 1);
        assert_eq!(
            (keys[0]["use"].as_str(), keys[0]["alg"].as_str()),
            (Some("sig"), Some(alg.name()))
        );
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(!keys[0].contains_key(private), "{private}");
        }
        let header = part(id_token, 0);
        assert_eq!(header["alg"], alg.name());
        assert_eq!(header["kid"], keys[0]["kid"]);
        assert!(is_signed_by(id_token, &keys[0]), "{alg:?}");

        let access = tokens["access_token"].as_str().unwrap();
        let half = match alg {
            IdTokenAlg::EdDsa => Sha512::digest(access)[..32].to_vec(),
            _ => Sha256::digest(access)[..16].to_vec(),
        };
        assert_eq!(part(id_token, 1)["at_hash"], BASE64_URL_SAFE_NO_PAD.encode(half));
    }
}

#[tokio::test]
async fn an_id_token_says_who_for_whom_and_until_when() {
    let mock = mock().await;
    let order = SignIn { user: "carol".into(), nonce: Some("n-0S6".into()), ..sign_in() };
    let code = mock.idp.control().issue_code(order);
    let tokens: Value = mock.exchange(&code).await.json().await.unwrap();
    let claims = part(tokens["id_token"].as_str().unwrap(), 1);
    assert_eq!(claims["iss"], mock.idp.issuer());
    assert_eq!(claims["aud"], "mintgate");
    assert_eq!(claims["sub"], "mock|carol");
    assert_eq!(claims["nonce"], "n-0S6");
    assert_eq!(claims["name"], "Carol Newcomer");
    assert_eq!(claims["preferred_username"], "carol");
    assert_eq!(claims["email"], "carol@example.com");
    assert_eq!(claims["email_verified"], false);
    assert_eq!(claims["groups"], json!([]));
    assert_eq!(claims["amr"], json!(["pwd"]));
    assert_eq!(claims["acr"], "1");
    let iat = claims["iat"].as_i64().unwrap();
    assert_eq!(claims["exp"].as_i64(), Some(iat + 300));
    assert!((iat - 60..=iat).contains(&claims["auth_time"].as_i64().unwrap()));
}

#[tokio::test]
async fn a_rotation_signs_with_a_new_key_and_publishes_it_alone() {
    for alg in [IdTokenAlg::EdDsa, IdTokenAlg::Rs256] {
        let mock = start(MockConfig { id_token_alg: alg, ..MockConfig::default() }).await;
        let before = published(&mock).await;
        let kid = mock.idp.control().rotate_keys();
        let after = published(&mock).await;
        assert_eq!(after.len(), 1);
        assert_eq!(after[0]["kid"], kid.as_str());
        assert_ne!(after[0]["kid"], before[0]["kid"]);

        let fresh = mock.id_token(&IdTokenRecipe::default());
        assert!(is_signed_by(&fresh, &after[0]) && !is_signed_by(&fresh, &before[0]));
        let old = mock.id_token(&signed_with(SignWith::OldKey));
        assert_eq!(part(&old, 0)["kid"], before[0]["kid"]);
        assert!(is_signed_by(&old, &before[0]));
    }
}

#[tokio::test]
async fn without_a_rotation_the_old_key_is_one_nobody_published() {
    let mock = mock().await;
    let key = &published(&mock).await[0];
    let old = mock.id_token(&signed_with(SignWith::OldKey));
    assert_ne!(part(&old, 0)["kid"], key["kid"]);
    assert!(!is_signed_by(&old, key));
}

#[tokio::test]
async fn an_attackers_key_hides_under_the_genuine_kid() {
    let mock = mock().await;
    let key = &published(&mock).await[0];
    let hidden = mock.id_token(&signed_with(SignWith::AttackerKeySameKid));
    assert_eq!(part(&hidden, 0)["kid"], key["kid"]);
    assert!(part(&hidden, 0).get("jwk").is_none());
    assert!(!is_signed_by(&hidden, key));

    let embedded = mock.id_token(&signed_with(SignWith::AttackerKeyWithJwk));
    let attacker = object(&part(&embedded, 0)["jwk"]);
    assert!(is_signed_by(&embedded, &attacker) && is_signed_by(&hidden, &attacker));
    assert!(!is_signed_by(&embedded, key) && !attacker.contains_key("d"));
}

#[tokio::test]
async fn an_unsigned_token_has_alg_none_and_no_signature() {
    let mock = mock().await;
    let token = mock.id_token(&signed_with(SignWith::Unsigned));
    assert_eq!(part(&token, 0)["alg"], "none");
    assert!(token.ends_with('.'));
}

#[tokio::test]
async fn an_hmac_is_keyed_with_the_secret_of_the_client() {
    let mock = mock().await;
    let token = mock.id_token(&signed_with(SignWith::HmacWithClientSecret));
    assert_eq!(part(&token, 0)["alg"], "HS256");
    // Zeros at its end change nothing for HMAC (RFC 2104 §2), and josekit wants a long key.
    let mut key = CLIENT.1.as_bytes().to_vec();
    key.resize(64, 0);
    assert!(verifies(&token, &Hs256.verifier_from_bytes(&key).unwrap()));
}

#[tokio::test]
async fn a_garbage_signature_does_not_verify() {
    let mock = mock().await;
    let token = mock.id_token(&signed_with(SignWith::Garbage));
    assert!(!is_signed_by(&token, &published(&mock).await[0]));
    assert_eq!(part(&token, 0)["alg"], "EdDSA");
}

#[tokio::test]
async fn shapes_have_the_parts_they_say() {
    let mock = mock().await;
    let shaped = |shape| mock.id_token(&IdTokenRecipe { shape, ..IdTokenRecipe::default() });
    for (shape, parts) in [
        (Shape::TwoSegments, 2),
        (Shape::Compact, 3),
        (Shape::FourSegments, 4),
        (Shape::FiveSegments, 5),
    ] {
        assert_eq!(shaped(shape).split('.').count(), parts, "{shape:?}");
    }
    assert_eq!(part(&shaped(Shape::FiveSegments), 0)["enc"], "A256GCM");

    let json: Value = serde_json::from_str(&shaped(Shape::JsonSerialization)).unwrap();
    let member = |name: &str| json[name].as_str().unwrap().to_owned();
    let compact = format!("{}.{}.{}", member("protected"), member("payload"), member("signature"));
    assert!(is_signed_by(&compact, &published(&mock).await[0]));
}

#[tokio::test]
async fn header_and_claims_are_changed_member_by_member_and_signed_over() {
    let mock = mock().await;
    let recipe = IdTokenRecipe {
        header: object(&json!({ "crit": ["b64"], "b64": false, "typ": null })),
        claims: object(&json!({ "aud": ["mintgate", "other"], "exp": "soon", "sub": null })),
        ..IdTokenRecipe::default()
    };
    let token = mock.id_token(&recipe);
    assert_eq!(part(&token, 0)["b64"], false);
    assert!(part(&token, 0).get("typ").is_none());
    assert_eq!(part(&token, 1)["aud"], json!(["mintgate", "other"]));
    assert_eq!(part(&token, 1)["exp"], "soon");
    assert!(part(&token, 1).get("sub").is_none());
    assert!(is_signed_by(&token, &published(&mock).await[0]));
}

#[tokio::test]
async fn raw_bytes_are_taken_as_they_are_and_signed_over() {
    let mock = mock().await;
    let header = r#"{"alg":"nOnE","alg":"EdDSA"}"#;
    let recipe = IdTokenRecipe {
        raw_header: Some(header.into()),
        raw_payload: Some("no JSON".into()),
        ..IdTokenRecipe::default()
    };
    let token = mock.id_token(&recipe);
    let parts: Vec<_> = token.split('.').collect();
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(parts[0]).unwrap(), header.as_bytes());
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap(), b"no JSON");
    assert!(is_signed_by(&token, &published(&mock).await[0]));
}

#[tokio::test]
async fn a_recipe_ordered_as_a_fault_shapes_the_token_endpoints_tokens() {
    let mock = mock().await;
    let recipe = IdTokenRecipe {
        claims: object(&json!({ "iss": "https://evil.example" })),
        ..IdTokenRecipe::default()
    };
    mock.idp.control().set_faults(Faults { id_token: Some(recipe), ..Faults::default() });
    let claims = |tokens: &Value| part(tokens["id_token"].as_str().unwrap(), 1);
    assert_eq!(claims(&mock.tokens().await)["iss"], "https://evil.example");
    mock.idp.control().clear_faults();
    assert_eq!(claims(&mock.tokens().await)["iss"], mock.idp.issuer());
}
