//! `POST /api/v1/auth/backchannel-logout/{provider}`: a provider ends sessions (OIDC Back-Channel
//! Logout §2.5).

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use garde::Validate;
use mintgate_domain::{FieldError, LogoutTokenText};
use tracing::debug_span;
use url::form_urlencoded;

use crate::AppState;
use crate::body::read_form;
use crate::envelope::LogFields;
use crate::error::ApiError;
use crate::sessions::uncached;
use crate::validation::{check, visible};

/// Ends the sessions that a logout token is about. The provider itself calls this, so neither a cookie
/// nor an origin counts here, only the provider's signature.
pub(crate) async fn log_out(
    request: HttpRequest,
    state: Data<AppState>,
    provider: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read_form(&request, &state, payload).await?;
    let token = logout_token(&body)?;
    let logout = Arc::clone(&state.use_cases.provider_logout);
    let provider = provider.into_inner();
    let ending = async move { logout.end_sessions(&provider, &token).await };
    let place = state.admission.provider_logouts.take()?;
    let span = debug_span!("end_provider_sessions");
    let (provider, count) = state.run_to_end(place, span, ending).await?;
    LogFields::update(&request, |fields| fields.provider = Some(provider.clone()));
    tracing::info!(%provider, sessions = count, "sessions were ended by their provider");
    Ok(uncached(HttpResponse::Ok()).finish())
}

/// The path of logout tokens, up to the provider.
pub(crate) const PATH: &str = "/api/v1/auth/backchannel-logout/";

#[derive(Validate)]
struct LogoutBody {
    // As long as an ID token may be.
    #[garde(length(bytes, min = 1, max = 16384), custom(visible))]
    logout_token: String,
}

fn logout_token(body: &[u8]) -> Result<LogoutTokenText, ApiError> {
    let mut errors = Vec::new();
    let mut tokens = form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token");
    let token = tokens.next();
    if token.is_none() {
        errors.push(FieldError::new("logout_token", "is required"));
    } else if tokens.next().is_some() {
        errors.push(FieldError::new("logout_token", "must not be given twice"));
    }
    let logout_token = token.map_or_else(String::new, |(_, token)| token.into_owned());
    let body = LogoutBody { logout_token };
    check(&body, &mut errors);
    if errors.is_empty() {
        Ok(LogoutTokenText::new(body.logout_token))
    } else {
        Err(ApiError::invalid(errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_has_one_bounded_logout_token() {
        let token = |body: &str| {
            logout_token(body.as_bytes())
                .map(|token| token.expose().to_owned())
                .map_err(|error| error.fields()[0].message.clone())
        };
        assert_eq!(token("logout_token=a.b.c&more=1"), Ok("a.b.c".to_owned()));
        assert_eq!(token("a=b"), Err("is required".to_owned()));
        assert_eq!(token("logout_token="), Err("must have at least 1 characters".to_owned()));
        let twice = Err("must not be given twice".to_owned());
        assert_eq!(token("logout_token=a&logout_token=a"), twice);
        let long = format!("logout_token={}", "a".repeat(16385));
        assert_eq!(token(&long), Err("must have at most 16384 characters".to_owned()));
        let graphic = Err("must be printable ASCII without spaces".to_owned());
        assert_eq!(token("logout_token=a+b"), graphic);
        assert_eq!(token("logout_token=%00"), graphic);
    }
}
