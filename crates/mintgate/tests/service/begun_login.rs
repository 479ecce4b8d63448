//! Logins that begin here: the whole way over real HTTP, and everything that must not finish them.

use crate::common::login::{LOGIN, posted};
use crate::common::session::{CLEARED, cookies};
use crate::common::{Options, REDIRECT_URI, Store, TestService, assert_error, claims};
use crate::on_both_stores;
use mintgate_mock_idp::{FaultKind, Faults, MockConfig};
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

fn naming_its_issuer() -> Options {
    let mock = MockConfig { iss_parameter: Some(true), ..MockConfig::default() };
    Options { mock, ..Options::default() }
}

/// A second provider, which is the first under another name.
fn with_another_provider(options: Options) -> Options {
    let more = "[[providers]]\nid = \"other\"\nissuer = \"https://other.example.com\"\n\
        client_id = \"mintgate\"\nredirect_uris = [\"http://localhost:3000/callback\"]";
    Options { more: more.to_owned(), ..options }
}

on_both_stores! {
    async fn login_and_token_with_the_state_alone_make_a_session(store: Store) {
        let service = TestService::start_with(store, naming_its_issuer()).await;
        let request = json!({ "provider": "corp", "redirectUri": REDIRECT_URI });
        let answer = service.login_request(&request).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let [set_cookie] = cookies(&answer).try_into().unwrap();
        let body: Value = answer.json().await.unwrap();
        let (url, state) =
            (body["authorizationUrl"].as_str().unwrap(), body["state"].as_str().unwrap());
        assert_eq!(body, json!({ "authorizationUrl": url, "state": state, "expiresIn": 600 }));
        let (name, rest) = set_cookie.split_once('=').unwrap();
        assert_eq!(name, format!("__Host-Auth-Login-{}", &state[3..15]));
        assert!(rest.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=600"), "{rest}");
        let query: std::collections::BTreeMap<_, _> =
            Url::parse(url).unwrap().query_pairs().into_owned().collect();
        for (name, value) in [
            ("client_id", "mintgate"),
            ("redirect_uri", REDIRECT_URI),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("state", state),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(query[name], value, "{name}");
        }
        assert_eq!(query["nonce"].len(), 43);

        let cookie = set_cookie.split(';').next().unwrap();
        let response = service.at_provider(url, "alice").await;
        let answer = service.finish(&response, cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let set = cookies(&answer);
        assert_eq!(set.len(), 3, "access, refresh, and the login's is cleared");
        assert_eq!(
            set[2],
            format!("{name}=; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=0")
        );
        let body: Value = answer.json().await.unwrap();
        let said = claims(body["accessToken"].as_str().unwrap());
        assert_eq!(said["idp"], "corp");
        assert_eq!(said["roles"], json!(["admin", "staff", "user"]));
        assert_eq!(service.idp().control().stats().exchanges, 1);
    }

    async fn case_18_whatever_is_not_this_browsers_response_is_401_and_no_provider_is_asked(store: Store) {
        let service =
            TestService::start_with(store, with_another_provider(naming_its_issuer())).await;
        let (response, cookie) = service.response_for("alice").await;
        let (other_response, other_cookie) = service.response_for("bob").await;
        let body = posted(&response);
        let changed = |name: &str, value: Value| {
            let mut body = body.clone();
            body[name] = value;
            if body[name].is_null() {
                body.as_object_mut().unwrap().remove(name);
            }
            body
        };
        let with = |body: Value, cookie: &str| service.post(&body).header("cookie", cookie);
        let named_corp = changed("provider", json!("corp"));
        let mut bare = named_corp.clone();
        bare.as_object_mut().unwrap().remove("state");
        let doubled = format!("{cookie}; {cookie}");
        for (name, request) in [
            ("no cookie", service.post(&body)),
            ("no cookie, provider named", service.post(&named_corp)),
            ("another browser's cookie", with(body.clone(), &other_cookie)),
            ("a cookie planted twice", with(body.clone(), &doubled)),
            ("no state", with(bare, &cookie)),
            ("another login's state", with(changed("state", json!(other_response["state"])), &cookie)),
            ("a foreign state", with(changed("state", json!("mg.x")), &cookie)),
            ("finished as another provider's", with(changed("provider", json!("other")), &cookie)),
            ("no iss", with(changed("iss", Value::Null), &cookie)),
            ("another iss", with(changed("iss", json!("https://evil.test")), &cookie)),
        ] {
            let before = service.dump().await;
            let answer = request.send().await.unwrap();
            let set = cookies(&answer);
            assert_error(answer, StatusCode::UNAUTHORIZED, "INVALID_STATE").await;
            assert!(!set.iter().any(|one| CLEARED.contains(&one.as_str())), "{name}: {set:?}");
            assert_eq!(service.dump().await, before, "{name}");
        }
        assert_eq!(service.idp().control().stats().token, 0, "no code was sent anywhere");
        let answer = service.finish(&response, &cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "the genuine one still works");
    }

    async fn a_login_is_finished_once(store: Store) {
        let service = TestService::start(store).await;
        let begun = service.begin_login("corp").await;
        let first = service.at_provider(&begun.authorization_url, "alice").await;
        let second = service.at_provider(&begun.authorization_url, "alice").await;
        let answer = service.finish(&first, begun.cookie()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        for again in [&first, &second] {
            let status = StatusCode::UNAUTHORIZED;
            let code = if again == &first { "INVALID_AUTH_CODE" } else { "INVALID_STATE" };
            service.refused(service.finish(again, begun.cookie()), status, code).await;
        }
    }

    async fn a_login_finished_twenty_times_at_once_is_one_session(store: Store) {
        let service = TestService::start(store).await;
        let begun = service.begin_login("corp").await;
        let mut responses = Vec::new();
        for _ in 0..20 {
            responses.push(service.at_provider(&begun.authorization_url, "alice").await);
        }
        let finishing = responses.iter().map(|one| service.finish(one, begun.cookie()).send());
        let answers = futures_util::future::join_all(finishing).await;
        let ok = answers.iter().filter(|one| one.as_ref().unwrap().status() == StatusCode::OK);
        assert_eq!(ok.count(), 1);
        assert_eq!(service.sessions().await, 1);
    }
}

#[tokio::test]
async fn case_10_11_47_a_login_that_must_not_begin_is_refused() {
    let service = TestService::start(Store::Sqlite).await;
    let bad_request = StatusCode::BAD_REQUEST;
    for (body, code) in [
        (json!({ "provider": "CORP" }), "UNKNOWN_PROVIDER"),
        (json!({ "provider": "../corp" }), "UNKNOWN_PROVIDER"),
        (
            json!({ "provider": "corp", "redirectUri": "http://localhost:3000/callback/" }),
            "REDIRECT_URI_NOT_ALLOWED",
        ),
        (json!({ "redirectUri": REDIRECT_URI }), "INVALID_REQUEST"),
    ] {
        service.refused(service.login_request(&body), bad_request, code).await;
    }
    let body = json!({ "provider": "corp" });
    let foreign = service.login_request(&body).header("origin", "https://evil.test");
    service.refused(foreign, StatusCode::FORBIDDEN, "CSRF_REJECTED").await;
    let get = service.client.get(service.url(LOGIN));
    service.refused(get, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED").await;
    assert_eq!(service.idp().control().stats().discovery, 0, "nothing was sent out");
}

#[tokio::test]
async fn a_login_with_a_provider_that_is_down_says_so_and_works_once_it_is_back() {
    let service = TestService::start_with(
        Store::Sqlite,
        Options { provider: "timeout_ms = 1000\nconnect_timeout_ms = 500", ..Options::default() },
    )
    .await;
    let failing = FaultKind::Status { status: 500, body: String::new() };
    let discovery = Some(failing.into());
    service.idp().control().set_faults(Faults { discovery, ..Faults::default() });
    let body = json!({ "provider": "corp" });
    let answer = service.login_request(&body).send().await.unwrap();
    assert_error(answer, StatusCode::BAD_GATEWAY, "PROVIDER_ERROR").await;
    service.idp().control().clear_faults();
    let (response, cookie) = service.response_for("alice").await;
    let answer = service.finish(&response, &cookie).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_code_that_could_not_be_sent_leaves_the_login_to_be_finished_later() {
    let mut service = TestService::start(Store::Sqlite).await;
    let (response, cookie) = service.response_for("alice").await;
    service.stop_provider().await;
    let answer = service.finish(&response, &cookie).send().await.unwrap();
    assert_eq!(cookies(&answer), Vec::<String>::new(), "the login's cookie is not cleared");
    assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "PROVIDER_UNAVAILABLE").await;
}

#[tokio::test]
async fn a_login_page_learns_what_it_needs_of_every_provider_and_waits_for_none_that_hangs() {
    let service = TestService::start_with(
        Store::Sqlite,
        Options {
            more: "[[providers]]\nid = \"hub\"\npreset = \"github\"\nclient_id = \"hub-client\"\n\
                client_secret = \"hub-secret\"\nredirect_uris = [\"https://app.example.com/hub\"]\n\
                display_name = \"The hub\""
                .to_owned(),
            ..Options::default()
        },
    )
    .await;
    service
        .idp()
        .control()
        .set_faults(Faults { discovery: Some(FaultKind::Hang.into()), ..Faults::default() });
    let url = service.url("/api/v1/auth/providers");
    let answer = service.client.get(&url).send().await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(!text.contains("secret"), "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    let mut expected = json!({ "providers": [
        {
            "id": "hub",
            "preset": "github",
            "displayName": "The hub",
            "authorizationEndpoint": "https://github.com/login/oauth/authorize",
            "clientId": "hub-client",
            "scopes": ["read:user", "user:email"],
            "redirectUris": ["https://app.example.com/hub"],
            "authorizationParams": {},
        },
        {
            "id": "corp",
            "preset": "oidc",
            "displayName": "OpenID Connect",
            "authorizationEndpoint": null,
            "clientId": "mintgate",
            "scopes": ["openid", "profile", "email"],
            "redirectUris": [REDIRECT_URI],
            "authorizationParams": {},
        },
    ] });
    assert_eq!(body, expected);
    service.idp().control().clear_faults();
    expected["providers"][1]["authorizationEndpoint"] = json!(service.idp().urls().authorize);
    let listed = async {
        loop {
            let answer = service.client.get(&url).send().await.unwrap();
            let body: Value = answer.json().await.unwrap();
            // What was asked while it hung is waited for.
            if !body["providers"][1]["authorizationEndpoint"].is_null() {
                return body;
            }
        }
    };
    let body = tokio::time::timeout(std::time::Duration::from_mins(1), listed).await.unwrap();
    assert_eq!(body, expected);
}
