//! The configured providers, as adapters with what is asked of a request before they are.

use std::sync::Arc;

use anyhow::Context as _;
use mintgate_domain::ports::{Clock, Metrics};
use mintgate_domain::{ProviderPolicy, ProviderRegistry, RegisteredProvider};
use mintgate_identity_openid::{OpenIdConfig, OpenIdProvider};

use crate::settings::{ProviderSettings, Settings};

/// The providers as they are configured; nobody is asked yet.
///
/// # Errors
/// If a provider cannot work as configured; the text names it.
pub(crate) fn providers(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<dyn Metrics>,
) -> anyhow::Result<ProviderRegistry> {
    let register = |provider: &ProviderSettings| -> anyhow::Result<RegisteredProvider> {
        let adapter = OpenIdProvider::new(
            OpenIdConfig {
                id: provider.id.clone(),
                issuer: provider.issuer.clone(),
                client_id: provider.client_id.clone(),
                client_secret: provider.client_secret.clone(),
                id_token_algorithms: provider.id_token_algorithms.clone(),
                userinfo: provider.userinfo,
                allow_private_network: provider.allow_private_network,
                connect_timeout: provider.connect_timeout,
                timeout: provider.timeout,
            },
            Arc::clone(clock),
            Arc::clone(metrics),
        )
        .with_context(|| format!("provider {}", provider.id))?;
        let policy = ProviderPolicy {
            id: provider.id.clone(),
            issuer: provider.issuer.clone(),
            redirect_uris: provider.redirect_uris.clone(),
            pkce: provider.pkce,
            nonce: provider.nonce,
        };
        Ok(RegisteredProvider { policy, adapter: Arc::new(adapter) })
    };
    settings.providers.iter().map(register).collect()
}
