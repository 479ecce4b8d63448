//! Logging out, and what callers see and end of their own sessions.

use crate::common::session::{
    CLEARED, LOGOUT, LOGOUT_ALL, ME, SESSIONS, access_cookie, cookies, refresh_cookie,
};
use crate::common::{Options, Store, TestService, Tokens, assert_error, claims};
use crate::on_both_stores;
use mintgate_testkit::http::RequestBuilder;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const PLAIN_CHALLENGE: &str = "Bearer realm=\"mintgate\"";
const TOKEN_REFUSED: &str = "Bearer realm=\"mintgate\", error=\"invalid_token\"";

/// How a request shows who asks.
type Shows = fn(RequestBuilder, &Tokens) -> RequestBuilder;

/// Proves that an answer says a session has ended and clears both cookies.
async fn logged_out(request: RequestBuilder) {
    let answer = request.send().await.unwrap();
    let (headers, set) = (answer.headers().clone(), cookies(&answer));
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{text}");
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(body, json!({ "message": "Logged out." }));
    assert_eq!(set, CLEARED);
    assert_eq!(headers["cache-control"], "no-store");
}

fn challenge(answer: &Response) -> String {
    answer.headers()["www-authenticate"].to_str().unwrap().to_owned()
}

fn delete(service: &TestService, tokens: &Tokens, sid: &str) -> RequestBuilder {
    service.client.delete(service.url(&format!("{SESSIONS}/{sid}"))).bearer_auth(&tokens.access)
}

async fn listed(service: &TestService, tokens: &Tokens) -> Vec<Value> {
    let request = service.client.get(service.url(SESSIONS)).bearer_auth(&tokens.access);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let body: Value = answer.json().await.unwrap();
    body["sessions"].as_array().unwrap().clone()
}

on_both_stores! {
    async fn case_46_every_credential_logs_out_and_so_it_does_the_second_time(store: Store) {
        let service = TestService::start(store).await;
        let plain = || service.client.post(service.url(LOGOUT));
        let bystander = service.signed_in().await;
        for way in 0..6 {
            let tokens = service.signed_in().await;
            let below_refresh = service.url("/api/v1/auth/refresh/logout");
            let request = || match way {
                0 => plain().bearer_auth(&tokens.access),
                1 => plain().header("cookie", access_cookie(&tokens.access)),
                2 => plain().json(&json!({ "refreshToken": tokens.refresh })),
                // Where the configured path lets it come here.
                3 => plain().header("cookie", refresh_cookie(&tokens.refresh)),
                // A browser whose access cookie has run out.
                4 => service.client.post(&below_refresh).header("cookie", refresh_cookie(&tokens.refresh)),
                _ => plain().header("authorization", format!("bEARER  {}", tokens.access)),
            };
            logged_out(request()).await;
            let after = service.dump().await;
            logged_out(request()).await;
            assert_eq!(service.dump().await, after, "when and why it ended stays as it was");
            assert!(service.row(&tokens.sid()).await.contains("logout"));
            service.refused(service.refresh(&tokens.refresh), UNAUTHORIZED, "SESSION_REVOKED").await;
            service.refused(service.me(&tokens.access), UNAUTHORIZED, "SESSION_REVOKED").await;
        }
        assert_eq!(service.me(&bystander.access).send().await.unwrap().status(), StatusCode::OK);
        let metrics = service.metrics().await;
        let line = r#"mintgate_sessions_revoked_total{reason="logout"} 6"#;
        assert!(metrics.lines().any(|l| l == line), "{metrics}");
    }

    async fn case_46_the_bearer_token_alone_counts_then_the_body_then_the_access_cookie(store: Store) {
        let service = TestService::start(store).await;
        let mut sessions = Vec::new();
        for _ in 0..4 {
            sessions.push(service.signed_in().await);
        }
        let both = format!("{}; {}", access_cookie(&sessions[2].access), refresh_cookie(&sessions[3].refresh));
        let request = |bearer: bool, body: bool| {
            let mut request = service.client.post(service.url(LOGOUT)).header("cookie", &both);
            if bearer {
                request = request.bearer_auth(&sessions[0].access);
            }
            if body {
                request = request.json(&json!({ "refreshToken": sessions[1].refresh }));
            }
            request
        };
        for (ended, request) in
            [request(true, true), request(false, true), request(false, false)].into_iter().enumerate()
        {
            logged_out(request).await;
            for (at, tokens) in sessions.iter().enumerate() {
                let row = service.row(&tokens.sid()).await;
                assert_eq!(row.contains("logout"), at <= ended, "{at}: {row}");
            }
        }
        // A bearer token that is not good is not made up for by a cookie that is.
        let request = service.client.post(service.url(LOGOUT)).bearer_auth("not.a.token")
            .header("cookie", refresh_cookie(&sessions[3].refresh));
        service.refused(request, UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    }

    async fn case_46_an_expired_but_genuine_access_token_logs_out(store: Store) {
        let service = TestService::start_with(store, Options {
            more: "[tokens]\naccess_ttl_secs = 1".to_owned(), ..Options::default()
        }).await;
        let tokens = service.signed_in().await;
        loop {
            let answer = service.me(&tokens.access).send().await.unwrap();
            if answer.status() != StatusCode::OK {
                assert_eq!(challenge(&answer), TOKEN_REFUSED);
                assert_error(answer, UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
                break;
            }
        }
        for path in [LOGOUT_ALL] {
            let request = service.client.post(service.url(path)).bearer_auth(&tokens.access);
            service.refused(request, UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
        }
        logged_out(service.log_out(&tokens.access)).await;
        service.refused(service.refresh(&tokens.refresh), UNAUTHORIZED, "SESSION_REVOKED").await;
    }

    async fn whoever_logs_out_without_a_good_token_loses_the_cookies_all_the_same(store: Store) {
        let service = TestService::start(store).await;
        let tokens = service.signed_in().await;
        let plain = || service.client.post(service.url(LOGOUT));
        let foreign = [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")];
        let requests: [(Shows, &str, &str); 6] = [
            (|r, _| r, "INVALID_ACCESS_TOKEN", PLAIN_CHALLENGE),
            (|r, _| r.bearer_auth("x.y.z"), "INVALID_ACCESS_TOKEN", TOKEN_REFUSED),
            (|r, t| r.bearer_auth(&t.refresh), "INVALID_ACCESS_TOKEN", TOKEN_REFUSED),
            (|r, _| r.header("authorization", "Bearer a b"), "INVALID_ACCESS_TOKEN", TOKEN_REFUSED),
            (|r, _| r.header("authorization", "Bearer "), "INVALID_ACCESS_TOKEN", PLAIN_CHALLENGE),
            (|r, t| r.json(&json!({ "refreshToken": t.access })), "INVALID_REFRESH_TOKEN", PLAIN_CHALLENGE),
        ];
        for (request, code, expected) in requests {
            let answer = request(plain(), &tokens).send().await.unwrap();
            assert_eq!(cookies(&answer), CLEARED);
            assert_eq!(challenge(&answer), expected);
            assert_error(answer, UNAUTHORIZED, code).await;
            // But a foreign page cannot have its visitor's cookies cleared.
            for (name, value) in foreign {
                let answer = request(plain(), &tokens).header(name, value).send().await.unwrap();
                assert!(cookies(&answer).is_empty());
                assert_error(answer, UNAUTHORIZED, code).await;
            }
        }
        assert_eq!(service.me(&tokens.access).send().await.unwrap().status(), StatusCode::OK);
    }

    async fn log_out_everywhere_ends_all_sessions_of_the_user_and_no_others(store: Store) {
        let service = TestService::start(store).await;
        let mut own = Vec::new();
        for _ in 0..3 {
            own.push(service.signed_in().await);
        }
        let gone = service.signed_in().await;
        logged_out(service.log_out(&gone.access)).await;
        let other = service.signed_in_as("bob").await;
        let answer = service.client.post(service.url(LOGOUT_ALL))
            .header("cookie", access_cookie(&own[0].access)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(cookies(&answer), CLEARED);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body, json!({ "message": body["message"], "sessionsEnded": 3 }));
        for tokens in &own {
            service.refused(service.refresh(&tokens.refresh), UNAUTHORIZED, "SESSION_REVOKED").await;
        }
        assert_eq!(service.refreshed(&other.refresh).await.generation(), 1);
        // A session that has ended cannot do it again.
        let again = service.client.post(service.url(LOGOUT_ALL)).bearer_auth(&own[0].access);
        service.refused(again, UNAUTHORIZED, "SESSION_REVOKED").await;
        let none = service.client.post(service.url(LOGOUT_ALL));
        service.refused(none, UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
    }

    async fn me_tells_what_the_access_token_says(store: Store) {
        let service = TestService::start(store).await;
        let tokens = service.signed_in().await;
        let said = claims(&tokens.access);
        let expected = json!({
            "sub": said["sub"], "roles": ["admin", "staff", "user"], "sid": said["sid"],
            "provider": "corp", "exp": said["exp"],
        });
        let ask = |method: Method| service.client.request(method, service.url(ME));
        for request in [
            ask(Method::GET).bearer_auth(&tokens.access),
            ask(Method::GET).header("cookie", access_cookie(&tokens.access)),
            // Reading is for a page's own origin to do; CORS keeps others from it.
            ask(Method::GET).header("cookie", access_cookie(&tokens.access)).header("origin", "https://evil.test"),
        ] {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.headers()["cache-control"], "no-store");
            assert!(!answer.headers().contains_key("access-control-allow-origin"));
            assert!(cookies(&answer).is_empty());
            let mut told = answer.json::<Value>().await.unwrap();
            let left = told.as_object_mut().unwrap().remove("expiresIn").unwrap();
            assert!((3500..=3600).contains(&left.as_u64().unwrap()), "{left}");
            assert_eq!(told, expected);
        }
        let head = ask(Method::HEAD).bearer_auth(&tokens.access).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(head.text().await.unwrap(), "");

        for (request, expected) in [
            (ask(Method::GET), PLAIN_CHALLENGE),
            // RFC 6750 §2.3 and §2.2 are not for us.
            (service.client.get(service.url(&format!("{ME}?access_token={}", tokens.access))), PLAIN_CHALLENGE),
            (ask(Method::GET).bearer_auth("x"), TOKEN_REFUSED),
            (ask(Method::GET).bearer_auth(&tokens.access).header("authorization", "Bearer x"), TOKEN_REFUSED),
            (ask(Method::GET).header("cookie", access_cookie("x")), TOKEN_REFUSED),
            (ask(Method::GET).header("cookie", refresh_cookie(&tokens.refresh)), PLAIN_CHALLENGE),
        ] {
            let answer = request.send().await.unwrap();
            assert_eq!(challenge(&answer), expected);
            assert!(cookies(&answer).is_empty());
            assert_error(answer, UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
        }
    }

    async fn sessions_are_listed_with_what_is_known_of_them(store: Store) {
        let service = TestService::start(store).await;
        let login = |agent: &'static str| {
            service.post(&crate::common::bare(&service.code())).header("user-agent", agent)
        };
        let first = Tokens::of(login("Lynx/2.9").send().await.unwrap()).await;
        let second = service.signed_in().await;
        let gone = service.signed_in().await;
        logged_out(service.log_out(&gone.access)).await;
        service.signed_in_as("bob").await;
        // The first was used last.
        service.sql(
            "UPDATE sessions SET last_used_at = last_used_at - 10, created_at = created_at - 10",
            "UPDATE sessions SET last_used_at = last_used_at - interval '10 seconds', \
             created_at = created_at - interval '10 seconds'",
        ).await;
        let first = service.refreshed(&first.refresh).await;

        let sessions = listed(&service, &second).await;
        let sids: Vec<_> = sessions.iter().map(|session| session["sid"].clone()).collect();
        assert_eq!(sids, [json!(first.sid()), json!(second.sid())]);
        let known = &sessions[0];
        assert_eq!(known["userAgent"], "Lynx/2.9");
        assert_eq!(known["ip"], "127.0.0.0/24");
        assert_eq!(known["provider"], "corp");
        assert_eq!((&known["current"], &sessions[1]["current"]), (&json!(false), &json!(true)));
        assert_eq!(sessions[1]["userAgent"], Value::Null);
        for date in ["createdAt", "lastUsedAt", "expiresAt"] {
            let text = known[date].as_str().unwrap();
            assert!(text.len() == 20 && text.ends_with('Z'), "{date}: {text}");
        }
        assert!(known["createdAt"].as_str() < known["lastUsedAt"].as_str());
        let expires = claims(&first.refresh)["exp"].as_i64().unwrap();
        let expires = mintgate_domain::model::Timestamp::from_unix(expires).to_datetime().unwrap();
        let text = known["expiresAt"].as_str().unwrap();
        assert!(text.starts_with(&expires.date().to_string()), "{text} is not {expires}");
        let mut members: Vec<_> = known.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(
            members,
            ["createdAt", "current", "expiresAt", "ip", "lastUsedAt", "provider", "sid", "userAgent"]
        );
    }

    async fn case_46_own_sessions_can_be_ended_and_nobody_elses(store: Store) {
        let service = TestService::start(store).await;
        let (own, another) = (service.signed_in().await, service.signed_in().await);
        let bob = service.signed_in_as("bob").await;
        let not_found = StatusCode::NOT_FOUND;
        for sid in [
            bob.sid(), "00000000-0000-7000-8000-000000000000".to_owned(), "me".to_owned(),
            own.sid().replace('-', ""), "%27".to_owned(), own.sid() + "0",
        ] {
            service.refused(delete(&service, &own, &sid), not_found, "NOT_FOUND").await;
        }
        // Nobody learns without a token which ids there are, or can be.
        for sid in [own.sid(), "me".to_owned()] {
            let request = service.client.delete(service.url(&format!("{SESSIONS}/{sid}")));
            service.refused(request, UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
        }
        for _ in 0..2 {
            let answer = delete(&service, &own, &another.sid()).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
            assert_eq!(answer.headers()["cache-control"], "no-store");
            assert!(cookies(&answer).is_empty(), "the current session goes on");
        }
        service.refused(service.refresh(&another.refresh), UNAUTHORIZED, "SESSION_REVOKED").await;
        assert_eq!(listed(&service, &own).await.len(), 1);
        let answer = delete(&service, &own, &own.sid().to_uppercase()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(cookies(&answer), CLEARED);
        service.refused(service.me(&own.access), UNAUTHORIZED, "SESSION_REVOKED").await;
        assert_eq!(listed(&service, &bob).await.len(), 1);
    }
}

#[tokio::test]
async fn case_05_other_methods_are_405_with_allow_on_every_session_route() {
    let service = TestService::start(Store::Sqlite).await;
    let one = format!("{SESSIONS}/00000000-0000-7000-8000-000000000000");
    for (path, allow) in [
        ("/api/v1/auth/refresh", "POST"),
        (LOGOUT, "POST"),
        (LOGOUT_ALL, "POST"),
        (ME, "GET, HEAD"),
        (SESSIONS, "GET, HEAD"),
        (&one, "DELETE"),
        ("/.well-known/openid-configuration", "GET, HEAD"),
        ("/.well-known/oauth-authorization-server", "GET, HEAD"),
    ] {
        for method in [Method::PUT, Method::OPTIONS, Method::PATCH] {
            let answer = service.client.request(method, service.url(path)).send().await.unwrap();
            assert_eq!(answer.headers()["allow"], allow);
            assert_error(answer, StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED").await;
        }
    }
}
