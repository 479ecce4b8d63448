//! The TLS modes, against a server that has a certificate for `localhost`.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use crate::harness::{config, migrated, store};
use mintgate_domain::chain;
use mintgate_domain::ports::{StoreError, StoreHealth};
use mintgate_testkit::postgres::TestDatabase;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct Authority {
    pub(crate) certificate: X509,
    key: PKey<Private>,
}

pub(crate) fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn certificate(name: &str, key: &PKey<Private>, issuer: Option<&Authority>) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    match issuer {
        None => {
            builder.set_issuer_name(&subject).unwrap();
            let is_authority = BasicConstraints::new().critical().ca().build().unwrap();
            builder.append_extension(is_authority).unwrap();
            builder.sign(key, MessageDigest::sha256()).unwrap();
        }
        Some(issuer) => {
            builder.set_issuer_name(issuer.certificate.subject_name()).unwrap();
            let context = builder.x509v3_context(Some(&issuer.certificate), None);
            let host = SubjectAlternativeName::new().dns(name).build(&context).unwrap();
            builder.append_extension(host).unwrap();
            builder.sign(&issuer.key, MessageDigest::sha256()).unwrap();
        }
    }
    builder.build()
}

pub(crate) fn authority(name: &str) -> Authority {
    let key = key();
    Authority { certificate: certificate(name, &key, None), key }
}

struct TlsServer {
    port: u16,
    trusted: PathBuf,
    foreign: PathBuf,
    database: TestDatabase,
    directory: PathBuf,
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Speaks TLS in front of a database, as Postgres does: asked first, in clear.
async fn tls_server() -> TlsServer {
    let database = migrated().await;
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let server_key = key();
    let server_certificate = certificate("localhost", &server_key, Some(&ours));
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&server_key).unwrap();
    acceptor.set_certificate(&server_certificate).unwrap();
    let acceptor = acceptor.build();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let upstream = database.host_and_port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let tls = Ssl::new(acceptor.context()).unwrap();
            let upstream = upstream.clone();
            tokio::spawn(async move {
                let mut request = [0; 8];
                client.read_exact(&mut request).await.unwrap();
                assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "an SSLRequest");
                client.write_all(b"S").await.unwrap();
                let mut client = tokio_openssl::SslStream::new(tls, client).unwrap();
                if Pin::new(&mut client).accept().await.is_ok() {
                    let mut server = TcpStream::connect(upstream).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                }
            });
        }
    });

    let directory = std::env::temp_dir().join(format!("mintgate-tls-{port}"));
    std::fs::create_dir_all(&directory).unwrap();
    let (trusted, foreign) = (directory.join("ours.pem"), directory.join("theirs.pem"));
    std::fs::write(&trusted, ours.certificate.to_pem().unwrap()).unwrap();
    std::fs::write(&foreign, theirs.certificate.to_pem().unwrap()).unwrap();
    TlsServer { port, trusted, foreign, database, directory }
}

impl TlsServer {
    async fn check(
        &self,
        host: &str,
        mode: &str,
        root: Option<&PathBuf>,
    ) -> Result<(), StoreError> {
        let url = self.database.url_through(format!("{host}:{}", self.port));
        let and = if url.contains('?') { '&' } else { '?' };
        let root = root.map(|file| format!("&sslrootcert={}", file.display())).unwrap_or_default();
        let url = format!("{url}{and}sslmode={mode}{root}");
        let mut config = config(url);
        config.connect_timeout = Duration::from_secs(2);
        store(&config).check().await
    }
}

fn is_refused(result: Result<(), StoreError>, reason: &str) {
    let error = result.expect_err("the certificate is not acceptable");
    let error = chain(&error).to_string();
    assert!(error.contains(reason), "{error}");
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_for_this_host_is_accepted() {
    let server = tls_server().await;
    let trusted = Some(&server.trusted);
    assert_eq!(server.check("localhost", "verify-full", trusted).await, Ok(()));
    assert_eq!(server.check("127.0.0.1", "verify-ca", trusted).await, Ok(()));
    assert_eq!(server.check("localhost", "require", trusted).await, Ok(()));
}

#[tokio::test]
async fn unverified_modes_take_any_certificate() {
    let server = tls_server().await;
    assert_eq!(server.check("127.0.0.1", "require", None).await, Ok(()));
    assert_eq!(server.check("127.0.0.1", "prefer", None).await, Ok(()));
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_by_verify_full() {
    let server = tls_server().await;
    let trusted = Some(&server.trusted);
    is_refused(server.check("127.0.0.1", "verify-full", trusted).await, "IP address mismatch");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let server = tls_server().await;
    for (mode, root) in [
        ("verify-full", Some(&server.foreign)),
        ("verify-ca", Some(&server.foreign)),
        ("require", Some(&server.foreign)),
        ("verify-full", None),
    ] {
        is_refused(server.check("localhost", mode, root).await, "certificate verify failed");
    }
}
