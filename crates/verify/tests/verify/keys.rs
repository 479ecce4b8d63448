//! When keys are fetched, and what requests see meanwhile. The clock of these tests is that of tokio, which moves
//! only while nothing else can run.

use std::time::Duration;

use mintgate_verify::{Refusal, Verifier};
use tokio::time::{Instant, sleep};

use crate::fake_issuer::{Answer, FakeIssuer, jwks};
use crate::signer::Signer;
use crate::{builder, claims, ready, refused};

const SECOND: Duration = Duration::from_secs(1);

/// Tokens with made-up `kid`s.
fn made_up(count: usize) -> Vec<String> {
    let signer = Signer::es256("made up");
    let token =
        |index| signer.token_with(&serde_json::json!({ "kid": format!("x{index}") }), &claims());
    (0..count).map(token).collect()
}

#[tokio::test(start_paused = true)]
async fn five_hundred_requests_at_the_start_wait_for_one_fetch() {
    let signer = Signer::es256("1");
    let issuer = FakeIssuer::with(&[&signer]);
    let verifier = builder(&issuer).build().unwrap();
    let token = signer.token(&claims());
    let requests = (0..500).map(|_| {
        let (verifier, token) = (verifier.clone(), token.clone());
        tokio::spawn(async move { verifier.verify_or_fetch(&token).await })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap().unwrap();
    }
    sleep(SECOND * 60).await;
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn made_up_kids_cause_one_fetch_in_a_cool_down_and_never_delay_known_ones() {
    let signer = Signer::es256("1");
    let issuer = FakeIssuer::with(&[&signer]);
    let verifier = ready(builder(&issuer)).await;
    let good = signer.token(&claims());
    sleep(SECOND * 60).await;
    let begun = Instant::now();
    let tokens = made_up(100);
    for token in tokens.iter().cycle().take(10_000) {
        let (clone, token) = (verifier.clone(), token.clone());
        tokio::spawn(async move { clone.verify_or_fetch(&token).await });
        sleep(Duration::from_millis(1)).await;
        let asked = Instant::now();
        verifier.verify_or_fetch(&good).await.unwrap();
        assert_eq!(asked.elapsed(), Duration::ZERO, "a known key had to wait");
    }
    sleep(SECOND * 20).await;
    let cool_downs = usize::try_from(begun.elapsed().as_secs() / 2).unwrap();
    assert!(issuer.fetches() <= 2 + cool_downs, "{} fetches", issuer.fetches());
    let before = issuer.fetches();
    for token in tokens.iter().cycle().take(10_000) {
        assert!(verifier.verify(token).is_err());
    }
    sleep(SECOND).await;
    assert!(issuer.fetches() <= before + 1, "{} fetches", issuer.fetches());
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_accepted_with_the_request_that_brings_it() {
    let [old, new] = [Signer::es256("old"), Signer::es256("new")];
    let issuer = FakeIssuer::with(&[&old]);
    let verifier = ready(builder(&issuer)).await;
    sleep(SECOND * 60).await;
    issuer.publish(&[&old, &new]);
    verifier.verify_or_fetch(&new.token(&claims())).await.unwrap();
    verifier.verify(&old.token(&claims())).unwrap();
    assert_eq!(issuer.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_accepted_in_the_midst_of_made_up_kids() {
    let [old, new] = [Signer::es256("old"), Signer::es256("new")];
    let issuer = FakeIssuer::with(&[&old]);
    let verifier = ready(builder(&issuer)).await;
    sleep(SECOND * 60).await;
    let attack = tokio::spawn({
        let verifier = verifier.clone();
        async move {
            for token in made_up(300).iter().cycle() {
                let (verifier, token) = (verifier.clone(), token.clone());
                tokio::spawn(async move { verifier.verify_or_fetch(&token).await });
                sleep(Duration::from_millis(20)).await;
            }
        }
    });
    sleep(SECOND * 10).await;
    issuer.publish(&[&old, &new]);
    verifier.verify_or_fetch(&new.token(&claims())).await.unwrap();
    attack.abort();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_wait_asks_for_the_new_key() {
    let [old, new] = [Signer::es256("old"), Signer::es256("new")];
    let issuer = FakeIssuer::with(&[&old]);
    let verifier = ready(builder(&issuer)).await;
    sleep(SECOND * 60).await;
    issuer.publish(&[&old, &new]);
    let token = new.token(&claims());
    let refusal = refused(verifier.verify(&token));
    assert_eq!((refusal.clone(), refusal.status()), (Refusal::KeyNotFetched, 503));
    sleep(SECOND).await;
    verifier.verify(&token).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_issuer_does_not_have_is_unknown_and_not_merely_not_fetched() {
    let signer = Signer::es256("1");
    let issuer = FakeIssuer::with(&[&signer]);
    let verifier = ready(builder(&issuer)).await;
    sleep(SECOND * 60).await;
    let refusal = refused(verifier.verify_or_fetch(&made_up(1)[0]).await);
    assert_eq!((refusal.clone(), refusal.status()), (Refusal::UnknownKey, 401));
    sleep(SECOND * 60).await;
    issuer.answer(Answer::Fails);
    let refusal = refused(verifier.verify_or_fetch(&made_up(1)[0]).await);
    assert_eq!((refusal.clone(), refusal.status()), (Refusal::KeyNotFetched, 503));
}

#[tokio::test(start_paused = true)]
async fn a_bad_signature_of_a_known_key_fetches_nothing() {
    let [ours, theirs] = [Signer::es256("1"), Signer::es256("1")];
    let issuer = FakeIssuer::with(&[&ours]);
    let verifier = ready(builder(&issuer)).await;
    sleep(SECOND * 60).await;
    let refusal = refused(verifier.verify_or_fetch(&theirs.token(&claims())).await);
    assert_eq!(refusal, Refusal::BadSignature);
    sleep(SECOND * 60).await;
    assert_eq!(issuer.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_keys_the_answer_is_503_until_the_issuer_is_there_and_needs_no_restart() {
    let signer = Signer::es256("1");
    let token = signer.token(&claims());
    for answer in [Answer::Fails, Answer::Hangs] {
        let issuer = FakeIssuer::answering(answer);
        let verifier = builder(&issuer).build().unwrap();
        assert!(!verifier.is_ready());
        let begun = Instant::now();
        for result in [verifier.verify(&token), verifier.verify_or_fetch(&token).await] {
            let refusal = refused(result);
            assert_eq!((refusal.clone(), refusal.status()), (Refusal::NoKeys, 503));
            assert!(refusal.retry_after().is_some());
        }
        assert!(begun.elapsed() <= SECOND * 5, "it waited {:?}", begun.elapsed());
        sleep(SECOND * 3600).await;
        issuer.publish(&[&signer]);
        sleep(SECOND * 40).await;
        assert!(verifier.is_ready());
        verifier.verify(&token).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_or_odd_answer_never_replaces_a_good_set() {
    let signer = Signer::es256("1");
    let token = signer.token(&claims());
    let issuer = FakeIssuer::with(&[&signer]);
    let verifier = ready(builder(&issuer)).await;
    let secret = r#"{"keys":[{"kty":"oct","kid":"1","k":"AAAA"}]}"#;
    let encryption = signer.jwk().to_string().replace("\"sig\"", "\"enc\"");
    let large = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
    for odd in [
        r#"{"keys":[]}"#,
        "{}",
        "",
        "<html>sign in</html>",
        "null",
        r#"{"keys":{}}"#,
        secret,
        &format!("{{\"keys\":[{encryption}]}}"),
        &large,
    ] {
        let fetches = issuer.fetches();
        issuer.answer(Answer::Text(odd.to_owned()));
        sleep(SECOND * 600).await;
        assert!(issuer.fetches() > fetches, "it was not asked");
        verifier.verify(&token).unwrap_or_else(|refusal| panic!("{odd}: {refusal}"));
        issuer.publish(&[&signer]);
        sleep(SECOND * 600).await;
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_an_unknown_kind_are_skipped() {
    let signer = Signer::es256("1");
    let others =
        r#"{"kty":"EC","crv":"P-521","kid":"a"},{"kty":"XY","kid":7},{"kty":"oct","k":"AA"},7"#;
    let jwks = format!("{{\"keys\":[{others},{}],\"more\":1}}", signer.jwk());
    let verifier = ready(builder(&FakeIssuer::answering(Answer::Text(jwks)))).await;
    verifier.verify(&signer.token(&claims())).unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_last_good_set_is_kept_for_the_stated_time_and_its_age_can_be_read() {
    let signer = Signer::es256("1");
    let token = signer.token(&claims());
    let issuer = FakeIssuer::with(&[&signer]);
    let verifier = ready(builder(&issuer).keep_keys_for(SECOND * 7200)).await;
    issuer.answer(Answer::Hangs);
    sleep(SECOND * 7100).await;
    verifier.verify(&token).unwrap();
    let age = |verifier: &Verifier| verifier.status()[0].keys_age.unwrap().as_secs();
    assert!((7100..=7101).contains(&age(&verifier)), "{}", age(&verifier));
    assert!(verifier.status()[0].failed_fetches > 100);
    sleep(SECOND * 200).await;
    assert_eq!(refused(verifier.verify(&token)), Refusal::NoKeys);
    issuer.publish(&[&signer]);
    sleep(SECOND * 40).await;
    verifier.verify(&token).unwrap();
    assert!(age(&verifier) <= 40);
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_ahead_of_need_and_a_retired_one_is_refused_then() {
    let [old, new] = [Signer::es256("old"), Signer::es256("new")];
    let issuer = FakeIssuer::with(&[&old]);
    let verifier = ready(builder(&issuer).refetch_every(SECOND * 100)).await;
    issuer.publish(&[&new]);
    sleep(SECOND * 101).await;
    verifier.verify(&new.token(&claims())).unwrap();
    let refusal = refused(verifier.verify_or_fetch(&old.token(&claims())).await);
    assert_eq!(refusal, Refusal::UnknownKey);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_clone_of_the_verifier() {
    let signer = Signer::es256("1");
    let issuer = FakeIssuer::answering(jwks(&[&signer]));
    let verifier = ready(builder(&issuer)).await;
    let clone = verifier.clone();
    drop(verifier);
    sleep(SECOND * 301).await;
    assert_eq!(issuer.fetches(), 2);
    drop(clone);
    sleep(SECOND * 3000).await;
    assert_eq!(issuer.fetches(), 2);
}
