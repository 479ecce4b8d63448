//! `POST /api/v1/auth/logout` and `POST /api/v1/auth/refresh/logout` end one session, `POST /api/v1/auth/logout-all` all sessions of a user.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use garde::Validate;
use mintgate_domain::model::{SessionId, UserId};
use mintgate_domain::{ErrorCode, PresentedToken, SessionProof, SignOutRequest, chain};
use serde::Serialize;
use tracing::{Instrument as _, debug_span};
use utoipa::ToSchema;

use crate::body::read_optional_json;
use crate::credential::{MAX_REFRESH_TOKEN, access_token, bearer, guard_cookies, no_credential};
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::{ApiError, ErrorKind, HttpErrorCode, append_cookies};
use crate::json::{Fields, Members};
use crate::openapi::Operation;
use crate::sessions::refused_caller;
use crate::validation::Characters::{Printable, Visible};
use crate::validation::{Broken, text};
use crate::{AppState, runtime};

/// How long a sign-out waits for a provider that has to be asked where people sign out.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What was ended.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EndedBody {
    /// What was done, for people.
    message: &'static str,
    /// How many sessions were live and are not any more; where all are ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions_ended: Option<u64>,
    /// Where the browser signs out at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    logout_url: Option<String>,
}

/// Which session is ended, and whether its provider is left too.
#[derive(Default, Validate, ToSchema)]
#[garde(context(Broken))]
#[schema(rename_all = "camelCase")]
struct LogoutBody {
    /// The refresh token of the session, where no cookie or access token names it.
    #[garde(inner(custom(text("refreshToken", 1..=MAX_REFRESH_TOKEN, Printable))))]
    refresh_token: Option<String>,
    /// Whether the browser is to sign out at the provider too: `logoutUrl` says where.
    #[garde(skip)]
    #[schema(required = false)]
    provider: bool,
    /// Where the provider sends the browser afterwards: one of its `post_logout_redirect_uris`.
    #[garde(inner(custom(text("postLogoutRedirectUri", 1..=2048, Visible))))]
    #[schema(rename = "postLogoutRedirectUri")]
    redirect_uri: Option<String>,
    /// Comes back with the browser.
    #[garde(inner(custom(text("state", 1..=1024, Printable))))]
    state: Option<String>,
}

impl LogoutBody {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut members = Members::parse(body)?;
        let body = members.take();
        members.end(Some(body))
    }
}

impl Fields for LogoutBody {
    fn take(members: &mut Members) -> Self {
        Self {
            refresh_token: members.take_text("refreshToken"),
            provider: members.take_flag("provider").unwrap_or(false),
            redirect_uri: members.take_text("postLogoutRedirectUri"),
            state: members.take_text("state"),
        }
    }
}

pub(crate) fn log_out_operation() -> Operation {
    log_out_as("logOut", "End the caller's session").secured_by(&["accessToken", "accessCookie"])
}

pub(crate) fn log_out_by_refresh_cookie_operation() -> Operation {
    log_out_as(
        "logOutByRefreshCookie",
        "End the session of a browser whose access cookie has run out",
    )
    .secured_by(&["accessToken", "accessCookie", "refreshCookie"])
}

fn log_out_as(id: &'static str, summary: &'static str) -> Operation {
    use ErrorCode::{
        InvalidAccessToken, InvalidRefreshToken, Overloaded, RedirectUriNotAllowed,
        StoreUnavailable,
    };
    Operation::new("Sessions", id, summary)
        .about(
            "A session that has ended before is ended just as well, and an expired access token still says \
            which session it is.",
        )
        .takes_json::<LogoutBody>(false)
        .answers::<EndedBody>(StatusCode::OK, "The session has ended, and the cookies are cleared.")
        .sends("Set-Cookie")
        .refuses([
            InvalidAccessToken,
            InvalidRefreshToken,
            Overloaded,
            RedirectUriNotAllowed,
            StoreUnavailable,
        ])
        .refuses([HttpErrorCode::CsrfRejected, HttpErrorCode::DuplicateCookie])
}

pub(crate) fn log_out_everywhere_operation() -> Operation {
    Operation::new("Sessions", "logOutEverywhere", "End all sessions of the caller's user")
        .answers::<EndedBody>(
            StatusCode::OK,
            "All sessions have ended, and the cookies are cleared.",
        )
        .sends("Set-Cookie")
        .needs_access_token(true)
}

/// Ends the session whose token the request shows; the token may have expired. Repeating the request
/// gets the same answer.
///
/// The cookies are cleared even if they belong to no session, since the caller wants to be signed out;
/// but not if the store cannot be reached, for then the session lives on.
pub(crate) async fn log_out(
    request: HttpRequest,
    state: State,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let logout_url = end_shown(&request, &state, payload).await.map_err(|refusal| {
        use ErrorCode::{InvalidAccessToken, InvalidRefreshToken};
        let has_no_session =
            matches!(refusal.kind(), ErrorKind::Core(InvalidAccessToken | InvalidRefreshToken));
        // A foreign page must not be able to clear its visitor's cookies.
        if has_no_session && state.origins.guard(request.headers()).is_ok() {
            refusal.clearing(state.ports.cookies.clearing_all())
        } else {
            refusal
        }
    })?;
    Ok(ended(&state, EndedBody { message: "Logged out.", sessions_ended: None, logout_url }))
}

/// Ends the session, and says where the browser signs out at the provider, if that was asked.
async fn end_shown(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
) -> Result<Option<String>, ApiError> {
    let (proof, body) = proof(request, state, payload).await?;
    let place = state.admission.sessions.take()?;
    let span = debug_span!("log_out");
    if !body.provider {
        let own = Arc::clone(&state.use_cases.own_sessions);
        let ending = async move { own.log_out(&proof).await };
        let (user, session) = state.run_to_end(place, span, ending).await?;
        note(request, user, session);
        return Ok(None);
    }
    let use_case = Arc::clone(&state.use_cases.sign_out);
    let asked = Arc::new(SignOutRequest { redirect_uri: body.redirect_uri, state: body.state });
    let ending = {
        let (use_case, asked) = (Arc::clone(&use_case), Arc::clone(&asked));
        async move { use_case.end(&proof, &asked).await }
    };
    let signed_out = state.run_to_end(place, span, ending).await?;
    note(request, signed_out.user, signed_out.session);
    if let Err(error) = &signed_out.id_token {
        tracing::warn!(error = %chain(error), "the ID token of the session cannot be shown to its provider");
    }
    // Goes on after the timeout, so that its result is there for the next request. The queue of the
    // provider bounds how many of these wait.
    let asking = async move { use_case.logout_url(&signed_out, &asked).await };
    let asking = asking.instrument(debug_span!("find_end_session_endpoint"));
    let asking = runtime::run_to_end(&state.ports.runtime, asking);
    let problem = match tokio::time::timeout(LONGEST_WAIT, asking).await {
        Ok(Ok(url)) => return Ok(url),
        Ok(Err(error)) => chain(&error).to_string(),
        Err(_) => "it has not answered yet".to_owned(),
    };
    tracing::warn!(%problem, "signed out here; the provider could not be asked where to sign out there");
    Ok(None)
}

fn note(request: &HttpRequest, user: UserId, session: SessionId) {
    LogFields::update(request, |fields| {
        fields.user = Some(user);
        fields.session = Some(session);
    });
}

/// The token that says which session ends, and the body: the first of the bearer token, the body's refresh
/// token, the access cookie and the refresh cookie. Browsers send the latter only below
/// `cookies.refresh_path`.
async fn proof(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
) -> Result<(SessionProof, LogoutBody), ApiError> {
    let headers = request.headers();
    let bearer = bearer(headers)?;
    let body = match read_optional_json(request, state, payload).await {
        Ok(Some(body)) => LogoutBody::parse(&body),
        Ok(None) => Ok(LogoutBody::default()),
        Err(error) => Err(error),
    };
    let in_body = matches!(&body, Ok(LogoutBody { refresh_token: Some(_), .. }));
    guard_cookies(request, state, bearer.is_some() || in_body)?;
    let mut body = body?;
    let in_body = body.refresh_token.take().map(PresentedToken::new).map(SessionProof::Refresh);
    let cookies = &state.ports.cookies;
    let proof = bearer
        .map(SessionProof::Access)
        .or(in_body)
        .or_else(|| cookies.access_token(headers).map(SessionProof::Access))
        .or_else(|| cookies.refresh_token(headers).map(SessionProof::Refresh));
    Ok((proof.ok_or_else(no_credential)?, body))
}

/// Ends all sessions of the caller, including the one that the request presents.
pub(crate) async fn log_out_everywhere(
    request: HttpRequest,
    state: State,
) -> Result<HttpResponse, ApiError> {
    let token = access_token(&request, &state, true)?;
    let own = Arc::clone(&state.use_cases.own_sessions);
    let ending = async move { own.log_out_everywhere(&token).await };
    let place = state.admission.sessions.take()?;
    let ending = state.run_to_end(place, debug_span!("log_out_everywhere"), ending).await;
    let (caller, count) = ending.map_err(refused_caller)?;
    LogFields::update(&request, |fields| fields.of_caller(&caller));
    let message = "All sessions have been ended.";
    Ok(ended(&state, EndedBody { message, sessions_ended: Some(count), logout_url: None }))
}

fn ended(state: &AppState, body: EndedBody) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    append_cookies(&mut response, &state.ports.cookies.clearing_all());
    response.json(body)
}
