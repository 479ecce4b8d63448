//! `POST /api/v1/auth/refresh`: a refresh token in, its successor and a new access token out.

use std::sync::Arc;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::{AuthError, PresentedToken, TokenDelivery};

use super::credential::{guard_cookies, refresh_token_in_body};
use super::envelope::LogFields;
use super::error::{ApiError, ErrorKind};
use super::{AppState, background, issued};

/// Refreshes a session. The token comes in the body or else in its cookie, and its successor goes
/// the same way. No refusal of a token clears a cookie: a request that lost a race would wipe the
/// cookies of the one that won it.
pub(super) async fn refresh(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let in_body = refresh_token_in_body(&request, payload, state.request_timeout).await;
    guard_cookies(&request, &state, matches!(in_body, Ok(Some(_))))?;
    let (token, delivery) = match in_body? {
        Some(token) => (token, TokenDelivery::Body),
        None => match state.parts.cookies.refresh_token(request.headers()) {
            Some(token) => (token, TokenDelivery::Cookie),
            None => {
                return Err(ApiError::new(ErrorKind::INVALID_REFRESH_TOKEN)
                    .with_detail("no refresh token was shown"));
            }
        },
    };

    let token = Arc::new(token);
    let (refresh, shown) = (Arc::clone(&state.parts.refresh), Arc::clone(&token));
    let refreshing = async move { refresh.refresh(&shown, delivery).await };
    // To its end: a provider that was asked again may have given a new refresh token, and the old
    // one be good no more.
    match background::run_detached(&state.parts.runtime, refreshing).await {
        Ok(tokens) => {
            LogFields::update(&request, |fields| fields.of_tokens(&tokens));
            Ok(issued::answer("Tokens refreshed successfully.", &tokens))
        }
        Err(error) => {
            log_whose(&request, &state, &token, &error).await;
            Err(error.into())
        }
    }
}

/// Has the log line say whose token was refused, where it is genuine.
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
            | AuthError::SessionRevoked(_)
            | AuthError::AccessDenied(_)
    );
    if is_genuine && let Ok(said) = state.parts.own_sessions.verifier.verify_refresh(token).await {
        LogFields::update(request, |fields| {
            fields.user = Some(said.subject);
            fields.session = Some(said.session);
        });
    }
}
