//! The use cases, put together from the settings and what they share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use mintgate_domain::ports::{Clock, Metrics, RefreshTokenRepo};
use mintgate_domain::{
    BeginLogin, Identities, IssueTokens, IssueTokensConfig, IssueTokensPorts, OwnSessions,
    ProviderLogout, Recheck, RefreshConfig, RefreshPorts, RefreshSession, RoleDecider, RoleLookup,
    RolePolicy, SignIn,
};
use mintgate_role_directory_http::{HttpRoleDirectory, RoleDirectoryConfig};
use mintgate_signer_jose::{JoseTokens, KeyRing, TokensConfig};
use tokio::runtime::Handle;

use crate::http::{AppParts, HttpCookiePolicy};
use crate::keys::{self, KeyTrouble};
use crate::metrics::PrometheusMetrics;
use crate::providers::providers;
use crate::settings::Settings;
use crate::store::Store;
use crate::system::OsEntropy;

/// What most parts are made from.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) sessions: Arc<dyn RefreshTokenRepo>,
    pub(crate) cookies: Arc<HttpCookiePolicy>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<PrometheusMetrics>,
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) key_trouble: Arc<KeyTrouble>,
}

/// The use cases and ports behind the routes.
///
/// # Errors
/// If a provider, the role lookup or the seal cannot work as configured.
pub(crate) fn parts(settings: &Settings, shared: &Shared) -> anyhow::Result<AppParts> {
    let Shared { store, sessions, cookies, clock, metrics, ring, .. } = shared;
    let config = TokensConfig {
        issuer: settings.tokens.issuer.clone(),
        audience: settings.tokens.audience.clone(),
    };
    let tokens = Arc::new(JoseTokens::new(config, Arc::clone(ring))?);
    let counted: Arc<dyn Metrics> = metrics.clone();
    let registry = providers(settings, clock, &counted)?;
    let rechecks = registry.iter().any(|provider| provider.policy.recheck.is_some());
    let sign_in = Arc::new(SignIn::new(registry, Arc::clone(clock), Arc::clone(&counted)));
    let roles = role_decider(settings, clock)?;
    let seal = if rechecks { Some(keys::token_seal(settings)?) } else { None };
    let recheck = seal.clone().map(|seal| {
        let tokens = store.upstream_tokens();
        Arc::new(Recheck::new(Arc::clone(&sign_in), tokens, seal, Arc::clone(&counted)))
    });
    let issue_ports = IssueTokensPorts {
        sign_in: Arc::clone(&sign_in),
        roles: roles.clone(),
        seal,
        users: store.users(),
        sessions: Arc::clone(sessions),
        signer: tokens.clone(),
        cookies: cookies.clone(),
        clock: Arc::clone(clock),
        entropy: Arc::new(OsEntropy),
        metrics: Arc::clone(&counted),
    };
    let refresh_ports = RefreshPorts {
        sessions: Arc::clone(sessions),
        roles,
        recheck,
        verifier: tokens.clone(),
        signer: tokens.clone(),
        cookies: cookies.clone(),
        clock: Arc::clone(clock),
        entropy: Arc::new(OsEntropy),
        metrics: Arc::clone(&counted),
    };
    let own_sessions = Arc::new(OwnSessions {
        sessions: Arc::clone(sessions),
        verifier: tokens.clone(),
        clock: Arc::clone(clock),
        metrics: Arc::clone(&counted),
    });
    let begin_login = BeginLogin {
        sign_in: Arc::clone(&sign_in),
        clock: Arc::clone(clock),
        entropy: Arc::new(OsEntropy),
        ttl: settings.login.ttl,
    };
    let identities = Identities {
        own_sessions: Arc::clone(&own_sessions),
        sign_in: Arc::clone(&sign_in),
        users: store.users(),
        clock: Arc::clone(clock),
        metrics: Arc::clone(&counted),
    };
    let provider_logout = ProviderLogout {
        sign_in,
        sessions: Arc::clone(sessions),
        clock: Arc::clone(clock),
        metrics: counted,
    };
    Ok(AppParts {
        begin_login: Arc::new(begin_login),
        issue: Arc::new(IssueTokens::new(issue_ports, issue_config(settings))),
        refresh: Arc::new(RefreshSession::new(refresh_ports, refresh_config(settings))),
        own_sessions,
        identities: Arc::new(identities),
        provider_logout: Arc::new(provider_logout),
        runtime: Handle::current(),
        public_keys: tokens,
        cookies: cookies.clone(),
        metrics: metrics.clone(),
        clock: Arc::clone(clock),
        entropy: Arc::new(OsEntropy),
    })
}

fn role_decider(settings: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<RoleDecider> {
    let policy =
        RolePolicy { default: settings.roles.default.clone(), rules: settings.roles.rules.clone() };
    let Some(lookup) = &settings.roles.lookup else {
        return Ok(RoleDecider { policy, lookup: None });
    };
    let config = RoleDirectoryConfig {
        url: lookup.url.clone(),
        token: lookup.token.clone(),
        timeout: lookup.timeout,
        cache: lookup.cache,
    };
    let directory = HttpRoleDirectory::new(config, Arc::clone(clock)).context("roles.lookup")?;
    let on_failure = lookup.on_failure;
    Ok(RoleDecider {
        policy,
        lookup: Some(RoleLookup { directory: Arc::new(directory), on_failure }),
    })
}

fn issue_config(settings: &Settings) -> IssueTokensConfig {
    IssueTokensConfig {
        access_ttl: settings.tokens.access_ttl,
        refresh_ttl: settings.tokens.refresh_ttl,
        session_ttl: settings.tokens.session_ttl,
        body_delivery: settings.tokens.body_delivery,
        extra_claims: settings.tokens.extra_claims.clone(),
    }
}

fn refresh_config(settings: &Settings) -> RefreshConfig {
    RefreshConfig {
        access_ttl: settings.tokens.access_ttl,
        refresh_ttl: settings.tokens.refresh_ttl,
        session_ttl: settings.tokens.session_ttl,
        grace: settings.refresh.grace,
        grace_replays: settings.refresh.grace_replays,
        lost_answer: settings.refresh.lost_answer,
        body_delivery: settings.tokens.body_delivery,
        decides_roles: settings.roles.at_refresh,
    }
}
