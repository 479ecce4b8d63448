//! `GET` and `POST /api/v1/auth/initiate/{provider}`: a provider's portal asks for a login (OIDC Core §4).
//!
//! It is a fresh login, as a link of ours begins it: nothing that the portal says is taken on trust.

use std::borrow::Cow;

use actix_web::web::{Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::model::LoginPurpose;
use mintgate_domain::{ErrorCode, LoginParameter};
use url::form_urlencoded;

use super::start::{BegunAtCallback, begin, operation};
use super::{navigation, parameters, shown};
use crate::AppState;
use crate::body::{REFUSALS, read_form};
use crate::current::State;
use crate::error::ApiError;
use crate::openapi::Operation;
use crate::validation::{BrokenField, BrokenRule, Characters, check};

const PAGE: &str = "target_link_uri";

pub(crate) fn initiate_operation() -> Operation {
    describe(operation("initiateLogin", "Begin a login that a provider's portal asks for"))
        .query_parameter("iss", "The provider's issuer, exactly.")
        .query_parameter(
            "login_hint",
            "Goes on to the provider if its `login_params` lists `loginHint`.",
        )
        .query_parameter(PAGE, "Where the browser goes at the end, as `returnTo` of a start.")
}

pub(crate) fn posted_initiate_operation() -> Operation {
    let id = "initiateLoginByForm";
    describe(operation(id, "Begin a login that a provider's portal asks for by a form"))
        .refuses(REFUSALS)
}

fn describe(operation: Operation) -> Operation {
    operation
        .about(
            "The `initiate_login_uri` to register at the provider (OIDC Core §4). A fresh login begins: whoever \
            is signed in at the provider goes through it without a question.",
        )
}

/// The request in the query.
pub(crate) async fn initiate(
    request: HttpRequest,
    state: State,
    provider: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let show = |refusal| shown(&request, &state, &provider, None, refusal);
    navigation::require(&request).map_err(show)?;
    begin_asked(&request, &state, &provider, request.query_string().as_bytes()).await
}

/// The request in a form.
pub(crate) async fn posted_initiate(
    request: HttpRequest,
    state: State,
    provider: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let show = |refusal| shown(&request, &state, &provider, None, refusal);
    navigation::require(&request).map_err(show)?;
    let form = read_form(&request, &state, payload).await.map_err(show)?;
    begin_asked(&request, &state, &provider, &form).await
}

async fn begin_asked(
    request: &HttpRequest,
    state: &AppState,
    provider: &str,
    parameters: &[u8],
) -> Result<HttpResponse, ApiError> {
    let asked = Asked::read(state, provider, parameters);
    let Asked { hint, page } = asked.map_err(|it| shown(request, state, provider, None, it))?;
    let page = parameters::page(page.as_deref(), &state.pages.origins)
        .map_err(|error| shown(request, state, provider, None, error.into()))?;
    let begun = begin(request, state, provider, &page, LoginPurpose::SignIn, hint).await;
    begun
        .map(BegunAtCallback::redirect)
        .map_err(|refusal| shown(request, state, provider, Some(&page), refusal))
}

/// What a portal asks for.
struct Asked {
    hint: Vec<(LoginParameter, String)>,
    page: Option<String>,
}

impl Asked {
    /// Reads a query or a form; other parameters are ignored.
    ///
    /// # Errors
    /// `UNKNOWN_PROVIDER`, and `INVALID_REQUEST` with every parameter at fault.
    fn read(state: &AppState, provider: &str, text: &[u8]) -> Result<Self, ApiError> {
        let mut providers = state.use_cases.begin_login.providers();
        let known = providers.find(|known| known.policy.id.as_str() == provider);
        let policy = &known.ok_or_else(|| ApiError::new(ErrorCode::UnknownProvider))?.policy;
        let all: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(text).collect();
        let mut broken = Vec::new();
        let mut take = |name: &'static str| {
            let mut values = all.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
            let value = values.next()?;
            if values.next().is_some() {
                broken.push(BrokenField::new(name, BrokenRule::Twice));
            }
            Some(value.to_string())
        };
        let (issuer, hint, page) = (take("iss"), take("login_hint"), take(PAGE));
        if !issuer.is_some_and(|issuer| policy.issuers.contains(&issuer)) {
            broken.push(BrokenField::new("iss", BrokenRule::NotTheIssuer));
        }
        let takes_hint =
            |(known, _): &(LoginParameter, String)| *known == LoginParameter::LoginHint;
        let takes_hint = policy.login.client_parameters.iter().any(takes_hint);
        let hint = hint.filter(|hint| takes_hint && !hint.is_empty());
        if let Some(hint) = &hint
            && let Err(rule) = check(hint.as_bytes(), 1..=256, Characters::Readable)
        {
            broken.push(BrokenField::new("login_hint", rule));
        }
        if !broken.is_empty() {
            return Err(ApiError::invalid(broken));
        }
        let hint = hint.map(|hint| (LoginParameter::LoginHint, hint)).into_iter().collect();
        Ok(Self { hint, page })
    }
}
