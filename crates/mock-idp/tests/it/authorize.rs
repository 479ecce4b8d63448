//! The authorization endpoint.

use mintgate_mock_idp::{MockConfig, MockUser};
use reqwest::Response;

use crate::support::{Mock, REDIRECT_URI, challenge, mock, redirected, start};

/// Parameters to change (a value), leave out (none), or add.
type Changes<'a> = [(&'a str, Option<&'a str>)];

/// A good request with some changes.
fn query<'a>(changes: &Changes<'a>) -> Vec<(&'a str, &'a str)> {
    let mut query = vec![
        ("client_id", "mintgate"),
        ("redirect_uri", REDIRECT_URI),
        ("response_type", "code"),
        ("scope", "openid"),
        ("state", "st&te"),
    ];
    for (name, value) in changes {
        query.retain(|(key, _)| key != name);
        query.extend(value.map(|value| (*name, value)));
    }
    query
}

async fn ask(mock: &Mock, query: &[(&str, &str)]) -> Response {
    mock.http.get(mock.url("/authorize")).query(query).send().await.expect("an answer")
}

async fn choose(mock: &Mock, form: &[(&str, &str)]) -> Response {
    mock.http.post(mock.url("/authorize")).form(form).send().await.expect("an answer")
}

#[tokio::test]
async fn the_page_offers_every_person_and_loads_nothing() {
    let mock = mock().await;
    let answer = ask(&mock, &query(&[])).await;
    assert_eq!(answer.status(), 200);
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    let page = answer.text().await.unwrap();
    for username in ["alice", "bob", "carol"] {
        assert!(page.contains(&format!("name=\"user\" value=\"{username}\"")), "{username}");
    }
    assert!(!page.contains("src=") && !page.contains("href="));
}

#[tokio::test]
async fn the_page_escapes_what_it_repeats() {
    let mut config = MockConfig::default();
    config.users.push(MockUser::new("\"><script>", "<b>Eve</b>", true, &["<i>"]));
    let mock = start(config).await;
    let page = ask(&mock, &query(&[("state", Some("\"'><script>alert(1)</script>"))])).await;
    let page = page.text().await.unwrap();
    assert!(page.contains("&quot;&#39;&gt;&lt;script&gt;alert(1)"));
    assert!(page.contains("&lt;b&gt;Eve") && page.contains("&lt;i&gt;"));
    assert!(!page.contains("<script") && !page.contains("<i>"));
}

#[tokio::test]
async fn picking_somebody_leads_back_with_code_state_and_issuer() {
    let mock = mock().await;
    let answer = choose(&mock, &query(&[("user", Some("bob"))])).await;
    assert_eq!(redirected(&answer, "state").as_deref(), Some("st&te"));
    assert_eq!(redirected(&answer, "iss").as_deref(), Some(mock.idp.issuer()));
    let code = redirected(&answer, "code").expect("a code");
    assert_eq!(mock.exchange(&code).await.status(), 200);
    assert_eq!(mock.idp.control().stats().exchanges, 1);
}

#[tokio::test]
async fn cancelling_leads_back_with_access_denied() {
    let mock = mock().await;
    let answer = choose(&mock, &query(&[("cancel", Some("1"))])).await;
    assert_eq!(redirected(&answer, "error").as_deref(), Some("access_denied"));
    assert_eq!(redirected(&answer, "code"), None);
}

#[tokio::test]
async fn a_link_cannot_pick_somebody() {
    let mock = mock().await;
    for name in ["user", "login_hint", "cancel"] {
        let answer = ask(&mock, &query(&[(name, Some("alice"))])).await;
        assert_eq!(answer.status(), 200, "{name}");
    }
    assert_eq!(mock.idp.control().stats().codes, 0);
}

#[tokio::test]
async fn prompt_none_with_a_login_hint_answers_at_once() {
    let mock = mock().await;
    let silent = [("prompt", Some("none")), ("login_hint", Some("alice"))];
    let answer = ask(&mock, &query(&silent)).await;
    assert!(redirected(&answer, "code").is_some());
}

#[tokio::test]
async fn prompt_none_without_a_known_person_is_login_required() {
    let mock = mock().await;
    for hint in [None, Some("mallory")] {
        let answer = ask(&mock, &query(&[("prompt", Some("none")), ("login_hint", hint)])).await;
        assert_eq!(redirected(&answer, "error").as_deref(), Some("login_required"));
        assert_eq!(redirected(&answer, "code"), None);
    }
}

#[tokio::test]
async fn an_unregistered_redirect_uri_or_client_is_never_redirected_to() {
    let mock = mock().await;
    let silent = [("prompt", Some("none")), ("login_hint", Some("alice"))];
    let mut requests = vec![query(&[("client_id", None)]), query(&[("redirect_uri", None)])];
    for client in ["other", "Mintgate", "mintgate "] {
        requests.push(query(&[("client_id", Some(client)), silent[0], silent[1]]));
    }
    for uri in [
        "https://app.example.com/callback/",
        "https://app.example.com/Callback",
        "https://app.example.com:443/callback",
        "https://app.example.com/callback?x=1",
        "https://app.example.com/callback#x",
        "https://app.example.com@evil.example/callback",
        "http://app.example.com/callback",
        "https://evil.example/",
    ] {
        requests.push(query(&[("redirect_uri", Some(uri)), silent[0], silent[1]]));
    }
    let mut twice = query(&silent);
    twice.push(("redirect_uri", "https://evil.example/"));
    requests.push(twice);
    for request in requests {
        let answer = ask(&mock, &request).await;
        assert_eq!(answer.status(), 400, "{request:?}");
        assert!(answer.headers().get("location").is_none(), "{request:?}");
    }
    assert_eq!(mock.idp.control().stats().codes, 0);
}

#[tokio::test]
async fn mistakes_of_a_known_client_lead_back_with_an_error() {
    let mock = mock().await;
    let challenge = challenge();
    let challenge = Some(challenge.as_str());
    let cases: [(&Changes<'_>, &str); 10] = [
        (&[("response_type", None)], "invalid_request"),
        (&[("response_type", Some("token"))], "unsupported_response_type"),
        (&[("response_type", Some("code id_token"))], "unsupported_response_type"),
        (&[("response_mode", Some("fragment"))], "invalid_request"),
        (&[("code_challenge", challenge)], "invalid_request"),
        (
            &[("code_challenge", challenge), ("code_challenge_method", Some("plain"))],
            "invalid_request",
        ),
        (&[("code_challenge_method", Some("S256"))], "invalid_request"),
        (
            &[("code_challenge", Some("short")), ("code_challenge_method", Some("S256"))],
            "invalid_request",
        ),
        (&[("request", Some("e30.e30."))], "request_not_supported"),
        (&[("request_uri", Some("https://a.example/r"))], "request_uri_not_supported"),
    ];
    for (changes, error) in cases {
        let mut query = query(changes);
        query.extend([("prompt", "none"), ("login_hint", "alice")]);
        let answer = ask(&mock, &query).await;
        assert_eq!(redirected(&answer, "error").as_deref(), Some(error), "{changes:?}");
        assert_eq!(redirected(&answer, "code"), None);
        assert_eq!(redirected(&answer, "state").as_deref(), Some("st&te"));
        assert_eq!(redirected(&answer, "iss").as_deref(), Some(mock.idp.issuer()));
    }
}
