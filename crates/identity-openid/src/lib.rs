//! OpenID Connect and OAuth 2.0 identity providers: openidconnect and oauth2 behind the
//! [`IdentityProvider`](mintgate_domain::ports::IdentityProvider) port.
//!
//! A provider is a foreign server: its answers are bounded in time, length and address (`http`,
//! `address`), its metadata is cached (`metadata`), a code is sent to it once (`exchange`), and a token
//! is accepted only after the checks of `token`, `claims` (or `logout`) and `keys`, in the order of
//! `provider`. A provider without ID tokens is asked at its user endpoint who signed in
//! (`oauth2_provider`). Both kinds renew claims later (`renewal`).
//!
//! How a provider differs from the standard is data in a [`Dialect`] and in the table of [`Preset`]s;
//! differences that need code are in `quirks`. An operator looks at a provider through [`ExaminedProvider`]. [`GuardedProvider`] keeps a provider that is down from
//! harming the others.

mod address;
mod breaker;
mod bulkhead;
mod claims;
mod claims_file;
mod client_auth;
mod client_key;
mod config;
mod deadline;
mod dialect;
mod discovery;
mod email;
mod examination;
mod exchange;
mod guard;
mod http;
mod json;
mod keys;
mod logout;
mod lookups;
mod metadata;
mod network;
mod network_scope;
mod oauth2_config;
mod oauth2_provider;
mod preset;
mod presets;
mod provider;
mod provider_client;
mod proxy;
mod public_key;
mod quirks;
mod refusal;
mod renewal;
mod token;
mod userinfo;

pub use claims_file::{ClaimsFileError, NoClaims, read_claims_file};
pub use client_auth::{AssertionAudience, AssertionKey, ClientAuthentication};
pub use client_key::{AssertionAlgorithm, ClientKeyError};
pub use config::{OpenIdConfig, OpenIdConfigError};
pub use dialect::{Dialect, EmailRule, GraphGroups, GroupOverage, IssuerRule};
pub use examination::{
    Contact, Discovered, ExaminedProvider, PROBE_CODE, PublishedKeys, RedirectAnswer, Unseen,
    UnseenReason,
};
pub use guard::{GuardConfig, GuardedProvider, NotAsked};
pub use network::{Authorities, AuthoritiesError, Network};
pub use oauth2_config::{OAuth2Config, OAuth2ConfigError, OAuth2Endpoints};
pub use oauth2_provider::OAuth2Provider;
pub use preset::{
    FilledPreset, Offline, Parameter, ParameterKind, ParameterValues, Preset, PresetAuthentication,
    PresetKind, SHARED_TENANTS, UserEndpoint,
};
pub use provider::OpenIdProvider;
pub use proxy::{Proxies, ProxyUrl, ProxyUrlError};
pub use quirks::apple::AppleSecret;
