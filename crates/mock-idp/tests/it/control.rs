//! The control endpoints, and how the mock presents itself.

use mintgate_mock_idp::{FaultKind, Faults, Habit, IdTokenAlg, MockConfig, Stats};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Mock, REDIRECT_URI, mock, part, start};

async fn send(mock: &Mock, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = mock.http.request(method, format!("http://{}{path}", mock.idp.address()));
    let request = if let Some(body) = body { request.json(&body) } else { request };
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn faults_are_ordered_and_called_off_over_http() {
    let mock = mock().await;
    let order = json!({
        "jwks": { "kind": "status", "status": 503, "times": 1 },
        "token": { "kind": "huge" },
        "discovery": { "kind": "drip", "intervalMs": 5 },
        "userinfo": { "kind": "body", "body": "{}" },
        "idToken": { "sign": "attackerKeySameKid", "shape": "twoSegments", "rawHeader": "{}" },
    });
    assert_eq!(send(&mock, Method::PUT, "/control/faults", Some(order)).await.0, 204);
    assert_eq!(mock.get("/jwks").await.status(), 503);
    assert_eq!(mock.get("/jwks").await.status(), 200);

    let hang = json!({ "jwks": { "kind": "status", "status": 500 } });
    send(&mock, Method::PUT, "/control/faults", Some(hang)).await;
    assert_eq!(send(&mock, Method::DELETE, "/control/faults", None).await.0, 204);
    assert_eq!(mock.get("/jwks").await.status(), 200);
}

#[tokio::test]
async fn a_misspelt_order_is_refused() {
    let mock = mock().await;
    for order in [json!({ "jwk": null }), json!({ "jwks": { "kind": "explode" } })] {
        assert_eq!(send(&mock, Method::PUT, "/control/faults", Some(order)).await.0, 400);
    }
}

#[test]
fn faults_survive_json() {
    let kinds = [
        FaultKind::Delay { ms: 1 },
        FaultKind::Hang,
        FaultKind::Redirect { to: "x".into() },
        FaultKind::Huge { bytes: None },
        FaultKind::Huge { bytes: Some(u64::MAX) },
        FaultKind::Drip { interval_ms: 1 },
        FaultKind::Status { status: 500, body: "x".into() },
        FaultKind::Body { body: "x".into(), content_type: "y".into() },
        FaultKind::Close,
    ];
    for kind in kinds {
        let faults = Faults { token: Some(kind.times(3)), ..Faults::default() };
        let text = serde_json::to_string(&faults).unwrap();
        assert_eq!(serde_json::from_str::<Faults>(&text).unwrap(), faults, "{text}");
    }
}

#[tokio::test]
async fn codes_and_tokens_are_to_be_had_over_http() {
    let mock = mock().await;
    let sign_in = json!({ "user": "bob", "redirectUri": REDIRECT_URI });
    let (status, answer) = send(&mock, Method::POST, "/control/code", Some(sign_in)).await;
    assert_eq!(status, 200);
    assert_eq!(mock.exchange(answer["code"].as_str().unwrap()).await.status(), 200);

    let order = json!({ "signIn": { "user": "bob" }, "recipe": { "claims": { "acr": "9" } } });
    let (_, answer) = send(&mock, Method::POST, "/control/id-token", Some(order)).await;
    let claims = part(answer["idToken"].as_str().unwrap(), 1);
    assert_eq!((&claims["sub"], &claims["acr"]), (&json!("mock|bob"), &json!("9")));

    let (_, counts) = send(&mock, Method::GET, "/control/stats", None).await;
    let counts: Stats = serde_json::from_value(counts).unwrap();
    assert_eq!((counts.codes, counts.exchanges, counts.token), (1, 1, 1));
    assert_eq!(counts, mock.idp.control().stats());
}

#[tokio::test]
async fn keys_are_rotated_over_http() {
    let mock = mock().await;
    let (_, answer) = send(&mock, Method::POST, "/control/rotate-keys", None).await;
    assert_eq!(mock.get_json("/jwks").await["keys"][0]["kid"], answer["kid"]);
}

#[tokio::test]
async fn without_control_there_are_no_strings_to_pull() {
    let config = MockConfig { control: false, ..MockConfig::default() };
    let mock = start(config).await;
    assert_eq!(send(&mock, Method::GET, "/control/stats", None).await.0, 404);
    let order = json!({ "jwks": { "kind": "close" } });
    assert_eq!(send(&mock, Method::PUT, "/control/faults", Some(order)).await.0, 404);
    assert_eq!(mock.get("/jwks").await.status(), 200);
}

#[tokio::test]
async fn the_issuer_defaults_to_the_address_and_points_at_its_endpoints() {
    let mock = mock().await;
    assert_eq!(mock.idp.issuer(), format!("http://{}", mock.idp.address()));
    let document = mock.get_json("/.well-known/openid-configuration").await;
    assert_eq!(document["issuer"], mock.idp.issuer());
    assert_eq!(document["token_endpoint"], mock.url("/token"));
    assert_eq!(document["authorization_endpoint"], mock.url("/authorize"));
    assert_eq!(document["jwks_uri"], mock.url("/jwks"));
    assert_eq!(document["userinfo_endpoint"], mock.url("/userinfo"));
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["EdDSA"]));
    assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
}

#[tokio::test]
async fn an_issuer_with_a_path_is_served_under_it() {
    let issuer = "https://idp.example.com/tenant/v2.0/";
    let config = MockConfig {
        issuer: Some(issuer.into()),
        id_token_alg: IdTokenAlg::EdDsa,
        ..MockConfig::default()
    };
    let mock = start(config).await;
    let path = "/tenant/v2.0/.well-known/openid-configuration";
    let (status, document) = send(&mock, Method::GET, path, None).await;
    assert_eq!(status, 200);
    assert_eq!(document["issuer"], issuer);
    assert_eq!(document["jwks_uri"], "https://idp.example.com/tenant/v2.0/jwks");
    let bare = send(&mock, Method::GET, "/.well-known/openid-configuration", None).await;
    assert_eq!(bare.0, 404);
}

/// The text of docs/mock-provider.md.
const DOCUMENTATION: &str = include_str!("../../../../docs/mock-provider.md");

#[tokio::test]
async fn the_documented_requests_are_accepted() {
    let mock = mock().await;
    let text = DOCUMENTATION.replace("\\\n", " ");
    let mut count = 0;
    for command in text.lines().filter_map(|line| line.strip_prefix("curl -X ")) {
        let (method, rest) = command.split_once(' ').expect("a method");
        let (url, rest) = rest.split_once(' ').expect("a URL");
        let path = url.strip_prefix("localhost:9000").expect("the mock's address");
        let (_, body) = rest.split_once("-d '").expect("a body");
        let body = serde_json::from_str(body.trim_end_matches('\'')).expect("JSON");
        let method = method.parse().expect("a method of HTTP");
        let (status, answer) = send(&mock, method, path, Some(body)).await;
        assert!([200, 204].contains(&status), "{command}: {status} {answer}");
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn every_habit_is_documented_with_its_source() {
    for habit in Habit::ALL {
        let name = serde_json::to_value(habit).expect("JSON");
        let name = format!("| `{}` |", name.as_str().expect("a name"));
        let row = DOCUMENTATION.lines().find(|line| line.starts_with(&name));
        let row = row.unwrap_or_else(|| panic!("no row {name}"));
        assert!(row.ends_with(&format!("| {} |", habit.source())), "{row}");
    }
}

#[tokio::test]
async fn the_documented_control_endpoints_exist() {
    let mock = mock().await;
    let rows = DOCUMENTATION.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|line| line.split_once("` |")?.0.split_once(" /control"));
    let mut count = 0;
    for (method, path) in rows {
        let path = format!("/control{}", path.replace("NAME", "alice"));
        let method = method.parse().expect("a method of HTTP");
        let (status, _) = send(&mock, method, &path, Some(json!({}))).await;
        assert!([200, 204].contains(&status), "{path}: {status}");
        count += 1;
    }
    assert_eq!(count, 12);
}
