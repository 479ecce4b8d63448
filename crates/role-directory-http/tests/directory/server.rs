//! A user system on the wire that says whatever a test wants said, and remembers what it was asked.

use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mintgate_domain::model::{ExternalIdentity, ProviderId, Role, UserId};
use mintgate_domain::ports::{RoleDirectory, RoleLookupError, RoleQuestion};
use mintgate_domain::{SecretText, chain};
use mintgate_role_directory_http::{HttpRoleDirectory, LookupFailure, RoleDirectoryConfig};
use mintgate_testkit::ManualClock;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use url::Url;
use uuid::Uuid;

pub(crate) const TOKEN: &str = "the-s3cret-token";
/// Enough for any machine.
const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const TTL: Duration = Duration::from_mins(1);

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Method and target.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What is sent back.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These bytes, and the end of the connection.
    Bytes(String),
    /// These bytes, and then this one over and over, with a pause in between.
    Endless(String, u8, Duration),
}

/// An answer with a status line, a media type and a body.
pub(crate) fn reply(status: &str, content_type: &str, body: &str) -> Reply {
    Reply::Bytes(format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    ))
}

/// A proper answer.
pub(crate) fn roles(roles: &[&str]) -> Reply {
    let body = serde_json::json!({ "roles": roles }).to_string();
    reply("200 OK", "application/json", &body)
}

/// A server of one answer, which holds it back if it is told to.
pub(crate) struct Server {
    pub(crate) origin: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    reply: Mutex<Reply>,
    requests: Mutex<Vec<Request>>,
    count: watch::Sender<usize>,
    /// A permit for each answer that may go out.
    gate: Semaphore,
}

impl Server {
    /// Answers at once.
    pub(crate) async fn start(reply: Reply) -> Self {
        let server = Self::holding(reply).await;
        server.shared.gate.add_permits(Semaphore::MAX_PERMITS);
        server
    }

    /// Answers when it is let go.
    pub(crate) async fn holding(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            reply: Mutex::new(reply),
            requests: Mutex::default(),
            count: watch::Sender::new(0),
            gate: Semaphore::new(0),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { origin, shared, task }
    }

    /// Lets so many answers go.
    pub(crate) fn let_go(&self, answers: usize) {
        self.shared.gate.add_permits(answers);
    }

    pub(crate) fn say(&self, reply: Reply) {
        *self.shared.reply.lock().unwrap() = reply;
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Waits until so many requests have come; a test that waits in vain fails.
    pub(crate) async fn asked(&self, times: usize) {
        let mut count = self.shared.count.subscribe();
        let come = count.wait_for(|count| *count >= times);
        tokio::time::timeout(DEADLINE, come).await.unwrap().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> Option<()> {
    let request = read(&mut stream).await?;
    shared.requests.lock().unwrap().push(request);
    shared.count.send_modify(|count| *count += 1);
    shared.gate.acquire().await.ok()?.forget();
    let reply = shared.reply.lock().unwrap().clone();
    match reply {
        Reply::Bytes(bytes) => stream.write_all(bytes.as_bytes()).await.ok()?,
        Reply::Endless(bytes, more, pause) => {
            stream.write_all(bytes.as_bytes()).await.ok()?;
            loop {
                let burst = if pause.is_zero() { 4096 } else { 1 };
                stream.write_all(&vec![more; burst]).await.ok()?;
                tokio::time::sleep(pause).await;
            }
        }
    }
    stream.shutdown().await.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = serde_json::from_slice(&bytes[end + 4..]).unwrap();
    Some(Request { line, headers, body })
}

/// A directory, its clock, and somebody to ask about.
pub(crate) struct Rig {
    pub(crate) directory: Arc<HttpRoleDirectory>,
    pub(crate) clock: Arc<ManualClock>,
}

impl Rig {
    pub(crate) fn new(server: &Server, change: impl FnOnce(&mut RoleDirectoryConfig)) -> Self {
        let mut config = RoleDirectoryConfig {
            url: Url::parse(&format!("{}/roles?v=1", server.origin)).unwrap(),
            token: Some(SecretText::new(TOKEN)),
            timeout: Duration::from_secs(30),
            cache: TTL,
        };
        change(&mut config);
        let clock = Arc::new(ManualClock::default());
        let directory = Arc::new(HttpRoleDirectory::new(config, clock.clone()).unwrap());
        Self { directory, clock }
    }

    /// The roles of ada.
    pub(crate) async fn ask(&self) -> Result<Vec<Role>, RoleLookupError> {
        self.ask_about(&Person::default()).await
    }

    pub(crate) async fn ask_about(&self, person: &Person) -> Result<Vec<Role>, RoleLookupError> {
        let Person { user, provider, identity } = person;
        self.directory.roles(RoleQuestion { user: *user, provider, identity }).await
    }

    pub(crate) async fn names(&self) -> Vec<String> {
        self.ask().await.unwrap().iter().map(|role| role.as_str().to_owned()).collect()
    }

    /// Why the lookup failed. Checks that no secret is in the error.
    pub(crate) async fn failure(&self) -> LookupFailure {
        let error = self.ask().await.unwrap_err();
        let shown = format!("{} {error:?}", chain(&error));
        for secret in ["s3cret", "127.0.0.1", "v=1"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        failure_of(&error)
    }
}

/// Why a lookup failed.
pub(crate) fn failure_of(error: &RoleLookupError) -> LookupFailure {
    error.0.source().unwrap().downcast_ref::<LookupFailure>().unwrap().clone()
}

/// Somebody whose roles are looked up.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) user: UserId,
    pub(crate) provider: ProviderId,
    pub(crate) identity: ExternalIdentity,
}

impl Default for Person {
    fn default() -> Self {
        Self {
            user: UserId::from_uuid(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001)),
            provider: ProviderId::new("corp"),
            identity: ExternalIdentity {
                issuer: "https://idp.example.com".to_owned(),
                subject: "ada \"\\\u{1}é".to_owned(),
            },
        }
    }
}
