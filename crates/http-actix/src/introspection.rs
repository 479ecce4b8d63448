//! `POST /oauth2/introspect` (RFC 7662) and `POST /oauth2/revoke` (RFC 7009): a back end asks whether a token
//! of ours is good, or has it revoked.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use mintgate_admin::json::claim;
use mintgate_domain::model::{ClaimValue, Role, SessionId, UserId};
use mintgate_domain::{ActiveToken, Client, ErrorCode, FieldRule, PresentedToken};
use serde::Serialize;
use serde_json::Value;
use tracing::debug_span;
use url::form_urlencoded;
use utoipa::ToSchema;

use crate::body::read_form;
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::ApiError;
use crate::openapi::Operation;
use crate::sessions::uncached;
use crate::validation::{BrokenField, BrokenRule};
use crate::{AppState, basic};

/// The path of introspection.
pub(crate) const INTROSPECT: &str = "/oauth2/introspect";
/// The path of revocation.
pub(crate) const REVOKE: &str = "/oauth2/revoke";

/// The answer about a token that is good (RFC 7662 §2.2): what the token says, in the words of its claims.
#[derive(Debug, Default, Serialize, ToSchema)]
struct TokenBody<'a> {
    /// Whether the token is good, for this client; nothing else is said where it is not.
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    amr: &'a [String],
    /// The claims of `tokens.extra_claims`.
    #[serde(flatten)]
    extra: BTreeMap<String, Value>,
}

impl<'a> TokenBody<'a> {
    fn new(token: &'a ActiveToken, issuer: &'a str) -> Self {
        let session = token.session();
        let common = Self {
            active: true,
            iss: Some(issuer),
            sub: Some(session.user.to_string()),
            sid: Some(session.id.to_string()),
            idp: Some(session.provider.as_str()),
            auth_time: Some(session.grant.auth_time.as_unix()),
            acr: session.grant.acr.as_deref(),
            amr: &session.grant.amr,
            ..Self::default()
        };
        match token {
            ActiveToken::Access(access, _) => Self {
                token_type: Some("Bearer"),
                aud: Some(&access.audience),
                client_id: access.client_id.as_deref(),
                iat: Some(access.issued_at.as_unix()),
                nbf: Some(access.issued_at.as_unix()),
                exp: Some(access.expires_at.as_unix()),
                jti: Some(access.token_id.clone()),
                epoch: Some(session.epochs.user),
                roles: Some(access.roles.iter().map(Role::as_str).collect()),
                extra: extra(&session.grant.extra),
                ..common
            },
            // Neither an audience nor roles: nobody shall take it for an access token.
            ActiveToken::Refresh(refresh, _) => Self {
                token_type: Some("refresh_token"),
                iat: Some(refresh.issued_at.as_unix()),
                exp: Some(refresh.expires_at.as_unix()),
                jti: Some(format!("{}.{}", refresh.session, refresh.generation)),
                ..common
            },
        }
    }
}

/// The extra claims of a token, but for those that have the name of a member of every answer.
fn extra(claims: &BTreeMap<String, ClaimValue>) -> BTreeMap<String, Value> {
    let kept = claims.iter().filter(|(name, _)| !matches!(name.as_str(), "active" | "token_type"));
    kept.map(|(name, value)| (name.clone(), claim(value))).collect()
}

/// A token that a back end asks about.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the form, which is read by `token`")]
struct TokenForm {
    /// An access token, or a refresh token.
    #[schema(min_length = 1)]
    token: String,
    /// Which of them it is; not needed.
    #[schema(nullable = false)]
    token_type_hint: Option<String>,
}

pub(crate) fn introspect_operation() -> Operation {
    of_back_ends("introspect", "Ask whether a token is good (RFC 7662)")
        .answers::<TokenBody<'_>>(StatusCode::OK, "What the token says, if it is good.")
}

pub(crate) fn revoke_operation() -> Operation {
    of_back_ends("revoke", "End the session of a token (RFC 7009)")
        .answers_nothing(StatusCode::OK, "The session has ended, if there was one.")
}

fn of_back_ends(id: &'static str, summary: &'static str) -> Operation {
    Operation::new("Back ends", id, summary)
        .takes_form::<TokenForm>(&[])
        .needs_client()
        .refuses([ErrorCode::Overloaded, ErrorCode::StoreUnavailable])
}

/// Says whether a token is good, and what it says if it is.
pub(crate) async fn introspect(
    request: HttpRequest,
    state: State,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let (client, token) = read(&request, &state, payload).await?;
    let place = state.admission.introspections.take()?;
    let introspection = Arc::clone(&state.use_cases.introspection);
    let asking = async move { introspection.introspect(&client, &token).await };
    let token = state.run(place, debug_span!("introspect"), asking).await?;
    let body = match &token {
        Some(token) => {
            log_whose(&request, token.session().user, token.session().id);
            TokenBody::new(token, state.metadata.issuer())
        }
        None => TokenBody::default(),
    };
    Ok(uncached(HttpResponse::Ok()).json(body))
}

/// Ends the session of a token. Whatever there is to end or not, the answer is the same (RFC 7009 §2.2).
pub(crate) async fn revoke(
    request: HttpRequest,
    state: State,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let (client, token) = read(&request, &state, payload).await?;
    let place = state.admission.introspections.take()?;
    let introspection = Arc::clone(&state.use_cases.introspection);
    let ending = async move { introspection.revoke(&client, &token).await };
    let ended = state.run_to_end(place, debug_span!("revoke"), ending).await?;
    if let Some((user, session)) = ended {
        log_whose(&request, user, session);
    }
    Ok(uncached(HttpResponse::Ok()).finish())
}

/// Adds the user and the session of a token to the log line.
fn log_whose(request: &HttpRequest, user: UserId, session: SessionId) {
    LogFields::update(request, |fields| {
        fields.user = Some(user);
        fields.session = Some(session);
    });
}

/// The client that calls, and the token that it asks about.
async fn read(
    request: &HttpRequest,
    state: &AppState,
    payload: Payload,
) -> Result<(Client, PresentedToken), ApiError> {
    let client = basic::client(request.headers(), state)?;
    LogFields::update(request, |fields| fields.client = Some(client.id.clone()));
    let token = token(&read_form(request, state, payload).await?)?;
    Ok((client, token))
}

/// The `token` of a form. `token_type_hint` may be missing or wrong, so it is not read.
///
/// # Errors
/// `INVALID_REQUEST`
fn token(form: &[u8]) -> Result<PresentedToken, ApiError> {
    // A parameter without a value counts as omitted, and none may come twice (RFC 6749 §3.2).
    let named = form_urlencoded::parse(form).filter(|(name, _)| name == "token");
    let mut tokens = named.filter(|(_, value)| !value.is_empty());
    let refused = |rule| Err(ApiError::invalid(vec![BrokenField::new("token", rule)]));
    match (tokens.next(), tokens.next()) {
        (None, _) => refused(FieldRule::Required.into()),
        (Some(_), Some(_)) => refused(BrokenRule::Twice),
        (Some((_, token)), None) => Ok(PresentedToken::new(token.into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_has_one_token_and_whatever_hint() {
        let token = |form: &str| {
            token(form.as_bytes())
                .map(|token| token.expose().to_owned())
                .map_err(|error| error.fields()[0].rule)
        };
        let good = Ok("a.b-c_d".to_owned());
        assert_eq!(token("token=a.b-c_d"), good);
        assert_eq!(token("token_type_hint=banana&token=a.b-c_d&token_type_hint="), good);
        assert_eq!(token("token=&token=a.b-c_d"), good);
        assert_eq!(token("token=a%00+%ff"), Ok("a\0 \u{fffd}".to_owned()), "no token of ours");
        for form in ["", "token=", "token", "Token=a", "token_type_hint=a"] {
            assert_eq!(token(form), Err(FieldRule::Required.into()), "{form}");
        }
        assert_eq!(token("token=a&token=a"), Err(BrokenRule::Twice));
    }

    #[test]
    fn an_inactive_token_is_answered_by_one_member() {
        let json = serde_json::to_string(&TokenBody::default()).unwrap();
        assert_eq!(json, r#"{"active":false}"#);
    }
}
