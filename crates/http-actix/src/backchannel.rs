//! `POST /api/v1/auth/backchannel-logout/{provider}`: a provider ends sessions (OIDC Back-Channel
//! Logout §2.5).

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use garde::Validate;
use mintgate_domain::{ErrorCode, FieldRule, LogoutTokenText};
use tracing::debug_span;
use url::form_urlencoded;
use utoipa::ToSchema;

use crate::body::read_form;
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::{ApiError, ErrorKind};
use crate::limits::Limit;
use crate::openapi::Operation;
use crate::sessions::uncached;
use crate::validation::Characters::Visible;
use crate::validation::{Broken, BrokenField, BrokenRule, broken_fields, text, text_rules};

pub(crate) fn operation() -> Operation {
    use ErrorCode::{
        InvalidLogoutToken, Overloaded, ProviderError, ProviderTimeout, ProviderUnavailable,
        RateLimited, StoreUnavailable, UnknownProvider,
    };
    let rules = text_rules(&LogoutTokenBody { logout_token: String::new() });
    Operation::new(
        "Providers",
        "backchannelLogout",
        "End the sessions that a provider's logout token is about",
    )
    .about("OpenID Connect Back-Channel Logout 1.0; for providers alone.")
    .path_parameter("provider", "The id of the configured provider.")
    .takes_form::<LogoutTokenBody>(&rules)
    .answers_nothing(StatusCode::OK, "Its sessions have ended, if there were any.")
    .refuses([
        InvalidLogoutToken,
        Overloaded,
        ProviderError,
        ProviderTimeout,
        ProviderUnavailable,
        RateLimited,
        StoreUnavailable,
        UnknownProvider,
    ])
}

/// Ends the sessions that a logout token is about. The provider itself calls this, so neither a cookie
/// nor an origin counts here, only the provider's signature.
pub(crate) async fn log_out(
    request: HttpRequest,
    state: State,
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
    let ended = state.run_to_end(place, span, ending).await.map_err(ApiError::from);
    let (provider, count) = ended.map_err(|refusal| match refusal.kind() {
        ErrorKind::Core(ErrorCode::InvalidLogoutToken) => {
            state.refused(&request, Limit::RefusedLogoutTokens, refusal)
        }
        _ => refusal,
    })?;
    LogFields::update(&request, |fields| fields.provider = Some(provider.clone()));
    tracing::info!(%provider, sessions = count, "sessions were ended by their provider");
    Ok(uncached(HttpResponse::Ok()).finish())
}

/// The path of logout tokens, up to the provider.
pub(crate) const PATH: &str = "/api/v1/auth/backchannel-logout/";

/// A logout token.
#[derive(Validate, ToSchema)]
#[garde(context(Broken))]
struct LogoutTokenBody {
    /// The token, which the provider has signed.
    // As long as an ID token may be.
    #[garde(custom(text("logout_token", 1..=16384, Visible)))]
    logout_token: String,
}

fn logout_token(body: &[u8]) -> Result<LogoutTokenText, ApiError> {
    let mut tokens = form_urlencoded::parse(body).filter(|(name, _)| name == "logout_token");
    let refused =
        |rule: BrokenRule| Err(ApiError::invalid(vec![BrokenField::new("logout_token", rule)]));
    let logout_token = match (tokens.next(), tokens.next()) {
        (None, _) => return refused(FieldRule::Required.into()),
        (Some(_), Some(_)) => return refused(BrokenRule::Twice),
        (Some((_, token)), None) => token.into_owned(),
    };
    let body = LogoutTokenBody { logout_token };
    let broken = broken_fields(&body);
    if broken.is_empty() {
        Ok(LogoutTokenText::new(body.logout_token))
    } else {
        Err(ApiError::invalid(broken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::Characters;

    #[test]
    fn the_form_has_one_bounded_logout_token() {
        let token = |body: &str| {
            logout_token(body.as_bytes())
                .map(|token| token.expose().to_owned())
                .map_err(|error| error.fields()[0].rule)
        };
        assert_eq!(token("logout_token=a.b.c&more=1"), Ok("a.b.c".to_owned()));
        assert_eq!(token("a=b"), Err(FieldRule::Required.into()));
        assert_eq!(token("logout_token="), Err(BrokenRule::TooShort(1)));
        assert_eq!(token("logout_token=a&logout_token=a"), Err(BrokenRule::Twice));
        let long = format!("logout_token={}", "a".repeat(16385));
        assert_eq!(token(&long), Err(BrokenRule::TooLong(16384)));
        for body in ["logout_token=a+b", "logout_token=%00"] {
            assert_eq!(token(body), Err(BrokenRule::Not(Characters::Visible)), "{body}");
        }
    }
}
