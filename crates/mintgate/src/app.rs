//! The running service: built from the settings, served until it is asked to stop.

use std::future::{Future, pending};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mintgate_domain::ports::{Clock, RefreshTokenRepo};
use mintgate_domain::{CleanUp, CleanUpPorts, ProviderRegistry, revocation_lifetime};
use mintgate_http_actix::{
    CurrentState, Door, MoreRoutes, Phase, Server, ServiceConfig, Stopping, descriptors,
    serve_operations, serve_public,
};
use mintgate_log_writer::SpanLayer;
use mintgate_metrics_prometheus::PrometheusMetrics;
use mintgate_service_manager::ServiceManager;
use mintgate_signer_jose::{KeyRingStatus, Presence};
use mintgate_tls::Served;
use mintgate_traces_otlp::Traces;
use tokio::net::TcpSocket;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::background::{
    AuditCare, AuditWriter, BackgroundTasks, KeyCare, LimitExchange, Lingering, Reseal,
    RevocationLifetime, SignOfLife, StoreCleanUp, StoreLog,
};
use crate::certificates::Certificates;
use crate::keys;
use crate::reload::{self, Reload};
use crate::settings::{Settings, TelemetrySettings};
use crate::store::Store;
use crate::system::{OsEntropy, SystemClock, process_name};
use crate::wiring::{self, Adapters};

/// How many connections may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 4096;
/// The longest that the end may take once no connection is accepted any more, with a margin.
const LONGEST_END: Duration = Duration::from_secs(20);

/// Starts sending spans to the collector, if there is one: what takes the spans, and what sends them.
///
/// # Errors
/// If the sender cannot be set up.
pub fn traces(settings: &TelemetrySettings) -> anyhow::Result<Option<(SpanLayer, Traces)>> {
    let Some(endpoint) = settings.otlp_endpoint.clone() else { return Ok(None) };
    let options = mintgate_traces_otlp::Options {
        endpoint,
        authorization: settings.otlp_authorization.clone(),
        sample_percent: settings.sample_percent,
        service_name: settings.service_name.clone(),
        service_version: env!("CARGO_PKG_VERSION"),
    };
    Ok(Some(mintgate_traces_otlp::start(&options, Arc::new(SystemClock::new()))?))
}

/// A service that listens and is ready to run.
pub struct Application {
    public: Server,
    public_address: SocketAddr,
    operations: Server,
    operations_address: SocketAddr,
    door: Door,
    stopping: Arc<Stopping>,
    drain: Duration,
    manager: Arc<ServiceManager>,
    reload: Arc<Reload>,
    key_care: KeyCare,
    clean_up: StoreCleanUp,
    store_log: StoreLog,
    certificates: Vec<Arc<Served>>,
    presence: Arc<Presence>,
    audit_writer: AuditWriter,
    audit_care: AuditCare,
    reseal: Option<Reseal>,
    revocations: RevocationLifetime,
    limits: Option<LimitExchange>,
    lingering: Arc<Lingering>,
    runtime: Handle,
}

/// What a service is built from: the settings, and replacements of some parts for tests and the
/// development setup.
pub struct ApplicationBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
    wrap_sessions: Option<WrapSessions>,
    more_routes: MoreRoutes,
}

type WrapSessions = Box<dyn FnOnce(Arc<dyn RefreshTokenRepo>) -> Arc<dyn RefreshTokenRepo> + Send>;

impl ApplicationBuilder {
    /// Uses `clock` in place of the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Puts the session store that `wrap` makes of the configured one in its place.
    #[must_use]
    pub fn wrap_sessions(
        mut self,
        wrap: impl FnOnce(Arc<dyn RefreshTokenRepo>) -> Arc<dyn RefreshTokenRepo> + Send + 'static,
    ) -> Self {
        self.wrap_sessions = Some(Box::new(wrap));
        self
    }

    /// Adds routes to the public listener.
    #[must_use]
    pub fn more_routes(
        mut self,
        routes: impl Fn(&mut ServiceConfig) + Send + Sync + 'static,
    ) -> Self {
        self.more_routes = Arc::new(routes);
        self
    }

    /// Builds the service; it listens when this returns. The use cases will run on the Tokio runtime
    /// of the caller, which should have several threads and must outlive the service.
    ///
    /// # Errors
    /// If keys cannot be read or made, or an address cannot be listened on; and a
    /// [`KeyConflict`](mintgate_domain::KeyConflict) if another process on the store has other keys. A
    /// store or a provider that is down is no error: the service waits for it.
    pub async fn build(self) -> anyhow::Result<Application> {
        let Self { settings, clock, wrap_sessions, more_routes } = self;
        descriptors::raise_limit();
        let revision = option_env!("MINTGATE_REVISION").unwrap_or("unknown");
        let metrics = Arc::new(PrometheusMetrics::new(env!("CARGO_PKG_VERSION"), revision)?);
        for warning in mintgate_doctor::warnings(&settings) {
            tracing::warn!("{warning}");
        }

        let certificates = Certificates::open(&settings, &clock, &metrics)?;
        let mut store = Store::open(&settings.store, metrics.clone(), Arc::clone(&clock))?;
        if let Some(wrap) = wrap_sessions {
            store.sessions.repo = wrap(store.sessions.repo);
        }
        if let Err(error) = store.health.check().await {
            tracing::warn!(error = %mintgate_domain::chain(&error), "the store is not ready yet");
        }
        let ring = keys::open(&settings.keys, &settings.tokens, &store, Arc::clone(&clock))?;
        let resealing =
            keys::resealing(&settings.keys, &store, Arc::clone(&clock), metrics.clone()).await?;
        let key_status = Arc::new(KeyRingStatus::default());
        keys::start(&settings.keys, &ring, &*store.housekeeping, &key_status).await?;
        let replicas = Arc::clone(&store.replicas);
        let (name, issuer) = (process_name(), settings.tokens.issuer.clone());
        let mut presence = Presence::new(name, issuer, replicas, Arc::clone(&ring), &OsEntropy);
        presence.is_to_be_alone = store.shared_counts.is_none();
        let presence = Arc::new(presence);
        presence.start().await?;
        let lingering = Arc::new(Lingering::new());
        let audit =
            store.audit_trail(settings.audit.keys(&settings.keys), clock.clone(), metrics.clone());
        if let Err(error) = audit.note_configuration(&settings.lines()).await {
            tracing::warn!(error = %mintgate_domain::chain(&error), "the configuration cannot be compared with that of the last start");
        }
        let adapters = Adapters {
            audit,
            store,
            clock,
            metrics,
            keys: ring,
            key_status,
            presence,
            certificates,
            lingering,
            stopping: Arc::default(),
            manager: Arc::new(ServiceManager::from_environment()),
        };
        let adapters = Arc::new(adapters);
        let registry = adapters.providers(&settings, None)?;
        adapters.metrics.show_providers(&registry, &ProviderRegistry::default());
        let state = wiring::app_state(&settings, registry.clone(), &adapters)?;
        let state = Arc::new(CurrentState::new(state));
        let reload = Reload::new(Arc::clone(&adapters), state.clone(), settings.clone(), registry);
        let reload = Arc::new(reload);
        let admin = wiring::admin_api(&settings, &adapters, state.clone(), reload.clone());

        let limits = adapters.store.shared_counts.clone().map(|counts| {
            LimitExchange::new(state.clone(), counts, &adapters.clock, &adapters.metrics)
        });

        let (public, public_address) = listen(settings.server.listen, "server.listen")?;
        let (operations, operations_address) = listen(settings.ops.listen, "ops.listen")?;
        let Certificates { public: public_tls, ops: ops_tls } = &adapters.certificates;
        let door = Door::of(&public)?;
        let asked = adapters.operations(reload.clone());
        Ok(Application {
            public: serve_public(state, more_routes, public, public_tls.clone())?,
            public_address,
            operations: serve_operations(asked, admin, operations, ops_tls.clone())?,
            operations_address,
            key_care: KeyCare {
                care: mintgate_signer_jose::KeyCare::new(
                    adapters.keys.clone(),
                    adapters.key_status.clone(),
                )
                .noting_in(adapters.audit.clone(), Arc::clone(&adapters.clock)),
                housekeeping: Arc::clone(&adapters.store.housekeeping),
                every: settings.keys.reload,
            },
            clean_up: clean_up(&settings, &adapters),
            store_log: StoreLog(Arc::clone(&adapters.store.housekeeping)),
            audit_writer: AuditWriter(Arc::clone(&adapters.audit)),
            audit_care: AuditCare {
                trail: adapters.audit.clone(),
                retention: settings.audit.retention,
            },
            certificates: adapters.certificates.iter().cloned().collect(),
            reseal: resealing.map(|resealing| Reseal { resealing, failing: false }),
            revocations: RevocationLifetime {
                log: Arc::clone(&adapters.store.revocations),
                lifetime: revocation_lifetime(settings.tokens.access_ttl),
            },
            limits,
            presence: adapters.presence.clone(),
            lingering: adapters.lingering.clone(),
            door,
            stopping: adapters.stopping.clone(),
            drain: settings.server.drain,
            manager: adapters.manager.clone(),
            reload,
            runtime: Handle::current(),
        })
    }
}

fn clean_up(settings: &Settings, adapters: &Adapters) -> StoreCleanUp {
    let ports = CleanUpPorts {
        housekeeping: Arc::clone(&adapters.store.housekeeping),
        people: Arc::clone(&adapters.store.import),
        duties: Arc::clone(&adapters.store.duties),
        metrics: adapters.metrics.clone(),
        clock: Arc::clone(&adapters.clock),
    };
    StoreCleanUp::new(CleanUp::new(
        ports,
        settings.store.cleanup_interval,
        settings.store.keep_ended,
    ))
}

impl Application {
    /// Begins to build a service.
    pub fn builder(settings: Settings) -> ApplicationBuilder {
        ApplicationBuilder {
            settings,
            clock: Arc::new(SystemClock::new()),
            wrap_sessions: None,
            more_routes: Arc::new(|_| ()),
        }
    }

    /// The address of the public listener.
    pub fn public_address(&self) -> SocketAddr {
        self.public_address
    }

    /// The address of the operations listener.
    pub fn ops_address(&self) -> SocketAddr {
        self.operations_address
    }

    /// Serves, with the background tasks, until `stop` completes. Then readiness is withdrawn at
    /// once, and each connection is closed behind an answer. After `server.drain_secs` no connection is
    /// accepted any more, and requests in flight are finished; this returns nine seconds later at most, or
    /// two more if a background task takes that long, or seven if a provider does. If `at_once`
    /// completes, it does not wait for requests.
    ///
    /// # Errors
    /// If a listener fails.
    pub async fn run_until(
        self,
        stop: impl Future<Output = ()>,
        at_once: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Self { public_address, operations_address, .. } = self;
        tracing::info!(public = %public_address, ops = %operations_address, "listening");
        let (public, operations) = (self.public.handle(), self.operations.handle());
        let operations_task = tokio::spawn(self.operations);
        let mut watching = JoinSet::new();
        watching.spawn(reload::on_hang_up(self.reload)?);
        watching.spawn(Arc::clone(&self.manager).feed_watchdog());
        for certificate in self.certificates {
            watching.spawn(certificate.watch());
        }
        let serving = self.public;
        let mut background = BackgroundTasks::new();
        background.add(self.key_care, &self.runtime);
        background.add(self.clean_up, &self.runtime);
        background.add(self.store_log, &self.runtime);
        background.add(SignOfLife(Arc::clone(&self.presence)), &self.runtime);
        background.add(self.audit_care, &self.runtime);
        background.add(self.revocations, &self.runtime);
        if let Some(limits) = self.limits {
            background.add(limits, &self.runtime);
        }
        if let Some(reseal) = self.reseal {
            background.add(reseal, &self.runtime);
        }
        // Ends after the requests, whose events it writes.
        let mut audit_writer = BackgroundTasks::new();
        audit_writer.add(self.audit_writer, &self.runtime);
        self.manager.ready();
        let (stopping, drain) = (self.stopping, self.drain);
        let stop = async {
            stop.await;
            tracing::info!(drain_secs = drain.as_secs(), "stopping: finishing the requests");
            self.manager.stopping(drain + LONGEST_END);
            stopping.begin(Phase::Drains);
            tokio::time::sleep(drain).await;
            self.door.close().await;
            background.stop();
            stopping.begin(Phase::Ends);
            public.stop(true).await;
            // The server ends now.
            pending::<()>().await;
        };
        let waits = tokio::select! {
            ended = serving => ended.map(|()| true)?,
            () = stop => true,
            () = at_once => {
                tracing::warn!("asked to stop again: ending without waiting for requests");
                false
            }
        };
        watching.abort_all();
        background.end().await;
        self.presence.withdraw().await;
        if waits {
            self.lingering.end().await;
        }
        audit_writer.end().await;
        operations.stop(false).await;
        operations_task.await??;
        tracing::info!("stopped");
        Ok(())
    }
}

fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = bind(address).with_context(|| {
        format!("cannot listen on {address} ({setting}); is something else there?")
    })?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the connections of the process before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::commands::migrate;
    use crate::keys::test_keys::TestKeys;

    /// Asks until the answer has this status, for 30 seconds at most; the answer's body.
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
    fn a_service_that_starts_before_its_store_recovers_by_itself_and_ends_with_its_background_tasks()
     {
        actix_web::rt::System::new().block_on(async {
            let keys = TestKeys::in_store_without_schema();
            let lines = "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"http://localhost\"\n\
                         workers = 1\n[ops]\nlisten = \"127.0.0.1:0\"";
            let settings = keys.settings(lines);
            let application = Application::builder(settings.clone()).build().await.unwrap();
            let jwks = format!("http://{}/.well-known/jwks.json", application.public_address());
            let ready = format!("http://{}/health/ready", application.ops_address());
            let metrics = format!("http://{}/metrics", application.ops_address());
            let ring = Arc::downgrade(application.key_care.care.ring());
            let (stop, stopped) = oneshot::channel::<()>();
            let test = async {
                use reqwest::StatusCode;
                until(&jwks, StatusCode::SERVICE_UNAVAILABLE).await;
                until(&ready, StatusCode::SERVICE_UNAVAILABLE).await;
                migrate(&settings.store).await.unwrap();
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
            let (ended, ()) = tokio::join!(application.run_until(stop, pending()), test);
            ended.unwrap();
            // No task is left that holds the keys; the threads of the listeners end in their time.
            let mut attempts_left = 300;
            while ring.strong_count() > 0 {
                assert!(attempts_left > 0, "something goes on after the service has ended");
                attempts_left -= 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
}
