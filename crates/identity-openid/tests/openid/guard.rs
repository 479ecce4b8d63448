//! A provider in trouble behind its guard.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{ClaimSet, ExternalIdentity, ProviderId, VerifiedIdentity};
use mintgate_domain::ports::{
    CircuitState, CodeGrant, IdentityProvider, ProviderError, ProviderTokens,
};
use mintgate_domain::{AuthorizationCode, IdTokenText, Nonce, ProviderAccessToken};
use mintgate_identity_openid::{GuardConfig, GuardedProvider};
use mintgate_mock_idp::{FaultKind, Faults, SignIn};
use tokio::sync::Semaphore;

use crate::support::{Counted, TestClock, warm};

const OPEN_FOR: Duration = Duration::from_secs(10);
/// A millisecond less.
const NOT_YET: Duration = Duration::from_millis(9_999);
/// More than any test has calls under way.
const GATE: u32 = 1000;

/// Answers every call as it is told next, with success when it is told nothing, and only once the
/// gate lets it.
struct Scripted {
    answers: Mutex<VecDeque<ProviderError>>,
    gate: Semaphore,
    calls: AtomicUsize,
}

impl Scripted {
    async fn answer(&self) -> Result<(), ProviderError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let _open = self.gate.acquire().await.unwrap();
        self.answers.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl IdentityProvider for Scripted {
    async fn redeem(&self, _: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError> {
        self.answer().await?;
        Ok(ProviderTokens { id_token: None, access_token: Some(ProviderAccessToken::new("x")) })
    }

    async fn verify(
        &self,
        _: &ProviderTokens,
        _: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        self.answer().await?;
        Ok(VerifiedIdentity {
            identity: ExternalIdentity { issuer: String::new(), subject: String::new() },
            claims: ClaimSet::default(),
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            id_token: None,
        })
    }
}

struct Guarded {
    guard: Arc<GuardedProvider>,
    inner: Arc<Scripted>,
    clock: Arc<TestClock>,
    counted: Arc<Counted>,
}

impl Guarded {
    fn new(max_concurrent: usize) -> Self {
        let inner = Arc::new(Scripted {
            answers: Mutex::default(),
            gate: Semaphore::new(GATE as usize),
            calls: AtomicUsize::new(0),
        });
        let clock = Arc::new(TestClock::default());
        let counted = Arc::new(Counted::default());
        let guard = Arc::new(GuardedProvider::new(
            ProviderId::new("corp"),
            inner.clone(),
            GuardConfig { max_concurrent, failures_to_open: 3, open_for: OPEN_FOR },
            clock.clone(),
            counted.clone(),
        ));
        Self { guard, inner, clock, counted }
    }

    fn say(&self, answers: impl IntoIterator<Item = ProviderError>) {
        self.inner.answers.lock().unwrap().extend(answers);
    }

    fn calls(&self) -> usize {
        self.inner.calls.load(Ordering::SeqCst)
    }

    /// Opens the circuit.
    async fn open(&self) {
        self.say([timed_out(), timed_out(), timed_out()]);
        for _ in 0..3 {
            assert_eq!(redeem(&self.guard).await, Err(timed_out()));
        }
        assert_eq!(self.counted.circuits(), [CircuitState::Open]);
    }
}

async fn redeem(provider: &GuardedProvider) -> Result<(), ProviderError> {
    let code = AuthorizationCode::new("some-code");
    let grant = CodeGrant { code: &code, redirect_uri: "https://app", code_verifier: None };
    provider.redeem(&grant).await.map(|_| ())
}

/// An ID token posted directly, or one that came with an access token for a code.
async fn verify(provider: &GuardedProvider, by_code: bool) -> Result<(), ProviderError> {
    let tokens = ProviderTokens {
        id_token: Some(IdTokenText::new("a.b.c")),
        access_token: by_code.then(|| ProviderAccessToken::new("x")),
    };
    provider.verify(&tokens, None).await.map(|_| ())
}

fn timed_out() -> ProviderError {
    ProviderError::TimedOut("nothing for 5000 ms".to_owned())
}

fn unreachable() -> ProviderError {
    ProviderError::Unreachable("refused".to_owned())
}

fn unavailable() -> ProviderError {
    ProviderError::Misbehaved("token endpoint: it answers with status 503".to_owned())
}

fn is_kept_out(result: &Result<(), ProviderError>) -> bool {
    matches!(result, Err(ProviderError::Unreachable(text)) if text.contains("circuit is open"))
}

#[tokio::test]
async fn failures_in_a_row_open_the_circuit_and_then_nobody_waits() {
    let guarded = Guarded::new(8);
    guarded.say([timed_out(), unreachable()]);
    for _ in 0..2 {
        assert!(redeem(&guarded.guard).await.is_err());
    }
    assert_eq!(guarded.counted.circuits(), []);
    guarded.say([unavailable()]);
    assert_eq!(redeem(&guarded.guard).await, Err(unavailable()));
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open]);

    guarded.clock.advance(NOT_YET);
    for _ in 0..5 {
        assert!(is_kept_out(&redeem(&guarded.guard).await));
        assert!(is_kept_out(&verify(&guarded.guard, false).await));
    }
    assert_eq!(guarded.calls(), 3, "nothing was sent");
    verify(&guarded.guard, true).await.unwrap();
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open], "and tells nothing of now");
}

#[tokio::test]
async fn what_is_said_of_a_code_or_a_token_is_no_failure() {
    let guarded = Guarded::new(8);
    let code_refused = || ProviderError::CodeRefused("invalid_grant".to_owned());
    let token_refused = || ProviderError::IdTokenRefused("its exp".to_owned());
    let misconfigured = || ProviderError::Misbehaved("invalid_client".to_owned());
    let not_found =
        || ProviderError::Misbehaved("token endpoint: it answers with status 404".to_owned());
    for error in [code_refused(), token_refused(), misconfigured(), not_found()] {
        guarded.say(std::iter::repeat_n(error.clone(), 10));
        for _ in 0..10 {
            assert_eq!(redeem(&guarded.guard).await, Err(error.clone()));
        }
    }
    // An answer in between ends the row, and a refused token does not: it may have asked nobody.
    guarded.say([timed_out(), timed_out(), code_refused(), timed_out(), timed_out()]);
    for _ in 0..5 {
        assert!(redeem(&guarded.guard).await.is_err());
    }
    assert_eq!(guarded.counted.circuits(), []);
    guarded.say([token_refused()]);
    assert_eq!(verify(&guarded.guard, false).await, Err(token_refused()));
    guarded.say([timed_out()]);
    assert_eq!(verify(&guarded.guard, false).await, Err(timed_out()));
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open]);
}

#[tokio::test]
async fn after_a_while_one_call_tries_and_closes_the_circuit_again() {
    let guarded = Guarded::new(8);
    guarded.open().await;
    guarded.clock.advance(OPEN_FOR);
    redeem(&guarded.guard).await.unwrap();
    let circuits = [CircuitState::Open, CircuitState::HalfOpen, CircuitState::Closed];
    assert_eq!(guarded.counted.circuits(), circuits);
    // From nothing: it takes as many failures as before to open.
    guarded.say([timed_out(), timed_out()]);
    for _ in 0..2 {
        assert_eq!(redeem(&guarded.guard).await, Err(timed_out()));
    }
    redeem(&guarded.guard).await.unwrap();
    assert_eq!(guarded.counted.circuits(), circuits);
}

#[tokio::test]
async fn a_trial_that_fails_opens_it_again_for_as_long() {
    let guarded = Guarded::new(8);
    guarded.open().await;
    guarded.clock.advance(OPEN_FOR);
    guarded.say([unavailable()]);
    assert_eq!(redeem(&guarded.guard).await, Err(unavailable()));
    let circuits = [CircuitState::Open, CircuitState::HalfOpen, CircuitState::Open];
    assert_eq!(guarded.counted.circuits(), circuits);
    guarded.clock.advance(NOT_YET);
    assert!(is_kept_out(&redeem(&guarded.guard).await));
    guarded.clock.advance(Duration::from_millis(1));
    redeem(&guarded.guard).await.unwrap();
}

#[tokio::test]
async fn only_one_tries_and_one_that_gives_up_makes_room_for_the_next() {
    let guarded = Guarded::new(8);
    guarded.open().await;
    guarded.clock.advance(OPEN_FOR);
    let held = guarded.inner.gate.acquire_many(GATE).await.unwrap();
    let guard = Arc::clone(&guarded.guard);
    let trial = tokio::spawn(async move { redeem(&guard).await });
    while guarded.calls() < 4 {
        tokio::task::yield_now().await;
    }
    assert!(is_kept_out(&redeem(&guarded.guard).await), "another one is trying");
    trial.abort();
    assert!(trial.await.unwrap_err().is_cancelled());
    drop(held);
    // A refused token has perhaps asked nobody, so it decides nothing either.
    let refused = ProviderError::IdTokenRefused("its exp".to_owned());
    guarded.say([refused.clone()]);
    assert_eq!(verify(&guarded.guard, false).await, Err(refused));
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open, CircuitState::HalfOpen]);
    redeem(&guarded.guard).await.unwrap();
    assert_eq!(guarded.counted.circuits().last(), Some(&CircuitState::Closed));
}

#[tokio::test]
async fn a_late_answer_from_before_does_not_decide_about_now() {
    let guarded = Guarded::new(8);
    let held = guarded.inner.gate.acquire_many(GATE).await.unwrap();
    let late: Vec<_> = (0..5)
        .map(|_| {
            let guard = Arc::clone(&guarded.guard);
            tokio::spawn(async move { redeem(&guard).await })
        })
        .collect();
    while guarded.calls() < 5 {
        tokio::task::yield_now().await;
    }
    guarded.say([timed_out(), timed_out(), timed_out(), timed_out()]);
    drop(held);
    for call in late {
        let _ = call.await.unwrap();
    }
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open]);
    assert!(is_kept_out(&redeem(&guarded.guard).await));
}

#[tokio::test]
async fn calls_beyond_the_limit_fail_at_once_and_are_not_sent() {
    let guarded = Guarded::new(2);
    let held = guarded.inner.gate.acquire_many(GATE).await.unwrap();
    let under_way: Vec<_> = (0..2)
        .map(|_| {
            let guard = Arc::clone(&guarded.guard);
            tokio::spawn(async move { redeem(&guard).await })
        })
        .collect();
    while guarded.calls() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..50 {
        let Err(ProviderError::Unreachable(text)) = redeem(&guarded.guard).await else {
            panic!("a third call was let through");
        };
        assert!(text.contains("2 calls are under way"), "{text}");
    }
    assert_eq!(guarded.calls(), 2);
    // A code that is spent already is not held up by those that are not.
    let guard = Arc::clone(&guarded.guard);
    let verifying = tokio::spawn(async move { verify(&guard, true).await });
    drop(held);
    for call in under_way {
        call.await.unwrap().unwrap();
    }
    verifying.await.unwrap().unwrap();
    redeem(&guarded.guard).await.unwrap();
    assert_eq!(guarded.counted.circuits(), [], "the limit is ours and no failure of theirs");
}

#[tokio::test]
async fn a_real_provider_that_fails_is_left_alone_and_taken_back() {
    let (idp, adapter) = warm().await;
    let (clock, counted) = (adapter.clock, adapter.counted);
    let guard = GuardedProvider::new(
        ProviderId::new("corp"),
        Arc::new(adapter.provider),
        GuardConfig { failures_to_open: 3, open_for: OPEN_FOR, ..GuardConfig::default() },
        clock.clone(),
        counted.clone(),
    );
    let before = idp.control().stats().token;
    for kind in [
        FaultKind::Status { status: 503, body: String::new() },
        FaultKind::Status { status: 500, body: r#"{"error":"server_error"}"#.to_owned() },
        FaultKind::Close,
    ] {
        idp.control().set_faults(Faults { token: Some(kind.into()), ..Faults::default() });
        assert!(matches!(redeem(&guard).await, Err(ProviderError::Misbehaved(_))));
    }
    idp.control().clear_faults();
    for _ in 0..20 {
        assert!(is_kept_out(&redeem(&guard).await));
    }
    assert_eq!(idp.control().stats().token, before + 3);
    clock.advance(OPEN_FOR);
    let redirect_uri = SignIn::default().redirect_uri;
    let code = AuthorizationCode::new(idp.control().issue_code(SignIn::default()));
    let grant = CodeGrant { code: &code, redirect_uri: &redirect_uri, code_verifier: None };
    let tokens = guard.redeem(&grant).await.unwrap();
    guard.verify(&tokens, None).await.unwrap();
    let circuits = [CircuitState::Open, CircuitState::HalfOpen, CircuitState::Closed];
    assert_eq!(counted.circuits(), circuits);
}
