//! `GET /login`: the page where people choose how to sign in.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::model::{Profile, ReturnTo};
use mintgate_domain::ports::VerifiedAccess;
use mintgate_domain::{ErrorCode, RegisteredProvider};
use serde_json::json;
use tracing::debug_span;

use super::layout::{Html, Tone, View, message};
use super::texts::fill;
use super::visitor::{Visitor, is_navigation};
use super::{ACCOUNT, Hosted, LOGIN, NOTICE, encoded, parameter};
use crate::AppState;
use crate::current::State;
use crate::envelope::{LogFields, refuse_duplicate_cookies};
use crate::error::{ApiError, HttpErrorCode};
use crate::openapi::Operation;
use crate::pages::parameters::return_to;
use crate::pages::refresh_return::{SIGNED_OUT, UNAVAILABLE};
use crate::pages::{SIGNED_IN, START, redirect};

const RETURN_TO: &str = "returnTo";
/// The parameter that says how an earlier attempt has ended.
pub(super) const RESULT: &str = "mintgate_result";

pub(crate) fn login_operation() -> Operation {
    use ErrorCode::{NotFound, Overloaded, ReturnToNotAllowed, StoreUnavailable};
    Operation::new("Hosted pages", "showLogin", "Choose how to sign in")
        .about(
            "A page with a link for each provider, if `pages.hosted` is set. Whoever has a session that can be \
            refreshed is sent on to `returnTo` without a question.",
        )
        .query_parameter(
            RETURN_TO,
            "Where the browser goes at the end: an address of one of `pages.return_origins`. Without it, to \
            `pages.home_url` or to the account page.",
        )
        .query_parameter(RESULT, "How an earlier attempt has ended, which the page tells.")
        .for_browsers()
        .answers_as(StatusCode::OK, "The page.", &["text/html"], &json!({ "type": "string" }))
        .answers_nothing(StatusCode::SEE_OTHER, "The browser has a session, or may have one.")
        .refuses([NotFound, Overloaded, ReturnToNotAllowed, StoreUnavailable])
        .refuses([HttpErrorCode::DuplicateCookie])
}

/// Shows the page.
pub(crate) async fn login(request: HttpRequest, state: State) -> Result<HttpResponse, ApiError> {
    let hosted = Hosted::of(&state)?;
    let page = destination(hosted, &state, request.query_string());
    let page = page.map_err(|refusal| hosted.show(&request, None, refusal))?;
    let here = format!("{}?{RETURN_TO}={}", hosted.path(LOGIN), encoded(page.as_str()));
    let show = |refusal| hosted.show(&request, Some(&here), refusal);
    let visitor = caller(&request, &state).await.map_err(show)?;
    let result = parameter(request.query_string(), RESULT);
    let notice = parameter(request.query_string(), NOTICE);
    let view = hosted.view(&request);
    let ended = match visitor {
        Visitor::SignedIn(_) if result.as_deref() == Some(SIGNED_IN) => {
            return Ok(redirect(page.as_str()).finish());
        }
        Visitor::SignedIn((_, profile)) => return Ok(signed_in(&view, &state, &page, &profile)),
        Visitor::SignedOut(ended) => ended,
    };
    if hosted.may_have_more_cookies(&request) && is_navigation(&request) {
        let again = format!("{}?{}", hosted.path(LOGIN), request.query_string());
        return Ok(view.onwards(HttpResponse::Ok(), &view.texts().sign_in, &again));
    }
    if result.as_deref() == Some(UNAVAILABLE) {
        let cause = "the session could not be refreshed";
        return Err(show(ApiError::new(ErrorCode::StoreUnavailable).because(cause)));
    }
    let said = ended.map(str::to_owned).or_else(|| result.clone()).or_else(|| {
        // An app, or its gateway, that sends somebody here again may not have looked at the result.
        page.result().filter(|it| ![SIGNED_IN, SIGNED_OUT, UNAVAILABLE].contains(&it.as_str()))
    });
    if said.is_none() && notice.is_none() && is_navigation(&request) {
        let query = request.query_string();
        let joint = if query.is_empty() { "" } else { "?" };
        let back = format!("{}{joint}{query}", hosted.login.as_str());
        // One that is too long cannot lead back here.
        if state.pages.origins.judge(&back).is_ok() {
            return Ok(redirect(&hosted.refresh_link(&back)).finish());
        }
    }
    let has_just_signed_in = page.result().as_deref() == Some(SIGNED_IN);
    Ok(view.page(HttpResponse::Ok(), &view.texts().sign_in, |html| {
        tell(&view, html, said.as_deref(), notice.as_deref(), has_just_signed_in);
        providers(&view, html, &state, &page);
    }))
}

/// Where the browser goes at the end.
fn destination(hosted: &Hosted, state: &AppState, query: &str) -> Result<ReturnTo, ApiError> {
    let is_named = url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == RETURN_TO);
    if is_named {
        return Ok(return_to(query, RETURN_TO, &state.pages.origins)?);
    }
    Ok(hosted.home.clone().unwrap_or_else(|| hosted.account.clone()))
}

/// Who the caller is.
async fn caller(
    request: &HttpRequest,
    state: &AppState,
) -> Result<Visitor<(VerifiedAccess, Profile)>, ApiError> {
    refuse_duplicate_cookies(request, state)?;
    let Some(token) = state.ports.cookies.access_token(request.headers()) else {
        return Ok(Visitor::SignedOut(None));
    };
    let own = Arc::clone(&state.use_cases.own_sessions);
    let asking = async move { own.me(&token).await };
    let place = state.admission.sessions.take()?;
    let visitor = Visitor::of(state.run(place, debug_span!("find_caller"), asking).await)?;
    if let Visitor::SignedIn((caller, _)) = &visitor {
        LogFields::update(request, |fields| fields.of_caller(caller));
    }
    Ok(visitor)
}

/// Says how an earlier attempt has ended, or what was done.
fn tell(
    view: &View<'_>,
    html: &mut Html,
    result: Option<&str>,
    notice: Option<&str>,
    has_just_signed_in: bool,
) {
    let texts = view.texts();
    match (result, notice) {
        (_, Some("signed_out")) => message(html, Tone::Good, &texts.you_signed_out),
        (_, Some("signed_out_everywhere")) => {
            message(html, Tone::Good, &texts.signed_out_everywhere);
        }
        (Some(SIGNED_IN), _) => message(html, Tone::Bad, &texts.no_cookies),
        (Some(SIGNED_OUT), _) if has_just_signed_in => {
            message(html, Tone::Bad, &texts.no_cookies);
        }
        (Some(SIGNED_OUT) | None, _) => {}
        (Some(code), _) => message(html, Tone::Bad, texts.of_code(code)),
    }
}

/// The page for somebody who has a session already.
fn signed_in(
    view: &View<'_>,
    state: &AppState,
    page: &ReturnTo,
    profile: &Profile,
) -> HttpResponse {
    let texts = view.texts();
    let name = [&profile.name, &profile.preferred_username, &profile.email];
    let name = name.into_iter().flatten().next();
    view.page(HttpResponse::Ok(), &texts.sign_in, |html| {
        let text = match name {
            Some(name) => fill(&texts.signed_in_as, &[("name", name)]),
            None => texts.signed_in.clone(),
        };
        html.markup("<p>").text(&text).markup("</p><p class=\"buttons\">");
        html.markup("<a class=\"button\" href=\"").text(page.as_str()).markup("\">");
        html.text(&texts.go_on).markup("</a> <a href=\"").text(&view.hosted.path(ACCOUNT));
        html.markup("\">").text(&texts.your_account).markup("</a></p><h2>");
        html.text(&texts.other_account).markup("</h2>");
        providers(view, html, state, page);
    })
}

/// A link for each provider.
fn providers(view: &View<'_>, html: &mut Html, state: &AppState, page: &ReturnTo) {
    html.markup("<ul class=\"providers\">");
    for provider in state.use_cases.begin_login.providers() {
        let id = provider.policy.id.as_str();
        let link =
            format!("{}{id}?{RETURN_TO}={}", view.hosted.path(START), encoded(page.as_str()));
        let name = display_name(provider);
        let text = fill(&view.texts().sign_in_with, &[("provider", name)]);
        html.markup("<li><a class=\"provider\" href=\"").text(&link).markup("\">");
        badge(html, name);
        html.markup("<span>").text(&text).markup("</span></a></li>");
    }
    html.markup("</ul>");
}

/// The first letter of a name, in place of a maker's mark.
pub(super) fn badge(html: &mut Html, name: &str) {
    let letter: String = name.chars().take(1).flat_map(char::to_uppercase).collect();
    html.markup("<span class=\"badge\" aria-hidden=\"true\">").text(&letter).markup("</span>");
}

/// The name of a provider on the pages.
pub(super) fn display_name(provider: &RegisteredProvider) -> &str {
    let policy = &provider.policy;
    if policy.login.display_name.is_empty() {
        policy.id.as_str()
    } else {
        &policy.login.display_name
    }
}
