//! The two files of a certificate and its private key.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use openssl::error::{Error, ErrorStack};
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use crate::pair::Pair;

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The paths of a certificate chain and of its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The path of the certificates in PEM form: the listener's own first, then each that has signed the
    /// one before it.
    pub certificates: PathBuf,
    /// The path of the private key in PEM form, not encrypted.
    pub key: PathBuf,
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
}

impl PairFiles {
    /// Reads both files, and checks that they hold one certificate with its key. Whether the certificate is
    /// valid at this time is not looked at.
    ///
    /// # Errors
    /// If a listener could not present what is in them.
    pub fn read(&self) -> Result<Pair, PairError> {
        let (certificates, key) = (&self.certificates, &self.key);
        let chain = read(certificates).map_err(|error| {
            PairError::CertificatesUnreadable(certificates.clone(), error.to_string())
        })?;
        let key_pem =
            read(key).map_err(|error| PairError::KeyUnreadable(key.clone(), error.to_string()))?;
        let mut chain = X509::stack_from_pem(&chain).unwrap_or_default();
        if chain.is_empty() {
            return Err(PairError::NoCertificate(certificates.clone()));
        }
        let own = chain.remove(0);
        let private = private_key(&key_pem).map_err(|_| PairError::NoKey(key.clone()))?;
        let unusable =
            |error: ErrorStack| PairError::Unusable(certificates.clone(), reason(&error));
        if !own.public_key().map_err(unusable)?.public_eq(&private) {
            return Err(PairError::OtherKey(certificates.clone(), key.clone()));
        }
        Pair::new(own, &chain, &private).map_err(unusable)
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
