//! `POST /api/v1/auth/token`: exchanges an authorization code or an ID token for a session.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::model::IdempotencyKey;
use mintgate_domain::ports::Clock;
use mintgate_domain::{AuthError, ErrorCode, IssueTokens, IssuedTokens, TokenHash, TokenRequest};
use tracing::debug_span;

use crate::admission::Place;
use crate::body::read_json;
use crate::client::{caller_address, client_info};
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::{ApiError, HttpErrorCode};
use crate::keyed_mutex::KeyedGuard;
use crate::openapi::Operation;
use crate::sign_in::SignInBody;
use crate::{AppState, envelope, idempotency, issued};

/// How soon a request whose idempotency key another replica holds asks again: at first, and at most.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);
const ASK_AGAIN_AFTER_AT_MOST: Duration = Duration::from_millis(250);

pub(crate) fn operation() -> Operation {
    Operation::new("Sessions", "signIn", "Exchange an authorization code or an ID token for a session")
        .about(
            "The refresh token comes in a cookie, or in the body with `\"tokenDelivery\": \"body\"`. The same \
            request with the same `Idempotency-Key` within 60 seconds is answered by the same session.",
        )
        .header(&idempotency::RULE, "Names the request, so that it can be repeated.")
        .answers_tokens("The tokens of a new session.")
        .takes_sign_in()
        // A session that has ended before its request was repeated.
        .refuses([ErrorCode::IdempotencyKeyReused, ErrorCode::SessionRevoked])
        .refuses([HttpErrorCode::CsrfRejected, HttpErrorCode::DuplicateCookie])
}

/// Issues tokens for a sign-in. If it finishes a begun login, the login's cookie is cleared.
pub(crate) async fn issue(
    request: HttpRequest,
    state: State,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    state.origins.guard(request.headers())?;
    envelope::refuse_duplicate_cookies(&request, &state)?;
    let body = read_json(&request, &state, payload).await?;
    let idempotency = idempotency::key(request.headers(), &body)?;
    let logins = state.logins.begun(request.headers());
    let SignInBody { sign_in, delivery } = SignInBody::parse(&body, logins)?;
    let finished_login = state.logins.finished_by(&sign_in);
    let client = client_info(&request, caller_address(&request, &state.trusted_proxies));
    let sign_in = TokenRequest { sign_in, delivery, client, idempotency };

    let known = state.use_cases.issue_tokens.provider_id(&sign_in.sign_in);
    LogFields::update(&request, |fields| fields.provider.clone_from(&known));
    let admitted = state.admit_sign_in(&request, known)?;
    let place = state.admission.sign_ins.take()?;
    let issued = issue_once(&state, place, sign_in).await?;
    let tokens = match issued {
        Ok(tokens) => tokens,
        Err(error) => {
            state.settle_sign_in(&admitted, &error);
            return Err(finished_login.clear_if_final(error.into()));
        }
    };
    LogFields::update(&request, |fields| fields.of_tokens(&tokens));
    let answer = issued::answer("Tokens generated successfully.", &tokens, &state.ports.cookies);
    // With an Idempotency-Key the client may repeat the request, so its login cookie must stay; the
    // login is accepted only once all the same.
    Ok(if idempotency.is_some() { answer } else { finished_login.clear_with(answer) })
}

/// Issues tokens. Requests with the same idempotency key come one after another.
///
/// # Errors
/// `OVERLOADED` and `IDEMPOTENCY_KEY_REUSED`, about the key alone.
pub(crate) async fn issue_once(
    state: &AppState,
    place: Place,
    sign_in: TokenRequest,
) -> Result<Result<IssuedTokens, AuthError>, ApiError> {
    let issue = Arc::clone(&state.use_cases.issue_tokens);
    let span = debug_span!("issue_tokens");
    let Some(asked) = sign_in.idempotency else {
        let issuing = async move { issue.issue(&sign_in).await };
        return Ok(state.run(place, span, issuing).await);
    };
    let patience = Patience::of(state);
    let lock = lock_key(state, asked).await?;
    // To its end, so that a client that went away gets the same session when it repeats this.
    let issuing = async move {
        let issued = issue_in_turn(&issue, &sign_in, patience).await;
        drop(lock);
        issued
    };
    Ok(state.run_to_end(place, span, issuing).await)
}

/// How long a request waits for another one with the same idempotency key.
struct Patience {
    clock: Arc<dyn Clock>,
    began: Duration,
    limit: Duration,
}

impl Patience {
    fn of(state: &AppState) -> Self {
        let clock = Arc::clone(&state.ports.clock);
        Self { began: clock.monotonic(), clock, limit: state.limits.request_timeout }
    }

    fn is_left(&self, pause: Duration) -> bool {
        self.clock.monotonic().saturating_sub(self.began) + pause < self.limit
    }
}

/// Issues tokens once no other replica is at the same request: asks again until it has answered or
/// given up.
async fn issue_in_turn(
    issue: &IssueTokens,
    sign_in: &TokenRequest,
    patience: Patience,
) -> Result<IssuedTokens, AuthError> {
    let mut pause = ASK_AGAIN_AFTER;
    loop {
        match issue.issue(sign_in).await {
            Err(AuthError::SignInUnderWay) if patience.is_left(pause) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ASK_AGAIN_AFTER_AT_MOST);
            }
            issued => return issued,
        }
    }
}

/// Lets the requests of one idempotency key in one after another, so that the second finds what the
/// first did. This holds within this process; between replicas the key is reserved in the store.
///
/// # Errors
/// `OVERLOADED` if the request before takes longer than the request timeout, and
/// `IDEMPOTENCY_KEY_REUSED` if it has another body.
async fn lock_key(
    state: &AppState,
    asked: IdempotencyKey,
) -> Result<KeyedGuard<TokenHash, TokenHash>, ApiError> {
    let lock = state.idempotency_keys.lock(asked.key, asked.body);
    match tokio::time::timeout(state.limits.request_timeout, lock).await {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(AuthError::IdempotencyKeyReused.into()),
        Err(_) => Err(ApiError::new(ErrorCode::Overloaded)
            .because("another request of the same idempotency key takes too long")),
    }
}
