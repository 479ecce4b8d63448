//! Requests to the token endpoint: a code or a refresh token for tokens (RFC 6749 §4.1.3, §6, OIDC Core
//! §3.1.3, §12).

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use mintgate_domain::model::ProviderId;
use mintgate_domain::ports::{CodeGrant, ProviderEndpoint, ProviderError, ProviderTokens};
use mintgate_domain::{
    CodeVerifier, IdTokenText, ProviderAccessToken, ProviderRefreshToken, SecretText,
};
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::{
    AccessToken, AsyncHttpClient, AuthorizationCode, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, PkceCodeVerifier, RefreshToken, RequestTokenError, Scope, StandardRevocableToken,
    TokenResponse,
};
use serde::{Deserialize, Serialize};

use crate::client_auth::Authenticated;
use crate::http::{BoundedClient, HttpError};
use crate::refusal::Refusal;

/// The client of the crate oauth2, with a token endpoint.
pub(crate) type TokenClient = oauth2::Client<
    BasicErrorResponse,
    TokenAnswer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The members of a successful answer that are used. The ID token stays text, so that an unreadable token
/// is told from an unreadable answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TokenAnswer {
    access_token: AccessToken,
    token_type: BasicTokenType,
    #[serde(default)]
    id_token: Option<RawIdToken>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
}

#[derive(Clone, Serialize, Deserialize)]
struct RawIdToken(String);

impl fmt::Debug for RawIdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawIdToken([redacted])")
    }
}

impl TokenResponse for TokenAnswer {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }
    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }
    fn expires_in(&self) -> Option<Duration> {
        None
    }
    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }
    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

type Failure = RequestTokenError<ExchangeError, BasicErrorResponse>;

/// The reason why a request to the token endpoint brought no tokens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the provider refused")]
    Refused(Refusal),
}

/// Sends the one request of the crate oauth2. Finds OAuth errors under any status.
struct Sender<'a> {
    http: &'a BoundedClient,
    wanted: Wanted,
}

impl<'c> AsyncHttpClient<'c> for Sender<'_> {
    type Error = ExchangeError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, ExchangeError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let mut answer = self.http.send(request).await?;
            if self.wanted == Wanted::AccessToken {
                read_form(&mut answer);
            }
            if let Some(refusal) = Refusal::find(&answer) {
                return Err(ExchangeError::Refused(refusal));
            }
            match answer.status() {
                http::StatusCode::OK => Ok(answer),
                status => Err(HttpError::Status(status.as_u16()).into()),
            }
        })
    }
}

/// The tokens that an answer must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An ID token is required (OpenID Connect).
    IdToken,
    /// An ID token is optional, as in a refresh (OIDC Core §12.2).
    IdTokenIfAny,
    /// An access token for the user endpoint is required (OAuth 2.0 without OpenID Connect).
    AccessToken,
}

/// One request to the token endpoint, with the client authentication for it.
pub(crate) struct Exchange<'a> {
    pub(crate) http: &'a BoundedClient,
    pub(crate) provider: &'a ProviderId,
    pub(crate) wanted: Wanted,
    pub(crate) authenticated: Authenticated,
    /// Additional parameters of the request, as names and values.
    pub(crate) parameters: &'a [(String, String)],
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Exchange<'_> {
    /// Sends the code to the token endpoint, once.
    pub(crate) async fn redeem(
        &self,
        grant: &CodeGrant<'_>,
    ) -> Result<ProviderTokens, ProviderError> {
        // As an extra parameter the redirect URI is sent exactly as the client wrote it.
        let mut request = self
            .authenticated
            .client
            .exchange_code(AuthorizationCode::new(grant.code.expose().to_owned()))
            .add_extra_param("redirect_uri", grant.redirect_uri);
        for (name, value) in self.additional_parameters() {
            request = request.add_extra_param(name, value);
        }
        if let Some(verifier) = grant.code_verifier {
            let verifier = PkceCodeVerifier::new(verifier.expose().to_owned());
            request = request.set_pkce_verifier(verifier);
        }
        let sender = Sender { http: self.http, wanted: self.wanted };
        let verifier = grant.code_verifier.map(CodeVerifier::expose);
        let secrets = [Some(grant.code.expose()), verifier];
        self.finish(request.request_async(&sender), &secrets, Refusal::of_code).await
    }

    /// Sends a refresh token to the token endpoint, once.
    pub(crate) async fn renew(
        &self,
        token: &ProviderRefreshToken,
    ) -> Result<ProviderTokens, ProviderError> {
        let shown = RefreshToken::new(token.expose().to_owned());
        let mut request = self.authenticated.client.exchange_refresh_token(&shown);
        for (name, value) in self.additional_parameters() {
            request = request.add_extra_param(name, value);
        }
        let sender = Sender { http: self.http, wanted: self.wanted };
        let secrets = [Some(token.expose())];
        self.finish(request.request_async(&sender), &secrets, Refusal::of_refresh_token).await
    }

    fn additional_parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let configured =
            self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let assertion = self.authenticated.assertion.iter().flat_map(|assertion| {
            [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.expose())]
        });
        configured.chain(assertion)
    }

    /// Waits for the answer, and turns an error into one of the port.
    async fn finish(
        &self,
        answer: impl Future<Output = Result<TokenAnswer, Failure>>,
        secrets: &[Option<&str>],
        refusal: impl FnOnce(Refusal, &ProviderId, &[&str]) -> ProviderError,
    ) -> Result<ProviderTokens, ProviderError> {
        let mut observed = self.http.observe(ProviderEndpoint::Token);
        let failure = match answer.await {
            Ok(answer) => match self.tokens(answer) {
                Ok(tokens) => {
                    observed.outcome = "success";
                    return Ok(tokens);
                }
                Err(failure) => failure,
            },
            Err(RequestTokenError::Request(ExchangeError::Refused(refused))) => {
                observed.outcome = "refused";
                let ours = [&self.authenticated.assertion, &self.authenticated.secret];
                let ours = ours.into_iter().flatten().map(SecretText::expose);
                let secrets: Vec<_> = secrets.iter().copied().flatten().chain(ours).collect();
                return Err(refusal(refused, self.provider, &secrets));
            }
            Err(RequestTokenError::Request(ExchangeError::Http(error))) => error,
            // The other errors of oauth2 can repeat the answer, and with it a token.
            Err(_) => HttpError::malformed("it is not a token response in JSON"),
        };
        observed.outcome = failure.outcome();
        Err(failure.at(ProviderEndpoint::Token))
    }

    fn tokens(&self, answer: TokenAnswer) -> Result<ProviderTokens, HttpError> {
        let TokenAnswer { access_token, token_type, id_token, refresh_token } = answer;
        let refresh_token = refresh_token.map(RefreshToken::into_secret);
        let refresh_token =
            refresh_token.filter(|token| !token.is_empty()).map(ProviderRefreshToken::new);
        let bearer = token_type.as_ref().eq_ignore_ascii_case("bearer");
        let access_token = bearer.then(|| ProviderAccessToken::new(access_token.into_secret()));
        let id_token = id_token.map(|RawIdToken(text)| IdTokenText::new(text));
        let id_token = match self.wanted {
            Wanted::IdToken if id_token.is_none() => {
                let problem = "it has no id_token; is the scope openid asked for?";
                return Err(HttpError::malformed(problem));
            }
            Wanted::IdToken | Wanted::IdTokenIfAny => id_token,
            Wanted::AccessToken if access_token.is_none() => {
                return Err(HttpError::malformed("its access token is not a bearer token"));
            }
            // An ID token is dropped here, because it would not be verified.
            Wanted::AccessToken => None,
        };
        Ok(ProviderTokens { id_token, access_token, refresh_token })
    }
}

/// Turns a form-encoded answer into JSON: some OAuth 2.0 providers answer in the encoding of the request,
/// whatever `Accept` says.
fn read_form(answer: &mut HttpResponse) {
    const FORM: &str = "application/x-www-form-urlencoded";
    let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_none_or(|value| !value.trim_start().to_ascii_lowercase().starts_with(FORM)) {
        return;
    }
    let members: serde_json::Map<String, serde_json::Value> =
        url::form_urlencoded::parse(answer.body())
            .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
            .collect();
    *answer.body_mut() = serde_json::Value::Object(members).to_string().into_bytes();
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_printed_without_its_tokens() {
        let json = r#"{"access_token":"at-text","token_type":"Bearer","expires_in":"3600",
            "id_token":"idt-text","refresh_token":"rt-text"}"#;
        let answer: TokenAnswer = serde_json::from_str(json).unwrap();
        let printed = format!("{answer:?}");
        for token in ["at-text", "idt-text", "rt-text"] {
            assert!(!printed.contains(token), "{printed}");
        }
    }
}
