//! What is known of the feed, and what follows from it for a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::ended::Ended;
use super::settings::{AtStart, WhenStale};
use crate::{Claims, Refusal};

/// What is known of one issuer's feed of ended sessions.
pub(crate) struct Feed {
    pub(super) ended: ArcSwap<Ended>,
    started: Instant,
    /// Milliseconds from `started` to the last news.
    last_news: AtomicU64,
    has_snapshot: AtomicBool,
    accepted_unsure: AtomicU64,
    pub(super) snapshots: AtomicU64,
    pub(super) failures: AtomicU64,
    at_start: AtStart,
    stale_after: Duration,
    when_stale: WhenStale,
}

/// The state of a feed of ended sessions, for metrics.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FeedStatus {
    /// Whether the feed has been read since the start.
    pub has_snapshot: bool,
    /// The time since the last news, a heartbeat included; before the first news, since the start. It grows by itself while
    /// nothing arrives, and is normally at most the interval of the heartbeat, 5 s.
    pub lag: Duration,
    /// How many ended sessions are remembered.
    pub sessions: usize,
    /// Of how many users all earlier tokens are refused.
    pub users: usize,
    /// How many tokens have been accepted without knowing whether their session had ended: before the first snapshot,
    /// or while the feed was stale.
    pub accepted_unsure: u64,
    /// How often the feed has been read from its beginning.
    pub snapshots: u64,
    /// How often reading the feed has failed.
    pub failures: u64,
}

impl Feed {
    pub(super) fn new(at_start: AtStart, stale_after: Duration, when_stale: WhenStale) -> Self {
        Self {
            ended: ArcSwap::from_pointee(Ended::default()),
            started: Instant::now(),
            last_news: AtomicU64::new(0),
            has_snapshot: AtomicBool::new(false),
            accepted_unsure: AtomicU64::new(0),
            snapshots: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            at_start,
            stale_after,
            when_stale,
        }
    }

    /// Replaces everything that is known, in one step.
    pub(super) fn replace(&self, ended: Ended) {
        self.ended.store(Arc::new(ended));
        self.has_snapshot.store(true, Ordering::Release);
        self.snapshots.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that there was news now.
    pub(super) fn note_news(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_news.store(millis, Ordering::Relaxed);
    }

    fn lag(&self) -> Duration {
        let news = Duration::from_millis(self.last_news.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(news)
    }

    /// # Errors
    /// The session of the token has ended, or this cannot be told.
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), Refusal> {
        if self.ended.load().covers(claims) {
            return Err(Refusal::SessionEnded);
        }
        if !self.has_snapshot.load(Ordering::Acquire) {
            return match self.at_start {
                AtStart::Refuse => Err(Refusal::RevocationsNotFetched),
                AtStart::Accept => self.accept_unsure(),
            };
        }
        let lag = self.lag();
        if lag <= self.stale_after {
            return Ok(());
        }
        match self.when_stale {
            WhenStale::Accept { at_most } if lag <= at_most => self.accept_unsure(),
            WhenStale::Accept { .. } | WhenStale::Refuse | WhenStale::Ask => {
                Err(Refusal::RevocationsStale)
            }
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the result of a check")]
    fn accept_unsure(&self) -> Result<(), Refusal> {
        self.accepted_unsure.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Whether Mintgate is to be asked about a token that [`check`](Self::check) refuses because the feed is stale.
    pub(crate) fn asks(&self) -> bool {
        self.when_stale == WhenStale::Ask
    }

    /// Whether tokens can be accepted.
    pub(crate) fn is_ready(&self) -> bool {
        self.has_snapshot.load(Ordering::Acquire) || self.at_start == AtStart::Accept
    }

    pub(crate) fn status(&self) -> FeedStatus {
        let (sessions, users) = self.ended.load().counts();
        FeedStatus {
            has_snapshot: self.has_snapshot.load(Ordering::Acquire),
            lag: self.lag(),
            sessions,
            users,
            accepted_unsure: self.accepted_unsure.load(Ordering::Relaxed),
            snapshots: self.snapshots.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}
