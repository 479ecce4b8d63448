//! `/api/v1/auth/me` and `/api/v1/auth/sessions`: the caller's own token and sessions.

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use mintgate_domain::model::{Role, Session, SessionId, Timestamp};
use mintgate_domain::{AuthError, ErrorCode};
use serde::Serialize;
use tracing::debug_span;
use utoipa::ToSchema;

use crate::credential::access_token;
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::{ApiError, append_cookies, rfc3339_seconds};
use crate::openapi::Operation;

/// The caller.
#[derive(Serialize, ToSchema)]
struct MeBody<'a> {
    /// The id of the caller's user.
    sub: String,
    /// The roles in the access token.
    roles: Vec<&'a str>,
    /// The id of the session.
    sid: String,
    /// The id of the provider that the caller signed in at.
    provider: &'a str,
    /// When the access token expires, in seconds since 1970 (RFC 7519 §2, NumericDate).
    exp: i64,
    /// How long the access token is still good, in seconds: for pages, whose clock may be wrong.
    #[serde(rename = "expiresIn")]
    expires_in: u64,
    #[serde(flatten)]
    profile: ProfileBody,
}

/// What is kept of the caller and shown, as far as it is known.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProfileBody {
    /// The claim `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The claim `preferred_username`.
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<String>,
    /// The claim `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// The claim `picture`.
    #[serde(skip_serializing_if = "Option::is_none")]
    picture: Option<String>,
}

/// The caller's sessions.
#[derive(Serialize, ToSchema)]
struct SessionsBody<'a> {
    /// The live sessions, the last used first.
    sessions: Vec<SessionBody<'a>>,
}

/// A live session of the caller.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SessionBody<'a> {
    /// The id of the session.
    sid: String,
    /// When it was opened.
    #[schema(required, format = DateTime)]
    created_at: Option<String>,
    /// When it was last refreshed.
    #[schema(required, format = DateTime)]
    last_used_at: Option<String>,
    /// The time at which the session ends if it is not refreshed: its idle limit or, if sooner, its
    /// absolute limit.
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
    /// The id of the provider that it was opened by.
    provider: &'a str,
    /// The user agent that opened it.
    #[schema(required)]
    user_agent: Option<&'a str>,
    /// The network that it was opened from: an IPv4 /24 or an IPv6 /48.
    #[schema(required)]
    ip: Option<&'a str>,
    /// Whether it is the session of this request.
    current: bool,
}

impl<'a> SessionBody<'a> {
    fn new(session: &'a Session, current: SessionId) -> Self {
        Self {
            sid: session.id.to_string(),
            created_at: date(session.created_at),
            last_used_at: date(session.last_used_at),
            expires_at: date(session.refresh.expires_at),
            provider: session.provider.as_str(),
            user_agent: session.client.user_agent.as_deref(),
            ip: session.client.ip_prefix.as_deref(),
            current: session.id == current,
        }
    }
}

pub(crate) fn date(at: Timestamp) -> Option<String> {
    at.to_datetime().map(rfc3339_seconds)
}

pub(crate) fn me_operation() -> Operation {
    Operation::new("Sessions", "me", "Show who the caller is")
        .answers::<MeBody<'_>>(StatusCode::OK, "The claims of the caller's access token.")
        .needs_access_token(false)
}

/// Answers the claims of the caller's access token, which a page cannot read from an HttpOnly cookie.
pub(crate) async fn me(request: HttpRequest, state: State) -> Result<HttpResponse, ApiError> {
    let token = access_token(&request, &state, false)?;
    let own = Arc::clone(&state.use_cases.own_sessions);
    let asking = async move { own.me(&token).await };
    let place = state.admission.sessions.take()?;
    let asked = state.run(place, debug_span!("find_caller"), asking).await;
    let (caller, profile) = asked.map_err(refused_caller)?;
    LogFields::update(&request, |fields| fields.of_caller(&caller));
    let now = Timestamp::from(state.ports.clock.now());
    Ok(uncached(HttpResponse::Ok()).json(MeBody {
        sub: caller.subject.to_string(),
        roles: caller.roles.iter().map(Role::as_str).collect(),
        sid: caller.session.to_string(),
        provider: caller.provider.as_str(),
        exp: caller.expires_at.as_unix(),
        expires_in: caller.expires_at.as_unix().saturating_sub(now.as_unix()).max(0).unsigned_abs(),
        profile: ProfileBody {
            name: profile.name,
            preferred_username: profile.preferred_username,
            email: profile.email,
            picture: profile.picture,
        },
    }))
}

pub(crate) fn list_operation() -> Operation {
    Operation::new("Sessions", "listSessions", "List the caller's live sessions")
        .answers::<SessionsBody<'_>>(StatusCode::OK, "The live sessions.")
        .needs_access_token(false)
}

/// Lists the caller's live sessions, the last used first.
pub(crate) async fn list(request: HttpRequest, state: State) -> Result<HttpResponse, ApiError> {
    let token = access_token(&request, &state, false)?;
    let own = Arc::clone(&state.use_cases.own_sessions);
    let asking = async move { own.list(&token).await };
    let place = state.admission.sessions.take()?;
    let asked = state.run(place, debug_span!("list_sessions"), asking).await;
    let (caller, sessions) = asked.map_err(refused_caller)?;
    LogFields::update(&request, |fields| fields.of_caller(&caller));
    let sessions = sessions.iter().map(|each| SessionBody::new(each, caller.session)).collect();
    Ok(uncached(HttpResponse::Ok()).json(SessionsBody { sessions }))
}

pub(crate) fn end_operation() -> Operation {
    Operation::new("Sessions", "endSession", "End one of the caller's sessions")
        .path_parameter("sid", "The id of the session.")
        .answers_nothing(StatusCode::NO_CONTENT, "The session has ended.")
        .sends("Set-Cookie")
        .needs_access_token(true)
        .refuses([ErrorCode::NotFound])
}

/// Ends one of the caller's sessions. If it is the current one, its cookies are cleared.
pub(crate) async fn end(
    request: HttpRequest,
    state: State,
    sid: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let token = access_token(&request, &state, true)?;
    let sid = SessionId::parse(&sid);
    let own = Arc::clone(&state.use_cases.own_sessions);
    let ending = async move {
        match sid {
            Some(sid) => own.end(&token, sid).await,
            // The answer does not tell whether somebody else has a session of this id.
            None => own.caller(&token).await.and(Err(AuthError::NoSuchSession)),
        }
    };
    let place = state.admission.sessions.take()?;
    let ending = state.run_to_end(place, debug_span!("end_session"), ending).await;
    let caller = ending.map_err(refused_caller)?;
    LogFields::update(&request, |fields| fields.of_caller(&caller));
    let mut response = uncached(HttpResponse::NoContent());
    if sid == Some(caller.session) {
        append_cookies(&mut response, &state.ports.cookies.clearing_all());
    }
    Ok(response.finish())
}

/// The refusal of a caller who presented an access token.
pub(crate) fn refused_caller(error: AuthError) -> ApiError {
    match error {
        error @ AuthError::SessionRevoked(_) => ApiError::from(error).about_access_token(),
        error => error.into(),
    }
}

/// Forbids caches to store the answer (RFC 9111 §5.2.2.5).
pub(crate) fn uncached(mut response: HttpResponseBuilder) -> HttpResponseBuilder {
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response
}
