//! The discovery document (OIDC Discovery §3): what is used of it, and nothing else.

use mintgate_domain::Cause;
use mintgate_domain::ports::{Misbehaviour, ProviderError};
use oauth2::{AuthType, ClientId, TokenUrl};
use serde_json::{Map, Value};
use url::Url;

use crate::config::Checked;
use crate::exchange::TokenClient;
use crate::http::{BoundedClient, HttpError};
use crate::json::select;
use crate::quirks::entra;
use mintgate_domain::excerpt;

const AUTHORIZATION: &str = "authorization_endpoint";
const TOKEN: &str = "token_endpoint";
const END_SESSION: &str = "end_session_endpoint";
const USERINFO: &str = "userinfo_endpoint";
const JWKS: &str = "jwks_uri";
/// RFC 9207 §3.
const NAMES_ISSUER: &str = "authorization_response_iss_parameter_supported";
const METHODS: &str = "token_endpoint_auth_methods_supported";
const SCOPES: &str = "scopes_supported";

/// The members that are read; any other may be missing or odd.
const USED: [&str; 9] =
    ["issuer", AUTHORIZATION, TOKEN, USERINFO, JWKS, END_SESSION, NAMES_ISSUER, METHODS, SCOPES];

/// The endpoints in the discovery document. One that is missing is missed when it is needed.
pub(crate) struct Endpoints {
    token: Option<TokenClient>,
    /// The authorization endpoint. Browsers are sent there; we send it no request.
    authorization: Option<Url>,
    /// Where browsers are sent to sign out (OIDC RP-Initiated Logout §2.1), if there is such an address.
    pub(crate) end_session: Option<Url>,
    /// Whether authorization responses carry `iss` (RFC 9207 §3).
    pub(crate) names_issuer: bool,
    /// The scopes that the provider announces, if it announces any.
    pub(crate) scopes: Option<Vec<String>>,
    /// The userinfo endpoint, if it is to be asked.
    pub(crate) userinfo: Option<Url>,
    pub(crate) jwks: Option<Url>,
}

/// Reads the discovery document of the configured issuer.
///
/// # Errors
/// If it is not a JSON object, or is that of another issuer.
pub(crate) fn read(document: &[u8], checked: &Checked) -> Result<Endpoints, Cause> {
    let Described { endpoints, other_issuer } = describe(document, checked)?;
    match other_issuer {
        Some((_, named)) => Err(format!("it names the issuer {named}").into()),
        None => Ok(endpoints),
    }
}

/// A discovery document, whosever it is.
pub(crate) struct Described {
    pub(crate) endpoints: Endpoints,
    /// The issuer that it must name, and an excerpt of the one that it names, if that is another.
    pub(crate) other_issuer: Option<(String, String)>,
}

/// Reads a discovery document, and compares its issuer with the configured one.
///
/// # Errors
/// If it is not a JSON object.
pub(crate) fn describe(document: &[u8], checked: &Checked) -> Result<Described, Cause> {
    let Checked { config, dialect, .. } = checked;
    let document = select(document, &USED)
        .map_err(|error| Cause::from_error("it is not a discovery document", error))?;
    // Compared as texts: a slash more is another issuer (OIDC Discovery §4.3).
    let issuer = text(&document, "issuer").unwrap_or_default();
    let expected = entra::discovered_issuer(&dialect.issuer, &config.issuer);
    let other_issuer = (issuer != expected).then(|| (expected.to_owned(), excerpt(issuer)));
    let url = |name| text(&document, name).and_then(|url| Url::parse(url).ok());
    let authentication = &dialect.client_authentication;
    let token = url(TOKEN).map(|url| {
        oauth2::Client::new(ClientId::new(config.client_id.clone()))
            .set_token_uri(TokenUrl::from_url(url))
            .set_auth_type(authentication.auth_type(|| auth_type(&document)))
    });
    let endpoints = Endpoints {
        token,
        authorization: url(AUTHORIZATION),
        end_session: url(END_SESSION),
        names_issuer: document
            .get(NAMES_ISSUER)
            .is_some_and(|flag| *flag == Value::Bool(true) || flag == "true"),
        scopes: scopes(&document),
        userinfo: url(USERINFO).filter(|_| config.userinfo),
        jwks: url(JWKS),
    };
    Ok(Described { endpoints, other_issuer })
}

impl Endpoints {
    /// Checks that requests may be sent to the endpoints that are asked.
    pub(crate) fn check(self, http: &BoundedClient) -> Result<Self, HttpError> {
        let token = self.token.as_ref().map(|token| token.token_uri().url());
        for url in token.into_iter().chain(&self.jwks).chain(&self.userinfo) {
            http.check_url(url)?;
        }
        Ok(self)
    }

    /// The members that a login needs and that are not there, by name.
    pub(crate) fn missing(&self, needs_keys: bool) -> Vec<&'static str> {
        let needed = [
            (AUTHORIZATION, self.authorization.is_none()),
            (TOKEN, self.token.is_none()),
            (JWKS, needs_keys && self.jwks.is_none()),
        ];
        needed.into_iter().filter(|(_, is_missing)| *is_missing).map(|(name, _)| name).collect()
    }

    /// The token endpoint.
    pub(crate) fn token(&self) -> Result<&TokenClient, ProviderError> {
        self.token.as_ref().ok_or_else(|| missing(TOKEN))
    }

    /// The authorization endpoint.
    pub(crate) fn authorization(&self) -> Result<&Url, ProviderError> {
        self.authorization.as_ref().ok_or_else(|| missing(AUTHORIZATION))
    }
}

fn missing(name: &str) -> ProviderError {
    let text = format!("discovery document: it has no {name} that is a URL");
    ProviderError::Misbehaved(Misbehaviour::BadAnswer, text.into())
}

/// The text of a member; an empty one is none.
fn text<'a>(document: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    document.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The announced scopes, in a list or in one text. Without `openid` they are no list of scopes.
fn scopes(document: &Map<String, Value>) -> Option<Vec<String>> {
    let scopes: Vec<_> = match document.get(SCOPES)? {
        Value::Array(scopes) => {
            scopes.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
        }
        Value::String(scopes) => scopes.split_whitespace().map(ToOwned::to_owned).collect(),
        _ => return None,
    };
    scopes.iter().any(|scope| scope == "openid").then_some(scopes)
}

/// `client_secret_basic`, unless the provider offers only `client_secret_post` (OIDC Discovery §3). A
/// client without a secret sends its id in the body with both.
fn auth_type(document: &Map<String, Value>) -> AuthType {
    let offers = |method: &str| match document.get(METHODS) {
        Some(Value::Array(methods)) => methods.iter().any(|offered| offered == method),
        Some(single) => single == method,
        None => false,
    };
    if offers("client_secret_post") && !offers("client_secret_basic") {
        AuthType::RequestBody
    } else {
        AuthType::BasicAuth
    }
}
