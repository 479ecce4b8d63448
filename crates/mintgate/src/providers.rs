//! The configured providers: each adapter behind its guard, with the policy that is asked first.

use std::sync::Arc;

use anyhow::Context as _;
use mintgate_domain::ports::{CircuitState, Clock, IdentityProvider, Metrics};
use mintgate_domain::{ProviderRegistry, RegisteredProvider};
use mintgate_identity_openid::{GuardedProvider, OAuth2Provider, OpenIdProvider};

use crate::settings::{ProviderConfig, ProviderSettings, Settings};
use crate::system::OsEntropy;

/// Builds the configured providers; none is contacted yet.
///
/// # Errors
/// If a provider cannot work as configured; the text names it.
pub(crate) fn providers(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<dyn Metrics>,
) -> anyhow::Result<ProviderRegistry> {
    let register = |provider: &ProviderSettings| -> anyhow::Result<RegisteredProvider> {
        let id = &provider.policy.id;
        let adapter = adapter(&provider.config, clock, metrics);
        let adapter = adapter.with_context(|| format!("provider {id}"))?;
        let (clock, metrics) = (Arc::clone(clock), Arc::clone(metrics));
        // Every configured provider has a series from the start.
        metrics.provider_circuit(id, CircuitState::Closed);
        let guarded = GuardedProvider::new(id.clone(), adapter, provider.guard, clock, metrics);
        Ok(RegisteredProvider { policy: provider.policy.clone(), adapter: Arc::new(guarded) })
    };
    settings.providers.iter().map(register).collect()
}

fn adapter(
    config: &ProviderConfig,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<dyn Metrics>,
) -> anyhow::Result<Arc<dyn IdentityProvider>> {
    let (clock, metrics, entropy) = (Arc::clone(clock), Arc::clone(metrics), Arc::new(OsEntropy));
    Ok(match config.clone() {
        ProviderConfig::OpenId(config, dialect) => {
            Arc::new(OpenIdProvider::with_dialect(config, dialect, clock, entropy, metrics)?)
        }
        ProviderConfig::OAuth2(config) => {
            Arc::new(OAuth2Provider::new(config, clock, entropy, metrics)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use mintgate_domain::ports::PoolState;
    use mintgate_identity_openid::OpenIdConfigError;
    use mintgate_metrics_prometheus::PrometheusMetrics;
    use mintgate_testkit::ManualClock;

    use super::*;

    /// One provider of each protocol.
    const TEXT: &str = r#"
[[providers]]
id = "corp"
issuer = "https://idp.example.com"
client_id = "mintgate"
redirect_uris = ["https://app.example.com/callback"]
[[providers]]
id = "hub"
preset = "github"
client_id = "mintgate"
client_secret = "x"
redirect_uris = ["https://app.example.com/callback"]
"#;

    fn built(
        change: impl FnOnce(&mut Settings),
    ) -> (anyhow::Result<ProviderRegistry>, Arc<PrometheusMetrics>) {
        let mut settings = Settings::from_toml(TEXT).unwrap_or_else(|error| panic!("{error}"));
        change(&mut settings);
        let metrics = Arc::new(PrometheusMetrics::new("", "").unwrap());
        let counted: Arc<dyn Metrics> = metrics.clone();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        (providers(&settings, &clock, &counted), metrics)
    }

    #[test]
    fn every_provider_has_a_circuit_that_is_seen_from_the_start() {
        let (registry, metrics) = built(|_| {});
        assert_eq!(registry.unwrap().iter().count(), 2);
        let metrics = metrics.render(PoolState { idle: 0, in_use: 0 }, &[], 0).unwrap();
        for name in ["corp", "hub"] {
            let series = format!("mintgate_provider_circuit_state{{provider=\"{name}\"}} 0");
            assert!(metrics.lines().any(|line| line == series), "{series}\n{metrics}");
        }
    }

    #[test]
    fn a_provider_that_cannot_work_is_named() {
        let (registry, _) = built(|settings| {
            let ProviderConfig::OpenId(config, _) = &mut settings.providers[0].config else {
                panic!("OpenID Connect")
            };
            config.issuer = "ftp://idp.example.com".to_owned();
        });
        let error = registry.err().unwrap();
        assert!(matches!(error.downcast_ref(), Some(OpenIdConfigError::Issuer(_))), "{error:#}");
        assert!(error.to_string().contains("corp"), "{error}");
    }
}
