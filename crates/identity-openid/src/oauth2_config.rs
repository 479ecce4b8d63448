//! What an OAuth 2.0 provider without ID tokens is configured with, and what is wrong with that.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use mintgate_domain::SecretText;
use mintgate_domain::model::ProviderId;
use oauth2::{AuthType, ClientId, TokenUrl};
use url::Url;

use crate::address::AddressPolicy;
use crate::client_auth::ClientAuthentication;
use crate::exchange::TokenClient;
use crate::network::Network;

/// One OAuth 2.0 provider that has a user endpoint instead of ID tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2Config {
    /// The provider's configured name.
    pub id: ProviderId,
    /// The issuer in people's identities, for example `https://github.com`. No other provider may
    /// have the same one, or people of the two would be taken for each other.
    pub issuer: String,
    /// The client id that Mintgate has at the provider.
    pub client_id: String,
    /// The client secret that Mintgate has at the provider; `None` for a public client.
    pub client_secret: Option<SecretText>,
    /// How the client authenticates; [`ClientAuthentication::Negotiated`] is `client_secret_basic`
    /// here, as there is nothing to negotiate with.
    pub client_authentication: ClientAuthentication,
    /// Additional parameters of the token request, as names and values.
    pub token_parameters: Vec<(String, String)>,
    /// The URLs of the provider's endpoints.
    pub endpoints: OAuth2Endpoints,
    /// The path to the subject in the user endpoint's answer, as in role rules, for example `id`.
    /// The value there is a text, or a whole number that becomes its decimal digits. It must never
    /// be given to another person, so no login name and no email address.
    pub subject: String,
    /// Additional claims, as names and the paths to their values in the user endpoint's answer.
    /// Every member of that answer is a claim anyway.
    pub claims: Vec<(String, String)>,
    /// Headers of the requests to the user endpoint and the emails endpoint, as names and values.
    pub headers: Vec<(String, String)>,
    /// How the provider may be reached, and how long that may take.
    pub network: Network,
}

impl OAuth2Config {
    /// Checks everything that can be checked without a network: what
    /// [`OAuth2Provider`](crate::OAuth2Provider) refuses, this refuses.
    ///
    /// # Errors
    /// The first thing that cannot work; see [`OAuth2ConfigError`].
    pub fn check(&self) -> Result<(), OAuth2ConfigError> {
        CheckedOAuth2::new(self.clone()).map(drop)
    }
}

/// The URLs of an OAuth 2.0 provider's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2Endpoints {
    /// The authorization endpoint, where users sign in (RFC 6749 §3.1).
    pub authorization: String,
    /// The token endpoint, where codes are exchanged (RFC 6749 §3.2).
    pub token: String,
    /// The user endpoint, which returns the claims of the signed-in user.
    pub user: String,
    /// The endpoint that lists a person's email addresses, as objects with `email`, `primary` and
    /// `verified`. If it is set, the address in the user endpoint's answer is ignored.
    pub emails: Option<String>,
}

/// The reason why an OAuth 2.0 provider cannot be set up as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OAuth2ConfigError {
    /// The issuer is empty.
    #[error("the issuer is empty")]
    Issuer,
    /// The client id is empty.
    #[error("the client id is empty")]
    ClientId,
    /// The client authentication chosen is by a secret, and there is none.
    #[error("this client authentication needs a client secret")]
    ClientSecretRequired,
    /// The path to the subject is empty.
    #[error("the path to the subject is empty")]
    Subject,
    /// The endpoint of this name is no URL that a provider can have.
    #[error(
        "the {0} endpoint must be https (plain http for loopback alone), without user information, at an address a server can have"
    )]
    Endpoint(&'static str),
    /// The header of this name cannot be sent.
    #[error("the header {0:?} is not one that can be sent")]
    Header(String),
    /// The TLS library or its certificates cannot be used.
    #[error("the HTTP client cannot be set up: {0}")]
    HttpClient(String),
}

/// A configuration that has been checked.
pub(crate) struct CheckedOAuth2 {
    pub(crate) config: OAuth2Config,
    pub(crate) policy: AddressPolicy,
    pub(crate) client: TokenClient,
    pub(crate) authorization: Url,
    pub(crate) user: Url,
    pub(crate) emails: Option<Url>,
    pub(crate) headers: HeaderMap,
}

impl CheckedOAuth2 {
    pub(crate) fn new(config: OAuth2Config) -> Result<Self, OAuth2ConfigError> {
        if config.issuer.is_empty() {
            return Err(OAuth2ConfigError::Issuer);
        }
        if config.client_id.is_empty() {
            return Err(OAuth2ConfigError::ClientId);
        }
        if config.subject.is_empty() {
            return Err(OAuth2ConfigError::Subject);
        }
        if config.client_authentication.needs_secret() && config.client_secret.is_none() {
            return Err(OAuth2ConfigError::ClientSecretRequired);
        }
        let OAuth2Endpoints { authorization, token, user, emails } = &config.endpoints;
        let parse =
            |name, url: &str| Url::parse(url).map_err(|_| OAuth2ConfigError::Endpoint(name));
        let token_url = parse("token", token)?;
        let policy = AddressPolicy::new(&token_url, &config.network);
        let check = |name, url: &str| {
            let url = parse(name, url)?;
            match policy.check_url(&url) {
                Ok(()) if url.fragment().is_none() => Ok(url),
                _ => Err(OAuth2ConfigError::Endpoint(name)),
            }
        };
        check("token", token)?;
        let authorization = check("authorization", authorization)?;
        let user = check("user", user)?;
        let emails = emails.as_deref().map(|emails| check("emails", emails)).transpose()?;
        let headers = read_headers(&config.headers)?;
        let client = oauth2::Client::new(ClientId::new(config.client_id.clone()))
            .set_token_uri(TokenUrl::from_url(token_url))
            .set_auth_type(config.client_authentication.auth_type(|| AuthType::BasicAuth));
        Ok(Self { config, policy, client, authorization, user, emails, headers })
    }
}

fn read_headers(headers: &[(String, String)]) -> Result<HeaderMap, OAuth2ConfigError> {
    let read = |(name, value): &(String, String)| {
        let wrong = || OAuth2ConfigError::Header(name.clone());
        let header = HeaderName::try_from(name).map_err(|_| wrong())?;
        Ok((header, HeaderValue::try_from(value).map_err(|_| wrong())?))
    };
    headers.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut OAuth2Config)) -> Option<OAuth2ConfigError> {
        let mut config = OAuth2Config {
            id: ProviderId::new("hub"),
            issuer: "https://hub.example.com".to_owned(),
            client_id: "mintgate".to_owned(),
            client_secret: None,
            client_authentication: ClientAuthentication::default(),
            token_parameters: Vec::new(),
            endpoints: OAuth2Endpoints {
                authorization: "https://hub.example.com/authorize".to_owned(),
                token: "https://hub.example.com/token".to_owned(),
                user: "https://api.hub.example.com/user".to_owned(),
                emails: Some("https://api.hub.example.com/user/emails".to_owned()),
            },
            subject: "id".to_owned(),
            claims: Vec::new(),
            headers: Vec::new(),
            network: Network::default(),
        };
        change(&mut config);
        CheckedOAuth2::new(config).err()
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(check(|_| {}), None);
        assert_eq!(check(|config| config.issuer.clear()), Some(OAuth2ConfigError::Issuer));
        assert_eq!(check(|config| config.client_id.clear()), Some(OAuth2ConfigError::ClientId));
        assert_eq!(check(|config| config.subject.clear()), Some(OAuth2ConfigError::Subject));
        let post = ClientAuthentication::SecretPost;
        let without = check(|config| config.client_authentication = post);
        assert_eq!(without, Some(OAuth2ConfigError::ClientSecretRequired));
        let header = ("X-Bad\n".to_owned(), "x".to_owned());
        let named = Some(OAuth2ConfigError::Header(header.0.clone()));
        assert_eq!(check(|config| config.headers = vec![header]), named);
    }

    #[test]
    fn every_endpoint_is_held_to_the_address_rules() {
        for url in [
            "",
            "hub.example.com/x",
            "http://hub.example.com/x",
            "https://user@hub.example.com/x",
            "https://hub.example.com/x#y",
            "https://0.0.0.0/x",
            "file:///etc/passwd",
        ] {
            let wrong = |change: fn(&mut OAuth2Endpoints, String)| {
                check(|config| change(&mut config.endpoints, url.to_owned()))
            };
            for (name, error) in [
                ("token", wrong(|endpoints, url| endpoints.token = url)),
                ("authorization", wrong(|endpoints, url| endpoints.authorization = url)),
                ("user", wrong(|endpoints, url| endpoints.user = url)),
                ("emails", wrong(|endpoints, url| endpoints.emails = Some(url))),
            ] {
                assert_eq!(error, Some(OAuth2ConfigError::Endpoint(name)), "{url}");
            }
        }
        let private = "https://10.0.0.7/user";
        let user = |config: &mut OAuth2Config| private.clone_into(&mut config.endpoints.user);
        assert_eq!(check(user), Some(OAuth2ConfigError::Endpoint("user")));
        let allowed = check(|config| {
            user(config);
            config.network.allow_private_network = true;
        });
        assert_eq!(allowed, None);
    }
}
