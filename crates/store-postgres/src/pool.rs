//! The pool, and how a statement is run on it: without hidden round trips, within a deadline,
//! and on a fresh connection where the first one turned out dead.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bb8::ManageConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolableConnection;
use mintgate_domain::ports::{Clock, PoolState, StoreError};
use mintgate_domain::{Cause, chain};
use tokio::time::{sleep, timeout};

use crate::config::PgConfig;
use crate::connector::Connector;
use crate::error::Failure;
use crate::migrations;

/// How many connections a call tries. Each failure discards all that are as old as the one
/// that failed, so the second is fresh; a third is for a server that is just restarting.
const ATTEMPTS: u32 = 3;
/// The server keeps the statement timeout and says so; only a server that does not answer at
/// all is given up on, this much later.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// How long after a connection could not be made the next is tried: at first, and at most.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
const RECONNECT_AFTER_AT_MOST: Duration = Duration::from_secs(1);

/// An attempt at a call. Whether an attempt whose connection broke took effect is not known, so a
/// repeated one may meet its own work and must not take it for another caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    First,
    Repeated,
}

/// The work of a call on a connection: an async closure whose future may move between threads.
pub(crate) trait Work<'c, T>: Send + Sync {
    type Answer: Future<Output = Result<T, Failure>> + Send;

    fn begin(&self, connection: &'c mut AsyncPgConnection, attempt: Attempt) -> Self::Answer;
}

impl<'c, T, F, A> Work<'c, T> for F
where
    F: Fn(&'c mut AsyncPgConnection, Attempt) -> A + Send + Sync,
    A: Future<Output = Result<T, Failure>> + Send,
{
    type Answer = A;

    fn begin(&self, connection: &'c mut AsyncPgConnection, attempt: Attempt) -> A {
        self(connection, attempt)
    }
}

/// A connection and the epoch it belongs to.
pub(crate) struct Pooled {
    connection: AsyncPgConnection,
    epoch: u64,
}

/// Makes connections for the pool, and tells which can still be used.
pub(crate) struct Manager {
    connector: Connector,
    shared: Arc<Shared>,
}

/// What the connections of a pool have in common.
#[derive(Default)]
struct Shared {
    /// Moves on when a connection turns out dead: those of earlier epochs are discarded, because
    /// what ended one (a restart, a failover, a cut line) has mostly ended them all.
    epoch: AtomicU64,
    /// Why the latest attempt to connect failed, until one succeeds.
    last_failure: Mutex<Option<Cause>>,
    /// The store is gone, nobody waits for connections any more.
    closed: AtomicBool,
}

impl Shared {
    fn last_failure(&self) -> MutexGuard<'_, Option<Cause>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection is known to be useless, without asking the server.
    fn is_stale(&self, pooled: &mut Pooled) -> bool {
        pooled.epoch != self.epoch.load(Ordering::Acquire) || pooled.connection.is_broken()
    }
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = Cause;

    /// Tries until it works. The pool itself gives up some time, and does not tell those who
    /// wait: a call that came late would wait for nobody.
    async fn connect(&self) -> Result<Pooled, Cause> {
        let mut pause = RECONNECT_AFTER;
        loop {
            let epoch = self.shared.epoch.load(Ordering::Acquire);
            match self.connector.establish().await {
                Ok(connection) => {
                    *self.shared.last_failure() = None;
                    return Ok(Pooled { connection, epoch });
                }
                Err(failure) if self.shared.closed.load(Ordering::Acquire) => return Err(failure),
                Err(failure) => *self.shared.last_failure() = Some(failure),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_AFTER_AT_MOST);
        }
    }

    /// Never asked: `test_on_check_out` is off, as it would be a round trip for every call.
    async fn is_valid(&self, _: &mut Pooled) -> Result<(), Cause> {
        Ok(())
    }

    fn has_broken(&self, pooled: &mut Pooled) -> bool {
        self.shared.is_stale(pooled)
    }
}

/// The connections of a store.
pub(crate) struct Pool {
    inner: bb8::Pool<Manager>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    connect_timeout: Duration,
    statement_timeout: Duration,
}

impl Pool {
    /// Makes no connection; that happens at first use.
    pub(crate) fn new(connector: Connector, config: &PgConfig, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::<Shared>::default();
        let manager = Manager { connector, shared: Arc::clone(&shared) };
        let inner = bb8::Pool::builder()
            .max_size(config.pool_size)
            .connection_timeout(config.connect_timeout)
            .test_on_check_out(false)
            .retry_connection(false)
            .build_unchecked(manager);
        Self {
            inner,
            shared,
            clock,
            connect_timeout: config.connect_timeout,
            statement_timeout: config.statement_timeout,
        }
    }

    /// Runs statements on a connection, and again on another one if the connection turned out dead.
    ///
    /// `work` MUST be harmless to run again.
    pub(crate) async fn run<T>(&self, work: impl for<'c> Work<'c, T>) -> Result<T, StoreError> {
        let started = self.clock.monotonic();
        let mut attempts = 0;
        loop {
            let mut pooled = self.check_out().await?;
            let attempt = if attempts == 0 { Attempt::First } else { Attempt::Repeated };
            let answer = work.begin(&mut pooled.connection, attempt);
            let failure = match timeout(self.answer_timeout(), answer).await {
                Ok(Ok(output)) => return Ok(output),
                Ok(Err(Failure::Refused(cause))) => self.diagnose(&mut pooled, cause).await,
                Ok(Err(failure)) => failure,
                Err(_) => self.no_answer(&pooled),
            };
            match failure {
                Failure::ConnectionLost(cause) => {
                    self.retire(pooled.epoch, &cause);
                    attempts += 1;
                    let elapsed = self.clock.monotonic().saturating_sub(started);
                    if attempts == ATTEMPTS || elapsed >= self.connect_timeout {
                        return Err(StoreError::Unavailable(cause));
                    }
                }
                Failure::Refused(cause) => return Err(StoreError::Unavailable(cause)),
                Failure::Final(error) => return Err(error),
            }
        }
    }

    pub(crate) fn state(&self) -> PoolState {
        let state = self.inner.state();
        let idle = state.idle_connections;
        PoolState { idle, in_use: state.connections.saturating_sub(idle) }
    }

    /// A connection that is not known to be dead.
    async fn check_out(&self) -> Result<bb8::PooledConnection<'_, Manager>, StoreError> {
        loop {
            let mut pooled = self.inner.get().await.map_err(|_| self.exhausted())?;
            if !self.shared.is_stale(&mut pooled) {
                return Ok(pooled);
            }
            // Dropped here: the pool discards it and makes another.
        }
    }

    /// How long the server may take to answer.
    fn answer_timeout(&self) -> Duration {
        self.statement_timeout + ANSWER_MARGIN
    }

    /// The server has not answered in time.
    fn no_answer(&self, pooled: &Pooled) -> Failure {
        let millis = self.answer_timeout().as_millis();
        let cause = Cause::new(format!("no answer within {millis} ms"));
        self.retire(pooled.epoch, &cause);
        Failure::Final(StoreError::Unavailable(cause))
    }

    /// Why the server refused, where the driver does not tell: the schema may be another, or the
    /// server may be going down. In every other case the refusal stays as it is.
    async fn diagnose(&self, pooled: &mut Pooled, refusal: Cause) -> Failure {
        let applied = migrations::applied(&mut pooled.connection);
        let Ok(applied) = timeout(self.answer_timeout(), applied).await else {
            drop(self.no_answer(pooled));
            return Failure::Refused(refusal);
        };
        match applied {
            Ok(applied) => match migrations::require_current(&applied) {
                Ok(()) => Failure::Refused(refusal),
                Err(mismatch) => Failure::Final(mismatch),
            },
            Err(lost @ Failure::ConnectionLost(_)) => lost,
            Err(Failure::Refused(_) | Failure::Final(_)) => Failure::Refused(refusal),
        }
    }

    /// Has every connection of an epoch discarded. Of many calls that find out at once, one does.
    fn retire(&self, epoch: u64, cause: &Cause) {
        let now = &self.shared.epoch;
        let retired = now.compare_exchange(epoch, epoch + 1, Ordering::AcqRel, Ordering::Acquire);
        if retired.is_ok() {
            let reason = chain(cause);
            tracing::warn!(%reason, "a connection to Postgres is lost; replacing all of them");
        }
    }

    fn exhausted(&self) -> StoreError {
        let reason = match (&*self.shared.last_failure(), self.inner.state().connections) {
            (Some(failure), _) => failure.clone(),
            (None, 0) => "the server does not answer".into(),
            (None, _) => "all are in use".into(),
        };
        let millis = self.connect_timeout.as_millis();
        let text = format!("no connection within {millis} ms");
        StoreError::Unavailable(Cause::from_error(text, reason))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}
