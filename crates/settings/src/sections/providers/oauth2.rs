//! The keys that only a provider of OAuth 2.0 without ID tokens has: its endpoints, and what the user
//! endpoint's answer means.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use mintgate_identity_openid::{OAuth2Config, OAuth2Endpoints};

use super::location::Location;
use super::preset::SelectedPreset;
use super::{ProviderClient, overlaid, owned};
use crate::rules;
use crate::types::ProviderConfig;

/// The values of the keys that only providers of OAuth 2.0 have.
pub(super) struct OAuth2Keys {
    pub(super) endpoints: OAuth2Endpoints,
    pub(super) subject: String,
    pub(super) claims: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
}

impl OAuth2Keys {
    /// The configuration of the adapter
    /// [`OAuth2Provider`](mintgate_identity_openid::OAuth2Provider).
    pub(super) fn config(self, client: ProviderClient) -> ProviderConfig {
        ProviderConfig::OAuth2(OAuth2Config {
            id: client.id,
            issuer: client.issuer,
            client_id: client.client_id,
            client_secret: client.client_secret,
            client_authentication: client.client_authentication,
            token_parameters: client.token_parameters,
            endpoints: self.endpoints,
            subject: self.subject,
            claims: self.claims,
            headers: self.headers,
            network: client.network,
        })
    }
}

/// Reads these keys; `None` for an OpenID Connect provider.
pub(super) fn oauth2(
    s: &mut Section<'_>,
    selected: SelectedPreset,
    location: &Location,
) -> Option<OAuth2Keys> {
    let endpoints = location.endpoints(s, selected);
    let known = selected.user_endpoint();
    let asks_for_subject = known.is_some_and(|known| known.subject.is_empty());
    if asks_for_subject && !s.is_given("subject") {
        s.missing("subject", "add subject = \"id\": the path to what is never another person's");
    }
    let subject = s.text(
        key(
            "subject",
            "`oauth2` (**required**): the path to the subject in the user endpoint's answer. The \
             subject is a text or a whole number that is never given to another person.",
        )
        .forbidden(selected.unless(|_| asks_for_subject)),
        "claim path",
        subject,
    );
    let more = s.list(
        key(
            "claims",
            "Providers of OAuth 2.0: additional claims, each as `name=path`, where the path leads \
             into the user endpoint's answer. The members of that answer are claims in any case. A \
             claim replaces the preset's of the same name.",
        )
        .default([])
        .forbidden(selected.unless_oauth2()),
        "list of `name=path`",
        rules::pair,
    );
    let known = known?;
    let subject = if asks_for_subject { subject? } else { known.subject.to_owned() };
    Some(OAuth2Keys {
        endpoints: endpoints?,
        subject,
        claims: overlaid(owned(known.claims), more?),
        headers: owned(known.headers),
    })
}

fn subject(path: &str) -> Result<String, Invalid> {
    let last = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    if ["email", "mail", "email_address"].contains(&last.as_str()) {
        let problem = "An address can become another person's, and with it the account.";
        return Err(invalid(problem, "write the path to an id, mostly \"id\" or \"sub\""));
    }
    rules::non_empty(path)
}
