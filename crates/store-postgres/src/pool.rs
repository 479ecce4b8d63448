//! The pool, and how a statement is run on it: without hidden round trips, within a deadline,
//! and on a fresh connection where the first one turned out dead.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bb8::ManageConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolableConnection;
use mintgate_domain::ports::{Clock, PoolState, StoreError};
use tokio::time::{sleep, timeout};

use crate::config::PgConfig;
use crate::connector::{ConnectFailure, Connector};
use crate::error::Failure;
use crate::migrations::{self, AppliedMigrations};

/// How many connections a call tries. Each failure discards all that are as old as the one
/// that failed, so the second is fresh; a third is for a server that is just restarting.
const ATTEMPTS: u32 = 3;
/// The server keeps the statement timeout and says so; only a server that does not answer at
/// all is given up on, this much later.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// How long after a connection could not be made the next is tried: at first, and at most.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
const RECONNECT_AFTER_AT_MOST: Duration = Duration::from_secs(1);

/// One statement in one round trip.
///
/// It MUST be harmless to run twice: where a connection breaks, whether the first one was
/// executed is not known. One that would take its own work for another's then counts its
/// [`Attempts`](crate::attempts::Attempts).
pub(crate) trait Statement: Sync {
    type Output: Send;

    fn run(
        &self,
        connection: &mut AsyncPgConnection,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// A connection and the epoch it belongs to.
pub(crate) struct Pooled {
    connection: AsyncPgConnection,
    epoch: u64,
}

/// What the pool asks: make a connection, and is this one of any use.
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
    last_failure: Mutex<Option<String>>,
    /// The store is gone, nobody waits for connections any more.
    closed: AtomicBool,
}

impl Shared {
    fn last_failure(&self) -> MutexGuard<'_, Option<String>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be known without asking the server.
    fn is_stale(&self, pooled: &mut Pooled) -> bool {
        pooled.epoch != self.epoch.load(Ordering::Acquire) || pooled.connection.is_broken()
    }
}

impl ManageConnection for Manager {
    type Connection = Pooled;
    type Error = ConnectFailure;

    /// Tries until it works. The pool itself gives up some time, and does not tell those who
    /// wait: a call that came late would wait for nobody.
    async fn connect(&self) -> Result<Pooled, ConnectFailure> {
        let mut pause = RECONNECT_AFTER;
        loop {
            let epoch = self.shared.epoch.load(Ordering::Acquire);
            match self.connector.establish().await {
                Ok(connection) => {
                    *self.shared.last_failure() = None;
                    return Ok(Pooled { connection, epoch });
                }
                Err(failure) if self.shared.closed.load(Ordering::Acquire) => return Err(failure),
                Err(failure) => *self.shared.last_failure() = Some(failure.to_string()),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_AFTER_AT_MOST);
        }
    }

    /// Never asked: `test_on_check_out` is off, as it would be a round trip for every call.
    async fn is_valid(&self, _: &mut Pooled) -> Result<(), ConnectFailure> {
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

    /// Runs a statement; on another connection if the first one turned out dead.
    pub(crate) async fn run<S: Statement>(&self, statement: &S) -> Result<S::Output, StoreError> {
        let started = self.clock.monotonic();
        let mut attempt = 1;
        loop {
            let mut pooled = self.check_out().await?;
            let failure = match self.answer(&mut pooled, statement).await {
                Ok(output) => return Ok(output),
                Err(Failure::Refused(message)) => self.diagnose(&mut pooled, message).await,
                Err(failure) => failure,
            };
            match failure {
                Failure::ConnectionLost(reason) => {
                    self.retire(pooled.epoch, &reason);
                    let elapsed = self.clock.monotonic().saturating_sub(started);
                    if attempt == ATTEMPTS || elapsed >= self.connect_timeout {
                        return Err(StoreError::Unavailable(reason.into()));
                    }
                    attempt += 1;
                }
                Failure::Refused(reason) => return Err(StoreError::Unavailable(reason.into())),
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

    /// Runs a statement on a connection, for as long as the server may take to answer.
    async fn answer<S: Statement>(
        &self,
        pooled: &mut Pooled,
        statement: &S,
    ) -> Result<S::Output, Failure> {
        let bound = self.statement_timeout + ANSWER_MARGIN;
        if let Ok(result) = timeout(bound, statement.run(&mut pooled.connection)).await {
            return result;
        }
        let reason = format!("no answer within {} ms", bound.as_millis());
        self.retire(pooled.epoch, &reason);
        Err(Failure::Final(StoreError::Unavailable(reason.into())))
    }

    /// Why the server refused, where the driver does not tell: the schema may be another, or the
    /// server may be going down. Anything else is left at its message.
    async fn diagnose(&self, pooled: &mut Pooled, message: String) -> Failure {
        match self.answer(pooled, &AppliedMigrations).await {
            Ok(applied) => match migrations::require_current(&applied) {
                Ok(()) => Failure::Refused(message),
                Err(mismatch) => Failure::Final(mismatch),
            },
            Err(Failure::ConnectionLost(reason)) => Failure::ConnectionLost(reason),
            Err(Failure::Refused(_) | Failure::Final(_)) => Failure::Refused(message),
        }
    }

    /// Has every connection of an epoch discarded. Of many calls that find out at once, one does.
    fn retire(&self, epoch: u64, reason: &str) {
        let now = &self.shared.epoch;
        let retired = now.compare_exchange(epoch, epoch + 1, Ordering::AcqRel, Ordering::Acquire);
        if retired.is_ok() {
            tracing::warn!(reason, "a connection to Postgres is lost; replacing all of them");
        }
    }

    fn exhausted(&self) -> StoreError {
        let last_failure = self.shared.last_failure().clone();
        let reason = last_failure.as_deref().unwrap_or(match self.inner.state().connections {
            0 => "the server does not answer",
            _ => "all are in use",
        });
        let millis = self.connect_timeout.as_millis();
        StoreError::Unavailable(format!("no connection within {millis} ms: {reason}").into())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}
