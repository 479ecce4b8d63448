//! The configured providers: each adapter behind its guard, with the policy that is asked first.

use std::sync::Arc;

use anyhow::Context as _;
use mintgate_domain::ports::{Clock, IdentityProvider, Metrics};
use mintgate_domain::{ProviderRegistry, RegisteredProvider};
use mintgate_identity_openid::{GuardedProvider, OAuth2Provider, OpenIdProvider};

use crate::settings::{ProviderConfig, ProviderSettings, Settings};
use crate::system::OsEntropy;

/// The providers of a configuration that runs.
pub(crate) type Running<'a> = (&'a Settings, &'a ProviderRegistry);

/// Builds the configured providers; none is contacted yet. One whose adapter is configured as in `running`
/// keeps it, and with it what it has fetched and the state of its circuit.
///
/// # Errors
/// If a provider cannot work as configured; the text names it.
pub(crate) fn providers(
    settings: &Settings,
    running: Option<Running<'_>>,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<dyn Metrics>,
) -> anyhow::Result<ProviderRegistry> {
    let register = |provider: &ProviderSettings| -> anyhow::Result<RegisteredProvider> {
        let (id, policy) = (&provider.policy.id, provider.policy.clone());
        if let Some(adapter) = running.and_then(|running| running_adapter(running, provider)) {
            return Ok(RegisteredProvider { policy, adapter });
        }
        let adapter = adapter(&provider.config, clock, metrics);
        let adapter = adapter.with_context(|| format!("provider {id}"))?;
        let (clock, metrics) = (Arc::clone(clock), Arc::clone(metrics));
        let guarded = GuardedProvider::new(id.clone(), adapter, provider.guard, clock, metrics);
        Ok(RegisteredProvider { policy, adapter: Arc::new(guarded) })
    };
    settings.providers.iter().map(register).collect()
}

/// The adapter that runs, if it is configured as this provider is.
fn running_adapter(
    (settings, registry): Running<'_>,
    provider: &ProviderSettings,
) -> Option<Arc<dyn IdentityProvider>> {
    let id = &provider.policy.id;
    let before = settings.providers.iter().find(|before| before.policy.id == *id)?;
    let is_same = before.config == provider.config && before.guard == provider.guard;
    is_same.then(|| registry.find(id.as_str()).map(|running| Arc::clone(&running.adapter)))?
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
    use mintgate_domain::ports::{CircuitState, PoolState};
    use mintgate_identity_openid::OpenIdConfigError;
    use mintgate_metrics_prometheus::Dropped;
    use mintgate_metrics_prometheus::PrometheusMetrics;
    use mintgate_testkit::ManualClock;

    use super::*;

    /// One provider of each protocol.
    const TEXT: &str = r#"
[[providers]]
id = "corp"
issuer = "https://idp.example.com"
client_id = "mintgate"
client_secret = "one"
redirect_uris = ["https://app.example.com/callback"]
[[providers]]
id = "hub"
preset = "github"
client_id = "mintgate"
client_secret = "x"
redirect_uris = ["https://app.example.com/callback"]
"#;

    fn settings(text: &str) -> Settings {
        Settings::from_toml(text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn built(
        settings: &Settings,
        running: Option<Running<'_>>,
        metrics: &Arc<PrometheusMetrics>,
    ) -> anyhow::Result<ProviderRegistry> {
        let counted: Arc<dyn Metrics> = metrics.clone();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        providers(settings, running, &clock, &counted)
    }

    fn metrics() -> Arc<PrometheusMetrics> {
        Arc::new(PrometheusMetrics::new("", "").unwrap())
    }

    /// The circuits that are shown.
    fn circuits(metrics: &PrometheusMetrics) -> Vec<String> {
        let text =
            metrics.render(PoolState { idle: 0, in_use: 0 }, &[], Dropped::default()).unwrap();
        let series = text.lines().filter_map(|line| {
            line.strip_prefix("mintgate_provider_circuit_state{provider=\"").map(str::to_owned)
        });
        series.collect()
    }

    #[test]
    fn a_provider_keeps_its_adapter_as_long_as_the_adapter_is_configured_alike() {
        let before = settings(TEXT);
        let metrics = metrics();
        let running = built(&before, None, &metrics).unwrap();
        for (from, to, is_kept) in [
            ("", "", true),
            ("app.example.com", "other.example.com", true),
            ("\"one\"", "\"two\"", false),
            ("\"one\"", "\"one\"\ncircuit_failures = 9", false),
            ("\"one\"", "\"one\"\ntimeout_ms = 4000", false),
            ("\"one\"", "\"one\"\nproxy = \"http://proxy.example.com\"", false),
            ("\"one\"", "\"one\"\nclient_auth = \"client_secret_post\"", false),
            ("https://idp.example.com", "https://idp.example.org", false),
        ] {
            let after = settings(&TEXT.replace(from, to));
            let registry = built(&after, Some((&before, &running)), &metrics).unwrap();
            let is_same = |id| {
                let [one, other] = [&running, &registry].map(|it| &it.find(id).unwrap().adapter);
                Arc::ptr_eq(one, other)
            };
            assert_eq!(is_same("corp"), is_kept, "{to}");
            assert!(is_same("hub"), "{to}");
        }
    }

    #[test]
    fn providers_are_shown_once_they_run_and_an_open_circuit_stays_so() {
        let before = settings(TEXT);
        let metrics = metrics();
        let running = built(&before, None, &metrics).unwrap();
        assert_eq!(circuits(&metrics), [""; 0]);
        metrics.show_providers(&running, &ProviderRegistry::default());
        assert_eq!(circuits(&metrics), ["corp\"} 0", "hub\"} 0"]);

        metrics.provider_circuit(&before.providers[0].policy.id, CircuitState::Open);
        let after = settings(&TEXT.replace("\"hub\"", "\"next\""));
        let registry = built(&after, Some((&before, &running)), &metrics).unwrap();
        assert_eq!(circuits(&metrics), ["corp\"} 2", "hub\"} 0"]);
        metrics.show_providers(&registry, &running);
        assert_eq!(circuits(&metrics), ["corp\"} 2", "next\"} 0"]);
    }

    #[test]
    fn a_provider_that_cannot_work_is_named() {
        let mut settings = settings(TEXT);
        let ProviderConfig::OpenId(config, _) = &mut settings.providers[0].config else {
            panic!("OpenID Connect")
        };
        config.issuer = "ftp://idp.example.com".to_owned();
        let error = built(&settings, None, &metrics()).err().unwrap();
        assert!(matches!(error.downcast_ref(), Some(OpenIdConfigError::Issuer(_))), "{error:#}");
        assert!(error.to_string().contains("corp"), "{error}");
    }
}
