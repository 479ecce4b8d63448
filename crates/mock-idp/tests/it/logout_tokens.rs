//! Logout tokens: the genuine one is as OpenID Connect Back-Channel Logout 1.0 §2.4 has it, and
//! each fault breaks one rule of it.

use mintgate_mock_idp::{
    Dialect, IdTokenAlg, IdTokenRecipe, LogoutOrder, LogoutTokenFault, MockConfig, SignIn,
};
use serde_json::{Map, Value, json};

use crate::support::{Mock, mock, now_secs, part, sign_in, start};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fn order() -> LogoutOrder {
    let sign_in = SignIn { sid: Some("session-1".into()), ..sign_in() };
    LogoutOrder { sign_in, ..LogoutOrder::default() }
}

fn claims(mock: &Mock, order: &LogoutOrder) -> Map<String, Value> {
    part(&mock.idp.control().logout_token(order), 1)
}

#[tokio::test]
async fn the_genuine_one_has_all_it_needs_and_no_nonce() {
    let mock = mock().await;
    let document = mock.get_json("/.well-known/openid-configuration").await;
    assert_eq!(document["backchannel_logout_supported"], true);
    assert_eq!(document["backchannel_logout_session_supported"], true);
    let token = mock.idp.control().logout_token(&order());
    assert_eq!(part(&token, 0)["typ"], "logout+jwt");
    let claims = part(&token, 1);
    assert_eq!(claims["iss"], mock.idp.issuer());
    assert_eq!(claims["aud"], "mintgate");
    assert_eq!((&claims["sub"], &claims["sid"]), (&json!("mock|alice"), &json!("session-1")));
    assert_eq!(claims["events"], json!({ EVENT: {} }));
    assert!(claims["jti"].is_string() && !claims.contains_key("nonce"));
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert_eq!(exp, iat + 120);
    assert!((iat - now_secs()).abs() < 60);
}

#[tokio::test]
async fn it_names_a_person_a_session_or_both() {
    let mock = mock().await;
    let person = LogoutOrder { sign_in: sign_in(), ..LogoutOrder::default() };
    assert!(!claims(&mock, &person).contains_key("sid"));
    let session = LogoutOrder { without_sub: true, ..order() };
    let session = claims(&mock, &session);
    assert_eq!((session.get("sub"), &session["sid"]), (None, &json!("session-1")));
}

#[tokio::test]
async fn its_names_are_those_of_the_dialects_id_tokens() {
    let config = MockConfig {
        dialect: Dialect::Entra,
        id_token_alg: IdTokenAlg::EdDsa,
        ..MockConfig::default()
    };
    let mock = start(config).await;
    let id_token = mock.idp.control().issue_id_token(&sign_in(), &IdTokenRecipe::default());
    let id_token = part(&id_token, 1);
    let logout = claims(&mock, &order());
    assert_eq!((&logout["iss"], &logout["sub"]), (&id_token["iss"], &id_token["sub"]));
}

#[tokio::test]
async fn each_fault_is_one_rule_broken() {
    let mock = mock().await;
    let now = now_secs();
    for fault in LogoutTokenFault::ALL {
        let token = mock.idp.control().logout_token(&LogoutOrder { fault: Some(fault), ..order() });
        let (header, claims) = (part(&token, 0), part(&token, 1));
        let time = |name: &str| claims[name].as_i64().unwrap();
        let signature = token.rsplit('.').next().unwrap();
        let broken = match fault {
            LogoutTokenFault::NoEvents => !claims.contains_key("events"),
            LogoutTokenFault::OtherEvent => claims["events"].get(EVENT).is_none(),
            LogoutTokenFault::EventIsText => claims["events"][EVENT].is_string(),
            LogoutTokenFault::WithNonce => claims.contains_key("nonce"),
            LogoutTokenFault::NeitherSubNorSid => {
                !claims.contains_key("sub") && !claims.contains_key("sid")
            }
            LogoutTokenFault::OtherIssuer => claims["iss"] != mock.idp.issuer(),
            LogoutTokenFault::OtherAudience => claims["aud"] != "mintgate",
            LogoutTokenFault::Expired => time("exp") < now,
            LogoutTokenFault::NoIat => !claims.contains_key("iat"),
            LogoutTokenFault::FutureIat => time("iat") > now + 600,
            LogoutTokenFault::NoJti => !claims.contains_key("jti"),
            LogoutTokenFault::AccessTokenType => header["typ"] == "at+jwt",
            LogoutTokenFault::Unsigned => header["alg"] == "none" && signature.is_empty(),
            LogoutTokenFault::AttackerKey => header["alg"] == "EdDSA" && !signature.is_empty(),
            LogoutTokenFault::HmacWithClientSecret => header["alg"] == "HS256",
        };
        assert!(broken, "{fault:?}: {header:?} {claims:?}");
        if fault != LogoutTokenFault::AccessTokenType {
            assert_eq!(header["typ"], "logout+jwt", "{fault:?}");
        }
    }
}

#[tokio::test]
async fn one_can_be_ordered_over_http() {
    let mock = mock().await;
    let order = json!({
        "signIn": { "user": "bob", "sid": "s" }, "fault": "withNonce", "claims": { "jti": "j" },
    });
    let answer = mock.http.post(mock.url("/control/logout-token")).json(&order).send().await;
    let answer: Value = answer.unwrap().json().await.unwrap();
    let claims = part(answer["logoutToken"].as_str().unwrap(), 1);
    assert_eq!((&claims["sub"], &claims["jti"]), (&json!("mock|bob"), &json!("j")));
    assert!(claims.contains_key("nonce"));
}
