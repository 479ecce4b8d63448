//! Providers of OAuth 2.0 without OpenID Connect: a user endpoint says who signed in.
//!
//! GitHub, "Authorizing OAuth apps":
//! <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>
//! GitHub, "Troubleshooting OAuth app access token request errors" (errors under status 200):
//! <https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors>
//! GitHub, "REST API endpoints for emails":
//! <https://docs.github.com/en/rest/users/emails>

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use mintgate_domain::model::{
    ClaimSet, ClaimValue, ExternalIdentity, VerifiedIdentity, find_claim,
};
use mintgate_domain::ports::{
    AuthorizationEndpoint, Clock, CodeGrant, Entropy, IdentityProvider, LogoutOrder, Metrics,
    ProviderEndpoint, ProviderError, ProviderTokens, Renewal,
};
use mintgate_domain::{LogoutTokenText, Nonce, ProviderAccessToken, ProviderRefreshToken};
use oauth2::HttpRequest;
use url::Url;

use crate::claims::MAX_SUBJECT_BYTES;
use crate::client_auth::Authenticator;
use crate::exchange::Wanted;
use crate::http::{HttpError, JSON, get};
use crate::json::{Members, read_array, read_object};
use crate::oauth2_config::{CheckedOAuth2, OAuth2Config, OAuth2ConfigError};
use crate::provider_client::ProviderClient;
use crate::renewal::{self, Renew, Unrenewed};

/// An OAuth 2.0 provider.
///
/// The user endpoint says who signed in, given the access token that the provider issued for the code. A
/// nonce is refused, because nothing can prove it, and so is an ID token.
pub struct OAuth2Provider {
    pub(crate) checked: CheckedOAuth2,
    pub(crate) client: ProviderClient,
}

impl OAuth2Provider {
    /// Sets a provider up without connecting.
    ///
    /// # Errors
    /// If the configuration cannot work; see [`OAuth2ConfigError`].
    pub fn new(
        config: OAuth2Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        metrics: Arc<dyn Metrics>,
    ) -> Result<Self, OAuth2ConfigError> {
        let checked = CheckedOAuth2::new(config)?;
        let config = &checked.config;
        let authenticator = Authenticator {
            authentication: config.client_authentication.clone(),
            client_id: config.client_id.clone(),
            client_secret: config.client_secret.clone(),
            issuer: config.issuer.clone(),
            entropy,
        };
        let client = ProviderClient::new(
            config.id.clone(),
            (config.network.clone(), checked.policy.clone()),
            authenticator,
            config.token_parameters.clone(),
            clock,
            metrics,
        );
        let client = client.map_err(|error| OAuth2ConfigError::HttpClient(error.to_string()))?;
        Ok(Self { checked, client })
    }

    async fn redeem_unbounded(
        &self,
        grant: &CodeGrant<'_>,
    ) -> Result<ProviderTokens, ProviderError> {
        self.client.exchange(&self.checked.client, Wanted::AccessToken)?.redeem(grant).await
    }

    async fn verify_unbounded(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        let refused = |why: &'static str| Err(ProviderError::IdTokenRefused(why.into()));
        if tokens.id_token.is_some() {
            return refused("this provider issues no ID tokens; sign in by code");
        }
        if nonce.is_some() {
            return refused("there is a nonce, which this provider cannot prove; use PKCE");
        }
        let Some(access_token) = &tokens.access_token else {
            return refused("there is neither an ID token nor an access token");
        };
        let user = self.user(access_token).await.map_err(|error| error.at_endpoint_named(USER))?;
        let (subject, claims) = user;
        let issuer = self.checked.config.issuer.clone();
        Ok(VerifiedIdentity {
            identity: ExternalIdentity { issuer, subject },
            claims: self.with_email(claims, access_token).await?,
            auth_time: None,
            acr: None,
            amr: Vec::new(),
            id_token: None,
        })
    }

    /// The claims, with the email address replaced by that of the emails endpoint, if there is one.
    async fn with_email(
        &self,
        mut claims: Members,
        access_token: &ProviderAccessToken,
    ) -> Result<ClaimSet, ProviderError> {
        if let Some(emails) = &self.checked.emails {
            let email = self.verified_email(emails, access_token).await;
            let email = email.map_err(|error| error.at_endpoint_named("emails endpoint"))?;
            claims.remove("email");
            claims.remove("email_verified");
            if let Some(email) = email {
                claims.insert("email".to_owned(), ClaimValue::Text(email));
                claims.insert("email_verified".to_owned(), ClaimValue::Bool(true));
            }
        }
        Ok(ClaimSet::new(claims))
    }

    /// The subject and the claims in the answer of the user endpoint.
    async fn user(
        &self,
        access_token: &ProviderAccessToken,
    ) -> Result<(String, Members), HttpError> {
        let config = &self.checked.config;
        let request = self.request(&self.checked.user, access_token);
        let read = |body: &[u8]| {
            let user = read_object(body)?;
            let subject = find_claim(&user, &config.subject)
                .and_then(subject)
                .ok_or_else(|| format!("it has no subject at {}", config.subject))?;
            Ok((subject, mapped(user, &config.claims)))
        };
        self.client.http.fetch(ProviderEndpoint::Userinfo, request, read).await
    }

    /// The primary email address if it is verified. Without the scope for email addresses the provider
    /// refuses the request, and there is no address.
    async fn verified_email(
        &self,
        endpoint: &Url,
        access_token: &ProviderAccessToken,
    ) -> Result<Option<String>, HttpError> {
        let request = self.request(endpoint, access_token);
        let list = self.client.http.fetch(ProviderEndpoint::Userinfo, request, read_array).await;
        match list {
            Ok(list) => Ok(primary_verified(&list)),
            Err(HttpError::Status(status)) if [FORBIDDEN, NOT_FOUND].contains(&status) => {
                let provider = &self.checked.config.id;
                tracing::warn!(%provider, status, "the emails endpoint refuses the access token; is its scope requested?");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn request(
        &self,
        endpoint: &Url,
        access_token: &ProviderAccessToken,
    ) -> Result<HttpRequest, HttpError> {
        let mut request = get(endpoint, JSON, Some(access_token.expose()))?;
        for (name, value) in &self.checked.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }
}

#[async_trait]
impl Renew for OAuth2Provider {
    fn client(&self) -> &ProviderClient {
        &self.client
    }

    async fn refresh(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<ProviderTokens, ProviderError> {
        if identity.issuer != self.checked.config.issuer {
            return Err(renewal::foreign_identity());
        }
        self.client.exchange(&self.checked.client, Wanted::AccessToken)?.renew(token).await
    }

    /// The claims of the user endpoint. Only status 401 counts as a refusal of the person; other errors
    /// can have other reasons (GitHub answers 403 to clients that ask too often).
    async fn renewed_claims(
        &self,
        tokens: &ProviderTokens,
        identity: &ExternalIdentity,
    ) -> Result<Option<ClaimSet>, Unrenewed> {
        let Some(access_token) = &tokens.access_token else { return Ok(None) };
        let (subject, claims) = match self.user(access_token).await {
            Err(HttpError::Status(UNAUTHORIZED)) => {
                let text = "its user endpoint refuses the access token that was just issued";
                return Err(Unrenewed::NoClaims(ProviderError::RefreshRefused(text.into())));
            }
            user => user.map_err(|error| Unrenewed::NoClaims(error.at_endpoint_named(USER)))?,
        };
        if subject != identity.subject {
            let error = ProviderError::IdTokenRefused(renewal::OTHER_PERSON.into());
            return Err(Unrenewed::NoClaims(error));
        }
        self.with_email(claims, access_token).await.map(Some).map_err(Unrenewed::NoClaims)
    }
}

#[async_trait]
impl IdentityProvider for OAuth2Provider {
    async fn redeem(&self, grant: &CodeGrant<'_>) -> Result<ProviderTokens, ProviderError> {
        self.client.within_timeout(self.redeem_unbounded(grant)).await
    }

    async fn verify(
        &self,
        tokens: &ProviderTokens,
        nonce: Option<&Nonce>,
    ) -> Result<VerifiedIdentity, ProviderError> {
        self.client.within_timeout(self.verify_unbounded(tokens, nonce)).await
    }

    /// The configured endpoint. Without a discovery document, nothing says that authorization responses
    /// carry `iss`.
    async fn authorization_endpoint(&self) -> Result<AuthorizationEndpoint, ProviderError> {
        let url = self.checked.authorization.to_string();
        Ok(AuthorizationEndpoint { url, names_issuer: false, scopes: None })
    }

    async fn renew(
        &self,
        token: &ProviderRefreshToken,
        identity: &ExternalIdentity,
    ) -> Result<Renewal, ProviderError> {
        self.renew_within_timeout(token, identity).await
    }

    async fn verify_logout(&self, _: &LogoutTokenText) -> Result<LogoutOrder, ProviderError> {
        let text = "this provider has no ID tokens, and so no logout tokens";
        Err(ProviderError::LogoutTokenRefused(text.into()))
    }
}

const USER: &str = "user endpoint";
const UNAUTHORIZED: u16 = StatusCode::UNAUTHORIZED.as_u16();
const FORBIDDEN: u16 = StatusCode::FORBIDDEN.as_u16();
/// The status of GitHub for an access token without the scope.
const NOT_FOUND: u16 = StatusCode::NOT_FOUND.as_u16();

/// The subject as a text. A number that is not whole, or too large to be read exactly, is refused: it
/// could be equal to that of another person.
fn subject(value: &ClaimValue) -> Option<String> {
    let subject = match value {
        ClaimValue::Integer(number) => number.to_string(),
        ClaimValue::Text(text) => text.clone(),
        _ => return None,
    };
    let fits = (1..=MAX_SUBJECT_BYTES).contains(&subject.len());
    (fits && !subject.contains(char::is_control)).then_some(subject)
}

fn mapped(user: Members, claims: &[(String, String)]) -> Members {
    let found: Vec<_> = claims
        .iter()
        .filter_map(|(name, path)| Some((name.clone(), find_claim(&user, path)?.clone())))
        .collect();
    let mut members = user;
    members.extend(found);
    members
}

fn primary_verified(list: &[ClaimValue]) -> Option<String> {
    let is_true = |entry: &Members, name| entry.get(name) == Some(&ClaimValue::Bool(true));
    list.iter().find_map(|entry| match entry {
        ClaimValue::Object(entry) if is_true(entry, "primary") && is_true(entry, "verified") => {
            entry.get("email").and_then(ClaimValue::as_text).map(ToOwned::to_owned)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject_of(json: &str, path: &str) -> Option<String> {
        find_claim(&read_object(json.as_bytes()).unwrap(), path).and_then(subject)
    }

    #[test]
    fn a_subject_is_a_text_or_a_whole_number() {
        let of = |value: &str| subject_of(&format!(r#"{{"id":{value}}}"#), "id");
        assert_eq!(of("583231"), Some("583231".to_owned()));
        assert_eq!(of("\"583231\""), Some("583231".to_owned()));
        assert_eq!(of("9223372036854775807"), Some("9223372036854775807".to_owned()));
        let long = format!("\"{}\"", "x".repeat(256));
        for value in [
            "9223372036854775808",
            "1.5",
            "1e3",
            "null",
            "true",
            "[1]",
            "{}",
            "\"\"",
            "\"a\\u0000b\"",
            &long,
        ] {
            assert_eq!(of(value), None, "{value}");
        }
    }

    #[test]
    fn case_30_an_email_is_the_primary_one_and_verified() {
        let email = |json: &str| primary_verified(&read_array(json.as_bytes()).unwrap());
        let good = r#"[{"email":"old@x","primary":false,"verified":true},
                       {"email":"a@x","primary":true,"verified":true}]"#;
        assert_eq!(email(good), Some("a@x".to_owned()));
        for json in [
            "[]",
            r#"[{"email":"a@x","primary":true,"verified":false}]"#,
            r#"[{"email":"a@x","primary":false,"verified":true}]"#,
            r#"[{"email":"a@x","primary":"true","verified":true}]"#,
            r#"[{"email":"a@x","primary":true,"verified":"true"}]"#,
            r#"[{"email":"a@x","verified":true}]"#,
            r#"[{"email":7,"primary":true,"verified":true}]"#,
            r#"["a@x"]"#,
        ] {
            assert_eq!(email(json), None, "{json}");
        }
    }

    #[test]
    fn mapped_claims_are_read_from_the_answer_as_it_was() {
        let user = read_object(br#"{"a":1,"b":2,"c":{"d":3}}"#).unwrap();
        let pairs = [("a", "b"), ("b", "a"), ("e", "c.d"), ("f", "missing")];
        let pairs = pairs.map(|(name, path)| (name.to_owned(), path.to_owned()));
        let expected = read_object(br#"{"a":2,"b":1,"c":{"d":3},"e":3}"#).unwrap();
        assert_eq!(mapped(user, &pairs), expected);
    }
}
