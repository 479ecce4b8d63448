//! `/api/v1/auth/identities`: lists, links and unlinks the identities that the caller signs in with.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::model::LinkedIdentity;
use mintgate_domain::{AuthError, ErrorCode};
use serde::Serialize;
use tracing::debug_span;
use utoipa::ToSchema;

use crate::body::read_json;
use crate::credential::access_token;
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::{ApiError, rfc3339_seconds};
use crate::openapi::Operation;
use crate::sessions::{refused_caller, uncached};
use crate::sign_in::SignInBody;

/// The caller's identities.
#[derive(Serialize, ToSchema)]
struct IdentitiesBody<'a> {
    /// The identities, the oldest first.
    identities: Vec<IdentityBody<'a>>,
}

/// An identity that the caller signs in with.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct IdentityBody<'a> {
    /// The id of the identity: 32 hexadecimal digits.
    id: String,
    /// The id of the provider that it was first used with.
    provider: &'a str,
    /// The provider's issuer identifier.
    issuer: &'a str,
    /// The subject at that issuer.
    subject: &'a str,
    /// When it was linked.
    #[schema(required, format = DateTime)]
    linked_at: Option<String>,
}

impl<'a> From<&'a LinkedIdentity> for IdentityBody<'a> {
    fn from(linked: &'a LinkedIdentity) -> Self {
        Self {
            id: format!("{:032x}", linked.identity.short_name()),
            provider: linked.provider.as_str(),
            issuer: &linked.identity.issuer,
            subject: &linked.identity.subject,
            linked_at: linked.linked_at.to_datetime().map(rfc3339_seconds),
        }
    }
}

pub(crate) fn list_operation() -> Operation {
    Operation::new(
        "Identities",
        "listIdentities",
        "List the identities that the caller signs in with",
    )
    .answers::<IdentitiesBody<'_>>(StatusCode::OK, "The identities.")
    .needs_access_token(false)
}

pub(crate) fn link_operation() -> Operation {
    Operation::new(
        "Identities",
        "linkIdentity",
        "Link the identity of a fresh sign-in to the caller's user",
    )
    .answers::<IdentityBody<'_>>(StatusCode::OK, "The identity is linked.")
    .takes_sign_in()
    .needs_access_token(true)
    .refuses([ErrorCode::IdentityTaken])
}

pub(crate) fn unlink_operation() -> Operation {
    Operation::new("Identities", "unlinkIdentity", "Unlink one of the caller's identities")
        .path_parameter("id", "The id of the identity.")
        .answers_nothing(StatusCode::NO_CONTENT, "The identity is unlinked.")
        .needs_access_token(true)
        .refuses([ErrorCode::LastIdentity, ErrorCode::NotFound])
}

/// Lists the caller's identities, the oldest first.
pub(crate) async fn list(request: HttpRequest, state: State) -> Result<HttpResponse, ApiError> {
    let token = access_token(&request, &state, false)?;
    let identities = Arc::clone(&state.use_cases.identities);
    let asking = async move { identities.list(&token).await };
    let place = state.admission.sessions.take()?;
    let asked = state.run(place, debug_span!("list_identities"), asking).await;
    let (caller, identities) = asked.map_err(refused_caller)?;
    LogFields::update(&request, |fields| fields.of_caller(&caller));
    let identities = identities.iter().map(IdentityBody::from).collect();
    Ok(uncached(HttpResponse::Ok()).json(IdentitiesBody { identities }))
}

/// Links the identity of a fresh sign-in to the caller's user.
pub(crate) async fn link(
    request: HttpRequest,
    state: State,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let token = access_token(&request, &state, true)?;
    let body = read_json(&request, &state, payload).await?;
    let logins = state.logins.begun(request.headers());
    let SignInBody { sign_in, .. } = SignInBody::parse(&body, logins)?;
    let finished_login = state.logins.finished_by(&sign_in);
    let provider = state.use_cases.issue_tokens.provider_id(&sign_in);
    let admitted = state.admit_sign_in(&request, provider)?;
    let identities = Arc::clone(&state.use_cases.identities);
    let linking = async move { identities.link(&token, &sign_in).await };
    let place = state.admission.sign_ins.take()?;
    let linked = state.run_to_end(place, debug_span!("link_identity"), linking).await;
    let (caller, linked) = match linked {
        Ok(linked) => linked,
        Err(error) => {
            state.settle_sign_in(&admitted, &error);
            return Err(finished_login.clear_if_final(refused_caller(error)));
        }
    };
    LogFields::update(&request, |fields| fields.of_caller(&caller));
    Ok(finished_login.clear_with(uncached(HttpResponse::Ok()).json(IdentityBody::from(&linked))))
}

/// Unlinks one of the caller's identities.
pub(crate) async fn unlink(
    request: HttpRequest,
    state: State,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let token = access_token(&request, &state, true)?;
    let short_name = short_name(&id);
    let identities = Arc::clone(&state.use_cases.identities);
    let unlinking = async move {
        match short_name {
            Some(short_name) => identities.unlink(&token, short_name).await,
            // The answer does not tell whether somebody else has an identity of this id.
            None => identities.list(&token).await.and(Err(AuthError::NoSuchIdentity)),
        }
    };
    let place = state.admission.sessions.take()?;
    let unlinked = state.run_to_end(place, debug_span!("unlink_identity"), unlinking).await;
    let caller = unlinked.map_err(refused_caller)?;
    LogFields::update(&request, |fields| fields.of_caller(&caller));
    Ok(uncached(HttpResponse::NoContent()).finish())
}

/// Reads the id of an identity: 32 hexadecimal digits.
pub(crate) fn short_name(text: &str) -> Option<u128> {
    let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    u128::from_str_radix(text, 16).ok().filter(|_| is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_32_hexadecimal_digits() {
        assert_eq!(short_name("000000000000000000000000000000ff"), Some(255));
        for other in ["", "ff", "+00000000000000000000000000000ff", "g".repeat(32).as_str()] {
            assert_eq!(short_name(other), None, "{other}");
        }
    }
}
