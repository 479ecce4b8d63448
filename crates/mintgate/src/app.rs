//! The composition root: settings become adapters, adapters become a running service.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpServer, middleware};
use anyhow::Context as _;
use mintgate_domain::ports::{Clock, Metrics};
use mintgate_domain::{
    IssueTokens, IssueTokensConfig, IssueTokensPorts, ProviderPolicy, ProviderRegistry,
    RegisteredProvider, RolePolicy,
};
use mintgate_identity_openid::{OpenIdConfig, OpenIdProvider};
use mintgate_signer_jose::{JoseTokenSigner, KeyDirectory, KeyRole, SignerConfig, SigningKey};
use tokio::runtime::Handle;

use crate::http::{self, AppParts, AppState, HttpCookiePolicy};
use crate::metrics::PrometheusMetrics;
use crate::ops::{self, OpsState};
use crate::settings::{ProviderSettings, Settings};
use crate::store::Store;
use crate::system::{OsEntropy, SystemClock};

/// How long requests in flight may take to finish once the process is asked to stop.
const DRAIN_SECS: u64 = 10;
/// Longer than the idle timeout of common load balancers (60 s), so that they close first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A service that listens and is ready to run.
pub struct Application {
    public: Server,
    public_address: SocketAddr,
    ops: Server,
    ops_address: SocketAddr,
    draining: Arc<AtomicBool>,
}

impl Application {
    /// Builds the service; it listens from here on. The Tokio runtime this is called on is where
    /// use cases will run, so it should have several threads and must outlive the service.
    ///
    /// # Errors
    /// If keys cannot be loaded or made, or an address cannot be listened on. A store or a
    /// provider that is down is no error: the service waits for them.
    pub async fn build(settings: Settings) -> anyhow::Result<Self> {
        Self::build_with(settings, |_| ()).await
    }

    /// [`build`](Self::build) with more routes on the public listener.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub async fn build_with<F>(settings: Settings, more_routes: F) -> anyhow::Result<Self>
    where
        F: Fn(&mut ServiceConfig) + Send + Clone + 'static,
    {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let revision = option_env!("MINTGATE_REVISION").unwrap_or("unknown");
        let metrics = Arc::new(PrometheusMetrics::new(env!("CARGO_PKG_VERSION"), revision)?);
        let draining = Arc::new(AtomicBool::new(false));

        let store = Store::open(&settings.store, metrics.clone(), Arc::clone(&clock))?;
        if let Err(error) = store.health().check().await {
            tracing::warn!(%error, "the store is not ready yet");
        }
        let signer = Arc::new(JoseTokenSigner::new(SignerConfig {
            issuer: settings.tokens.issuer.clone(),
            audience: settings.tokens.audience.clone(),
            access: signing_key(&settings, KeyRole::Access)?,
            refresh: signing_key(&settings, KeyRole::Refresh)?,
        })?);
        let cookies =
            Arc::new(HttpCookiePolicy::new(&settings.cookies, &settings.server.public_url));
        let issue_ports = IssueTokensPorts {
            providers: providers(&settings, &clock, &metrics)?,
            users: store.users(),
            sessions: store.sessions(),
            signer: signer.clone(),
            cookies: cookies.clone(),
            clock: Arc::clone(&clock),
            entropy: Arc::new(OsEntropy),
            metrics: metrics.clone(),
        };
        let parts = AppParts {
            issue: Arc::new(IssueTokens::new(issue_ports, issue_config(&settings))),
            runtime: Handle::current(),
            public_keys: signer,
            cookies,
            metrics: metrics.clone(),
            clock,
            entropy: Arc::new(OsEntropy),
        };
        let state = Data::new(AppState::new(parts, &settings));
        let ops_state =
            Data::new(OpsState { store: store.health(), metrics, draining: Arc::clone(&draining) });

        let (public_listener, public_address) = listen(settings.server.listen, "server.listen")?;
        let (ops_listener, ops_address) = listen(settings.ops.listen, "ops.listen")?;
        let mut public = HttpServer::new(move || {
            App::new()
                .app_data(state.clone())
                .wrap(middleware::from_fn(http::envelope))
                .configure(more_routes.clone())
                .configure(http::routes)
        })
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(settings.limits.request_timeout)
        .shutdown_timeout(DRAIN_SECS)
        .disable_signals();
        if settings.server.workers > 0 {
            public = public.workers(settings.server.workers);
        }
        let ops =
            HttpServer::new(move || App::new().app_data(ops_state.clone()).configure(ops::routes))
                .workers(1)
                .shutdown_timeout(1)
                .disable_signals()
                .listen(ops_listener)?
                .run();
        Ok(Self {
            public: public.listen(public_listener)?.run(),
            public_address,
            ops,
            ops_address,
            draining,
        })
    }

    /// Where the public listener is.
    pub fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    /// Where the operations listener is.
    pub fn ops_address(&self) -> SocketAddr {
        self.ops_address
    }

    /// Serves until `stop` completes, then finishes what is in flight: readiness says no at
    /// once, no connection is accepted any more, and after ten seconds at most it returns.
    ///
    /// # Errors
    /// If a listener fails.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tracing::info!(public = %self.public_address, ops = %self.ops_address, "listening");
        let (public, ops) = (self.public.handle(), self.ops.handle());
        let ops_task = tokio::spawn(self.ops);
        let mut serving = pin!(self.public);
        tokio::select! {
            ended = &mut serving => ended?,
            () = stop => {
                tracing::info!("stopping: finishing the requests in flight");
                self.draining.store(true, Ordering::Relaxed);
                let (ended, ()) = tokio::join!(serving, public.stop(true));
                ended?;
            }
        }
        ops.stop(false).await;
        ops_task.await??;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Completes when the process gets SIGTERM or SIGINT.
///
/// # Errors
/// If signals cannot be listened to.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Brings the store's schema up to date; the names of the migrations run.
///
/// # Errors
/// If the store cannot be reached or a migration fails.
pub async fn migrate(settings: &Settings) -> anyhow::Result<Vec<String>> {
    schema_of(settings)?.migrate().await.context("store.url")
}

/// The names of the migrations that [`migrate`] would run.
///
/// # Errors
/// If the store cannot be reached.
pub async fn pending_migrations(settings: &Settings) -> anyhow::Result<Vec<String>> {
    schema_of(settings)?.pending_migrations().await.context("store.url")
}

fn schema_of(settings: &Settings) -> anyhow::Result<Store> {
    let metrics = Arc::new(PrometheusMetrics::new("", "")?);
    Store::open(&settings.store, metrics, Arc::new(SystemClock::new()))
}

fn listen(address: SocketAddr, key: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address} ({key}); is something else there?"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn issue_config(settings: &Settings) -> IssueTokensConfig {
    IssueTokensConfig {
        access_ttl: settings.tokens.access_ttl,
        refresh_ttl: settings.tokens.refresh_ttl,
        session_ttl: settings.tokens.session_ttl,
        body_delivery: settings.tokens.body_delivery,
        roles: RolePolicy {
            default: settings.roles.default.clone(),
            rules: settings.roles.rules.clone(),
        },
        extra_claims: settings.tokens.extra_claims.clone(),
    }
}

/// The configured key, else the one in the key directory, made if there is none.
fn signing_key(settings: &Settings, role: KeyRole) -> anyhow::Result<SigningKey> {
    let (name, given, algorithm) = match role {
        KeyRole::Access => {
            ("keys.access_key", &settings.keys.access_key, settings.tokens.algorithm)
        }
        KeyRole::Refresh => {
            ("keys.refresh_key", &settings.keys.refresh_key, settings.tokens.refresh_algorithm)
        }
    };
    if let Some(text) = given {
        return SigningKey::from_text(text, algorithm).context(name);
    }
    let directory = KeyDirectory::open_or_create(&settings.keys.dir)?;
    let stored = directory.load_or_create(role, algorithm)?;
    if stored.created {
        let (dir, kid) = (settings.keys.dir.display(), stored.key.id());
        tracing::info!(%dir, %kid, "{name}: a new {algorithm} key was made");
    }
    Ok(stored.key)
}

fn providers(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<PrometheusMetrics>,
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
            Arc::clone(metrics) as Arc<dyn Metrics>,
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
