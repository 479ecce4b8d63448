//! A further identity is linked: a login that the account page begins, in one session and for it alone.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::model::{LoginPurpose, LoginTransaction};
use mintgate_domain::{AuthError, ErrorCode, LoginParameter, PresentedToken, SignInRequest};
use tracing::debug_span;

use super::Hosted;
use super::login::display_name;
use super::texts::fill;
use crate::AppState;
use crate::envelope::{LogFields, refuse_duplicate_cookies};
use crate::error::{ApiError, append_cookies};
use crate::pages::parameters::AuthorizationResponse;
use crate::pages::start::{self, asking_in};
use crate::pages::start_cookies::Started;
use crate::pages::{Shown, callback, redirect};

/// Begins a login whose identity is linked to the caller's user. The answer is a page that leads on: browsers
/// apply its policy of forms to a redirect, and to all that follow.
pub(super) async fn begin(
    request: &HttpRequest,
    state: &AppState,
    hosted: &Hosted,
    token: PresentedToken,
    provider: &str,
) -> Result<HttpResponse, ApiError> {
    let own = Arc::clone(&state.use_cases.own_sessions);
    let asking = async move { own.caller(&token).await };
    let place = state.admission.sessions.take()?;
    let caller = state.run(place, debug_span!("find_caller"), asking).await?;
    LogFields::update(request, |fields| fields.of_caller(&caller));
    let mut providers = state.use_cases.begin_login.providers();
    let known = providers.find(|known| known.policy.id.as_str() == provider);
    let known = known.ok_or_else(|| ApiError::new(ErrorCode::UnknownProvider))?;
    let mut asked = asking_in(request, state, provider);
    let takes_prompt = |(known, _): &(LoginParameter, String)| *known == LoginParameter::Prompt;
    if known.policy.login.client_parameters.iter().any(takes_prompt) {
        // Whoever adds an account may be signed in there with another one.
        asked.push((LoginParameter::Prompt, "select_account".to_owned()));
    }
    let purpose = LoginPurpose::Link(caller.session);
    let begun = start::begin(request, state, provider, &hosted.account, purpose, asked).await?;
    let view = hosted.view(request);
    let title = fill(&view.texts().going_to, &[("provider", display_name(known))]);
    let mut response = HttpResponse::Ok();
    append_cookies(&mut response, &begun.cookies);
    Ok(view.onwards(response, &title, &begun.authorization_url))
}

/// Links the identity of a login that the account page has begun, if the browser is still in the session that
/// has begun it. How it has ended is told by the account page.
pub(in crate::pages) async fn finish(
    request: &HttpRequest,
    state: &AppState,
    provider: &str,
    started: &Started,
    response: AuthorizationResponse,
) -> Result<HttpResponse, ApiError> {
    let hosted = Hosted::of(state)?;
    let login = &started.login;
    if started.is_finished {
        return Ok(redirect(hosted.account.as_str()).finish());
    }
    let linked = link(request, state, provider, login, response).await;
    linked.map_err(|refusal| {
        let clear = if callback::is_over(refusal.kind()) {
            vec![state.pages.cookies.clear(login)]
        } else {
            vec![]
        };
        let address = hosted.account_telling(refusal.kind().code());
        refusal.clearing(clear).shown(Shown::AtPage(address))
    })?;
    let mut answer = redirect(&hosted.account_telling("linked"));
    append_cookies(&mut answer, &[state.pages.cookies.finish(login)]);
    Ok(answer.finish())
}

async fn link(
    request: &HttpRequest,
    state: &AppState,
    provider: &str,
    login: &LoginTransaction,
    response: AuthorizationResponse,
) -> Result<(), ApiError> {
    refuse_duplicate_cookies(request, state)?;
    let token = state.ports.cookies.access_token(request.headers()).ok_or_else(|| {
        let cause = "the browser shows no session to link an identity in";
        ApiError::from(AuthError::InvalidAccessToken(cause.into()))
    })?;
    let sign_in: SignInRequest = callback::sign_in(state, provider, login, response)?;
    let known = state.use_cases.issue_tokens.provider_id(&sign_in);
    let admitted = state.admit_sign_in(request, known)?;
    let identities = Arc::clone(&state.use_cases.identities);
    let linking = async move { identities.link(&token, &sign_in).await };
    let place = state.admission.sign_ins.take()?;
    match state.run_to_end(place, debug_span!("link_identity"), linking).await {
        Ok((caller, _)) => {
            LogFields::update(request, |fields| fields.of_caller(&caller));
            Ok(())
        }
        Err(error) => {
            state.settle_sign_in(&admitted, &error);
            Err(error.into())
        }
    }
}
