//! Good tokens, and tokens that are genuine and still not for this service or this moment.

use mintgate_verify::{Algorithm, BuildError, Issuer, Refusal, Verifier};
use serde_json::json;

use crate::fake_issuer::FakeIssuer;
use crate::signer::Signer;
use crate::{AUDIENCE, ISSUER, NOW, builder, claims, claims_with, ready, refused, verifier_of};

#[tokio::test]
async fn a_good_token_gives_its_claims() {
    let signer = Signer::es256("1");
    let verifier = verifier_of(&[&signer]).await;
    let more = json!({ "amr": ["pwd"], "acr": "gold", "tenant": { "id": 7 } });
    let claims = verifier.verify(&signer.token(&claims_with(&more))).unwrap();
    assert_eq!(claims.issuer, ISSUER);
    assert_eq!(claims.sub, "01920000-0000-7000-8000-000000000001");
    assert_eq!(claims.audience, [AUDIENCE]);
    assert_eq!(claims.roles, ["admin", "user"]);
    assert_eq!(claims.sid.as_deref(), Some("01920000-0000-7000-8000-00000000000a"));
    assert_eq!(claims.idp.as_deref(), Some("corp"));
    assert_eq!(claims.client_id.as_deref(), Some("mintgate"));
    assert_eq!((claims.issued_at, claims.expires_at), (NOW, NOW + 3600));
    assert_eq!((claims.auth_time, claims.epoch), (Some(NOW - 5), Some(3)));
    assert_eq!((claims.acr.as_deref(), claims.amr), (Some("gold"), vec!["pwd".to_owned()]));
    assert_eq!(claims.extra["tenant"]["id"], 7);
}

#[tokio::test]
async fn a_role_is_compared_exactly() {
    let signer = Signer::es256("1");
    let claims = verifier_of(&[&signer]).await.verify(&signer.token(&claims())).unwrap();
    assert!(claims.has_role("admin"));
    for role in ["Admin", "adm", "admin ", ""] {
        assert!(!claims.has_role(role), "{role}");
    }
}

#[tokio::test]
async fn each_algorithm_is_accepted_if_it_is_on_the_list_and_only_then() {
    let signers = Signer::all();
    let issuer = FakeIssuer::with(&signers.each_ref());
    let all =
        [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256];
    let verifier = ready(builder(&issuer).algorithms(&all)).await;
    let strict = ready(builder(&issuer)).await;
    for signer in &signers {
        let token = signer.token(&claims());
        verifier.verify(&token).unwrap_or_else(|error| panic!("{}: {error}", signer.algorithm));
        let is_default = signer.algorithm == "ES256";
        assert_eq!(strict.verify(&token).err(), (!is_default).then_some(Refusal::WrongAlgorithm));
    }
}

#[tokio::test]
async fn aud_is_a_text_or_a_list_and_one_of_ours_must_be_in_it() {
    let signer = Signer::es256("1");
    let verifier = ready(builder(&FakeIssuer::with(&[&signer])).audience("second")).await;
    for aud in [json!(AUDIENCE), json!(["other", AUDIENCE]), json!(["second"])] {
        verifier.verify(&signer.token(&claims_with(&json!({ "aud": aud })))).unwrap();
    }
    for aud in [json!("other"), json!([]), json!(["other", "https://api.example.com/"])] {
        let result = verifier.verify(&signer.token(&claims_with(&json!({ "aud": aud }))));
        assert_eq!(refused(result), Refusal::WrongAudience, "{aud}");
    }
}

#[tokio::test]
async fn typ_is_that_of_an_access_token_whatever_its_case() {
    let signer = Signer::es256("1");
    let issuer = FakeIssuer::with(&[&signer]);
    let verifier = ready(builder(&issuer)).await;
    let lenient = ready(builder(&issuer).accept_plain_jwt(true)).await;
    let token = |typ| signer.token_with(&json!({ "typ": typ }), &claims());
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+JWT"] {
        verifier.verify(&token(json!(typ))).unwrap();
        lenient.verify(&token(json!(typ))).unwrap();
    }
    for typ in ["JWT", "jwt", "application/jwt"] {
        assert_eq!(refused(verifier.verify(&token(json!(typ)))), Refusal::WrongType, "{typ}");
        lenient.verify(&token(json!(typ))).unwrap();
    }
    let others =
        [json!("rt+jwt"), json!("revocations+jwt"), json!("logout+jwt"), json!(""), json!(null)];
    for typ in others {
        assert_eq!(refused(verifier.verify(&token(typ.clone()))), Refusal::WrongType, "{typ}");
        assert_eq!(refused(lenient.verify(&token(typ.clone()))), Refusal::WrongType, "{typ}");
    }
}

#[tokio::test]
async fn times_have_a_leeway_and_the_refusal_says_by_how_many_seconds_they_fail() {
    let signer = Signer::es256("1");
    let verifier = verifier_of(&[&signer]).await;
    let verify = |changes| verifier.verify(&signer.token(&claims_with(&changes)));
    for good in [
        json!({ "exp": NOW - 59 }),
        json!({ "exp": 1.5e10 }),
        json!({ "iat": NOW + 30 }),
        json!({ "nbf": NOW + 60 }),
        json!({ "nbf": null, "iat": NOW - 3600 }),
    ] {
        let mut token = claims_with(&good);
        token.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        assert!(verifier.verify(&signer.token(&token)).is_ok(), "{good}");
    }
    assert_eq!(refused(verify(json!({ "exp": NOW - 60 }))), Refusal::Expired { seconds: 60 });
    let late = refused(verify(json!({ "exp": NOW - 600 })));
    assert_eq!(late, Refusal::Expired { seconds: 600 });
    assert!(late.to_string().contains("600 s"), "{late}");
    for claim in ["nbf", "iat"] {
        let early = refused(verify(json!({ claim: NOW + 600 })));
        assert_eq!(early, Refusal::NotYetValid { claim, seconds: 600 });
        assert!(early.to_string().contains("600 s"), "{early}");
    }
}

#[tokio::test]
async fn a_token_without_kid_is_tried_where_exactly_one_key_fits() {
    let signers = Signer::all();
    let [first, second] = [Signer::es256("1"), Signer::es256("2")];
    let token = first.token_with(&json!({ "kid": null }), &claims());
    let [_, es384, ed25519, ..] = &signers;
    let one = verifier_of(&[&first, es384, ed25519]).await;
    one.verify(&token).unwrap();
    let two = verifier_of(&[&first, &second]).await;
    assert_eq!(refused(two.verify_or_fetch(&token).await), Refusal::UnknownKey);
}

#[tokio::test]
async fn keys_belong_to_an_issuer() {
    let [ours, theirs] = [Signer::es256("same"), Signer::es256("same")];
    let (first, second) = ("https://a.example.com", "https://b.example.com");
    let fetch = TwoIssuers { first: ours.jwk(), second: theirs.jwk() };
    let issuer = |name: &str| Issuer::new(name).jwks_url(format!("{name}/jwks"));
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW.unsigned_abs());
    let builder = Verifier::builder(issuer(first)).also(issuer(second)).audience(AUDIENCE);
    let verifier = ready(builder.fetch(fetch).clock(move || now)).await;
    let by = |iss: &str| claims_with(&json!({ "iss": iss }));
    assert_eq!(verifier.verify(&ours.token(&by(first))).unwrap().issuer, first);
    assert_eq!(verifier.verify(&theirs.token(&by(second))).unwrap().issuer, second);
    assert_eq!(refused(verifier.verify(&ours.token(&by(second)))), Refusal::BadSignature);
    assert_eq!(refused(verifier.verify(&theirs.token(&by(first)))), Refusal::BadSignature);
    for other in ["https://c.example.com", "https://a.example.com/", "https://A.example.com"] {
        assert_eq!(refused(verifier.verify(&ours.token(&by(other)))), Refusal::WrongIssuer);
    }
}

struct TwoIssuers {
    first: serde_json::Value,
    second: serde_json::Value,
}

impl mintgate_verify::Fetch for TwoIssuers {
    fn get<'a>(&'a self, url: &'a str) -> mintgate_verify::Fetching<'a> {
        let key = if url == "https://a.example.com/jwks" { &self.first } else { &self.second };
        Box::pin(async move { Ok(json!({ "keys": [key] }).to_string().into()) })
    }
}

#[tokio::test]
async fn a_verifier_without_audience_or_protected_issuer_is_not_built() {
    let error = Verifier::builder(ISSUER).build().err();
    assert!(matches!(error, Some(BuildError::NoAudience)), "{error:?}");
    for issuer in
        ["http://auth.example.com", "http://10.0.0.1", "auth.example.com", "ftp://a.b", ""]
    {
        let error = Verifier::builder(issuer).audience(AUDIENCE).build().err();
        assert!(matches!(error, Some(BuildError::Issuer { .. })), "{issuer}: {error:?}");
    }
    let twice = Verifier::builder(ISSUER).also(ISSUER).audience(AUDIENCE).build().err();
    assert!(matches!(twice, Some(BuildError::IssuerTwice(_))), "{twice:?}");
}

#[test]
fn a_verifier_that_is_built_outside_a_runtime_says_so() {
    let error = Verifier::builder(ISSUER).audience(AUDIENCE).build().err();
    assert!(matches!(error, Some(BuildError::NoRuntime)), "{error:?}");
}
