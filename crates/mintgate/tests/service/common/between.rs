//! What can stand between the service and a provider: a forward proxy, and a server that speaks TLS.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;

/// A certificate authority, and a certificate of its for one name.
pub(crate) struct Certificates {
    /// The authority's certificate, in PEM form.
    pub(crate) authority: String,
    acceptor: SslAcceptor,
}

impl Certificates {
    pub(crate) fn made_for(name: &str) -> Self {
        let (authority_key, key) = (key(), key());
        let mut authority = unsigned("the authority", &authority_key);
        let is_authority = BasicConstraints::new().critical().ca().build().unwrap();
        authority.append_extension(is_authority).unwrap();
        authority.sign(&authority_key, MessageDigest::sha256()).unwrap();
        let authority = authority.build();
        let mut own = unsigned(name, &key);
        own.set_issuer_name(authority.subject_name()).unwrap();
        let names =
            SubjectAlternativeName::new().dns(name).build(&own.x509v3_context(None, None)).unwrap();
        own.append_extension(names).unwrap();
        own.sign(&authority_key, MessageDigest::sha256()).unwrap();
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_certificate(&own.build()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        let authority = String::from_utf8(authority.to_pem().unwrap()).unwrap();
        Self { authority, acceptor: acceptor.build() }
    }
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn unsigned(name: &str, key: &PKey<Private>) -> X509Builder {
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let subject = subject.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate
        .set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap())
        .unwrap();
    certificate.set_subject_name(&subject).unwrap();
    certificate.set_issuer_name(&subject).unwrap();
    certificate.set_pubkey(key).unwrap();
    certificate.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate
}

/// Forwards connections to a server that is named later; stops when dropped.
pub(crate) struct Entrance {
    pub(crate) address: SocketAddr,
    server: Arc<OnceLock<SocketAddr>>,
    listening: JoinHandle<()>,
}

impl Entrance {
    /// Speaks TLS if it is given certificates.
    pub(crate) async fn open(certificates: Option<&Certificates>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::<OnceLock<SocketAddr>>::default();
        let (acceptor, to) = (certificates.map(|c| c.acceptor.clone()), Arc::clone(&server));
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, to) = (acceptor.clone(), *to.get().expect("it leads somewhere"));
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else { return forward(client, to).await };
                    let ssl = Ssl::new(acceptor.context()).unwrap();
                    let mut client = SslStream::new(ssl, client).unwrap();
                    if Pin::new(&mut client).accept().await.is_ok() {
                        forward(client, to).await;
                    }
                });
            }
        });
        Self { address, server, listening }
    }

    pub(crate) fn lead_to(&self, server: SocketAddr) {
        self.server.set(server).expect("it leads nowhere yet");
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// A forward proxy (RFC 9110 §7.7, §9.3.6) for those who know its password; stops when dropped.
pub(crate) struct ForwardProxy {
    pub(crate) address: SocketAddr,
    state: Arc<ProxyState>,
    listening: JoinHandle<()>,
}

struct ProxyState {
    /// What the header `Proxy-Authorization` must be, in lower case.
    authorization: String,
    /// The names that it knows, with their ports.
    names: HashMap<&'static str, SocketAddr>,
    /// The method and target of each request that it has carried out.
    asked: Mutex<Vec<String>>,
}

impl ForwardProxy {
    pub(crate) async fn start(
        credentials: &str,
        names: impl IntoIterator<Item = (&'static str, SocketAddr)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let basic = format!("basic {}", BASE64_STANDARD.encode(credentials).to_ascii_lowercase());
        let (names, asked) = (names.into_iter().collect(), Mutex::default());
        let state = Arc::new(ProxyState { authorization: basic, names, asked });
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move { state.serve(client).await });
            }
        });
        Self { address, state, listening }
    }

    /// The method and target of each request that it has carried out.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl ProxyState {
    /// Carries out one request, or opens one tunnel.
    async fn serve(&self, mut client: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = client.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let (line, headers) = head.split_once("\r\n").unwrap();
        let (method, target) = line.strip_suffix(" HTTP/1.1").unwrap().split_once(' ').unwrap();
        let lower = headers.to_ascii_lowercase();
        let known = lower.lines().any(|header| {
            header.strip_prefix("proxy-authorization: ") == Some(self.authorization.as_str())
        });
        if !known {
            let refusal =
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\
                            Content-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = client.write_all(refusal).await;
            return;
        }
        self.asked.lock().unwrap().push(format!("{method} {target}"));
        if method == "CONNECT" {
            let Some(server) = self.names.get(target) else {
                let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
                return;
            };
            let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
            return forward(client, *server).await;
        }
        let (host, path) = target.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut server = TcpStream::connect(host).await.unwrap();
        let head = format!("{method} /{path} HTTP/1.1\r\nConnection: close\r\n{headers}");
        let _ = server.write_all(head.as_bytes()).await;
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

async fn forward(mut client: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(to).await {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
