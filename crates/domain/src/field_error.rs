//! What a request's field does wrong.

use std::fmt;

/// A field of a request that breaks a rule; never holds the field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name in the request, such as `redirectUri`.
    pub field: &'static str,
    /// The rule that the field breaks.
    pub rule: FieldRule,
}

/// A rule of the use cases about a field of a request. Its text follows the field's name, and clients
/// read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FieldRule {
    /// The request needs the field.
    #[error("is required")]
    Required,
    /// The request needs the field or, in its place, the `state` of a login that was begun here.
    #[error("is required (or the state of a login that was begun here)")]
    RequiredWithoutLogin,
    /// This provider's policy asks for the field.
    #[error("is required for this provider")]
    RequiredByProvider,
    /// The provider has several possible redirect URIs, so the request must name one.
    #[error("is required: this provider has several possible redirect URIs")]
    RequiredAmongSeveral,
    /// The provider's configuration does not let a client choose the field.
    #[error("is not allowed for this provider")]
    NotForProvider,
    /// The field is a number of seconds.
    #[error("must be a number of seconds")]
    NotSeconds,
    /// The configuration asks for something else at each login with this provider.
    #[error("contradicts what this provider's configuration always asks for")]
    Contradiction,
    /// A login that was begun here ends in a code, and the request has its `state` and an ID token.
    #[error("must not come with the state of a login begun here, which ends in a code")]
    NotInLogin,
    /// An identity is linked with a code alone: an ID token may be somebody else's.
    #[error("is not accepted here: link an identity with a fresh authCode")]
    NotToLink,
    /// The configuration does not allow refresh tokens in bodies.
    #[error("in the body is not allowed by this server's configuration")]
    NotInBody,
}

impl FieldError {
    /// Makes the report that the request field `field` breaks `rule`.
    pub fn new(field: &'static str, rule: FieldRule) -> Self {
        Self { field, rule }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.rule)
    }
}
