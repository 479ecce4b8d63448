//! `POST /api/v1/auth/provider-token`: the back end of an app gets the provider's own access token of a
//! session.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use garde::Validate;
use mintgate_domain::model::SessionId;
use mintgate_domain::{ErrorCode, FieldRule};
use serde::Serialize;
use tracing::debug_span;
use utoipa::ToSchema;

use crate::basic;
use crate::body::read_json;
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::{ApiError, HttpErrorCode};
use crate::json::{Fields, Members};
use crate::openapi::Operation;
use crate::sessions::{date, uncached};
use crate::validation::{Broken, BrokenRule};

/// The provider's own access token of a session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProviderTokenBody<'a> {
    /// The token, as the provider issued it.
    access_token: &'a str,
    /// `Bearer`.
    token_type: &'static str,
    /// How long it is good, in seconds, if the provider said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    /// Until when it is good, if the provider said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// What it is good for, if the provider said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

/// Whose token is wanted.
#[derive(Validate, ToSchema)]
#[garde(context(Broken))]
struct ProviderTokenRequest {
    /// The id of the session.
    #[garde(skip)]
    #[schema(required, nullable = false, format = "uuid")]
    sid: Option<String>,
}

impl Fields for ProviderTokenRequest {
    fn take(members: &mut Members) -> Self {
        Self { sid: members.take_text("sid") }
    }
}

pub(crate) fn operation() -> Operation {
    use ErrorCode::{
        NoProviderToken, NotFound, Overloaded, ProviderError, ProviderTimeout, ProviderUnavailable,
        StoreUnavailable,
    };
    Operation::new(
        "Back ends",
        "showProviderToken",
        "Get the provider's own access token of a session",
    )
    .about("For servers alone: a request that a browser can have made is refused.")
    .takes_json::<ProviderTokenRequest>(true)
    .answers::<ProviderTokenBody<'_>>(
        StatusCode::OK,
        "The token, renewed if it was about to expire.",
    )
    .needs_client()
    .refuses([
        NoProviderToken,
        NotFound,
        Overloaded,
        ProviderError,
        ProviderTimeout,
        ProviderUnavailable,
        StoreUnavailable,
    ])
    .refuses([HttpErrorCode::CsrfRejected])
}

/// Answers the provider's access token of a session, renewed where it is about to expire.
///
/// It is for servers alone: the token opens the person's data at the provider, and a browser has no use for
/// it. A request that a browser can have made is refused before anything else.
pub(crate) async fn show(
    request: HttpRequest,
    state: State,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    refuse_browsers(request.headers())?;
    let client = basic::client(request.headers(), &state)?;
    LogFields::update(&request, |fields| fields.client = Some(client.id.clone()));
    let session = session_of(&read_json(&request, &state, payload).await?)?;
    LogFields::update(&request, |fields| fields.session = Some(session));
    let place = state.admission.provider_tokens.take()?;
    let access = Arc::clone(&state.use_cases.app_access);
    let asking = async move { access.access_token(&client, session).await };
    let token = state.run(place, debug_span!("show_provider_token"), asking).await?;
    LogFields::update(&request, |fields| {
        fields.user = Some(token.user);
        fields.provider = Some(token.provider.clone());
    });
    Ok(uncached(HttpResponse::Ok()).json(ProviderTokenBody {
        access_token: token.token.expose(),
        token_type: "Bearer",
        expires_in: token.expires_in.map(|left| left.as_secs()),
        expires_at: token.expires_at.and_then(date),
        scope: token.scope.as_deref(),
    }))
}

/// Refuses what a browser adds by itself: a cookie, an `Origin`, fetch metadata.
///
/// # Errors
/// `CSRF_REJECTED`
fn refuse_browsers(headers: &HeaderMap) -> Result<(), ApiError> {
    let of_browsers = ["cookie", "origin", "sec-fetch-site", "sec-fetch-mode"];
    match of_browsers.into_iter().find(|name| headers.contains_key(*name)) {
        None => Ok(()),
        Some(name) => {
            let cause =
                format!("only servers may ask for this, and the request has the header {name}");
            Err(ApiError::new(HttpErrorCode::CsrfRejected).because(cause))
        }
    }
}

/// The session that a body names.
///
/// # Errors
/// `INVALID_REQUEST`
fn session_of(body: &[u8]) -> Result<SessionId, ApiError> {
    let mut members = Members::parse(body)?;
    let ProviderTokenRequest { sid } = members.take();
    let session = sid.as_deref().and_then(SessionId::parse);
    match (&sid, session) {
        (_, Some(_)) => {}
        (None, None) => members.refuse("sid", FieldRule::Required),
        (Some(_), None) => members.refuse("sid", BrokenRule::NotASessionId),
    }
    members.end(session)
}
