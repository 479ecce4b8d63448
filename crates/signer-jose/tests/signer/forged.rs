//! Forged and malformed tokens.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwe::{self, Dir, JweHeader};
use mintgate_domain::ports::{PublicKeys, VerifyError};
use mintgate_domain::{PresentedToken, ports::TokenVerifier};
use mintgate_signer_jose::{Algorithm, JoseTokens, KeyRingConfig, TokensConfig};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde_json::{Value, json};

use crate::common::{
    AUDIENCE, ISSUER, Replica, World, fresh, kid, opened, ring_config, tokens_config,
};

/// The digits of base64url, in order.
const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token of this header and payload, signed with an HMAC under this key.
fn hmac(header: &str, payload: &str, key: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header), encode(payload));
    let key = PKey::hmac(key).unwrap();
    let mut mac = Signer::new(MessageDigest::sha256(), &key).unwrap();
    mac.update(signed.as_bytes()).unwrap();
    format!("{signed}.{}", encode(mac.sign_to_vec().unwrap()))
}

/// Signs anything with the refresh key of a world, so that a refusal is due to the content of the
/// token.
struct Insider {
    secret: Vec<u8>,
}

impl Insider {
    async fn of(world: &World) -> Self {
        use mintgate_domain::ports::KeyRepo as _;
        let records = world.repo.store.list_keys().await.unwrap();
        let record = records.iter().find(|record| record.key_use.name() == "refresh").unwrap();
        let jwk: Value = serde_json::from_str(record.material.expose()).unwrap();
        Self { secret: URL_SAFE_NO_PAD.decode(jwk["k"].as_str().unwrap()).unwrap() }
    }

    fn sign(&self, header: &str, payload: &str) -> String {
        hmac(header, payload, &self.secret)
    }
}

async fn assert_refused(replica: &Replica, forged: Vec<(&str, String)>) {
    let (access, refresh) = (replica.access(), replica.refresh());
    replica.verify(&access).await.unwrap();
    replica.verify_refresh(&refresh).await.unwrap();
    for (what, token) in forged {
        assert!(token != access && token != refresh, "{what} is the genuine token");
        let as_access = replica.verify(&token).await;
        assert!(matches!(as_access, Err(VerifyError::Refused(_))), "{what}: {as_access:?}");
        let as_refresh = replica.verify_refresh(&token).await;
        assert!(matches!(as_refresh, Err(VerifyError::Refused(_))), "{what}: {as_refresh:?}");
        // The error holds nothing of the token.
        let reason = mintgate_domain::chain(&as_access.unwrap_err()).to_string();
        assert!(reason.len() < 100 && !reason.contains("eyJ"), "{what}: {reason}");
    }
    replica.verify(&access).await.unwrap();
    replica.verify_refresh(&refresh).await.unwrap();
}

/// Genuine tokens and their parts.
struct Genuine {
    replica: Replica,
    access: String,
    refresh: String,
    header: String,
    payload: String,
}

impl Genuine {
    async fn signed_with(access: Algorithm) -> Self {
        let world = World::default();
        let replica = world.started(KeyRingConfig { access, ..ring_config() }).await;
        let (access, refresh) = (replica.access(), replica.refresh());
        let [header, payload] = opened(&access);
        Self { replica, access, refresh, header, payload }
    }

    /// The three parts of the access token.
    fn parts(&self) -> [&str; 3] {
        parts(&self.access)
    }

    /// The access token with another header.
    fn with(&self, from: &str, to: &str) -> String {
        assert!(self.header.contains(from), "{}", self.header);
        self.under(&self.header.replacen(from, to, 1))
    }

    fn under(&self, header: &str) -> String {
        let [_, payload, signature] = self.parts();
        format!("{}.{payload}.{signature}", encode(header))
    }

    /// The access token with other claims.
    fn with_claims(&self, from: &str, to: &str) -> String {
        assert!(self.payload.contains(from), "{}", self.payload);
        let [header, _, signature] = self.parts();
        format!("{header}.{}.{signature}", encode(self.payload.replacen(from, to, 1)))
    }
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

#[tokio::test]
async fn case_40_a_header_that_is_not_ours_is_refused() {
    let genuine = Genuine::signed_with(Algorithm::Rs256).await;
    let with = |from: &str, to: &str| genuine.with(from, to);
    let (own, crossed) = (kid(&genuine.access), kid(&genuine.refresh));
    let header = &genuine.header;
    let payload = genuine.parts()[1];
    let unsigned = |alg: &str| format!("{}.{payload}.", encode(header.replace("RS256", alg)));
    let set: Value = serde_json::from_str(&genuine.replica.tokens.jwks().unwrap().json).unwrap();
    let forged = vec![
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg NONE, signed", with("RS256", "NONE")),
        ("no alg", with(r#""alg":"RS256","#, "")),
        ("alg in another case", with("RS256", "rs256")),
        ("alg of the same key", with("RS256", "PS256")),
        ("alg of another hash", with("RS256", "RS512")),
        ("kid of the other use", with(&own, &crossed)),
        ("kid unknown", with(&own, "unknown")),
        ("kid with a path", with(&own, "../../dev/null")),
        ("kid with SQL", with(&own, "x' UNION SELECT 'k")),
        ("kid empty", with(&own, "")),
        ("kid of 10 KB", with(&own, &"k".repeat(10_000))),
        ("kid a number", with(&format!("\"{own}\""), "7")),
        ("no kid", with(&format!(r#""kid":"{own}","#), "")),
        ("typ JWT", with("at+jwt", "JWT")),
        ("typ in another case", with("at+jwt", "AT+JWT")),
        ("typ in full", with("at+jwt", "application/at+jwt")),
        ("no typ", with(r#","typ":"at+jwt""#, "")),
        ("typ of the other kind", with("at+jwt", "rt+jwt")),
        ("crit", with("{", r#"{"crit":["exp"],"#)),
        ("crit, empty", with("{", r#"{"crit":[],"#)),
        ("b64", with("{", r#"{"b64":false,"#)),
        ("jku", with("{", r#"{"jku":"http://127.0.0.1:1/jwks","#)),
        ("x5u", with("{", r#"{"x5u":"http://127.0.0.1:1/cert","#)),
        ("jwk", with("{", &format!(r#"{{"jwk":{},"#, set["keys"][0]))),
        ("x5c", with("{", r#"{"x5c":["AAAA"],"#)),
        ("cty", with("{", r#"{"cty":"JWT","#)),
        ("alg twice", with("{", r#"{"alg":"RS256","#)),
        ("kid twice", with("{", &format!(r#"{{"kid":"{crossed}","#))),
        ("typ twice", with("{", r#"{"typ":"rt+jwt","#)),
        ("a blank in the header", with("{", "{ ")),
        ("a blank before the header", with("{", " {")),
        ("an array for a header", genuine.under(&json!(["RS256", own, "at+jwt"]).to_string())),
        ("more behind the header", genuine.under(&format!("{header}{{}}"))),
        ("a deep header", genuine.under(&"[".repeat(5000))),
    ];
    assert_refused(&genuine.replica, forged).await;
}

#[tokio::test]
async fn case_40_tokens_of_other_keys_are_refused() {
    let genuine = Genuine::signed_with(Algorithm::Rs256).await;
    let stranger = Genuine::signed_with(Algorithm::Rs256).await;
    let set: Value = serde_json::from_str(&genuine.replica.tokens.jwks().unwrap().json).unwrap();
    let public = &set["keys"][0];
    let [modulus, exponent] =
        ["n", "e"].map(|name| URL_SAFE_NO_PAD.decode(public[name].as_str().unwrap()).unwrap());
    let number = |bytes: &[u8]| openssl::bn::BigNum::from_slice(bytes).unwrap();
    let rsa = openssl::rsa::Rsa::from_public_components(number(&modulus), number(&exponent));
    let rsa = rsa.unwrap();
    let header = genuine.header.replace("RS256", "HS256");
    let hs256 = |key: &[u8]| hmac(&header, &genuine.payload, key);

    let [h, p, s] = genuine.parts();
    let [rh, rp, rs] = parts(&genuine.refresh);
    let [_, foreign_payload, foreign_signature] = stranger.parts();
    let retyped = opened(&genuine.refresh)[0].replace("rt+jwt", "at+jwt");

    let mut jwe_header = JweHeader::new();
    jwe_header.set_content_encryption("A256GCM");
    jwe_header.set_key_id(kid(&genuine.access));
    jwe_header.set_token_type("at+jwt");
    let direct = Dir.encrypter_from_bytes([1; 32]).unwrap();
    let jwe = jwe::serialize_compact(genuine.payload.as_bytes(), &jwe_header, &direct).unwrap();

    let forged = vec![
        ("HS256 with the public PEM", hs256(&rsa.public_key_to_pem().unwrap())),
        ("HS256 with the public DER", hs256(&rsa.public_key_to_der().unwrap())),
        ("HS256 with the modulus", hs256(&modulus)),
        ("HS256 with the JWK", hs256(public.to_string().as_bytes())),
        ("HS256 with zeros", hs256(&[0; 32])),
        ("another's token", stranger.access.clone()),
        ("another's refresh token", stranger.refresh.clone()),
        ("another's token under our kid", format!("{h}.{foreign_payload}.{foreign_signature}")),
        ("another's signature", format!("{h}.{p}.{foreign_signature}")),
        ("the refresh token's signature", format!("{h}.{p}.{rs}")),
        ("the refresh token's payload", format!("{h}.{rp}.{s}")),
        ("the refresh token's header", format!("{rh}.{p}.{s}")),
        ("the access payload in a refresh token", format!("{rh}.{p}.{rs}")),
        ("the refresh token as access token", format!("{}.{rp}.{rs}", encode(retyped))),
        ("flattened JSON", json!({"protected": h, "payload": p, "signature": s}).to_string()),
        ("general JSON", {
            json!({"payload": p, "signatures": [{"protected": h, "signature": s}]}).to_string()
        }),
        ("a JWE", jwe),
    ];
    assert_refused(&genuine.replica, forged).await;
    // The other ring accepts its own token.
    stranger.replica.verify(&stranger.access).await.unwrap();
}

#[tokio::test]
async fn case_40_a_truncated_or_extended_token_is_refused() {
    let genuine = Genuine::signed_with(Algorithm::Es256).await;
    let (token, refresh) = (&genuine.access, &genuine.refresh);
    let [h, p, s] = genuine.parts();
    let [rh, rp, rs] = parts(refresh);
    let [refresh_header, refresh_claims] = opened(refresh);
    // The base64url of an HMAC ends in two unused bits and could be padded.
    let (rs_front, last) = rs.split_at(rs.len() - 1);
    let unused_bit_set = &DIGITS[DIGITS.find(last).unwrap() + 1..][..1];
    let forged = vec![
        ("nothing", String::new()),
        ("dots", "..".to_owned()),
        ("garbage", "garbage".to_owned()),
        ("not base64", "é.é.é".to_owned()),
        ("no header", format!(".{p}.{s}")),
        ("no payload", format!("{h}..{s}")),
        ("no signature", format!("{h}.{p}.")),
        ("two parts", format!("{h}.{p}")),
        ("four parts", format!("{h}.{p}.{s}.{s}")),
        ("a dot too many", format!("{token}.")),
        ("appended bytes", format!("{token}AAAA")),
        ("half a signature", format!("{h}.{p}.{}", &s[..s.len() / 2])),
        ("unused bits set", format!("{rh}.{rp}.{rs_front}{unused_bit_set}")),
        ("padding", format!("{refresh}=")),
        ("padding of an access token", format!("{token}==")),
        ("the other alphabet", format!("{h}.{p}.{}", s.replace('-', "+").replace('_', "/") + "==")),
        ("a blank in front", format!(" {token}")),
        ("a line feed behind", format!("{token}\n")),
        ("a line feed inside", format!("{h}.{p}\n.{s}")),
        ("NUL behind", format!("{token}\0")),
        ("Bearer", format!("Bearer {token}")),
        ("another sub", genuine.with_claims("0000000a", "0000000b")),
        ("another role", genuine.with_claims("\"user\"", "\"root\"")),
        ("a later exp", genuine.with_claims("1700003600", "1800003600")),
        ("uppercase UUID", genuine.with_claims("00000000000a", "00000000000A")),
        ("a refresh token of another generation", {
            let later = refresh_claims.replace("\"gen\":3", "\"gen\":4").replace("b.3", "b.4");
            format!("{rh}.{}.{rs}", encode(later))
        }),
        ("a refresh token under another key", hmac(&refresh_header, &refresh_claims, &[1; 32])),
        ("huge", format!("{h}.{}.{s}", "A".repeat(16 * 1024))),
        ("a megabyte of dots", ".".repeat(1 << 20)),
    ];
    assert_refused(&genuine.replica, forged).await;
}

#[tokio::test]
async fn claims_of_another_form_are_refused_even_with_a_genuine_signature() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let insider = Insider::of(&world).await;
    let [header, payload] = opened(&replica.refresh());
    // The same claims unchanged are accepted.
    let genuine = insider.sign(&header, &payload);
    assert_eq!(genuine, replica.refresh());
    let with = |from: &str, to: &str| {
        assert!(payload.contains(from), "{payload}");
        insider.sign(&header, &payload.replacen(from, to, 1))
    };
    let id = "00000000-0000-0000-0000-00000000000";
    let forged = vec![
        ("another iss", with(ISSUER, "https://other.example.com")),
        ("iss with a slash", with(ISSUER, &format!("{ISSUER}/"))),
        ("iss in another case", with("auth.example", "Auth.example")),
        ("iss a list", with(&format!("\"{ISSUER}\""), &format!("[\"{ISSUER}\"]"))),
        ("no iss", with(&format!("\"iss\":\"{ISSUER}\","), "")),
        ("iss twice", with("{", &format!("{{\"iss\":\"{ISSUER}\","))),
        ("uppercase sub", with(&format!("{id}a"), &format!("{id}A"))),
        ("braced sub", with(&format!("{id}a"), &format!("{{{id}a}}"))),
        ("sub without hyphens", with(&format!("{id}a"), &format!("{id}a").replace('-', ""))),
        ("sub as a URN", with(&format!("{id}a"), &format!("urn:uuid:{id}a"))),
        ("sub a name", with(&format!("{id}a"), "root")),
        ("another sid than in jti", with(&format!("\"sid\":\"{id}b"), &format!("\"sid\":\"{id}c"))),
        ("another gen than in jti", with("\"gen\":3", "\"gen\":4")),
        ("negative gen", with("\"gen\":3", "\"gen\":-3")),
        ("gen a text", with("\"gen\":3", "\"gen\":\"3\"")),
        ("gen a fraction", with("\"gen\":3", "\"gen\":3.0")),
        ("gen past 64 bits", with("\"gen\":3", "\"gen\":18446744073709551616")),
        ("no gen", with("\"gen\":3,", "")),
        ("exp a text", with("\"exp\":1702592000", "\"exp\":\"1702592000\"")),
        ("exp a fraction", with("\"exp\":1702592000", "\"exp\":1702592000.5")),
        ("exp null", with("\"exp\":1702592000", "\"exp\":null")),
        ("no exp", with(",\"exp\":1702592000", "")),
        ("no iat", with("\"iat\":1700000000,", "")),
        ("a claim too many", with("{", "{\"aud\":\"x\",")),
        ("not an object", insider.sign(&header, "[]")),
        ("no claims", insider.sign(&header, "{}")),
        ("a blank in front", insider.sign(&header, &format!(" {payload}"))),
        ("more behind", insider.sign(&header, &format!("{payload}{{}}"))),
        ("typ of the other kind", insider.sign(&header.replace("rt+", "at+"), &payload)),
        ("another alg", insider.sign(&header.replace("HS256", "HS384"), &payload)),
        ("a header member too many", {
            insider.sign(&header.replacen('{', "{\"crit\":[],", 1), &payload)
        }),
    ];
    assert_refused(&replica, forged).await;
}

#[tokio::test]
async fn access_tokens_with_claims_of_another_form_are_refused() {
    // A fixed HS256 key signs access tokens, so that this test can sign with it too.
    let secret = [9; 32];
    let text = format!(r#"{{"kty":"oct","kid":"a","k":"{}"}}"#, encode(secret));
    let key = crate::common::read(&text, Algorithm::Hs256);
    let ring = crate::common::fixed_ring(key, fresh(Algorithm::EdDsa)).unwrap();
    let tokens = JoseTokens::new(tokens_config(), Arc::new(ring)).unwrap();
    let [header, payload] = opened(&crate::common::access_token(&tokens));
    let sign = |payload: &str| PresentedToken::new(hmac(&header, payload, &secret));
    tokens.verify_access(&sign(&payload)).await.unwrap();
    let claims: Value = serde_json::from_str(&payload).unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        sign(&claims.to_string())
    };
    for (name, value) in [
        ("iss", json!("https://other.example.com")),
        ("aud", json!("https://other.example.com")),
        ("aud", json!(["https://other.example.com"])),
        ("aud", json!([])),
        ("aud", json!("https://api.example.co")),
        ("aud", json!({"0": AUDIENCE})),
        ("aud", json!(null)),
        ("sub", json!("00000000-0000-0000-0000-00000000000A")),
        ("sub", json!(10)),
        ("sid", json!("0000000000000000000000000000000b")),
        ("idp", json!(7)),
        ("idp", json!(null)),
        ("roles", json!("admin")),
        ("roles", json!([1])),
        ("roles", json!(null)),
        ("exp", json!("1700003600")),
        ("exp", json!(1_700_003_600.5)),
        ("iat", json!(null)),
        ("jti", json!(12)),
    ] {
        let refused = tokens.verify_access(&with(name, value.clone())).await;
        assert!(matches!(refused, Err(VerifyError::Refused(_))), "{name} {value}: {refused:?}");
    }
    for name in ["iss", "aud", "sub", "sid", "idp", "roles", "exp", "iat", "jti"] {
        let mut without = claims.clone();
        without.as_object_mut().unwrap().remove(name);
        let refused = tokens.verify_access(&sign(&without.to_string())).await;
        assert!(matches!(refused, Err(VerifyError::Refused(_))), "without {name}: {refused:?}");
    }
    for (name, value) in [
        ("aud", json!([AUDIENCE, "https://other.example.com"])),
        ("aud", json!(["https://other.example.com", AUDIENCE])),
        ("exp", json!(0)),
        ("exp", json!(-1)),
        ("nbf", json!(i64::MAX)),
        ("iat", json!(i64::MAX)),
        ("roles", json!([])),
        ("anything", json!({"a": [1, 2, 3]})),
    ] {
        let accepted = tokens.verify_access(&with(name, value.clone())).await;
        assert!(accepted.is_ok(), "{name} {value}: {accepted:?}");
    }
}

#[tokio::test]
async fn a_token_for_one_of_several_audiences_is_accepted() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    let for_some = |audience: &[&str]| {
        let audience = audience.iter().map(|&each| each.to_owned()).collect();
        let config = TokensConfig { audience, ..tokens_config() };
        JoseTokens::new(config, Arc::clone(&replica.ring)).unwrap()
    };
    let several = for_some(&["https://other.example.com", AUDIENCE]);
    let other = for_some(&["https://other.example.com"]);
    let (one, both) = (replica.access(), crate::common::access_token(&several));
    for token in [&one, &both] {
        several.verify_access(&PresentedToken::new(token.as_str())).await.unwrap();
        replica.verify(token).await.unwrap();
    }
    other.verify_access(&PresentedToken::new(both)).await.unwrap();
    assert!(other.verify_access(&PresentedToken::new(one)).await.is_err());
}

#[tokio::test]
async fn an_expired_token_is_verified_because_the_caller_judges_its_expiry() {
    let world = World::default();
    let replica = world.started(ring_config()).await;
    // The tokens expired in 2023, and the clock says 2026.
    let access = replica.verify(&replica.access()).await.unwrap();
    assert!(access.expires_at < world.now());
    let refresh = replica.verify_refresh(&replica.refresh()).await.unwrap();
    assert!(refresh.expires_at < world.now());
}
