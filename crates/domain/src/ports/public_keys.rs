//! The public half of the signing keys.

/// A JWK set, ready to be sent (RFC 7517 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksDocument {
    /// A JWK set (RFC 7517 §5) in JSON; public members only.
    pub json: String,
    /// The strong entity tag of the document, quotes included (RFC 9110 §8.8.3).
    pub etag: String,
    /// The `alg` (RFC 7518 §3.1) of each key that signs access tokens, has signed or will sign them,
    /// once; also of a symmetric key, which is not in the set.
    pub algorithms: Vec<&'static str>,
}

/// Publishes the keys that others verify our tokens with.
pub trait PublicKeys: Send + Sync {
    /// The current document: every key that signs, signed what has not expired, or will sign next.
    /// `None` if no keys have been loaded yet. MUST NOT hold a private or symmetric key.
    fn jwks(&self) -> Option<std::sync::Arc<JwksDocument>>;
}
