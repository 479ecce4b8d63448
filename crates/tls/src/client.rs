//! The certificate that a client has shown.

use std::sync::Arc;

use openssl::nid::Nid;
use openssl::ssl::SslRef;
use openssl::x509::{X509Ref, X509VerifyResult};

use crate::pair::{Pair, unix_seconds};

/// The longest name, in bytes.
const MAX_NAME: usize = 128;

/// A client's certificate that was verified in the handshake of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Whom it names: the common name of its subject, or else its first alternative name.
    pub name: String,
    /// The last second in which it is valid, in Unix seconds.
    pub valid_until: i64,
    /// The digests of the authorities that it was verified with.
    pub(crate) authorities: Arc<[u8]>,
}

impl ClientCertificate {
    /// The certificate of the client on an established connection; `None` if it has shown none, or one that
    /// names nobody in 1 to 128 bytes without control characters.
    pub fn of(connection: &SslRef, pair: &Pair) -> Option<Self> {
        if pair.authorities.is_empty() || connection.verify_result() != X509VerifyResult::OK {
            return None;
        }
        let shown = connection.peer_certificate()?;
        let valid_until = unix_seconds(shown.not_after()).ok()?;
        let authorities = Arc::clone(&pair.authorities);
        Some(Self { name: name(&shown)?, valid_until, authorities })
    }
}

fn name(certificate: &X509Ref) -> Option<String> {
    let common: Vec<_> = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).collect();
    let name = match common[..] {
        [one] => one.data().to_string().ok()?,
        [] => {
            let names = certificate.subject_alt_names()?;
            let text = names.iter().find_map(|it| it.dnsname().or(it.uri()).or(it.email()))?;
            text.to_owned()
        }
        // Which of them would it be?
        _ => return None,
    };
    let is_name = (1..=MAX_NAME).contains(&name.len()) && !name.contains(char::is_control);
    is_name.then_some(name)
}
