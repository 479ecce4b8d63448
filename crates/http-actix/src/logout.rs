//! `POST /api/v1/auth/logout` and `POST /api/v1/auth/refresh/logout` end one session, `POST /api/v1/auth/logout-all` all sessions of a user.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::ports::CookiePolicy as _;
use mintgate_domain::{ErrorCode, SessionProof};
use serde::Serialize;
use tracing::debug_span;

use crate::AppState;
use crate::credential::{
    access_token, bearer, guard_cookies, no_credential, refresh_token_in_body,
};
use crate::envelope::LogFields;
use crate::error::{ApiError, ErrorKind, append_cookies};
use crate::sessions::refused_caller;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndedBody {
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions_ended: Option<u64>,
}

/// Ends the session whose token the request shows; the token may have expired. Repeating the request
/// gets the same answer.
///
/// The cookies are cleared even if they belong to no session, since the caller wants to be signed out;
/// but not if the store cannot be reached, for then the session lives on.
pub(crate) async fn log_out(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    end_shown(&request, &state, payload).await.map_err(|refusal| {
        use ErrorCode::{InvalidAccessToken, InvalidRefreshToken};
        let has_no_session =
            matches!(refusal.kind(), ErrorKind::Core(InvalidAccessToken | InvalidRefreshToken));
        // A foreign page must not be able to clear its visitor's cookies.
        if has_no_session && state.origins.guard(request.headers()).is_ok() {
            refusal.clearing(state.ports.cookies.clearing_cookies().into())
        } else {
            refusal
        }
    })?;
    Ok(ended(&state, EndedBody { message: "Logged out.", sessions_ended: None }))
}

async fn end_shown(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
) -> Result<(), ApiError> {
    let proof = proof(request, state, payload).await?;
    let own = Arc::clone(&state.use_cases.own_sessions);
    let ending = async move { own.log_out(&proof).await };
    let place = state.admission.sessions.take()?;
    let (user, session) = state.run_to_end(place, debug_span!("log_out"), ending).await?;
    LogFields::update(request, |fields| {
        fields.user = Some(user);
        fields.session = Some(session);
    });
    Ok(())
}

/// The token that says which session ends: the first of the bearer token, the body's refresh token,
/// the access cookie and the refresh cookie. Browsers send the latter only below
/// `cookies.refresh_path`.
async fn proof(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
) -> Result<SessionProof, ApiError> {
    let headers = request.headers();
    if let Some(token) = bearer(headers)? {
        guard_cookies(request, state, true)?;
        return Ok(SessionProof::Access(token));
    }
    let in_body = refresh_token_in_body(request, state, payload).await;
    guard_cookies(request, state, matches!(in_body, Ok(Some(_))))?;
    if let Some(token) = in_body? {
        return Ok(SessionProof::Refresh(token));
    }
    let cookies = &state.ports.cookies;
    let in_cookie = cookies.access_token(headers).map(SessionProof::Access);
    in_cookie
        .or_else(|| cookies.refresh_token(headers).map(SessionProof::Refresh))
        .ok_or_else(no_credential)
}

/// Ends all sessions of the caller, including the one that the request presents.
pub(crate) async fn log_out_everywhere(
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let token = access_token(&request, &state, true)?;
    let own = Arc::clone(&state.use_cases.own_sessions);
    let ending = async move { own.log_out_everywhere(&token).await };
    let place = state.admission.sessions.take()?;
    let ending = state.run_to_end(place, debug_span!("log_out_everywhere"), ending).await;
    let (caller, count) = ending.map_err(refused_caller)?;
    LogFields::update(&request, |fields| fields.of_caller(&caller));
    let message = "All sessions have been ended.";
    Ok(ended(&state, EndedBody { message, sessions_ended: Some(count) }))
}

fn ended(state: &AppState, body: EndedBody) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    append_cookies(&mut response, &state.ports.cookies.clearing_cookies());
    response.json(body)
}
