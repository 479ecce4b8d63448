//! OpenID Connect identity providers: openidconnect behind the
//! [`IdentityProvider`](mintgate_domain::ports::IdentityProvider) port.
//!
//! A provider is a foreign server: what it answers is bounded in time, length and address
//! (`http`, `address`), what it publishes is cached (`metadata`), a code is sent to it once
//! (`exchange`), and a token is believed only after `token`, openidconnect and `claims`
//! have nothing against it (`provider` has the order).

mod address;
mod claims;
mod config;
mod exchange;
mod http;
mod json;
mod metadata;
mod provider;
mod reach;
mod text;
mod token;
mod userinfo;

pub use config::{OpenIdConfig, OpenIdConfigError};
pub use provider::OpenIdProvider;
