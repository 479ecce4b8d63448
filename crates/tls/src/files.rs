//! The files of a listener: its certificate, its private key, and the authorities of its clients.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use openssl::error::{Error, ErrorStack};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use crate::pair::Pair;

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The paths of a certificate chain, of its private key, and of what clients' certificates are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The path of the certificates in PEM form: the listener's own first, then each that has signed the
    /// one before it.
    pub certificates: PathBuf,
    /// The path of the private key in PEM form, not encrypted.
    pub key: PathBuf,
    /// The path of the certificates, in PEM form, of the authorities that sign clients' certificates. A client
    /// need not have one. Without a path, clients are asked for none.
    pub client_authorities: Option<PathBuf>,
    /// Whether the listener speaks HTTP/2 besides HTTP/1.1.
    pub http2: bool,
}

/// Why the files hold no pair that a listener can present. Each text is a sentence for people, and holds
/// nothing of the private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The certificates cannot be read.
    #[error("{file} cannot be read: {1}", file = .0.display())]
    CertificatesUnreadable(PathBuf, String),
    /// The file holds no certificates in PEM form.
    #[error("{file} holds no certificate in PEM form", file = .0.display())]
    NoCertificate(PathBuf),
    /// The private key cannot be read.
    #[error("{file} cannot be read: {1}", file = .0.display())]
    KeyUnreadable(PathBuf, String),
    /// The file holds no private key in PEM form, or an encrypted one.
    #[error("{file} holds no private key in PEM form that can be read without a password", file = .0.display())]
    NoKey(PathBuf),
    /// The private key is not that of the first certificate.
    #[error("the private key in {key} is not that of the first certificate in {file}", key = .1.display(), file = .0.display())]
    OtherKey(PathBuf, PathBuf),
    /// The certificates of the clients' authorities cannot be read.
    #[error("{file} cannot be read: {1}", file = .0.display())]
    AuthoritiesUnreadable(PathBuf, String),
    /// The file of the clients' authorities holds no certificates in PEM form.
    #[error("{file} holds no certificate in PEM form", file = .0.display())]
    NoAuthority(PathBuf),
    /// OpenSSL does not use the pair, for example since its key is too short.
    #[error("the certificate in {file} cannot be used: {1}", file = .0.display())]
    Unusable(PathBuf, String),
    /// The certificate has expired, or is not valid yet. It is no reason not to start with it.
    #[error("the certificate in {file} {1}", file = .0.display())]
    OutOfDate(PathBuf, &'static str),
}

impl PairError {
    /// Whether the error is about the file of the private key.
    pub fn is_about_key(&self) -> bool {
        matches!(self, Self::KeyUnreadable(..) | Self::NoKey(_) | Self::OtherKey(..))
    }

    /// Whether the error is about the file of the clients' authorities.
    pub fn is_about_authorities(&self) -> bool {
        matches!(self, Self::AuthoritiesUnreadable(..) | Self::NoAuthority(_))
    }
}

impl PairFiles {
    /// Reads the files, and checks that they hold one certificate with its key. Whether the certificate is
    /// valid at this time is not looked at.
    ///
    /// # Errors
    /// If a listener could not present what is in them, or not verify its clients.
    pub fn read(&self) -> Result<Pair, PairError> {
        let (certificates, key) = (&self.certificates, &self.key);
        let chain = self.chain()?;
        let key_pem =
            read(key).map_err(|error| PairError::KeyUnreadable(key.clone(), error.to_string()))?;
        let (own, others) =
            chain.split_first().ok_or_else(|| PairError::NoCertificate(certificates.clone()))?;
        let private = private_key(&key_pem).map_err(|_| PairError::NoKey(key.clone()))?;
        let unusable =
            |error: ErrorStack| PairError::Unusable(certificates.clone(), reason(&error));
        if !own.public_key().map_err(unusable)?.public_eq(&private) {
            return Err(PairError::OtherKey(certificates.clone(), key.clone()));
        }
        let authorities = self.authorities()?;
        Pair::new(own, others, &private, &authorities, self.http2).map_err(unusable)
    }

    /// The listener's own certificate, in DER form. The private key is not read.
    ///
    /// # Errors
    /// If the file holds none.
    pub fn certificate(&self) -> Result<Vec<u8>, PairError> {
        let own = self.chain()?.into_iter().next().and_then(|own| own.to_der().ok());
        own.ok_or_else(|| PairError::NoCertificate(self.certificates.clone()))
    }

    fn chain(&self) -> Result<Vec<X509>, PairError> {
        let file = &self.certificates;
        let pem = read(file)
            .map_err(|error| PairError::CertificatesUnreadable(file.clone(), error.to_string()))?;
        Ok(X509::stack_from_pem(&pem).unwrap_or_default())
    }

    fn authorities(&self) -> Result<Vec<X509>, PairError> {
        let Some(file) = &self.client_authorities else { return Ok(Vec::new()) };
        let pem = read(file)
            .map_err(|error| PairError::AuthoritiesUnreadable(file.clone(), error.to_string()))?;
        let authorities = X509::stack_from_pem(&pem).unwrap_or_default();
        // Without any, every client would be without a certificate.
        if authorities.is_empty() {
            return Err(PairError::NoAuthority(file.clone()));
        }
        Ok(authorities)
    }
}

/// Reads a key, and asks nobody for a password.
fn private_key(pem: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    PKey::private_key_from_pem_callback(pem, |_| Ok(0))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("it has more than 1 MiB"));
    }
    Ok(bytes)
}

fn reason(error: &ErrorStack) -> String {
    let reasons = error.errors().iter().filter_map(Error::reason);
    let reasons: Vec<_> = reasons.collect();
    if reasons.is_empty() { "no reason given".to_owned() } else { reasons.join(", ") }
}
