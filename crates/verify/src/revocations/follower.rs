//! The task that follows the feed: a snapshot, then what is new, by server-sent events or, where a proxy holds them back, by polling.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::ended::Ended;
use super::feed::Feed;
use super::settings::Revocations;
use super::sse::Messages;
use super::statement::{Event, Expected, Statement, Unacceptable};
use crate::Refusal;
use crate::clock::Clock;
use crate::fetch::FetchError;
use crate::http::HttpFetch;
use crate::keys::Keys;
use crate::verifier::Rules;

/// The longest response with a part of the log, in bytes.
const MAX_PAGE: usize = 4 * 1024 * 1024;
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How many times to poll before server-sent events are tried again, if two connections brought none.
const POLLS: u32 = 300;
const FORGET_EVERY: Duration = Duration::from_mins(1);
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// How many questions about tokens may be open at a time.
const MAX_QUESTIONS: usize = 64;

/// A feed that is being followed, until this is dropped.
pub(crate) struct Following {
    pub(crate) feed: Arc<Feed>,
    connection: Arc<Connection>,
    questions: Semaphore,
    task: AbortHandle,
}

/// Where and as whom the feed is read.
struct Connection {
    http: HttpFetch,
    url: String,
    introspection_url: String,
    authorization: String,
}

/// Follows the feed of this issuer.
pub(crate) fn start(
    settings: Revocations,
    issuer: &str,
    rules: &Rules,
    keys: Arc<Keys>,
    runtime: &tokio::runtime::Handle,
) -> Result<Following, FetchError> {
    let base = issuer.trim_end_matches('/');
    let credentials = STANDARD.encode(format!("{}:{}", settings.client, settings.secret));
    let connection = Arc::new(Connection {
        http: HttpFetch::new()?,
        url: settings.url.unwrap_or_else(|| format!("{base}/api/v1/auth/revocations")),
        introspection_url: settings
            .introspection_url
            .unwrap_or_else(|| format!("{base}/oauth2/introspect")),
        authorization: format!("Basic {credentials}"),
    });
    let (at_start, when_stale) = (settings.at_start, settings.when_stale);
    let feed = Arc::new(Feed::new(at_start, settings.stale_after, when_stale));
    let follower = Follower {
        connection: Arc::clone(&connection),
        feed: Arc::clone(&feed),
        expected: Expected {
            issuer: issuer.to_owned(),
            client: settings.client,
            algorithms: rules.algorithms.clone(),
        },
        keys,
        clock: rules.clock.clone(),
        silence: settings.heartbeat * 3,
        cursor: None,
        last_issued: i64::MIN,
        pause: FIRST_PAUSE,
        silent_streams: 0,
        polls: 0,
    };
    let task = runtime.spawn(follower.run()).abort_handle();
    Ok(Following { feed, connection, questions: Semaphore::new(MAX_QUESTIONS), task })
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Following {
    /// Asks the issuer whether a token is still good (RFC 7662).
    pub(crate) async fn ask(&self, token: &str) -> Result<(), Refusal> {
        let Ok(_place) = self.questions.try_acquire() else {
            return Err(Refusal::RevocationsStale);
        };
        match timeout(ASK_LIMIT, self.connection.introspect(token)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Refusal::SessionEnded),
            Ok(Err(_)) | Err(_) => Err(Refusal::RevocationsStale),
        }
    }
}

impl Connection {
    async fn get(&self, after: &str, accept: &str) -> Result<Response<Incoming>, Problem> {
        let after: String = after.bytes().map(encoded).collect();
        let url = format!("{}?after={after}", self.url);
        let headers = [("authorization", self.authorization.as_str()), ("accept", accept)];
        let response = self.http.send(Method::GET, &url, &headers, String::new());
        let response = timeout(REQUEST_LIMIT, response).await??;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::CONFLICT => Err(Problem::StartAgain),
            status => Err(Problem::Status(status)),
        }
    }

    async fn introspect(&self, token: &str) -> Result<bool, FetchError> {
        #[derive(serde::Deserialize)]
        struct Told {
            active: bool,
        }
        let headers = [
            ("authorization", self.authorization.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
        ];
        // A JWT needs no encoding.
        let body = format!("token={token}&token_type_hint=access_token");
        let response =
            self.http.send(Method::POST, &self.introspection_url, &headers, body).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::new("the introspection endpoint refuses"));
        }
        let body = HttpFetch::read(response, MAX_PAGE).await?;
        let told: Told = serde_json::from_slice(&body)
            .map_err(|_| FetchError::new("the answer is no introspection response"))?;
        Ok(told.active)
    }
}

/// A byte of a query parameter (RFC 3986 §2.1).
fn encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// Why the feed cannot be followed further on this connection.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the log begins anew")]
    StartAgain,
    #[error("the message does not follow the one before")]
    NotNext,
    #[error("the feed answers {0}")]
    Status(StatusCode),
    #[error("nothing has arrived for too long")]
    Silence(#[from] tokio::time::error::Elapsed),
    #[error(transparent)]
    Http(#[from] FetchError),
    #[error("{0}")]
    Stream(String),
    #[error(transparent)]
    Unacceptable(#[from] Unacceptable),
}

struct Follower {
    connection: Arc<Connection>,
    feed: Arc<Feed>,
    expected: Expected,
    keys: Arc<Keys>,
    clock: Clock,
    /// After how much silence a connection is given up.
    silence: Duration,
    /// The place up to which the log has been read.
    cursor: Option<String>,
    /// The time of the last message, in seconds since 1970.
    last_issued: i64,
    pause: Duration,
    silent_streams: u32,
    /// How many more times to poll.
    polls: u32,
}

impl Follower {
    async fn run(mut self) {
        let feed = Arc::clone(&self.feed);
        let clock = self.clock.clone();
        let forget = async move {
            let mut ticks = interval(FORGET_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                feed.ended.load().forget(clock.now());
            }
        };
        let follow = async {
            loop {
                if let Err(problem) = self.follow().await {
                    self.note(&problem);
                }
                sleep(self.pause).await;
                self.pause = (self.pause * 2).min(LAST_PAUSE);
            }
        };
        tokio::join!(forget, follow);
    }

    fn note(&mut self, problem: &Problem) {
        if matches!(problem, Problem::StartAgain | Problem::NotNext) {
            self.cursor = None;
        }
        self.feed.failures.fetch_add(1, Ordering::Relaxed);
        let url = &self.connection.url;
        tracing::warn!(%url, error = %problem, "the feed of ended sessions cannot be followed");
    }

    /// Follows the feed until the connection ends.
    async fn follow(&mut self) -> Result<(), Problem> {
        let cursor = match self.cursor.clone() {
            Some(cursor) => cursor,
            None => self.snapshot().await?,
        };
        if self.polls > 0 {
            self.polls -= 1;
            return self.poll(&cursor, "application/jwt").await;
        }
        self.poll(&cursor, "text/event-stream").await
    }

    /// Reads the log from its beginning, and replaces what is known in one step.
    async fn snapshot(&mut self) -> Result<String, Problem> {
        let ended = Ended::default();
        let mut after = String::new();
        loop {
            let response = self.connection.get(&after, "application/jwt").await?;
            let statement = self.page(response, &|_, events| ended.add(events)).await?;
            if statement.after != after {
                return Err(Problem::NotNext);
            }
            after = statement.cursor;
            if !statement.more {
                self.last_issued = statement.issued_at;
                break;
            }
        }
        self.feed.replace(ended);
        self.feed.note_news();
        self.cursor = Some(after.clone());
        Ok(after)
    }

    /// Reads what is behind the cursor: all messages of a stream, or one.
    async fn poll(&mut self, cursor: &str, accept: &str) -> Result<(), Problem> {
        let response = self.connection.get(cursor, accept).await?;
        let media_type = response.headers().get("content-type");
        let is_stream =
            media_type.is_some_and(|it| it.as_bytes().starts_with(b"text/event-stream"));
        if is_stream {
            return self.stream(response).await;
        }
        let feed = Arc::clone(&self.feed);
        let add = |statement: &Statement, events: &[Event<'_>]| {
            if statement.after == cursor {
                feed.ended.load().add(events);
            }
        };
        let statement = self.page(response, &add).await?;
        let more = statement.more;
        self.advance(statement)?;
        self.pause = if more { Duration::ZERO } else { POLL_EVERY / 2 };
        Ok(())
    }

    async fn page(
        &self,
        response: Response<Incoming>,
        add: &(impl Fn(&Statement, &[Event<'_>]) + Sync),
    ) -> Result<Statement, Problem> {
        let body = timeout(REQUEST_LIMIT, HttpFetch::read(response, MAX_PAGE)).await??;
        let text = std::str::from_utf8(&body)
            .map_err(|_| Problem::Stream("the answer is not text".to_owned()))?;
        self.read(text.trim_ascii(), add).await
    }

    async fn stream(&mut self, response: Response<Incoming>) -> Result<(), Problem> {
        let mut body = response.into_body();
        let mut messages = Messages::default();
        let mut is_silent = true;
        loop {
            let frame = match timeout(self.silence, body.frame()).await {
                Ok(Some(frame)) => frame.map_err(|error| Problem::Stream(error.to_string()))?,
                Ok(None) => return Ok(()),
                Err(silence) => {
                    self.silent_streams = if is_silent { self.silent_streams + 1 } else { 0 };
                    if self.silent_streams >= 2 {
                        (self.silent_streams, self.polls) = (0, POLLS);
                    }
                    return Err(silence.into());
                }
            };
            let Some(chunk) = frame.data_ref() else { continue };
            let complete = messages.take(chunk).map_err(|it| Problem::Stream(it.to_owned()))?;
            for message in complete {
                is_silent = false;
                let feed = Arc::clone(&self.feed);
                let cursor = self.cursor.clone();
                let add = |statement: &Statement, events: &[Event<'_>]| {
                    if Some(&statement.after) == cursor.as_ref() {
                        feed.ended.load().add(events);
                    }
                };
                let statement = self.read(&message, &add).await?;
                self.advance(statement)?;
            }
        }
    }

    /// Verifies a message, with a key that is fetched if it is new.
    async fn read(
        &self,
        message: &str,
        add: &(impl Fn(&Statement, &[Event<'_>]) + Sync),
    ) -> Result<Statement, Problem> {
        let read = || self.expected.read(message, &self.keys, self.clock.now(), add);
        match read() {
            Err(Unacceptable::UnknownKey) => {
                self.keys.wait_for(|| false).await.ok();
                Ok(read()?)
            }
            other => Ok(other?),
        }
    }

    /// Notes how far the log has been read.
    fn advance(&mut self, statement: Statement) -> Result<(), Problem> {
        let cursor = self.cursor.as_ref();
        if Some(&statement.after) != cursor {
            // A message that came twice has brought nothing new.
            return if Some(&statement.cursor) == cursor { Ok(()) } else { Err(Problem::NotNext) };
        }
        let is_news = statement.issued_at > self.last_issued || statement.after != statement.cursor;
        if is_news {
            // A heartbeat that somebody replays has no later time.
            self.last_issued = statement.issued_at.max(self.last_issued);
            self.feed.note_news();
            self.pause = FIRST_PAUSE;
        }
        self.cursor = Some(statement.cursor);
        Ok(())
    }
}
