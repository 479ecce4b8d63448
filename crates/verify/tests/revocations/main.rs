//! The feed of ended sessions, followed from a server on a socket that signs real messages.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod fake_feed;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../verify/signer.rs"]
mod signer;

use std::time::{Duration, SystemTime};

use mintgate_verify::{AtStart, FeedStatus, Issuer, Refusal, Revocations, Verifier, WhenStale};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use fake_feed::{CLIENT, FakeFeed, SECRET};

const AUDIENCE: &str = "https://api.example.com";
const HEARTBEAT: Duration = Duration::from_millis(100);

fn sid(number: u32) -> String {
    format!("01920000-0000-7000-8000-{number:012x}")
}

fn now() -> i64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn ended(sid: &str) -> Value {
    json!({ "sid": sid, "forget_after": now() + 3600 })
}

fn revocations() -> Revocations {
    Revocations::new(CLIENT, SECRET).heartbeat(HEARTBEAT)
}

fn verifier_of(feed: &FakeFeed, revocations: Revocations) -> Verifier {
    let issuer = Issuer::new(feed.url()).revocations(revocations);
    Verifier::builder(issuer).audience(AUDIENCE).build().unwrap()
}

async fn following(feed: &FakeFeed) -> Verifier {
    let verifier = verifier_of(feed, revocations());
    verifier.ready().await;
    verifier
}

fn status(verifier: &Verifier) -> FeedStatus {
    verifier.status()[0].feed.clone().unwrap()
}

fn token(feed: &FakeFeed, changes: &Value) -> String {
    let mut claims = json!({
        "iss": feed.url(), "sub": "alice", "aud": AUDIENCE, "iat": now(), "exp": now() + 3600,
        "sid": sid(1), "epoch": 3,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    feed.signer().token(&claims)
}

/// Waits until this is so, for a few seconds.
#[track_caller]
fn until(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it did not happen: {place}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_session_that_ends_is_refused_within_a_second() {
    let feed = FakeFeed::start().await;
    let verifier = following(&feed).await;
    let [gone, other] = [1, 2].map(|n| token(&feed, &json!({ "sid": sid(n) })));
    verifier.verify(&gone).unwrap();
    let begun = Instant::now();
    feed.end(ended(&sid(1)));
    until(|| verifier.verify(&gone) == Err(Refusal::SessionEnded)).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    verifier.verify(&other).unwrap();
    assert_eq!(Refusal::SessionEnded.status(), 401);
}

#[tokio::test]
async fn what_ended_before_the_start_is_refused_from_the_first_request_on() {
    let feed = FakeFeed::start().await;
    (0..2500).for_each(|number| feed.end(ended(&sid(number))));
    feed.end(json!({ "sid": "not a UUID", "forget_after": now() + 3600 }));
    let verifier = following(&feed).await;
    for sid in [sid(0), sid(2499), "not a UUID".to_owned()] {
        let token = token(&feed, &json!({ "sid": sid }));
        assert_eq!(verifier.verify(&token), Err(Refusal::SessionEnded), "{sid}");
    }
    verifier.verify(&token(&feed, &json!({ "sid": sid(2500) }))).unwrap();
    assert_eq!(status(&verifier).sessions, 2501);
}

#[tokio::test]
async fn a_user_is_refused_below_the_epoch() {
    let feed = FakeFeed::start().await;
    let verifier = following(&feed).await;
    let with = |epoch: Value| token(&feed, &json!({ "epoch": epoch }));
    feed.end(json!({ "sub": "alice", "epoch": 4, "forget_after": now() + 3600 }));
    feed.end(json!({ "sub": "alice", "epoch": 2, "forget_after": now() + 3600 }));
    feed.end(ended(&sid(9)));
    until(|| status(&verifier).sessions == 1).await;
    assert_eq!(verifier.verify(&with(json!(3))), Err(Refusal::SessionEnded));
    assert_eq!(verifier.verify(&with(json!(null))), Err(Refusal::SessionEnded));
    verifier.verify(&with(json!(4))).unwrap();
    verifier.verify(&token(&feed, &json!({ "sub": "bob", "epoch": 0 }))).unwrap();
}

#[tokio::test]
async fn after_a_restore_tokens_from_before_are_refused() {
    let feed = FakeFeed::start().await;
    let verifier = following(&feed).await;
    let [before, after] = [-10, 0].map(|age| token(&feed, &json!({ "iat": now() + age })));
    verifier.verify(&before).unwrap();
    feed.end(json!({ "issued_before": now() - 5, "forget_after": now() + 3600 }));
    until(|| verifier.verify(&before) == Err(Refusal::SessionEnded)).await;
    verifier.verify(&after).unwrap();
}

#[tokio::test]
async fn nothing_is_missed_while_the_connection_is_down() {
    let feed = FakeFeed::start().await;
    let verifier = following(&feed).await;
    until(|| feed.streams() == 1).await;
    feed.refuse(true);
    feed.disconnect();
    (1..=3).for_each(|number| feed.end(ended(&sid(number))));
    until(|| status(&verifier).failures > 0).await;
    verifier.verify(&token(&feed, &json!({}))).unwrap();
    feed.refuse(false);
    until(|| status(&verifier).sessions == 3).await;
    assert_eq!(status(&verifier).snapshots, 1, "it had to begin anew");
}

#[tokio::test]
async fn a_cursor_that_the_server_does_not_know_is_answered_by_a_snapshot_that_replaces_all() {
    let feed = FakeFeed::start().await;
    feed.end(ended(&sid(1)));
    let verifier = following(&feed).await;
    feed.restore(vec![ended(&sid(2))]);
    feed.disconnect();
    until(|| status(&verifier).snapshots == 2).await;
    assert_eq!(status(&verifier).sessions, 1);
    verifier.verify(&token(&feed, &json!({ "sid": sid(1) }))).unwrap();
    let gone = token(&feed, &json!({ "sid": sid(2) }));
    assert_eq!(verifier.verify(&gone), Err(Refusal::SessionEnded));
}

#[tokio::test]
async fn a_message_that_does_not_follow_the_last_one_makes_it_begin_anew() {
    let feed = FakeFeed::start().await;
    let verifier = following(&feed).await;
    until(|| feed.streams() == 1).await;
    feed.end_unsaid(ended(&sid(1)));
    feed.end(ended(&sid(2)));
    until(|| status(&verifier).snapshots == 2).await;
    let gone = token(&feed, &json!({ "sid": sid(1) }));
    assert_eq!(verifier.verify(&gone), Err(Refusal::SessionEnded));
}

#[tokio::test]
async fn a_message_that_comes_twice_counts_once_and_one_that_is_cut_off_not_at_all() {
    let feed = FakeFeed::start().await;
    let verifier = following(&feed).await;
    until(|| feed.streams() == 1).await;
    feed.end(ended(&sid(1)));
    feed.say_again();
    until(|| status(&verifier).sessions == 1).await;
    feed.end_unsaid(ended(&sid(2)));
    feed.say_half();
    feed.disconnect();
    until(|| status(&verifier).sessions == 2).await;
    assert_eq!(status(&verifier).snapshots, 1);
}

#[tokio::test]
async fn a_message_that_is_not_genuine_changes_nothing() {
    let feed = FakeFeed::start().await;
    let verifier = following(&feed).await;
    let mut streams = 0;
    let other_key = signer::Signer::es256("1");
    for forged in [
        json!({ "iss": "https://other.example" }),
        json!({ "aud": "somebody else" }),
        json!({ "iat": now() - 100 }),
        json!({ "iat": now() + 100 }),
        json!({ "events": [{ "sid": sid(1) }] }),
        json!({ "events": [{ "what": sid(1), "forget_after": now() + 60 }] }),
        json!({ "events": [{ "sid": sid(1), "sub": "alice", "epoch": 9, "forget_after": 1 }] }),
    ] {
        until(|| feed.streams() > streams).await;
        streams = feed.streams();
        let message = feed.message(&[ended(&sid(1))], &forged);
        feed.say(&feed.signer().token_with(&json!({ "typ": "revocations+jwt" }), &message));
    }
    let message = feed.message(&[ended(&sid(1))], &json!({}));
    for (signer, header) in [
        (&other_key, json!({ "typ": "revocations+jwt" })),
        (feed.signer(), json!({ "typ": "at+jwt" })),
        (feed.signer(), json!({ "typ": "JWT" })),
        (feed.signer(), json!({ "typ": "revocations+jwt", "alg": "none" })),
        (feed.signer(), json!({ "typ": "revocations+jwt", "crit": ["x"] })),
    ] {
        until(|| feed.streams() > streams).await;
        streams = feed.streams();
        feed.say(&signer.token_with(&header, &message));
    }
    until(|| feed.streams() > streams).await;
    verifier.verify(&token(&feed, &json!({ "sid": sid(1) }))).unwrap();
    assert_eq!(status(&verifier).sessions, 0);
}

#[tokio::test]
async fn before_the_first_snapshot_tokens_are_refused_or_accepted_as_configured() {
    let feed = FakeFeed::start().await;
    feed.refuse(true);
    let strict = verifier_of(&feed, revocations());
    let lenient = verifier_of(&feed, revocations().at_start(AtStart::Accept));
    let token = token(&feed, &json!({}));
    lenient.verify_or_fetch(&token).await.unwrap();
    assert_eq!(status(&lenient).accepted_unsure, 1);
    assert!(lenient.is_ready());
    let refusal = strict.verify_or_fetch(&token).await.unwrap_err();
    assert_eq!((refusal.clone(), refusal.status()), (Refusal::RevocationsNotFetched, 503));
    assert!(!strict.is_ready());
    feed.refuse(false);
    strict.ready().await;
    strict.verify(&token).unwrap();
}

#[tokio::test]
async fn a_stale_feed_is_counted_and_grows_its_lag_and_does_what_is_configured() {
    let feed = FakeFeed::start().await;
    let soon = Duration::from_millis(300);
    let accept = WhenStale::Accept { at_most: Duration::from_hours(1) };
    let short = WhenStale::Accept { at_most: soon * 2 };
    let verifiers = [accept, short, WhenStale::Refuse, WhenStale::Ask]
        .map(|then| verifier_of(&feed, revocations().when_stale(soon, then)));
    for verifier in &verifiers {
        verifier.ready().await;
    }
    let [accepting, short, refusing, asking] = &verifiers;
    let token = token(&feed, &json!({}));
    feed.refuse(true);
    feed.disconnect();
    until(|| verifiers.iter().all(|it| status(it).lag > soon * 3)).await;
    accepting.verify(&token).unwrap();
    assert_eq!(status(accepting).accepted_unsure, 1);
    assert_eq!(short.verify(&token), Err(Refusal::RevocationsStale));
    assert_eq!(refusing.verify_or_fetch(&token).await, Err(Refusal::RevocationsStale));
    assert_eq!(Refusal::RevocationsStale.status(), 503);
    assert_eq!(asking.verify(&token), Err(Refusal::RevocationsStale));
    feed.introspect(Some(true));
    asking.verify_or_fetch(&token).await.unwrap();
    feed.introspect(Some(false));
    assert_eq!(asking.verify_or_fetch(&token).await, Err(Refusal::SessionEnded));
    feed.introspect(None);
    assert_eq!(asking.verify_or_fetch(&token).await, Err(Refusal::RevocationsStale));
    feed.refuse(false);
    until(|| refusing.verify(&token).is_ok()).await;
}

#[tokio::test]
async fn heartbeats_keep_the_lag_small_and_a_replayed_one_does_not() {
    let feed = FakeFeed::start().await;
    let verifier = following(&feed).await;
    until(|| feed.streams() == 1).await;
    let seen = std::sync::Mutex::new(Duration::ZERO);
    feed.be_quiet();
    let replayed = feed.heartbeat();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        feed.say(&replayed);
        sleep(HEARTBEAT).await;
        let lag = status(&verifier).lag;
        let mut most = seen.lock().unwrap();
        *most = lag.max(*most);
    }
    assert!(*seen.lock().unwrap() > Duration::from_secs(2), "the replay passed for news");
    feed.say(&feed.heartbeat());
    until(|| status(&verifier).lag < Duration::from_millis(500)).await;
}

#[tokio::test]
async fn where_a_proxy_holds_the_stream_back_the_feed_is_polled() {
    let feed = FakeFeed::start().await;
    feed.hold_streams();
    let verifier = following(&feed).await;
    feed.end(ended(&sid(1)));
    let gone = token(&feed, &json!({ "sid": sid(1) }));
    until(|| verifier.verify(&gone) == Err(Refusal::SessionEnded)).await;
    feed.end(ended(&sid(2)));
    let gone = token(&feed, &json!({ "sid": sid(2) }));
    until(|| verifier.verify(&gone) == Err(Refusal::SessionEnded)).await;
}

#[tokio::test]
async fn the_feed_may_be_signed_with_a_new_key() {
    let mut feed = FakeFeed::start().await;
    let verifier = following(&feed).await;
    let gone = token(&feed, &json!({ "sid": sid(1) }));
    verifier.verify(&gone).unwrap();
    feed.rotate();
    feed.end(ended(&sid(1)));
    until(|| verifier.verify(&gone) == Err(Refusal::SessionEnded)).await;
}
