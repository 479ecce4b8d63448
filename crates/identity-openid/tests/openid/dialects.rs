//! What single providers do in their own way, on the wire.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use mintgate_domain::model::{ClaimValue, ExternalIdentity, VerifiedIdentity};
use mintgate_domain::ports::{
    AuthorizationEndpoint, IdentityProvider, Misbehaviour, ProviderError, Renewal,
};
use mintgate_domain::{Nonce, ProviderRefreshToken, SecretText};
use mintgate_identity_openid::{
    AppleSecret, AssertionAlgorithm, AssertionAudience, AssertionKey, ClientAuthentication,
    ClientKeyError, Dialect, GraphGroups, GroupOverage, IssuerRule, OpenIdConfig,
    OpenIdConfigError, OpenIdProvider, Preset,
};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sha::sha256;
use openssl::sign::Verifier;
use openssl::x509::X509;
use serde_json::{Value, json};
use url::Url;

use crate::fake::{ACCESS_TOKEN, FakeIdp, Reply, Request};
use crate::support::{Adapter, CLIENT_SECRET, Counted, Random, TestClock, config, logged};
use crate::variants::now_secs;

const A: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const B: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";

fn pinned(config: &mut OpenIdConfig) {
    config.id_token_algorithms = vec!["EdDSA".to_owned()];
}

fn speaking(idp: &FakeIdp, dialect: Dialect) -> Adapter {
    Adapter::with_dialect(&idp.issuer, dialect, pinned)
}

fn authenticating(client_authentication: ClientAuthentication) -> Dialect {
    Dialect { client_authentication, ..Dialect::default() }
}

/// A sign-in by code that gets this ID token.
async fn by_code(
    idp: &FakeIdp,
    adapter: &Adapter,
    token: &str,
) -> Result<VerifiedIdentity, ProviderError> {
    idp.grant(token);
    let tokens = adapter.redeem("some-code", None).await?;
    adapter.provider.verify(&tokens, None::<&Nonce>).await
}

async fn exchanged(idp: &FakeIdp, adapter: &Adapter) -> Request {
    by_code(idp, adapter, &idp.token(&json!({}))).await.unwrap();
    idp.fake.requests("/token").pop().unwrap()
}

fn pem(key: &PKey<Private>) -> SecretText {
    SecretText::new(String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap())
}

fn ec_key(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn rsa_key(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

/// Header and claims of a JWS whose signature this key made.
fn opened(jws: &str, algorithm: AssertionAlgorithm, key: &PKey<Private>) -> (Value, Value) {
    let (signed, signature) = jws.rsplit_once('.').unwrap();
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    let good = match algorithm {
        AssertionAlgorithm::Es256 => {
            assert_eq!(signature.len(), 64);
            let [r, s] =
                [&signature[..32], &signature[32..]].map(|half| BigNum::from_slice(half).unwrap());
            let signature = EcdsaSig::from_private_components(r, s).unwrap();
            signature.verify(&sha256(signed.as_bytes()), &key.ec_key().unwrap()).unwrap()
        }
        AssertionAlgorithm::EdDsa => Verifier::new_without_digest(key)
            .unwrap()
            .verify_oneshot(&signature, signed.as_bytes())
            .unwrap(),
        AssertionAlgorithm::Rs256 | AssertionAlgorithm::Ps256 => {
            let mut verifier = Verifier::new(MessageDigest::sha256(), key).unwrap();
            if algorithm == AssertionAlgorithm::Ps256 {
                verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
                verifier.set_rsa_pss_saltlen(openssl::sign::RsaPssSaltlen::custom(32)).unwrap();
            }
            verifier.verify_oneshot(&signature, signed.as_bytes()).unwrap()
        }
    };
    assert!(good, "{}", algorithm.name());
    let (header, claims) = signed.split_once('.').unwrap();
    let [header, claims] = [header, claims]
        .map(|part| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap());
    (header, claims)
}

#[tokio::test]
async fn a_secret_goes_where_the_dialect_says_and_nowhere_else() {
    let idp = FakeIdp::start("").await;
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("mintgate:{CLIENT_SECRET}")));
    for (authentication, offered, header, in_body) in [
        (ClientAuthentication::SecretBasic, json!(["client_secret_post"]), Some(&basic), false),
        (ClientAuthentication::SecretPost, json!(["client_secret_basic"]), None, true),
        (ClientAuthentication::Negotiated, json!(["client_secret_post"]), None, true),
        (ClientAuthentication::Negotiated, Value::Null, Some(&basic), false),
        (ClientAuthentication::Public, json!(["client_secret_post"]), None, false),
    ] {
        idp.discover(&json!({ "token_endpoint_auth_methods_supported": offered }));
        let request = exchanged(&idp, &speaking(&idp, authenticating(authentication))).await;
        assert_eq!(request.header("authorization"), header.map(String::as_str));
        let form = request.form();
        assert_eq!(form.get("client_secret").map(String::as_str), in_body.then_some(CLIENT_SECRET));
        assert_eq!(
            form.get("client_id").map(String::as_str),
            header.is_none().then_some("mintgate")
        );
        assert!(!form.contains_key("client_assertion"));
    }
}

#[tokio::test]
async fn a_client_assertion_is_for_this_endpoint_for_five_minutes_and_for_once() {
    let idp = FakeIdp::start("/tenant").await;
    for (algorithm, key) in [
        (AssertionAlgorithm::Es256, ec_key(Nid::X9_62_PRIME256V1)),
        (AssertionAlgorithm::Rs256, rsa_key(2048)),
        (AssertionAlgorithm::Ps256, rsa_key(2048)),
        (AssertionAlgorithm::EdDsa, PKey::generate_ed25519().unwrap()),
    ] {
        let assertions = AssertionKey::from_pem(&pem(&key), algorithm).unwrap();
        let assertions = assertions.with_key_id("client-key");
        let authentication = ClientAuthentication::PrivateKeyJwt(assertions.clone());
        let adapter = speaking(&idp, authenticating(authentication));
        let mut identifiers = BTreeSet::new();
        for _ in 0..2 {
            let request = exchanged(&idp, &adapter).await;
            assert_eq!(request.header("authorization"), None);
            let form = request.form();
            assert!(!form.contains_key("client_secret"), "a configured secret stays at home");
            assert_eq!(form["client_id"], "mintgate");
            let jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            assert_eq!(form["client_assertion_type"], jwt_bearer);
            let (header, claims) = opened(&form["client_assertion"], algorithm, &key);
            let expected = json!({ "alg": algorithm.name(), "kid": "client-key", "typ": "JWT" });
            assert_eq!(header, expected);
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("mintgate"), &json!("mintgate")));
            assert_eq!(claims["aud"], json!(format!("{}/token", idp.fake.origin)));
            let [iat, exp] = ["iat", "exp"].map(|name| claims[name].as_i64().unwrap());
            assert!(iat <= now_secs() && exp > now_secs() && exp - iat <= 300, "{claims}");
            identifiers.insert(claims["jti"].as_str().unwrap().to_owned());
        }
        assert_eq!(identifiers.len(), 2);

        let to_issuer = assertions.with_audience(AssertionAudience::Issuer);
        let authentication = ClientAuthentication::PrivateKeyJwt(to_issuer);
        let request = exchanged(&idp, &speaking(&idp, authenticating(authentication))).await;
        let (_, claims) = opened(&request.form()["client_assertion"], algorithm, &key);
        assert_eq!(claims["aud"], json!(idp.issuer));
    }
}

#[tokio::test]
async fn entra_knows_a_client_key_by_its_certificate() {
    let idp = FakeIdp::start("").await;
    let key = rsa_key(2048);
    let certify = |key: &PKey<Private>| {
        let mut certificate = X509::builder().unwrap();
        certificate.set_pubkey(key).unwrap();
        certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        certificate.sign(key, MessageDigest::sha256()).unwrap();
        certificate.build()
    };
    let text = |certificate: &X509| String::from_utf8(certificate.to_pem().unwrap()).unwrap();
    let ps256 = AssertionAlgorithm::Ps256;
    let assertions = AssertionKey::from_pem(&pem(&key), ps256).unwrap();
    for wrong in [text(&certify(&rsa_key(2048))), "no certificate".to_owned()] {
        let refused = assertions.clone().with_certificate(&wrong).unwrap_err();
        assert_eq!(refused, ClientKeyError::Certificate);
    }
    let certificate = certify(&key);
    let assertions = assertions.with_certificate(&text(&certificate)).unwrap();
    let authentication = ClientAuthentication::PrivateKeyJwt(assertions);
    let request = exchanged(&idp, &speaking(&idp, authenticating(authentication))).await;
    let (header, _) = opened(&request.form()["client_assertion"], ps256, &key);
    let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(sha256(&certificate.to_der().unwrap()));
    assert_eq!(header, json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint }));
}

#[test]
fn a_key_that_does_not_fit_its_algorithm_is_refused_at_start() {
    use AssertionAlgorithm::{EdDsa, Es256, Ps256, Rs256};
    for (key, fitting) in [
        (ec_key(Nid::X9_62_PRIME256V1), vec![Es256]),
        (ec_key(Nid::SECP384R1), vec![]),
        (ec_key(Nid::SECP256K1), vec![]),
        (rsa_key(2048), vec![Rs256, Ps256]),
        (rsa_key(1024), vec![]),
        (PKey::generate_ed25519().unwrap(), vec![EdDsa]),
    ] {
        for algorithm in AssertionAlgorithm::ALL {
            let read = AssertionKey::from_pem(&pem(&key), algorithm);
            let expected = if fitting.contains(&algorithm) {
                None
            } else {
                Some(ClientKeyError::Unfit(algorithm.name()))
            };
            assert_eq!(read.err(), expected, "{}", algorithm.name());
        }
    }
    let public = ec_key(Nid::X9_62_PRIME256V1).public_key_to_pem().unwrap();
    for text in [String::new(), "no key".to_owned(), String::from_utf8(public).unwrap()] {
        let read = AssertionKey::from_pem(&SecretText::new(text), Es256);
        assert_eq!(read.err(), Some(ClientKeyError::Unreadable));
    }
}

#[tokio::test]
async fn apple_gets_a_secret_that_was_minted_for_it() {
    let idp = FakeIdp::start("").await;
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let apple = AppleSecret::from_pem(&pem(&key), "TEAM123456", "KEY1234567").unwrap();
    let adapter = speaking(&idp, authenticating(ClientAuthentication::MintedSecret(apple.clone())));
    let [first, second] = [exchanged(&idp, &adapter).await, exchanged(&idp, &adapter).await];
    assert_eq!(first.header("authorization"), None);
    let form = first.form();
    assert_eq!(form["client_id"], "mintgate");
    let (header, claims) = opened(&form["client_secret"], AssertionAlgorithm::Es256, &key);
    assert_eq!(header, json!({ "alg": "ES256", "kid": "KEY1234567" }));
    assert_eq!(claims["iss"], json!("TEAM123456"));
    assert_eq!(claims["sub"], json!("mintgate"));
    assert_eq!(claims["aud"], json!("https://appleid.apple.com"));
    let [iat, exp] = ["iat", "exp"].map(|name| claims[name].as_i64().unwrap());
    assert_eq!(exp - iat, 3600);
    assert_eq!(second.form()["client_secret"], form["client_secret"], "minted once in its life");

    let shorter = apple.with_lifetime(Duration::from_mins(10)).unwrap().with_audience("urn:test");
    let authentication = ClientAuthentication::MintedSecret(shorter);
    let request = exchanged(&idp, &speaking(&idp, authenticating(authentication))).await;
    let (_, claims) = opened(&request.form()["client_secret"], AssertionAlgorithm::Es256, &key);
    assert_eq!(claims["aud"], json!("urn:test"));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
}

#[tokio::test]
async fn what_we_made_to_authenticate_is_not_repeated_in_an_error_text() {
    let idp = FakeIdp::start("").await;
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let es256 = AssertionAlgorithm::Es256;
    let assertions = AssertionKey::from_pem(&pem(&key), es256).unwrap();
    let apple = AppleSecret::from_pem(&pem(&key), "TEAM", "KEY").unwrap();
    // The minted secret is the same the second time, so the provider can say it back.
    let adapter = speaking(&idp, authenticating(ClientAuthentication::MintedSecret(apple)));
    let secret = exchanged(&idp, &adapter).await.form()["client_secret"].clone();
    let echo = json!({ "error": "invalid_client", "error_description": secret });
    idp.fake.page("/token", Reply::json(&echo).status(400));
    let failed = adapter.redeem("some-code", None).await.unwrap_err();
    assert_eq!(failed, ProviderError::Misbehaved(Misbehaviour::ClientRefused, "".into()));
    let text = logged(&failed);
    assert!(text.contains("[redacted]") && !text.contains(&secret), "{text}");
    let printed = format!("{:?}", authenticating(ClientAuthentication::PrivateKeyJwt(assertions)));
    assert!(printed.contains("[redacted]") && !printed.contains("BEGIN"), "{printed}");
}

#[tokio::test]
async fn the_token_request_says_what_the_dialect_adds() {
    let idp = FakeIdp::start("/adfs").await;
    let resource = ("resource".to_owned(), "urn:example:api?a&b=c".to_owned());
    let dialect = Dialect { token_parameters: vec![resource], ..Dialect::default() };
    let form = exchanged(&idp, &speaking(&idp, dialect)).await.form();
    assert_eq!(form["resource"], "urn:example:api?a&b=c");
    assert_eq!(
        (form["grant_type"].as_str(), form["code"].as_str()),
        ("authorization_code", "some-code")
    );
    let plain = exchanged(&idp, &speaking(&idp, Dialect::default())).await.form();
    assert!(!plain.contains_key("resource"));
}

fn misconfigured(dialect: Dialect, change: impl FnOnce(&mut OpenIdConfig)) -> OpenIdConfigError {
    let mut config = config("https://idp.example.com");
    change(&mut config);
    let clock = Arc::new(TestClock::default());
    let counted = Arc::new(Counted::default());
    OpenIdProvider::with_dialect(config, dialect, clock, Arc::new(Random), counted).err().unwrap()
}

#[test]
fn a_dialect_that_cannot_work_is_refused_at_start() {
    for authentication in [ClientAuthentication::SecretBasic, ClientAuthentication::SecretPost] {
        let error = misconfigured(authenticating(authentication), |c| c.client_secret = None);
        assert_eq!(error, OpenIdConfigError::ClientSecretRequired);
    }
    let everybody = IssuerRule::Tenants {
        template: "https://idp.example.com/{tenantid}".to_owned(),
        allowed: vec![],
    };
    let error = misconfigured(Dialect { issuer: everybody, ..Dialect::default() }, |_| {});
    assert!(matches!(error, OpenIdConfigError::IssuerRule(_)));
    for endpoint in ["http://graph.example.com/x", "https://10.0.0.1/x", "https://u:p@example.com"]
    {
        let graph = GraphGroups::at(Url::parse(endpoint).unwrap());
        let group_overage = GroupOverage::Follow(graph);
        let error = misconfigured(Dialect { group_overage, ..Dialect::default() }, |_| {});
        assert_eq!(error, OpenIdConfigError::GroupEndpoint, "{endpoint}");
    }
}

/// Entra with one document for all tenants.
async fn multi_tenant() -> (FakeIdp, Adapter) {
    let idp = FakeIdp::start("/common/v2.0").await;
    let template = format!("{}/{{tenantid}}/v2.0", idp.fake.origin);
    idp.discover(&json!({ "issuer": template }));
    idp.publish(&json!([idp.jwk(&json!({ "issuer": template }))]));
    let issuer = IssuerRule::Tenants { template, allowed: vec![A.to_owned(), B.to_owned()] };
    let adapter = speaking(&idp, Dialect { issuer, ..Dialect::default() });
    (idp, adapter)
}

fn of_tenant(idp: &FakeIdp, tenant: &str) -> String {
    format!("{}/{tenant}/v2.0", idp.fake.origin)
}

#[tokio::test]
async fn a_person_of_an_allowed_tenant_is_one_of_that_tenants_issuer() {
    let (idp, adapter) = multi_tenant().await;
    for tenant in [A, B] {
        let issuer = of_tenant(&idp, tenant);
        let token = idp.token(&json!({ "iss": issuer, "tid": tenant, "email": "a@example.com" }));
        for identity in [by_code(&idp, &adapter, &token).await, adapter.verify(&token, None).await]
        {
            let identity = identity.unwrap();
            assert_eq!(identity.identity.issuer, issuer);
            assert_eq!(identity.identity.subject, "somebody");
            assert_eq!(identity.claims.find("email"), None, "nobody vouches for it");
        }
    }
}

#[tokio::test]
async fn case_23_a_tenants_token_is_good_for_that_tenant_alone() {
    let (idp, adapter) = multi_tenant().await;
    let other = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let literal = of_tenant(&idp, "{tenantid}");
    for (name, claims) in [
        ("a tenant not allowed", json!({ "iss": of_tenant(&idp, other), "tid": other })),
        ("another tenant's issuer", json!({ "iss": of_tenant(&idp, B), "tid": A })),
        ("a tenant not allowed in the issuer", json!({ "iss": of_tenant(&idp, other), "tid": A })),
        ("an allowed tenant claimed", json!({ "iss": of_tenant(&idp, other), "tid": B })),
        ("the template itself", json!({ "iss": literal, "tid": "{tenantid}" })),
        ("the template with a tenant", json!({ "iss": literal, "tid": A })),
        ("the shared issuer", json!({ "iss": idp.issuer, "tid": A })),
        ("the shared issuer's name", json!({ "iss": idp.issuer, "tid": "common" })),
        ("no tenant", json!({ "iss": of_tenant(&idp, A) })),
        (
            "a tenant in upper case",
            json!({ "iss": of_tenant(&idp, &A.to_uppercase()), "tid": A.to_uppercase() }),
        ),
        (
            "a tenant with a path",
            json!({ "iss": of_tenant(&idp, &format!("{A}/x")), "tid": format!("{A}/x") }),
        ),
        ("another slash", json!({ "iss": format!("{}/", of_tenant(&idp, A)), "tid": A })),
        ("several tenants", json!({ "iss": of_tenant(&idp, A), "tid": [A] })),
    ] {
        let token = idp.token(&claims);
        for refused in [adapter.verify(&token, None).await, by_code(&idp, &adapter, &token).await] {
            assert!(
                matches!(refused, Err(ProviderError::IdTokenRefused(_))),
                "{name}: {refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn case_23_a_key_of_one_tenant_signs_for_no_other() {
    for (issuer, good) in [(A, true), (B, false), ("9188040d-6c67-4c5b-b112-36a304b66dad", false)] {
        let (idp, adapter) = multi_tenant().await;
        idp.publish(&json!([idp.jwk(&json!({ "issuer": of_tenant(&idp, issuer) }))]));
        let token = idp.token(&json!({ "iss": of_tenant(&idp, A), "tid": A }));
        for result in [adapter.verify(&token, None).await, by_code(&idp, &adapter, &token).await] {
            match result {
                Ok(_) => assert!(good, "{issuer}"),
                Err(ProviderError::IdTokenRefused(reason)) => assert!(!good, "{issuer}: {reason}"),
                Err(error) => panic!("{issuer}: {error}"),
            }
        }
    }
}

async fn renew(
    idp: &FakeIdp,
    adapter: &Adapter,
    issuer: &str,
    id_token: &str,
) -> Result<Renewal, ProviderError> {
    idp.grant(id_token);
    let identity = ExternalIdentity { issuer: issuer.to_owned(), subject: "somebody".to_owned() };
    adapter.provider.renew(&ProviderRefreshToken::new("some-token"), &identity).await
}

#[tokio::test]
async fn somebody_asked_about_again_is_of_the_same_tenant() {
    let (idp, adapter) = multi_tenant().await;
    let [a, b] = [A, B].map(|tenant| of_tenant(&idp, tenant));
    let of_a = idp.token(&json!({ "iss": a, "tid": A, "groups": ["x"] }));
    let renewal = renew(&idp, &adapter, &a, &of_a).await.unwrap();
    assert!(renewal.claims.unwrap().find("groups").is_some());
    let sent = idp.fake.requests("/token").len();
    let refused = renew(&idp, &adapter, &b, &of_a).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
    assert_eq!(idp.fake.requests("/token").len(), sent + 1);
    // A tenant that is not let in any more, the shared name, another server.
    let gone = of_tenant(&idp, "9188040d-6c67-4c5b-b112-36a304b66dad");
    for issuer in [gone.as_str(), &idp.issuer, "https://idp.example.com"] {
        let refused = renew(&idp, &adapter, issuer, &of_a).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{issuer}: {refused:?}");
    }
    assert_eq!(idp.fake.requests("/token").len(), sent + 1, "and their tokens stay here");
}

#[tokio::test]
async fn somebody_asked_about_again_is_held_to_the_rules_of_a_sign_in() {
    let idp = FakeIdp::start("").await;
    let adapter = speaking(&idp, Dialect::default().with_hosted_domain("example.com"));
    let good = idp.token(&json!({ "hd": "example.com" }));
    renew(&idp, &adapter, &idp.issuer, &good).await.unwrap();
    let refused = renew(&idp, &adapter, &idp.issuer, &idp.token(&json!({}))).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");

    let overage = in_too_many_groups(&idp);
    let refusing = with_overage(&idp, GroupOverage::Refuse);
    let refused = renew(&idp, &refusing, &idp.issuer, &overage).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
    let following = with_overage(&idp, GroupOverage::Follow(graph(&idp, "/me/getMemberObjects")));
    idp.fake.page("/me/getMemberObjects", Reply::json(&json!({ "value": ["a"] })));
    let renewal = renew(&idp, &following, &idp.issuer, &overage).await.unwrap();
    let groups: Vec<_> = renewal.claims.as_ref().unwrap().find("groups").unwrap().texts().collect();
    assert_eq!(groups, ["a"]);
}

#[tokio::test]
async fn a_refresh_token_is_shown_with_what_the_dialect_adds() {
    let idp = FakeIdp::start("/adfs").await;
    let resource = ("resource".to_owned(), "urn:example:api?a&b=c".to_owned());
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let es256 = AssertionAlgorithm::Es256;
    let assertions = AssertionKey::from_pem(&pem(&key), es256).unwrap();
    let dialect = Dialect {
        token_parameters: vec![resource],
        ..authenticating(ClientAuthentication::PrivateKeyJwt(assertions))
    };
    let adapter = speaking(&idp, dialect);
    renew(&idp, &adapter, &idp.issuer, &idp.token(&json!({}))).await.unwrap();
    let form = idp.fake.requests("/token").pop().unwrap().form();
    let names: Vec<_> = form.keys().map(String::as_str).collect();
    let expected = [
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "grant_type",
        "refresh_token",
        "resource",
    ];
    assert_eq!(names, expected);
    assert_eq!((&*form["grant_type"], &*form["refresh_token"]), ("refresh_token", "some-token"));
    assert_eq!(form["resource"], "urn:example:api?a&b=c");
    opened(&form["client_assertion"], es256, &key);
}

#[tokio::test]
async fn case_23_a_logout_token_is_good_for_its_own_tenant_alone() {
    let (idp, adapter) = multi_tenant().await;
    let logout = |changes: &Value| {
        let mut claims = json!({
            "jti": "1", "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        crate::fake::merge(&mut claims, changes);
        idp.token(&claims)
    };
    let [a, b] = [A, B].map(|tenant| of_tenant(&idp, tenant));
    let order = adapter.verify_logout(&logout(&json!({ "iss": a, "tid": A }))).await.unwrap();
    assert_eq!((order.issuer, order.subject.as_deref()), (a.clone(), Some("somebody")));
    let other = "9188040d-6c67-4c5b-b112-36a304b66dad";
    for claims in [
        json!({ "iss": b, "tid": A }),
        json!({ "iss": a }),
        json!({ "iss": idp.issuer, "tid": A }),
        json!({ "iss": of_tenant(&idp, other), "tid": other }),
    ] {
        let refused = adapter.verify_logout(&logout(&claims)).await;
        assert!(matches!(refused, Err(ProviderError::LogoutTokenRefused(_))), "{claims}");
    }
    // A key that signs for one tenant alone.
    for (tenant, is_good) in [(A, true), (B, false)] {
        let (idp, adapter) = multi_tenant().await;
        idp.publish(&json!([idp.jwk(&json!({ "issuer": of_tenant(&idp, tenant) }))]));
        let token = idp.token(&json!({
            "iss": of_tenant(&idp, A), "tid": A, "jti": "1",
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        }));
        match adapter.verify_logout(&token).await {
            Ok(_) => assert!(is_good, "{tenant}"),
            Err(ProviderError::LogoutTokenRefused(reason)) => assert!(!is_good, "{reason}"),
            Err(error) => panic!("{tenant}: {error}"),
        }
    }
}

#[tokio::test]
async fn case_13_the_shared_document_names_the_template_and_nothing_else() {
    let (idp, adapter) = multi_tenant().await;
    for issuer in [of_tenant(&idp, A), idp.issuer.clone(), format!("{}/{{tenantid}}", idp.issuer)] {
        idp.discover(&json!({ "issuer": issuer }));
        let failed = adapter.redeem("some-code", None).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{issuer}: {failed:?}");
    }
}

fn in_too_many_groups(idp: &FakeIdp) -> String {
    idp.token(&json!({
        "_claim_names": { "groups": "src1" },
        // Nobody goes there: it is not the configured place.
        "_claim_sources": { "src1": { "endpoint": format!("{}/claimed", idp.fake.origin) } },
    }))
}

fn with_overage(idp: &FakeIdp, group_overage: GroupOverage) -> Adapter {
    speaking(idp, Dialect { group_overage, ..Dialect::default() })
}

fn graph(idp: &FakeIdp, path: &str) -> GraphGroups {
    GraphGroups::at(Url::parse(&format!("{}{path}", idp.fake.origin)).unwrap())
}

#[tokio::test]
async fn case_31_group_overage_is_ignored_or_refused_as_configured() {
    let idp = FakeIdp::start("").await;
    let token = in_too_many_groups(&idp);
    let ignoring = with_overage(&idp, GroupOverage::Ignore);
    assert_eq!(by_code(&idp, &ignoring, &token).await.unwrap().claims.find("groups"), None);
    let refusing = with_overage(&idp, GroupOverage::Refuse);
    for refused in [by_code(&idp, &refusing, &token).await, refusing.verify(&token, None).await] {
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
    }
    by_code(&idp, &refusing, &idp.token(&json!({ "groups": ["a"] }))).await.unwrap();
    assert!(idp.fake.requests("/claimed").is_empty());
}

#[tokio::test]
async fn case_31_group_overage_is_followed_to_the_configured_endpoint() {
    let idp = FakeIdp::start("").await;
    let path = "/v1.0/me/getMemberObjects";
    let token = in_too_many_groups(&idp);
    let adapter = with_overage(&idp, GroupOverage::Follow(graph(&idp, path)));
    idp.fake.page(path, Reply::json(&json!({ "value": ["c", "a", "b", "a"] })));
    let identity = by_code(&idp, &adapter, &token).await.unwrap();
    let groups = ["a", "b", "c"].map(|id| ClaimValue::Text(id.to_owned()));
    assert_eq!(identity.claims.find("groups"), Some(&ClaimValue::List(groups.to_vec())));
    let request = idp.fake.requests(path).pop().unwrap();
    assert_eq!(request.method, "POST");
    assert_eq!(request.header("authorization"), Some(&*format!("Bearer {ACCESS_TOKEN}")));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.body, r#"{"securityEnabledOnly":false}"#);
    assert!(idp.fake.requests("/claimed").is_empty());

    // The endpoint is not asked about somebody with few groups, and cannot be asked without an
    // access token.
    let few = idp.token(&json!({ "groups": ["a"] }));
    by_code(&idp, &adapter, &few).await.unwrap();
    adapter.verify(&few, None).await.unwrap();
    let refused = adapter.verify(&token, None).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
    assert_eq!(idp.fake.requests(path).len(), 1);
}

#[tokio::test]
async fn case_31_a_list_of_groups_is_read_page_by_page_and_not_for_ever() {
    let idp = FakeIdp::start("").await;
    let adapter = |max_pages| {
        let endpoint = graph(&idp, "/me/transitiveMemberOf?$select=id");
        with_overage(&idp, GroupOverage::Follow(GraphGroups { max_pages, ..endpoint }))
    };
    let next = |path: &str| json!(format!("{}{path}", idp.fake.origin));
    idp.fake.page(
        "/me/transitiveMemberOf",
        Reply::json(
            &json!({ "value": [{ "id": "2", "x": 1 }], "@odata.nextLink": next("/second") }),
        ),
    );
    idp.fake.page("/second", Reply::json(&json!({ "value": [{ "id": "1" }] })));
    let token = in_too_many_groups(&idp);
    let identity = by_code(&idp, &adapter(2), &token).await.unwrap();
    let groups: Vec<_> = identity.claims.find("groups").unwrap().texts().collect();
    assert_eq!(groups, ["1", "2"]);
    for path in ["/me/transitiveMemberOf", "/second"] {
        let request = idp.fake.requests(path).pop().unwrap();
        assert_eq!(request.method, "GET");
        assert_eq!(request.header("authorization"), Some(&*format!("Bearer {ACCESS_TOKEN}")));
    }
    let failed = by_code(&idp, &adapter(1), &token).await;
    assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{failed:?}");
    // A list without an end.
    idp.fake
        .page("/second", Reply::json(&json!({ "value": [], "@odata.nextLink": next("/second") })));
    let before = idp.fake.requests("/second").len();
    let failed = by_code(&idp, &adapter(5), &token).await;
    assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{failed:?}");
    assert_eq!(idp.fake.requests("/second").len(), before + 4);
}

#[tokio::test]
async fn the_access_token_follows_no_link_to_another_server() {
    let (idp, other) = (FakeIdp::start("").await, FakeIdp::start("").await);
    let adapter = with_overage(&idp, GroupOverage::Follow(graph(&idp, "/me/getMemberGroups")));
    for next in [format!("{}/next", other.fake.origin), "/next".to_owned(), "file:///x".to_owned()]
    {
        let page = json!({ "value": [], "@odata.nextLink": next });
        idp.fake.page("/me/getMemberGroups", Reply::json(&page));
        let failed = by_code(&idp, &adapter, &in_too_many_groups(&idp)).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{next}: {failed:?}");
    }
    assert!(other.fake.requests("/next").is_empty() && idp.fake.requests("/next").is_empty());
}

#[tokio::test]
async fn groups_that_cannot_be_had_fail_the_sign_in() {
    let idp = FakeIdp::start("").await;
    let path = "/me/getMemberObjects";
    let adapter = with_overage(&idp, GroupOverage::Follow(graph(&idp, path)));
    let denied = json!({ "error": { "code": "Authorization_RequestDenied" } });
    for (reply, misbehaviour) in [
        (Reply::json(&denied).status(403), Misbehaviour::BadAnswer),
        (Reply::json(&json!({ "value": ["a"] })).status(500), Misbehaviour::Outage),
        (Reply::json(&json!({ "value": [7] })), Misbehaviour::BadAnswer),
        (Reply::json(&json!({})), Misbehaviour::BadAnswer),
        (Reply::json(&json!({ "value": ["x".repeat(300_000)] })), Misbehaviour::BadAnswer),
    ] {
        idp.fake.page(path, reply);
        let failed = by_code(&idp, &adapter, &in_too_many_groups(&idp)).await.unwrap_err();
        assert_eq!(failed, ProviderError::Misbehaved(misbehaviour, "".into()));
    }
    idp.fake.page(path, Reply::json(&json!({ "value": ["a"] })));
    by_code(&idp, &adapter, &in_too_many_groups(&idp)).await.unwrap();
    assert_eq!(idp.fake.requests(path).len(), 6);
}

#[tokio::test]
async fn a_hosted_domain_lets_its_own_people_in_alone() {
    let idp = FakeIdp::start("").await;
    let adapter = speaking(&idp, Dialect::default().with_hosted_domain("example.com"));
    let good = idp.token(&json!({ "hd": "example.com" }));
    by_code(&idp, &adapter, &good).await.unwrap();
    for claims in [
        json!({}),
        json!({ "hd": "evil.com" }),
        json!({ "hd": "example.com.evil.com" }),
        json!({ "hd": "" }),
        json!({ "hd": ["example.com"] }),
        json!({ "email": "a@example.com", "email_verified": true }),
    ] {
        let token = idp.token(&claims);
        for refused in [by_code(&idp, &adapter, &token).await, adapter.verify(&token, None).await] {
            assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{claims}");
        }
    }
}

#[tokio::test]
async fn cognitos_access_token_is_no_id_token() {
    let idp = FakeIdp::start("/eu-central-1_Abc").await;
    let required = Preset::find("cognito").unwrap().required_claims.iter();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let dialect = Dialect { required_claims: required.map(owned).collect(), ..Dialect::default() };
    let adapter = speaking(&idp, dialect);
    by_code(&idp, &adapter, &idp.token(&json!({ "token_use": "id" }))).await.unwrap();
    for claims in [json!({ "token_use": "access" }), json!({})] {
        let refused = by_code(&idp, &adapter, &idp.token(&claims)).await;
        assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn ad_fs_signs_id_tokens_as_the_issuer_of_its_document() {
    let idp = FakeIdp::start("/adfs").await;
    let of_access_tokens = format!("{}/adfs/services/trust", idp.fake.origin);
    idp.discover(&json!({
        "access_token_issuer": of_access_tokens,
        "microsoft_multi_refresh_token": true,
        "capabilities": ["kdf_ver2"],
        "token_endpoint_auth_methods_supported":
            ["client_secret_post", "client_secret_basic", "private_key_jwt", "windows_client_authentication"],
    }));
    let adapter = speaking(&idp, Dialect::default());
    let claims = json!({
        "sub": "mKQ1pLC9uWRCTz1y3mUO4VnqxnkDUMzOjGVZYNTAeXY=", "upn": "ada@corp.example.com",
        "unique_name": "CORP\\ada", "apptype": "Confidential", "ver": "1.0",
    });
    let identity = by_code(&idp, &adapter, &idp.token(&claims)).await.unwrap();
    assert_eq!(identity.identity.subject, "mKQ1pLC9uWRCTz1y3mUO4VnqxnkDUMzOjGVZYNTAeXY=");
    let upn = ClaimValue::Text("ada@corp.example.com".to_owned());
    assert_eq!(identity.claims.find("upn"), Some(&upn));
    let mut access_token = claims;
    access_token["iss"] = json!(of_access_tokens);
    let refused = by_code(&idp, &adapter, &idp.token(&access_token)).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "{refused:?}");
    let mut nobody = json!({ "upn": "ada@corp.example.com", "sub": null });
    nobody["unique_name"] = json!("CORP\\ada");
    let refused = by_code(&idp, &adapter, &idp.token(&nobody)).await;
    assert!(matches!(refused, Err(ProviderError::IdTokenRefused(_))), "a UPN is no subject");
}

#[tokio::test]
async fn apple_says_a_name_once_at_most_and_its_text_true_vouches_for_nothing() {
    let idp = FakeIdp::start("").await;
    let adapter = speaking(&idp, Dialect::default());
    for (verified, kept) in [(json!("true"), false), (json!(true), true)] {
        let token = idp.token(&json!({
            "sub": "001999.0123456789abcdef.1234", "email": "x@privaterelay.appleid.com",
            "email_verified": verified, "is_private_email": "true", "nonce_supported": true,
            "real_user_status": 2, "auth_time": now_secs(),
        }));
        let identity = by_code(&idp, &adapter, &token).await.unwrap();
        assert_eq!(identity.claims.find("email").is_some(), kept, "{verified}");
        assert_eq!(identity.claims.find("name"), None);
    }
}

#[tokio::test]
async fn people_are_sent_where_the_discovery_document_says() {
    let idp = FakeIdp::start("").await;
    let url = format!("{}/authorize", idp.fake.origin);
    for (flag, names_issuer) in [
        (Value::Null, false),
        (json!(false), false),
        (json!("no"), false),
        (json!(true), true),
        (json!("true"), true),
    ] {
        idp.discover(&json!({ "authorization_response_iss_parameter_supported": flag }));
        let endpoint = speaking(&idp, Dialect::default()).provider.authorization_endpoint().await;
        let expected = AuthorizationEndpoint { url: url.clone(), names_issuer, scopes: None };
        assert_eq!(endpoint.unwrap(), expected, "{flag}");
    }
    for wrong in
        ["http://idp.example.com/authorize", "https://u:p@idp.example.com", "https://10.0.0.1/a"]
    {
        idp.discover(&json!({ "authorization_endpoint": wrong }));
        let adapter = speaking(&idp, Dialect::default());
        let failed = adapter.provider.authorization_endpoint().await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{wrong}: {failed:?}");
    }
}
