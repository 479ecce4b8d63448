//! What the names of another system mean here: a TOML file that the operator writes.

use std::collections::BTreeMap;

use mintgate_domain::model::{MAX_SOURCE_BYTES, ProviderId, Role};
use serde::Deserialize;

use crate::person::SourceIdentity;

/// A provider that people sign in at here, as far as an import asks.
#[derive(Debug, Clone)]
pub struct KnownProvider {
    /// The id in the configuration.
    pub id: ProviderId,
    /// The name of its preset.
    pub preset: String,
    /// The issuers that its people's identities may have.
    pub issuers: Vec<String>,
    /// Our client id there.
    pub client_id: String,
    /// The claim that is the subject.
    pub subject: String,
}

/// Providers that tell every client another subject for the same person.
const PAIRWISE: [&str; 2] = ["apple", "entra"];
/// The value of `client_id` for a provider that tells every client the same subject.
const ANY_CLIENT: &str = "any";
/// The longest subject, in bytes (OIDC Core §2).
const MAX_SUBJECT_BYTES: usize = 255;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: String,
    #[serde(default)]
    providers: BTreeMap<String, Entry>,
    #[serde(default)]
    roles: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    ignore: bool,
    provider: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    client_id: Option<String>,
}

/// The mapping, checked against the configured providers.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// The name under which the former ids are kept.
    pub(crate) source: String,
    providers: BTreeMap<String, Mapped>,
    roles: BTreeMap<String, Role>,
}

/// What becomes of the identities of one provider of the other system.
#[derive(Debug, Clone)]
enum Mapped {
    Take { provider: ProviderId, issuer: String },
    Leave(&'static str),
}

/// An identity as it is stored, or why it is not.
pub(crate) type Taken = Result<(ProviderId, String), &'static str>;

impl Mapping {
    /// Reads the text of a mapping.
    ///
    /// # Errors
    /// Every mistake, a line for each.
    pub(crate) fn parse(text: &str, known: &[KnownProvider]) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut mistakes = vec![];
        let source = file.source;
        if source.is_empty() || source.len() > MAX_SOURCE_BYTES || source.contains(char::is_control)
        {
            mistakes.push("source: write a name of 1 to 64 characters".to_owned());
        }
        let mut providers = BTreeMap::new();
        for (name, entry) in file.providers {
            match mapped(entry, known) {
                Ok(mapped) => {
                    providers.insert(name, mapped);
                }
                Err(mistake) => mistakes.push(format!("providers.{name:?}: {mistake}")),
            }
        }
        let mut roles = BTreeMap::new();
        for (name, role) in file.roles {
            if Role::is_valid(&role) {
                roles.insert(name, Role::new(role));
            } else {
                mistakes.push(format!(
                    "roles.{name:?}: a role has 1 to 64 visible ASCII characters without spaces and \
                     commas"
                ));
            }
        }
        if mistakes.is_empty() {
            Ok(Self { source, providers, roles })
        } else {
            Err(mistakes.join("\n"))
        }
    }

    /// Whether the file has an entry for a provider of the other system.
    pub(crate) fn has(&self, provider: &str) -> bool {
        self.providers.contains_key(provider)
    }

    /// The provider and the issuer of an identity, or why it is not taken.
    pub(crate) fn identity(&self, identity: &SourceIdentity) -> Taken {
        match self.providers.get(&identity.provider) {
            None => Err("this provider is not in the mapping"),
            Some(Mapped::Leave(why)) => Err(why),
            Some(Mapped::Take { provider, issuer }) => {
                let subject = &identity.subject;
                if subject.is_empty()
                    || subject.len() > MAX_SUBJECT_BYTES
                    || subject.contains(char::is_control)
                {
                    return Err("the subject is empty, too long, or has a control character");
                }
                if identity.issuer.as_ref().is_some_and(|said| said != issuer) {
                    return Err("the source says another issuer than the mapping");
                }
                Ok((provider.clone(), issuer.clone()))
            }
        }
    }

    /// Our role for a role of the other system.
    pub(crate) fn role(&self, name: &str) -> Option<&Role> {
        self.roles.get(name)
    }
}

fn mapped(entry: Entry, known: &[KnownProvider]) -> Result<Mapped, String> {
    let Entry { ignore, provider, issuer, subject, client_id } = entry;
    if ignore {
        return Ok(Mapped::Leave("the mapping says ignore"));
    }
    let (Some(provider), Some(issuer), Some(subject), Some(client_id)) =
        (provider, issuer, subject, client_id)
    else {
        return Err("write provider, issuer, subject and client_id, or ignore = true".to_owned());
    };
    let Some(known) = known.iter().find(|known| known.id.as_str() == provider) else {
        return Err(format!("provider = {provider:?} is not the id of a configured provider"));
    };
    if !known.issuers.contains(&issuer) {
        let issuers = known.issuers.join("\" or \"");
        return Err(format!(
            "issuer = {issuer:?} is not what people of {provider} have here; that is \"{issuers}\""
        ));
    }
    let is_any = client_id == ANY_CLIENT;
    if is_any && PAIRWISE.contains(&known.preset.as_str()) {
        return Err(format!(
            "client_id = \"any\": {} tells every client another subject for the same person; write the \
             client id of the other system",
            known.preset
        ));
    }
    if !is_any && client_id != known.client_id {
        return Ok(Mapped::Leave("the subject was made for another client id than ours"));
    }
    if subject != known.subject {
        return Ok(Mapped::Leave("the subject is another claim than the one we are told"));
    }
    Ok(Mapped::Take { provider: known.id.clone(), issuer })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn known() -> Vec<KnownProvider> {
        let provider = |id: &str, issuer: &str| KnownProvider {
            id: ProviderId::new(id),
            preset: id.to_owned(),
            issuers: vec![issuer.to_owned()],
            client_id: "ours".to_owned(),
            subject: if id == "github" { "id" } else { "sub" }.to_owned(),
        };
        vec![
            provider("google", "https://accounts.google.com"),
            provider("github", "https://github.com"),
            provider("entra", "https://login.example.com/t/v2.0"),
        ]
    }

    fn entry(provider: &str, issuer: &str, subject: &str, client_id: &str) -> String {
        format!(
            "source = \"old\"\n[providers.x]\nprovider = \"{provider}\"\nissuer = \"{issuer}\"\n\
             subject = \"{subject}\"\nclient_id = \"{client_id}\"\n"
        )
    }

    fn taken(text: &str, issuer: Option<&str>) -> Taken {
        let identity = SourceIdentity {
            provider: "x".to_owned(),
            subject: "1".to_owned(),
            issuer: issuer.map(str::to_owned),
        };
        Mapping::parse(text, &known()).unwrap().identity(&identity)
    }

    const GOOGLE: &str = "https://accounts.google.com";
    const TENANT: &str = "https://login.example.com/t/v2.0";

    #[test]
    fn an_identity_is_taken_if_it_is_what_this_provider_will_say() {
        assert!(taken(&entry("google", GOOGLE, "sub", "any"), None).is_ok());
        assert!(taken(&entry("google", GOOGLE, "sub", "ours"), Some(GOOGLE)).is_ok());
        assert!(taken(&entry("github", "https://github.com", "id", "any"), None).is_ok());
        assert!(taken(&entry("entra", TENANT, "sub", "ours"), None).is_ok());
    }

    #[test]
    fn an_identity_that_would_never_match_is_not_taken() {
        let userinfo = Some("https://www.googleapis.com/userinfo/v2/me");
        assert!(taken(&entry("google", GOOGLE, "sub", "any"), userinfo).is_err());
        assert!(taken(&entry("entra", TENANT, "sub", "theirs"), None).is_err());
        assert!(taken(&entry("entra", TENANT, "oid", "ours"), None).is_err());
        assert!(taken("source = \"old\"", None).is_err());
        assert!(taken("source = \"old\"\n[providers.x]\nignore = true", None).is_err());
    }

    #[test]
    fn a_mistake_in_the_mapping_is_named() {
        for (text, word) in [
            (entry("corp", GOOGLE, "sub", "any"), "corp"),
            (entry("google", "https://google.com", "sub", "any"), GOOGLE),
            (entry("entra", TENANT, "sub", "any"), "client id"),
            ("source = \"\"".to_owned(), "source"),
            ("source = \"a\"\n[providers.x]\nprovider = \"google\"".to_owned(), "issuer"),
            ("source = \"a\"\n[roles]\nx = \"a b\"".to_owned(), "roles"),
            ("source = \"a\"\nsauce = 1".to_owned(), "sauce"),
            ("[roles]".to_owned(), "source"),
        ] {
            let mistakes = Mapping::parse(&text, &known()).unwrap_err();
            assert!(mistakes.contains(word), "{mistakes}");
        }
    }
}
