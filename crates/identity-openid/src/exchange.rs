//! Requests to the token endpoint: a code or a refresh token for tokens (RFC 6749 §4.1.3, §6, OIDC Core
//! §3.1.3, §12).

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use mintgate_domain::model::ProviderId;
use mintgate_domain::ports::{
    CodeGrant, ProviderEndpoint, ProviderError, ProviderTokens, TokenSource,
};
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
use serde_json::{Map, Value};
use url::form_urlencoded::byte_serialize;

use crate::client_auth::Authenticated;
use crate::http::{BoundedClient, HttpError};
use crate::json::select;
use crate::refusal::{Refusal, blame_code};

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

/// The members of an answer that are used. Whatever else it has may be missing or odd.
const USED: [&str; 6] =
    ["access_token", "token_type", "id_token", "refresh_token", "error", "error_description"];
/// The members that say something about the access token, which may be missing or odd too.
const ABOUT_ACCESS: [&str; 2] = [EXPIRES_IN, "scope"];
/// A number, which some providers write as a text.
const EXPIRES_IN: &str = "expires_in";
/// The longest life of an access token that is believed: ten years.
const MAX_LIFE_SECS: u64 = 10 * 365 * 24 * 3600;
/// The longest list of scopes that is kept, in bytes.
const MAX_SCOPE_BYTES: usize = 4096;

/// A successful answer, in which [`read_answer`] has left texts alone. The ID token stays text, so that
/// an unreadable token is told from an unreadable answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TokenAnswer {
    /// Empty if there is none.
    #[serde(default = "no_token")]
    access_token: AccessToken,
    /// RFC 6749 §5.1 requires it; a provider that leaves it out means the only one that is common.
    #[serde(default = "bearer")]
    token_type: BasicTokenType,
    #[serde(default)]
    expires_in: Option<Value>,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    id_token: Option<RawIdToken>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
}

fn no_token() -> AccessToken {
    AccessToken::new(String::new())
}

fn bearer() -> BasicTokenType {
    BasicTokenType::Bearer
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

/// Sends the one request of the crate oauth2. Finds OAuth errors under any status, and judges an answer
/// by its content, whatever its media type.
struct Sender<'a>(&'a BoundedClient);

impl<'c> AsyncHttpClient<'c> for Sender<'_> {
    type Error = ExchangeError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, ExchangeError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let answer = self.0.send(request).await?;
            let status = answer.status();
            let members = read_answer(answer.body());
            let refusal =
                members.as_ref().and_then(|members| Refusal::find(status.as_u16(), members));
            if let Some(refusal) = refusal {
                return Err(ExchangeError::Refused(refusal));
            }
            if !status.is_success() {
                return Err(HttpError::Status(status.as_u16()).into());
            }
            let members =
                members.ok_or_else(|| HttpError::malformed("it is not a token response"))?;
            // Without a content type, which oauth2 would judge it by.
            Ok(HttpResponse::new(Value::Object(members).to_string().into_bytes()))
        })
    }
}

/// The tokens that an answer must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// An ID token is required (OpenID Connect).
    IdToken {
        /// Whether an access token is required too, for the userinfo endpoint.
        and_access_token: bool,
    },
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
        let sender = Sender(self.http);
        let verifier = grant.code_verifier.map(CodeVerifier::expose);
        let secrets = [Some(grant.code.expose()), verifier];
        let source = TokenSource::TokenEndpoint { pkce: verifier.is_some() };
        let answer = self.finish(request.request_async(&sender)).await;
        answer.map(|answer| self.tokens(answer, source)).map_err(|error| match error {
            ExchangeError::Refused(refusal) => {
                refusal.of_code(self.provider, &self.secrets(&secrets))
            }
            ExchangeError::Http(HttpError::Status(status)) => {
                blame_code(HttpError::Status(status).at(ProviderEndpoint::Token), status)
            }
            ExchangeError::Http(error) => error.at(ProviderEndpoint::Token),
        })
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
        let sender = Sender(self.http);
        let source = TokenSource::TokenEndpoint { pkce: false };
        let answer = self.finish(request.request_async(&sender)).await;
        answer.map(|answer| self.tokens(answer, source)).map_err(|error| match error {
            ExchangeError::Refused(refusal) => {
                refusal.of_refresh_token(self.provider, &self.secrets(&[Some(token.expose())]))
            }
            ExchangeError::Http(error) => error.at(ProviderEndpoint::Token),
        })
    }

    fn additional_parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        let configured =
            self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let assertion = self.authenticated.assertion.iter().flat_map(|assertion| {
            [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.expose())]
        });
        configured.chain(assertion)
    }

    /// What must not be in an error text: `sent`, and what authenticates us, each as it is and as it stands
    /// in the request, which some providers repeat.
    fn secrets(&self, sent: &[Option<&str>]) -> Vec<SecretText> {
        let Authenticated { client, assertion, secret } = &self.authenticated;
        let sent = sent.iter().copied().flatten().chain(assertion.iter().map(SecretText::expose));
        let basic =
            secret.iter().flat_map(|secret| basic_forms(client.client_id(), secret.expose()));
        sent.flat_map(forms).chain(basic).map(SecretText::new).collect()
    }

    /// Waits for the answer.
    async fn finish(
        &self,
        answer: impl Future<Output = Result<TokenAnswer, Failure>>,
    ) -> Result<TokenAnswer, ExchangeError> {
        let mut observed = self.http.observe(ProviderEndpoint::Token);
        let result = answer.await.map_err(|failure| match failure {
            RequestTokenError::Request(error) => error,
            // The other errors of oauth2 can repeat the answer, and with it a token.
            _ => HttpError::malformed("it is not a token response").into(),
        });
        let result = result.and_then(|answer| match self.find_missing(&answer) {
            Some(problem) => Err(HttpError::malformed(problem).into()),
            None => Ok(answer),
        });
        observed.outcome = match &result {
            Ok(_) => "success",
            Err(ExchangeError::Refused(_)) => "refused",
            Err(ExchangeError::Http(error)) => error.outcome(),
        };
        result
    }

    /// Why an answer does not do, if it does not.
    fn find_missing(&self, answer: &TokenAnswer) -> Option<&'static str> {
        let has_access = answer.bearer_token().is_some();
        let has_any = !answer.access_token.secret().is_empty()
            || answer.id_token.is_some()
            || answer.refresh_token.is_some();
        match self.wanted {
            _ if !has_any => Some("it has no token"),
            Wanted::IdToken { .. } if answer.id_token.is_none() => {
                Some("it has no id_token; is the scope openid asked for?")
            }
            Wanted::AccessToken | Wanted::IdToken { and_access_token: true } if !has_access => {
                Some("it has no access_token of the type Bearer, which its user endpoint needs")
            }
            Wanted::IdToken { .. } | Wanted::IdTokenIfAny | Wanted::AccessToken => None,
        }
    }

    fn tokens(&self, answer: TokenAnswer, source: TokenSource) -> ProviderTokens {
        let access_token = answer.bearer_token().map(ProviderAccessToken::new);
        let expires_in = answer.life();
        let TokenAnswer { id_token, refresh_token, scope, .. } = answer;
        let is_kept =
            |scope: &String| scope.len() <= MAX_SCOPE_BYTES && !scope.contains(char::is_control);
        // Without OpenID Connect an ID token would not be verified.
        let id_token = id_token.filter(|_| self.wanted != Wanted::AccessToken);
        ProviderTokens {
            source,
            id_token: id_token.map(|RawIdToken(text)| IdTokenText::new(text.trim())),
            access_token,
            expires_in,
            scope: scope.filter(is_kept),
            refresh_token: refresh_token
                .map(|token| ProviderRefreshToken::new(token.into_secret())),
        }
    }
}

/// A text as it is, and as the value of a parameter.
fn forms(text: &str) -> [String; 2] {
    [text.to_owned(), byte_serialize(text.as_bytes()).collect()]
}

/// A client secret in each way in which it is sent (RFC 6749 §2.3.1): in a parameter, and in the header,
/// where some leave out the encoding as a form. The headers are without padding, to be found with it too.
fn basic_forms(client_id: &str, secret: &str) -> Vec<String> {
    let pairs = forms(client_id).into_iter().zip(forms(secret));
    let headers = pairs.flat_map(|(id, secret)| {
        let text = format!("{id}:{secret}");
        [BASE64_STANDARD_NO_PAD.encode(&text), BASE64_URL_SAFE_NO_PAD.encode(&text)]
    });
    headers.chain(forms(secret)).collect()
}

impl TokenAnswer {
    /// The access token, if it can be shown as RFC 6750 says.
    fn bearer_token(&self) -> Option<&str> {
        let is_bearer = self.token_type.as_ref().eq_ignore_ascii_case("bearer");
        Some(self.access_token.secret().as_str()).filter(|token| is_bearer && !token.is_empty())
    }

    /// How long the access token is good; a value that says nothing sensible is none.
    fn life(&self) -> Option<Duration> {
        let value = self.expires_in.as_ref()?;
        let secs = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
        Some(Duration::from_secs(secs)).filter(|_| secs <= MAX_LIFE_SECS)
    }
}

/// The used members of an answer that are texts and not empty, or may be numbers; `None` if it is neither a
/// JSON object nor a form. Some OAuth 2.0 providers answer in the encoding of the request, whatever `Accept`
/// says.
fn read_answer(body: &[u8]) -> Option<Map<String, Value>> {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    if let Ok(mut members) = select(body, &USED) {
        // One at a time, because what is odd about one says nothing about the others.
        members.extend(ABOUT_ACCESS.iter().filter_map(|name| select(body, &[name]).ok()).flatten());
        members.retain(|name, value| is_text(value) || name == EXPIRES_IN);
        return Some(members);
    }
    let is_used = |name: &str| USED.contains(&name) || ABOUT_ACCESS.contains(&name);
    let form = url::form_urlencoded::parse(body);
    let members: Map<_, _> = form
        .filter(|(name, value)| is_used(name) && !value.is_empty())
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
        .collect();
    (!members.is_empty()).then_some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_secret_is_known_in_every_form_in_which_it_is_sent() {
        let known = basic_forms("app:1", "s3cret/of+the client");
        for said in [
            "s3cret/of+the client",
            "s3cret%2Fof%2Bthe+client",
            // printf 'app%%3A1:s3cret%%2Fof%%2Bthe+client' | base64
            "YXBwJTNBMTpzM2NyZXQlMkZvZiUyQnRoZStjbGllbnQ",
            // printf 'app:1:s3cret/of+the client' | base64
            "YXBwOjE6czNjcmV0L29mK3RoZSBjbGllbnQ",
        ] {
            assert!(known.iter().any(|known| known == said), "{said}: {known:?}");
        }
    }

    #[test]
    fn a_life_is_a_number_of_seconds_however_it_is_written() {
        let life = |expires_in: &str| {
            let json = format!(r#"{{"access_token":"a","expires_in":{expires_in}}}"#);
            let members = read_answer(json.as_bytes()).unwrap();
            let answer: TokenAnswer = serde_json::from_value(Value::Object(members)).unwrap();
            answer.life().map(|life| life.as_secs())
        };
        assert_eq!(life("3600"), Some(3600));
        assert_eq!(life("\"3600\""), Some(3600));
        assert_eq!(life("0"), Some(0));
        for odd in ["-1", "1.5", "\"soon\"", "null", "true", "[]", "315360001", "\"\""] {
            assert_eq!(life(odd), None, "{odd}");
        }
        let form = read_answer(b"access_token=a&expires_in=60&scope=a+b").unwrap();
        let answer: TokenAnswer = serde_json::from_value(Value::Object(form)).unwrap();
        assert_eq!(answer.life(), Some(Duration::from_mins(1)));
        assert_eq!(answer.scope.as_deref(), Some("a b"));
    }

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
