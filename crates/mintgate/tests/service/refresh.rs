//! `POST /api/v1/auth/refresh`: the answer, replays, reuse, and many at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::session::{LOGOUT, REFRESH, cookies};
use crate::common::{Options, Store, TestService, Tokens, assert_error, bare, claims, header, log};
use crate::on_both_stores;
use futures_util::future::join_all;
use mintgate_mock_idp::{Faults, IdTokenRecipe};
use mintgate_testkit::http::RequestBuilder;
use reqwest::StatusCode;
use serde_json::{Value, json};

const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

fn body_delivery() -> Options {
    Options { more: "[tokens]\nbody_delivery = true".to_owned(), ..Options::default() }
}

fn with(more: &str) -> Options {
    Options { more: more.to_owned(), ..Options::default() }
}

async fn signed_in_by_body(service: &TestService) -> Tokens {
    let mut body = bare(&service.code());
    body["tokenDelivery"] = json!("body");
    Tokens::of(service.post(&body).send().await.unwrap()).await
}

/// A JWT with one character of this segment changed to another.
fn tampered(token: &str, segment: usize) -> String {
    let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    let middle = parts[segment].len() / 2;
    let other = if parts[segment].as_bytes()[middle] == b'A' { "B" } else { "A" };
    parts[segment].replace_range(middle..=middle, other);
    parts.join(".")
}

on_both_stores! {
    async fn by_cookie_the_answer_is_the_documented_one_with_both_cookies(store: Store) {
        let service = TestService::start(store).await;
        let first = service.signed_in().await;
        let answer = service.refresh(&first.refresh).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let headers = answer.headers().clone();
        let set = cookies(&answer);
        let body: Value = answer.json().await.unwrap();
        let access = body["accessToken"].as_str().unwrap();
        assert_eq!(
            body,
            json!({
                "message": body["message"],
                "accessToken": access,
                "expiresIn": 3600,
                "tokenType": "Bearer",
            })
        );
        let refresh = set[1].strip_prefix("Auth-Refresh-Token=").unwrap().split(';').next().unwrap();
        assert_eq!(
            set,
            [
                format!("Auth-Access-Token={access}; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=3600"),
                format!("Auth-Refresh-Token={refresh}; Path=/api/v1/auth/refresh; HttpOnly; Secure; SameSite=Lax; Max-Age=2592000"),
            ]
        );
        let mut names: Vec<_> = headers.keys().map(reqwest::header::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "cache-control", "content-length", "content-type", "date", "set-cookie", "vary",
                "x-content-type-options", "x-request-id",
            ]
        );
        assert_eq!(headers["cache-control"], "no-store");

        let (before, after) = (claims(&first.access), claims(access));
        for same in ["iss", "aud", "sub", "sid", "roles", "idp", "auth_time"] {
            assert_eq!(before[same], after[same], "{same}");
        }
        assert_ne!(before["jti"], after["jti"]);
        assert_eq!(header(access)["typ"], "at+jwt");
        assert_eq!(claims(refresh)["gen"], 1);
        assert_eq!(claims(refresh)["sid"], before["sid"]);
        assert_eq!(service.sessions().await, 1);
    }

    async fn by_body_the_successor_comes_in_the_body_and_no_cookie_is_set(store: Store) {
        let service = TestService::start_with(store, body_delivery()).await;
        let first = signed_in_by_body(&service).await;
        // The body wins over a cookie.
        let other = service.signed_in_as("bob").await;
        let request = service.refresh_by_body(&first.refresh)
            .header("cookie", format!("Auth-Refresh-Token={}", other.refresh));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert!(!answer.headers().contains_key("set-cookie"));
        let body: Value = answer.json().await.unwrap();
        let (access, refresh) =
            (body["accessToken"].as_str().unwrap(), body["refreshToken"].as_str().unwrap());
        assert_eq!(
            body,
            json!({
                "message": body["message"],
                "accessToken": access, "expiresIn": 3600, "tokenType": "Bearer",
                "refreshToken": refresh, "refreshExpiresIn": 2_592_000,
            })
        );
        assert_eq!(claims(refresh)["sid"], first.sid());
        assert_eq!(claims(refresh)["gen"], 1);
        assert_eq!(service.refreshed(&other.refresh).await.generation(), 1, "and is untouched");
    }

    async fn a_body_without_a_token_leaves_the_cookie_and_a_broken_one_is_400(store: Store) {
        let service = TestService::start(store).await;
        let first = service.signed_in().await;
        let mut current = first.refresh;
        for body in ["{}", r#"{"refreshToken":null}"#, r#"{"other":["x"],"sid":"y"}"#] {
            let request = service.refresh(&current).header("content-type", "application/json").body(body);
            current = Tokens::of(request.send().await.unwrap()).await.refresh;
        }
        let bad = StatusCode::BAD_REQUEST;
        for (body, field) in [
            ("{", "body"), ("[]", "body"), (r#"{"refreshToken":"a","refreshToken":"b"}"#, "body"),
            (r#"{"refreshToken":7}"#, "refreshToken"), (r#"{"refreshToken":""}"#, "refreshToken"),
            (r#"{"refreshToken":"\u0000"}"#, "refreshToken"),
        ] {
            let request = service.refresh(&current).header("content-type", "application/json").body(body);
            let answer = service.refused(request, bad, "INVALID_REQUEST").await;
            assert_eq!(answer["details"][0]["field"], field, "{answer}");
        }
        let request = service.refresh(&current).header("content-type", "text/plain").body("{}");
        service.refused(request, StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE").await;
        // Where the configuration does not allow body delivery, it does not for a refresh.
        let request = service.refresh_by_body(&current);
        let answer = service.refused(request, bad, "INVALID_REQUEST").await;
        assert_eq!(answer["details"][0]["field"], "refreshToken");
    }

    async fn case_40_anything_but_a_refresh_token_of_ours_is_401_and_ends_nothing(store: Store) {
        let service = TestService::start_with(store, body_delivery()).await;
        let elsewhere = TestService::start_with(store, body_delivery()).await;
        let ours = service.signed_in().await;
        let foreign = elsewhere.signed_in().await;
        for wrong in [
            ours.access.clone(), foreign.refresh, tampered(&ours.refresh, 0), tampered(&ours.refresh, 1),
            tampered(&ours.refresh, 2), format!("{}A", ours.refresh), "a.b.c".to_owned(),
            ours.refresh.rsplit_once('.').unwrap().0.to_owned() + ".",
        ] {
            service.refused(service.refresh(&wrong), UNAUTHORIZED, "INVALID_REFRESH_TOKEN").await;
            let request = service.refresh_by_body(&wrong);
            service.refused(request, UNAUTHORIZED, "INVALID_REFRESH_TOKEN").await;
            let answer = service.refresh(&wrong).send().await.unwrap();
            assert!(cookies(&answer).is_empty(), "a refresh clears no cookie");
        }
        let none = service.client.post(service.url(REFRESH));
        service.refused(none, UNAUTHORIZED, "INVALID_REFRESH_TOKEN").await;
        // The access token does not count here, wherever it is.
        let bearer = service.client.post(service.url(REFRESH)).bearer_auth(&ours.refresh);
        service.refused(bearer, UNAUTHORIZED, "INVALID_REFRESH_TOKEN").await;
        for wrong in [&ours.refresh, &foreign.access, &tampered(&ours.access, 1), &tampered(&ours.access, 2)] {
            service.refused(service.me(wrong), UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
        }
        let successor = service.refreshed(&ours.refresh).await;
        assert_eq!(successor.generation(), 1);
    }

    async fn case_41_fifty_at_once_get_one_and_the_same_successor(store: Store) {
        // With a single connection as well.
        for pool in ["", "pool_size = 1"] {
            let service = TestService::start_with(store, Options { store: pool, ..Options::default() }).await;
            let first = service.signed_in().await;
            let asks = (0..50).map(|_| service.refreshed(&first.refresh));
            let all = join_all(asks).await;
            for tokens in &all {
                assert!(tokens.refresh == all[0].refresh, "one successor, byte for byte");
            }
            assert_eq!(all[0].generation(), 1);
            let next = service.refreshed(&all[0].refresh).await;
            assert_eq!(next.generation(), 2);
            assert_eq!(service.sessions().await, 1);
            let metrics = service.metrics().await;
            for line in [r#"mintgate_refresh_total{outcome="rotated"} 2"#, r#"mintgate_refresh_total{outcome="replayed"} 49"#] {
                assert!(metrics.lines().any(|l| l == line), "{line} is not in:\n{metrics}");
            }
        }
    }

    async fn case_42_in_grace_the_previous_token_gets_the_same_bytes_ten_times_and_then_is_reuse(store: Store) {
        let service = TestService::start_with(store, with("[refresh]\nlost_answer = \"grace\"")).await;
        let first = service.signed_in().await;
        let successor = service.refreshed(&first.refresh).await;
        for _ in 0..10 {
            let again = service.refreshed(&first.refresh).await;
            assert!(again.refresh == successor.refresh);
            assert_ne!(claims(&again.access)["jti"], claims(&successor.access)["jti"]);
        }
        let eleventh = service.refresh(&first.refresh).send().await.unwrap();
        assert!(cookies(&eleventh).is_empty());
        assert_error(eleventh, UNAUTHORIZED, "REFRESH_TOKEN_REUSED").await;
        service.refused(service.refresh(&successor.refresh), UNAUTHORIZED, "SESSION_REVOKED").await;
        let metrics = service.metrics().await;
        for line in [
            r#"mintgate_refresh_total{outcome="reused"} 1"#,
            r#"mintgate_refresh_total{outcome="revoked"} 1"#,
            r#"mintgate_sessions_revoked_total{reason="reuse"} 1"#,
        ] {
            assert!(metrics.lines().any(|l| l == line), "{line} is not in:\n{metrics}");
        }
    }

    async fn case_42_after_grace_the_previous_token_ends_the_session_for_good(store: Store) {
        let mut service = TestService::start_with(store, with("[refresh]\nlost_answer = \"grace\"")).await;
        let first = service.signed_in().await;
        let bystander = service.signed_in().await;
        let successor = service.refreshed(&first.refresh).await;
        service.age_rotations(29).await;
        assert!(service.refreshed(&first.refresh).await.refresh == successor.refresh);
        service.age_rotations(2).await;
        let answer = service.refresh(&first.refresh).send().await.unwrap();
        assert!(cookies(&answer).is_empty());
        assert_error(answer, UNAUTHORIZED, "REFRESH_TOKEN_REUSED").await;
        for _ in 0..2 {
            for token in [&first.refresh, &successor.refresh] {
                service.refused(service.refresh(token), UNAUTHORIZED, "SESSION_REVOKED").await;
            }
            service.refused(service.me(&successor.access), UNAUTHORIZED, "SESSION_REVOKED").await;
            service.restart();
        }
        assert!(service.row(&first.sid()).await.contains("reuse"));
        assert_eq!(service.refreshed(&bystander.refresh).await.generation(), 1);
    }

    async fn case_42_a_token_older_than_the_previous_one_ends_the_session(store: Store) {
        let service = TestService::start(store).await;
        let first = service.signed_in().await;
        let second = service.refreshed(&first.refresh).await;
        let third = service.refreshed(&second.refresh).await;
        let answer = service.refresh(&first.refresh).send().await.unwrap();
        assert_error(answer, UNAUTHORIZED, "REFRESH_TOKEN_REUSED").await;
        for token in [&first, &second, &third] {
            service.refused(service.refresh(&token.refresh), UNAUTHORIZED, "SESSION_REVOKED").await;
        }
    }

    async fn case_42_by_default_a_lost_successor_is_superseded_and_then_good_for_nothing(store: Store) {
        let service = TestService::start(store).await;
        let first = service.signed_in().await;
        let lost = service.refreshed(&first.refresh).await;
        service.age_rotations(3600).await;
        let found = service.refreshed(&first.refresh).await;
        assert!(found.refresh != lost.refresh);
        assert_eq!(found.generation(), lost.generation() + 1);
        let next = service.refreshed(&found.refresh).await;
        assert_eq!(next.generation(), found.generation() + 1);
        // Now the successor has been used, so the first token is somebody else's.
        let answer = service.refresh(&first.refresh).send().await.unwrap();
        assert_error(answer, UNAUTHORIZED, "REFRESH_TOKEN_REUSED").await;

        let first = service.signed_in().await;
        let lost = service.refreshed(&first.refresh).await;
        service.age_rotations(3600).await;
        let found = service.refreshed(&first.refresh).await;
        let answer = service.refresh(&lost.refresh).send().await.unwrap();
        assert_error(answer, UNAUTHORIZED, "REFRESH_TOKEN_REUSED").await;
        service.refused(service.refresh(&found.refresh), UNAUTHORIZED, "SESSION_REVOKED").await;
    }

    /// At least 1,000 refreshes on each store, four at a time against one logout.
    async fn case_43_after_an_acknowledged_logout_no_refresh_works(store: Store) {
        let service = TestService::start(store).await;
        let (raced, won) = (AtomicUsize::new(0), AtomicUsize::new(0));
        for _ in 0..50 {
            let five = (0..5).map(|_| race(&service, &raced, &won));
            join_all(five).await;
        }
        assert!(raced.load(Ordering::Relaxed) >= 1000);
        assert!(won.load(Ordering::Relaxed) > 0, "no refresh ever came before the logout");
        let ended = service.dump().await;
        assert!(ended.rows("sessions").iter().all(|row| row.contains("logout")), "{ended:?}");
    }

    async fn case_43_rotation_slides_the_idle_limit_and_never_moves_the_absolute_one(store: Store) {
        let service = TestService::start(store).await;
        let first = service.signed_in().await;
        // The absolute limit comes closer than the idle limit is.
        service.sql(
            "UPDATE sessions SET cur_exp = cur_exp - 100, absolute_expires_at = cur_exp - 100",
            "UPDATE sessions SET cur_exp = cur_exp - interval '100 seconds', \
             absolute_expires_at = cur_exp - interval '100 seconds'",
        ).await;
        let limit = claims(&first.refresh)["exp"].as_i64().unwrap() - 100;
        let mut current = first;
        for _ in 0..3 {
            let answer = service.refresh(&current.refresh).send().await.unwrap();
            current = Tokens::of(answer).await;
            assert_eq!(claims(&current.refresh)["exp"].as_i64().unwrap(), limit);
        }
        // And is reached.
        service.sql(
            "UPDATE sessions SET cur_exp = created_at, absolute_expires_at = created_at",
            "UPDATE sessions SET cur_exp = created_at, absolute_expires_at = created_at",
        ).await;
        service.refused(service.refresh(&current.refresh), UNAUTHORIZED, "REFRESH_TOKEN_EXPIRED").await;
    }

    async fn roles_that_no_longer_fit_a_cookie_cost_no_session(store: Store) {
        let more = "[roles]\nat_refresh = \"evaluate\"\n[refresh]\ngrace_secs = 0\nlost_answer = \"grace\"\n";
        let service = TestService::start_with(store, with(more)).await;
        let first = service.signed_in().await;
        let grant = async |roles: &[String]| {
            let (json, array) = (json!(roles).to_string(), roles.join(","));
            service.sql(
                &format!("UPDATE users SET granted_roles = '{json}'"),
                &format!("UPDATE users SET granted_roles = '{{{array}}}'"),
            ).await;
        };
        grant(&(0..500).map(|n| format!("role-number-{n}")).collect::<Vec<_>>()).await;
        for _ in 0..3 {
            let request = service.refresh(&first.refresh);
            service.refused(request, StatusCode::INTERNAL_SERVER_ERROR, "TOKEN_TOO_LARGE").await;
        }
        grant(&[]).await;
        assert_eq!(service.refreshed(&first.refresh).await.generation(), 1);
    }

    async fn claims_that_fit_a_body_alone_cost_no_session_when_a_cookie_is_asked_for(store: Store) {
        let more = "[tokens]\nbody_delivery = true\n[tokens.extra_claims]\nteams = \"groups\"\n\
            [refresh]\ngrace_secs = 0\nlost_answer = \"grace\"\n";
        let service = TestService::start_with(store, with(more)).await;
        let groups: Vec<_> = (0..500).map(|i| format!("group-{i}")).collect();
        service.idp().control().set_faults(Faults {
            id_token: Some(IdTokenRecipe {
                claims: json!({ "groups": groups }).as_object().unwrap().clone(),
                ..IdTokenRecipe::default()
            }),
            ..Faults::default()
        });
        let first = signed_in_by_body(&service).await;
        for _ in 0..3 {
            let request = service.refresh(&first.refresh);
            service.refused(request, StatusCode::INTERNAL_SERVER_ERROR, "TOKEN_TOO_LARGE").await;
        }
        let next = Tokens::of(service.refresh_by_body(&first.refresh).send().await.unwrap()).await;
        assert_eq!(next.generation(), 1);
    }

    async fn case_32_a_disabled_user_is_shut_out_of_all_sessions_at_the_next_refresh(store: Store) {
        let service = TestService::start(store).await;
        let (first, second) = (service.signed_in().await, service.signed_in().await);
        let other = service.signed_in_as("bob").await;
        let sub = claims(&first.access)["sub"].as_str().unwrap().to_owned();
        service.sql(
            &format!("UPDATE users SET disabled_at = 1 WHERE id = x'{}'", sub.replace('-', "")),
            &format!("UPDATE users SET disabled_at = now() WHERE id = '{sub}'"),
        ).await;
        let answer = service.refresh(&first.refresh).send().await.unwrap();
        assert!(cookies(&answer).is_empty());
        assert_error(answer, StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
        for sid in [first.sid(), second.sid()] {
            let row = service.row(&sid).await;
            assert!(row.contains("user_disabled"), "{row}");
        }
        service.refused(service.refresh(&second.refresh), StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
        service.refused(service.me(&second.access), UNAUTHORIZED, "SESSION_REVOKED").await;
        assert_eq!(service.refreshed(&other.refresh).await.generation(), 1);
        let metrics = service.metrics().await;
        let line = r#"mintgate_sessions_revoked_total{reason="user_disabled"} 2"#;
        assert!(metrics.lines().any(|l| l == line), "{metrics}");
    }

    async fn a_token_newer_than_its_session_is_refused_where_that_is_configured(store: Store) {
        let refuse = with("[refresh]\nnewer_token = \"refuse\"");
        let service = TestService::start_with(store, refuse).await;
        let first = service.signed_in().await;
        let newer = service.refreshed(&first.refresh).await;
        set_back(&service, &first).await;
        service.refused(service.refresh(&newer.refresh), UNAUTHORIZED, "INVALID_REFRESH_TOKEN").await;
        assert_eq!(service.refreshed(&first.refresh).await.generation(), 1);
    }

    async fn a_session_goes_on_from_a_token_that_is_newer_unless_it_has_ended(store: Store) {
        log::keep();
        let service = TestService::start(store).await;
        let first = service.signed_in().await;
        let mut newest = first.clone();
        for _ in 0..3 {
            newest = service.refreshed(&newest.refresh).await;
        }
        set_back(&service, &first).await;
        let next = service.refreshed(&newest.refresh).await;
        assert_eq!(next.generation(), newest.generation() + 1);
        // Its answer was lost.
        assert_eq!(service.refreshed(&newest.refresh).await.refresh, next.refresh);
        let after = service.refreshed(&next.refresh).await;
        service.me(&after.access).send().await.expect("an answer");
        let metrics = service.metrics().await;
        let line = r#"mintgate_refresh_total{outcome="followed"} 1"#;
        assert!(metrics.lines().any(|l| l == line), "{metrics}");
        let sid = first.sid();
        let alarms = log::lines().filter(|line| {
            line["level"] == "WARN" && line["session"] == sid.as_str()
                && line["message"].as_str().is_some_and(|text| text.contains("restore-done"))
        });
        assert_eq!(alarms.count(), 1);

        set_back(&service, &first).await;
        let out = service.log_out(&after.access).send().await.expect("an answer");
        assert_eq!(out.status(), StatusCode::OK);
        service.refused(service.refresh(&after.refresh), UNAUTHORIZED, "SESSION_REVOKED").await;
    }
}

/// What a restored backup does: the row is as it was when this was the session's first token.
async fn set_back(service: &TestService, first: &Tokens) {
    let digest = mintgate_domain::TokenHash::of(&first.refresh);
    let (high, low) = digest.as_bytes().split_at(16);
    let half = |bytes: &[u8]| u128::from_be_bytes(bytes.try_into().unwrap());
    let hex = format!("{:032x}{:032x}", half(high), half(low));
    let set = |hash: &str| {
        format!(
            "UPDATE sessions SET gen = 0, cur_hash = {hash}, prev_hash = NULL, rotated_at = NULL"
        )
    };
    service.sql(&set(&format!("x'{hex}'")), &set(&format!("'\\x{hex}'"))).await;
}

#[tokio::test]
async fn the_log_line_says_whose_session_it_is_and_warns_of_reuse_and_of_a_store_set_back() {
    log::keep();
    let options = with("[refresh]\nnewer_token = \"refuse\"");
    let service = TestService::start_with(Store::Sqlite, options).await;
    let first = service.signed_in().await;
    let second = service.refreshed(&first.refresh).await;
    let said = claims(&first.access);
    let line = async |request: mintgate_testkit::http::RequestBuilder| {
        let answer = request.send().await.unwrap();
        log::line(answer.headers()["x-request-id"].to_str().unwrap())
    };
    let me = line(service.me(&second.access)).await;
    let third = line(service.refresh(&second.refresh)).await;
    for logged in [&me, &third] {
        assert_eq!(logged["provider"], "corp");
        assert_eq!(logged["level"], "INFO");
    }
    let ahead = {
        service.sql("UPDATE sessions SET gen = 0", "").await;
        service.sql("UPDATE sessions SET cur_hash = randomblob(32), prev_hash = NULL", "").await;
        line(service.refresh(&second.refresh)).await
    };
    assert_eq!(
        (&ahead["level"], &ahead["error_code"]),
        (&json!("WARN"), &json!("INVALID_REFRESH_TOKEN"))
    );
    service.sql("UPDATE sessions SET gen = 9", "").await;
    let reuse = line(service.refresh(&first.refresh)).await;
    assert_eq!(
        (&reuse["level"], &reuse["error_code"]),
        (&json!("WARN"), &json!("REFRESH_TOKEN_REUSED"))
    );
    let after = line(service.refresh(&first.refresh)).await;
    assert_eq!(
        (&after["level"], &after["error_code"]),
        (&json!("INFO"), &json!("SESSION_REVOKED"))
    );
    let gone = line(service.log_out(&second.access)).await;
    for logged in [me, third, ahead, reuse, after, gone] {
        assert_eq!(logged["session"], said["sid"], "{logged}");
        assert_eq!(logged["user"], said["sub"], "{logged}");
    }
    // Garbage names nobody.
    let forged = line(service.refresh(&tampered(&first.refresh, 2))).await;
    assert_eq!((&forged["level"], &forged["session"]), (&json!("INFO"), &Value::Null));
}

/// Rounds of four refreshes at once, each with what the one before it got, against one logout.
async fn race(service: &TestService, raced: &AtomicUsize, won: &AtomicUsize) {
    let first = service.signed_in().await;
    let acknowledged = AtomicBool::new(false);
    let refresh = async |token: &str| {
        let begun_after = acknowledged.load(Ordering::SeqCst);
        let answer = service.refresh(token).send().await.unwrap();
        if answer.status() == StatusCode::OK {
            assert!(!begun_after, "a refresh that was begun after the logout was answered");
            won.fetch_add(1, Ordering::Relaxed);
            return Some(Tokens::of(answer).await.refresh);
        }
        assert_error(answer, UNAUTHORIZED, "SESSION_REVOKED").await;
        None
    };
    let rounds = async {
        let mut seen = vec![first.refresh.clone()];
        loop {
            raced.fetch_add(4, Ordering::Relaxed);
            let token = seen[seen.len() - 1].clone();
            let answers = join_all((0..4).map(|_| refresh(&token))).await;
            let ended = answers.contains(&None);
            seen.extend(answers.into_iter().flatten().next());
            if ended {
                return seen;
            }
        }
    };
    let log_out = async {
        let answer = service.log_out(&first.access).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        acknowledged.store(true, Ordering::SeqCst);
    };
    let (seen, ()) = tokio::join!(rounds, log_out);
    for token in &seen {
        assert_eq!(refresh(token).await, None);
    }
}

#[tokio::test]
async fn case_44_a_store_that_is_cut_off_is_503_and_the_same_token_works_afterwards() {
    let Some(service) = TestService::behind_a_line().await else { return };
    let mut current = service.signed_in().await;
    for round in 1..=3 {
        service.line().cut();
        let requests = [
            service.refresh(&current.refresh),
            service.me(&current.access),
            service.log_out(&current.access),
            service
                .client
                .post(service.url(LOGOUT))
                .header("cookie", format!("Auth-Access-Token={}", current.access)),
        ];
        let answers = join_all(requests.map(RequestBuilder::send));
        let answers = tokio::time::timeout(Duration::from_secs(10), answers).await;
        for answer in answers.expect("answers in bounded time") {
            let answer = answer.unwrap();
            assert!(cookies(&answer).is_empty(), "the session lives on");
            assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "STORE_UNAVAILABLE").await;
        }
        service.line().restore();
        service.until_ready().await;
        current = service.refreshed(&current.refresh).await;
        assert_eq!(current.generation(), round);
    }
}
