//! How many connections there are, which of them makes room for a new one, and what one connection and
//! the request that it carries tell each other.
//!
//! The HTTP library bounds neither: it reads up to 128 KiB of an unfinished head, waits for a second
//! head as long as the client likes, and reads an unwanted body to its end. So the stream that it is
//! given (`stream.rs`) looks here before each read.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Poll, Waker};
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};

use crate::AppState;
use crate::body::MAX_BODY_BYTES;
use crate::error::HttpErrorCode;
use crate::metrics::ConnectionChange;
use crate::stopping::Phase;

/// How many bytes of a request's head may be of its first line.
const MAX_REQUEST_LINE_BYTES: usize = 8 * 1024;
/// How long a new connection has for the first byte of a request, once the service accepts no others.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// The connections of one worker thread.
pub(crate) struct Connections {
    pub(crate) state: Arc<AppState>,
    /// How many connections all worker threads have.
    open: Arc<AtomicUsize>,
    max_open: usize,
    /// The connections of this thread, by the time since which they waited when they were put here. It
    /// is brought up to date when the longest waiting one is looked for, so a request costs nothing.
    waiting: RefCell<BinaryHeap<Waiting>>,
    /// How many connections this thread has.
    live: Cell<usize>,
}

/// A connection that was let in. When dropped, it is closed as far as its worker thread is concerned.
pub(crate) struct Admitted {
    pub(crate) link: Rc<Link>,
    pub(crate) connections: Rc<Connections>,
    /// Taken if the connection has to be read from after it is dropped.
    pub(crate) open: Option<Open>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.forget(&self.link);
    }
}

/// One of the open connections of the process; when dropped, it no longer counts.
pub(crate) struct Open(Arc<AppState>, Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Relaxed);
        self.0.ports.metrics.connection(ConnectionChange::Closed);
    }
}

impl Connections {
    /// The connections of a new worker thread; `open` counts those of all.
    pub(crate) fn new(state: Arc<AppState>, open: Arc<AtomicUsize>) -> Self {
        let max_open = state.limits.max_connections;
        Self { state, open, max_open, waiting: RefCell::default(), live: Cell::new(0) }
    }

    /// Lets a new connection in. If there are as many as there may be, the one that has waited longest
    /// for its client is closed; `None` if none waits.
    pub(crate) fn admit(self: &Rc<Self>) -> Option<Admitted> {
        let metrics = &self.state.ports.metrics;
        let before = self.open.fetch_add(1, Relaxed);
        metrics.connection(ConnectionChange::Opened);
        let open = Open(Arc::clone(&self.state), Arc::clone(&self.open));
        let now = self.state.ports.clock.monotonic();
        if before >= self.max_open {
            let Some(longest) = self.longest_waiting(now) else {
                metrics.connection(ConnectionChange::Refused);
                return None;
            };
            longest.end(Fate::MakeRoom);
            metrics.connection(ConnectionChange::ClosedForRoom);
        }
        let link = Rc::new(Link::new(now));
        let mut waiting = self.waiting.borrow_mut();
        self.live.set(self.live.get() + 1);
        if waiting.len() > 2 * self.live.get() + 64 {
            waiting.retain(|each| each.link.is_open());
        }
        waiting.push(Waiting { since: now, link: Rc::clone(&link) });
        Some(Admitted { link, connections: Rc::clone(self), open: Some(open) })
    }

    /// Forgets a connection that is closed.
    fn forget(&self, link: &Link) {
        link.closed.set(true);
        self.live.set(self.live.get() - 1);
    }

    /// Takes out the connection that has waited longest for its client; none if all are worked for.
    fn longest_waiting(&self, now: Duration) -> Option<Rc<Link>> {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.pop() {
            if !first.link.is_open() {
                continue;
            }
            match first.link.waiting_since.get() {
                Some(since) if since <= first.since => return Some(first.link),
                // Nobody has waited since before now.
                None if first.since >= now => {
                    waiting.push(first);
                    return None;
                }
                // It was used meanwhile.
                since => waiting.push(Waiting { since: since.unwrap_or(now), ..first }),
            }
        }
        None
    }

    fn end_idle(&self, are_meant: impl Fn(&Link) -> bool) {
        for Waiting { link, .. } in self.waiting.borrow().iter() {
            if link.is_open() && are_meant(link) {
                link.end_if_idle();
            }
        }
    }

    /// Ends the connections whose head is unfinished at the `most`-th call since it began.
    pub(crate) fn end_unfinished_heads(&self, most: u32) {
        for Waiting { link, .. } in self.waiting.borrow().iter() {
            if link.is_open() && link.has_unfinished_head() {
                let seen = link.seen_unfinished.get() + 1;
                link.seen_unfinished.set(seen);
                if seen >= most {
                    link.end(Fate::Refuse(HttpErrorCode::RequestTimeout));
                }
            }
        }
    }
}

/// Ends the connections of a worker thread that carry no request, once the service accepts no more of them. One
/// on which no request has arrived yet has a second for its first.
pub(crate) async fn end_idle(connections: Rc<Connections>) {
    connections.state.ports.stopping.begins(Phase::Ends).await;
    let used = |link: &Link| !link.is_first.get();
    connections.end_idle(used);
    tokio::time::sleep(FIRST_REQUEST).await;
    connections.end_idle(|_| true);
}

struct Waiting {
    since: Duration,
    link: Rc<Link>,
}

/// The longest waiting one is the greatest.
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        other.since.cmp(&self.since)
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    GoesOn,
    /// It is closed once what has been answered is sent.
    Close,
    /// The request whose head has begun is refused, then the connection is closed.
    Refuse(HttpErrorCode),
    /// It is closed at once.
    MakeRoom,
}

/// The body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// There is none, or it has been read.
    None,
    /// Unread, and of a length that we read. The HTTP library knows whether it has arrived.
    Short,
    /// Unread, and longer than what we read, or of unknown length.
    Long,
}

impl Body {
    fn announced_by(headers: &HeaderMap) -> Self {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse::<usize>().ok());
        if headers.contains_key(header::TRANSFER_ENCODING) {
            Self::Long
        } else {
            match length {
                None | Some(0) => Self::None,
                Some(length) if length <= MAX_BODY_BYTES => Self::Short,
                Some(_) => Self::Long,
            }
        }
    }
}

/// What a connection's stream and the request that it carries tell each other, on one thread.
pub(crate) struct Link {
    fate: Cell<Fate>,
    closed: Cell<bool>,
    /// Since when the connection waits for its client; `None` while the client waits.
    waiting_since: Cell<Option<Duration>>,
    /// Since when the head of a request is expected; `None` while there is a request.
    head_since: Cell<Option<Duration>>,
    is_first: Cell<bool>,
    /// What of the request's body has not been read.
    body: Cell<Body>,
    /// Whether the head that is read, or was read last, is that of a gateway's question.
    is_question: Cell<bool>,
    /// How many bytes came that are no body of a request that is worked on: of a head, or sent ahead.
    received: Cell<usize>,
    /// Whether nothing is read until the request is answered.
    is_paused: Cell<bool>,
    /// How often the unfinished head was seen.
    seen_unfinished: Cell<u32>,
    /// Whether the connection ends as soon as nothing of a request is there to be read.
    ends_idle: Cell<bool>,
    /// Wakes the task that reads from the connection.
    reader: RefCell<Option<Waker>>,
}

impl Link {
    fn new(now: Duration) -> Self {
        Self {
            fate: Cell::new(Fate::GoesOn),
            closed: Cell::new(false),
            waiting_since: Cell::new(Some(now)),
            head_since: Cell::new(Some(now)),
            is_first: Cell::new(true),
            body: Cell::new(Body::None),
            is_question: Cell::new(false),
            received: Cell::new(0),
            is_paused: Cell::new(false),
            seen_unfinished: Cell::new(0),
            ends_idle: Cell::new(false),
            reader: RefCell::new(None),
        }
    }

    /// A request with these headers has arrived.
    pub(crate) fn begin_request(&self, headers: &HeaderMap) {
        self.waiting_since.set(None);
        self.head_since.set(None);
        self.is_first.set(false);
        self.body.set(Body::announced_by(headers));
        self.received.set(0);
        self.seen_unfinished.set(0);
    }

    /// The request is answered without its body, which may never come, and which would be taken for the next
    /// request if it came later: the connection is closed behind the answer. So it is if the client wants to
    /// speak another protocol next.
    pub(crate) fn leave_body(&self, headers: &HeaderMap) {
        if self.body.get() != Body::None || headers.contains_key(header::UPGRADE) {
            self.body.set(Body::Long);
        }
    }

    /// Notes whether the head that begins is that of a gateway's question.
    pub(crate) fn begin_head(&self, is_question: bool) {
        self.is_question.set(is_question);
    }

    /// Whether the head that is read, or was read last, is that of a gateway's question.
    pub(crate) fn is_question(&self) -> bool {
        self.is_question.get()
    }

    /// A request has arrived on a connection that can carry several at once.
    pub(crate) fn begin_stream(&self) {
        self.waiting_since.set(None);
        self.head_since.set(None);
        self.is_first.set(false);
    }

    /// Every request of a connection that can carry several at once has been answered.
    pub(crate) fn end_streams(&self, now: Duration) {
        self.waiting_since.set(Some(now));
    }

    /// How long the connection has waited for its client; `None` while the client waits.
    pub(crate) fn idle_for(&self, now: Duration) -> Option<Duration> {
        self.waiting_since.get().map(|since| now.saturating_sub(since))
    }

    /// Waits until the connection has to end.
    pub(crate) async fn ended(&self) {
        poll_fn(|context| {
            if self.fate() != Fate::GoesOn {
                return Poll::Ready(());
            }
            self.remember_reader(context.waker());
            Poll::Pending
        })
        .await;
    }

    /// The body is waited for since `now`.
    pub(crate) fn wait_for_body(&self, now: Duration) {
        self.waiting_since.set(Some(now));
    }

    /// The body has arrived.
    pub(crate) fn end_body(&self) {
        self.waiting_since.set(None);
        self.body.set(Body::None);
    }

    /// The request has been answered. Returns whether the connection is closed behind the answer, because it
    /// is the last one or because there is a long body that nobody has read.
    pub(crate) fn end_request(&self, now: Duration, is_last: bool) -> bool {
        self.waiting_since.set(Some(now));
        self.head_since.set(Some(now));
        let closes = self.body.replace(Body::None) == Body::Long || is_last;
        if closes {
            self.end(Fate::Close);
        } else if self.is_paused.replace(false) {
            self.wake();
        }
        closes
    }

    /// Reads nothing more until the request is answered.
    pub(crate) fn pause(&self, reader: &Waker) {
        self.is_paused.set(true);
        self.remember_reader(reader);
    }

    /// What becomes of the connection.
    pub(crate) fn fate(&self) -> Fate {
        self.fate.get()
    }

    /// Ends the connection, unless it has ended already.
    pub(crate) fn end(&self, fate: Fate) {
        if self.fate.get() == Fate::GoesOn {
            self.fate.set(fate);
            self.wake();
        }
    }

    /// Ends the connection if its client has sent nothing since the last answer. What has arrived and was
    /// not read yet counts as sent.
    fn end_if_idle(&self) {
        self.ends_idle.set(true);
        self.wake();
    }

    /// Nothing has arrived that was not read. Returns whether the connection ends for that.
    pub(crate) fn is_let_go(&self) -> bool {
        let is_idle = self.ends_idle.get() && self.head_since.get().is_some();
        let ends = is_idle && !self.has_received();
        if ends {
            self.end(Fate::Close);
        }
        ends
    }

    fn is_open(&self) -> bool {
        !self.closed.get() && self.fate.get() == Fate::GoesOn
    }

    fn has_unfinished_head(&self) -> bool {
        self.head_since.get().is_some() && (self.is_first.get() || self.received.get() > 0)
    }

    /// Since when the head of a request is expected; `None` while there is a request.
    pub(crate) fn head_since(&self) -> Option<Duration> {
        self.head_since.get()
    }

    /// Whether anything of the next request has arrived.
    pub(crate) fn has_received(&self) -> bool {
        self.received.get() > 0
    }

    /// Notes that this many bytes were read.
    pub(crate) fn receive(&self, count: usize) {
        if self.body.get() == Body::None {
            self.received.set(self.received.get() + count);
        }
    }

    /// Whether as much was read ahead as a head of so many bytes of headers may have.
    pub(crate) fn is_full(&self, max_header_bytes: usize) -> bool {
        self.received.get() >= max_header_bytes + MAX_REQUEST_LINE_BYTES
    }

    /// Remembers whom to wake when the connection must be read from again.
    pub(crate) fn remember_reader(&self, waker: &Waker) {
        let mut reader = self.reader.borrow_mut();
        match &mut *reader {
            Some(known) => known.clone_from(waker),
            None => *reader = Some(waker.clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.reader.borrow() {
            waker.wake_by_ref();
        }
    }
}
