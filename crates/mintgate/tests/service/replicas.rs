//! Two replicas on one Postgres: one ring of keys, one truth about sessions, two clocks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::{Options, Store, TestService, Tokens, header};
use futures_util::future::join_all;
use mintgate::system::SystemClock;
use mintgate_domain::ports::Clock;
use mintgate_testkit::ResourceServer;
use mintgate_testkit::postgres::{self, TestDatabase};
use reqwest::StatusCode;
use serde_json::Value;
use time::OffsetDateTime;

/// A key-encryption key: 32 bytes in base64.
const ENCRYPTION_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A clock that is wrong.
struct Skewed {
    machine: SystemClock,
    by: time::Duration,
}

impl Clock for Skewed {
    fn now(&self) -> OffsetDateTime {
        self.machine.now() + self.by
    }

    fn monotonic(&self) -> Duration {
        self.machine.monotonic()
    }
}

async fn replica(database: &TestDatabase, skew_secs: i64) -> TestService {
    let clock = Skewed { machine: SystemClock::new(), by: time::Duration::seconds(skew_secs) };
    TestService::start_with(
        Store::Postgres,
        Options {
            store_url: Some(database.url()),
            keys: format!(
                "encryption_key = \"{ENCRYPTION_KEY}\"\npublish_ahead_secs = 0\nreload_secs = 1"
            ),
            clock: (skew_secs != 0).then(|| Arc::new(clock) as Arc<dyn Clock>),
            ..Options::default()
        },
    )
    .await
}

const ISSUER: &str = "http://localhost:8080";

/// Another service, with an independent library: it was told the issuer alone, has asked once, and
/// keeps the key set, as `Cache-Control` allows it to.
struct Verifier(ResourceServer);

impl Verifier {
    /// Sets itself up; whatever it asks at the issuer's address, a balancer takes to this replica.
    async fn new(replica: &TestService) -> Self {
        let get = async |url: &str| -> Value {
            let url = replica.url(url.strip_prefix(ISSUER).expect("an address of the issuer"));
            let answer = replica.client.get(url).send().await.unwrap();
            assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
            answer.json().await.unwrap()
        };
        let metadata = get(&format!("{ISSUER}/.well-known/openid-configuration")).await;
        assert_eq!(metadata["issuer"], ISSUER);
        let keys = get(metadata["jwks_uri"].as_str().unwrap()).await.to_string();
        Self(ResourceServer::new(&keys, ISSUER, ISSUER))
    }

    fn accepts(&self, access: &str) {
        self.0.verify(access).unwrap();
    }
}

/// Proves that an access token is accepted at both replicas and by both verifiers.
async fn accepted(replicas: [&TestService; 2], verifiers: &[Verifier; 2], access: &str) {
    for replica in replicas {
        let answer = replica.me(access).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
    }
    for verifier in verifiers {
        verifier.accepts(access);
    }
}

/// What an operator does, beside the running service.
async fn rotate(config: &Path, key_use: &str) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_mintgate"))
        .arg("--config")
        .arg(config)
        .args(["keys", "rotate", "--use", key_use])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Refreshes and is accepted again and again, at one replica after the other, until told to stop.
async fn live(
    replicas: [&TestService; 2],
    verifiers: &[Verifier; 2],
    stop: &AtomicBool,
) -> (Tokens, u64) {
    let mut tokens = replicas[0].signed_in().await;
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        let [here, there] = if rounds % 2 == 0 { replicas } else { [replicas[1], replicas[0]] };
        let next = here.refreshed(&tokens.refresh).await;
        // The answer was lost, and the client asks the other one.
        assert!(there.refreshed(&tokens.refresh).await.refresh == next.refresh, "one successor");
        accepted(replicas, verifiers, &tokens.access).await;
        accepted(replicas, verifiers, &next.access).await;
        tokens = next;
        rounds += 1;
    }
    (tokens, rounds)
}

#[tokio::test]
async fn keys_are_rotated_under_load_and_no_token_is_refused_anywhere() {
    if !postgres::is_given() {
        return;
    }
    let database = crate::common::database().await;
    let (a, b) = (replica(&database, 0).await, replica(&database, 0).await);
    // Each has read the whole ring that the first to start has made, and no later one.
    let verifiers = [Verifier::new(&a).await, Verifier::new(&b).await];
    let oldest = a.signed_in().await;
    let before = [kid(&oldest.access), kid(&oldest.refresh)];
    let stop = AtomicBool::new(false);
    let clients = join_all((0..3).map(|_| live([&a, &b], &verifiers, &stop)));
    let operator = async {
        let config = a.config_file();
        for key_use in ["access", "refresh"] {
            rotate(&config, key_use).await;
        }
        // Until both sign with the new keys, and a while of both.
        for replica in [&a, &b] {
            loop {
                let tokens = replica.signed_in().await;
                accepted([&a, &b], &verifiers, &tokens.access).await;
                let now = [kid(&tokens.access), kid(&tokens.refresh)];
                if now[0] != before[0] && now[1] != before[1] {
                    break;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (ended, ()) = tokio::join!(clients, operator);
    for (tokens, rounds) in ended {
        assert!(rounds > 0);
        assert_ne!(kid(&tokens.access), "");
    }
    // What the former keys signed is as good as before.
    accepted([&a, &b], &verifiers, &oldest.access).await;
    let next = b.refreshed(&oldest.refresh).await;
    assert_ne!(kid(&next.refresh), before[1]);
    accepted([&a, &b], &verifiers, &next.access).await;
}

fn kid(token: &str) -> String {
    header(token)["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn case_53_clocks_that_are_ten_minutes_apart_end_no_benign_session() {
    if !postgres::is_given() {
        return;
    }
    let database = crate::common::database().await;
    let (ahead, behind) = (replica(&database, 300).await, replica(&database, -300).await);
    // A provider's ID tokens tell the time too closely to sign in by a clock that is so wrong.
    let exact = replica(&database, 0).await;
    for [first, second] in [[&ahead, &behind], [&behind, &ahead]] {
        let mut tokens = exact.signed_in().await;
        for _ in 0..10 {
            let next = second.refreshed(&tokens.refresh).await;
            // Lost answers, asked for again on either side, within the grace period.
            for replica in [first, second] {
                assert!(replica.refreshed(&tokens.refresh).await.refresh == next.refresh);
                let me = replica.me(&next.access).send().await.unwrap();
                assert_eq!(me.status(), StatusCode::OK);
            }
            tokens = first.refreshed(&next.refresh).await;
        }
        assert_eq!(tokens.generation(), 20);
    }
}
