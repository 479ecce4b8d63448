//! `POST /api/v1/auth/backchannel-logout/{provider}`: a provider ends sessions (OIDC Back-Channel
//! Logout §2.5).

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::{FieldError, LogoutTokenText};
use url::form_urlencoded;

use crate::AppState;
use crate::body::read_form;
use crate::envelope::LogFields;
use crate::error::ApiError;
use crate::sessions::uncached;

/// As long as an ID token may be.
const MAX_TOKEN_BYTES: usize = 8192;

/// Ends the sessions that a logout token is about. The provider calls this itself: no cookie and no
/// origin counts here, only the provider's signature.
pub(crate) async fn log_out(
    request: HttpRequest,
    state: Data<AppState>,
    provider: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read_form(&request, payload, state.request_timeout).await?;
    let token = logout_token(&body)?;
    let logout = Arc::clone(&state.use_cases.provider_logout);
    let provider = provider.into_inner();
    let ending = async move { logout.end_sessions(&provider, &token).await };
    let (provider, count) = state.run_to_end(ending).await?;
    LogFields::update(&request, |fields| fields.provider = Some(provider.clone()));
    tracing::info!(%provider, sessions = count, "sessions were ended by their provider");
    Ok(uncached(HttpResponse::Ok()).finish())
}

fn logout_token(body: &[u8]) -> Result<LogoutTokenText, ApiError> {
    let invalid = |rule: &str| Err(ApiError::invalid(vec![FieldError::new("logout_token", rule)]));
    let mut tokens =
        form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token").map(|(_, v)| v);
    match (tokens.next(), tokens.next()) {
        (None, _) => invalid("is required"),
        (Some(_), Some(_)) => invalid("must not be given twice"),
        (Some(token), None) if token.is_empty() => invalid("must have at least 1 characters"),
        (Some(token), None) if token.len() > MAX_TOKEN_BYTES => {
            invalid(&format!("must have at most {MAX_TOKEN_BYTES} characters"))
        }
        (Some(token), None) if !token.bytes().all(|b| b.is_ascii_graphic()) => {
            invalid("must be printable ASCII without spaces")
        }
        (Some(token), None) => Ok(LogoutTokenText::new(token)),
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
        let long = format!("logout_token={}", "a".repeat(8193));
        assert_eq!(token(&long), Err("must have at most 8192 characters".to_owned()));
        let graphic = Err("must be printable ASCII without spaces".to_owned());
        assert_eq!(token("logout_token=a+b"), graphic);
        assert_eq!(token("logout_token=%00"), graphic);
    }
}
