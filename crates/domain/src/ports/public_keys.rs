//! The public half of the signing keys.

/// A JWKS ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksDocument {
    /// A JWK set (RFC 7517 §5) in JSON; public members only.
    pub json: String,
    /// A strong entity tag, quotes included.
    pub etag: String,
}

/// Publishes the keys that others verify our tokens with.
pub trait PublicKeys: Send + Sync {
    /// The current document: every key that signs, signed what has not expired, or will sign next.
    /// `None` if no keys have been loaded yet. MUST NOT hold a private or symmetric key.
    fn jwks(&self) -> Option<std::sync::Arc<JwksDocument>>;
}
