//! `POST /api/v1/auth/refresh`: exchanges a refresh token for its successor and a new access token.

use std::sync::Arc;

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::{AuthError, ErrorCode, IssuedTokens, PresentedToken, TokenDelivery};
use tracing::debug_span;

use crate::credential::{RefreshTokenBody, guard_cookies, refresh_token_in_body};
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::{ApiError, HttpErrorCode};
use crate::limits::Limit;
use crate::openapi::Operation;
use crate::{AppState, issued};

pub(crate) fn operation() -> Operation {
    use ErrorCode::{
        AccessDenied, InvalidRefreshToken, RateLimited, RefreshTokenExpired, RefreshTokenReused,
        SessionRevoked, StoreUnavailable,
    };
    Operation::new("Sessions", "refresh", "Exchange a refresh token for its successor and an access token")
        .about(
            "Takes the refresh token from the body, or else from the cookie, and delivers its successor the \
            same way. The token before, presented again within the grace period, gets the same successor.",
        )
        .secured_by(&["refreshCookie"])
        .takes_json::<RefreshTokenBody>(false)
        .answers_tokens("The successor and a new access token.")
        .refuses([
            AccessDenied,
            InvalidRefreshToken,
            RateLimited,
            RefreshTokenExpired,
            RefreshTokenReused,
            SessionRevoked,
            StoreUnavailable,
        ])
        .refuses([HttpErrorCode::CsrfRejected, HttpErrorCode::DuplicateCookie])
}

/// Refreshes a session. The successor is delivered the way the token came: in the body or in a cookie.
/// No refusal of a token clears its cookie: a request that lost a race would delete the cookies of the
/// request that won it. The readable cookie is cleared with a session that has ended, or it would have
/// every page ask again; if that was a lost race, the next refresh sets it anew.
pub(crate) async fn refresh(
    request: HttpRequest,
    state: State,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let in_body = refresh_token_in_body(&request, &state, payload).await;
    guard_cookies(&request, &state, matches!(in_body, Ok(Some(_))))?;
    let (token, delivery) = match in_body? {
        Some(token) => (token, TokenDelivery::Body),
        None => match state.ports.cookies.refresh_token(request.headers()) {
            Some(token) => (token, TokenDelivery::Cookie),
            None => return Err(no_refresh_token(&state).refusal),
        },
    };
    let rotated = rotate(&request, &state, token, delivery).await;
    let tokens = rotated.map_err(|refused| refused.refusal)?;
    Ok(issued::answer("Tokens refreshed successfully.", &tokens, &state.ports.cookies))
}

/// Why a session was not refreshed.
pub(crate) struct Refused {
    pub(crate) refusal: ApiError,
    /// Whether no session can be refreshed by this token any more.
    pub(crate) has_no_session: bool,
}

impl From<ApiError> for Refused {
    fn from(refusal: ApiError) -> Self {
        Self { refusal, has_no_session: false }
    }
}

/// The refusal of a request without a refresh token.
pub(crate) fn no_refresh_token(state: &AppState) -> Refused {
    let refusal = ApiError::new(ErrorCode::InvalidRefreshToken)
        .because("no refresh token was shown")
        .clearing(state.ports.cookies.clearing_hint().into_iter().collect());
    Refused { refusal, has_no_session: true }
}

/// Exchanges a refresh token for its successor.
pub(crate) async fn rotate(
    request: &HttpRequest,
    state: &AppState,
    token: PresentedToken,
    delivery: TokenDelivery,
) -> Result<IssuedTokens, Refused> {
    let token = Arc::new(token);
    let (refresh, shown) = (Arc::clone(&state.use_cases.refresh_session), Arc::clone(&token));
    let limit = state.refresh_limit(request);
    let refreshing = async move { refresh.refresh(&shown, delivery, limit.as_deref()).await };
    let place = state.admission.sessions.take()?;
    // To its end: a provider that is asked again may issue a new refresh token and revoke the old
    // one, so the new one must be stored.
    match state.run_to_end(place, debug_span!("refresh_session"), refreshing).await {
        Ok(tokens) => {
            LogFields::update(request, |fields| fields.of_tokens(&tokens));
            if tokens.has_followed {
                tracing::warn!(
                    user = %tokens.user, session = %tokens.session,
                    "the refresh token is newer than its session, so the store was set back; the session goes on from \
                     the token; if a backup was restored, run `mintgate restore-done`"
                );
            }
            Ok(tokens)
        }
        Err(error) => {
            log_whose(request, state, &token, &error).await;
            let has_no_session = has_no_session(&error);
            let refusal = match error {
                AuthError::RefreshedTooOften { wait } => state.refreshed_too_often(wait),
                AuthError::InvalidRefreshToken(_) => {
                    state.refused(request, Limit::RefusedRefreshes, error.into())
                }
                error => error.into(),
            };
            let hint = if has_no_session { state.ports.cookies.clearing_hint() } else { None };
            Err(Refused { refusal: refusal.clearing(hint.into_iter().collect()), has_no_session })
        }
    }
}

/// Whether a refusal says that no session can be refreshed by this token any more.
fn has_no_session(error: &AuthError) -> bool {
    matches!(
        error,
        AuthError::InvalidRefreshToken(_)
            | AuthError::RefreshTokenExpired
            | AuthError::RefreshTokenReused
            | AuthError::SessionRevoked(_)
            | AuthError::AccessDenied(_)
    )
}

/// Adds the user and the session of a refused token to the log line, if the token is one of ours.
async fn log_whose(
    request: &HttpRequest,
    state: &AppState,
    token: &PresentedToken,
    error: &AuthError,
) {
    let is_genuine = matches!(
        error,
        AuthError::RefreshTokenExpired
            | AuthError::RefreshTokenReused
            | AuthError::RefreshTokenAhead
            | AuthError::RefreshedTooOften { .. }
            | AuthError::SessionRevoked(_)
            | AuthError::AccessDenied(_)
    );
    if is_genuine && let Some(holder) = state.use_cases.refresh_session.holder(token).await {
        LogFields::update(request, |fields| {
            fields.user = Some(holder.subject);
            fields.session = Some(holder.session);
        });
    }
}
