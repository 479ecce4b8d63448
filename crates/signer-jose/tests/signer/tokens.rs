//! The exact form of tokens, and which keys may sign together.

use std::collections::BTreeMap;
use std::sync::Arc;

use mintgate_domain::model::{
    ClaimValue, KeyId, ProviderId, Revocation, RevocationCursor, RevocationStatement, Revoked,
    SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::{
    PublicKeys, RevocationPage, RevocationSigner as _, SigningError, TokenSigner,
    TokenVerifier as _,
};
use mintgate_domain::{PresentedToken, SecretText, chain};
use mintgate_signer_jose::{
    AccessTokenType, Algorithm, FixedKeys, JoseTokens, KeyRing, KeyRingConfig, KeyRingError,
    STANDARD_CLAIMS, SigningKey, TokensConfig, TokensError,
};
use mintgate_testkit::{ManualClock, ResourceServer};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::common::{
    self, access_claims, fixed, fixed_ring, fresh, full_grant, grant, key_text, opened, read,
    refresh_claims, ring_config, tokens_config,
};

/// Two fixed HMAC keys, whose tokens are the same on every machine.
fn fixed_signer() -> JoseTokens {
    let named = |kid: &str, byte: u8| {
        let mut jwk: Value = serde_json::from_str(&common::oct_jwk(&[byte; 32])).unwrap();
        jwk["kid"] = json!(kid);
        read(&jwk.to_string(), Algorithm::Hs256)
    };
    fixed(named("access-1", 1), named("refresh-1", 2))
}

#[test]
fn an_access_token_has_exactly_this_header_and_payload() {
    let (provider, grant) = (ProviderId::new("corp"), full_grant());
    let token = fixed_signer().sign_access(&access_claims(&provider, &grant)).unwrap();
    let [header, payload] = opened(token.expose());
    assert_eq!(header, r#"{"alg":"HS256","kid":"access-1","typ":"at+jwt"}"#);
    assert_eq!(
        payload,
        concat!(
            r#"{"iss":"https://auth.example.com","sub":"00000000-0000-0000-0000-00000000000a","#,
            r#""aud":"https://api.example.com","client_id":"mintgate","#,
            r#""iat":1700000000,"nbf":1700000000,"#,
            r#""exp":1700003600,"jti":"AAAAAAAAAAAAAAAAAAAADA","#,
            r#""sid":"00000000-0000-0000-0000-00000000000b","roles":["admin","user"],"#,
            r#""idp":"corp","auth_time":1699999990,"epoch":4,"acr":"mfa","amr":["pwd","otp"],"#,
            r#""name":"A \"B\" é","ratio":0.5,"tenant":7}"#,
        )
    );
}

#[test]
fn a_refresh_token_has_exactly_these_bytes_on_every_machine() {
    let key_id = KeyId::new("refresh-1");
    let token = fixed_signer().sign_refresh(&refresh_claims(&key_id)).unwrap();
    let [header, payload] = opened(token.expose());
    assert_eq!(header, r#"{"alg":"HS256","kid":"refresh-1","typ":"rt+jwt"}"#);
    assert_eq!(
        payload,
        concat!(
            r#"{"iss":"https://auth.example.com","sub":"00000000-0000-0000-0000-00000000000a","#,
            r#""sid":"00000000-0000-0000-0000-00000000000b","gen":3,"#,
            r#""jti":"00000000-0000-0000-0000-00000000000b.3","#,
            r#""iat":1700000000,"exp":1702592000}"#,
        )
    );
    let signature = token.expose().rsplit('.').next().unwrap();
    assert_eq!(signature, "hKDjXDsqQ5ykD2Q6AE_fB4TYYjsk4fKK3kmc_Px0Xu0");
}

#[test]
fn another_process_with_the_same_key_signs_the_same_refresh_token() {
    let text = common::key_text(Algorithm::EdDsa);
    let mint = || {
        let refresh = read(&text, Algorithm::EdDsa);
        common::refresh_token(&fixed(fresh(Algorithm::Es256), refresh))
    };
    assert_eq!(mint(), mint());
}

#[test]
fn several_audiences_are_an_array() {
    let audience = vec!["https://a.example.com".to_owned(), "https://b.example.com".to_owned()];
    let ring = fixed_ring(fresh(Algorithm::Es256), fresh(Algorithm::Hs256)).unwrap();
    let config = TokensConfig { audience, ..tokens_config() };
    let signer = JoseTokens::new(config, Arc::new(ring)).unwrap();
    let (provider, grant) = (ProviderId::new("corp"), grant());
    let token = signer.sign_access(&access_claims(&provider, &grant)).unwrap();
    let claims: Value = serde_json::from_str(&opened(token.expose())[1]).unwrap();
    assert_eq!(claims["aud"], json!(["https://a.example.com", "https://b.example.com"]));
}

#[test]
fn an_extra_claim_never_takes_a_standard_name() {
    let provider = ProviderId::new("corp");
    let payload_with = |extra: BTreeMap<String, ClaimValue>| {
        let grant = mintgate_domain::model::AccessGrant { extra, ..grant() };
        let token = fixed_signer().sign_access(&access_claims(&provider, &grant)).unwrap();
        opened(token.expose())[1].clone()
    };
    let spoofed = ClaimValue::Text("spoofed".to_owned());
    let spoofs = STANDARD_CLAIMS.map(|name| (name.to_owned(), spoofed.clone()));
    let plain = payload_with(BTreeMap::new());
    assert_eq!(payload_with(spoofs.into()), plain);
    // The list holds every name that a token has without extra claims.
    let full = full_grant();
    let token = fixed_signer().sign_access(&access_claims(&provider, &full)).unwrap();
    let claims: BTreeMap<String, Value> = serde_json::from_str(&opened(token.expose())[1]).unwrap();
    for name in claims.keys().filter(|name| !full.extra.contains_key(*name)) {
        assert!(STANDARD_CLAIMS.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn the_documented_table_has_exactly_the_standard_claims() {
    let page = include_str!("../../../../docs/sessions.md");
    let table = page.split_once("### Claims of the access token").unwrap().1;
    let names = table
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once(" | ")?.0))
        .flat_map(|names| names.split(", "))
        .map(|name| name.trim_matches('`'));
    assert_eq!(names.collect::<Vec<_>>(), STANDARD_CLAIMS, "docs/sessions.md and the code differ");
}

#[test]
fn ecdsa_signatures_always_have_the_same_length() {
    // In about one signature of 128 a number begins with a zero byte.
    let signer = fixed(fresh(Algorithm::Es256), fresh(Algorithm::Hs256));
    let (provider, grant) = (ProviderId::new("corp"), grant());
    for _ in 0..500 {
        let token = signer.sign_access(&access_claims(&provider, &grant)).unwrap();
        assert_eq!(token.expose().rsplit('.').next().unwrap().len(), 86);
    }
}

#[test]
fn refresh_tokens_need_a_deterministic_algorithm() {
    for algorithm in [Algorithm::Es256, Algorithm::Es384, Algorithm::Ps256] {
        let refused = fixed_ring(fresh(Algorithm::EdDsa), fresh(algorithm)).unwrap_err();
        assert!(
            matches!(refused, KeyRingError::NotDeterministic(named) if named == algorithm),
            "{refused}"
        );
    }
}

#[test]
fn one_key_never_signs_both_kinds_of_token() {
    for (access, refresh) in [
        (Algorithm::Hs256, Algorithm::Hs256),
        (Algorithm::EdDsa, Algorithm::EdDsa),
        (Algorithm::Rs256, Algorithm::Rs256),
        (Algorithm::Ps256, Algorithm::Rs256),
    ] {
        let text = common::key_text(access);
        let refused = fixed_ring(read(&text, access), read(&text, refresh)).unwrap_err();
        assert!(matches!(refused, KeyRingError::SameKey), "{access} and {refresh}: {refused}");
    }
    // The same key material under another `kid` is still the same key.
    let mut jwk: Value = serde_json::from_str(&common::oct_jwk(&[7; 32])).unwrap();
    let unnamed = read(&jwk.to_string(), Algorithm::Hs256);
    jwk["kid"] = json!("other");
    let refused = fixed_ring(unnamed, read(&jwk.to_string(), Algorithm::Hs256)).unwrap_err();
    assert!(matches!(refused, KeyRingError::SameKey), "{refused}");
}

#[test]
fn an_access_and_a_refresh_key_never_share_a_kid() {
    let named = |byte: u8| {
        let mut jwk: Value = serde_json::from_str(&common::oct_jwk(&[byte; 32])).unwrap();
        jwk["kid"] = json!("one");
        read(&jwk.to_string(), Algorithm::Hs256)
    };
    let refused = fixed_ring(named(1), named(2)).unwrap_err();
    assert!(matches!(&refused, KeyRingError::SameKeyId(id) if id.as_str() == "one"), "{refused}");
}

#[test]
fn tokens_without_an_audience_are_refused() {
    let ring = fixed_ring(fresh(Algorithm::Es256), fresh(Algorithm::Hs256)).unwrap();
    let config = TokensConfig { audience: vec![], ..tokens_config() };
    let refused = JoseTokens::new(config, Arc::new(ring)).unwrap_err();
    assert_eq!(refused, TokensError::NoAudience);
}

#[test]
fn an_unknown_refresh_key_is_named_in_the_error() {
    let refused = fixed_signer().sign_refresh(&refresh_claims(&KeyId::new("gone"))).unwrap_err();
    assert!(matches!(refused, SigningError::Failed(_)), "{refused:?}");
    assert!(chain(&refused).to_string().contains("gone"), "{refused:?}");
}

#[test]
fn the_key_set_and_its_entity_tag_depend_on_the_keys_alone() {
    let text = common::key_text(Algorithm::Es256);
    let published = |text: &str| {
        let access = read(text, Algorithm::Es256);
        fixed(access, fresh(Algorithm::Hs256)).jwks().unwrap()
    };
    assert_eq!(*published(&text), *published(&text));
    let other = published(&common::key_text(Algorithm::Es256));
    assert_ne!(other.etag, published(&text).etag);
    assert_eq!(fixed_signer().jwks().unwrap().json, r#"{"keys":[]}"#);
}

#[tokio::test]
async fn no_debug_output_or_error_holds_key_bytes() {
    for algorithm in Algorithm::ALL {
        let file = common::made_jwk(algorithm).await;
        let jwk: BTreeMap<String, Value> = serde_json::from_str(&file).unwrap();

        let secrets: Vec<&str> = ["d", "p", "q", "dp", "dq", "qi", "k"]
            .iter()
            .filter_map(|name| jwk.get(*name).and_then(Value::as_str))
            .collect();
        assert!(!secrets.is_empty(), "{algorithm}: the file has no private member");

        let key = read(&file, algorithm);
        let mut printed = vec![format!("{key:?}")];
        printed.push(format!("{:?}", fixed(key, SigningKey::generate(Algorithm::Hs256).unwrap())));
        // The key for another algorithm, half of the key, and its secrets in other members.
        let other = if algorithm == Algorithm::Hs256 { Algorithm::Es256 } else { Algorithm::Hs256 };
        let mut texts = vec![file.clone(), file[..file.len() / 2].to_owned()];
        for secret in &secrets {
            for name in ["kty", "key_ops", "alg", "use", "kid", "crv", secret] {
                let mut wrong = json!({"kty": "OKP", "crv": "Ed25519", "d": "A", "k": "A"});
                wrong[name] = json!(format!("{secret}!"));
                texts.push(wrong.to_string());
                wrong["kty"] = json!("oct");
                wrong["k"] = json!("A".repeat(43));
                texts.push(wrong.to_string());
            }
        }
        for text in texts {
            printed.push(match SigningKey::from_text(&SecretText::new(text), other) {
                Ok(key) => format!("{key:?}"),
                Err(error) => format!("{} {error:?}", chain(&error)),
            });
        }
        for (secret, text) in secrets.iter().flat_map(|s| printed.iter().map(move |t| (s, t))) {
            assert!(!text.contains(&secret[..8]), "{algorithm}: {text}");
        }
    }
}

#[tokio::test]
async fn access_tokens_have_the_configured_type_and_no_other_is_accepted() {
    let (access, refresh) = (key_text(Algorithm::Es256), key_text(Algorithm::Hs256));
    let signer = |access_type| {
        let access = Some(read(&access, Algorithm::Es256));
        let fixed = FixedKeys { access, refresh: Some(read(&refresh, Algorithm::Hs256)) };
        let config = KeyRingConfig { access_type, ..ring_config() };
        let ring = KeyRing::new(config, None, fixed, Arc::new(ManualClock::default())).unwrap();
        JoseTokens::new(tokens_config(), Arc::new(ring)).unwrap()
    };
    let (rfc_9068, plain) = (signer(AccessTokenType::AtJwt), signer(AccessTokenType::Jwt));
    let provider = ProviderId::new("corp");
    let grant = grant();
    let token = plain.sign_access(&access_claims(&provider, &grant)).unwrap();
    let header: Value = serde_json::from_str(&opened(token.expose())[0]).unwrap();
    assert_eq!(header["typ"], "JWT");
    let presented = PresentedToken::new(token.expose().to_owned());
    plain.verify_access(&presented).await.expect("its own type");
    rfc_9068.verify_access(&presented).await.expect_err("another type");
}

fn revocations() -> RevocationPage {
    let at = Timestamp::from_unix(1_700_003_720);
    let user = UserId::from_uuid(Uuid::from_u128(10));
    let events = [
        Revoked::Session(SessionId::from_uuid(Uuid::from_u128(11))),
        Revoked::User { user, epoch: 5 },
        Revoked::IssuedBefore(Timestamp::from_unix(1_700_000_001)),
    ];
    let events = events.map(|revoked| Revocation { revoked, forget_after: at }).to_vec();
    RevocationPage { events, cursor: RevocationCursor::behind("log", 9), more: true }
}

/// Nobody who checks the `typ`, as we do ourselves, takes it for a token.
#[tokio::test]
async fn a_statement_about_revocations_is_verified_by_the_jwks_and_is_no_token() {
    let tokens = fixed(fresh(Algorithm::Es256), fresh(Algorithm::EdDsa));
    let (page, issued_at) = (revocations(), Timestamp::from_unix(1_700_000_000));
    let after = RevocationCursor::behind("log", 3);
    let statement = |after| {
        let statement = RevocationStatement { audience: "orders", after, page: &page, issued_at };
        tokens.sign_revocations(&statement).unwrap().expose().to_owned()
    };
    let signed = statement(Some(&after));
    let jwks = tokens.jwks().unwrap();
    let server = ResourceServer::new(&jwks.json, "https://auth.example.com", "orders");
    let claims = server.verify_at_any_time(&signed).unwrap();
    assert_eq!(
        claims,
        json!({
            "iss": "https://auth.example.com", "aud": "orders", "iat": 1_700_000_000,
            "after": "log.3", "cursor": "log.9", "more": true,
            "events": [
                { "sid": "00000000-0000-0000-0000-00000000000b", "forget_after": 1_700_003_720 },
                {
                    "sub": "00000000-0000-0000-0000-00000000000a", "epoch": 5,
                    "forget_after": 1_700_003_720,
                },
                { "issued_before": 1_700_000_001, "forget_after": 1_700_003_720 },
            ],
        })
    );
    let [header, _] = opened(&signed);
    assert!(header.contains(r#""typ":"revocations+jwt""#), "{header}");
    let [_, anew] = opened(&statement(None));
    assert!(anew.contains(r#""after":"","#), "{anew}");
    let presented = PresentedToken::new(signed.clone());
    assert!(tokens.verify_access(&presented).await.is_err());
    assert!(tokens.verify_refresh(&presented).await.is_err());
}

#[test]
fn with_a_key_that_nobody_else_has_no_statement_is_made() {
    let (page, issued_at) = (revocations(), Timestamp::from_unix(1_700_000_000));
    let statement = RevocationStatement { audience: "orders", after: None, page: &page, issued_at };
    let refused = fixed_signer().sign_revocations(&statement);
    assert!(matches!(refused, Err(SigningError::Failed(_))), "{refused:?}");
}
