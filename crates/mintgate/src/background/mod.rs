//! Background tasks: work beside the requests, each task in a loop of its own until the service ends.

mod audit;
mod clean_up;
mod key_care;
mod limits;
mod lingering;
mod presence;
mod reseal;
mod revocations;
mod store_log;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use audit::{AuditCare, AuditWriter};
pub(crate) use clean_up::StoreCleanUp;
pub(crate) use key_care::KeyCare;
pub(crate) use limits::LimitExchange;
pub(crate) use lingering::Lingering;
pub(crate) use presence::SignOfLife;
pub(crate) use reseal::Reseal;
pub(crate) use revocations::RevocationLifetime;
pub(crate) use store_log::StoreLog;

/// How long rounds under way when the service ends may still take.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Work that is done again and again, a round at a time.
pub(crate) trait BackgroundTask: Send + 'static {
    /// The task's name in the log.
    const NAME: &'static str;

    /// Does the work once. A long round MUST look at `stopping` now and then, and end early.
    fn round(&mut self, stopping: &mut StopSignal) -> impl Future<Output = ()> + Send;

    /// The time from the end of one round to the beginning of the next.
    fn pause(&self) -> Duration;
}

/// The background tasks of a running service. All of them end when this is dropped.
pub(crate) struct BackgroundTasks {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl BackgroundTasks {
    /// A set without any background task.
    pub(crate) fn new() -> Self {
        Self { stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    /// Starts a task on `runtime`: a first round at once, and a pause after each round. A round that
    /// panics is logged; the next one follows after the usual pause.
    pub(crate) fn add<T: BackgroundTask>(&mut self, mut task: T, runtime: &Handle) {
        let mut stopping = StopSignal(self.stop.subscribe());
        let work = async move {
            loop {
                let round = AssertUnwindSafe(task.round(&mut stopping)).catch_unwind();
                if round.await.is_err() {
                    tracing::error!(task = T::NAME, "a background task panicked; it goes on");
                }
                if stopping.comes_within(task.pause()).await {
                    break;
                }
            }
        };
        self.tasks.spawn_on(work, runtime);
    }

    /// Asks all tasks to end after the round they are in.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns when all tasks have ended; a round that takes longer than two seconds is cancelled.
    pub(crate) async fn end(mut self) {
        self.stop();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Tells a task that the service is ending.
#[derive(Clone)]
pub(crate) struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// Waits until the service ends.
    pub(crate) async fn comes(&mut self) {
        // If the sender is gone, so is the service.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Waits for `span`, or until the service ends if that is sooner; true if the service ends.
    pub(crate) async fn comes_within(&mut self, span: Duration) -> bool {
        // If the sender is gone, so is the service.
        let stopped = self.0.wait_for(|stop| *stop);
        tokio::time::timeout(span, stopped).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    /// Says which round it is, after what may be a panic.
    struct Panicky {
        rounds: u32,
        report: mpsc::UnboundedSender<u32>,
    }

    impl BackgroundTask for Panicky {
        const NAME: &'static str = "panicky";

        async fn round(&mut self, _: &mut StopSignal) {
            self.rounds += 1;
            assert!(self.rounds != 2, "a fault in the second round");
            let _ = self.report.send(self.rounds);
        }

        fn pause(&self) -> Duration {
            Duration::from_millis(1)
        }
    }

    #[tokio::test]
    async fn a_round_that_panics_is_followed_by_the_next() {
        let (report, mut reports) = mpsc::unbounded_channel();
        let mut background = BackgroundTasks::new();
        background.add(Panicky { rounds: 0, report }, &Handle::current());
        assert_eq!(reports.recv().await, Some(1));
        assert_eq!(reports.recv().await, Some(3));
        background.end().await;
        while reports.recv().await.is_some() {}
    }

    /// A round that never ends by itself, or one that ends when asked to.
    struct Endless {
        patient: bool,
        began: mpsc::UnboundedSender<()>,
    }

    impl BackgroundTask for Endless {
        const NAME: &'static str = "endless";

        async fn round(&mut self, stopping: &mut StopSignal) {
            let _ = self.began.send(());
            if self.patient {
                assert!(stopping.comes_within(Duration::from_hours(1)).await);
            } else {
                std::future::pending::<()>().await;
            }
        }

        fn pause(&self) -> Duration {
            Duration::from_hours(1)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_is_asked_to_end_and_cancelled_if_it_does_not() {
        for (patient, took) in [(true, Duration::ZERO), (false, STOP_TIMEOUT)] {
            let (began, mut beginnings) = mpsc::unbounded_channel();
            let mut background = BackgroundTasks::new();
            background.add(Endless { patient, began }, &Handle::current());
            assert_eq!(beginnings.recv().await, Some(()));
            let asked = tokio::time::Instant::now();
            background.end().await;
            assert_eq!(asked.elapsed(), took);
            // The task is gone, and with it its sender.
            assert_eq!(beginnings.recv().await, None);
        }
    }

    #[tokio::test]
    async fn tasks_end_when_their_owner_is_dropped() {
        let (began, mut beginnings) = mpsc::unbounded_channel();
        let mut background = BackgroundTasks::new();
        background.add(Endless { patient: false, began }, &Handle::current());
        assert_eq!(beginnings.recv().await, Some(()));
        drop(background);
        assert_eq!(beginnings.recv().await, None);
    }
}
