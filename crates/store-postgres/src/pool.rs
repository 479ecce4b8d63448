//! The pool, and how a statement is run on it: without hidden round trips, within a deadline,
//! and on a fresh connection where the first one turned out dead.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bb8::ManageConnection;
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use mintgate_domain::ports::{Clock, PoolState, StoreError};
use mintgate_domain::{Cause, chain};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::config::{PgConfig, Pooling};
use crate::connector::{Connector, Established, answering_backend, living_backends};
use crate::driver::Driver;
use crate::error::Failure;
use crate::migrations;

/// How many connections a call tries. Each failure discards all that are as old as the one
/// that failed, so the second is fresh; a third is for a server that is just restarting.
const ATTEMPTS: u32 = 3;
/// The server keeps the statement timeout and says so; only a server that does not answer at
/// all is given up on, this much later.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// Said of a commit that the server acknowledges with a warning: its wait for a synchronous standby was cancelled,
/// and a failover may undo it. Whoever repeats the request learns what has become of it.
const ONLY_LOCAL: &str = "the server warns that what was committed may be on no standby yet";

/// How often a call begins again because another caller's write was in its way.
const OVERTAKEN_AT_MOST: u32 = 3;

/// How long a call that was refused may wait for a connection of its own.
const APART_TIMEOUT: Duration = Duration::from_secs(1);
/// How many connections there are for such calls: a server that refuses everything is not asked for
/// one by every call.
const APART_AT_MOST: usize = 2;

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
    driver: Driver,
    epoch: u64,
    /// The server process that the connection was set up with.
    backend: i32,
    /// Whether each call is a transaction of its own.
    by_transaction: bool,
    shared: Arc<Shared>,
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut backends = self.shared.backends();
        if let Some(at) = backends.iter().position(|backend| *backend == self.backend) {
            backends.swap_remove(at);
        }
    }
}

/// Makes connections for the pool, and tells which can still be used.
pub(crate) struct Manager {
    connector: Connector,
    /// How many abandoned server processes there may be.
    most_abandoned: usize,
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
    /// Whether it is yet to be found out if a pooler takes server processes away.
    looks_for_pooler: AtomicBool,
    /// Whether a pooler may give every transaction another server process.
    is_pooled: AtomicBool,
    /// Server processes that owed an answer when their connection was closed. One that waits for a synchronous standby
    /// does not notice that, and keeps its place among the server's connections.
    abandoned: Mutex<Vec<i32>>,
    /// The server process of each connection. Two connections that are open have two, unless there is a
    /// pooler that lends them.
    backends: Mutex<Vec<i32>>,
}

impl Shared {
    fn backends(&self) -> MutexGuard<'_, Vec<i32>> {
        self.backends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every connection made anew, for a pooler that takes server processes away.
    fn found_pooler(&self) {
        self.looks_for_pooler.store(false, Ordering::Release);
        if !self.is_pooled.swap(true, Ordering::AcqRel) {
            self.epoch.fetch_add(1, Ordering::AcqRel);
            tracing::warn!(
                "a pooler gives every transaction another Postgres process: each call is a transaction \
                 now, which is slower; set store.pooling to \"transaction\", or pool by session"
            );
        }
    }

    fn abandoned(&self) -> MutexGuard<'_, Vec<i32>> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
            match self.establish(epoch).await {
                Ok(Some(mut pooled)) => match self.hanging(&mut pooled).await {
                    None => {
                        *self.shared.last_failure() = None;
                        return Ok(pooled);
                    }
                    failure => *self.shared.last_failure() = failure,
                },
                Ok(None) => continue,
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

impl Manager {
    /// Why no further connection is to be made, if too many that were given up still hang at the server. Otherwise all
    /// of its connections would be taken within seconds, and nobody else could get in.
    async fn hanging(&self, pooled: &mut Pooled) -> Option<Cause> {
        let pids = self.shared.abandoned().clone();
        // A pooler has a limit of its own, and lends its server processes to others.
        if pids.len() < self.most_abandoned || pooled.by_transaction {
            return None;
        }
        let ask = living_backends(&mut pooled.connection, pids);
        let hanging = timeout(APART_TIMEOUT, ask).await.ok()?.ok()?;
        let is_too_many = hanging.len() >= self.most_abandoned;
        let text = format!(
            "{} statements of this process hang at the server and keep their connections, as where a synchronous standby is \
             gone; no other connection is made before they end",
            hanging.len()
        );
        *self.shared.abandoned() = hanging;
        is_too_many.then(|| text.into())
    }

    /// A connection; `None` if it turned out that there is a pooler, and it was made as if there were
    /// none.
    async fn establish(&self, epoch: u64) -> Result<Option<Pooled>, Cause> {
        let shared = &self.shared;
        let is_pooled = shared.is_pooled.load(Ordering::Acquire);
        let Established { connection, backend, driver } =
            self.connector.establish(is_pooled).await?;
        let pooled = Pooled {
            connection,
            driver,
            epoch,
            backend,
            by_transaction: is_pooled,
            shared: Arc::clone(shared),
        };
        let is_lent = {
            let mut backends = shared.backends();
            let is_lent = backends.contains(&backend);
            backends.push(backend);
            is_lent
        };
        if is_pooled || !shared.looks_for_pooler.load(Ordering::Acquire) {
            return Ok(Some(pooled));
        }
        // The first connection idles, so a pooler lends its server process to a second one.
        let is_first = shared.backends().len() == 1;
        let is_lent = is_lent
            || is_first
                && self.connector.establish(true).await.is_ok_and(|other| other.backend == backend);
        if is_lent {
            shared.found_pooler();
        }
        Ok((!is_lent).then_some(pooled))
    }
}

/// The connections of a store.
pub(crate) struct Pool {
    inner: bb8::Pool<Manager>,
    /// What begins a transaction behind a pooler.
    begin: String,
    /// Permits for connections beside the pool's.
    apart: Semaphore,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    connect_timeout: Duration,
    statement_timeout: Duration,
}

impl Pool {
    /// Makes no connection; that happens at first use.
    pub(crate) fn new(connector: Connector, config: &PgConfig, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared {
            looks_for_pooler: AtomicBool::new(config.pooling == Pooling::Auto),
            is_pooled: AtomicBool::new(config.pooling == Pooling::Transaction),
            ..Shared::default()
        });
        let begin = connector.begin_limited();
        let most_abandoned = config.pool_size as usize;
        let manager = Manager { connector, most_abandoned, shared: Arc::clone(&shared) };
        let inner = bb8::Pool::builder()
            .max_size(config.pool_size)
            .connection_timeout(config.connect_timeout)
            .test_on_check_out(false)
            .retry_connection(false)
            .build_unchecked(manager);
        Self {
            inner,
            begin,
            apart: Semaphore::new(APART_AT_MOST),
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
        let (mut attempts, mut overtaken) = (0, 0);
        loop {
            let mut pooled = self.check_out().await?;
            let attempt = if attempts == 0 { Attempt::First } else { Attempt::Repeated };
            let warnings = pooled.driver.warnings();
            let answer = self.carry_out(&mut pooled, &work, attempt);
            let answer = timeout(self.answer_timeout(), answer).await;
            if pooled.driver.warnings() != warnings {
                return Err(StoreError::Unavailable(ONLY_LOCAL.into()));
            }
            let failure = match answer {
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
                Failure::Overtaken if overtaken < OVERTAKEN_AT_MOST => overtaken += 1,
                Failure::Overtaken => {
                    let text = "a row is there and is not found, again and again";
                    return Err(StoreError::Unavailable(text.into()));
                }
                Failure::Refused(cause) if self.may_be_lent(&pooled) => {
                    drop(pooled);
                    return self.run_apart(&work, cause).await;
                }
                Failure::Refused(cause) => return Err(StoreError::Unavailable(cause)),
                Failure::Final(error) => return Err(error),
            }
        }
    }

    /// Whether a pooler may be in the way that was not found out.
    fn may_be_lent(&self, pooled: &Pooled) -> bool {
        !pooled.by_transaction && self.shared.looks_for_pooler.load(Ordering::Acquire)
    }

    /// Runs a call that was refused once more, on a connection of its own and in a transaction: a pooler
    /// that had lent the server process away may have it back before `diagnose` looks.
    async fn run_apart<T>(
        &self,
        work: &impl for<'c> Work<'c, T>,
        refusal: Cause,
    ) -> Result<T, StoreError> {
        let connecting = timeout(APART_TIMEOUT, async {
            let permit = self.apart.acquire().await.ok()?;
            Some((permit, self.inner.dedicated_connection().await.ok()?))
        });
        let Ok(Some((_permit, mut apart))) = connecting.await else {
            return Err(StoreError::Unavailable(refusal));
        };
        apart.by_transaction = true;
        let warnings = apart.driver.warnings();
        let answer = self.carry_out(&mut apart, work, Attempt::Repeated);
        match timeout(self.answer_timeout(), answer).await {
            _ if apart.driver.warnings() != warnings => {
                Err(StoreError::Unavailable(ONLY_LOCAL.into()))
            }
            Ok(Ok(output)) => Ok(output),
            Ok(Err(Failure::Final(error))) => Err(error),
            _ => Err(StoreError::Unavailable(refusal)),
        }
    }

    /// Behind a pooler, in a transaction: its statements then find the server process that they were
    /// prepared at.
    async fn carry_out<T>(
        &self,
        pooled: &mut Pooled,
        work: &impl for<'c> Work<'c, T>,
        attempt: Attempt,
    ) -> Result<T, Failure> {
        let connection = &mut pooled.connection;
        if !pooled.by_transaction {
            return work.begin(connection, attempt).await;
        }
        AnsiTransactionManager::begin_transaction_sql(connection, &self.begin).await?;
        let answer = work.begin(connection, attempt).await;
        if answer.is_ok() {
            // After a statement that was refused and understood, this rolls back.
            AnsiTransactionManager::commit_transaction(connection).await?;
        } else if let Err(error) = AnsiTransactionManager::rollback_transaction(connection).await {
            return answer.and(Err(error.into()));
        }
        answer
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
        self.shared.abandoned().push(pooled.backend);
        self.retire(pooled.epoch, &cause);
        Failure::Final(StoreError::Unavailable(cause))
    }

    /// Why the server refused, where the driver does not tell: the schema may be another, or the
    /// server may be going down. In every other case the refusal stays as it is.
    async fn diagnose(&self, pooled: &mut Pooled, refusal: Cause) -> Failure {
        let is_pooled = std::mem::replace(&mut pooled.by_transaction, true);
        let look = async |connection: &mut AsyncPgConnection, _| {
            let answering = answering_backend(connection).await?;
            Ok((answering, migrations::applied(connection).await))
        };
        let looked = timeout(self.answer_timeout(), self.carry_out(pooled, &look, Attempt::First));
        let looked = looked.await;
        pooled.by_transaction = is_pooled;
        let Ok(looked) = looked else {
            drop(self.no_answer(pooled));
            return Failure::Refused(refusal);
        };
        let applied = match looked {
            // Another call may have found the pooler meanwhile.
            Ok((answering, _))
                if !is_pooled
                    && (answering != pooled.backend
                        || self.shared.is_pooled.load(Ordering::Acquire)) =>
            {
                self.shared.found_pooler();
                return Failure::ConnectionLost(
                    "a pooler has lent its Postgres process away".into(),
                );
            }
            looked => looked.and_then(|(_, applied)| applied),
        };
        match applied {
            Ok(applied) => match migrations::require_current(&applied) {
                Ok(()) => Failure::Refused(refusal),
                Err(mismatch) => Failure::Final(mismatch),
            },
            Err(lost @ Failure::ConnectionLost(_)) => lost,
            Err(Failure::Refused(_) | Failure::Final(_) | Failure::Overtaken) => {
                Failure::Refused(refusal)
            }
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
