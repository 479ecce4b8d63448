//! Who looks at a page: somebody with a session, somebody without one, or it cannot be told.

use actix_web::HttpRequest;
use mintgate_domain::AuthError;

use super::Hosted;
use crate::error::ApiError;
use crate::pages::{RETURN, navigation};

/// Who looks at a page.
pub(super) enum Visitor<T> {
    SignedIn(T),
    /// The browser shows no session that lives, with the code of why if it has ended.
    SignedOut(Option<&'static str>),
}

impl<T> Visitor<T> {
    /// What was found of the caller's access token.
    ///
    /// # Errors
    /// That it cannot be told: nobody is signed out by that.
    pub(super) fn of(asked: Result<T, AuthError>) -> Result<Self, ApiError> {
        match asked {
            Ok(found) => Ok(Self::SignedIn(found)),
            Err(AuthError::InvalidAccessToken(_)) => Ok(Self::SignedOut(None)),
            Err(error @ (AuthError::SessionRevoked(_) | AuthError::AccessDenied(_))) => {
                Ok(Self::SignedOut(Some(error.code().as_str())))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Hosted {
    /// The link that refreshes the session, whose cookie does not come to the pages, and then leads back to
    /// `page`, an address of ours.
    pub(super) fn refresh_link(&self, page: &str) -> String {
        format!("{}{RETURN}?to={}", self.prefix, super::encoded(page))
    }

    /// Whether the browser may have kept its session cookies back because another site has sent it here. It
    /// sends them when the page itself leads on.
    pub(super) fn may_have_more_cookies(&self, request: &HttpRequest) -> bool {
        let mut sites = request.headers().get_all("sec-fetch-site");
        self.keeps_cookies_back && sites.any(|site| site == "cross-site")
    }
}

/// Whether the browser can be sent elsewhere: what is loaded ahead of time, or by a script, is not.
pub(super) fn is_navigation(request: &HttpRequest) -> bool {
    navigation::require(request).is_ok()
}
