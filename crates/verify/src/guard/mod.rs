//! Who may pass: reads the token of a request, and turns a refusal into a response.

#[cfg(feature = "actix")]
mod actix;
#[cfg(feature = "axum")]
mod axum;
mod csrf;
mod denied;
mod head;
#[cfg(feature = "tower")]
mod tower;

pub use denied::Denied;
#[cfg(feature = "tower")]
pub use tower::{RequireToken, RequireTokenService};

use crate::{Claims, Verifier};
use head::Head;

/// The name of Mintgate's access cookie, unless `cookies.access_name` says otherwise.
const ACCESS_COOKIE: &str = "Auth-Access-Token";

/// Reads the access token of a request and verifies it, waiting for keys if necessary
/// ([`Verifier::verify_or_fetch`]).
///
/// The token is that of the header `Authorization: Bearer` or, if there is none, that of the access cookie. A request with the cookie that
/// can change something (any method but `GET`, `HEAD` and `OPTIONS`, and the opening of a websocket) is refused if a page of a foreign origin
/// sent it. A cookie that occurs twice is refused, because one of them may come from an attacker.
///
/// ```
/// # fn guard(verifier: mintgate_verify::Verifier) {
/// use mintgate_verify::Guard;
///
/// let guard = Guard::new(verifier).allow_origin("https://app.example.com");
/// # }
/// ```
#[derive(Clone)]
pub struct Guard {
    verifier: Verifier,
    cookie: Option<String>,
    origins: Vec<String>,
}

impl Guard {
    /// Accepts bearer tokens and the cookie `Auth-Access-Token`, from pages of the own origin.
    pub fn new(verifier: Verifier) -> Self {
        Self { verifier, cookie: Some(ACCESS_COOKIE.to_owned()), origins: Vec::new() }
    }

    /// Reads the token from the cookie with this name, which is Mintgate's `cookies.access_name`.
    #[must_use]
    pub fn cookie(mut self, name: impl Into<String>) -> Self {
        self.cookie = Some(name.into());
        self
    }

    /// Takes tokens from the `Authorization` header alone, and ignores cookies.
    #[must_use]
    pub fn bearer_only(mut self) -> Self {
        self.cookie = None;
        self
    }

    /// Lets pages of this origin change something with the user's cookie: scheme, host and, if it is not the default,
    /// port, as browsers send it. Pages of the own origin may always do so; name it too if a proxy changes the header `Host`.
    #[must_use]
    pub fn allow_origin(mut self, origin: impl Into<String>) -> Self {
        self.origins.push(origin.into());
        self
    }

    /// The claims of the token of a request.
    pub(crate) async fn check(&self, head: Head<'_>) -> Result<Claims, Denied> {
        let token = self.token(&head)?;
        self.verifier.verify_or_fetch(&token).await.map_err(Denied::Refused)
    }

    fn token(&self, head: &Head<'_>) -> Result<String, Denied> {
        if let Some(token) = head.bearer()? {
            return Ok(token);
        }
        let Some(name) = &self.cookie else { return Err(Denied::NoToken) };
        let token = head.cookie(name)?.ok_or(Denied::NoToken)?;
        csrf::check(head, &self.origins)?;
        Ok(token)
    }
}

/// The claims of a verified token, as an extractor of actix-web or axum: a handler with such an argument is
/// called only for a request with a good token.
#[derive(Debug, Clone)]
pub struct SignedIn(
    /// The claims of the token.
    pub Claims,
);

impl Claims {
    /// # Errors
    /// [`Denied::MissingRole`] (HTTP status 403) if the user does not have this role.
    pub fn require_role(&self, role: &str) -> Result<(), Denied> {
        if self.has_role(role) { Ok(()) } else { Err(Denied::MissingRole(role.to_owned())) }
    }
}
