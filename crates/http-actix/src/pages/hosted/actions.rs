//! What the forms of the account page do: `POST /account/{action}`, and the sign-out, which needs the refresh
//! cookie where the access cookie has run out.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::model::SessionId;
use mintgate_domain::{AuthError, ErrorCode, PresentedToken, SessionProof};
use tracing::debug_span;
use url::form_urlencoded;

use super::{ACCOUNT, Hosted, LOGIN, NOTICE, linking};
use crate::AppState;
use crate::body::{REFUSALS, read_form};
use crate::current::State;
use crate::envelope::{LogFields, refuse_duplicate_cookies};
use crate::error::{ApiError, ErrorKind, HttpErrorCode, append_cookies};
use crate::identities::short_name;
use crate::openapi::Operation;
use crate::pages::{Shown, redirect};
use crate::validation::{BrokenField, BrokenRule};

/// What a form of the account page does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    EndSession,
    EndOthers,
    EndAll,
    Link,
    Unlink,
}

impl Action {
    const ALL: [Self; 5] =
        [Self::EndSession, Self::EndOthers, Self::EndAll, Self::Link, Self::Unlink];

    /// The last part of the path.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::EndSession => "end-session",
            Self::EndOthers => "end-others",
            Self::EndAll => "end-all",
            Self::Link => "link",
            Self::Unlink => "unlink",
        }
    }
}

pub(crate) fn act_operation() -> Operation {
    use ErrorCode::{NotFound, Overloaded, StoreUnavailable};
    describe("changeAccount", "Change the own account, by a form of the account page")
        .path_parameter("action", "`end-session`, `end-others`, `end-all`, `link` or `unlink`.")
        .answers_as(
            StatusCode::OK,
            "A page that leads on to the provider, whose identity is linked.",
            &["text/html"],
            &serde_json::json!({ "type": "string" }),
        )
        .secured_by(&["accessCookie"])
        .refuses(REFUSALS)
        .refuses([NotFound, Overloaded, StoreUnavailable])
}

pub(crate) fn sign_out_operation() -> Operation {
    use ErrorCode::{NotFound, Overloaded, StoreUnavailable};
    describe("signOut", "End the own session, by a form of the account page")
        .secured_by(&["accessCookie", "refreshCookie"])
        .refuses([NotFound, Overloaded, StoreUnavailable])
}

fn describe(id: &'static str, summary: &'static str) -> Operation {
    Operation::new("Hosted pages", id, summary)
        .for_browsers()
        .answers_nothing(
            StatusCode::SEE_OTHER,
            "The browser goes to a page that says what was done.",
        )
        .sends("Set-Cookie")
        .refuses([HttpErrorCode::CsrfRejected, HttpErrorCode::DuplicateCookie])
}

/// Does what a form asks for, and leads to the page that says so.
pub(crate) async fn act(
    request: HttpRequest,
    state: State,
    action: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let hosted = Hosted::of(&state)?;
    let show = |refusal| hosted.show(&request, Some(&hosted.path(ACCOUNT)), refusal);
    let known = Action::ALL.into_iter().find(|known| known.name() == action.as_str());
    let action = known.ok_or_else(|| show(ApiError::new(ErrorCode::NotFound)))?;
    state.origins.guard_own(request.headers()).map_err(show)?;
    refuse_duplicate_cookies(&request, &state).map_err(show)?;
    let form = read_form(&request, &state, payload).await.map_err(show)?;
    let id = id_of(&form).map_err(show)?;
    let Some(token) = state.ports.cookies.access_token(request.headers()) else {
        return Ok(redirect(&hosted.account_telling("repeat")).finish());
    };
    let done = match action {
        Action::Link => linking::begin(&request, &state, hosted, token, &id).await,
        action => carry_out(&request, &state, hosted, action, token, &id).await,
    };
    done.map_err(|refusal| told(hosted, &request, refusal))
}

/// How a refusal of something that was asked for is told: by the account page, unless it cannot be shown.
fn told(hosted: &Hosted, request: &HttpRequest, refusal: ApiError) -> ApiError {
    use ErrorCode::{InvalidAccessToken, Overloaded, SessionRevoked, StoreUnavailable};
    let address = match refusal.kind() {
        ErrorKind::Core(StoreUnavailable | Overloaded) => {
            return hosted.show(request, Some(&hosted.path(ACCOUNT)), refusal);
        }
        ErrorKind::Core(InvalidAccessToken) => hosted.account_telling("repeat"),
        ErrorKind::Core(SessionRevoked) => hosted.path(ACCOUNT),
        kind => hosted.account_telling(kind.code()),
    };
    refusal.shown(Shown::AtPage(address))
}

/// The field `id` of a form; empty if it has none.
fn id_of(form: &[u8]) -> Result<String, ApiError> {
    let mut ids = form_urlencoded::parse(form).filter(|(name, _)| name == "id");
    let id = ids.next().map(|(_, id)| id.into_owned()).unwrap_or_default();
    if ids.next().is_some() {
        return Err(ApiError::invalid(vec![BrokenField::new("id", BrokenRule::Twice)]));
    }
    Ok(id)
}

async fn carry_out(
    request: &HttpRequest,
    state: &AppState,
    hosted: &Hosted,
    action: Action,
    token: PresentedToken,
    id: &str,
) -> Result<HttpResponse, ApiError> {
    let own = Arc::clone(&state.use_cases.own_sessions);
    let identities = Arc::clone(&state.use_cases.identities);
    let (session, identity) = (SessionId::parse(id), short_name(id));
    let changing = async move {
        match action {
            Action::EndSession => match session {
                Some(session) => own.end(&token, session).await,
                None => Err(AuthError::NoSuchSession),
            },
            Action::EndOthers => own.log_out_elsewhere(&token).await.map(|(caller, _)| caller),
            Action::EndAll => own.log_out_everywhere(&token).await.map(|(caller, _)| caller),
            Action::Unlink | Action::Link => match identity {
                Some(identity) => identities.unlink(&token, identity).await,
                None => Err(AuthError::NoSuchIdentity),
            },
        }
    };
    let place = state.admission.sessions.take()?;
    let caller = state.run_to_end(place, debug_span!("change_account"), changing).await?;
    LogFields::update(request, |fields| fields.of_caller(&caller));
    let notice = match action {
        Action::EndAll => return Ok(signed_out(state, hosted, "signed_out_everywhere")),
        Action::EndSession if session == Some(caller.session) => {
            return Ok(signed_out(state, hosted, "signed_out"));
        }
        Action::EndSession => "session_ended",
        Action::EndOthers => "others_ended",
        Action::Unlink | Action::Link => "unlinked",
    };
    Ok(redirect(&hosted.account_telling(notice)).finish())
}

/// Ends the session of the browser. It comes below the path of the refresh cookie, since the access cookie may
/// have run out.
pub(crate) async fn sign_out(request: HttpRequest, state: State) -> Result<HttpResponse, ApiError> {
    let hosted = Hosted::of(&state)?;
    let show = |refusal| hosted.show(&request, Some(&hosted.path(ACCOUNT)), refusal);
    state.origins.guard_own(request.headers()).map_err(show)?;
    refuse_duplicate_cookies(&request, &state).map_err(show)?;
    let (cookies, headers) = (&state.ports.cookies, request.headers());
    let access = cookies.access_token(headers).map(SessionProof::Access);
    let proof = access.or_else(|| cookies.refresh_token(headers).map(SessionProof::Refresh));
    if let Some(proof) = proof {
        let own = Arc::clone(&state.use_cases.own_sessions);
        let ending = async move { own.log_out(&proof).await };
        let place = state.admission.sessions.take().map_err(show)?;
        match state.run_to_end(place, debug_span!("log_out"), ending).await {
            Ok((user, session)) => LogFields::update(&request, |fields| {
                fields.user = Some(user);
                fields.session = Some(session);
            }),
            // It is nobody's session: there is nothing to end.
            Err(AuthError::InvalidAccessToken(_) | AuthError::InvalidRefreshToken(_)) => {}
            Err(error) => return Err(show(error.into())),
        }
    }
    Ok(signed_out(&state, hosted, "signed_out"))
}

/// Clears the cookies, and leads to the login page.
fn signed_out(state: &AppState, hosted: &Hosted, notice: &str) -> HttpResponse {
    let mut response = redirect(&format!("{}?{NOTICE}={notice}", hosted.path(LOGIN)));
    append_cookies(&mut response, &state.ports.cookies.clearing_all());
    response.finish()
}
