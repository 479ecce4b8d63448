//! `GET` and `POST /api/v1/auth/callback/{provider}`: the browser is back from the provider, with the
//! response to a login that `start` began.
//!
//! Only a response whose `state` is that of a cookie of this browser is looked at. Any other opens no
//! session, sends its code nowhere and changes no cookie.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::model::{IdempotencyKey, LoginPurpose, LoginTransaction, ReturnTo};
use mintgate_domain::{
    AuthError, AuthorizationCode, Credential, ErrorCode, IssuedTokens, SignInRequest,
    TokenDelivery, TokenHash, TokenRequest, chain,
};
use serde_json::json;
use tracing::debug_span;

use super::parameters::AuthorizationResponse;
use super::start_cookies::Started;
use super::{SIGNED_IN, Shown, hosted, html, navigation, redirect, shown};
use crate::AppState;
use crate::body::{REFUSALS, read_form};
use crate::client::{caller_address, client_info};
use crate::current::State;
use crate::envelope::{LogFields, refuse_duplicate_cookies};
use crate::error::{ApiError, ErrorKind, HttpErrorCode, append_cookies};
use crate::issued::append_session_cookies;
use crate::openapi::Operation;
use crate::token::issue_once;
use crate::validation::{BrokenField, BrokenRule};

pub(crate) fn callback_operation() -> Operation {
    operation("finishLogin", "Finish a login by a link")
        .query_parameter("code", "The authorization code.")
        .query_parameter("state", "The state of the login.")
        .query_parameter("error", "The provider's error, in place of a code.")
        .query_parameter("iss", "The provider's issuer (RFC 9207).")
}

pub(crate) fn posted_callback_operation() -> Operation {
    operation("finishLoginByForm", "Finish a login by a form that the provider's page posts")
        .answers_as(
            StatusCode::OK,
            "A page that posts the same once more: the login's cookie does not come with a form of another site.",
            &["text/html"],
            &json!({ "type": "string" }),
        )
        .refuses(REFUSALS)
}

fn operation(id: &'static str, summary: &'static str) -> Operation {
    use ErrorCode::{InvalidState, Overloaded, ReturnToNotAllowed};
    Operation::new("Links", id, summary)
        .about("The redirect URI of logins that `/api/v1/auth/start/{provider}` begins, for the provider alone.")
        .path_parameter("provider", "The id of the configured provider.")
        .for_browsers()
        .answers_nothing(
            StatusCode::SEE_OTHER,
            "The browser goes to the page that the login was begun for, with `mintgate_result` in its query.",
        )
        .sends("Location")
        .sends("Set-Cookie")
        .refuses([InvalidState, Overloaded, ReturnToNotAllowed])
        .refuses([HttpErrorCode::DuplicateCookie])
}

/// The response in the query.
pub(crate) async fn called_back(
    request: HttpRequest,
    state: State,
    provider: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let show = |refusal| shown(&request, &state, &provider, None, refusal);
    navigation::require(&request).map_err(show)?;
    let query = request.query_string();
    let response = AuthorizationResponse::read(query.as_bytes()).map_err(show)?;
    match started(&request, &state, &response) {
        Some(started) => finish(&request, &state, &provider, started, response).await,
        None => Err(show(unknown_state())),
    }
}

/// The response in a form (OAuth 2.0 Form Post Response Mode), which another site has posted: the cookie,
/// which is `Lax`, comes only when a page of ours posts the form once more.
pub(crate) async fn posted_back(
    request: HttpRequest,
    state: State,
    provider: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let show = |refusal| shown(&request, &state, &provider, None, refusal);
    navigation::require(&request).map_err(show)?;
    let form = read_form(&request, &state, payload).await.map_err(show)?;
    let response = AuthorizationResponse::read(&form).map_err(show)?;
    match started(&request, &state, &response) {
        Some(started) => finish(&request, &state, &provider, started, response).await,
        None if is_first(&request)
            && response.state.is_some_and(|it| LoginTransaction::is_state(&it)) =>
        {
            Ok(html::post_again(&form, &state.pages.origins))
        }
        None => Err(show(unknown_state())),
    }
}

/// Whether a form was not posted again by our own page.
fn is_first(request: &HttpRequest) -> bool {
    request.query_string() != html::AGAIN
}

fn unknown_state() -> ApiError {
    let cause = "no login with this state was begun in this browser";
    ApiError::new(ErrorCode::InvalidState).because(cause)
}

/// The login of this browser that the response belongs to.
fn started(
    request: &HttpRequest,
    state: &AppState,
    response: &AuthorizationResponse,
) -> Option<Started> {
    state.pages.cookies.find(request.headers(), response.state.as_deref()?)
}

/// Finishes the login, and sends the browser to its page.
async fn finish(
    request: &HttpRequest,
    state: &AppState,
    provider: &str,
    started: Started,
    response: AuthorizationResponse,
) -> Result<HttpResponse, ApiError> {
    let Started { login, is_finished, .. } = &started;
    LogFields::update(request, |fields| fields.provider = Some(login.provider.clone()));
    // The address has been with the browser meanwhile, and the configuration may be another one.
    let page = state.pages.origins.judge(login.return_to.as_deref().unwrap_or_default());
    let page = page.map_err(|error| shown(request, state, provider, None, error.into()))?;
    let show = |refusal| shown(request, state, provider, Some(&page), refusal);
    if let LoginPurpose::Link(_) = login.purpose {
        return hosted::finish_link(request, state, provider, &started, response).await;
    }
    refuse_duplicate_cookies(request, state).map_err(show)?;
    if *is_finished {
        return finished_before(request, state, &page).await.map_err(show);
    }
    let issued = issue(request, state, provider, login, response).await;
    let tokens = issued.map_err(|refusal| {
        let is_over = is_over(refusal.kind());
        let clear = if is_over { vec![state.pages.cookies.clear(login)] } else { vec![] };
        let address = page.with_result(refusal.kind().code());
        refusal.clearing(clear).shown(Shown::AtPage(address))
    })?;
    LogFields::update(request, |fields| fields.of_tokens(&tokens));
    end_replaced(request, state, &tokens).await;
    let mut answer = redirect(&page.with_result(SIGNED_IN));
    append_session_cookies(&mut answer, &tokens, &state.ports.cookies);
    append_cookies(&mut answer, &[state.pages.cookies.finish(login)]);
    Ok(answer.finish())
}

/// Whether a login is over with this refusal. A response that is not the login's must not keep its own one from
/// ending it.
pub(super) fn is_over(kind: ErrorKind) -> bool {
    kind.ends_login() && kind != ErrorKind::Core(ErrorCode::InvalidState)
}

/// The browser comes to the response of a login that has been finished, as by the Back button: on to the page
/// if the browser has a session.
async fn finished_before(
    request: &HttpRequest,
    state: &AppState,
    page: &ReturnTo,
) -> Result<HttpResponse, ApiError> {
    let refused =
        || ApiError::new(ErrorCode::InvalidState).because("the login was finished before");
    let token = state.ports.cookies.access_token(request.headers()).ok_or_else(refused)?;
    let own = Arc::clone(&state.use_cases.own_sessions);
    let asking = async move { own.caller(&token).await };
    let place = state.admission.sessions.take()?;
    match state.run(place, debug_span!("find_caller"), asking).await {
        Ok(caller) => LogFields::update(request, |fields| fields.of_caller(&caller)),
        Err(error @ (AuthError::Store(_) | AuthError::Signing(_))) => return Err(error.into()),
        Err(_) => return Err(refused()),
    }
    Ok(redirect(&page.with_result(SIGNED_IN)).finish())
}

/// Opens the session, as `/api/v1/auth/token` does. A response that is loaded twice is answered by the same
/// session: the state is the idempotency key.
async fn issue(
    request: &HttpRequest,
    state: &AppState,
    provider: &str,
    login: &LoginTransaction,
    response: AuthorizationResponse,
) -> Result<IssuedTokens, ApiError> {
    let sign_in = sign_in(state, provider, login, response)?;
    let is_code = matches!(sign_in.credential, Credential::Code(_));
    let key = TokenHash::of_parts(&["callback", &login.state()]);
    let sign_in = TokenRequest {
        sign_in,
        delivery: TokenDelivery::Cookie,
        client: client_info(request, caller_address(request, &state.trusted_proxies)),
        idempotency: is_code.then_some(IdempotencyKey { key, body: key }),
    };
    let known = state.use_cases.issue_tokens.provider_id(&sign_in.sign_in);
    let admitted = state.admit_sign_in(request, known)?;
    let place = state.admission.sign_ins.take()?;
    let issued = issue_once(state, place, sign_in).await?;
    issued.map_err(|error| {
        state.settle_sign_in(&admitted, &error);
        error.into()
    })
}

/// What the response proves, as the end of a login that was begun for our callback.
///
/// # Errors
/// `INVALID_REQUEST` if it has neither a code nor an error.
pub(super) fn sign_in(
    state: &AppState,
    provider: &str,
    login: &LoginTransaction,
    response: AuthorizationResponse,
) -> Result<SignInRequest, ApiError> {
    let AuthorizationResponse { code, state: begun, error, issuer } = response;
    let credential = match (error, code) {
        (Some(error), _) => Credential::Declined(error),
        (None, Some(code)) => Credential::Code(AuthorizationCode::new(code)),
        (None, None) => {
            let missing = BrokenField::new("code", BrokenRule::TooShort(1));
            return Err(ApiError::invalid(vec![missing]));
        }
    };
    Ok(SignInRequest {
        provider: Some(provider.to_owned()),
        credential,
        redirect_uri: None,
        code_verifier: None,
        nonce: None,
        state: begun,
        issuer,
        logins: vec![login.clone()],
        callback: Some(state.pages.callback_of(provider)),
        purpose: login.purpose,
    })
}

/// Ends the session that the new one takes the place of in this browser: nobody would see it any more.
async fn end_replaced(request: &HttpRequest, state: &AppState, tokens: &IssuedTokens) {
    let Some(former) = state.ports.cookies.access_token(request.headers()) else { return };
    let Ok(place) = state.admission.sessions.take() else { return };
    let (own, session) = (Arc::clone(&state.use_cases.own_sessions), tokens.session);
    let ending = async move { own.replace(&former, session).await };
    match state.run_to_end(place, debug_span!("end_replaced_session"), ending).await {
        Ok(()) | Err(AuthError::InvalidAccessToken(_)) => {}
        Err(error) => {
            tracing::warn!(error = %chain(&error), "the session that a new one replaces lives on");
        }
    }
}
