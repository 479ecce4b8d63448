//! `GET /account`: who the caller is, where they are signed in, and how they sign in.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::model::{LinkedIdentity, Profile, Session};
use mintgate_domain::ports::VerifiedAccess;
use mintgate_domain::{AuthError, ErrorCode};
use serde_json::json;
use tracing::debug_span;

use super::account_page::{render, words};
use super::login::RESULT;
use super::visitor::{Visitor, is_navigation};
use super::{ACCOUNT, Hosted, LOGIN, NOTICE, encoded, parameter};
use crate::AppState;
use crate::current::State;
use crate::envelope::{LogFields, refuse_duplicate_cookies};
use crate::error::{ApiError, HttpErrorCode};
use crate::openapi::Operation;
use crate::pages::refresh_return::{SIGNED_OUT, UNAVAILABLE};
use crate::pages::{SIGNED_IN, redirect};

pub(crate) fn account_operation() -> Operation {
    use ErrorCode::{NotFound, Overloaded, StoreUnavailable};
    Operation::new("Hosted pages", "showAccount", "See and change the own account")
        .about(
            "A page, if `pages.hosted` is set. Whoever is not signed in is sent to `/login`, after one try to \
            refresh the session.",
        )
        .secured_by(&["accessCookie"])
        .query_parameter(NOTICE, "What was done, which the page tells.")
        .for_browsers()
        .answers_as(StatusCode::OK, "The page.", &["text/html"], &json!({ "type": "string" }))
        .answers_nothing(StatusCode::SEE_OTHER, "The browser goes to refresh its session, or to sign in.")
        .refuses([NotFound, Overloaded, StoreUnavailable])
        .refuses([HttpErrorCode::DuplicateCookie])
}

/// What the page shows.
pub(super) struct Account {
    pub(super) caller: VerifiedAccess,
    pub(super) profile: Profile,
    pub(super) sessions: Vec<Session>,
    pub(super) identities: Vec<LinkedIdentity>,
}

/// Shows the page.
pub(crate) async fn account(request: HttpRequest, state: State) -> Result<HttpResponse, ApiError> {
    let hosted = Hosted::of(&state)?;
    let show = |refusal| hosted.show(&request, Some(&hosted.path(ACCOUNT)), refusal);
    let visitor = find(&request, &state).await.map_err(show)?;
    let result = parameter(request.query_string(), RESULT);
    let notice = parameter(request.query_string(), NOTICE);
    let view = hosted.view(&request);
    let ended = match visitor {
        Visitor::SignedIn(account) => {
            let to = match (result.as_deref(), &notice) {
                (None, _) => return Ok(render(&view, &state, &account, notice.as_deref())),
                // The result would forbid the next round.
                (Some(SIGNED_IN | SIGNED_OUT | UNAVAILABLE), None) => hosted.path(ACCOUNT),
                (_, Some(notice)) => hosted.account_telling(&encoded(notice)),
                (Some(code), None) => hosted.account_telling(&encoded(code)),
            };
            return Ok(redirect(&to).finish());
        }
        Visitor::SignedOut(ended) => ended,
    };
    if hosted.may_have_more_cookies(&request) && is_navigation(&request) {
        let again = format!("{}?{}", hosted.path(ACCOUNT), request.query_string());
        return Ok(view.onwards(HttpResponse::Ok(), &view.texts().your_account, &again));
    }
    let to = match (ended, result.as_deref()) {
        (None, Some(UNAVAILABLE)) => {
            let cause = "the session could not be refreshed";
            return Err(show(ApiError::new(ErrorCode::StoreUnavailable).because(cause)));
        }
        (None, None) => {
            let known = notice.as_deref().filter(|notice| words(view.texts(), notice).is_some());
            hosted.refresh_link(&match known {
                Some(notice) => hosted.account_telling(notice),
                None => hosted.account.as_str().to_owned(),
            })
        }
        (Some(code), _) | (None, Some(code)) => {
            let page = encoded(hosted.account.as_str());
            let code = encoded(code);
            format!("{}?returnTo={page}&{RESULT}={code}", hosted.path(LOGIN))
        }
    };
    Ok(redirect(&to).finish())
}

/// Who the caller is, with what the page shows of them.
async fn find(request: &HttpRequest, state: &AppState) -> Result<Visitor<Account>, ApiError> {
    refuse_duplicate_cookies(request, state)?;
    let Some(token) = state.ports.cookies.access_token(request.headers()) else {
        return Ok(Visitor::SignedOut(None));
    };
    let own = Arc::clone(&state.use_cases.own_sessions);
    let known_by = Arc::clone(&state.use_cases.identities);
    let asking = async move {
        let (caller, profile) = own.me(&token).await?;
        let (_, sessions) = own.list(&token).await?;
        let (_, identities) = known_by.list(&token).await?;
        Ok::<_, AuthError>(Account { caller, profile, sessions, identities })
    };
    let place = state.admission.sessions.take()?;
    let visitor = Visitor::of(state.run(place, debug_span!("find_account"), asking).await)?;
    if let Visitor::SignedIn(account) = &visitor {
        LogFields::update(request, |fields| fields.of_caller(&account.caller));
    }
    Ok(visitor)
}
