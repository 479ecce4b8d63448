//! What is untidy in a provider's answers and does no harm: with each of these, people sign in.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use mintgate_domain::model::VerifiedIdentity;
use mintgate_domain::ports::{IdentityProvider as _, ProviderError};
use serde_json::{Value, json};

use crate::fake::{FakeIdp, Reply};
use crate::support::{Adapter, logged};
use crate::variants::now_secs;

const JSON: &str = "Content-Type: application/json\r\n";

/// Signs somebody in at a provider that has been asked for nothing yet.
async fn sign_in(idp: &FakeIdp, userinfo: bool) -> Result<VerifiedIdentity, ProviderError> {
    let adapter = Adapter::new(&idp.issuer, |config| {
        config.id_token_algorithms = vec!["EdDSA".to_owned()];
        config.userinfo = userinfo;
    });
    let tokens = adapter.redeem("some-code", None).await?;
    adapter.provider.verify(&tokens, None).await
}

async fn assert_signs_in(idp: &FakeIdp, userinfo: bool, case: &str) {
    let identity = sign_in(idp, userinfo).await;
    let identity = identity.unwrap_or_else(|error| panic!("{case}: {}", logged(&error)));
    assert_eq!(identity.identity.subject, "somebody", "{case}");
}

async fn granting() -> FakeIdp {
    let idp = FakeIdp::start("").await;
    idp.grant(&idp.token(&json!({})));
    idp
}

#[tokio::test]
async fn members_of_a_token_answer_that_are_not_used_may_be_anything() {
    let idp = FakeIdp::start("").await;
    let id_token = idp.token(&json!({}));
    for more in [
        r#""expires_in":"3600""#,
        r#""expires_in":3600.5"#,
        r#""expires_in":-1"#,
        r#""expires_in":null"#,
        r#""expires_in":"","expires_in":1e999"#,
        r#""expires_in":{"seconds":3600},"ext_expires_in":[]"#,
        r#""scope":null"#,
        r#""scope":["openid","email"]"#,
        r#""scope":"","state":"\ud800""#,
        r#""refresh_token":null,"error":null,"error_description":null"#,
        r#""refresh_token":"","error":"""#,
        r#""refresh_token":7,"error":false"#,
        r#""token_type":"bearer""#,
        r#""token_type":null"#,
        r#""token_type":"""#,
        r#""id_token_expires_in":"x","not-before-policy":0,"session_state":null"#,
    ] {
        let body = format!(r#"{{"access_token":"a","id_token":"{id_token}",{more}}}"#);
        idp.fake.page("/token", Reply::raw(JSON, body));
        assert_signs_in(&idp, false, more).await;
    }
    for (before, after) in [("\u{feff}", ""), ("\r\n \t", "\r\n\r\n"), ("\u{feff}\n", " \n")] {
        let body = format!(r#"{before}{{"id_token":" {id_token}\n"}}{after}"#);
        idp.fake.page("/token", Reply::raw(JSON, body));
        assert_signs_in(&idp, false, &format!("{before:?} {after:?}")).await;
    }
}

#[tokio::test]
async fn answers_are_read_whatever_their_headers_say() {
    let idp = granting().await;
    let token = json!({ "id_token": idp.token(&json!({})) }).to_string();
    let keys = json!({ "keys": [idp.jwk(&json!({}))] }).to_string();
    for headers in [
        "",
        "Content-Type: \r\n",
        "Content-Type: text/html; charset=ISO-8859-1\r\n",
        "Content-Type: application/json;charset=\"UTF-8\"; odd\r\n",
        "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
        "WWW-Authenticate: ,;=\"\r\nContent-Type: application/json\r\n",
        "Cache-Control: max-age=-1\r\nExpires: 0\r\nETag: x\r\nSet-Cookie: a=b\r\n",
        "Content-Encoding: identity\r\n",
    ] {
        idp.fake.page("/token", Reply::raw(headers, token.clone()));
        idp.fake.page("/jwks", Reply::raw(headers, keys.clone()));
        assert_signs_in(&idp, false, headers).await;
    }
    let chunked = |body: &str| {
        let (first, second) = body.split_at(body.len() / 2);
        let chunk = |part: &str| format!("{:x};ext=1\r\n{part}\r\n", part.len());
        let body = format!("{}{}0\r\n\r\n", chunk(first), chunk(second));
        Reply::raw("Transfer-Encoding: chunked\r\n", body)
    };
    idp.fake.page("/token", chunked(&token));
    idp.fake.page("/jwks", chunked(&keys));
    assert_signs_in(&idp, false, "chunked").await;
    let gzip = |content: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content.as_bytes()).unwrap();
        Reply::raw("Content-Encoding: gzip\r\n", encoder.finish().unwrap())
    };
    idp.fake.page("/token", gzip(&token));
    idp.fake.page("/jwks", gzip(&keys));
    assert_signs_in(&idp, false, "compressed, unasked").await;
    for answer in [gzip(&" ".repeat(256 * 1024 + 1)), Reply::raw("Content-Encoding: gzip\r\n", "x")]
    {
        idp.fake.page("/token", answer);
        let failed = sign_in(&idp, false).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{failed:?}");
    }
    for status in [200, 201, 203] {
        idp.fake.page("/token", Reply::raw(JSON, token.clone()).status(status));
        assert_signs_in(&idp, false, "status").await;
    }
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_in_nobodys_way() {
    let idp = granting().await;
    let own = idp.jwk(&json!({}));
    for other in [
        json!({ "kty": "RSA", "kid": "key-1", "x5c": ["MIIB"], "x5t": "x" }),
        json!({ "kty": "oct", "kid": "key-1", "k": "c2VjcmV0" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "kid": "key-1", "pub": "x" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "x", "y": "y" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "key-1" }),
        json!({ "kty": "RSA", "n": "", "e": 65537, "kid": 7 }),
        json!({ "kid": "key-1" }),
        json!({ "kty": null, "use": null }),
        json!({}),
        json!(null),
        json!("key"),
        json!([]),
        idp.jwk(&json!({ "use": "enc" })),
        idp.jwk(&json!({ "alg": "RS256" })),
    ] {
        for keys in [json!([other, own]), json!([own, other])] {
            idp.publish(&keys);
            assert_signs_in(&idp, false, &keys.to_string()).await;
        }
    }
}

#[tokio::test]
async fn a_key_may_say_little_or_more_than_is_needed() {
    let idp = granting().await;
    for changes in [
        json!({ "use": null }),
        json!({ "use": null, "key_ops": ["verify"], "ext": true }),
        json!({ "use": null, "kid": null }),
        json!({ "kid": 1 }),
        json!({ "alg": "EdDSA", "x5c": "text", "x5t#S256": 7, "x5u": "not a URL" }),
        json!({ "exp": 0, "nbf": "x", "iat": [], "status": "active", "d": "" }),
    ] {
        idp.publish(&json!([idp.jwk(&changes)]));
        assert_signs_in(&idp, false, &changes.to_string()).await;
    }
    let set = json!({ "keys": [idp.jwk(&json!({}))], "etag": 7, "next": null }).to_string();
    for body in [format!("\u{feff}{set}\n"), format!("\n{set} \r\n")] {
        idp.fake.page("/jwks", Reply::raw("Content-Type: text/plain\r\n", body));
        assert_signs_in(&idp, false, "around the set").await;
    }
}

#[tokio::test]
async fn a_discovery_document_may_have_addresses_of_any_form() {
    for path in ["", "/", "/tenant", "/tenant/"] {
        let idp = FakeIdp::start(path).await;
        idp.grant(&idp.token(&json!({})));
        let at = |path: &str| format!("{}{path}", idp.fake.origin);
        for changes in [
            json!({}),
            json!({ "jwks_uri": at("/jwks?version=2&p=a%20b") }),
            json!({ "token_endpoint": at("/token?p=policy") }),
            json!({ "jwks_uri": at("/jwks#keys"), "token_endpoint": at("/token") }),
            json!({ "token_endpoint_auth_methods_supported": "client_secret_post" }),
            json!({ "token_endpoint_auth_methods_supported": [] }),
            json!({ "scopes_supported": "openid email", "grant_types_supported": false }),
        ] {
            idp.discover(&changes);
            assert_signs_in(&idp, false, &format!("{path} {changes}")).await;
        }
        // With a mark in front, and members that are null or there twice.
        let document = format!(
            "\u{feff}{{\"issuer\":null,\"issuer\":\"{}\",\"userinfo_endpoint\":null,\
             \"jwks_uri\":\"{}\",\"token_endpoint\":\"{}\",\"scopes_supported\":null}}\n",
            idp.issuer,
            at("/jwks"),
            at("/token"),
        );
        let page = format!("{}/.well-known/openid-configuration", path.trim_end_matches('/'));
        idp.fake.page(&page, Reply::raw(JSON, document));
        assert_signs_in(&idp, true, path).await;
    }
}

#[tokio::test]
async fn claims_that_decide_nothing_may_have_any_type() {
    let idp = FakeIdp::start("").await;
    let now = now_secs();
    for changes in [
        json!({ "email": "a@example.com", "email_verified": null }),
        json!({ "email": 7, "groups": null, "roles": null }),
        json!({ "name": { "given": "A" }, "address": "a text", "updated_at": "yesterday" }),
        json!({ "aud": ["mintgate"], "azp": null }),
        json!({ "iat": f64::from(u32::try_from(now).unwrap()) - 0.5 }),
        json!({ "exp": f64::from(u32::try_from(now).unwrap()) + 60.5, "nbf": null }),
        json!({ "auth_time": null, "acr": null, "amr": null, "sid": null }),
        json!({ "auth_time": "", "acr": 1, "amr": "pwd", "sid": 7 }),
        json!({ "auth_time": [], "acr": [], "amr": [1, null, "pwd"], "sid": "" }),
        json!({ "at_hash": "other", "c_hash": null, "s_hash": 7, "jti": [], "typ": "ID" }),
        json!({ "rat": true, "": 1, "https://example.com/roles": { "a": [null] } }),
    ] {
        let mut claims = idp.claims(&json!({}));
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        idp.grant(&idp.sign(&claims));
        assert_signs_in(&idp, false, &changes.to_string()).await;
    }
}

#[tokio::test]
async fn userinfo_may_be_untidy_and_must_be_about_exactly_this_subject() {
    let idp = granting().await;
    idp.discover(&json!({ "userinfo_endpoint": format!("{}/userinfo", idp.fake.origin) }));
    let good = r#"{"sub":"somebody","name":null,"email_verified":null,"groups":null}"#;
    for (headers, body) in [
        (JSON, good.to_owned()),
        ("", format!("\u{feff}{good}\n")),
        ("Content-Type: application/jwt\r\n", format!("\n {good}")),
        ("Content-Type: text/plain\r\n", good.replace("null", "{}")),
    ] {
        idp.fake.page("/userinfo", Reply::raw(headers, body.clone()));
        assert_signs_in(&idp, true, &body).await;
    }
    for sub in [
        json!("Somebody"),
        json!("somebody "),
        json!("somebody\u{0}"),
        json!(["somebody"]),
        json!(""),
        Value::Null,
    ] {
        idp.fake.page("/userinfo", Reply::json(&json!({ "sub": sub })));
        let refused = sign_in(&idp, true).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{sub}: {refused:?}");
    }
}
