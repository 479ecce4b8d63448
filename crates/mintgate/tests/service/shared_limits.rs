//! Limits that two replicas on one Postgres have in common: their clocks differ by ten minutes, and stand still, so
//! that nothing becomes due but what the store took to pass it on.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Options, Store, TestService, Tokens, assert_error, bare};
use mintgate::system::SystemClock;
use mintgate_domain::model::Timestamp;
use mintgate_domain::ports::Clock as _;
use mintgate_testkit::ManualClock;
use mintgate_testkit::http::RequestBuilder;
use mintgate_testkit::postgres;
use reqwest::{Response, StatusCode};
use serde_json::json;

const ATTACKER: &str = "192.0.2.1";
const SOMEBODY: &str = "192.0.2.2";
const LIMITED: StatusCode = StatusCode::TOO_MANY_REQUESTS;
/// How long the replicas have for what takes them a second or two.
const PATIENCE: Duration = Duration::from_secs(40);

/// Two replicas, the first behind a line that can be cut.
struct Pair {
    a: TestService,
    b: TestService,
}

impl Pair {
    /// With these limits, and clocks that are wrong by so many seconds.
    async fn start(limits: &str, skew: i64) -> Self {
        let options = |skew: i64| {
            let now: Timestamp = SystemClock::new().now().into();
            Options {
                more: format!("[limits]\n{limits}"),
                server: "trusted_proxies = [\"127.0.0.0/8\"]",
                keys: format!("encryption_key = \"{}\"\npublish_ahead_secs = 0", "ab".repeat(32)),
                clock: Some(Arc::new(ManualClock::at(Timestamp::from_unix(now.as_unix() + skew)))),
                ..Options::default()
            }
        };
        let first = Options { behind_a_line: true, store_timeout_ms: 3000, ..options(skew) };
        let a = TestService::start_with(Store::Postgres, first).await;
        let second = Options { store_url: Some(a.store_url()), ..options(-skew) };
        let b = TestService::start_with(Store::Postgres, second).await;
        Self { a, b }
    }

    /// Returns when each has told the other all that was counted before.
    async fn told(&self) {
        for replica in [&self.a, &self.b] {
            exchanged(replica).await;
        }
        exchanged(&self.a).await;
    }

    /// How many of so many requests are let in, which go to one replica after the other.
    async fn let_in(
        &self,
        caller: &str,
        count: usize,
        of: impl Fn(&TestService) -> RequestBuilder,
    ) -> usize {
        let mut let_in = 0;
        for replica in [&self.a, &self.b].into_iter().cycle().take(count) {
            let_in += usize::from(from(caller, of(replica)).await.status() != LIMITED);
        }
        let_in
    }
}

/// The number that a series of a replica has.
async fn number(replica: &TestService, series: &str) -> f64 {
    let metrics = replica.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |number| number.parse().expect("a number"))
}

/// Returns when a series has grown by so much.
async fn grown(replica: &TestService, series: &str, by: f64) {
    let before = number(replica, series).await;
    let grown = async {
        while number(replica, series).await < before + by {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, grown).await.unwrap_or_else(|_| panic!("{series} grows"));
}

/// Returns when a replica has begun an exchange and ended it.
async fn exchanged(replica: &TestService) {
    let calls = "mintgate_store_query_duration_seconds_count{operation=\"shared_counts\"}";
    grown(replica, calls, 2.0).await;
}

async fn from(caller: &str, request: RequestBuilder) -> Response {
    request.header("x-forwarded-for", caller).send().await.unwrap()
}

fn login(replica: &TestService) -> RequestBuilder {
    replica.login_request(&json!({"provider": "corp"}))
}

#[tokio::test]
async fn who_goes_from_one_replica_to_the_next_has_what_one_allows_and_others_have_all_of_theirs() {
    if !postgres::is_given() {
        return;
    }
    let pair = Pair::start("logins_per_minute = 40\nshared = true", 300).await;
    assert_eq!(pair.let_in(ATTACKER, 40, login).await, 40);
    pair.told().await;
    for replica in [&pair.a, &pair.b] {
        assert_error(from(ATTACKER, login(replica)).await, LIMITED, "RATE_LIMITED").await;
    }
    assert_eq!(pair.let_in(SOMEBODY, 40, login).await, 40);
}

#[tokio::test]
async fn replicas_whose_limits_are_not_shared_count_for_themselves_and_ask_the_store_for_nothing() {
    if !postgres::is_given() {
        return;
    }
    let pair = Pair::start("logins_per_minute = 20", 0).await;
    assert_eq!(pair.let_in(ATTACKER, 60, login).await, 40);
    for replica in [&pair.a, &pair.b] {
        let calls = "mintgate_store_query_duration_seconds_count{operation=\"shared_counts\"}";
        assert_eq!(number(replica, calls).await.to_bits(), 0);
    }
}

#[tokio::test]
async fn sign_ins_refused_at_both_replicas_are_counted_together_and_end_at_the_same_time() {
    if !postgres::is_given() {
        return;
    }
    let pair = Pair::start("refused_sign_ins_per_minute = 10\nshared = true", 0).await;
    let guess = |replica: &TestService| replica.post(&bare("a guess"));
    assert_eq!(pair.let_in(ATTACKER, 10, guess).await, 10);
    pair.told().await;
    for replica in [&pair.a, &pair.b] {
        let limited = from(ATTACKER, guess(replica)).await;
        let wait: u32 = limited.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((20..=60).contains(&wait), "{wait}");
        assert_error(limited, LIMITED, "RATE_LIMITED").await;
        let signed_in = from(SOMEBODY, replica.post(&bare(&replica.code()))).await;
        assert_eq!(signed_in.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_provider_and_a_session_are_limited_for_both_replicas_together() {
    if !postgres::is_given() {
        return;
    }
    let limits = "provider_sign_ins_per_minute = 20\nsession_refreshes_per_minute = 10\n\
                  refused_sign_ins_per_minute = 0\nshared = true";
    let pair = Pair::start(limits, 0).await;
    let mut tokens = pair.a.signed_in().await;
    let other = pair.b.signed_in().await;
    for replica in [&pair.a, &pair.b].into_iter().cycle().take(10) {
        tokens = Tokens::of(from(SOMEBODY, replica.refresh(&tokens.refresh)).await).await;
    }
    let guess = |replica: &TestService| replica.post(&bare("a guess"));
    assert_eq!(pair.let_in(ATTACKER, 20, guess).await, 20);
    pair.told().await;
    for replica in [&pair.a, &pair.b] {
        let limited = from(SOMEBODY, replica.refresh(&tokens.refresh)).await;
        assert_error(limited, LIMITED, "RATE_LIMITED").await;
        let limited = from(ATTACKER, guess(replica)).await;
        assert!(limited.headers()["ratelimit"].to_str().unwrap().contains("provider_sign_ins"));
        let signed_in = from("198.51.100.7", replica.post(&bare(&replica.code()))).await;
        assert_eq!(signed_in.status(), StatusCode::OK, "somebody who comes later");
    }
    let refreshed = from(SOMEBODY, pair.b.refresh(&other.refresh)).await;
    assert_eq!(refreshed.status(), StatusCode::OK, "another session");
}

#[tokio::test]
async fn a_replica_that_starts_again_knows_what_was_used_in_the_last_minute() {
    if !postgres::is_given() {
        return;
    }
    let mut pair = Pair::start("logins_per_minute = 40\nshared = true", 0).await;
    assert_eq!(pair.let_in(ATTACKER, 40, login).await, 40);
    pair.told().await;
    pair.a.restart();
    exchanged(&pair.a).await;
    let mut let_in = 0;
    while from(ATTACKER, login(&pair.a)).await.status() == StatusCode::OK {
        let_in += 1;
    }
    assert!(let_in < 40, "only what has become due since: {let_in}");
    assert_eq!(pair.let_in(SOMEBODY, 40, login).await, 40);
}

#[tokio::test]
async fn a_replica_without_its_store_goes_on_alone_and_shares_again_afterwards() {
    if !postgres::is_given() {
        return;
    }
    let pair = Pair::start("logins_per_minute = 20\nshared = true", 0).await;
    pair.told().await;
    pair.a.line().cut();
    grown(&pair.a, "mintgate_limits_exchange_failures_total", 1.0).await;
    assert_eq!(pair.let_in(ATTACKER, 60, login).await, 40, "each allows what it may");
    pair.a.line().restore();
    pair.a.until_ready().await;
    pair.told().await;
    assert_eq!(pair.let_in(SOMEBODY, 20, login).await, 20);
    pair.told().await;
    for replica in [&pair.a, &pair.b] {
        assert_eq!(from(SOMEBODY, login(replica)).await.status(), LIMITED);
    }
    let last = number(&pair.a, "mintgate_limits_last_exchange_timestamp_seconds").await;
    assert!(last > 0.0, "{last}");
}
