//! What every dialect has in common is tested of the plain one.

use mintgate_mock_idp::{Dialect, Faults, MockConfig, Refusal};
use serde_json::json;

use super::{answered, config, id_claims, speaking};
use crate::support::start;

#[tokio::test]
async fn the_response_names_its_issuer_or_not_as_it_is_switched() {
    for (dialect, switch, names) in [
        (Dialect::Plain, None, true),
        (Dialect::Plain, Some(false), false),
        (Dialect::Okta, None, false),
        (Dialect::Okta, Some(true), true),
    ] {
        let mock = start(MockConfig { iss_parameter: switch, ..config(dialect) }).await;
        let document = mock.discovered().await;
        assert_eq!(document["authorization_response_iss_parameter_supported"], names);
        let response = mock.code("alice", &[]).await;
        let issuer = names.then(|| mock.idp.issuer().to_owned());
        assert_eq!(response.get("iss"), issuer.as_ref(), "{dialect} {switch:?}");
    }
}

#[tokio::test]
async fn a_session_id_is_made_up_and_can_be_chosen() {
    let mock = speaking(Dialect::Plain).await;
    let first = id_claims(&mock.log_in("alice", &[]).await);
    let second = id_claims(&mock.log_in("alice", &[]).await);
    assert!(first["sid"].is_string());
    assert_ne!(first["sid"], second["sid"]);
}

#[tokio::test]
async fn an_ordered_refusal_is_given_in_the_dialects_words_and_leaves_the_code() {
    let cases = [
        (Dialect::Plain, 401, "invalid_client"),
        (Dialect::Entra, 401, "invalid_client"),
        (Dialect::Apple, 400, "invalid_client"),
        (Dialect::Adfs, 400, "invalid_client"),
        (Dialect::Auth0, 401, "access_denied"),
        (Dialect::Keycloak, 401, "unauthorized_client"),
    ];
    for (dialect, status, error) in cases {
        let mock = speaking(dialect).await;
        let refusal = Some(Refusal::ExpiredClient);
        mock.idp.control().set_faults(Faults { refusal, ..Faults::default() });
        let answer = answered(mock.redeem("any", &[]).await).await;
        assert_eq!((answer.0, &answer.1["error"]), (status, &json!(error)), "{dialect}");
        assert_eq!(mock.idp.control().stats().refused_codes, 0);
    }
}

#[tokio::test]
async fn an_announced_key_is_published_before_it_signs_and_the_former_stays() {
    let mock = speaking(Dialect::Plain).await;
    let kids = async || {
        let keys = mock.get_json("/jwks").await;
        let keys = keys["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let signs = async || {
        let tokens = mock.log_in("alice", &[]).await;
        let kid = &crate::support::part(tokens["id_token"].as_str().unwrap(), 0)["kid"];
        kid.as_str().unwrap().to_owned()
    };
    let old = signs().await;
    let new = mock.idp.control().announce_key();
    assert_eq!(kids().await, [old.clone(), new.clone()]);
    assert_eq!(signs().await, old);

    mock.idp.control().take_announced_key();
    assert_eq!(signs().await, new);
    assert_eq!(kids().await, [new.clone(), old.clone()]);

    let unannounced = mock.idp.control().rotate_keys();
    assert_eq!(signs().await, unannounced);
    assert_eq!(kids().await, [unannounced]);
}
