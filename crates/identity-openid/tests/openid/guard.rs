//! The guard of a provider in trouble.

use std::collections::VecDeque;
use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{ClaimSet, ExternalIdentity, ProviderId, Timestamp, VerifiedIdentity};
use mintgate_domain::ports::{
    AuthorizationEndpoint, CircuitState, CodeGrant, IdentityProvider, LogoutOrder, Misbehaviour,
    ProviderError, ProviderTokens, Renewal, TokenSource,
};
use mintgate_domain::{
    AuthorizationCode, IdTokenText, LogoutTokenText, Nonce, ProviderAccessToken,
    ProviderRefreshToken, TokenHash,
};
use mintgate_identity_openid::{GuardConfig, GuardedProvider, NotAsked};
use mintgate_mock_idp::{FaultKind, Faults, SignIn};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::support::{Counted, TestClock, warm};

const OPEN_FOR: Duration = Duration::from_secs(10);
/// A millisecond less than `OPEN_FOR`.
const ALMOST_OPEN_FOR: Duration = Duration::from_millis(9_999);
/// More than any test has calls under way.
const GATE: u32 = 1000;

/// Longer than any test takes.
const UNLIMITED_WAIT: Duration = Duration::from_hours(1);

/// Answers every call as it is told next, with success when it is told nothing; exchanges and
/// renewals only once the gate lets them.
struct Scripted {
    answers: Mutex<VecDeque<ProviderError>>,
    gate: Semaphore,
    calls: AtomicUsize,
}

impl Scripted {
    async fn answer_later(&self) -> Result<(), ProviderError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let _open = self.gate.acquire().await.unwrap();
        self.next()
    }

    fn answer(&self) -> Result<(), ProviderError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.next()
    }

    fn next(&self) -> Result<(), ProviderError> {
        self.answers.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl IdentityProvider for Scripted {
    async fn redeem(&self, _: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError> {
        self.answer_later().await?;
        Ok(ProviderTokens {
            source: TokenSource::TokenEndpoint { pkce: false },
            id_token: None,
            access_token: Some(ProviderAccessToken::new("x")),
            expires_in: None,
            scope: None,

            refresh_token: None,
        })
    }

    async fn verify(
        &self,
        _: &ProviderTokens,
        _: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        self.answer()?;
        Ok(VerifiedIdentity {
            identity: somebody(),
            claims: ClaimSet::default(),
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            id_token: None,
        })
    }

    async fn authorization_endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        self.answer()?;
        Ok(AuthorizationEndpoint { url: String::new(), names_issuer: false, scopes: None })
    }

    async fn renew(
        &self,
        _: &ProviderRefreshToken,
        _: &ExternalIdentity,
    ) -> Result<Renewal, ProviderError> {
        self.answer_later().await?;
        Ok(Renewal { doubt: None, claims: None, refresh_token: None, id_token: None, access: None })
    }

    async fn verify_logout(&self, _: &LogoutTokenText) -> Result<LogoutOrder, ProviderError> {
        self.answer()?;
        Ok(LogoutOrder {
            issuer: String::new(),
            subject: None,
            session: None,
            id: TokenHash::of(""),
            expires_at: Timestamp::from_unix(0),
        })
    }
}

fn somebody() -> ExternalIdentity {
    ExternalIdentity { issuer: String::new(), subject: String::new() }
}

struct Guarded {
    guard: Arc<GuardedProvider>,
    inner: Arc<Scripted>,
    clock: Arc<TestClock>,
    counted: Arc<Counted>,
}

impl Guarded {
    fn new(max_concurrent: usize) -> Self {
        Self::with_max_wait(max_concurrent, UNLIMITED_WAIT)
    }

    fn with_max_wait(max_concurrent: usize, max_wait: Duration) -> Self {
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
            GuardConfig { max_concurrent, max_wait, failures_to_open: 3, open_for: OPEN_FOR },
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

    /// So many exchanges, begun as tasks of their own.
    fn begin(&self, count: usize) -> Vec<JoinHandle<Result<(), ProviderError>>> {
        let begin = |_| {
            let guard = Arc::clone(&self.guard);
            tokio::spawn(async move { redeem(&guard).await })
        };
        (0..count).map(begin).collect()
    }

    /// Makes calls fail until the circuit is open.
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

async fn renew(provider: &GuardedProvider) -> Result<(), ProviderError> {
    provider.renew(&ProviderRefreshToken::new("some-token"), &somebody()).await.map(|_| ())
}

async fn logout(provider: &GuardedProvider) -> Result<(), ProviderError> {
    provider.verify_logout(&LogoutTokenText::new("a.b.c")).await.map(|_| ())
}

async fn begin_login(provider: &GuardedProvider) -> Result<(), ProviderError> {
    provider.authorization_endpoint().await.map(|_| ())
}

/// Lets the other tasks of this thread get as far as they can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// An ID token posted directly, or one that came for a code.
async fn verify(provider: &GuardedProvider, by_code: bool) -> Result<(), ProviderError> {
    let source = TokenSource::TokenEndpoint { pkce: false };
    let tokens = ProviderTokens {
        source: if by_code { source } else { TokenSource::Client },
        id_token: Some(IdTokenText::new("a.b.c")),
        access_token: None,
        expires_in: None,
        scope: None,

        refresh_token: None,
    };
    provider.verify(&tokens, None).await.map(|_| ())
}

fn timed_out() -> ProviderError {
    ProviderError::TimedOut("nothing for 5000 ms".into())
}

fn unreachable() -> ProviderError {
    ProviderError::Unreachable("refused".into())
}

fn unavailable() -> ProviderError {
    ProviderError::Misbehaved(Misbehaviour::Outage, "status 503".into())
}

/// Why the guard did not ask the provider, if that is what the error says.
fn not_asked(error: &ProviderError) -> Option<NotAsked> {
    let (ProviderError::Unreachable(cause) | ProviderError::Busy(cause)) = error else {
        return None;
    };
    cause.source()?.downcast_ref().copied()
}

fn is_kept_out(result: &Result<(), ProviderError>) -> bool {
    result.as_ref().err().and_then(not_asked) == Some(NotAsked::CircuitOpen)
}

#[tokio::test]
async fn failures_in_a_row_open_the_circuit_and_then_calls_fail_at_once() {
    let guarded = Guarded::new(8);
    guarded.say([timed_out(), unreachable()]);
    for _ in 0..2 {
        assert!(redeem(&guarded.guard).await.is_err());
    }
    assert_eq!(guarded.counted.circuits(), []);
    guarded.say([unavailable()]);
    assert_eq!(redeem(&guarded.guard).await, Err(unavailable()));
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open]);

    guarded.clock.advance(ALMOST_OPEN_FOR);
    for _ in 0..5 {
        assert!(is_kept_out(&redeem(&guarded.guard).await));
        assert!(is_kept_out(&verify(&guarded.guard, false).await));
    }
    assert_eq!(guarded.calls(), 3, "nothing was sent");
    verify(&guarded.guard, true).await.unwrap();
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open], "and tells nothing of now");
}

#[tokio::test]
async fn a_refused_code_or_token_is_not_a_failure_of_the_provider() {
    let guarded = Guarded::new(8);
    let code_refused = || ProviderError::CodeRefused("invalid_grant".into());
    let token_refused = || ProviderError::IdTokenRefused("its exp".into());
    let misconfigured =
        || ProviderError::Misbehaved(Misbehaviour::ClientRefused, "invalid_client".into());
    let not_found = || ProviderError::Misbehaved(Misbehaviour::BadAnswer, "status 404".into());
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
async fn a_failure_that_a_caller_may_have_provoked_opens_no_circuit() {
    let (idp, adapter) = warm().await;
    let guard = GuardedProvider::new(
        ProviderId::new("corp"),
        Arc::new(adapter.provider),
        GuardConfig { failures_to_open: 3, ..GuardConfig::default() },
        adapter.clock,
        adapter.counted.clone(),
    );
    for (status, body) in [
        (500, ""),
        (500, r#"{"error":"server_error"}"#),
        (500, "<html>"),
        (501, ""),
        (520, ""),
        (500, r#"{"error":"made_up"}"#),
    ] {
        let kind = FaultKind::Status { status, body: body.to_owned() };
        idp.control().set_faults(Faults { token: Some(kind.into()), ..Faults::default() });
        let failed = redeem(&guard).await;
        assert!(matches!(failed, Err(ProviderError::Misbehaved(..))), "{status} {body}");
    }
    assert_eq!(adapter.counted.circuits(), []);
    // Neither does it end a row of failures.
    let answers = [503, 500, 503, 500, 503];
    for status in answers {
        let kind = FaultKind::Status { status, body: String::new() };
        idp.control().set_faults(Faults { token: Some(kind.into()), ..Faults::default() });
        assert!(redeem(&guard).await.is_err());
    }
    assert_eq!(adapter.counted.circuits(), [CircuitState::Open]);
}

#[tokio::test]
async fn a_trial_that_succeeds_closes_the_circuit() {
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
    guarded.clock.advance(ALMOST_OPEN_FOR);
    assert!(is_kept_out(&redeem(&guarded.guard).await));
    guarded.clock.advance(Duration::from_millis(1));
    redeem(&guarded.guard).await.unwrap();
}

#[tokio::test]
async fn there_is_one_trial_at_a_time_and_an_abandoned_one_makes_room_for_the_next() {
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
    let refused = ProviderError::IdTokenRefused("its exp".into());
    guarded.say([refused.clone()]);
    assert_eq!(verify(&guarded.guard, false).await, Err(refused));
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open, CircuitState::HalfOpen]);
    redeem(&guarded.guard).await.unwrap();
    assert_eq!(guarded.counted.circuits().last(), Some(&CircuitState::Closed));
}

#[tokio::test]
async fn late_answers_to_calls_from_before_do_not_change_an_open_circuit() {
    let guarded = Guarded::new(8);
    let held = guarded.inner.gate.acquire_many(GATE).await.unwrap();
    let late = guarded.begin(5);
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
async fn calls_beyond_the_limit_wait_in_the_queue() {
    let guarded = Guarded::new(2);
    let held = guarded.inner.gate.acquire_many(GATE).await.unwrap();
    let calls = guarded.begin(32);
    settle().await;
    assert_eq!(guarded.calls(), 2);
    // Another kind of call is not held up by them: a code that is spent, a session that ends.
    verify(&guarded.guard, true).await.unwrap();
    verify(&guarded.guard, false).await.unwrap();
    logout(&guarded.guard).await.unwrap();
    begin_login(&guarded.guard).await.unwrap();
    drop(held);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(guarded.calls(), 36);
    assert_eq!(guarded.counted.circuits(), [], "the limit is ours and no failure of theirs");
}

#[tokio::test]
async fn renewals_and_exchanges_share_a_queue() {
    let guarded = Guarded::new(1);
    let held = guarded.inner.gate.acquire_many(GATE).await.unwrap();
    let first = guarded.begin(1);
    settle().await;
    let guard = Arc::clone(&guarded.guard);
    let renewal = tokio::spawn(async move { renew(&guard).await });
    settle().await;
    assert_eq!(guarded.calls(), 1);
    drop(held);
    renewal.await.unwrap().unwrap();
    for call in first {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_call_that_waits_too_long_in_the_queue_fails_and_is_not_sent() {
    let guarded = Guarded::with_max_wait(2, Duration::from_millis(50));
    let held = guarded.inner.gate.acquire_many(GATE).await.unwrap();
    let under_way = guarded.begin(2);
    settle().await;
    for late in guarded.begin(5) {
        let error = late.await.unwrap().unwrap_err();
        assert_eq!(not_asked(&error), Some(NotAsked::QueueTimedOut(2)), "{error:?}");
    }
    assert_eq!(guarded.calls(), 2);
    drop(held);
    for call in under_way {
        call.await.unwrap().unwrap();
    }
    // Their places in the queue are free again.
    redeem(&guarded.guard).await.unwrap();
    assert_eq!(guarded.counted.circuits(), []);
}

#[tokio::test]
async fn a_full_queue_refuses_a_call_at_once() {
    let guarded = Guarded::new(2);
    let held = guarded.inner.gate.acquire_many(GATE).await.unwrap();
    let calls = guarded.begin(2 + 2 * 16);
    settle().await;
    for _ in 0..3 {
        let error = redeem(&guarded.guard).await.unwrap_err();
        assert_eq!(not_asked(&error), Some(NotAsked::QueueFull(2)), "{error:?}");
    }
    // Who goes away makes room.
    let mut calls = calls;
    let gone = calls.pop().unwrap();
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    calls.extend(guarded.begin(1));
    settle().await;
    drop(held);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(guarded.calls(), 34);
}

#[tokio::test]
async fn waiting_calls_fail_when_the_circuit_opens() {
    let guarded = Guarded::new(2);
    let held = guarded.inner.gate.acquire_many(GATE).await.unwrap();
    let mut under_way = guarded.begin(2);
    settle().await;
    let waiting = guarded.begin(20);
    settle().await;
    // The verifications of directly posted tokens are what finds out.
    guarded.say([timed_out(), timed_out(), timed_out()]);
    for _ in 0..3 {
        assert_eq!(verify(&guarded.guard, false).await, Err(timed_out()));
    }
    for call in waiting {
        let result = tokio::time::timeout(Duration::from_secs(10), call).await.unwrap().unwrap();
        assert!(is_kept_out(&result), "{result:?}");
    }
    assert!(
        is_kept_out(&redeem(&guarded.guard).await),
        "there is no place, and none is waited for"
    );
    assert!(is_kept_out(&renew(&guarded.guard).await));
    assert_eq!(guarded.calls(), 5, "two under way, three verifications, and nothing else");
    drop(held);
    for call in under_way.drain(..) {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_refused_refresh_token_is_not_a_failure_of_the_provider_and_an_outage_is() {
    let guarded = Guarded::new(8);
    let refused = || ProviderError::RefreshRefused("invalid_grant".into());
    guarded.say([timed_out(), timed_out(), refused(), timed_out(), unavailable()]);
    for _ in 0..5 {
        assert!(renew(&guarded.guard).await.is_err());
    }
    assert_eq!(guarded.counted.circuits(), []);
    guarded.say([unreachable()]);
    assert_eq!(renew(&guarded.guard).await, Err(unreachable()));
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open]);
    assert!(is_kept_out(&redeem(&guarded.guard).await));
    guarded.clock.advance(OPEN_FOR);
    renew(&guarded.guard).await.unwrap();
    assert_eq!(guarded.counted.circuits().last(), Some(&CircuitState::Closed));
}

#[tokio::test]
async fn calls_that_the_cache_may_answer_go_through_an_open_circuit() {
    let guarded = Guarded::new(8);
    guarded.open().await;
    for _ in 0..5 {
        begin_login(&guarded.guard).await.unwrap();
        logout(&guarded.guard).await.unwrap();
    }
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open], "and tells nothing of now");
    guarded.clock.advance(OPEN_FOR);
    logout(&guarded.guard).await.unwrap();
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open], "nor is it the call that tries");
}

#[tokio::test]
async fn an_authorization_endpoint_that_cannot_be_had_is_a_failure() {
    let refused = || ProviderError::LogoutTokenRefused("its exp".into());
    let guarded = Guarded::new(8);
    guarded.say([timed_out()]);
    assert_eq!(begin_login(&guarded.guard).await, Err(timed_out()));
    guarded.say([unreachable()]);
    assert_eq!(logout(&guarded.guard).await, Err(unreachable()));
    // An answer from what is cached, or a bad token, does not end the row.
    begin_login(&guarded.guard).await.unwrap();
    logout(&guarded.guard).await.unwrap();
    guarded.say([refused()]);
    assert_eq!(logout(&guarded.guard).await, Err(refused()));
    assert_eq!(guarded.counted.circuits(), []);
    guarded.say([timed_out()]);
    assert_eq!(begin_login(&guarded.guard).await, Err(timed_out()));
    assert_eq!(guarded.counted.circuits(), [CircuitState::Open]);
}

#[tokio::test]
async fn case_17_the_logins_of_a_hanging_provider_fail_in_time() {
    let (idp, _) = warm().await;
    let (timeout, max_wait) = (Duration::from_millis(600), Duration::from_millis(300));
    let adapter = crate::support::Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec!["EdDSA".to_owned()];
        config.network.timeout = timeout;
    });
    adapter.sign_in(&idp, SignIn::default()).await.unwrap();
    let limits =
        GuardConfig { max_concurrent: 4, max_wait, failures_to_open: 100, open_for: OPEN_FOR };
    let guard = Arc::new(GuardedProvider::new(
        ProviderId::new("corp"),
        Arc::new(adapter.provider),
        limits,
        adapter.clock,
        adapter.counted,
    ));
    let before = idp.control().stats().token;
    idp.control().set_faults(Faults { token: Some(FaultKind::Hang.into()), ..Faults::default() });
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let guard = Arc::clone(&guard);
            tokio::spawn(async move { redeem(&guard).await })
        })
        .collect();
    let all = async {
        let mut kinds = [0, 0];
        for call in calls {
            match call.await.unwrap() {
                Err(ProviderError::TimedOut(_)) => kinds[0] += 1,
                Err(error) if error.was_not_asked() => kinds[1] += 1,
                other => panic!("{other:?}"),
            }
        }
        kinds
    };
    // Both limits, and some patience with this machine; far from twelve calls in a row.
    let kinds = tokio::time::timeout((timeout + max_wait) * 4, all).await.expect("in time");
    assert_eq!(kinds, [4, 8], "four were sent, and the others' turn did not come");
    assert_eq!(idp.control().stats().token, before + 4);
    // What is cached is not held up.
    guard.authorization_endpoint().await.unwrap();
}

#[tokio::test]
async fn a_real_provider_that_fails_is_not_asked_until_the_circuit_closes() {
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
        FaultKind::Status { status: 502, body: r#"{"error":"server_error"}"#.to_owned() },
        FaultKind::Close,
    ] {
        idp.control().set_faults(Faults { token: Some(kind.into()), ..Faults::default() });
        assert!(matches!(redeem(&guard).await, Err(ProviderError::Misbehaved(..))));
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
