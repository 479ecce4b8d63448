//! Clients that prove themselves by a signature: Apple's secrets, and `private_key_jwt`; and public
//! ones, which do not.

use super::{Place, place, speaking};
use mintgate_mock_idp::{ClientAuth, ClientKey, ClientKeyPair, Dialect, IdTokenAlg, MockConfig};
use reqwest::StatusCode;
use serde_json::json;

fn with_key(dialect: Dialect, pair: &ClientKeyPair) -> MockConfig {
    let key = ClientKey::new("mintgate", &pair.public_pem, IdTokenAlg::Es256);
    let (kid, team_id) = (Some("ABC123DEFG".to_owned()), Some("TEAM123456".to_owned()));
    let team_id = team_id.filter(|_| dialect == Dialect::Apple);
    let client_keys = vec![ClientKey { kid, team_id, ..key }];
    MockConfig { client_keys, ..speaking(dialect) }
}

async fn apple(known: &ClientKeyPair, ours: &ClientKeyPair) -> Place {
    let lines = format!(
        "preset = \"apple\"\nissuer = \"ISSUER\"\nteam_id = \"TEAM123456\"\n\
         client_key_id = \"ABC123DEFG\"\nclient_key = {:?}",
        ours.private_pem
    );
    place(with_key(Dialect::Apple, known), &lines, "").await
}

#[tokio::test]
async fn apple_signs_in_by_form_with_a_secret_that_is_minted_here() {
    let pair = ClientKeyPair::generate(IdTokenAlg::Es256);
    let place = apple(&pair, &pair).await;
    let begun = place.service.begin_login("p").await;
    assert!(begun.authorization_url.contains("response_mode=form_post"));
    let response = place.answer(&begun.authorization_url, "alice").await;
    assert!(response.contains_key("user"), "the name, this once, for the page alone");
    let finished = place.service.finish(&response, begun.cookie()).send().await.unwrap();
    assert_eq!(finished.status(), StatusCode::OK);
    let again = place.service.begin_login("p").await;
    let response = place.answer(&again.authorization_url, "alice").await;
    assert!(!response.contains_key("user"), "and never again");
    let said = place.claims_of("alice").await;
    let by_email = "Apple's documentation has \"true\" as a text";
    assert_eq!(said["roles"], json!(["staff", "user"]), "{by_email}");
}

#[tokio::test]
async fn apple_that_does_not_accept_our_key_is_our_fault_and_says_so() {
    let [known, ours] = [0, 1].map(|_| ClientKeyPair::generate(IdTokenAlg::Es256));
    let place = apple(&known, &ours).await;
    let reason = place.refusal("alice", StatusCode::BAD_GATEWAY, "PROVIDER_ERROR").await;
    assert!(reason.contains("invalid_client"), "{reason}");
}

#[tokio::test]
async fn a_client_that_signs_with_its_own_key_has_no_secret() {
    let pair = ClientKeyPair::generate(IdTokenAlg::Es256);
    let mut mock = with_key(Dialect::Plain, &pair);
    mock.client_auth = Some(vec![ClientAuth::PrivateKeyJwt]);
    let lines = format!(
        "issuer = \"ISSUER\"\nclient_auth = \"private_key_jwt\"\nclient_key_alg = \"ES256\"\n\
         client_key_id = \"ABC123DEFG\"\nclient_key = {:?}",
        pair.private_pem
    );
    let place = place(mock, &lines, "").await;
    assert_eq!(place.claims_of("alice").await["roles"], json!(["staff", "user"]));
}

#[tokio::test]
async fn a_public_client_has_nothing_but_pkce() {
    let mut mock = speaking(Dialect::Plain);
    mock.clients[0].secret = None;
    let place = place(mock, "issuer = \"ISSUER\"\nclient_auth = \"none\"", "").await;
    assert_eq!(place.claims_of("alice").await["roles"], json!(["staff", "user"]));
}
