//! The exchange of a code at the token endpoint (RFC 6749 §4.1.3, OIDC Core §3.1.3).

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use mintgate_domain::model::ProviderId;
use mintgate_domain::ports::{CodeGrant, ProviderEndpoint, ProviderError, ProviderTokens};
use mintgate_domain::{CodeVerifier, IdTokenText, ProviderAccessToken, SecretText};
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
use crate::text::excerpt;

/// oauth2's client with a token endpoint.
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

/// What is used of a successful answer. The ID token stays text: one that cannot even be read is
/// the token's fault, and told apart from an answer that is none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TokenAnswer {
    access_token: AccessToken,
    token_type: BasicTokenType,
    #[serde(default)]
    id_token: Option<RawIdToken>,
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
        None
    }
    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

/// Why there is no successful answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the provider refused")]
    Refused(Refusal),
}

/// An OAuth error answer (RFC 6749 §5.2).
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    error: String,
    #[serde(default)]
    error_description: serde_json::Value,
    #[serde(skip)]
    status: u16,
}

impl Refusal {
    /// An OAuth error is one under any status: some providers send theirs as a success.
    fn find(answer: &HttpResponse) -> Option<Self> {
        let refusal: Self = serde_json::from_slice(answer.body()).ok()?;
        let status = answer.status().as_u16();
        (!refusal.error.is_empty()).then_some(Self { status, ..refusal })
    }

    fn into_provider_error(self, provider: &ProviderId, secrets: &[&str]) -> ProviderError {
        let mut text = self.error.clone();
        if let Some(description) = self.error_description.as_str() {
            text = format!("{text}: {description}");
        }
        for secret in secrets {
            text = text.replace(secret, "[redacted]");
        }
        let text = excerpt(&text);
        match self.error.as_str() {
            "invalid_grant" | "invalid_request" | "access_denied" | "bad_verification_code" => {
                ProviderError::CodeRefused(text)
            }
            "invalid_client" | "incorrect_client_credentials" | "unauthorized_client" => {
                ProviderError::Misbehaved(format!(
                    "{text}; check client_id and client_secret of provider {provider}"
                ))
            }
            "redirect_uri_mismatch" => ProviderError::Misbehaved(format!(
                "{text}; check that redirect_uris of provider {provider} are registered there"
            )),
            "unsupported_grant_type" | "invalid_scope" => ProviderError::Misbehaved(format!(
                "{text}; check what the client of provider {provider} is allowed there"
            )),
            _ if self.status >= 500 => {
                let status = HttpError::Status(self.status);
                ProviderError::Misbehaved(format!("token endpoint: {status}: {text}"))
            }
            "server_error" | "temporarily_unavailable" => ProviderError::Misbehaved(text),
            _ if self.status == 429 => ProviderError::Misbehaved(text),
            _ => ProviderError::CodeRefused(text),
        }
    }
}

/// How oauth2 sends its one request. Errors are found here, in whatever answer they come.
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

/// What a code is exchanged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An ID token: OpenID Connect.
    IdToken,
    /// An access token for the user endpoint: OAuth 2.0 alone.
    AccessToken,
}

/// The client as it presents itself in one exchange.
pub(crate) struct Exchange<'a> {
    pub(crate) provider: &'a ProviderId,
    pub(crate) wanted: Wanted,
    pub(crate) authenticated: Authenticated,
    /// What is sent besides, as written.
    pub(crate) parameters: &'a [(String, String)],
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Exchange<'_> {
    /// Sends the code to the token endpoint, once.
    pub(crate) async fn redeem(
        &self,
        http: &BoundedClient,
        grant: &CodeGrant<'_>,
    ) -> Result<ProviderTokens, ProviderError> {
        // As an extra parameter the redirect URI is sent as it is written, whatever URL it is.
        let mut request = self
            .authenticated
            .client
            .exchange_code(AuthorizationCode::new(grant.code.expose().to_owned()))
            .add_extra_param("redirect_uri", grant.redirect_uri);
        for (name, value) in self.parameters {
            request = request.add_extra_param(name.as_str(), value.as_str());
        }
        if let Some(assertion) = &self.authenticated.assertion {
            request = request
                .add_extra_param("client_assertion_type", ASSERTION_TYPE)
                .add_extra_param("client_assertion", assertion.expose());
        }
        if let Some(verifier) = grant.code_verifier {
            let verifier = PkceCodeVerifier::new(verifier.expose().to_owned());
            request = request.set_pkce_verifier(verifier);
        }

        let mut observed = http.observe(ProviderEndpoint::Token);
        let sender = Sender { http, wanted: self.wanted };
        let failure = match request.request_async(&sender).await {
            Ok(answer) => match self.tokens(answer) {
                Ok(tokens) => {
                    observed.outcome = "success";
                    return Ok(tokens);
                }
                Err(failure) => failure,
            },
            Err(RequestTokenError::Request(ExchangeError::Refused(refusal))) => {
                observed.outcome = "refused";
                return Err(refusal.into_provider_error(self.provider, &self.secrets(grant)));
            }
            Err(RequestTokenError::Request(ExchangeError::Http(error))) => error,
            // What else oauth2 says may repeat the answer, and with it a token.
            Err(_) => HttpError::Malformed("is not a token response in JSON".to_owned()),
        };
        observed.outcome = failure.outcome();
        Err(failure.at(ProviderEndpoint::Token))
    }

    fn tokens(&self, answer: TokenAnswer) -> Result<ProviderTokens, HttpError> {
        let TokenAnswer { access_token, token_type, id_token } = answer;
        let bearer = token_type.as_ref().eq_ignore_ascii_case("bearer");
        let access_token = bearer.then(|| ProviderAccessToken::new(access_token.into_secret()));
        match (self.wanted, id_token) {
            (Wanted::IdToken, Some(RawIdToken(id_token))) => {
                Ok(ProviderTokens { id_token: Some(IdTokenText::new(id_token)), access_token })
            }
            (Wanted::IdToken, None) => Err(HttpError::Malformed(
                "has no id_token; is the scope openid asked for?".to_owned(),
            )),
            // An ID token that comes along is verified by nobody, so nobody may see it.
            (Wanted::AccessToken, _) if access_token.is_some() => {
                Ok(ProviderTokens { id_token: None, access_token })
            }
            (Wanted::AccessToken, _) => {
                Err(HttpError::Malformed("has an access token that is no bearer token".to_owned()))
            }
        }
    }

    fn secrets<'a>(&'a self, grant: &'a CodeGrant<'_>) -> Vec<&'a str> {
        let verifier = grant.code_verifier.map(CodeVerifier::expose);
        let ours = [&self.authenticated.assertion, &self.authenticated.secret];
        let ours = ours.into_iter().flatten().map(SecretText::expose);
        [Some(grant.code.expose()), verifier].into_iter().flatten().chain(ours).collect()
    }
}

/// Some providers of before OpenID Connect answer in the form they were asked in, whatever `Accept`
/// says: read as the JSON it should have been.
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
    use crate::http::is_outage;

    fn refuse(status: u16, error: &str, description: &str) -> ProviderError {
        let refusal =
            Refusal { error: error.to_owned(), error_description: description.into(), status };
        refusal.into_provider_error(&ProviderId::new("corp"), &["the-code", "s3cret"])
    }

    #[test]
    fn case_16_an_oauth_error_says_whose_fault_it_is_under_any_status() {
        for status in [200, 400, 401, 403, 500] {
            for code in
                ["invalid_grant", "invalid_request", "access_denied", "bad_verification_code"]
            {
                assert!(
                    matches!(refuse(status, code, ""), ProviderError::CodeRefused(_)),
                    "{code}"
                );
            }
            for code in [
                "invalid_client",
                "unauthorized_client",
                "incorrect_client_credentials",
                "unsupported_grant_type",
                "invalid_scope",
                "redirect_uri_mismatch",
            ] {
                let ProviderError::Misbehaved(text) = refuse(status, code, "") else {
                    panic!("{code} is taken for a refused code");
                };
                assert!(text.contains("corp"), "{text}");
            }
            for code in ["server_error", "temporarily_unavailable"] {
                assert!(matches!(refuse(status, code, ""), ProviderError::Misbehaved(_)), "{code}");
            }
        }
        assert!(matches!(refuse(400, "made_up", ""), ProviderError::CodeRefused(_)));
        assert!(matches!(refuse(429, "made_up", ""), ProviderError::Misbehaved(_)));
        assert!(matches!(refuse(503, "made_up", ""), ProviderError::Misbehaved(_)));
        let outage = |status, error| is_outage(&refuse(status, error, ""));
        assert!(outage(500, "server_error") && outage(503, "made_up"));
        assert!(!outage(400, "server_error") && !outage(429, "made_up"));
        assert!(!outage(500, "invalid_client") && !outage(500, "invalid_grant"));
    }

    #[test]
    fn what_a_provider_says_is_cut_cleaned_and_without_our_secrets() {
        let text = refuse(400, "invalid_grant", "the-code\r\nforged line, s3cret").to_string();
        assert!(!text.contains("the-code") && !text.contains("s3cret") && !text.contains('\n'));
        assert!(text.contains("[redacted]forged line"), "{text}");
        assert!(refuse(400, "invalid_grant", &"x".repeat(100_000)).to_string().len() < 300);
    }

    #[test]
    fn only_a_json_object_with_an_error_text_is_a_refusal() {
        let find = |body: &str| Refusal::find(&HttpResponse::new(body.as_bytes().to_vec()));
        assert!(find(r#"{"error":"invalid_grant","access_token":"x"}"#).is_some());
        for body in ["", "error=invalid_grant", "{}", r#"{"error":""}"#, r#"{"error":{}}"#] {
            assert!(find(body).is_none(), "{body}");
        }
    }

    #[test]
    fn an_answer_is_printed_without_its_tokens() {
        let json = r#"{"access_token":"at-text","token_type":"Bearer","expires_in":"3600","id_token":"idt-text"}"#;
        let answer: TokenAnswer = serde_json::from_str(json).unwrap();
        let printed = format!("{answer:?}");
        assert!(!printed.contains("at-text") && !printed.contains("idt-text"), "{printed}");
    }
}
