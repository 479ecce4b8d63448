//! The providers beside one another: whose people could pass as whose?

use crate::settings::types::{ProviderKind, ProviderSettings};

/// The providers that were read before.
#[derive(Default)]
pub(in crate::settings) struct Neighbours {
    /// Their ids, well-formed or not.
    ids: Vec<String>,
    peoples: Vec<People>,
}

/// Who a provider's people are: an identity is an issuer with a subject.
struct People {
    provider: String,
    issuers: Vec<String>,
    authority: Authority,
}

/// Who says what a subject is.
#[derive(PartialEq, Eq)]
enum Authority {
    /// The issuer itself: whatever we are called there, its tokens are its own.
    Issuer,
    /// An endpoint, whatever the configuration says the issuer is.
    Endpoint { user: String, subject: String },
}

impl Neighbours {
    /// Takes an id; false if another provider has it.
    pub(super) fn take_id(&mut self, id: &str) -> bool {
        let is_free = !self.ids.iter().any(|other| other == id);
        self.ids.push(id.to_owned());
        is_free
    }

    /// Takes a provider; names the one whose people could pass as its own, or the reverse.
    pub(super) fn take(&mut self, provider: &ProviderSettings) -> Option<&str> {
        let people = People::of(provider);
        self.peoples.push(people);
        let (people, before) = self.peoples.split_last()?;
        let confused = before.iter().find(|other| {
            other.issuers.iter().any(|issuer| people.issuers.contains(issuer))
                && other.authority != people.authority
        });
        confused.map(|other| other.provider.as_str())
    }
}

impl People {
    fn of(provider: &ProviderSettings) -> Self {
        let authority = match &provider.kind {
            ProviderKind::OpenId(_) => Authority::Issuer,
            ProviderKind::OAuth2(oauth2) => Authority::Endpoint {
                user: oauth2.endpoints.user.clone(),
                subject: oauth2.subject.clone(),
            },
        };
        Self { provider: provider.id.as_str().to_owned(), issuers: provider.issuers(), authority }
    }
}
