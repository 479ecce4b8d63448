//! `POST /api/v1/auth/login` begins a login; `GET /api/v1/auth/providers` lists the providers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::join_all;
use garde::Validate;
use mintgate_domain::{ErrorCode, FieldRule, LoginParameter, RegisteredProvider};
use serde::Serialize;
use tracing::{Instrument as _, debug_span};
use utoipa::ToSchema;

use crate::body::read_json;
use crate::current::State;
use crate::envelope::LogFields;
use crate::error::{ApiError, HttpErrorCode, append_cookies};
use crate::json::{Fields, Members};
use crate::limits::Limit;
use crate::openapi::Operation;
use crate::sessions::uncached;
use crate::validation::Characters::{Printable, Readable, Visible, Words};
use crate::validation::{Broken, BrokenRule, note, text};
use crate::{AppState, runtime};

/// How long the list of providers waits for a provider that has to be asked where its logins begin.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

struct LoginBody {
    provider: String,
    redirect_uri: Option<String>,
    /// What is asked for this one login.
    parameters: Vec<(LoginParameter, String)>,
}

const TEN_YEARS_SECS: u64 = 10 * 365 * 24 * 3600;

/// A login that has begun.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BegunBody<'a> {
    /// Where the browser goes to sign in.
    authorization_url: &'a str,
    /// The `state` that comes back with the browser, to be posted with the code.
    state: &'a str,
    /// How long the login can be finished, in seconds.
    expires_in: u64,
}

/// The providers.
#[derive(Serialize, ToSchema)]
struct ProvidersBody {
    /// The configured providers, in order.
    providers: Vec<ProviderBody>,
}

/// What a login page needs to know of a provider.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProviderBody {
    /// The id, as requests name it.
    id: String,
    /// What Mintgate knows of providers like it.
    preset: String,
    /// What people call it.
    display_name: String,
    /// The authorization endpoint; `null` if the provider cannot be asked for it at present.
    #[schema(required)]
    authorization_endpoint: Option<String>,
    /// The client id of Mintgate there.
    client_id: String,
    /// The scopes that an authorization request asks for.
    scopes: Vec<String>,
    /// Where the provider may send the browser back to.
    redirect_uris: Vec<String>,
    /// More parameters that an authorization request needs.
    authorization_params: BTreeMap<String, String>,
}

impl LoginBody {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut members = Members::parse(body)?;
        let given: Given = members.take();
        if given.provider.is_none() {
            members.refuse("provider", FieldRule::Required);
        }
        let parameters = [
            (LoginParameter::LoginHint, given.login_hint),
            (LoginParameter::Prompt, given.prompt),
            (LoginParameter::UiLocales, given.ui_locales),
            (LoginParameter::DomainHint, given.domain_hint),
            (LoginParameter::AcrValues, given.acr_values),
            (LoginParameter::MaxAge, given.max_age.map(|secs| secs.to_string())),
        ];
        let parameters = parameters.into_iter().filter_map(|(it, value)| Some((it, value?)));
        let (parameters, redirect_uri) = (parameters.collect(), given.redirect_uri);
        members.end(given.provider.map(|provider| Self { provider, redirect_uri, parameters }))
    }
}

/// Which login begins. What goes on to the provider must be in its `login_params`.
#[derive(Validate, ToSchema)]
#[garde(context(Broken))]
#[schema(as = LoginBody, rename_all = "camelCase", example = json!({ "provider": "corp" }))]
struct Given {
    /// The id of the configured provider.
    #[garde(inner(custom(text("provider", 1..=64, Visible))))]
    #[schema(required, nullable = false)]
    provider: Option<String>,
    /// Where the provider sends the browser back to; may be left out where the provider has exactly one.
    #[garde(inner(custom(text("redirectUri", 1..=2048, Visible))))]
    redirect_uri: Option<String>,
    /// Who is to sign in (OIDC Core §3.1.2.1).
    #[garde(inner(custom(text("loginHint", 1..=256, Readable))))]
    login_hint: Option<String>,
    /// Which questions the provider asks (OIDC Core §3.1.2.1).
    #[garde(inner(custom(text("prompt", 1..=128, Words)), custom(none_stands_alone)))]
    prompt: Option<String>,
    /// In which languages (OIDC Core §3.1.2.1).
    #[garde(inner(custom(text("uiLocales", 1..=256, Words))))]
    ui_locales: Option<String>,
    /// At which organisation of the provider the person has an account.
    #[garde(inner(custom(text("domainHint", 1..=253, Visible))))]
    domain_hint: Option<String>,
    /// How the person is to authenticate (OIDC Core §3.1.2.1).
    // The login's cookie keeps it.
    #[garde(inner(custom(text("acrValues", 1..=512, Printable)), custom(not_blank)))]
    acr_values: Option<String>,
    /// How long ago the person may have authenticated, in seconds (OIDC Core §3.1.2.1).
    #[garde(inner(custom(at_most_ten_years)))]
    #[schema(maximum = 315_360_000)]
    max_age: Option<u64>,
}

impl Fields for Given {
    fn take(members: &mut Members) -> Self {
        Self {
            provider: members.take_text("provider"),
            redirect_uri: members.take_text("redirectUri"),
            login_hint: members.take_text("loginHint"),
            prompt: members.take_text("prompt"),
            ui_locales: members.take_text("uiLocales"),
            domain_hint: members.take_text("domainHint"),
            acr_values: members.take_text("acrValues"),
            max_age: members.take_number("maxAge"),
        }
    }
}

pub(crate) fn begin_operation() -> Operation {
    use ErrorCode::{
        Overloaded, ProviderError, ProviderTimeout, ProviderUnavailable, RateLimited,
        RedirectUriNotAllowed, StoreUnavailable, UnknownProvider,
    };
    Operation::new("Logins", "beginLogin", "Begin a login")
        .about(
            "Mintgate makes state, nonce and the challenge of PKCE, and keeps them in a cookie until the code \
            comes to `/api/v1/auth/token`.",
        )
        .takes_json::<Given>(true)
        .answers::<BegunBody<'_>>(StatusCode::OK, "Where the browser goes.")
        .sends("Set-Cookie")
        .refuses([
            Overloaded,
            ProviderError,
            ProviderTimeout,
            ProviderUnavailable,
            RateLimited,
            RedirectUriNotAllowed,
            StoreUnavailable,
            UnknownProvider,
        ])
        .refuses([HttpErrorCode::CsrfRejected])
}

pub(crate) fn providers_operation() -> Operation {
    Operation::new("Logins", "listProviders", "List the providers, for a login page")
        .answers::<ProvidersBody>(StatusCode::OK, "The providers.")
        .refuses([ErrorCode::Overloaded])
}

/// `none` is the only prompt if it is one (OIDC Core §3.1.2.1).
fn none_stands_alone(prompt: &str, broken: &Broken) -> garde::Result {
    let is_beside = prompt != "none" && prompt.split(' ').any(|word| word == "none");
    note(if is_beside { Err(BrokenRule::NoneWithOthers) } else { Ok(()) }, "prompt", broken)
}

fn not_blank(values: &str, broken: &Broken) -> garde::Result {
    let is_blank = !values.is_empty() && values.trim().is_empty();
    note(if is_blank { Err(BrokenRule::Blank) } else { Ok(()) }, "acrValues", broken)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "garde hands on a reference")]
fn at_most_ten_years(secs: &u64, broken: &Broken) -> garde::Result {
    let is_more = *secs > TEN_YEARS_SECS;
    let rule = BrokenRule::TooLarge(TEN_YEARS_SECS);
    note(if is_more { Err(rule) } else { Ok(()) }, "maxAge", broken)
}

/// Begins a login. What protects it (state, nonce, code verifier) goes into a cookie.
pub(crate) async fn begin(
    request: HttpRequest,
    state: State,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    state.origins.guard(request.headers())?;
    let body = read_json(&request, &state, payload).await?;
    let LoginBody { provider, redirect_uri, parameters } = LoginBody::parse(&body)?;
    state.admit(&request, Limit::Logins)?;
    let use_case = Arc::clone(&state.use_cases.begin_login);
    let ttl = use_case.sign_in.login_ttl();
    let beginning =
        async move { use_case.begin(&provider, redirect_uri.as_deref(), &parameters).await };
    let place = state.admission.sign_ins.take()?;
    let begun = state.run(place, debug_span!("begin_login"), beginning).await?;
    LogFields::update(&request, |fields| {
        fields.provider = Some(begun.transaction.provider.clone());
    });

    let mut response = uncached(HttpResponse::Ok());
    append_cookies(&mut response, &state.logins.make_room(request.headers()));
    append_cookies(&mut response, &[state.logins.keep(&begun.transaction, ttl)]);
    Ok(response.json(BegunBody {
        authorization_url: &begun.authorization_url,
        state: &begun.transaction.state(),
        expires_in: ttl.as_secs(),
    }))
}

/// Lists the providers, with what a login page needs to know; never a secret.
pub(crate) async fn providers(state: State) -> Result<HttpResponse, ApiError> {
    let _place = state.admission.sign_ins.take()?;
    let providers = state.use_cases.begin_login.providers();
    let providers = join_all(providers.map(|provider| describe(&state, provider))).await;
    Ok(uncached(HttpResponse::Ok()).json(ProvidersBody { providers }))
}

/// Describes a provider. One that is slow or down is listed too, without its endpoint.
async fn describe(state: &AppState, provider: &RegisteredProvider) -> ProviderBody {
    // Goes on after the timeout, so that its result is there for the next request. Without a place:
    // the queue of the provider bounds how many of these wait.
    let span = debug_span!("find_authorization_endpoint");
    let asking = provider.authorization_endpoint().instrument(span);
    let asking = runtime::run_to_end(&state.ports.runtime, asking);
    let endpoint = tokio::time::timeout(LONGEST_WAIT, asking).await.ok().and_then(Result::ok);
    let policy = &provider.policy;
    let announced = endpoint.as_ref().and_then(|endpoint| endpoint.scopes.as_deref());
    let (scopes, parameters) = policy.login.completed(policy.login.parameters.clone(), announced);
    ProviderBody {
        id: policy.id.to_string(),
        preset: policy.login.preset.clone(),
        display_name: policy.login.display_name.clone(),
        scopes,
        authorization_params: parameters.into_iter().collect(),
        authorization_endpoint: endpoint.map(|endpoint| endpoint.url),
        client_id: policy.login.client_id.clone(),
        redirect_uris: policy.redirect_uris.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::BrokenField;

    #[test]
    fn case_02_each_field_of_a_login_is_named_when_it_breaks_a_rule() {
        for (body, field, rule) in [
            ("{}", "provider", FieldRule::Required.into()),
            (r#"{"provider":null}"#, "provider", FieldRule::Required.into()),
            (r#"{"provider":7}"#, "provider", BrokenRule::NotText),
            (r#"{"provider":""}"#, "provider", BrokenRule::TooShort(1)),
            (r#"{"provider":"p","redirectUri":"a b"}"#, "redirectUri", BrokenRule::Not(Visible)),
            (r#"{"provider":"p","redirectUri":[]}"#, "redirectUri", BrokenRule::NotText),
            (r#"{"provider":"p","loginHint":"a\nb"}"#, "loginHint", BrokenRule::Not(Readable)),
            (r#"{"provider":"p","prompt":"login none"}"#, "prompt", BrokenRule::NoneWithOthers),
            (r#"{"provider":"p","acrValues":"  "}"#, "acrValues", BrokenRule::Blank),
            (r#"{"provider":"p","maxAge":-1}"#, "maxAge", BrokenRule::NotNumber),
            (r#"{"provider":"p","maxAge":315360001}"#, "maxAge", BrokenRule::TooLarge(315_360_000)),
        ] {
            let error = LoginBody::parse(body.as_bytes()).err().expect("must be refused");
            assert_eq!(error.fields(), [BrokenField::new(field, rule)], "{body}");
        }
        assert!(LoginBody::parse(br#"{"provider":"p","more":[1]}"#).is_ok());
    }
}
