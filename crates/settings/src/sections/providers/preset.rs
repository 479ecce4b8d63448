//! The preset of a provider, and which keys it has.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use mintgate_identity_openid::{
    ParameterKind, Preset, PresetAuthentication, PresetKind, UserEndpoint,
};

/// The keys for the endpoints of an OAuth 2.0 provider.
pub(super) const ENDPOINTS: [&str; 4] =
    ["authorization_endpoint", "token_endpoint", "user_endpoint", "emails_endpoint"];

/// The preset that was selected; `None` if there is no such preset. Then every key is allowed, so
/// that the unknown preset is the only mistake.
#[derive(Clone, Copy)]
pub(super) struct SelectedPreset(pub(super) Option<&'static Preset>);

impl SelectedPreset {
    /// Reads the key `preset`.
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let presets: Vec<_> = Preset::ALL.iter().map(|preset| (preset.name, preset)).collect();
        Self(s.choice(
            key(
                "preset",
                "The kind of provider. `oidc` is any OpenID Connect provider, `oauth2` any OAuth 2.0 \
                 provider without ID tokens. Some presets have keys of their own, which name the \
                 preset in their meaning. Where the value of such a key becomes part of an address, \
                 it is written without `https://`, or, for a loopback host, with `http://`.",
            )
            .default("oidc"),
            &presets,
        ))
    }

    /// Why a key must not be set, unless the selected preset fulfils a condition.
    pub(super) fn unless(self, has_key: impl FnOnce(&Preset) -> bool) -> Option<Invalid> {
        let preset = self.0.filter(|preset| !has_key(preset))?;
        let problem = format!("The preset {} has no such key.", preset.name);
        let own = own_keys(preset).join(", ");
        Some(invalid(problem, format!("remove it; the keys of {}'s own are {own}", preset.name)))
    }

    /// Why a key must not be set, unless the provider speaks OpenID Connect.
    pub(super) fn unless_openid(self) -> Option<Invalid> {
        self.unless(|preset| matches!(preset.kind, PresetKind::OpenId))
    }

    /// Why a key must not be set, unless the provider speaks OAuth 2.0 without ID tokens.
    pub(super) fn unless_oauth2(self) -> Option<Invalid> {
        self.unless(|preset| matches!(preset.kind, PresetKind::OAuth2(_)))
    }

    /// The selected preset of an OpenID Connect provider.
    pub(super) fn openid(self) -> Option<&'static Preset> {
        self.0.filter(|preset| matches!(preset.kind, PresetKind::OpenId))
    }

    /// The endpoints and claims in the selected preset; `None` for OpenID Connect.
    pub(super) fn user_endpoint(self) -> Option<UserEndpoint> {
        match self.0?.kind {
            PresetKind::OAuth2(endpoint) => Some(endpoint),
            PresetKind::OpenId => None,
        }
    }

    /// Whether the provider's client secrets are minted from a key.
    pub(super) fn mints_secrets(self) -> bool {
        self.0.is_some_and(mints_secrets)
    }
}

/// Whether a preset's client secrets are minted from a key.
pub(super) fn mints_secrets(preset: &Preset) -> bool {
    preset.client_authentication == PresetAuthentication::AppleKey
}

/// The keys that distinguish a preset from the others.
fn own_keys(preset: &Preset) -> Vec<&'static str> {
    let is_key = |name: &&str| !ENDPOINTS.contains(name);
    let parameters = preset.parameters.iter().map(|parameter| parameter.name);
    let mut keys: Vec<&str> = parameters.filter(is_key).collect();
    if let PresetKind::OAuth2(user) = preset.kind {
        keys.extend(ENDPOINTS);
        keys.extend(user.subject.is_empty().then_some("subject"));
        keys.push("claims");
    }
    keys.extend(preset.tenant_template.map(|_| "tenants"));
    keys.extend(preset.group_endpoint.map(|_| "group_overage"));
    keys.extend(preset.tenant_template.map(|_| "trust_email"));
    if mints_secrets(preset) {
        keys.extend(["team_id", "client_key", "client_key_id"]);
    }
    keys
}

/// The names of all presets' parameters, each once, but for whole URLs, which have keys that every
/// preset shares.
pub(super) fn parameter_names() -> Vec<&'static str> {
    let mut names = Vec::new();
    for parameter in Preset::ALL.iter().flat_map(|preset| preset.parameters) {
        if parameter.kind != ParameterKind::Url && !names.contains(&parameter.name) {
            names.push(parameter.name);
        }
    }
    names
}
