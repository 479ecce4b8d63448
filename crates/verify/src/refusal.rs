//! Why a token is not accepted.

/// Why a token is not accepted.
///
/// [`is_temporary`](Self::is_temporary) divides them: some say that the token is bad (HTTP status 401), the
/// others that the verifier cannot tell now (503). A client that gets 401 signs its user out, so the two must
/// not be mixed up. The messages contain nothing of the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The text has more bytes than a token may have.
    #[error("the token has more than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The text is not a signed JWT with the claims of an access token (RFC 7519, RFC 9068 §2.2).
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// The header's `typ` is not that of an access token (RFC 9068 §2.1), for example that of a refresh token.
    #[error("the token's \"typ\" is not that of an access token")]
    WrongType,
    /// The header's `alg` is none of the accepted algorithms.
    #[error("the token's \"alg\" is not accepted")]
    WrongAlgorithm,
    /// The header has `crit`: it demands an extension that this crate does not implement (RFC 7515 §4.1.11).
    #[error("the token demands an extension (\"crit\")")]
    CriticalHeader,
    /// The claim `iss` is none of the accepted issuers.
    #[error("the token's \"iss\" is not accepted")]
    WrongIssuer,
    /// The claim `aud` has none of the accepted audiences.
    #[error("the token's \"aud\" is not accepted")]
    WrongAudience,
    /// The issuer has no key with the header's `kid`; or the header has no `kid`, and not exactly one key fits.
    #[error("the issuer has no key with the token's \"kid\"")]
    UnknownKey,
    /// The signature does not belong to this header, these claims and this key.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// The claim `exp` is in the past.
    #[error("the token expired {seconds} s ago")]
    Expired {
        /// How long ago it expired, in seconds; the leeway is not subtracted.
        seconds: i64,
    },
    /// The claim `nbf` or `iat` is in the future.
    #[error("the token's \"{claim}\" is {seconds} s in the future")]
    NotYetValid {
        /// The name of the claim.
        claim: &'static str,
        /// How far in the future it is, in seconds; the leeway is not subtracted.
        seconds: i64,
    },
    /// The session of the token has ended.
    #[error("the session of the token has ended")]
    SessionEnded,
    /// The keys of the issuer have not been fetched yet, or were fetched too long ago.
    #[error("the keys of the issuer could not be fetched yet")]
    NoKeys,
    /// No key has the token's `kid`, and whether the issuer has a new one is not known yet.
    #[error("the issuer may have a new key, which could not be fetched yet")]
    KeyNotFetched,
    /// Which sessions have ended is not known yet: the service has just started.
    #[error("the list of ended sessions could not be fetched yet")]
    RevocationsNotFetched,
    /// Which sessions have ended is not known any more: for too long, no news has arrived.
    #[error("the list of ended sessions is too old")]
    RevocationsStale,
}

impl Refusal {
    /// Whether the verifier cannot tell now if the token is good (HTTP status 503), and may accept it later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::NoKeys
            | Self::KeyNotFetched
            | Self::RevocationsNotFetched
            | Self::RevocationsStale => true,
            Self::TooLong { .. }
            | Self::Malformed(_)
            | Self::WrongType
            | Self::WrongAlgorithm
            | Self::CriticalHeader
            | Self::WrongIssuer
            | Self::WrongAudience
            | Self::UnknownKey
            | Self::BadSignature
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::SessionEnded => false,
        }
    }

    /// The HTTP status of a response to a request with this token: 401 or 503.
    pub fn status(&self) -> u16 {
        if self.is_temporary() { 503 } else { 401 }
    }

    /// The value for the header `Retry-After`, in seconds; for status 503 only.
    pub fn retry_after(&self) -> Option<u64> {
        self.is_temporary().then_some(5)
    }
}
