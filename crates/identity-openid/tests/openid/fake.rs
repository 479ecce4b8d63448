//! A provider on the wire that says whatever a test wants said, and remembers what it was asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::variants::now_secs;

pub(crate) const ACCESS_TOKEN: &str = "the-access-token";
pub(crate) const KID: &str = "key-1";

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path of the request, with its query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// What a form says; a name that comes twice is one too many.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        let mut form = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(self.body.as_bytes()) {
            assert!(form.insert(name.clone().into_owned(), value.into_owned()).is_none(), "{name}");
        }
        form
    }
}

/// An HTTP answer of the fake provider.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    /// Header lines, each with its line break, but for the length.
    headers: String,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(body: &Value) -> Self {
        Self::raw("Content-Type: application/json\r\n", body.to_string())
    }

    /// An answer of these header lines, each with its line break, and this body.
    pub(crate) fn raw(headers: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, headers: headers.to_owned(), body: body.into() }
    }

    pub(crate) fn form(body: &str) -> Self {
        Self::raw("Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n", body)
    }

    pub(crate) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

#[derive(Default)]
struct State {
    pages: BTreeMap<String, Reply>,
    requests: Vec<Request>,
}

/// A server that answers by a table of paths, without their query; 404 else.
pub(crate) struct Fake {
    pub(crate) origin: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { origin, state, task }
    }

    pub(crate) fn page(&self, path: &str, reply: Reply) {
        self.state.lock().unwrap().pages.insert(path.to_owned(), reply);
    }

    /// The requests to one path, without its query.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request> {
        let requests = &self.state.lock().unwrap().requests;
        let to_it = |request: &&Request| request.path.split('?').next() == Some(path);
        requests.iter().filter(to_it).cloned().collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some(request) = read(&mut stream).await else { return };
    let reply = {
        let mut state = state.lock().unwrap();
        let path = request.path.split('?').next().unwrap().to_owned();
        state.requests.push(request);
        let missing = || Reply::json(&json!({ "message": "Not Found" })).status(404);
        state.pages.get(&path).cloned().unwrap_or_else(missing)
    };
    let Reply { status, mut headers, body } = reply;
    if !headers.contains("Transfer-Encoding") {
        let _ = write!(headers, "Content-Length: {}\r\n", body.len());
    }
    let head = format!("HTTP/1.1 {status} Status\r\n{headers}Connection: close\r\n\r\n");
    let _ = stream.write_all(&[head.into_bytes(), body].concat()).await;
    let _ = stream.shutdown().await;
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
    let mut first = lines.next().unwrap().split(' ').map(ToOwned::to_owned);
    let (method, path) = (first.next().unwrap(), first.next().unwrap());
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
    Some(Request { method, path, headers, body })
}

/// A provider of ID tokens on the wire, with an Ed25519 key.
pub(crate) struct FakeIdp {
    pub(crate) fake: Fake,
    pub(crate) issuer: String,
    key: PKey<Private>,
}

impl FakeIdp {
    /// At a path below its origin.
    pub(crate) async fn start(path: &str) -> Self {
        let fake = Fake::start().await;
        let issuer = format!("{}{path}", fake.origin);
        let key = PKey::generate_ed25519().unwrap();
        let idp = Self { fake, issuer, key };
        idp.discover(&json!({}));
        idp.publish(&json!([idp.jwk(&json!({}))]));
        idp
    }

    /// Publishes a discovery document with changes.
    pub(crate) fn discover(&self, changes: &Value) {
        let origin = &self.fake.origin;
        let mut document = json!({
            "issuer": self.issuer,
            "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"),
            "jwks_uri": format!("{origin}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
        });
        merge(&mut document, changes);
        let path = &self.issuer[origin.len()..];
        let path = format!("{}/.well-known/openid-configuration", path.trim_end_matches('/'));
        self.fake.page(&path, Reply::json(&document));
    }

    /// Publishes keys.
    pub(crate) fn publish(&self, keys: &Value) {
        self.fake.page("/jwks", Reply::json(&json!({ "keys": keys })));
    }

    /// Its key, with changes.
    pub(crate) fn jwk(&self, changes: &Value) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.key.raw_public_key().unwrap());
        let mut jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": KID, "use": "sig" });
        merge(&mut jwk, changes);
        jwk
    }

    /// An ID token with changed claims.
    pub(crate) fn token(&self, changes: &Value) -> String {
        self.sign(&self.claims(changes))
    }

    /// An ID token of these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": KID, "typ": "JWT" });
        sign_jws(&header, claims, |message| {
            Signer::new_without_digest(&self.key).unwrap().sign_oneshot_to_vec(message).unwrap()
        })
    }

    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let now = now_secs();
        let mut claims = json!({
            "iss": self.issuer, "aud": "mintgate", "sub": "somebody", "iat": now, "exp": now + 300,
        });
        merge(&mut claims, changes);
        claims
    }

    /// Answers every code with this ID token.
    pub(crate) fn grant(&self, id_token: &str) {
        self.fake.page(
            "/token",
            Reply::json(&json!({
                "access_token": ACCESS_TOKEN, "token_type": "Bearer", "id_token": id_token,
            })),
        );
    }
}

/// Sets members, and takes those out that are to be null.
pub(crate) fn merge(object: &mut Value, changes: &Value) {
    let object = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
}

/// A compact JWS, signed as the test likes.
pub(crate) fn sign_jws(
    header: &Value,
    claims: &Value,
    sign: impl FnOnce(&[u8]) -> Vec<u8>,
) -> String {
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}
