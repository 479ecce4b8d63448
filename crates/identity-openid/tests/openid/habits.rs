//! Habits of real providers, each taken from a public report, and next to each the attack that it must
//! not open.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use mintgate_domain::model::{ClaimValue, VerifiedIdentity};
use mintgate_domain::ports::ProviderError;
use mintgate_domain::ports::{CodeGrant, IdentityProvider as _};
use mintgate_domain::{AuthorizationCode, Nonce};
use mintgate_identity_openid::{Dialect, EmailRule, OpenIdConfig};
use mintgate_mock_idp::{
    FaultKind, Faults, Habit, IdTokenAlg, IdTokenRecipe, LogoutOrder, MockIdp, SignIn, SignWith,
};
use openssl::pkey::PKey;
use serde_json::{Value, json};

use crate::fake::FakeIdp;
use crate::support::{Adapter, NONCE, fetched, logged, start_with, warm, with_nonce};
use crate::variants::{now_secs, object};

fn habits(habits: &[Habit]) -> Faults {
    Faults { habits: habits.to_vec(), ..Faults::default() }
}

fn id_token(recipe: IdTokenRecipe) -> Faults {
    Faults { id_token: Some(recipe), ..Faults::default() }
}

fn claiming(claims: &Value) -> Faults {
    id_token(IdTokenRecipe { claims: object(claims), ..IdTokenRecipe::default() })
}

fn pinned(config: &mut OpenIdConfig) {
    config.id_token_algorithms = vec!["EdDSA".to_owned()];
}

async fn speaking(dialect: Dialect) -> (MockIdp, Adapter) {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    let adapter = Adapter::with_dialect(idp.issuer(), dialect, pinned);
    (idp, adapter)
}

fn is_refused<T>(result: &Result<T, ProviderError>) -> bool {
    matches!(result, Err(ProviderError::IdTokenRefused(_)))
}

#[tokio::test]
async fn a_provider_with_any_of_these_habits_signs_people_in() {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    for habit in Habit::ALL {
        // These need a setting, and have tests of their own.
        if [Habit::NoNonce, Habit::ProjectAudience, Habit::OtherParty].contains(habit) {
            continue;
        }
        let userinfo = ![Habit::BareDiscovery, Habit::NoAccessToken].contains(habit);
        let adapter = Adapter::new(idp.issuer(), |config| {
            pinned(config);
            config.userinfo = userinfo;
        });
        idp.control().set_faults(habits(&[*habit]));
        let identity = adapter.sign_in(&idp, with_nonce()).await;
        let identity = identity.unwrap_or_else(|error| panic!("{habit:?}: {}", logged(&error)));
        assert_eq!(identity.identity.subject, "mock|alice", "{habit:?}");
        let sid = Some("session-1".to_owned());
        let sign_in = SignIn { sid, ..SignIn::default() };
        let order = LogoutOrder { sign_in, ..LogoutOrder::default() };
        let logout = adapter.verify_logout(&idp.control().logout_token(&order)).await;
        assert!(logout.is_ok(), "{habit:?}: {logout:?}");
        adapter.provider.authorization_endpoint().await.unwrap();

        // A forged token is one under every habit.
        let forged = IdTokenRecipe { sign: SignWith::AttackerKeySameKid, ..Default::default() };
        idp.control().set_faults(Faults { id_token: Some(forged), ..habits(&[*habit]) });
        let refused = adapter.sign_in(&idp, with_nonce()).await;
        assert!(is_refused(&refused), "{habit:?}: {refused:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_missing_is_missed_when_it_is_needed() {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    for value in [Value::Null, json!(""), json!(7), json!("TBD")] {
        for (name, begins, signs_in) in [
            ("authorization_endpoint", false, true),
            ("token_endpoint", true, false),
            ("userinfo_endpoint", true, true),
        ] {
            let discovery_merge = object(&json!({ name: value }));
            idp.control().set_faults(Faults { discovery_merge, ..Faults::default() });
            let adapter = Adapter::new(idp.issuer(), pinned);
            let begun = adapter.provider.authorization_endpoint().await;
            assert_eq!(begun.is_ok(), begins, "{name} {value}: {begun:?}");
            let signed_in = adapter.sign_in(&idp, SignIn::default()).await;
            assert_eq!(signed_in.is_ok(), signs_in, "{name} {value}: {signed_in:?}");
            for error in [begun.err(), signed_in.err()].into_iter().flatten() {
                assert!(logged(&error).contains(name), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn case_51_a_key_exchanged_under_its_key_id_is_fetched_once() {
    for habit in [Habit::OneKeyId, Habit::NoKeyIds] {
        let idp = start_with(IdTokenAlg::EdDsa).await;
        idp.control().set_faults(habits(&[habit]));
        let adapter = Adapter::new(idp.issuer(), pinned);
        adapter.sign_in(&idp, SignIn::default()).await.unwrap();
        let old = idp.control().issue_id_token(&SignIn::default(), &IdTokenRecipe::default());
        idp.control().rotate_keys();
        adapter.sign_in(&idp, SignIn::default()).await.unwrap();
        assert_eq!(fetched(&idp), (1, 2), "{habit:?}");
        assert!(is_refused(&adapter.verify(&old, None).await), "the old key is gone");
        // Bad signatures on posted tokens cause one fetch in thirty seconds.
        for _ in 0..100 {
            assert!(is_refused(&adapter.verify(&old, None).await));
        }
        assert_eq!(fetched(&idp), (1, 3), "{habit:?}");
    }
}

#[tokio::test]
async fn case_51_posted_tokens_do_not_use_up_the_fetch_that_a_login_needs() {
    let (idp, adapter) = warm().await;
    let token = idp.control().issue_id_token(
        &SignIn::default(),
        &IdTokenRecipe { header: object(&json!({ "kid": "made-up" })), ..Default::default() },
    );
    assert!(is_refused(&adapter.verify(&token, None).await));
    assert_eq!(fetched(&idp), (1, 2));
    // Two changes of the key, one directly after the other.
    for fetches in [3, 4] {
        idp.control().rotate_keys();
        adapter.sign_in(&idp, SignIn::default()).await.unwrap();
        assert_eq!(fetched(&idp), (1, fetches));
    }
    assert!(is_refused(&adapter.verify(&token, None).await));
    assert_eq!(fetched(&idp), (1, 4), "the clients' fetch was used up long ago");
}

#[tokio::test]
async fn case_51_a_provider_that_signs_with_unpublished_keys_is_asked_for_them_once_a_second() {
    let (idp, adapter) = warm().await;
    let by_an_old_key = IdTokenRecipe { sign: SignWith::OldKey, ..IdTokenRecipe::default() };
    idp.control().set_faults(id_token(by_an_old_key));
    for fetches in [2, 3] {
        for _ in 0..20 {
            assert!(is_refused(&adapter.sign_in(&idp, SignIn::default()).await));
        }
        assert_eq!(fetched(&idp), (1, fetches));
        adapter.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn a_token_tries_a_few_keys_and_no_more() {
    let idp = FakeIdp::start("").await;
    idp.grant(&idp.token(&json!({})));
    let other = || {
        let x = PKey::generate_ed25519().unwrap().raw_public_key().unwrap();
        let x = BASE64_URL_SAFE_NO_PAD.encode(x);
        json!({ "kty": "OKP", "crv": "Ed25519", "x": x })
    };
    for (others, good) in [(7, true), (8, false)] {
        let mut keys: Vec<_> = (0..others).map(|_| other()).collect();
        keys.push(idp.jwk(&json!({ "kid": null })));
        idp.publish(&json!(keys));
        let adapter = Adapter::new(&idp.issuer, pinned);
        let tokens = adapter.redeem("some-code", None).await.unwrap();
        let result = adapter.provider.verify(&tokens, None).await;
        assert_eq!(result.is_ok(), good, "{others}: {result:?}");
    }
}

#[tokio::test]
async fn case_21_a_key_for_another_operation_verifies_nothing() {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    for (operations, good) in [
        (json!(["verify"]), true),
        (json!(["sign"]), true),
        (json!([]), true),
        (json!(["encrypt", "wrapKey"]), false),
        (json!(["deriveKey"]), false),
    ] {
        let jwks_merge = object(&json!({ "key_ops": operations }));
        idp.control().set_faults(Faults { jwks_merge, ..Faults::default() });
        let adapter = Adapter::new(idp.issuer(), pinned);
        let result = adapter.sign_in(&idp, SignIn::default()).await;
        assert_eq!(result.is_ok(), good, "{operations}: {result:?}");
    }
}

#[tokio::test]
async fn case_25_a_provider_without_nonces_is_believed_for_a_code_with_pkce_alone() {
    let dialect = Dialect { lacks_nonce: true, ..Dialect::default() };
    let (idp, adapter) = speaking(dialect).await;
    let nonce = Nonce::new(NONCE);
    let signed_in = async |verifier: Option<&str>, faults: Faults, nonce: Option<&Nonce>| {
        idp.control().set_faults(faults);
        let challenge = verifier.map(|_| CHALLENGE.to_owned());
        let sign_in = SignIn { code_challenge: challenge, ..with_nonce() };
        let code = idp.control().issue_code(sign_in);
        let tokens = adapter.redeem(&code, verifier).await.unwrap();
        adapter.provider.verify(&tokens, nonce).await
    };
    let silent = || habits(&[Habit::NoNonce]);
    signed_in(Some(VERIFIER), silent(), Some(&nonce)).await.unwrap();
    signed_in(Some(VERIFIER), Faults::default(), Some(&nonce)).await.unwrap();
    signed_in(None, silent(), None).await.unwrap();
    assert!(is_refused(&signed_in(None, silent(), Some(&nonce)).await), "without PKCE");
    // One that is there must be the one.
    for wrong in [json!("other"), json!(""), json!(7)] {
        let faults = claiming(&json!({ "nonce": wrong }));
        assert!(is_refused(&signed_in(Some(VERIFIER), faults, Some(&nonce)).await), "{wrong}");
    }
    assert!(is_refused(&signed_in(Some(VERIFIER), Faults::default(), None).await), "unasked");
    // A posted token proves its nonce, or nothing.
    idp.control().set_faults(silent());
    let posted = idp.control().issue_id_token(&with_nonce(), &IdTokenRecipe::default());
    assert!(is_refused(&adapter.verify(&posted, Some(NONCE)).await));
    // At any other provider nothing has changed.
    let strict = Adapter::new(idp.issuer(), pinned);
    assert!(is_refused(&strict.sign_in(&idp, with_nonce()).await));
}

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[tokio::test]
async fn case_24_audiences_and_parties_count_where_they_are_configured() {
    let dialect = Dialect {
        trusted_audiences: vec!["384775745420918788".to_owned()],
        authorized_parties: vec!["android.apps.example".to_owned()],
        ..Dialect::default()
    };
    let (idp, trusting) = speaking(dialect).await;
    let strict = Adapter::new(idp.issuer(), pinned);
    for habit in [Habit::ProjectAudience, Habit::OtherParty] {
        idp.control().set_faults(habits(&[habit]));
        trusting.sign_in(&idp, SignIn::default()).await.unwrap();
        assert!(is_refused(&strict.sign_in(&idp, SignIn::default()).await), "{habit:?}");
    }
    idp.control().set_faults(habits(&[Habit::ProjectAudience]));
    let logout = idp.control().logout_token(&LogoutOrder::default());
    trusting.verify_logout(&logout).await.unwrap();
    let refused = strict.verify_logout(&logout).await;
    assert!(matches!(refused, Err(ProviderError::LogoutTokenRefused(_))), "{refused:?}");
    // A token for the project alone is not for us.
    let theirs = json!({ "aud": "384775745420918788", "azp": "mintgate" });
    idp.control().set_faults(claiming(&theirs));
    assert!(is_refused(&trusting.sign_in(&idp, SignIn::default()).await));
}

#[tokio::test]
async fn signed_userinfo_is_verified_like_an_id_token() {
    let idp = start_with(IdTokenAlg::EdDsa).await;
    let adapter = Adapter::new(idp.issuer(), |config| {
        pinned(config);
        config.userinfo = true;
    });
    let signed = |recipe: IdTokenRecipe, more: &Value| Faults {
        habits: vec![Habit::SignedUserinfo],
        userinfo_token: Some(recipe),
        userinfo_merge: object(more),
        ..Faults::default()
    };
    let with = |sign| IdTokenRecipe { sign, ..IdTokenRecipe::default() };
    let claims = |claims: Value| IdTokenRecipe { claims: object(&claims), ..Default::default() };
    let now = now_secs();
    for good in [
        claims(json!({})),
        claims(json!({ "iss": null, "aud": null })),
        claims(json!({ "exp": now + 60, "iat": now, "nbf": now })),
        claims(json!({ "iat": now - 7 * 24 * 3600 })),
        IdTokenRecipe { header: object(&json!({ "typ": null })), ..Default::default() },
    ] {
        idp.control().set_faults(signed(good.clone(), &json!({ "department": "R&D" })));
        let identity = adapter.sign_in(&idp, SignIn::default()).await;
        let identity = identity.unwrap_or_else(|error| panic!("{good:?}: {}", logged(&error)));
        let department = Some(&ClaimValue::Text("R&D".to_owned()));
        assert_eq!(identity.claims.find("department"), department);
    }
    for bad in [
        with(SignWith::AttackerKeySameKid),
        with(SignWith::AttackerKeyWithJwk),
        with(SignWith::Unsigned),
        with(SignWith::HmacWithClientSecret),
        with(SignWith::Garbage),
        claims(json!({ "iss": "https://other.example.com" })),
        claims(json!({ "aud": "other" })),
        claims(json!({ "aud": ["mintgate", "other"] })),
        claims(json!({ "sub": "mock|bob" })),
        claims(json!({ "sub": null })),
        claims(json!({ "exp": now - 1 })),
        claims(json!({ "nbf": now + 3600 })),
        claims(json!({ "events": {} })),
        IdTokenRecipe { header: object(&json!({ "typ": "at+jwt" })), ..Default::default() },
        IdTokenRecipe { header: object(&json!({ "crit": ["x"] })), ..Default::default() },
    ] {
        idp.control().set_faults(signed(bad.clone(), &json!({})));
        let refused = adapter.sign_in(&idp, SignIn::default()).await;
        assert!(is_refused(&refused), "{bad:?}: {refused:?}");
    }
    let jwe = FaultKind::Body {
        body: "eyJhbGciOiJSU0EifQ.a.b.c.d".to_owned(),
        content_type: "application/jwt".to_owned(),
    };
    idp.control().set_faults(Faults { userinfo: Some(jwe.into()), ..Faults::default() });
    let failed = adapter.sign_in(&idp, SignIn::default()).await.unwrap_err();
    assert!(logged(&failed).contains("encrypted"), "{failed:?}");
}

#[tokio::test]
async fn case_30_an_email_is_vouched_for_in_the_providers_own_words() {
    let email = |identity: &VerifiedIdentity| {
        identity.claims.find("email").and_then(ClaimValue::as_text).map(str::to_owned)
    };
    let text = json!({ "email_verified": "true" });
    let owner = json!({ "email_verified": null, "xms_edov": true });
    let silent = json!({ "email_verified": null });
    let denied = json!({ "email_verified": false, "xms_edov": true });
    for (rule, good, bad) in [
        (EmailRule::Standard, vec![], vec![&text, &owner, &silent, &denied]),
        (EmailRule::Text, vec![&text], vec![&owner, &silent, &denied]),
        (EmailRule::DomainOwner, vec![&owner], vec![&text, &silent, &denied]),
        (EmailRule::Tenant, vec![&owner, &silent], vec![&text, &denied]),
    ] {
        let (idp, adapter) = speaking(Dialect { email: rule, ..Dialect::default() }).await;
        for (claims, expected) in good
            .into_iter()
            .map(|claims| (claims, Some("alice@example.com".to_owned())))
            .chain(bad.into_iter().map(|claims| (claims, None)))
        {
            idp.control().set_faults(claiming(claims));
            let identity = adapter.sign_in(&idp, SignIn::default()).await.unwrap();
            assert_eq!(email(&identity), expected, "{rule:?} {claims}");
        }
    }
}

#[tokio::test]
async fn max_age_is_enforced_where_it_is_requested() {
    let dialect = Dialect { max_age: Some(Duration::from_mins(5)), ..Dialect::default() };
    let (idp, adapter) = speaking(dialect).await;
    let now = now_secs();
    for (auth_time, good) in [
        (json!(now), true),
        (json!(now - 330), true),
        (json!(now - 400), false),
        (Value::Null, false),
        (json!("2020-03-14T18:52:01.180Z"), false),
        (json!(now + 3600), false),
    ] {
        idp.control().set_faults(claiming(&json!({ "auth_time": auth_time })));
        let result = adapter.sign_in(&idp, SignIn::default()).await;
        assert_eq!(result.is_ok(), good, "{auth_time}: {result:?}");
    }
}

/// Redeems a code with a verifier; the mock holds it against the challenge.
#[tokio::test]
async fn tokens_say_whether_a_verifier_protected_their_code() {
    let (idp, adapter) = warm().await;
    for verifier in [None, Some(VERIFIER)] {
        let challenge = verifier.map(|_| CHALLENGE.to_owned());
        let code =
            idp.control().issue_code(SignIn { code_challenge: challenge, ..SignIn::default() });
        let code = AuthorizationCode::new(code);
        let code_verifier = verifier.map(mintgate_domain::CodeVerifier::new);
        let grant = CodeGrant {
            code: &code,
            redirect_uri: &SignIn::default().redirect_uri,
            code_verifier: code_verifier.as_ref(),
        };
        let tokens = adapter.provider.redeem(&grant).await.unwrap();
        let pkce = verifier.is_some();
        assert_eq!(tokens.source, mintgate_domain::ports::TokenSource::TokenEndpoint { pkce });
    }
}
