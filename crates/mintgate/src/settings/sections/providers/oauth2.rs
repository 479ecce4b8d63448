//! What only a provider of OAuth 2.0 without ID tokens has: an endpoint that says who somebody is.

use super::chosen::Chosen;
use super::client::Client;
use super::place::Place;
use crate::settings::key::key;
use crate::settings::mistakes::{Flaw, flaw};
use crate::settings::reader::Section;
use crate::settings::rules;
use crate::settings::types::OAuth2Settings;

/// Reads the endpoints, and what is made of the user endpoint's answer; none for OpenID Connect.
pub(super) fn oauth2(
    s: &mut Section<'_>,
    chosen: Chosen,
    place: &mut Place,
    client: &Client,
) -> Option<OAuth2Settings> {
    let endpoints = place.endpoints(s, chosen);
    let known = chosen.user_endpoint();
    let asks_for_subject = known.is_some_and(|known| known.subject.is_empty());
    if asks_for_subject && !s.is_given("subject") {
        s.missing("subject", "add subject = \"id\": the path to what is never another person's");
    }
    let subject = s.text(
        key(
            "subject",
            "`oauth2` (**required**): the path to the subject in the user endpoint's answer, a text \
             or a whole number that is never given to another person.",
        )
        .barred(chosen.unless(|_| asks_for_subject)),
        "claim path",
        subject,
    );
    let more = s.list(
        key(
            "claims",
            "Providers of OAuth 2.0: more claims, each as `name=path` into the user endpoint's \
             answer, whose own members are claims already. They go over the preset's.",
        )
        .or([])
        .barred(chosen.unless_oauth2()),
        "list of `name=path`",
        rules::pair,
    );
    let (preset, known) = (chosen.0?, known?);
    let dialect = place.dialect(s, preset)?;
    let texts = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
    };
    let subject = if asks_for_subject { subject? } else { known.subject.to_owned() };
    Some(OAuth2Settings {
        client_authentication: client.authentication.clone()?,
        token_parameters: dialect.token_parameters,
        endpoints: endpoints?,
        subject,
        claims: super::overlaid(texts(known.claims), more?),
        headers: texts(known.headers),
    })
}

fn subject(path: &str) -> Result<String, Flaw> {
    let last = path.rsplit('.').next().unwrap_or(path).to_ascii_lowercase();
    if ["email", "mail", "email_address"].contains(&last.as_str()) {
        let problem = "An address can become another person's, and with it the account.";
        return Err(flaw(problem, "write the path to an id, mostly \"id\" or \"sub\""));
    }
    rules::non_empty(path)
}
