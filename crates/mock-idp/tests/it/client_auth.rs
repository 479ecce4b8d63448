//! Clients that prove themselves by a signature (RFC 7523), and which ways are taken.

use josekit::jws::{ES256, JwsHeader};
use josekit::jwt::{self, JwtPayload};
use mintgate_mock_idp::{ClientAuth, ClientKey, ClientKeyPair, IdTokenAlg, MockClient, MockConfig};
use reqwest::Response;
use serde_json::{Value, json};

use crate::support::{CLIENT, Mock, REDIRECT_URI, grant, now_secs, refusal, sign_in, start};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct Signer {
    mock: Mock,
    private_pem: String,
}

/// A mock whose client `signer` has a key and no secret.
async fn signer() -> Signer {
    let pair = ClientKeyPair::generate(IdTokenAlg::Es256);
    let mut config = MockConfig { id_token_alg: IdTokenAlg::EdDsa, ..MockConfig::default() };
    config.clients.push(MockClient {
        id: "signer".into(),
        secret: None,
        redirect_uris: vec![REDIRECT_URI.into()],
    });
    config.client_keys = vec![ClientKey::new("signer", &pair.public_pem, IdTokenAlg::Es256)];
    Signer { mock: start(config).await, private_pem: pair.private_pem }
}

impl Signer {
    fn assertion(&self, jti: &str, changes: &Value) -> String {
        let now = now_secs();
        let mut claims = json!({
            "iss": "signer", "sub": "signer", "aud": self.mock.url("/token"),
            "iat": now, "exp": now + 60, "jti": jti,
        });
        let claims = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            claims.insert(name.clone(), value.clone());
        }
        claims.retain(|_, value| !value.is_null());
        let signer = ES256.signer_from_pem(&self.private_pem).unwrap();
        let payload = JwtPayload::from_map(claims.clone()).unwrap();
        jwt::encode_with_signer(&payload, &JwsHeader::new(), &signer).unwrap()
    }

    fn code(&self) -> String {
        let mut order = sign_in();
        order.client_id = "signer".into();
        self.mock.idp.control().issue_code(order)
    }

    async fn exchange(&self, code: &str, assertion: &str) -> Response {
        let mut form = grant(code);
        form.extend([("client_assertion_type", TYPE), ("client_assertion", assertion)]);
        self.mock.http.post(self.mock.url("/token")).form(&form).send().await.unwrap()
    }
}

#[tokio::test]
async fn a_signed_assertion_works_once() {
    let signer = signer().await;
    for audience in [signer.mock.url("/token"), signer.mock.idp.issuer().to_owned()] {
        let assertion = signer.assertion(&audience, &json!({ "aud": [audience] }));
        assert_eq!(signer.exchange(&signer.code(), &assertion).await.status(), 200);
        let again = signer.exchange(&signer.code(), &assertion).await;
        assert_eq!(refusal(again, 401).await, "invalid_client");
    }
}

#[tokio::test]
async fn a_wrong_assertion_is_refused_and_the_code_lives_on() {
    let signer = signer().await;
    let code = signer.code();
    let now = now_secs();
    let wrong = [
        json!({ "iss": "mintgate" }),
        json!({ "sub": "mintgate" }),
        json!({ "aud": "https://other.example.com" }),
        json!({ "aud": null }),
        json!({ "exp": now - 1 }),
        json!({ "exp": null }),
        json!({ "iat": now + 600 }),
        json!({ "nbf": now + 600 }),
        json!({ "jti": null }),
    ];
    for (index, changes) in wrong.iter().enumerate() {
        let assertion = signer.assertion(&format!("wrong-{index}"), changes);
        let answer = signer.exchange(&code, &assertion).await;
        assert_eq!(refusal(answer, 401).await, "invalid_client", "{changes}");
    }
    let good = signer.assertion("good", &json!({}));
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    for forged in [format!("{unsigned}."), format!("{unsigned}.AAAA"), unsigned.into(), "x".into()]
    {
        let answer = signer.exchange(&code, &forged).await;
        assert_eq!(refusal(answer, 401).await, "invalid_client", "{forged}");
    }
    assert_eq!(signer.exchange(&code, &good).await.status(), 200);
}

#[tokio::test]
async fn a_client_with_a_key_does_not_pass_by_its_name() {
    let signer = signer().await;
    let code = signer.code();
    let mut form = grant(&code);
    form.push(("client_id", "signer"));
    let url = signer.mock.url("/token");
    let by_name = signer.mock.http.post(&url).form(&form).send().await.unwrap();
    assert_eq!(refusal(by_name, 401).await, "invalid_client");
    let assertion = signer.assertion("twice", &json!({}));
    let mut form = grant(&code);
    form.extend([("client_assertion_type", TYPE), ("client_assertion", &assertion)]);
    let twice = signer.mock.http.post(&url).basic_auth("signer", Some("x")).form(&form);
    assert_eq!(refusal(twice.send().await.unwrap(), 400).await, "invalid_request");
}

#[tokio::test]
async fn ways_that_are_not_advertised_are_not_taken() {
    let all = [
        ClientAuth::ClientSecretBasic,
        ClientAuth::ClientSecretPost,
        ClientAuth::PrivateKeyJwt,
        ClientAuth::None,
    ];
    for only in all {
        let client_auth = Some(vec![only]);
        let mock = start(MockConfig {
            client_auth,
            id_token_alg: IdTokenAlg::EdDsa,
            ..MockConfig::default()
        })
        .await;
        let document = mock.get_json("/.well-known/openid-configuration").await;
        assert_eq!(document["token_endpoint_auth_methods_supported"], json!([only.name()]));
        let code = mock.idp.control().issue_code(sign_in());
        let by_basic = mock.exchange(&code).await.status();
        assert_eq!(by_basic == 200, only == ClientAuth::ClientSecretBasic, "{only:?}");
        let code = mock.idp.control().issue_code(sign_in());
        let mut form = grant(&code);
        form.extend([("client_id", CLIENT.0), ("client_secret", CLIENT.1)]);
        let by_post = mock.http.post(mock.url("/token")).form(&form).send().await.unwrap();
        assert_eq!(by_post.status() == 200, only == ClientAuth::ClientSecretPost, "{only:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_at_the_start() {
    let client_keys = vec![ClientKey::new("mintgate", "nonsense", IdTokenAlg::Es256)];
    let config = MockConfig { client_keys, ..MockConfig::default() };
    let problem = mintgate_mock_idp::MockIdp::start(config).await.unwrap_err();
    assert!(problem.to_string().contains("the key of client mintgate"), "{problem}");
}
