//! Apple's dialect.

use josekit::jws::{ES256, JwsHeader};
use josekit::jwt::{self, JwtPayload};
use mintgate_mock_idp::{
    ClientKey, ClientKeyPair, Dialect, DialectOptions, IdTokenAlg, MockConfig,
};
use serde_json::{Map, Value, json};

use super::{Pair, answered, config, id_claims, text};
use crate::support::{CLIENT, Mock, now_secs, start};

const ASKED: [Pair<'_>; 2] = [("scope", "openid name email"), ("response_mode", "form_post")];

struct Apple {
    mock: Mock,
    private_pem: String,
}

async fn apple(change: impl FnOnce(&mut MockConfig)) -> Apple {
    let pair = ClientKeyPair::generate(IdTokenAlg::Es256);
    let mut config = config(Dialect::Apple);
    config.client_keys = vec![ClientKey {
        kid: Some("ABC123DEFG".into()),
        team_id: Some("TEAM123456".into()),
        ..ClientKey::new(CLIENT.0, &pair.public_pem, IdTokenAlg::Es256)
    }];
    change(&mut config);
    Apple { mock: start(config).await, private_pem: pair.private_pem }
}

impl Apple {
    /// A client secret with some claims changed; null removes one.
    fn secret(&self, kid: &str, changes: &Value) -> String {
        let now = now_secs();
        let mut claims = json!({
            "iss": "TEAM123456", "sub": CLIENT.0, "aud": "https://appleid.apple.com",
            "iat": now, "exp": now + 3600,
        });
        let claims: &mut Map<_, _> = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            claims.insert(name.clone(), value.clone());
        }
        claims.retain(|_, value| !value.is_null());
        let mut header = JwsHeader::new();
        header.set_key_id(kid);
        let signer = ES256.signer_from_pem(&self.private_pem).unwrap();
        let payload = JwtPayload::from_map(claims.clone()).unwrap();
        jwt::encode_with_signer(&payload, &header, &signer).unwrap()
    }

    fn good_secret(&self) -> String {
        self.secret("ABC123DEFG", &json!({}))
    }

    async fn log_in(&self, user: &str) -> Value {
        let code = self.mock.code(user, &ASKED).await["code"].clone();
        let secret = self.good_secret();
        let answer = self.mock.redeem(&code, &[("client_secret", &secret)]).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }
}

#[tokio::test]
async fn a_login_comes_by_form_and_its_flags_are_text() {
    let apple = apple(|config| config.users[0].email = "x1@privaterelay.appleid.com".into()).await;
    let document = apple.mock.discovered().await;
    assert_eq!(document["token_endpoint_auth_methods_supported"], json!(["client_secret_post"]));
    assert!(document.get("userinfo_endpoint").is_none());
    let tokens = apple.log_in("alice").await;
    assert!(tokens["refresh_token"].is_string());
    let claims = id_claims(&tokens);
    assert_eq!(
        (&claims["email_verified"], &claims["is_private_email"]),
        (&json!("true"), &json!("true"))
    );
    assert_eq!((&claims["nonce"], &claims["nonce_supported"]), (&json!("n-0S6"), &json!(true)));
    assert!(!claims.contains_key("name") && !claims.contains_key("groups"));
    let bob = id_claims(&apple.log_in("bob").await);
    assert!(!bob.contains_key("is_private_email"));
}

#[tokio::test]
async fn flags_can_be_booleans() {
    let apple = apple(|config| {
        config.options = DialectOptions { flags_as_text: false, ..DialectOptions::default() };
    })
    .await;
    assert_eq!(id_claims(&apple.log_in("alice").await)["email_verified"], true);
}

#[tokio::test]
async fn the_name_comes_at_the_first_login_alone() {
    let apple = apple(|_| {}).await;
    let first = apple.mock.code("alice", &ASKED).await;
    let user: Value = serde_json::from_str(&first["user"]).unwrap();
    let expected = json!({
        "name": { "firstName": "Alice", "lastName": "Admin" }, "email": "alice@example.com",
    });
    assert_eq!(user, expected);
    assert!(!apple.mock.code("alice", &ASKED).await.contains_key("user"));
    assert!(apple.mock.code("bob", &ASKED).await.contains_key("user"));
}

#[tokio::test]
async fn name_and_email_are_only_given_by_form() {
    let apple = apple(|_| {}).await;
    let endpoint = &apple.mock.idp.urls().authorize;
    for (scope, mode) in [("openid name", "query"), ("email", "fragment")] {
        let changes = [("scope", scope), ("response_mode", mode)];
        let answer = apple.mock.pick(endpoint, "alice", &changes).await;
        assert_eq!(answer.status(), 400);
        assert!(answer.text().await.unwrap().contains("response_mode must be form_post"));
    }
    let plain = [("scope", "openid"), ("response_mode", "query")];
    assert_eq!(apple.mock.pick(endpoint, "alice", &plain).await.status(), 303);
}

#[tokio::test]
async fn a_wrong_or_expired_client_secret_is_an_invalid_client_and_the_code_lives_on() {
    let apple = apple(|_| {}).await;
    let other = ClientKeyPair::generate(IdTokenAlg::Es256);
    let forged =
        Apple { mock: super::speaking(Dialect::Apple).await, private_pem: other.private_pem };
    let code = apple.mock.code("alice", &ASKED).await["code"].clone();
    let now = now_secs();
    let kid = "ABC123DEFG";
    let secrets = [
        CLIENT.1.to_owned(),
        forged.good_secret(),
        apple.secret("OTHERKEY00", &json!({})),
        apple.secret(kid, &json!({ "iat": now - 7200, "exp": now - 1 })),
        apple.secret(kid, &json!({ "exp": null })),
        apple.secret(kid, &json!({ "exp": now + 15_777_060 })),
        apple.secret(kid, &json!({ "iss": CLIENT.0 })),
        apple.secret(kid, &json!({ "sub": "TEAM123456" })),
        apple.secret(kid, &json!({ "aud": "https://appleid.apple.com/" })),
        apple.secret(kid, &json!({ "aud": null })),
    ];
    for secret in &secrets {
        let answer = answered(apple.mock.redeem(&code, &[("client_secret", secret)]).await).await;
        assert_eq!(answer, (400, json!({ "error": "invalid_client" })), "{secret}");
    }
    let issuer = json!({ "aud": apple.mock.idp.issuer() });
    let secret = apple.secret(kid, &issuer);
    let answer = apple.mock.redeem(&code, &[("client_secret", &secret)]).await;
    assert_eq!(answer.status(), 200);
    let (status, body) =
        answered(apple.mock.redeem(&code, &[("client_secret", &secret)]).await).await;
    assert_eq!((status, text(&body["error"])), (400, "invalid_grant"));
}
