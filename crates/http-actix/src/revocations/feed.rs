//! Reads the log of revocations for all streams of the process, while there are any.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mintgate_domain::model::RevocationCursor;
use mintgate_domain::ports::{Clock, RevocationPage};
use mintgate_domain::{AuthError, FollowRevocations};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::stopping::{Phase, Stopping};

/// How often the log is looked at. What has ended is to be known within a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long after the log could be read it counts as known.
const KNOWN_FOR: Duration = Duration::from_secs(2);

/// What the streams have of the routes' ports.
#[derive(Clone)]
pub(crate) struct FollowedPorts {
    pub(crate) runtime: Handle,
    pub(crate) clock: Arc<dyn Clock>,
    /// How far the service is on the way to its end.
    pub(crate) stopping: Arc<Stopping>,
}

/// What has come behind a place; nothing until something comes.
pub(crate) type News = Option<Arc<(RevocationCursor, RevocationPage)>>;

/// The newest part of the log, for all streams.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<Reader>);

#[derive(Debug, Default)]
struct Reader {
    /// Where the task that reads says what has come; gone with the task.
    news: Weak<watch::Sender<News>>,
    /// Whether the configuration was replaced, so that every stream has to begin again.
    is_closed: bool,
    /// When the log was read last, on the monotonic clock.
    read_at: Option<Duration>,
}

impl Feed {
    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of what comes from now on, until the stream has to end. The first one has the log read, behind
    /// this place.
    pub(crate) fn join(
        self: &Arc<Self>,
        revocations: &Arc<FollowRevocations>,
        ports: &FollowedPorts,
        place: &RevocationCursor,
    ) -> watch::Receiver<News> {
        let mut reader = self.reader();
        if let Some(news) = reader.news.upgrade() {
            return news.subscribe();
        }
        let (news, hears) = watch::channel(None);
        let news = Arc::new(news);
        (reader.news, reader.read_at) = (Arc::downgrade(&news), None);
        let (feed, revocations) = (Arc::clone(self), Arc::clone(revocations));
        ports.runtime.spawn(feed.read(news, revocations, ports.clone(), place.clone()));
        hears
    }

    /// Ends every stream, so that its client authenticates again.
    pub(crate) fn close(&self) {
        self.reader().is_closed = true;
    }

    /// Whether the log could be read a moment ago: then whoever knows all news knows all there is.
    pub(crate) fn is_known(&self, now: Duration) -> bool {
        self.reader().read_at.is_some_and(|at| now.saturating_sub(at) < KNOWN_FOR)
    }

    /// Whether there is nobody to read for, or nobody may be read for. In the same turn of the lock, so that
    /// whoever joins afterwards has the log read anew.
    fn ends(&self, news: &watch::Sender<News>, ports: &FollowedPorts) -> bool {
        let mut reader = self.reader();
        let is_over = reader.is_closed || ports.stopping.has_begun(Phase::Ends);
        let ends = is_over || news.receiver_count() == 0;
        if ends {
            reader.news = Weak::new();
        }
        ends
    }

    async fn read(
        self: Arc<Self>,
        news: Arc<watch::Sender<News>>,
        revocations: Arc<FollowRevocations>,
        ports: FollowedPorts,
        mut place: RevocationCursor,
    ) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if self.ends(&news, &ports) {
                return;
            }
            let began = ports.clock.monotonic();
            match revocations.page(Some(&place)).await {
                Ok(page) => {
                    if page.more {
                        looks.reset_immediately();
                    }
                    if !page.events.is_empty() {
                        let before = std::mem::replace(&mut place, page.cursor.clone());
                        news.send_replace(Some(Arc::new((before, page))));
                    }
                    self.reader().read_at = Some(began);
                }
                // A backup was restored: whoever comes again begins anew.
                Err(AuthError::NoSuchPlace) => {
                    self.reader().news = Weak::new();
                    return;
                }
                // The streams have no heartbeat meanwhile, which tells their clients.
                Err(_) => {}
            }
        }
    }
}
