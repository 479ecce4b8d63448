//! Work that goes on beside the requests, each kind in a loop of its own, until the service ends.

mod clean_up;
mod key_care;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) use clean_up::CleanUp;
pub(crate) use key_care::KeyCare;

/// How long a round that is under way when the service ends may still take.
const LAST_ROUND: Duration = Duration::from_secs(2);

/// Work that is done again and again, a round at a time.
pub(crate) trait Chore: Send + 'static {
    /// Its name in the log.
    const NAME: &'static str;

    /// Does it once. A long round looks at `stopping` now and then.
    fn round(&mut self, stopping: &mut Stopping) -> impl Future<Output = ()> + Send;

    /// How long to wait until the next round.
    fn pause(&self) -> Duration;
}

/// The chores of a running service. They end with it, at the latest when this is dropped.
pub(crate) struct Background {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Background {
    /// Nothing to do yet.
    pub(crate) fn new() -> Self {
        Self { stop: watch::Sender::new(false), tasks: JoinSet::new() }
    }

    /// Does a chore from now on: a first round at once, and a pause after each. A round that panics
    /// is logged, and the next one comes in its time.
    pub(crate) fn add<C: Chore>(&mut self, mut chore: C, runtime: &Handle) {
        let mut stopping = Stopping(self.stop.subscribe());
        let work = async move {
            loop {
                let round = AssertUnwindSafe(chore.round(&mut stopping)).catch_unwind();
                if round.await.is_err() {
                    tracing::error!(
                        chore = C::NAME,
                        "a round panicked; the next comes in its time"
                    );
                }
                if stopping.within(chore.pause()).await {
                    break;
                }
            }
        };
        self.tasks.spawn_on(work, runtime);
    }

    /// Asks all chores to end; they go on with the round they are at.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Returns when all have ended; a round that takes too long is broken off.
    pub(crate) async fn end(mut self) {
        self.stop();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_ROUND, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Tells a chore that the service is ending.
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Waits for so long, but not longer than until the service ends; whether it does.
    pub(crate) async fn within(&mut self, span: Duration) -> bool {
        // Whoever could ask to stop being gone is the same as being asked.
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

    impl Chore for Panicky {
        const NAME: &'static str = "panicky";

        async fn round(&mut self, _: &mut Stopping) {
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
        let mut background = Background::new();
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

    impl Chore for Endless {
        const NAME: &'static str = "endless";

        async fn round(&mut self, stopping: &mut Stopping) {
            let _ = self.began.send(());
            if self.patient {
                assert!(stopping.within(Duration::from_hours(1)).await);
            } else {
                std::future::pending::<()>().await;
            }
        }

        fn pause(&self) -> Duration {
            Duration::from_hours(1)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_is_told_to_end_and_one_that_does_not_is_broken_off() {
        for (patient, took) in [(true, Duration::ZERO), (false, LAST_ROUND)] {
            let (began, mut beginnings) = mpsc::unbounded_channel();
            let mut background = Background::new();
            background.add(Endless { patient, began }, &Handle::current());
            assert_eq!(beginnings.recv().await, Some(()));
            let asked = tokio::time::Instant::now();
            background.end().await;
            assert_eq!(asked.elapsed(), took);
            // The chore is gone, and with it its sender.
            assert_eq!(beginnings.recv().await, None);
        }
    }

    #[tokio::test]
    async fn chores_end_with_what_they_were_given_to() {
        let (began, mut beginnings) = mpsc::unbounded_channel();
        let mut background = Background::new();
        background.add(Endless { patient: false, began }, &Handle::current());
        assert_eq!(beginnings.recv().await, Some(()));
        drop(background);
        assert_eq!(beginnings.recv().await, None);
    }
}
