//! A certificate with its private key, ready to be presented.

use std::sync::Arc;

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    AlpnError, Ssl, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslOptions,
    SslSessionCacheMode, SslVerifyMode, select_next_proto,
};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509StoreContext};

/// HTTP/2 and HTTP/1.1 (RFC 7301 §6), in the order in which they are preferred.
const PROTOCOLS: &[u8] = b"\x02h2\x08http/1.1";
const HTTP1_ALONE: &[u8] = b"\x08http/1.1";
const SECONDS_A_DAY: i64 = 86_400;
/// `X509_V_ERR_HOSTNAME_MISMATCH`
const HOSTNAME_MISMATCH: i32 = 62;
/// `X509_V_ERR_IP_ADDRESS_MISMATCH`
const IP_ADDRESS_MISMATCH: i32 = 64;

/// A certificate chain with the private key of its first certificate, and the authorities of the clients.
pub struct Pair {
    own: X509,
    context: SslContext,
    validity: Validity,
    digests: Vec<u8>,
    /// The digests of the clients' authorities; empty if clients are asked for no certificate.
    pub(crate) authorities: Arc<[u8]>,
}

/// When a certificate is valid, both in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
}

impl Validity {
    /// What is wrong with the certificate at this time, in Unix seconds, as the end of a sentence; `None` if
    /// it is valid.
    pub fn problem(self, now: i64) -> Option<&'static str> {
        if now > self.until {
            Some("has expired")
        } else if now < self.from {
            Some("is not valid yet: is the clock right?")
        } else {
            None
        }
    }
}

impl Pair {
    pub(crate) fn new(
        own: &X509,
        others: &[X509],
        key: &PKey<Private>,
        authorities: &[X509],
        http2: bool,
    ) -> Result<Self, ErrorStack> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        // A client that begins a handshake again and again would cost much and bring nothing.
        builder.set_options(SslOptions::NO_RENEGOTIATION);
        // Clients keep their sessions themselves, in tickets; here they would take memory.
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        let protocols = if http2 { PROTOCOLS } else { HTTP1_ALONE };
        builder.set_alpn_select_callback(move |_, offered| {
            select_next_proto(protocols, offered).ok_or(AlpnError::ALERT_FATAL)
        });
        builder.set_certificate(own)?;
        for other in others {
            builder.add_extra_chain_cert(other.clone())?;
        }
        builder.set_private_key(key)?;
        builder.check_private_key()?;
        if !authorities.is_empty() {
            ask_clients(&mut builder, authorities)?;
        }
        let validity = Validity {
            from: unix_seconds(own.not_before())?,
            until: unix_seconds(own.not_after())?,
        };
        let digests = digests(std::iter::once(own).chain(others))?;
        let authorities = self::digests(authorities)?.into();
        let context = builder.build().into_context();
        Ok(Self { own: own.clone(), context, validity, digests, authorities })
    }

    /// When the certificate is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether it has the same certificates as another pair, and so the same key, and takes the certificates of
    /// the same clients.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.digests == other.digests && self.authorities == other.authorities
    }

    /// The server's side of a new connection.
    ///
    /// # Errors
    /// If there is no memory.
    pub fn connection(&self) -> Result<Ssl, ErrorStack> {
        Ssl::new(&self.context)
    }

    /// Whether the certificate is for this host name or IP address (RFC 9525 §6).
    ///
    /// # Errors
    /// If the certificate cannot be examined.
    pub fn is_for(&self, host: &str) -> Result<bool, ErrorStack> {
        let mut parameters = X509VerifyParam::new()?;
        // The certificate itself is trusted, as the question is only for whom it is.
        parameters.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        parameters.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
        match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => parameters.set_ip(ip)?,
            Err(_) => parameters.set_host(host)?,
        }
        let mut store = X509StoreBuilder::new()?;
        store.add_cert(self.own.clone())?;
        store.set_param(&parameters)?;
        let result = X509StoreContext::new()?.init(
            &store.build(),
            &self.own,
            &*Stack::new()?,
            |context| {
                context.verify_cert()?;
                Ok(context.error())
            },
        )?;
        Ok(!matches!(result.as_raw(), HOSTNAME_MISMATCH | IP_ADDRESS_MISMATCH))
    }
}

/// Asks clients for a certificate, which they need not have, and ends the handshake if the one that they show
/// is not valid now, or not one for clients of these authorities.
fn ask_clients(builder: &mut SslAcceptorBuilder, authorities: &[X509]) -> Result<(), ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    // An authority below a root is trusted without the root.
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    let mut names = Stack::new()?;
    for authority in authorities {
        store.add_cert(authority.clone())?;
        names.push(authority.subject_name().to_owned()?)?;
    }
    builder.set_verify_cert_store(store.build())?;
    builder.set_client_ca_list(names);
    builder.set_verify(SslVerifyMode::PEER);
    // A resumed session would bring a certificate that was verified long ago.
    builder.set_options(SslOptions::NO_TICKET);
    builder.set_num_tickets(0)
}

fn digests<'a>(certificates: impl IntoIterator<Item = &'a X509>) -> Result<Vec<u8>, ErrorStack> {
    let mut digests = Vec::new();
    for certificate in certificates {
        digests.extend_from_slice(&certificate.digest(MessageDigest::sha256())?);
    }
    Ok(digests)
}

pub(crate) fn unix_seconds(time: &Asn1TimeRef) -> Result<i64, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(time)?;
    Ok(i64::from(since.days) * SECONDS_A_DAY + i64::from(since.secs))
}
