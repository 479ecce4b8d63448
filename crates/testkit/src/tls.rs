//! A server that speaks TLS in front of another that does not, with a certificate authority of its own.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;

use crate::forward_proxy::forward;

/// A certificate authority of its own, which issues certificates for tests.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate with its private key, both in PEM form.
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// Makes one that is valid for a day.
    pub fn make() -> Self {
        let key = key();
        let mut authority = unsigned("the authority", &key);
        let is_authority = BasicConstraints::new().critical().ca().build().unwrap();
        authority.append_extension(is_authority).unwrap();
        authority.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: authority.build(), key }
    }

    /// Its own certificate, in PEM form.
    pub fn pem(&self) -> String {
        text(self.certificate.to_pem().unwrap())
    }

    /// A certificate for a name, which is valid for a day.
    pub fn issue(&self, name: &str) -> Issued {
        Issued::new(self.signed(name, |_| ()))
    }

    /// A certificate for a name, which has expired.
    pub fn issue_expired(&self, name: &str) -> Issued {
        Issued::new(self.signed(name, |certificate| {
            certificate.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
            certificate.set_not_after(&Asn1Time::from_unix(86_400).unwrap()).unwrap();
        }))
    }

    fn signed(&self, name: &str, change: impl FnOnce(&mut X509Builder)) -> (X509, PKey<Private>) {
        let key = key();
        let mut own = unsigned(name, &key);
        own.set_issuer_name(self.certificate.subject_name()).unwrap();
        change(&mut own);
        let mut names = SubjectAlternativeName::new();
        let names = names.dns(name).build(&own.x509v3_context(None, None)).unwrap();
        own.append_extension(names).unwrap();
        own.sign(&self.key, MessageDigest::sha256()).unwrap();
        (own.build(), key)
    }
}

impl Issued {
    fn new((certificate, key): (X509, PKey<Private>)) -> Self {
        let key = text(key.private_key_to_pem_pkcs8().unwrap());
        Self { certificate: text(certificate.to_pem().unwrap()), key }
    }
}

/// A certificate authority, and a certificate of its for one name.
pub struct Certificates {
    /// The authority's certificate, in PEM form.
    pub authority: String,
    /// The certificate for the name, in PEM form.
    pub certificate: String,
    /// The private key of the certificate for the name, in PEM form.
    pub key: String,
    acceptor: SslAcceptor,
}

impl Certificates {
    /// Makes both; they are valid for a day.
    pub fn made_for(name: &str) -> Self {
        let authority = Authority::make();
        let (own, key) = authority.signed(name, |_| ());
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_certificate(&own).unwrap();
        acceptor.set_private_key(&key).unwrap();
        Self {
            authority: authority.pem(),
            certificate: text(own.to_pem().unwrap()),
            key: text(key.private_key_to_pem_pkcs8().unwrap()),
            acceptor: acceptor.build(),
        }
    }
}

fn text(pem: Vec<u8>) -> String {
    String::from_utf8(pem).unwrap()
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
pub struct Entrance {
    /// The address that clients connect to.
    pub address: SocketAddr,
    server: Arc<OnceLock<SocketAddr>>,
    listening: JoinHandle<()>,
}

impl Entrance {
    /// Speaks TLS if it is given certificates.
    pub async fn open(certificates: Option<&Certificates>) -> Self {
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

    /// Names the server; until then connections must not come.
    pub fn lead_to(&self, server: SocketAddr) {
        self.server.set(server).expect("it leads nowhere yet");
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
