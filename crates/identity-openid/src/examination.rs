//! A provider as an operator looks at it: what it answers, what it says of itself, what its clock says.
//!
//! Each request is sent once, under the limits of the provider's configuration; nothing is counted.

use std::sync::Arc;

use mintgate_domain::ports::{
    Clock, CodeGrant, Entropy, IdentityProvider, NoMetrics, ProviderError, ProviderTokens,
};
use mintgate_domain::{AuthorizationCode, CodeVerifier, LoginRequest, chain};
use openssl::asn1::Asn1Time;
use openssl::x509::X509;
use reqwest::header::{AGE, DATE, HeaderMap, LOCATION};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use url::Url;

use crate::config::OpenIdConfigError;
use crate::discovery::{self, Described};
use crate::http::{BoundedClient, HttpError, JSON, JWKS, Look, get};
use crate::keys::Keys;
use crate::{
    Dialect, OAuth2Config, OAuth2ConfigError, OAuth2Provider, OpenIdConfig, OpenIdProvider,
};

/// The code that no provider has issued, by which its log shows who asked.
pub const PROBE_CODE: &str = "mintgate-doctor-probe";
/// A PKCE verifier of 43 characters (RFC 7636 §4.1), and its challenge for the authorization request.
const PROBE_VERIFIER: &str = "mintgate-doctor-probe.mintgate-doctor-probe";

/// Why a provider cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// The kind of the reason.
    pub reason: UnseenReason,
    /// What happened, in at most 200 foreign characters.
    pub text: String,
}

/// The kinds of reasons why a provider cannot be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnseenReason {
    /// There is no connection, or no answer in time.
    Unreachable,
    /// Its certificate is not trusted, or it does not speak TLS.
    Untrusted,
    /// The rules for a provider's addresses do not permit its address.
    Forbidden,
    /// Its answer cannot be used.
    BadAnswer,
}

impl From<HttpError> for Unseen {
    fn from(error: HttpError) -> Self {
        let reason = match &error {
            HttpError::Unreachable(_) | HttpError::NotByProxy(..) | HttpError::TimedOut => {
                UnseenReason::Unreachable
            }
            HttpError::Untrusted(_) => UnseenReason::Untrusted,
            HttpError::AddressRefused(_) => UnseenReason::Forbidden,
            HttpError::Redirect(_)
            | HttpError::TooLarge
            | HttpError::Status(_)
            | HttpError::Malformed(_)
            | HttpError::Broken(_) => UnseenReason::BadAnswer,
        };
        Self { reason, text: chain(&error).to_string() }
    }
}

/// What any answer of a provider shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// How far its clock is ahead of ours, in seconds; negative if it is behind, `None` if it does not
    /// say what time it is.
    pub clock_ahead_secs: Option<i64>,
    /// For how many days its certificate is good still; `None` without TLS.
    pub certificate_days: Option<i32>,
}

/// What a discovery document says (OIDC Discovery §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// What the answer itself shows.
    pub contact: Contact,
    /// The issuer that it must name, and the one that it names, if that is another.
    pub other_issuer: Option<(String, String)>,
    /// The endpoints that are needed and are not in it, by the names of their members.
    pub missing: Vec<&'static str>,
    /// Why its endpoints may not be asked.
    pub forbidden: Option<Unseen>,
    /// How many keys it publishes, and how many of them fit the algorithms for ID tokens; `None` if none
    /// are needed.
    pub keys: Option<Result<PublishedKeys, Unseen>>,
}

/// The keys that a provider publishes (RFC 7517 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedKeys {
    /// How many can be read.
    pub all: usize,
    /// How many of them can verify an ID token with one of the configured algorithms.
    pub fitting: usize,
}

/// How a provider answers an authorization request that asks nobody (`prompt=none`, OIDC Core §3.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectAnswer {
    /// It sends the browser back to the redirect URI, so that is registered.
    Returned,
    /// It refuses the request, with this status, and does not send the browser back.
    Refused(u16),
    /// It answers something else, such as a page, with this status.
    Else(u16),
}

/// A provider that is looked at.
pub struct ExaminedProvider {
    adapter: Adapter,
    clock: Arc<dyn Clock>,
}

enum Adapter {
    OpenId(Box<OpenIdProvider>),
    OAuth2(Box<OAuth2Provider>),
}

impl ExaminedProvider {
    /// A provider of OpenID Connect.
    ///
    /// # Errors
    /// As [`OpenIdProvider::with_dialect`].
    pub fn openid(
        config: OpenIdConfig,
        dialect: Dialect,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenIdConfigError> {
        let metrics = Arc::new(NoMetrics);
        let provider =
            OpenIdProvider::with_dialect(config, dialect, Arc::clone(&clock), entropy, metrics)?;
        Ok(Self { adapter: Adapter::OpenId(Box::new(provider)), clock })
    }

    /// A provider of OAuth 2.0 alone.
    ///
    /// # Errors
    /// As [`OAuth2Provider::new`].
    pub fn oauth2(
        config: OAuth2Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OAuth2ConfigError> {
        let provider =
            OAuth2Provider::new(config, Arc::clone(&clock), entropy, Arc::new(NoMetrics))?;
        Ok(Self { adapter: Adapter::OAuth2(Box::new(provider)), clock })
    }

    /// The discovery document and the keys; `None` if the provider has none, as it speaks OAuth 2.0 alone.
    pub async fn discovery(&self) -> Option<Result<Discovered, Unseen>> {
        match &self.adapter {
            Adapter::OpenId(provider) => Some(self.discovered(provider).await),
            Adapter::OAuth2(_) => None,
        }
    }

    async fn discovered(&self, provider: &OpenIdProvider) -> Result<Discovered, Unseen> {
        let (checked, http) = (&provider.checked, &*provider.client.http);
        let answer = http.look(get(&checked.discovery_url, JSON, None)?).await?;
        let contact = self.contact_of(&answer);
        let document = answer.document()?;
        let Described { endpoints, other_issuer } =
            discovery::describe(document, checked).map_err(HttpError::Malformed)?;
        let (missing, jwks) = (endpoints.missing(!checked.symmetric), endpoints.jwks.clone());
        let forbidden = endpoints.check(http).err().map(Unseen::from);
        let keys = match jwks {
            Some(url) if !checked.symmetric && forbidden.is_none() => {
                Some(published(http, &url, provider).await)
            }
            _ => None,
        };
        Ok(Discovered { contact, other_issuer, missing, forbidden, keys })
    }

    /// Asks an OAuth 2.0 provider's authorization endpoint for nothing, to see that it is there; `None` for a
    /// provider with a discovery document.
    pub async fn contact(&self) -> Option<Result<Contact, Unseen>> {
        let Adapter::OAuth2(provider) = &self.adapter else { return None };
        let look = async {
            let request = get(&provider.checked.authorization, "text/html", None)?;
            Ok::<_, Unseen>(self.contact_of(&provider.client.http.look(request).await?))
        };
        Some(look.await)
    }

    /// Sends a code that the provider has never issued. It refuses the client if the client's credentials
    /// are wrong, and else the code.
    ///
    /// # Errors
    /// [`ProviderError::CodeRefused`] if the client may exchange codes.
    pub async fn redeem_probe(&self, redirect_uri: &str) -> Result<ProviderTokens, ProviderError> {
        let (code, verifier) =
            (AuthorizationCode::new(PROBE_CODE), CodeVerifier::new(PROBE_VERIFIER));
        let grant = CodeGrant { code: &code, redirect_uri, code_verifier: Some(&verifier) };
        match &self.adapter {
            Adapter::OpenId(provider) => provider.redeem(&grant).await,
            Adapter::OAuth2(provider) => provider.redeem(&grant).await,
        }
    }

    /// Begins a login that asks nobody, to see whether the provider knows the redirect URI.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn redirect(
        &self,
        login: &LoginRequest,
        redirect_uri: &str,
    ) -> Result<RedirectAnswer, Unseen> {
        let (http, endpoint) = match &self.adapter {
            Adapter::OpenId(provider) => {
                (&provider.client.http, provider.authorization_endpoint().await)
            }
            Adapter::OAuth2(provider) => {
                (&provider.client.http, provider.authorization_endpoint().await)
            }
        };
        let bad_answer = |text: String| Unseen { reason: UnseenReason::BadAnswer, text };
        let endpoint = endpoint.map_err(|error| bad_answer(chain(&error).to_string()))?;
        let mut url = Url::parse(&endpoint.url).map_err(|error| bad_answer(error.to_string()))?;
        let scope = login.scopes.join(" ");
        let fixed = [
            ("response_type", "code"),
            ("client_id", login.client_id.as_str()),
            ("redirect_uri", redirect_uri),
            ("scope", scope.as_str()),
            ("state", PROBE_CODE),
            ("nonce", PROBE_CODE),
            ("code_challenge", PROBE_VERIFIER),
            ("code_challenge_method", "S256"),
            ("prompt", "none"),
        ];
        let configured = login.parameters.iter().map(|(name, value)| (&**name, &**value));
        let configured = configured.filter(|(name, _)| fixed.iter().all(|(it, _)| it != name));
        url.query_pairs_mut().extend_pairs(fixed.into_iter().chain(configured));
        let answer = http.look(get(&url, "text/html", None)?).await?;
        Ok(answer.redirect_answer(redirect_uri))
    }

    fn contact_of(&self, answer: &Look) -> Contact {
        Contact {
            clock_ahead_secs: date(&answer.headers)
                .map(|theirs| (theirs - self.clock.now()).whole_seconds()),
            certificate_days: answer.certificate.as_deref().and_then(days_left),
        }
    }
}

async fn published(
    http: &BoundedClient,
    url: &Url,
    provider: &OpenIdProvider,
) -> Result<PublishedKeys, Unseen> {
    let answer = http.look(get(url, JWKS, None)?).await?;
    let rule = &provider.checked.dialect.issuer;
    let keys = Keys::read(answer.document()?, rule).map_err(HttpError::Malformed)?;
    let fitting = keys.fitting(&provider.checked.config.id_token_algorithms);
    Ok(PublishedKeys { all: keys.len(), fitting })
}

impl Look {
    /// The body of an answer that is to be a document.
    fn document(&self) -> Result<&[u8], HttpError> {
        match self.status {
            200..=299 => Ok(&self.body),
            300..=399 => Err(HttpError::Redirect(self.status)),
            status => Err(HttpError::Status(status)),
        }
    }

    fn redirect_answer(&self, redirect_uri: &str) -> RedirectAnswer {
        let location = self.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let is_back = location.is_some_and(|location| {
            location
                .strip_prefix(redirect_uri)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['?', '#', '&']))
        });
        match self.status {
            300..=399 if is_back => RedirectAnswer::Returned,
            400 => RedirectAnswer::Refused(400),
            status => RedirectAnswer::Else(status),
        }
    }
}

/// The time by the server's clock. A copy that a cache answers with says how old it is (RFC 9111 §5.1).
fn date(headers: &HeaderMap) -> Option<OffsetDateTime> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let date = OffsetDateTime::parse(text(DATE)?, &Rfc2822).ok()?;
    let age = text(AGE).and_then(|age| age.parse::<u32>().ok()).unwrap_or_default();
    date.checked_add(time::Duration::seconds(age.into()))
}

/// For how many days a certificate in DER is good still; negative if it has expired.
fn days_left(der: &[u8]) -> Option<i32> {
    let certificate = X509::from_der(der).ok()?;
    let now = Asn1Time::days_from_now(0).ok()?;
    Some(now.diff(certificate.not_after()).ok()?.days)
}
