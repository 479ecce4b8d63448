//! The exchange of a code at the token endpoint (RFC 6749 §4.1.3, OIDC Core §3.1.3).

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

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
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenAnswer {
    access_token: AccessToken,
    token_type: BasicTokenType,
    #[serde(default)]
    id_token: Option<RawIdToken>,
}

#[derive(Serialize, Deserialize)]
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
            "server_error" | "temporarily_unavailable" => ProviderError::Misbehaved(text),
            _ if self.status == 429 || self.status >= 500 => ProviderError::Misbehaved(text),
            _ => ProviderError::CodeRefused(text),
        }
    }
}

/// How oauth2 sends its one request. Errors are found here, in whatever answer they come.
impl<'c> AsyncHttpClient<'c> for BoundedClient {
    type Error = ExchangeError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, ExchangeError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.send(request).await?;
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

/// Sends the code to the token endpoint, once.
pub(crate) async fn redeem(
    client: &TokenClient,
    http: &BoundedClient,
    provider: &ProviderId,
    client_secret: Option<&SecretText>,
    grant: &CodeGrant<'_>,
) -> Result<ProviderTokens, ProviderError> {
    // As an extra parameter the redirect URI is sent as it is written, whatever URL it is.
    let mut request = client
        .exchange_code(AuthorizationCode::new(grant.code.expose().to_owned()))
        .add_extra_param("redirect_uri", grant.redirect_uri);
    if let Some(verifier) = grant.code_verifier {
        request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()));
    }

    let mut observed = http.observe(ProviderEndpoint::Token);
    let failure = match request.request_async(http).await {
        Ok(TokenAnswer { access_token, token_type, id_token: Some(RawIdToken(id_token)) }) => {
            observed.outcome = "success";
            let bearer = token_type.as_ref().eq_ignore_ascii_case("bearer");
            return Ok(ProviderTokens {
                id_token: Some(IdTokenText::new(id_token)),
                access_token: bearer.then(|| ProviderAccessToken::new(access_token.into_secret())),
            });
        }
        Ok(TokenAnswer { id_token: None, .. }) => {
            HttpError::Malformed("has no id_token; is the scope openid asked for?".to_owned())
        }
        Err(RequestTokenError::Request(ExchangeError::Refused(refusal))) => {
            observed.outcome = "refused";
            let verifier = grant.code_verifier.map(CodeVerifier::expose);
            let secret = client_secret.map(SecretText::expose);
            let secrets: Vec<_> =
                [Some(grant.code.expose()), verifier, secret].into_iter().flatten().collect();
            return Err(refusal.into_provider_error(provider, &secrets));
        }
        Err(RequestTokenError::Request(ExchangeError::Http(error))) => error,
        // What else oauth2 says may repeat the answer, and with it a token.
        Err(_) => HttpError::Malformed("is not a token response in JSON".to_owned()),
    };
    observed.outcome = failure.outcome();
    Err(failure.at(ProviderEndpoint::Token))
}

#[cfg(test)]
mod tests {
    use super::*;

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
