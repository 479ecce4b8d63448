//! `GET /api/v1/auth/start/{provider}` begins a login by a link.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::model::{LoginPurpose, ReturnTo};
use mintgate_domain::{ErrorCode, LoginParameter, SetCookie};
use tracing::debug_span;

use super::parameters::return_to;
use super::{navigation, redirect, shown};
use crate::AppState;
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::{ApiError, append_cookies};
use crate::limits::Limit;
use crate::openapi::Operation;

pub(crate) fn start_operation() -> Operation {
    operation("startLogin", "Begin a login by a link")
        .about(
            "A link for browsers without a script. The browser goes to the provider, comes back to \
            `/api/v1/auth/callback/{provider}`, and is sent to `returnTo`, with `mintgate_result` in its query: \
            `signed_in` or an errorCode. Only the navigation of a whole tab begins a login.",
        )
        .query_parameter(
            "returnTo",
            "Where the browser goes at the end: an address of one of `pages.return_origins`.",
        )
}

/// What sends a browser to a provider.
pub(super) fn operation(id: &'static str, summary: &'static str) -> Operation {
    use ErrorCode::{
        Overloaded, ProviderError, ProviderTimeout, ProviderUnavailable, RateLimited,
        ReturnToNotAllowed, StoreUnavailable, UnknownProvider,
    };
    Operation::new("Links", id, summary)
        .path_parameter("provider", "The id of the configured provider.")
        .for_browsers()
        .answers_nothing(StatusCode::SEE_OTHER, "The browser goes to the provider.")
        .sends("Location")
        .sends("Set-Cookie")
        .refuses([
            Overloaded,
            ProviderError,
            ProviderTimeout,
            ProviderUnavailable,
            RateLimited,
            ReturnToNotAllowed,
            StoreUnavailable,
            UnknownProvider,
        ])
}

/// Sends the browser to the provider. What protects the login, and the page to return to, go into a cookie.
pub(crate) async fn start(
    request: HttpRequest,
    state: State,
    provider: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let show = |refusal, page: Option<&ReturnTo>| shown(&request, &state, &provider, page, refusal);
    navigation::require(&request).map_err(|refusal| show(refusal, None))?;
    let page = return_to(request.query_string(), "returnTo", &state.pages.origins)
        .map_err(|error| show(error.into(), None))?;
    let asked = asking_in(&request, &state, &provider);
    let begun = begin(&request, &state, &provider, &page, LoginPurpose::SignIn, asked).await;
    begun.map(BegunAtCallback::redirect).map_err(|refusal| show(refusal, Some(&page)))
}

/// Asks the provider for the language in which the caller sees the hosted pages, if it may be asked.
pub(super) fn asking_in(
    request: &HttpRequest,
    state: &AppState,
    provider: &str,
) -> Vec<(LoginParameter, String)> {
    let mut providers = state.use_cases.begin_login.providers();
    let known = providers.find(|known| known.policy.id.as_str() == provider);
    let takes_it = known.is_some_and(|known| {
        let mut allowed = known.policy.login.client_parameters.iter();
        allowed.any(|(parameter, _)| *parameter == LoginParameter::UiLocales)
    });
    let language = state.pages.hosted.as_ref().map(|hosted| hosted.language_of(request));
    let language = language.filter(|_| takes_it);
    language.map(|tag| (LoginParameter::UiLocales, tag.to_owned())).into_iter().collect()
}

/// A login that ends at the callback: where the browser goes, and the cookies that it keeps.
pub(super) struct BegunAtCallback {
    pub(super) authorization_url: String,
    pub(super) cookies: Vec<SetCookie>,
}

impl BegunAtCallback {
    pub(super) fn redirect(self) -> HttpResponse {
        let mut response = redirect(&self.authorization_url);
        append_cookies(&mut response, &self.cookies);
        response.finish()
    }
}

/// Begins a login that ends at the callback, and then at this page, with what is asked for this one login.
pub(super) async fn begin(
    request: &HttpRequest,
    state: &AppState,
    provider: &str,
    page: &ReturnTo,
    purpose: LoginPurpose,
    asked: Vec<(LoginParameter, String)>,
) -> Result<BegunAtCallback, ApiError> {
    state.admit(request, Limit::Logins)?;
    let use_case = Arc::clone(&state.use_cases.begin_login);
    let ttl = use_case.sign_in.login_ttl();
    let callback = state.pages.callback_of(provider);
    let (provider, page) = (provider.to_owned(), page.clone());
    let beginning = async move {
        use_case.begin_at_callback(&provider, &callback, &page, purpose, &asked).await
    };
    let place = state.admission.sign_ins.take()?;
    let begun = state.run(place, debug_span!("begin_login"), beginning).await?;
    LogFields::update(request, |fields| {
        fields.provider = Some(begun.transaction.provider.clone());
    });
    let cookies = &state.pages.cookies;
    let mut set = cookies.make_room(request.headers());
    set.push(cookies.keep(&begun.transaction, ttl));
    Ok(BegunAtCallback { authorization_url: begun.authorization_url, cookies: set })
}
