//! Taking a changed configuration over without a restart.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use mintgate_doctor::OperationsListener;
use mintgate_domain::ports::{ConfigurationFile, RunningConfiguration};
use mintgate_domain::{ProviderRegistry, chain};
use mintgate_http_actix::{CurrentState, RELOAD_HEADER};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

use crate::settings::{Changes, ConfigError, OpsSettings, Settings};
use crate::wiring::{self, Adapters};

/// How long an order to reload waits for its outcome.
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes a changed configuration over, all of it or nothing.
pub(crate) struct Reload {
    adapters: Arc<Adapters>,
    state: Arc<CurrentState>,
    running: RwLock<Settings>,
    /// The providers that run. Held during a reload.
    providers: Mutex<ProviderRegistry>,
}

/// Why a configuration was not taken over.
#[derive(Debug)]
enum NotReloaded {
    /// The process was started without a file.
    NoFile,
    /// It has mistakes.
    Mistakes(ConfigError),
    /// These keys are used at the start alone.
    NeedsRestart(Vec<String>),
    /// It cannot work.
    Unusable(anyhow::Error),
}

impl fmt::Display for NotReloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => f.write_str("this process was not started from a configuration file"),
            Self::Mistakes(error) => error.fmt(f),
            Self::NeedsRestart(keys) => write!(
                f,
                "a restart is needed for {}: restart, or undo this change and reload again",
                keys.join(", ")
            ),
            Self::Unusable(error) => write!(f, "{error:#}"),
        }
    }
}

impl Reload {
    pub(crate) fn new(
        adapters: Arc<Adapters>,
        state: Arc<CurrentState>,
        running: Settings,
        providers: ProviderRegistry,
    ) -> Self {
        let now = adapters.clock.now().into();
        adapters.metrics.configuration_taken_over(&running.hash(), now);
        let (running, providers) = (RwLock::new(running), Mutex::new(providers));
        Self { adapters, state, running, providers }
    }

    fn running(&self) -> Settings {
        self.running.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the configuration over that is written now; what changed, for people.
    ///
    /// # Errors
    /// Why it was not, for people; then nothing has changed.
    pub(crate) async fn reload(&self) -> Result<String, String> {
        let mut providers = self.providers.lock().await;
        let running = self.running();
        self.adapters.manager.reloading();
        let taken_over = self.take_over(&running, &mut providers);
        self.adapters.manager.ready();
        match taken_over {
            Ok((next, changes)) => {
                *self.running.write().unwrap_or_else(PoisonError::into_inner) = next.clone();
                let keys = changes.taken_over.join(", ");
                tracing::info!(keys, "the configuration was reloaded");
                if let Err(error) = self.adapters.audit.note_configuration(&next.lines()).await {
                    tracing::warn!(error = %chain(&error), "the audit log does not know of the reload yet");
                }
                Ok(report(&changes, &next.from_environment()))
            }
            Err(error) => {
                self.adapters.metrics.configuration_refused();
                tracing::error!(%error, "the configuration was not reloaded; the service goes on as before");
                Err(format!("{error}\n"))
            }
        }
    }

    fn take_over(
        &self,
        running: &Settings,
        providers: &mut ProviderRegistry,
    ) -> Result<(Settings, Changes), NotReloaded> {
        let next = running.again().ok_or(NotReloaded::NoFile)?.map_err(NotReloaded::Mistakes)?;
        let changes = running.changes(&next);
        if !changes.need_restart.is_empty() {
            return Err(NotReloaded::NeedsRestart(changes.need_restart));
        }
        let certificates: Vec<_> = self.adapters.certificates.iter().collect();
        let pairs: Result<Vec<_>, _> = certificates.iter().map(|it| it.read()).collect();
        let pairs = pairs.map_err(|error| NotReloaded::Unusable(error.into()))?;
        let registry = self.adapters.providers(&next, Some((running, providers)));
        let registry = registry.map_err(NotReloaded::Unusable)?;
        let state = wiring::app_state(&next, registry.clone(), &self.adapters)
            .map_err(NotReloaded::Unusable)?;
        mintgate_log_writer::set_filter(&next.log.filter)
            .map_err(|error| NotReloaded::Unusable(error.into()))?;
        self.adapters.metrics.show_providers(&registry, providers);
        *providers = registry;
        for (certificate, pair) in certificates.into_iter().zip(pairs) {
            certificate.present(pair);
        }
        self.state.replace(state);
        let now = self.adapters.clock.now().into();
        self.adapters.metrics.configuration_taken_over(&next.hash(), now);
        Ok((next, changes))
    }
}

impl RunningConfiguration for Reload {
    fn hash(&self) -> String {
        self.running().hash()
    }

    fn file(&self) -> ConfigurationFile {
        self.running().file()
    }
}

/// Reloads whenever the process gets SIGHUP.
///
/// # Errors
/// If the signal cannot be listened to.
pub(crate) fn on_hang_up(reload: Arc<Reload>) -> std::io::Result<impl Future<Output = ()>> {
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        while hang_up.recv().await.is_some() {
            // Its outcome is in the log.
            let _ = reload.reload().await;
        }
    })
}

/// Has the service whose operations listener is here reload; whether it has, and what it says.
///
/// # Errors
/// If it cannot be asked.
pub async fn order(ops: &OpsSettings) -> anyhow::Result<(bool, String)> {
    let listener = OperationsListener::of(ops, PATIENCE)?;
    let asked = listener.ask_patiently(|client, origin| {
        client.post(format!("{origin}/reload")).header(RELOAD_HEADER, "1")
    });
    let answer = asked.await.with_context(|| {
        format!("no service could be asked to reload at {} (ops.listen)", listener.address())
    })?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    anyhow::ensure!(
        matches!(status, 200 | 422),
        "{} (ops.listen) answered {status}: {text}",
        listener.address()
    );
    Ok((status == 200, text))
}

fn report(changes: &Changes, from_environment: &[String]) -> String {
    let reloaded = match &changes.taken_over[..] {
        [] => "Reloaded. No key has another value; secrets and files were read again.\n".to_owned(),
        keys => format!("Reloaded: {}.\n", keys.join(", ")),
    };
    match from_environment {
        [] => reloaded,
        keys => {
            let keys = keys.join(", ");
            format!("{reloaded}From the environment, whatever the file says: {keys}.\n")
        }
    }
}
