//! The configured providers, as adapters with what is asked of a request before they are.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mintgate_domain::ports::{CircuitState, Clock, IdentityProvider, Metrics};
use mintgate_domain::{
    LoginRequest, ProviderPolicy, ProviderRegistry, RecheckRule, RegisteredProvider, Requirement,
};
use mintgate_identity_openid::{
    GroupOverage, GuardedProvider, OAuth2Config, OAuth2ConfigError, OAuth2Provider, Offline,
    OpenIdConfig, OpenIdConfigError, OpenIdProvider,
};

use crate::settings::{OAuth2Settings, OpenIdSettings, ProviderKind, ProviderSettings, Settings};
use crate::system::OsEntropy;

/// For how long one request alone asks a provider again about a session, and for how long a provider
/// that is down is not asked again.
const LEAST_LEASE: Duration = Duration::from_mins(1);

/// A provider cannot work as configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdapterError {
    /// One that is asked by OpenID Connect.
    #[error(transparent)]
    OpenId(#[from] OpenIdConfigError),
    /// One that is asked by OAuth 2.0 alone.
    #[error(transparent)]
    OAuth2(#[from] OAuth2ConfigError),
}

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
        let adapter = adapter(provider, Arc::clone(clock), Arc::clone(metrics))
            .with_context(|| format!("provider {}", provider.id))?;
        let guarded = GuardedProvider::new(
            provider.id.clone(),
            adapter,
            provider.guard,
            Arc::clone(clock),
            Arc::clone(metrics),
        );
        // Every configured provider has a series from the start.
        metrics.provider_circuit(&provider.id, CircuitState::Closed);
        Ok(RegisteredProvider { policy: policy(provider), adapter: Arc::new(guarded) })
    };
    settings.providers.iter().map(register).collect()
}

/// Whether an adapter accepts a provider's configuration.
pub(crate) fn check(provider: &ProviderSettings) -> Result<(), AdapterError> {
    match &provider.kind {
        ProviderKind::OpenId(openid) => {
            openid_config(provider, openid).check(&openid.dialect)?;
        }
        ProviderKind::OAuth2(oauth2) => oauth2_config(provider, oauth2).check()?,
    }
    Ok(())
}

/// One provider's adapter, without the guard around it.
pub(crate) fn adapter(
    provider: &ProviderSettings,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
) -> Result<Arc<dyn IdentityProvider>, AdapterError> {
    Ok(match &provider.kind {
        ProviderKind::OpenId(openid) => {
            let config = openid_config(provider, openid);
            let dialect = openid.dialect.clone();
            let entropy = Arc::new(OsEntropy);
            Arc::new(OpenIdProvider::with_dialect(config, dialect, clock, entropy, metrics)?)
        }
        ProviderKind::OAuth2(oauth2) => {
            let config = oauth2_config(provider, oauth2);
            Arc::new(OAuth2Provider::new(config, clock, Arc::new(OsEntropy), metrics)?)
        }
    })
}

fn openid_config(provider: &ProviderSettings, openid: &OpenIdSettings) -> OpenIdConfig {
    OpenIdConfig {
        id: provider.id.clone(),
        issuer: provider.issuer.clone(),
        client_id: provider.client_id.clone(),
        client_secret: provider.client_secret.clone(),
        id_token_algorithms: openid.id_token_algorithms.clone(),
        userinfo: openid.userinfo,
        network: provider.network,
    }
}

fn oauth2_config(provider: &ProviderSettings, oauth2: &OAuth2Settings) -> OAuth2Config {
    OAuth2Config {
        id: provider.id.clone(),
        issuer: provider.issuer.clone(),
        client_id: provider.client_id.clone(),
        client_secret: provider.client_secret.clone(),
        client_authentication: oauth2.client_authentication.clone(),
        token_parameters: oauth2.token_parameters.clone(),
        endpoints: oauth2.endpoints.clone(),
        subject: oauth2.subject.clone(),
        claims: oauth2.claims.clone(),
        headers: oauth2.headers.clone(),
        network: provider.network,
    }
}

fn policy(provider: &ProviderSettings) -> ProviderPolicy {
    ProviderPolicy {
        id: provider.id.clone(),
        issuers: provider.issuers(),
        redirect_uris: provider.redirect_uris.clone(),
        pkce: provider.pkce,
        nonce: match &provider.kind {
            ProviderKind::OpenId(openid) => openid.nonce,
            // There is no ID token that could prove one.
            ProviderKind::OAuth2(_) => Requirement::Auto,
        },
        login: login(provider),
        recheck: provider.recheck.map(|every| RecheckRule {
            every,
            // A call waits for its place, and is then made.
            lease: LEAST_LEASE.max((provider.network.timeout + provider.guard.max_wait) * 2),
        }),
    }
}

fn login(provider: &ProviderSettings) -> LoginRequest {
    let mut login = LoginRequest {
        display_name: provider.display_name.clone(),
        client_id: provider.client_id.clone(),
        scopes: provider.scopes.clone(),
        parameters: provider.authorization_parameters.clone(),
        has_id_tokens: provider.has_id_tokens(),
    };
    if let ProviderKind::OpenId(openid) = &provider.kind
        && matches!(openid.dialect.group_overage, GroupOverage::Follow(_))
        && let Some(scope) = provider.preset.group_scope
    {
        add_scope(&mut login.scopes, scope);
    }
    if provider.recheck.is_some() {
        ask_for_refresh_token(&mut login, provider.preset.offline);
    }
    login
}

fn add_scope(scopes: &mut Vec<String>, scope: &str) {
    if !scopes.iter().any(|other| other == scope) {
        scopes.push(scope.to_owned());
    }
}

/// Adds what makes the provider give a refresh token, unless it is there.
fn ask_for_refresh_token(login: &mut LoginRequest, offline: Offline) {
    match offline {
        Offline::Nothing => {}
        Offline::Scope(scope) => add_scope(&mut login.scopes, scope),
        Offline::Parameters(parameters) => {
            for (name, value) in parameters {
                add_parameter(&mut login.parameters, name, value);
            }
        }
    }
}

/// What the configuration says of a parameter stays; `prompt` can say several things at once
/// (OIDC Core §3.1.2.1).
fn add_parameter(parameters: &mut Vec<(String, String)>, name: &str, value: &str) {
    match parameters.iter_mut().find(|(other, _)| other == name) {
        None => parameters.push((name.to_owned(), value.to_owned())),
        Some((_, said)) if name == "prompt" && !said.split(' ').any(|word| word == value) => {
            said.push(' ');
            said.push_str(value);
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::ports::PoolState;
    use mintgate_metrics_prometheus::PrometheusMetrics;
    use mintgate_testkit::ManualClock;

    use super::*;
    use crate::settings::tests::presets::{least, preset};

    fn settings(text: &str) -> Settings {
        Settings::from_toml(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
    }

    /// The policies of a configuration, and what the metrics say then.
    fn built(text: &str) -> (Vec<ProviderPolicy>, String) {
        let metrics = Arc::new(PrometheusMetrics::new("", "").unwrap());
        let counted: Arc<dyn Metrics> = metrics.clone();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        let registry = providers(&settings(text), &clock, &counted).unwrap();
        let text = metrics.render(PoolState { idle: 0, in_use: 0 }, &[]).unwrap();
        (registry.iter().map(|provider| provider.policy.clone()).collect(), text)
    }

    fn policy_of(name: &str, lines: &str) -> ProviderPolicy {
        built(&preset(name, lines)).0.remove(0)
    }

    fn login_when_asked_again(name: &str, lines: &str) -> LoginRequest {
        let keys = format!("[keys]\nencryption_key = \"{}\"\n", "0f".repeat(32));
        let text = format!("{keys}{}", preset(name, &format!("{lines}\nrecheck_secs = 60")));
        built(&text).0.remove(0).login
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn every_preset_is_built_with_a_circuit_that_is_seen_from_the_start() {
        let text: String = least().iter().map(|(name, lines, _)| preset(name, lines)).collect();
        let (policies, metrics) = built(&text);
        for (policy, (name, _, issuer)) in policies.iter().zip(least()) {
            assert_eq!((policy.id.as_str(), &*policy.issuers), (name, &[issuer.to_owned()][..]));
            let has_id_tokens = !["github", "oauth2"].contains(&name);
            assert_eq!(policy.login.has_id_tokens, has_id_tokens, "{name}");
            let series = format!("mintgate_provider_circuit_state{{provider=\"{name}\"}} 0");
            assert!(metrics.lines().any(|line| line == series), "{series}\n{metrics}");
        }
        assert_eq!(policies.len(), least().len());
    }

    #[test]
    fn what_is_configured_is_what_a_request_is_held_to() {
        let lines = "issuer = \"https://idp.example.com\"\ndisplay_name = \"Staff\"\n\
                     pkce = \"required\"\nnonce = \"required\"\nscopes = [\"openid\", \"x\"]\n\
                     authorization_params = [\"prompt=login\"]";
        let policy = policy_of("oidc", lines);
        assert_eq!(policy.redirect_uris, ["https://app.example.com/callback"]);
        assert_eq!((policy.pkce, policy.nonce), (Requirement::Required, Requirement::Required));
        assert_eq!(policy.recheck, None);
        let login = LoginRequest {
            display_name: "Staff".to_owned(),
            client_id: "mintgate".to_owned(),
            scopes: vec!["openid".to_owned(), "x".to_owned()],
            parameters: pairs(&[("prompt", "login")]),
            has_id_tokens: true,
        };
        assert_eq!(policy.login, login);
    }

    #[test]
    fn case_31_a_login_asks_for_what_following_group_overage_needs() {
        let tenant = "tenant = \"72f988bf-86f1-41af-91ab-2d7cd011db47\"";
        let scopes = |lines: &str| policy_of("entra", &format!("{tenant}\n{lines}")).login.scopes;
        assert_eq!(scopes(""), ["openid", "profile", "email"]);
        let follow = "group_overage = \"follow\"";
        assert_eq!(scopes(follow), ["openid", "profile", "email", "User.Read"]);
        let said = format!("{follow}\nscopes = [\"User.Read\", \"openid\"]");
        assert_eq!(scopes(&said), ["User.Read", "openid"]);
    }

    #[test]
    fn a_login_asks_for_a_refresh_token_where_the_provider_is_to_be_asked_again() {
        let okta = "domain = \"x.okta.com\"";
        let without = policy_of("okta", okta).login;
        assert_eq!(without.scopes, ["openid", "profile", "email"]);
        let with = login_when_asked_again("okta", okta);
        assert_eq!(with.scopes, ["openid", "profile", "email", "offline_access"]);
        let said = format!("{okta}\nscopes = [\"offline_access\", \"openid\"]");
        assert_eq!(login_when_asked_again("okta", &said).scopes, ["offline_access", "openid"]);
        // A scope that a provider does not know would be an error there.
        assert_eq!(login_when_asked_again("gitlab", "").scopes, ["openid", "profile", "email"]);

        let google = login_when_asked_again("google", "");
        let asked = [("access_type", "offline"), ("prompt", "consent")];
        assert_eq!(google.parameters, pairs(&asked));
        assert_eq!(google.scopes, ["openid", "profile", "email"]);
        let said = "authorization_params = [\"prompt=select_account\"]";
        let google = login_when_asked_again("google", said);
        let asked = [("prompt", "select_account consent"), ("access_type", "offline")];
        assert_eq!(google.parameters, pairs(&asked));
    }

    #[test]
    fn a_provider_that_cannot_work_is_named() {
        let mut settings = settings(&preset("google", ""));
        settings.providers[0].issuer = "ftp://idp.example.com".to_owned();
        let metrics: Arc<dyn Metrics> = Arc::new(PrometheusMetrics::new("", "").unwrap());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
        let error = providers(&settings, &clock, &metrics).err().unwrap();
        assert!(format!("{error:#}").starts_with("provider google: the issuer must be https"));
    }
}
