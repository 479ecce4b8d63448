//! How documents are fetched from an issuer.

use std::pin::Pin;

/// The largest document that is accepted: metadata or a JWKS, in bytes.
pub(crate) const MAX_DOCUMENT: usize = 256 * 1024;

/// Fetches documents from an issuer. The feature `http` has an implementation; implement it yourself to go through
/// a forward proxy, or to use the HTTP client that your service has anyway.
pub trait Fetch: Send + Sync + 'static {
    /// Fetches the document at this URL with `GET`. An implementation returns the body of a response with
    /// status 200, and an error for any other; it follows no redirects. The verifier has its own limits: 5 s and 256 KiB.
    fn get<'a>(&'a self, url: &'a str) -> Fetching<'a>;
}

/// A document that is being fetched.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, FetchError>> + Send + 'a>>;

/// Why a document could not be fetched. It is logged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FetchError(String);

impl FetchError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}
