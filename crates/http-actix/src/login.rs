//! `POST /api/v1/auth/login` begins a login; `GET /api/v1/auth/providers` lists the providers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::join_all;
use garde::Validate;
use mintgate_domain::RegisteredProvider;
use serde::Serialize;
use tracing::{Instrument as _, debug_span};

use crate::body::read_json;
use crate::envelope::LogFields;
use crate::error::{ApiError, append_cookies};
use crate::json::Members;
use crate::sessions::uncached;
use crate::validation::{check, visible};
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
        let redirect_uri = members.take_text("redirectUri", &mut errors);
        let body = Self { provider, redirectUri: redirect_uri };
        check(&body, &mut errors);
        if errors.is_empty() { Ok(body) } else { Err(ApiError::invalid(errors)) }
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
    let LoginBody { provider, redirectUri: redirect_uri } = LoginBody::parse(&body)?;
    let use_case = Arc::clone(&state.use_cases.begin_login);
    let ttl = use_case.ttl;
    let beginning = async move { use_case.begin(&provider, redirect_uri.as_deref()).await };
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
        redirect_uris: policy.redirect_uris.clone(),
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
        ] {
            assert_eq!(error(body), (field.to_owned(), message.to_owned()), "{body}");
        }
        assert!(LoginBody::parse(br#"{"provider":"p","more":[1]}"#).is_ok());
    }
}
