//! `POST /api/v1/auth/login` begins a login; `GET /api/v1/auth/providers` lists the providers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::join_all;
use garde::Validate;
use mintgate_domain::{LoginParameter, RegisteredProvider};
use serde::Serialize;
use tracing::{Instrument as _, debug_span};

use crate::body::read_json;
use crate::envelope::LogFields;
use crate::error::{ApiError, append_cookies};
use crate::json::Members;
use crate::sessions::uncached;
use crate::validation::{check, readable, visible, visible_or_space, words};
use crate::{AppState, runtime};

/// How long the list of providers waits for a provider that has to be asked where its logins begin.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[derive(Validate)]
#[expect(non_snake_case, reason = "errors name the members as clients write them")]
struct LoginBody {
    #[garde(length(bytes, min = 1, max = 64), custom(visible))]
    provider: String,
    #[garde(inner(length(bytes, min = 1, max = 2048), custom(visible)))]
    redirectUri: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 256), custom(readable)))]
    loginHint: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 128), custom(words), custom(lone_none)))]
    prompt: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 256), custom(words)))]
    uiLocales: Option<String>,
    #[garde(inner(length(bytes, min = 1, max = 253), custom(visible)))]
    domainHint: Option<String>,
    // The login's cookie keeps it.
    #[garde(inner(
        length(bytes, min = 1, max = 512),
        custom(visible_or_space),
        custom(not_blank)
    ))]
    acrValues: Option<String>,
    #[garde(inner(range(max = TEN_YEARS_SECS)))]
    maxAge: Option<u64>,
}

const TEN_YEARS_SECS: u64 = 10 * 365 * 24 * 3600;

/// `none` stands alone (OIDC Core §3.1.2.1).
#[expect(clippy::trivially_copy_pass_by_ref, reason = "garde passes its context by reference")]
fn lone_none(text: &str, (): &()) -> garde::Result {
    if text != "none" && text.split(' ').any(|word| word == "none") {
        return Err(garde::Error::new("must not have none together with others"));
    }
    Ok(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "garde passes its context by reference")]
fn not_blank(text: &str, (): &()) -> garde::Result {
    if text.trim().is_empty() { Err(garde::Error::new("must not be blank")) } else { Ok(()) }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BegunBody<'a> {
    authorization_url: &'a str,
    state: &'a str,
    /// How long the login can be finished, in seconds.
    expires_in: u64,
}

#[derive(Serialize)]
struct ProvidersBody {
    providers: Vec<ProviderBody>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProviderBody {
    id: String,
    display_name: String,
    /// The authorization endpoint; `null` if the provider cannot be asked for it at present.
    authorization_endpoint: Option<String>,
    client_id: String,
    scopes: Vec<String>,
    redirect_uris: Vec<String>,
    /// More parameters that an authorization request needs.
    authorization_params: BTreeMap<String, String>,
}

impl LoginBody {
    fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut members = Members::parse(body)?;
        let mut errors = Vec::new();
        let provider = members.take_required_text("provider", &mut errors);
        let mut take = |name: &str| members.take_text(name, &mut errors);
        let body = Self {
            provider,
            redirectUri: take("redirectUri"),
            loginHint: take("loginHint"),
            prompt: take("prompt"),
            uiLocales: take("uiLocales"),
            domainHint: take("domainHint"),
            acrValues: take("acrValues"),
            maxAge: members.take_number("maxAge", &mut errors),
        };
        check(&body, &mut errors);
        if errors.is_empty() { Ok(body) } else { Err(ApiError::invalid(errors)) }
    }

    /// The parameters that are asked for this one login.
    fn parameters(self) -> Vec<(LoginParameter, String)> {
        let asked = [
            (LoginParameter::LoginHint, self.loginHint),
            (LoginParameter::Prompt, self.prompt),
            (LoginParameter::UiLocales, self.uiLocales),
            (LoginParameter::DomainHint, self.domainHint),
            (LoginParameter::AcrValues, self.acrValues),
            (LoginParameter::MaxAge, self.maxAge.map(|secs| secs.to_string())),
        ];
        asked.into_iter().filter_map(|(parameter, value)| Some((parameter, value?))).collect()
    }
}

/// Begins a login. What protects it (state, nonce, code verifier) goes into a cookie.
pub(crate) async fn begin(
    request: HttpRequest,
    state: Data<AppState>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    state.origins.guard(request.headers())?;
    let body = read_json(&request, &state, payload).await?;
    let mut body = LoginBody::parse(&body)?;
    let use_case = Arc::clone(&state.use_cases.begin_login);
    let ttl = use_case.sign_in.login_ttl();
    let beginning = async move {
        let (provider, redirect_uri) =
            (std::mem::take(&mut body.provider), body.redirectUri.take());
        use_case.begin(&provider, redirect_uri.as_deref(), &body.parameters()).await
    };
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
pub(crate) async fn providers(state: Data<AppState>) -> Result<HttpResponse, ApiError> {
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
    let endpoint = tokio::time::timeout(LONGEST_WAIT, asking).await;
    let policy = &provider.policy;
    ProviderBody {
        id: policy.id.to_string(),
        display_name: policy.login.display_name.clone(),
        authorization_endpoint: endpoint.ok().and_then(Result::ok).map(|endpoint| endpoint.url),
        client_id: policy.login.client_id.clone(),
        scopes: policy.login.scopes.clone(),
        redirect_uris: policy.redirect_uris.iter().map(ToString::to_string).collect(),
        authorization_params: policy.login.parameters.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_02_each_field_of_a_login_is_named_when_it_breaks_a_rule() {
        let error = |body: &str| {
            let error = LoginBody::parse(body.as_bytes()).err().expect("must be refused");
            let [field] = error.fields() else { panic!("{:?}", error.fields()) };
            (field.field.clone(), field.message.clone())
        };
        for (body, field, message) in [
            ("{}", "provider", "is required"),
            (r#"{"provider":null}"#, "provider", "is required"),
            (r#"{"provider":7}"#, "provider", "must be a string"),
            (r#"{"provider":""}"#, "provider", "must have at least 1 characters"),
            (
                r#"{"provider":"p","redirectUri":"a b"}"#,
                "redirectUri",
                "must be printable ASCII without spaces",
            ),
            (r#"{"provider":"p","redirectUri":[]}"#, "redirectUri", "must be a string"),
            (
                r#"{"provider":"p","loginHint":"a\nb"}"#,
                "loginHint",
                "must not have control characters",
            ),
            (
                r#"{"provider":"p","prompt":"login none"}"#,
                "prompt",
                "must not have none together with others",
            ),
            (r#"{"provider":"p","acrValues":"  "}"#, "acrValues", "must not be blank"),
            (
                r#"{"provider":"p","maxAge":-1}"#,
                "maxAge",
                "must be a whole number that is not negative",
            ),
            (r#"{"provider":"p","maxAge":315360001}"#, "maxAge", "must be at most 315360000"),
        ] {
            assert_eq!(error(body), (field.to_owned(), message.to_owned()), "{body}");
        }
        assert!(LoginBody::parse(br#"{"provider":"p","more":[1]}"#).is_ok());
    }
}
