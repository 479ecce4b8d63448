//! `GET /api/v1/auth/refresh/return?to=…` refreshes a session by a link, for pages that a server renders: it
//! sees no refresh cookie, whose path is this one.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::model::ReturnTo;
use mintgate_domain::{ErrorCode, TokenDelivery};

use super::parameters::return_to;
use super::{SIGNED_IN, Shown, as_page, navigation, redirect};
use crate::AppState;
use crate::current::State;
use crate::envelope::refuse_duplicate_cookies;
use crate::error::ApiError;
use crate::issued::append_session_cookies;
use crate::openapi::Operation;
use crate::refresh::{Refused, no_refresh_token, rotate};

/// How the page is told that there is no session, and that it cannot be told now whether there is one.
pub(super) const SIGNED_OUT: &str = "signed_out";
pub(super) const UNAVAILABLE: &str = "unavailable";

pub(crate) fn refresh_return_operation() -> Operation {
    Operation::new("Links", "refreshAndReturn", "Refresh a session by a link")
        .about(
            "For pages that a server renders: the browser comes back to `to`, with `mintgate_result` in its \
            query: `signed_in` with new cookies, `signed_out`, or `unavailable` if it cannot be told now. Only \
            the navigation of a whole tab refreshes. An address that has a `mintgate_result` already is not \
            served again: `unavailable`.",
        )
        .secured_by(&["refreshCookie"])
        .query_parameter("to", "Where the browser goes: an address of one of `pages.return_origins`.")
        .for_browsers()
        .answers_nothing(StatusCode::SEE_OTHER, "The browser goes back to the page.")
        .sends("Location")
        .sends("Set-Cookie")
        .refuses([ErrorCode::ReturnToNotAllowed])
}

/// Refreshes the session of the browser, and sends it back to the page. No trouble signs anybody out: the
/// cookies are replaced, and never cleared.
pub(crate) async fn refresh_and_return(
    request: HttpRequest,
    state: State,
) -> Result<HttpResponse, ApiError> {
    let show = |refusal| as_page(&request, &state, None, refusal);
    navigation::require(&request).map_err(show)?;
    let page = return_to(request.query_string(), "to", &state.pages.origins);
    let page = page.map_err(|error| show(error.into()))?;
    if page.has_result() {
        // It has just been here: another round would be one of very many.
        return Ok(redirect(&page.with_result(UNAVAILABLE)).finish());
    }
    let refreshed = refresh(&request, &state, &page).await;
    refreshed.map_err(|Refused { refusal, has_no_session }| {
        let result = if has_no_session { SIGNED_OUT } else { UNAVAILABLE };
        refusal.shown(Shown::AtPage(page.with_result(result)))
    })
}

async fn refresh(
    request: &HttpRequest,
    state: &AppState,
    page: &ReturnTo,
) -> Result<HttpResponse, Refused> {
    refuse_duplicate_cookies(request, state)?;
    let token = state.ports.cookies.refresh_token(request.headers());
    let token = token.ok_or_else(|| no_refresh_token(state))?;
    let tokens = rotate(request, state, token, TokenDelivery::Cookie).await?;
    let mut answer = redirect(&page.with_result(SIGNED_IN));
    append_session_cookies(&mut answer, &tokens, &state.ports.cookies);
    Ok(answer.finish())
}
