//! One stream of statements about the log of revocations.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use mintgate_domain::FollowRevocations;
use mintgate_domain::model::RevocationCursor;
use mintgate_domain::ports::RevocationPage;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, MissedTickBehavior};

use super::feed::{Feed, FollowedPorts, News};
use crate::admission::Place;
use crate::metrics::HttpMetrics;
use crate::stopping::Phase;

/// How long a stream is silent at most, as long as the log can be read.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a client may take to read a message before its stream is cut.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon a client that is cut should come again, in milliseconds.
const RETRY: &str = "retry: 1000\n";

/// A stream that is open: its place, and its part of the count.
pub(super) struct OpenStream {
    _place: Place,
    metrics: Arc<dyn HttpMetrics>,
}

impl OpenStream {
    pub(super) fn new(place: Place, metrics: Arc<dyn HttpMetrics>) -> Self {
        metrics.revocation_stream(true);
        Self { _place: place, metrics }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.metrics.revocation_stream(false);
    }
}

/// Tells one client of everything that is logged.
pub(super) struct Follower {
    pub(super) client: String,
    pub(super) revocations: Arc<FollowRevocations>,
    pub(super) feed: Arc<Feed>,
    pub(super) ports: FollowedPorts,
    pub(super) sender: Sender<Bytes>,
    pub(super) open: OpenStream,
}

/// Why a stream ends.
struct Ended;

impl Follower {
    /// Tells the first page, what is behind it, and what comes, until the client or the service goes.
    pub(super) async fn run(self, after: Option<RevocationCursor>, first: RevocationPage) {
        // The client learns nothing of why: it comes again, and is refused then if it has to be.
        let _: Result<(), Ended> = self.follow(after, first).await;
    }

    async fn follow(
        &self,
        after: Option<RevocationCursor>,
        first: RevocationPage,
    ) -> Result<(), Ended> {
        let mut place = first.cursor.clone();
        let mut news = self.feed.join(&self.revocations, &self.ports, &place);
        self.send(RETRY, after.as_ref(), &first).await?;
        // What came between the first page and the news.
        self.catch_up(&mut place).await?;
        let mut beats = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.sender.closed() => return Err(Ended),
                changed = news.changed() => {
                    changed.map_err(|_| Ended)?;
                    let newest: News = news.borrow_and_update().clone();
                    match newest.as_deref() {
                        Some((before, page)) if *before == place => {
                            self.send("", Some(&place), page).await?;
                            place = page.cursor.clone();
                        }
                        // Others are further behind, or this one has missed something.
                        _ => self.catch_up(&mut place).await?,
                    }
                }
                _ = beats.tick() => {
                    if self.feed.is_known(self.ports.clock.monotonic()) {
                        let cursor = place.clone();
                        let nothing = RevocationPage { events: vec![], cursor, more: false };
                        self.send("", Some(&place), &nothing).await?;
                    }
                }
            }
        }
    }

    /// Tells what is behind the place, read for this stream alone.
    async fn catch_up(&self, place: &mut RevocationCursor) -> Result<(), Ended> {
        loop {
            let page = self.revocations.page(Some(place)).await.map_err(|_| Ended)?;
            if !page.events.is_empty() {
                self.send("", Some(place), &page).await?;
            }
            *place = page.cursor;
            if self.ports.stopping.has_begun(Phase::Ends) {
                return Err(Ended);
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Sends a page, after these lines.
    async fn send(
        &self,
        lines: &str,
        after: Option<&RevocationCursor>,
        page: &RevocationPage,
    ) -> Result<(), Ended> {
        let statement = self.revocations.statement(&self.client, after, page);
        let statement = statement.map_err(|_| Ended)?;
        let message = format!("{lines}id: {}\ndata: {}\n\n", page.cursor, statement.expose());
        let sent = self.sender.send_timeout(Bytes::from(message), PATIENCE).await;
        sent.map_err(|_| Ended)?;
        self.open.metrics.revocations_told(page.events.len());
        Ok(())
    }
}
