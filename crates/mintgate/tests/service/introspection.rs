//! Back ends ask about tokens (RFC 7662) and revoke them (RFC 7009), over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use mintgate::system::SystemClock;
use mintgate_domain::TokenHash;
use mintgate_domain::ports::Clock as _;
use mintgate_testkit::ManualClock;
use mintgate_testkit::http::RequestBuilder;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::common::{Options, Store, TestService, Tokens, assert_error, claims};
use crate::on_both_stores;

const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";
const INACTIVE: &str = "{\"active\":false}";

const TOKENS: &str = "[tokens]\naudience = [\"https://a.example\"]\n";
/// The lifetime of access tokens.
const LIFE: Duration = Duration::from_hours(1);

/// A client whose secret is its id.
fn client(id: &str, lines: &str) -> String {
    format!(
        "[[clients]]\nid = \"{id}\"\nsecret_hash = \"{}\"\n{lines}\n",
        TokenHash::of(id).to_hex()
    )
}

/// With clients that see access tokens alone, all tokens, and none.
fn options(more: &str) -> Options {
    let a = "audience = \"https://a.example\"";
    let clients = [
        client("api", a),
        client("portal", &format!("{a}\nrefresh_tokens = true")),
        client("blind", ""),
    ];
    Options { more: format!("{TOKENS}{more}\n{}", clients.concat()), ..Options::default() }
}

async fn service(store: Store) -> TestService {
    TestService::start_with(store, options("")).await
}

async fn with_a_clock(store: Store, more: &str) -> (TestService, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(SystemClock::new().now().into()));
    let options = Options { clock: Some(clock.clone()), ..options(more) };
    (TestService::start_with(store, options).await, clock)
}

impl TestService {
    fn as_client(&self, id: &str, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        self.client.post(self.url(path)).basic_auth(id, Some(id)).form(form)
    }

    /// The text that a client is told about a token, with these parameters besides.
    async fn told(&self, id: &str, token: &str, more: &[(&str, &str)]) -> String {
        let form = [&[("token", token)][..], more].concat();
        let answer = self.as_client(id, INTROSPECT, &form).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["content-type"], "application/json");
        answer.text().await.unwrap()
    }

    async fn is_active(&self, id: &str, token: &str) -> bool {
        let text = self.told(id, token, &[]).await;
        let told: Value = serde_json::from_str(&text).unwrap();
        let is_active = told["active"].as_bool().unwrap();
        assert!(is_active || text == INACTIVE, "nothing tells why: {text}");
        is_active
    }

    /// Has a token revoked; whatever it is, the answer is the same.
    async fn revoke(&self, id: &str, token: &str) {
        let answer = self.as_client(id, REVOKE, &[("token", token)]).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.text().await.unwrap(), "");
    }

    /// Asks where the store cannot say.
    async fn is_in_doubt(&self, token: &str) {
        for path in [INTROSPECT, REVOKE] {
            let answer = self.as_client("portal", path, &[("token", token)]).send().await.unwrap();
            assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE").await;
        }
    }
}

on_both_stores! {
    async fn a_good_token_is_told_in_its_own_words_whatever_the_hint(store: Store) {
        let extra = "[tokens.extra_claims]\nmail = \"email\"\nteams = \"groups\"\nactive = \"name\"";
        let service = TestService::start_with(store, options(extra)).await;
        let alice = service.signed_in().await;
        let hints = [None, Some("access_token"), Some("refresh_token"), Some("banana"), Some("")];
        let before = service.dump().await;
        for hint in hints {
            let more: Vec<_> = hint.map(|hint| ("token_type_hint", hint)).into_iter().collect();
            let told: Value =
                serde_json::from_str(&service.told("portal", &alice.access, &more).await).unwrap();
            let said = claims(&alice.access);
            assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("Bearer")));
            for name in ["iss", "sub", "client_id", "exp", "iat", "nbf", "jti", "sid", "roles", "idp", "auth_time", "epoch", "mail", "teams"] {
                assert_eq!(told[name], said[name], "{name}");
            }
            assert_eq!((&said["mail"], &said["active"]), (&json!("alice@example.com"), &json!("Alice Admin")));
            assert_eq!(told["aud"], json!(["https://a.example"]));

            let told: Value =
                serde_json::from_str(&service.told("portal", &alice.refresh, &more).await).unwrap();
            let said = claims(&alice.refresh);
            let expected = (&json!(true), &json!("refresh_token"));
            assert_eq!((&told["active"], &told["token_type"]), expected);
            for name in ["iss", "sub", "exp", "iat", "jti", "sid"] {
                assert_eq!(told[name], said[name], "{name}");
            }
            assert_eq!((told.get("aud"), told.get("roles"), told.get("mail")), (None, None, None), "no access token");
        }
        assert_eq!(service.dump().await, before, "a question changes nothing");
        let text = service.metrics().await;
        assert!(text.contains("mintgate_introspections_total{outcome=\"active\"} 10"), "{text}");
    }

    async fn what_a_client_may_not_see_is_inactive(store: Store) {
        let mut service = service(store).await;
        let alice = service.signed_in().await;
        assert!(service.is_active("api", &alice.access).await);
        assert!(!service.is_active("api", &alice.refresh).await);
        assert!(!service.is_active("blind", &alice.access).await);
        assert!(!service.is_active("blind", &alice.refresh).await);
        // A second service has come since: the token is not for it.
        service.restart_with(|text| {
            let both = text.replace("[\"https://a.example\"]", "[\"https://a.example\", \"https://b.example\"]");
            format!("{}{both}", client("b", "audience = \"https://b.example\""))
        });
        assert!(!service.is_active("b", &alice.access).await);
        assert!(service.is_active("api", &alice.access).await);
        let both = service.refreshed(&alice.refresh).await;
        assert!(service.is_active("b", &both.access).await);

        let before = service.dump().await;
        for (id, token) in [("b", &alice.access), ("api", &both.refresh), ("blind", &both.access)] {
            service.revoke(id, token).await;
        }
        assert_eq!(service.dump().await, before, "nor can it revoke that");
        let text = service.metrics().await;
        assert!(text.contains("mintgate_token_revocations_total{outcome=\"nothing\"} 3"), "{text}");
    }

    async fn what_is_no_token_of_ours_is_inactive_and_revoked_without_effect(store: Store) {
        let service = service(store).await;
        let alice = service.signed_in().await;
        let before = service.dump().await;
        let tampered = format!("{}x", alice.access);
        let unsigned = format!("{}.", alice.access.rsplit_once('.').unwrap().0);
        let long = "a".repeat(20_000);
        for token in ["banana", "a.b.c", "\\0", "é", &tampered, &unsigned, &long] {
            assert!(!service.is_active("portal", token).await, "{token}");
            service.revoke("portal", token).await;
        }
        assert_eq!(service.dump().await, before);
        assert!(service.is_active("portal", &alice.access).await);
    }

    async fn an_expired_token_is_inactive_and_still_ends_its_session(store: Store) {
        let (service, clock) = with_a_clock(store, "").await;
        let alice = service.signed_in().await;
        clock.advance(LIFE.saturating_sub(Duration::from_secs(5)));
        assert!(service.is_active("api", &alice.access).await);
        clock.advance(Duration::from_secs(5));
        assert!(!service.is_active("api", &alice.access).await);
        assert!(service.is_active("portal", &alice.refresh).await);
        service.revoke("api", &alice.access).await;
        assert!(!service.is_active("portal", &alice.refresh).await);
        let refused = service.refresh(&alice.refresh);
        service.refused(refused, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
    }

    async fn revoking_either_kind_ends_the_session_once(store: Store) {
        let service = service(store).await;
        let other = service.signed_in().await;
        for kind in [|tokens: &Tokens| tokens.access.clone(), |tokens: &Tokens| tokens.refresh.clone()] {
            let alice = service.signed_in().await;
            service.revoke("portal", &kind(&alice)).await;
            for token in [&alice.access, &alice.refresh] {
                assert!(!service.is_active("portal", token).await);
            }
            let refused = service.refresh(&alice.refresh);
            service.refused(refused, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
            let before = service.dump().await;
            service.revoke("portal", &kind(&alice)).await;
            assert_eq!(service.dump().await, before);
        }
        assert!(service.is_active("portal", &other.access).await, "another session goes on");
        let text = service.metrics().await;
        assert!(text.contains("mintgate_token_revocations_total{outcome=\"ended\"} 2"), "{text}");
        assert!(text.contains("mintgate_token_revocations_total{outcome=\"nothing\"} 2"), "{text}");
    }

    async fn whoever_may_not_go_on_has_no_active_token(store: Store) {
        let service = service(store).await;
        let user = async |tokens: &Tokens| claims(&tokens.access)["sub"].as_str().unwrap().to_owned();
        let is_over = async |tokens: &Tokens| {
            for token in [&tokens.access, &tokens.refresh] {
                assert!(!service.is_active("portal", token).await);
            }
        };
        let alice = service.signed_in().await;
        service.log_out(&alice.access).send().await.unwrap();
        is_over(&alice).await;

        // The raised epoch alone.
        let alice = service.signed_in().await;
        let raise = "UPDATE users SET session_epoch = session_epoch + 1";
        service.sql(raise, raise).await;
        is_over(&alice).await;

        let alice = service.signed_in().await;
        service.operate(&["users", "disable", &user(&alice).await]).await.done();
        is_over(&alice).await;
        let bob = service.signed_in_as("bob").await;
        assert!(service.is_active("portal", &bob.refresh).await);
        service.operate(&["users", "delete", "--yes", &user(&bob).await]).await.done();
        is_over(&bob).await;
    }

    async fn a_store_in_doubt_is_503_and_never_inactive(store: Store) {
        let service = service(store).await;
        let alice = service.signed_in().await;
        let away = "ALTER TABLE sessions RENAME TO away";
        service.sql(away, away).await;
        service.is_in_doubt(&alice.access).await;
        service.is_in_doubt(&alice.refresh).await;
        assert!(!service.is_active("portal", "banana").await, "of this there is no doubt");
        let back = "ALTER TABLE away RENAME TO sessions";
        service.sql(back, back).await;
        assert!(service.is_active("portal", &alice.access).await);
        let text = service.metrics().await;
        assert!(text.contains("mintgate_introspections_total{outcome=\"failed\"} 2"), "{text}");
        assert!(text.contains("mintgate_token_revocations_total{outcome=\"failed\"} 2"), "{text}");
    }

    /// The token before is active as long as a refresh would answer it, and asking counts for nothing.
    async fn a_superseded_refresh_token_is_active_while_a_refresh_accepts_it(store: Store) {
        let more = "[refresh]\nlost_answer = \"grace\"\ngrace_replays = 1";
        let service = TestService::start_with(store, options(more)).await;
        let first = service.signed_in().await;
        let second = service.refreshed(&first.refresh).await;
        let before = service.dump().await;
        for _ in 0..3 {
            assert!(service.is_active("portal", &first.refresh).await);
        }
        assert!(service.is_active("portal", &second.refresh).await);
        assert_eq!(service.dump().await, before);
        assert!(service.refreshed(&first.refresh).await.refresh == second.refresh);
        assert!(!service.is_active("portal", &first.refresh).await, "it has been replayed so often");
        assert!(service.is_active("portal", &second.refresh).await, "asking ends no session");

        let third = service.refreshed(&second.refresh).await;
        assert!(!service.is_active("portal", &first.refresh).await, "older than that");
        service.age_rotations(31).await;
        assert!(!service.is_active("portal", &second.refresh).await, "after the window");
        assert!(service.is_active("portal", &third.refresh).await);
    }

    async fn a_lost_successor_leaves_the_token_before_active_until_it_is_used(store: Store) {
        let service = service(store).await;
        let first = service.signed_in().await;
        let second = service.refreshed(&first.refresh).await;
        service.age_rotations(3600).await;
        assert!(service.is_active("portal", &first.refresh).await);
        service.refreshed(&second.refresh).await;
        assert!(!service.is_active("portal", &first.refresh).await);
    }
}

#[tokio::test]
async fn only_a_client_that_authenticates_by_basic_is_answered() {
    let service = service(Store::Sqlite).await;
    let alice = service.signed_in().await;
    let form = [("token", alice.access.as_str()), ("client_id", "api"), ("client_secret", "api")];
    for path in [INTROSPECT, REVOKE] {
        let request = || service.client.post(service.url(path)).form(&form);
        for request in [
            request(),
            request().bearer_auth(&alice.access),
            request().basic_auth("api", Some("wrong")),
            request().basic_auth("api", None::<&str>),
            request().basic_auth("nobody", Some("api")),
            request().basic_auth("API", Some("api")),
            request().basic_auth("api", Some("api")).bearer_auth(&alice.access),
        ] {
            let before = service.dump().await;
            let answer = request.send().await.unwrap();
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
            assert_eq!(challenge, "Basic realm=\"mintgate\", charset=\"UTF-8\"");
            assert_error(answer, StatusCode::UNAUTHORIZED, "INVALID_CLIENT").await;
            assert_eq!(service.dump().await, before);
        }
    }
    // However often somebody guesses, the client itself is heard; also with an encoded secret.
    for _ in 0..200 {
        let guess = service.client.post(service.url(INTROSPECT)).basic_auth("api", Some("guess"));
        assert_eq!(guess.form(&form).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    }
    assert!(service.is_active("api", &alice.access).await);
    let encoded = service.client.post(service.url(INTROSPECT)).basic_auth("%61pi", Some("a%70i"));
    let told: Value = encoded.form(&form).send().await.unwrap().json().await.unwrap();
    assert_eq!(told["active"], true);
}

#[tokio::test]
async fn a_request_of_another_form_is_refused() {
    let service = service(Store::Sqlite).await;
    let alice = service.signed_in().await;
    for path in [INTROSPECT, REVOKE] {
        let url = service.url(path);
        let get = service.client.get(format!("{url}?token=x")).basic_auth("api", Some("api"));
        let answer = get.send().await.unwrap();
        assert_eq!(answer.headers()["allow"], "POST");
        assert_error(answer, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED").await;

        let post = || service.client.post(&url).basic_auth("api", Some("api"));
        let json = post().json(&json!({ "token": alice.access }));
        let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        service.refused(json, unsupported, "UNSUPPORTED_MEDIA_TYPE").await;
        let twice = [("token", &alice.access), ("token", &alice.access)];
        let empty = [("token", &String::new())];
        for request in [post().form(&twice), post().form(&empty), post().form(&[("a", "b")])] {
            let refused =
                service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
            assert_eq!(refused["details"][0]["field"], "token");
        }
        let long = post().form(&[("token", "a".repeat(33 * 1024))]);
        service.refused(long, StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE").await;
    }
    // Whatever a caller accepts who needs no body.
    let revoke = service.as_client("portal", REVOKE, &[("token", &alice.access)]);
    let answer = revoke.header("accept", "text/html").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(!service.is_active("portal", &alice.access).await);
}

#[tokio::test]
async fn the_metadata_leads_to_both_endpoints() {
    let options = Options { real_address: true, path: "/auth", ..options("") };
    let service = TestService::start_with(Store::Sqlite, options).await;
    let alice = service.signed_in().await;
    for name in
        ["/auth/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/auth"]
    {
        let answer = service.client.get(service.url(name)).send().await.unwrap();
        let metadata: Value = answer.json().await.unwrap();
        for (endpoint, text) in [("introspection", "\"active\":"), ("revocation", "")] {
            let methods = &metadata[format!("{endpoint}_endpoint_auth_methods_supported")];
            assert_eq!(*methods, json!(["client_secret_basic"]), "{metadata}");
            let url = metadata[format!("{endpoint}_endpoint")].as_str().unwrap();
            let request = service.client.post(url).basic_auth("api", Some("api"));
            let answer = request.form(&[("token", &alice.access)]).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(answer.text().await.unwrap().contains(text));
        }
    }
}

#[tokio::test]
async fn the_log_names_the_client_and_the_session_and_no_token() {
    crate::common::log::keep();
    let service = service(Store::Sqlite).await;
    let alice = service.signed_in().await;
    assert!(service.is_active("portal", &alice.refresh).await);
    service.revoke("portal", &alice.access).await;
    let log = crate::common::log::text();
    for path in [INTROSPECT, REVOKE] {
        let mut lines = log.lines().filter(|line| line.contains(path));
        let line = lines.find(|line| line.contains(&alice.sid())).expect("a line");
        assert!(line.contains("\"client\":\"portal\""), "{line}");
    }
    for token in [&alice.access, &alice.refresh] {
        assert!(!log.contains(token.as_str()));
    }
}
