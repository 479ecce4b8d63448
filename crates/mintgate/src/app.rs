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
use mintgate_domain::ports::{Clock, RefreshTokenRepo};
use tokio::runtime::Handle;

use crate::background::{Background, CleanUp, KeyCare};
use crate::http::{self, AppState, HttpCookiePolicy};
use crate::keys::{self, KeyTrouble};
use crate::metrics::PrometheusMetrics;
use crate::ops::{self, OpsState};
use crate::parts::{Shared, parts};
use crate::settings::Settings;
use crate::store::Store;
use crate::system::SystemClock;

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
    chores: Chores,
}

/// Parts that somebody brings along; for tests.
#[derive(Default)]
pub struct Overrides {
    /// In place of the machine's clock.
    pub clock: Option<Arc<dyn Clock>>,
    /// Puts something between the use cases and where sessions are kept.
    pub sessions: Option<WrapSessions>,
}

/// Makes another session store of the real one.
pub type WrapSessions =
    Box<dyn FnOnce(Arc<dyn RefreshTokenRepo>) -> Arc<dyn RefreshTokenRepo> + Send>;

impl Application {
    /// Builds the service; it listens from here on. The Tokio runtime this is called on is where
    /// use cases will run, so it should have several threads and must outlive the service.
    ///
    /// # Errors
    /// If keys cannot be read or made, or an address cannot be listened on. A store or a provider
    /// that is down is no error: the service waits for them.
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
        Self::build_overridden(settings, Overrides::default(), more_routes).await
    }

    /// [`build_with`](Self::build_with) some parts replaced.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub async fn build_overridden<F>(
        settings: Settings,
        overrides: Overrides,
        more_routes: F,
    ) -> anyhow::Result<Self>
    where
        F: Fn(&mut ServiceConfig) + Send + Clone + 'static,
    {
        let clock = overrides.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let revision = option_env!("MINTGATE_REVISION").unwrap_or("unknown");
        let metrics = Arc::new(PrometheusMetrics::new(env!("CARGO_PKG_VERSION"), revision)?);
        let draining = Arc::new(AtomicBool::new(false));
        for warning in keys::warnings(&settings) {
            tracing::warn!("{warning}");
        }

        let store = Store::open(&settings.store, metrics.clone(), Arc::clone(&clock))?;
        if let Err(error) = store.health().check().await {
            tracing::warn!(%error, "the store is not ready yet");
        }
        let ring = keys::open(&settings, &store, Arc::clone(&clock))?;
        let key_trouble = Arc::new(KeyTrouble::default());
        keys::start(&settings, &ring, &*store.housekeeping(), &key_trouble).await?;
        let cookies =
            Arc::new(HttpCookiePolicy::new(&settings.cookies, &settings.server.public_url));
        let sessions = match overrides.sessions {
            Some(wrap) => wrap(store.sessions()),
            None => store.sessions(),
        };
        let shared =
            Shared { store, sessions, cookies, clock, metrics, draining, ring, key_trouble };
        let state = Data::new(AppState::new(parts(&settings, &shared)?, &settings));
        let chores = Chores::new(&settings, &shared);
        let ops_state = Data::new(OpsState {
            store: shared.store.health(),
            keys: shared.ring,
            key_trouble: shared.key_trouble,
            clock: shared.clock,
            metrics: shared.metrics,
            draining: Arc::clone(&shared.draining),
        });

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
            draining: shared.draining,
            chores,
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

    /// Serves, and does what is to be done beside that, until `stop` completes; then finishes what is
    /// in flight: readiness says no at once, no connection is accepted any more, and after ten
    /// seconds at most, or two more for a round of background work, it returns.
    ///
    /// # Errors
    /// If a listener fails.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        tracing::info!(public = %self.public_address, ops = %self.ops_address, "listening");
        let (public, ops) = (self.public.handle(), self.ops.handle());
        let ops_task = tokio::spawn(self.ops);
        let mut serving = pin!(self.public);
        let background = self.chores.begin();
        tokio::select! {
            ended = &mut serving => ended?,
            () = stop => {
                tracing::info!("stopping: finishing the requests in flight");
                self.draining.store(true, Ordering::Relaxed);
                background.stop();
                let (ended, ()) = tokio::join!(serving, public.stop(true));
                ended?;
            }
        }
        background.end().await;
        ops.stop(false).await;
        ops_task.await??;
        tracing::info!("stopped");
        Ok(())
    }
}

/// The work that is to go on beside the requests, and where.
struct Chores {
    key_care: KeyCare,
    clean_up: CleanUp,
    runtime: Handle,
}

impl Chores {
    fn new(settings: &Settings, shared: &Shared) -> Self {
        Self {
            key_care: KeyCare::new(
                Arc::clone(&shared.ring),
                shared.store.housekeeping(),
                Arc::clone(&shared.key_trouble),
                settings.keys.reload,
            ),
            clean_up: CleanUp::new(
                shared.store.housekeeping(),
                shared.metrics.clone(),
                Arc::clone(&shared.clock),
                settings.store.cleanup_interval,
                settings.store.keep_ended,
            ),
            runtime: Handle::current(),
        }
    }

    #[cfg(test)]
    fn ring(&self) -> Arc<mintgate_signer_jose::KeyRing> {
        self.key_care.ring()
    }

    fn begin(self) -> Background {
        let mut background = Background::new();
        background.add(self.key_care, &self.runtime);
        background.add(self.clean_up, &self.runtime);
        background
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

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::keys::tests::Place;

    /// Asks until the answer has this status, for half a minute at most; its text.
    async fn until(url: &str, status: reqwest::StatusCode) -> String {
        for _ in 0..300 {
            if let Ok(answer) = reqwest::get(url).await
                && answer.status() == status
            {
                return answer.text().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{url} was never {status}");
    }

    #[test]
    fn a_service_that_starts_before_its_store_recovers_by_itself_and_ends_with_its_chores() {
        actix_web::rt::System::new().block_on(async {
            let place = Place::store_without_schema();
            let lines = "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"http://localhost\"\n\
                         workers = 1\n[ops]\nlisten = \"127.0.0.1:0\"";
            let settings = place.settings(lines);
            let application = Application::build(settings.clone()).await.unwrap();
            let jwks = format!("http://{}/.well-known/jwks.json", application.public_address());
            let ready = format!("http://{}/health/ready", application.ops_address());
            let metrics = format!("http://{}/metrics", application.ops_address());
            let ring = Arc::downgrade(&application.chores.ring());
            let (stop, stopped) = oneshot::channel::<()>();
            let test = async {
                use reqwest::StatusCode;
                until(&jwks, StatusCode::SERVICE_UNAVAILABLE).await;
                until(&ready, StatusCode::SERVICE_UNAVAILABLE).await;
                migrate(&settings).await.unwrap();
                until(&ready, StatusCode::OK).await;
                let published = until(&jwks, StatusCode::OK).await;
                assert_eq!(published.matches("\"kid\"").count(), 2);
                let text = until(&metrics, StatusCode::OK).await;
                assert_eq!(text.matches("\nmintgate_signing_key_age_seconds{").count(), 4);
                stop.send(()).unwrap();
            };
            let stop = async {
                let _ = stopped.await;
            };
            let (ended, ()) = tokio::join!(application.run_until(stop), test);
            ended.unwrap();
            // No task is left that holds the keys; the threads of the listeners end in their time.
            let mut patience = 300;
            while ring.strong_count() > 0 {
                assert!(patience > 0, "something goes on after the service has ended");
                patience -= 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
}
