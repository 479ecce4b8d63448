//! The store itself: calls, changes of one session, and walks through many.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use mintgate_domain::model::{Session, SessionEnd, SessionId, Timestamp};
use mintgate_domain::ports::{Clock, Entropy, Metrics, StoreError, StoreOperation};
use redis::{Cmd, FromRedisValue, Value};
use tracing::Instrument;

use crate::config::{Address, RedisConfig, UnusableAddress};
use crate::error::corrupt;
use crate::link::Link;
use crate::row::{self, Change, Stored, field};
use crate::{keys, scripts};

/// How long an entry of an index may be there before its session: a sign-in writes it first.
const OPENING_TAKES: Duration = Duration::from_mins(10);

/// Sessions in Redis.
pub struct RedisStore {
    pub(crate) link: Link,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keep_ended: Duration,
    metrics: Arc<dyn Metrics>,
    /// Begins the names of changes: no other process has the same.
    names: String,
    changes: AtomicU64,
}

/// What came of a change.
pub(crate) enum Changed {
    /// It was made, now or by an attempt whose answer was lost.
    Made(Box<Stored>),
    /// Something that it was conditional on is otherwise.
    Otherwise(Box<Stored>),
    /// There is no such session.
    Gone,
}

impl RedisStore {
    /// Prepares the store; it connects at the first call.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub fn new(
        config: &RedisConfig,
        metrics: Arc<dyn Metrics>,
        clock: Arc<dyn Clock>,
        entropy: &(dyn Entropy + 'static),
    ) -> Result<Self, UnusableAddress> {
        let link = Link::new(Address::parse(&config.url)?, config);
        let names = u64::from_be_bytes(entropy.bytes());
        Ok(Self {
            link,
            clock,
            keep_ended: config.keep_ended,
            metrics,
            names: format!("{names:016x}"),
            changes: AtomicU64::new(0),
        })
    }

    /// Checks an address without connecting.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn check_address(config: &RedisConfig) -> Result<(), UnusableAddress> {
        Address::parse(&config.url).map(drop)
    }

    /// A name that no other change has, by which a change is recognised that is sent twice.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.names, self.changes.fetch_add(1, Ordering::Relaxed))
    }

    /// Runs a script, and returns what it answers.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &str,
        keys: &[&str],
        arguments: &[String],
    ) -> Result<T, StoreError> {
        self.link.ask(&command(script, keys, arguments)).await
    }

    /// Runs a script and, where that is configured, waits until replicas have what it wrote.
    pub(crate) async fn run_and_wait<T: FromRedisValue>(
        &self,
        script: &str,
        keys: &[&str],
        arguments: &[String],
    ) -> Result<T, StoreError> {
        let answer = self.link.ask_and_wait(&command(script, keys, arguments)).await?;
        T::from_redis_value(answer).map_err(|_| corrupt("the answer of a script"))
    }

    /// The session of this id.
    pub(crate) async fn stored(&self, id: SessionId) -> Result<Option<Stored>, StoreError> {
        let answer = self.run(scripts::CHANGE, &[&keys::session(id)], &[String::new()]).await?;
        match changed(id, answer)? {
            Changed::Made(stored) | Changed::Otherwise(stored) => Ok(Some(*stored)),
            Changed::Gone => Ok(None),
        }
    }

    /// Changes a session, if the comparisons of the change hold.
    pub(crate) async fn change(
        &self,
        id: SessionId,
        change: &Change,
    ) -> Result<Changed, StoreError> {
        let arguments = [&[self.name()], change.arguments()].concat();
        let answer = self.run(scripts::CHANGE, &[&keys::session(id)], &arguments).await?;
        changed(id, answer)
    }

    /// As [`change`](Self::change), for changes that replicas must have.
    pub(crate) async fn change_and_wait(
        &self,
        id: SessionId,
        change: &Change,
    ) -> Result<Changed, StoreError> {
        let arguments = [&[self.name()], change.arguments()].concat();
        let answer = self.run_and_wait(scripts::CHANGE, &[&keys::session(id)], &arguments).await?;
        changed(id, answer)
    }

    /// Ends a session if `decide` says so of the session as it is then, and has the end logged where
    /// `is_logged`; whether it was ended by this.
    pub(crate) async fn end_if(
        &self,
        id: SessionId,
        is_logged: bool,
        decide: impl Fn(&Session) -> Option<SessionEnd> + Send,
    ) -> Result<bool, StoreError> {
        let mut found = self.stored(id).await?;
        while let Some(stored) = found {
            let Some(end) = decide(&stored.session) else { return Ok(false) };
            let mut change =
                Change::unchanged_since(&stored.session).end(end).keep(self.keep_ended);
            if is_logged {
                change = change.set(field::UNLOGGED, 1);
            }
            found = match self.change(id, &change).await? {
                Changed::Made(_) => {
                    if is_logged {
                        self.log_end(id).await?;
                    }
                    return Ok(true);
                }
                Changed::Otherwise(stored) => Some(*stored),
                Changed::Gone => None,
            };
        }
        Ok(false)
    }

    /// The sessions of these ids, in their order; an id without a session is taken out of the index.
    pub(crate) async fn found(
        &self,
        index: impl Fn(SessionId) -> String + Send + Sync,
        ids: &[SessionId],
    ) -> Result<Vec<Stored>, StoreError> {
        let all = try_join_all(ids.iter().map(|id| self.stored(*id))).await?;
        let now = Timestamp::from(self.clock.now());
        let mut found = Vec::with_capacity(all.len());
        for (id, stored) in ids.iter().zip(all) {
            match stored {
                Some(stored) => found.push(stored),
                None if id.generated_at().is_none_or(|at| at + OPENING_TAKES < now) => {
                    self.remove_from(&index(*id), *id).await?;
                }
                None => {}
            }
        }
        Ok(found)
    }

    /// Takes an id out of an index.
    pub(crate) async fn remove_from(&self, index: &str, id: SessionId) -> Result<(), StoreError> {
        let mut command = redis::cmd("ZREM");
        command.arg(index).arg(id.to_string());
        self.link.ask(&command).await
    }

    /// The ids in an index, the lowest first.
    pub(crate) async fn indexed(&self, index: &str) -> Result<Vec<SessionId>, StoreError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(index).arg(0).arg(-1);
        ids(&self.link.ask::<Vec<String>>(&command).await?)
    }

    /// The next `limit` of all ids behind `after`, in their order.
    pub(crate) async fn next_ids(
        &self,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<SessionId>, StoreError> {
        let behind = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let pages = (0..keys::ID_SETS).map(|set| {
            let mut command = redis::cmd("ZRANGEBYLEX");
            command.arg(keys::ids(set)).arg(&behind).arg("+").arg("LIMIT").arg(0).arg(limit);
            async move { ids(&self.link.ask::<Vec<String>>(&command).await?) }
        });
        let mut all = try_join_all(pages).await?.concat();
        all.sort_unstable();
        all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(all)
    }

    /// Deletes a session with what belongs to it.
    pub(crate) async fn forget(&self, stored: &Stored) -> Result<(), StoreError> {
        let session = &stored.session;
        if let Some(key) = stored.idempotency {
            let arguments = [session.id.to_string()];
            self.run::<()>(scripts::FORGET_KEY, &[&keys::idempotency(key)], &arguments).await?;
        }
        let mut command = redis::cmd("DEL");
        command.arg(keys::session(session.id));
        self.link.ask::<()>(&command).await?;
        for index in indexes(session) {
            self.remove_from(&index.key, session.id).await?;
        }
        Ok(())
    }

    /// Measures a call of a port, and puts it into a span.
    pub(crate) async fn observed<T>(
        &self,
        operation: StoreOperation,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let span = tracing::debug_span!(
            "store",
            db.system.name = "redis",
            db.operation.name = operation.name()
        );
        let started = self.clock.monotonic();
        let result = call.instrument(span).await;
        self.metrics.store_query(operation, self.clock.monotonic().saturating_sub(started));
        result
    }
}

/// An index that has a session.
pub(crate) struct Index {
    pub(crate) key: String,
    /// The most sessions that it has; 0 for any number.
    pub(crate) limit: u32,
    /// Whether it is kept for ever, and not only for as long as its last session.
    pub(crate) is_lasting: bool,
}

/// How many sessions of one user, and of one identity, are listed; of more, those that were opened last.
const LISTED: u32 = 1000;

/// The indexes that have a session.
pub(crate) fn indexes(session: &Session) -> Vec<Index> {
    let mut indexes = vec![
        Index { key: keys::ids_with(session.id), limit: 0, is_lasting: true },
        Index { key: keys::of_user(session.user), limit: LISTED, is_lasting: false },
        Index { key: keys::of_identity(&session.identity), limit: LISTED, is_lasting: false },
    ];
    if let Some(sid) = &session.upstream_sid {
        let key = keys::of_upstream_session(&session.identity.issuer, sid);
        indexes.push(Index { key, limit: 0, is_lasting: false });
    }
    indexes
}

fn command(script: &str, keys: &[&str], arguments: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(*key);
    }
    for argument in arguments {
        command.arg(argument);
    }
    command
}

fn ids(texts: &[String]) -> Result<Vec<SessionId>, StoreError> {
    let parsed = texts.iter().map(|text| SessionId::parse(text));
    parsed.collect::<Option<_>>().ok_or_else(|| corrupt("an id in an index"))
}

fn changed(id: SessionId, answer: Value) -> Result<Changed, StoreError> {
    type Parts = (u8, HashMap<String, String>, (u64, u64));
    if <(u8,)>::from_redis_value(answer.clone()).is_ok_and(|(state,)| state == 0) {
        return Ok(Changed::Gone);
    }
    let (state, hash, (seconds, micros)) =
        Parts::from_redis_value(answer).map_err(|_| corrupt("the fields of a session"))?;
    let stored = Box::new(row::stored(id, hash, seconds * 1_000_000 + micros)?);
    Ok(if state == 2 { Changed::Made(stored) } else { Changed::Otherwise(stored) })
}
