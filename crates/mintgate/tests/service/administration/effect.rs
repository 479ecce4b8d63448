//! An operator's act takes effect at once, on every replica, whatever is under way.

use mintgate_testkit::fault_proxy::FaultProxy;
use mintgate_testkit::postgres::TestDatabase;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::options;
use crate::common::session::{SESSIONS, Tokens};
use crate::common::{Options, Store, TestService, assert_error, bare};
use crate::on_both_stores;

/// A key-encryption key, which replicas share: 32 bytes in base64.
const ENCRYPTION_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The acts after which nothing of a person's sessions may work.
const ACTS: [&[&str]; 3] =
    [&["users", "disable"], &["users", "delete", "--yes"], &["sessions", "end-all"]];

fn with_shared_keys(store_url: String) -> Options {
    let keys = format!("encryption_key = \"{ENCRYPTION_KEY}\"\npublish_ahead_secs = 0");
    Options { keys, store_url: Some(store_url), ..options() }
}

impl TestService {
    /// Proves that no request is accepted any more that shows one of these tokens, or repeats a sign-in.
    async fn nothing_works(&self, tokens: &[&Tokens], repeat: &(String, Value)) {
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        for tokens in tokens {
            for request in [
                self.refresh(&tokens.refresh),
                self.refresh_by_body(&tokens.refresh),
                self.me(&tokens.access),
                self.client.get(self.url(SESSIONS)).bearer_auth(&tokens.access),
            ] {
                let answer = request.send().await.unwrap();
                assert!(refused.contains(&answer.status()), "{answer:?}");
                assert!(
                    !answer
                        .headers()
                        .get_all("set-cookie")
                        .iter()
                        .any(|cookie| { !cookie.to_str().unwrap().contains("Max-Age=0") })
                );
            }
        }
        let (key, body) = repeat;
        let repeated = self.post(body).header("idempotency-key", key).send().await.unwrap();
        assert!(refused.contains(&repeated.status()), "{repeated:?}");
    }

    /// A sign-in that may be repeated.
    async fn repeatable(&self, key: &str) -> (Tokens, (String, Value)) {
        let body = bare(&self.code());
        let answer = self.post(&body).header("idempotency-key", key).send().await.unwrap();
        (Tokens::of(answer).await, (key.to_owned(), body))
    }
}

on_both_stores! {
    async fn after_an_act_nothing_of_the_persons_sessions_works(store: Store) {
        let service = TestService::start_with(store, options()).await;
        let bob = service.signed_in_as("bob").await;
        for (n, act) in ACTS.into_iter().enumerate() {
            let (first, repeat) = service.repeatable(&format!("operators-act-number-{n}")).await;
            // One by cookie that was refreshed: its previous token is within the grace window.
            let second = service.signed_in().await;
            let refreshed = service.refreshed(&second.refresh).await;
            let mut body = bare(&service.code());
            body["tokenDelivery"] = json!("body");
            let third = Tokens::of(service.post(&body).send().await.unwrap()).await;
            service.operate(&[act, &["alice@example.com"]].concat()).await.done();
            service.nothing_works(&[&first, &second, &refreshed, &third], &repeat).await;
            if act.contains(&"disable") {
                let login = service.login(&service.code()).await;
                assert_error(login, StatusCode::FORBIDDEN, "ACCESS_DENIED").await;
                service.operate(&["users", "enable", "alice@example.com"]).await.done();
                service.nothing_works(&[&first, &second, &refreshed, &third], &repeat).await;
            }
        }
        service.refreshed(&bob.refresh).await;
    }
}

/// Two replicas on one database; what the first sends to it goes through a line.
async fn replicas(database: &TestDatabase) -> (TestService, FaultProxy, TestService) {
    let line = FaultProxy::start(database.host_and_port()).await;
    let through = with_shared_keys(database.url_through(line.address()));
    let first = TestService::start_with(Store::Postgres, through).await;
    let second = TestService::start_with(Store::Postgres, with_shared_keys(database.url())).await;
    (first, line, second)
}

/// The refresh is on its way to the database while the act is acknowledged.
#[tokio::test]
async fn a_refresh_that_reaches_the_store_after_the_act_is_refused() {
    if !mintgate_testkit::postgres::is_given() {
        return;
    }
    let database = crate::common::database().await;
    let (held, line, free) = replicas(&database).await;
    for (n, act) in ACTS.into_iter().enumerate() {
        // At the same provider, so that the person is the same.
        let (tokens, repeat) = held.repeatable(&format!("a-refresh-on-its-way-{n}")).await;
        let seen = line.round_trips();
        let next = held.refreshed(&tokens.refresh).await;
        assert!(line.round_trips() > seen, "it goes through the line");
        line.pause();
        // The current token, and the previous one within the grace window.
        let refreshes = [&next.refresh, &tokens.refresh];
        let refreshes = refreshes.map(|token| tokio::spawn(held.refresh(token).send()));
        let user = free.user_id("alice@example.com").await;
        free.operate(&[act, &[user.as_str()]].concat()).await.done();
        assert!(refreshes.iter().all(|refresh| !refresh.is_finished()), "they wait for the line");
        line.restore();
        for refresh in refreshes {
            let answer = refresh.await.unwrap().unwrap();
            let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
            assert!(refused.contains(&answer.status()), "{act:?}: {answer:?}");
        }
        for replica in [&held, &free] {
            replica.nothing_works(&[&tokens, &next], &repeat).await;
        }
        if act.contains(&"disable") {
            free.operate(&["users", "enable", &user]).await.done();
        }
    }
}

/// Between what it has read and its commit the refresh waits for a lock, and the act behind it.
#[tokio::test]
async fn a_refresh_that_commits_before_the_act_gives_tokens_that_do_not_work_after_it() {
    if !mintgate_testkit::postgres::is_given() {
        return;
    }
    let database = crate::common::database().await;
    let (first, _line, second) = replicas(&database).await;
    let mut locker = database.client().await;
    let watcher = database.client().await;
    let waiting = async |count: usize| {
        let query = "SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while watcher.query(query, &[]).await.unwrap().len() < count {
            tokio::task::yield_now().await;
        }
    };
    for (n, act) in ACTS.into_iter().enumerate() {
        let (tokens, repeat) = first.repeatable(&format!("a-refresh-in-between-{n}")).await;
        let user = second.user_id("alice@example.com").await;
        let lock = locker.transaction().await.unwrap();
        lock.batch_execute("SELECT FROM sessions WHERE revoked_at IS NULL FOR UPDATE")
            .await
            .unwrap();
        let refresh = tokio::spawn(first.refresh(&tokens.refresh).send());
        waiting(1).await;
        let arguments = [act, &[user.as_str()]].concat();
        let acting = async { second.operate(&arguments).await.done() };
        let releasing = async {
            waiting(2).await;
            lock.rollback().await.unwrap();
        };
        tokio::join!(acting, releasing);
        let answer = refresh.await.unwrap().unwrap();
        let next = match answer.status() {
            StatusCode::OK => Tokens::of(answer).await,
            _ => tokens.clone(),
        };
        for replica in [&first, &second] {
            replica.nothing_works(&[&tokens, &next], &repeat).await;
        }
        if act.contains(&"disable") {
            second.operate(&["users", "enable", &user]).await.done();
        }
    }
}
