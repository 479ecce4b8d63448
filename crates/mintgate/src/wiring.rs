//! The composition root: builds the use cases and the HTTP adapter's needs from the settings and the
//! adapters.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mintgate_audit::AuditTrail;
use mintgate_domain::model::{Actor, CountDigest};
use mintgate_domain::ports::{Clock, Metrics, RunningConfiguration};
use mintgate_domain::{
    AppAccess, BeginLogin, Explain, FollowRevocations, Identities, Introspection, IssueTokens,
    IssueTokensConfig, IssueTokensPorts, KeptTokens, OwnSessions, ProviderLogout, ProviderRegistry,
    Recheck, RefreshConfig, RefreshPorts, RefreshSession, RenewalPorts, Renewals, RoleDecider,
    RoleLookup, RolePolicy, SignIn, SignOut,
};
use mintgate_http_actix::{
    AdminApi, AppState, ConnectionChange, CookieConfig, CurrentState, Gateway, HintCookie,
    HostedPages, HttpConfig, HttpCookiePolicy, HttpMetrics, HttpPorts, Limit, LimitResult, Limits,
    PageLanguage, PageLogo, RateLimits, SameSite, Stopping, UseCases, descriptors,
};
use mintgate_metrics_prometheus::PrometheusMetrics;
use mintgate_role_directory_http::{HttpRoleDirectory, RoleDirectoryConfig};
use mintgate_service_manager::ServiceManager;
use mintgate_signer_jose::{Algorithm, JoseTokens, KeyRing, KeyRingStatus, Presence, TokensConfig};
use tokio::runtime::Handle;

use crate::background::Lingering;
use crate::certificates::Certificates;
use crate::keys;
use crate::operations::ServiceOperations;
use crate::providers::{Running, providers};
use crate::reload::Reload;
use crate::settings::{self, Settings};
use crate::store::Store;
use crate::system::OsEntropy;

/// The adapters that several parts of the service share.
pub(crate) struct Adapters {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<PrometheusMetrics>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) key_status: Arc<KeyRingStatus>,
    pub(crate) presence: Arc<Presence>,
    /// What the listeners present, if they speak TLS.
    pub(crate) certificates: Certificates,
    pub(crate) audit: Arc<AuditTrail>,
    /// Runs work that outlives its request.
    pub(crate) lingering: Arc<Lingering>,
    /// How far the service is on the way to its end.
    pub(crate) stopping: Arc<Stopping>,
    pub(crate) manager: Arc<ServiceManager>,
}

impl Adapters {
    fn counted(&self) -> Arc<dyn Metrics> {
        self.metrics.clone()
    }

    /// The configured providers, with the adapters of those that run as far as they can be kept.
    pub(crate) fn providers(
        &self,
        settings: &Settings,
        running: Option<Running<'_>>,
    ) -> anyhow::Result<ProviderRegistry> {
        providers(settings, running, &self.clock, &self.counted())
    }

    /// The implementation of the operations listener's port.
    pub(crate) fn operations(&self, reload: Arc<Reload>) -> Arc<ServiceOperations> {
        Arc::new(ServiceOperations {
            reload: Some(reload),
            store: self.store.health.clone(),
            keys: Arc::clone(&self.keys),
            key_status: Arc::clone(&self.key_status),
            presence: Arc::clone(&self.presence),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            stopping: Arc::clone(&self.stopping),
        })
    }
}

/// The state of the public listener's handlers: configuration, use cases and ports.
///
/// # Errors
/// If the role lookup or the encryption of providers' tokens cannot work as configured.
pub(crate) fn app_state(
    settings: &Settings,
    registry: ProviderRegistry,
    adapters: &Adapters,
) -> anyhow::Result<AppState> {
    let config = TokensConfig {
        issuer: settings.tokens.issuer.clone(),
        audience: settings.tokens.audience.clone(),
        client_id: settings.tokens.client_id.clone(),
    };
    let tokens = Arc::new(JoseTokens::new(config, Arc::clone(&adapters.keys))?);
    let config = http_config(settings);
    let cookies = Arc::new(HttpCookiePolicy::new(&config.cookies, &config.public_url));
    let use_cases = use_cases(settings, registry, adapters, &tokens, &cookies)?;
    let ports = HttpPorts {
        runtime: Handle::current(),
        public_keys: tokens,
        cookies,
        metrics: Arc::new(RequestCounters::new(Arc::clone(&adapters.metrics))),
        clock: Arc::clone(&adapters.clock),
        entropy: Arc::new(OsEntropy),
        stopping: Arc::clone(&adapters.stopping),
    };
    Ok(AppState::new(config, use_cases, ports))
}

/// The admin API of the operations listener; `None` if nobody may use it.
pub(crate) fn admin_api(
    settings: &Settings,
    adapters: &Adapters,
    public: Arc<CurrentState>,
    configuration: Arc<dyn RunningConfiguration>,
) -> Option<Arc<AdminApi>> {
    let tokens = settings.admin.tokens.clone();
    if tokens.is_empty() && !settings.ops.takes_certificates() {
        return None;
    }
    let (clock, metrics) = (Arc::clone(&adapters.clock), adapters.counted());
    let access_ttl = settings.tokens.access_ttl;
    Some(Arc::new(AdminApi {
        explain: Explain {
            administration: adapters.store.administration(
                access_ttl,
                Arc::clone(&clock),
                metrics,
                adapters.audit.clone(),
                Actor::Service,
            ),
            review: adapters.store.audit_review(settings.audit.keys(&settings.keys)),
        },
        tokens,
        certificates_may_write: settings.ops.certificates_may_write,
        hosts: settings.admin.hosts.clone(),
        runtime: Handle::current(),
        clock,
        entropy: Arc::new(OsEntropy),
        counts: adapters.metrics.clone(),
        keys: adapters.keys.clone(),
        configuration,
        public,
    }))
}

fn use_cases(
    settings: &Settings,
    registry: ProviderRegistry,
    adapters: &Adapters,
    tokens: &Arc<JoseTokens>,
    cookies: &Arc<HttpCookiePolicy>,
) -> anyhow::Result<UseCases> {
    let Adapters { store, clock, .. } = adapters;
    let metrics = adapters.counted();
    let rechecks = registry.iter().any(|provider| provider.policy.recheck.is_some());
    let keeps_access = registry.iter().any(|provider| provider.policy.access.is_some());
    let keeps_id_tokens = registry.iter().any(|provider| provider.policy.logout.keeps_id_token);
    let sign_in = Arc::new(SignIn::new(
        registry,
        settings.login.ttl,
        Arc::clone(clock),
        Arc::clone(&metrics),
    ));
    let roles = role_decider(settings, clock)?;
    let kept = if rechecks || keeps_id_tokens || keeps_access {
        let repo = Arc::clone(&store.upstream_tokens);
        Some(KeptTokens { repo, seal: keys::token_seal(settings)? })
    } else {
        None
    };
    let renewals = kept.clone().filter(|_| rechecks || keeps_access).map(|kept| {
        let ports = RenewalPorts {
            sessions: Arc::clone(&store.sessions.repo),
            kept,
            background: adapters.lingering.clone(),
            metrics: Arc::clone(&metrics),
            audit: adapters.audit.clone(),
        };
        Arc::new(Renewals::new(ports))
    });
    let recheck = renewals.clone().filter(|_| rechecks);
    let recheck = recheck.map(|renewals| Arc::new(Recheck::new(Arc::clone(&sign_in), renewals)));
    let app_access = app_access(adapters, &sign_in, renewals, &roles.policy);
    let issue_ports = IssueTokensPorts {
        sign_in: Arc::clone(&sign_in),
        roles: roles.clone(),
        kept: kept.clone(),
        sessions: store.sessions.clone(),
        people: Arc::clone(&store.import),
        signer: tokens.clone(),
        cookies: cookies.clone(),
        clock: Arc::clone(clock),
        entropy: Arc::new(OsEntropy),
        metrics: Arc::clone(&metrics),
        audit: adapters.audit.clone(),
    };
    let refresh_ports = RefreshPorts {
        sessions: store.sessions.clone(),
        roles,
        recheck,
        verifier: tokens.clone(),
        signer: tokens.clone(),
        cookies: cookies.clone(),
        clock: Arc::clone(clock),
        entropy: Arc::new(OsEntropy),
        metrics: Arc::clone(&metrics),
        audit: adapters.audit.clone(),
    };
    let begin_login = begin_login(&sign_in, clock);
    let own_sessions = Arc::new(OwnSessions {
        sessions: store.sessions.clone(),
        verifier: tokens.clone(),
        clock: Arc::clone(clock),
        profile: settings.users.profile.clone(),
        metrics: Arc::clone(&metrics),
        audit: adapters.audit.clone(),
    });
    let identities = Identities {
        own_sessions: Arc::clone(&own_sessions),
        sign_in: Arc::clone(&sign_in),
        sessions: store.sessions.clone(),
        clock: Arc::clone(clock),
        metrics: Arc::clone(&metrics),
        audit: adapters.audit.clone(),
    };
    let sign_out =
        SignOut { own_sessions: Arc::clone(&own_sessions), sign_in: Arc::clone(&sign_in), kept };
    let provider_logout = ProviderLogout {
        sign_in,
        sessions: store.sessions.clone(),
        clock: Arc::clone(clock),
        metrics,
        audit: adapters.audit.clone(),
    };
    let refresh_session = Arc::new(RefreshSession::new(refresh_ports, refresh_config(settings)));
    let introspection = Introspection {
        own_sessions: Arc::clone(&own_sessions),
        refresh_session: Arc::clone(&refresh_session),
    };
    Ok(UseCases {
        begin_login: Arc::new(begin_login),
        issue_tokens: Arc::new(IssueTokens::new(issue_ports, issue_config(settings))),
        refresh_session,
        own_sessions,
        sign_out: Arc::new(sign_out),
        identities: Arc::new(identities),
        app_access: Arc::new(app_access),
        introspection: Arc::new(introspection),
        revocations: revocations(settings, adapters, tokens),
        provider_logout: Arc::new(provider_logout),
    })
}

/// `None` if nobody else can verify what the access keys sign.
fn revocations(
    settings: &Settings,
    adapters: &Adapters,
    tokens: &Arc<JoseTokens>,
) -> Option<Arc<FollowRevocations>> {
    (settings.tokens.algorithm != Algorithm::Hs256).then(|| {
        Arc::new(FollowRevocations {
            log: Arc::clone(&adapters.store.revocations),
            signer: tokens.clone(),
            clock: Arc::clone(&adapters.clock),
        })
    })
}

fn app_access(
    adapters: &Adapters,
    sign_in: &Arc<SignIn>,
    renewals: Option<Arc<Renewals>>,
    roles: &RolePolicy,
) -> AppAccess {
    AppAccess {
        sessions: adapters.store.sessions.clone(),
        sign_in: Arc::clone(sign_in),
        renewals,
        roles: roles.clone(),
        background: adapters.lingering.clone(),
        clock: Arc::clone(&adapters.clock),
        metrics: adapters.counted(),
    }
}

fn begin_login(sign_in: &Arc<SignIn>, clock: &Arc<dyn Clock>) -> BeginLogin {
    let (sign_in, clock) = (Arc::clone(sign_in), Arc::clone(clock));
    BeginLogin { sign_in, clock, entropy: Arc::new(OsEntropy) }
}

/// The series about HTTP requests, as the HTTP adapter wants to count them.
struct RequestCounters(Arc<PrometheusMetrics>);

impl RequestCounters {
    fn new(metrics: Arc<PrometheusMetrics>) -> Self {
        for (limit, result) in Limit::ALL.iter().flat_map(|it| LimitResult::ALL.map(|r| (it, r))) {
            metrics.expect_rate_limit(limit.name(), result.name());
        }
        Self(metrics)
    }
}

impl HttpMetrics for RequestCounters {
    fn http_request(&self, route: &str, method: &str, status: &str, took: Duration) {
        self.0.http_request(route, method, status, took);
    }

    fn connection(&self, change: ConnectionChange) {
        match change {
            ConnectionChange::Opened => self.0.connection_opened(),
            ConnectionChange::Closed => self.0.connection_closed(),
            ConnectionChange::Refused => self.0.connection_shed(true),
            ConnectionChange::ClosedForRoom => self.0.connection_shed(false),
        }
    }

    fn revocation_stream(&self, is_open: bool) {
        self.0.revocation_stream(is_open);
    }

    fn revocations_told(&self, count: usize) {
        self.0.revocations_told(count);
    }

    fn rate_limit(&self, limit: Limit, result: LimitResult) {
        self.0.rate_limit(limit.name(), result.name());
    }
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
        former_ids_claim: settings.tokens.former_ids_claim.clone(),
        admission: settings.users.admission.clone(),
        profile: settings.users.profile.clone(),
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
        newer_token: settings.refresh.newer_token,
        body_delivery: settings.tokens.body_delivery,
        decides_roles: settings.roles.at_refresh,
    }
}

fn gateway(settings: &settings::GatewaySettings) -> Gateway {
    let settings::GatewaySettings { name, roles, redirects } = settings.clone();
    Gateway { name, roles, redirects }
}

/// The digests of what is counted: all replicas have the encryption key of the signing keys, if there is one.
fn count_digest(settings: &Settings) -> CountDigest {
    let secret = settings.keys.encryption_key.as_ref();
    secret.map_or_else(CountDigest::unkeyed, CountDigest::derived)
}

fn hosted_pages(pages: &settings::HostedPageSettings) -> HostedPages {
    let settings::HostedPageSettings { name, home, language, languages, stylesheet, logo } =
        pages.clone();
    let languages = languages.into_iter().map(|(tag, texts)| PageLanguage { tag, texts });
    HostedPages {
        name,
        home,
        language,
        languages: languages.collect(),
        stylesheet,
        logo: logo.map(|logo| PageLogo { media_type: logo.media_type, bytes: logo.bytes }),
    }
}

fn http_config(settings: &Settings) -> HttpConfig {
    let Settings { server, cookies, limits, .. } = settings;
    HttpConfig {
        public_url: server.public_url.clone(),
        issuer: settings.tokens.issuer.clone(),
        allowed_origins: settings.cors.allowed_origins.clone(),
        return_origins: settings.pages.return_origins.clone(),
        trusted_proxies: server.trusted_proxies.clone(),
        trusted_callers: settings.telemetry.trusted_callers.clone(),
        cookies: CookieConfig {
            access_name: cookies.access_name.clone(),
            refresh_name: cookies.refresh_name.clone(),
            same_site: match cookies.same_site {
                settings::SameSite::Strict => SameSite::Strict,
                settings::SameSite::Lax => SameSite::Lax,
                settings::SameSite::None => SameSite::None,
            },
            domain: cookies.domain.clone(),
            partitioned: cookies.partitioned,
            refresh_path: cookies.refresh_path.clone(),
            secure: cookies.secure,
            hint: cookies.hint.then(|| HintCookie { domain: cookies.hint_domain.clone() }),
        },
        limits: Limits {
            request_timeout: limits.request_timeout,
            max_header_bytes: limits.max_header_bytes,
            max_connections: descriptors::affordable(limits.max_connections),
            max_in_flight: limits.max_in_flight,
            max_sign_ins: limits.max_sign_ins,
            max_revocation_streams: limits.max_revocation_streams,
            max_slow_bodies: limits.max_slow_bodies,
        },
        rate_limits: RateLimits {
            logins_per_minute: limits.rate.logins_per_minute,
            sign_ins_per_minute: limits.rate.sign_ins_per_minute,
            refused_sign_ins_per_minute: limits.rate.refused_sign_ins_per_minute,
            provider_sign_ins_per_minute: limits.rate.provider_sign_ins_per_minute,
            refused_refreshes_per_minute: limits.rate.refused_refreshes_per_minute,
            refused_logout_tokens_per_minute: limits.rate.refused_logout_tokens_per_minute,
            session_refreshes_per_minute: limits.rate.session_refreshes_per_minute,
            refused_admin_tokens_per_minute: limits.rate.refused_admin_tokens_per_minute,
            exempt: limits.rate.exempt.clone(),
            shared: limits.rate.shared.then(|| count_digest(settings)),
        },
        clients: settings.clients.clone(),
        gateways: settings.gateways.iter().map(gateway).collect(),
        login_address: settings.login_address(),
        hosted: settings.pages.hosted.as_ref().map(hosted_pages),
        workers: server.workers,
    }
}
