//! The preset of a provider, and which keys mean nothing to it.

use mintgate_identity_openid::{Parameter, Preset, PresetAuthentication, PresetKind, UserEndpoint};

use crate::settings::key::key;
use crate::settings::mistakes::{Flaw, flaw};
use crate::settings::reader::Section;

/// The keys that only providers of OAuth 2.0 have, but for the subject.
pub(super) const ENDPOINTS: [&str; 4] =
    ["authorization_endpoint", "token_endpoint", "user_endpoint", "emails_endpoint"];

/// The preset that was chosen; none if there is no such preset, and then every key may be there.
#[derive(Clone, Copy)]
pub(super) struct Chosen(pub(super) Option<&'static Preset>);

impl Chosen {
    /// Reads `preset`.
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let presets: Vec<_> = Preset::ALL.iter().map(|preset| (preset.name, preset)).collect();
        Self(s.choice(
            key(
                "preset",
                "What kind of provider it is; `oidc` and `oauth2` are those that are none of the \
                 others. What a preset asks for in addition is in keys of their own, addresses \
                 without `https://` (or, on a loopback host, with `http://`).",
            )
            .or("oidc"),
            &presets,
        ))
    }

    /// Why a key means nothing, unless the preset has what it is for.
    pub(super) fn unless(self, has: impl FnOnce(&Preset) -> bool) -> Option<Flaw> {
        let preset = self.0.filter(|preset| !has(preset))?;
        let problem = format!("The preset {} has no such key.", preset.name);
        let own = own_keys(preset).join(", ");
        Some(flaw(problem, format!("remove it; the keys of {}'s own are {own}", preset.name)))
    }

    /// Why a key means nothing, unless the provider is asked by OpenID Connect.
    pub(super) fn unless_openid(self) -> Option<Flaw> {
        self.unless(|preset| matches!(preset.kind, PresetKind::OpenId))
    }

    /// Why a key means nothing, unless the provider is asked by OAuth 2.0 alone.
    pub(super) fn unless_oauth2(self) -> Option<Flaw> {
        self.unless(|preset| matches!(preset.kind, PresetKind::OAuth2(_)))
    }

    /// The parameter of this name.
    pub(super) fn parameter(self, name: &str) -> Option<&'static Parameter> {
        self.0?.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// What is known of a provider of OAuth 2.0.
    pub(super) fn user_endpoint(self) -> Option<UserEndpoint> {
        match self.0?.kind {
            PresetKind::OAuth2(endpoint) => Some(endpoint),
            PresetKind::OpenId => None,
        }
    }

    /// Whether its client secrets are made from a key.
    pub(super) fn mints_secrets(self) -> bool {
        self.0.is_some_and(mints_secrets)
    }
}

/// Whether client secrets are made from a key.
pub(super) fn mints_secrets(preset: &Preset) -> bool {
    preset.client_authentication == PresetAuthentication::AppleKey
}

/// The keys that distinguish a preset from the others.
fn own_keys(preset: &Preset) -> Vec<&'static str> {
    let mut keys: Vec<&str> = preset.parameters.iter().map(|parameter| parameter.name).collect();
    if let PresetKind::OAuth2(user) = preset.kind {
        keys.extend(ENDPOINTS);
        keys.extend(user.subject.is_empty().then_some("subject"));
        keys.push("claims");
    }
    keys.extend(preset.tenant_template.map(|_| "tenants"));
    keys.extend(preset.group_endpoint.map(|_| "group_overage"));
    if mints_secrets(preset) {
        keys.extend(["team_id", "client_key", "client_key_id"]);
    }
    let mut once = Vec::new();
    for key in keys {
        if !once.contains(&key) {
            once.push(key);
        }
    }
    once
}
