//! Conflicts between providers: no provider's people may pass as those of another.

use mintgate_identity_openid::OAuth2Config;

use crate::types::{ProviderConfig, ProviderSettings};

/// The providers that have been read, to compare the next one with.
#[derive(Default)]
pub(crate) struct IssuerConflicts {
    /// The ids of the providers, valid or not.
    ids: Vec<String>,
    authorities: Vec<Authority>,
}

/// Who vouches for a provider's people. An identity is an issuer with a subject, so two providers
/// with one issuer must get the subject from the same source.
struct Authority {
    provider: String,
    issuers: Vec<String>,
    /// The user endpoint and the path to the subject in its answer; `None` where the issuer vouches by
    /// ID tokens, which are its own whatever our client id is.
    user_endpoint: Option<(String, String)>,
}

impl IssuerConflicts {
    /// Adds an id; false if another provider has it.
    pub(super) fn add_id(&mut self, id: &str) -> bool {
        let is_free = !self.ids.iter().any(|other| other == id);
        self.ids.push(id.to_owned());
        is_free
    }

    /// Adds a provider. Returns the earlier provider that shares an issuer with it and gets subjects
    /// from another source.
    pub(super) fn add(&mut self, provider: &ProviderSettings) -> Option<&str> {
        self.authorities.push(Authority {
            provider: provider.policy.id.as_str().to_owned(),
            issuers: provider.policy.issuers.clone(),
            user_endpoint: match &provider.config {
                ProviderConfig::OpenId(..) => None,
                ProviderConfig::OAuth2(OAuth2Config { endpoints, subject, .. }) => {
                    Some((endpoints.user.clone(), subject.clone()))
                }
            },
        });
        let (added, before) = self.authorities.split_last()?;
        let conflict = before.iter().find(|other| {
            other.issuers.iter().any(|issuer| added.issuers.contains(issuer))
                && other.user_endpoint != added.user_endpoint
        });
        conflict.map(|other| other.provider.as_str())
    }
}
