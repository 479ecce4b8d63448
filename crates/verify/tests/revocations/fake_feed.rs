//! The endpoints of Mintgate that a follower of the feed calls, and faults to order.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::signer::Signer;
use crate::{HEARTBEAT, now};

pub(crate) const CLIENT: &str = "orders";
pub(crate) const SECRET: &str = "secret";
const PAGE: usize = 1000;

type Shared = Arc<Mutex<Server>>;

pub(crate) struct FakeFeed {
    url: String,
    signer: Arc<Signer>,
    server: Shared,
}

struct Server {
    url: String,
    signers: Vec<Arc<Signer>>,
    /// Changes with each restore.
    log: u32,
    events: Vec<Value>,
    streams: Vec<UnboundedSender<Vec<u8>>>,
    opened: usize,
    last_said: String,
    refuses: bool,
    holds: bool,
    is_quiet: bool,
    introspection: Option<bool>,
}

impl FakeFeed {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let signer = Arc::new(Signer::es256("1"));
        let server = Arc::new(Mutex::new(Server {
            url: url.clone(),
            signers: vec![Arc::clone(&signer)],
            log: 1,
            events: Vec::new(),
            streams: Vec::new(),
            opened: 0,
            last_said: String::new(),
            refuses: false,
            holds: false,
            is_quiet: false,
            introspection: None,
        }));
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(jwks))
            .route("/api/v1/auth/revocations", get(revocations))
            .route("/oauth2/introspect", post(introspect))
            .with_state(Arc::clone(&server));
        tokio::spawn(async move { axum::serve(listener, router).await });
        tokio::spawn(beat(Arc::clone(&server)));
        Self { url, signer, server }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Signs with another key from now on.
    pub(crate) fn rotate(&mut self) {
        self.signer = Arc::new(Signer::es256("2"));
        self.lock().signers.insert(0, Arc::clone(&self.signer));
    }

    /// Logs an event, and tells it on all streams.
    pub(crate) fn end(&self, event: Value) {
        let mut server = self.lock();
        let after = server.cursor();
        server.events.push(event.clone());
        let message = server.signed(&after, &server.cursor(), false, &[event]);
        server.say(&message);
    }

    /// Logs an event, and tells it on no stream.
    pub(crate) fn end_unsaid(&self, event: Value) {
        self.lock().events.push(event);
    }

    /// The claims of a message with these events after the last ones, but for `changes`.
    pub(crate) fn message(&self, events: &[Value], changes: &Value) -> Value {
        let server = self.lock();
        let mut claims = server.claims(&server.cursor(), "1.999999", false, events);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    pub(crate) fn heartbeat(&self) -> String {
        self.lock().heartbeat()
    }

    pub(crate) fn say(&self, message: &str) {
        self.lock().say(message);
    }

    pub(crate) fn say_again(&self) {
        let mut server = self.lock();
        let message = server.last_said.clone();
        server.say(&message);
    }

    pub(crate) fn say_half(&self) {
        let mut server = self.lock();
        let after = server.cursor();
        let message = server.signed(&after, "1.999999", false, &[]);
        server.send(&format!("data: {}", &message[..message.len() / 2]));
    }

    /// Another log, as after a restored backup.
    pub(crate) fn restore(&self, events: Vec<Value>) {
        let mut server = self.lock();
        server.log += 1;
        server.events = events;
    }

    pub(crate) fn disconnect(&self) {
        self.lock().streams.clear();
    }

    /// How many streams have been opened.
    pub(crate) fn streams(&self) -> usize {
        self.lock().opened
    }

    /// Answers 503 to all who read the feed.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.lock().refuses = refuses;
    }

    /// Sends nothing on streams.
    pub(crate) fn hold_streams(&self) {
        self.lock().holds = true;
    }

    /// Sends no heartbeats.
    pub(crate) fn be_quiet(&self) {
        self.lock().is_quiet = true;
    }

    /// What introspection says; `None` is a 503.
    pub(crate) fn introspect(&self, active: Option<bool>) {
        self.lock().introspection = active;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }
}

impl Server {
    fn cursor(&self) -> String {
        format!("{}.{}", self.log, self.events.len())
    }

    fn claims(&self, after: &str, cursor: &str, more: bool, events: &[Value]) -> Value {
        json!({
            "iss": self.url, "aud": CLIENT, "iat": now(), "after": after, "cursor": cursor,
            "more": more, "events": events,
        })
    }

    fn signed(&self, after: &str, cursor: &str, more: bool, events: &[Value]) -> String {
        let claims = self.claims(after, cursor, more, events);
        self.signers[0].token_with(&json!({ "typ": "revocations+jwt" }), &claims)
    }

    fn heartbeat(&self) -> String {
        self.signed(&self.cursor(), &self.cursor(), false, &[])
    }

    fn say(&mut self, message: &str) {
        message.clone_into(&mut self.last_said);
        self.send(&format!("data: {message}\n\n"));
    }

    fn send(&mut self, text: &str) {
        if !self.holds {
            self.streams.retain(|stream| stream.send(text.as_bytes().to_vec()).is_ok());
        }
    }

    /// The events behind a cursor, and where they begin.
    fn place(&self, after: &str) -> Option<usize> {
        if after.is_empty() {
            return Some(0);
        }
        let (log, position) = after.split_once('.')?;
        let position: usize = position.parse().ok()?;
        (log == self.log.to_string() && position <= self.events.len()).then_some(position)
    }

    /// The page behind a place, signed.
    fn page(&self, after: &str, place: usize) -> String {
        let end = self.events.len().min(place + PAGE);
        let cursor = format!("{}.{end}", self.log);
        self.signed(after, &cursor, end < self.events.len(), &self.events[place..end])
    }
}

async fn beat(server: Shared) {
    loop {
        tokio::time::sleep(HEARTBEAT / 2).await;
        let mut server = server.lock().unwrap();
        if !server.is_quiet {
            let message = server.heartbeat();
            server.send(&format!("data: {message}\n\n"));
        }
    }
}

async fn metadata(State(server): State<Shared>) -> String {
    let url = server.lock().unwrap().url.clone();
    json!({ "issuer": url, "jwks_uri": format!("{url}/jwks") }).to_string()
}

async fn jwks(State(server): State<Shared>) -> String {
    let keys: Vec<_> = server.lock().unwrap().signers.iter().map(|it| it.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

async fn introspect(State(server): State<Shared>, headers: HeaderMap, body: String) -> Response {
    if !is_client(&headers) || !body.starts_with("token=eyJ") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match server.lock().unwrap().introspection {
        Some(active) => json!({ "active": active }).to_string().into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn is_client(headers: &HeaderMap) -> bool {
    let expected = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")));
    headers.get(header::AUTHORIZATION).is_some_and(|it| it == expected.as_str())
}

#[derive(serde::Deserialize)]
struct After {
    after: String,
}

async fn revocations(
    State(server): State<Shared>,
    Query(After { after }): Query<After>,
    headers: HeaderMap,
) -> Response {
    if !is_client(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut server = server.lock().unwrap();
    if server.refuses {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Some(place) = server.place(&after) else { return StatusCode::CONFLICT.into_response() };
    let page = server.page(&after, place);
    if headers.get(header::ACCEPT).is_none_or(|accept| accept != "text/event-stream") {
        return ([(header::CONTENT_TYPE, "application/jwt")], page).into_response();
    }
    let (sender, receiver) = unbounded_channel();
    server.streams.push(sender);
    server.opened += 1;
    let first = format!("data: {page}\n\n");
    if !server.holds && place < server.events.len() {
        server.streams.last().unwrap().send(first.into_bytes()).unwrap();
    }
    let next = |mut receiver: UnboundedReceiver<Vec<u8>>| async {
        let chunk = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(chunk), receiver))
    };
    let body = Body::from_stream(futures_util::stream::unfold(receiver, next));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}
