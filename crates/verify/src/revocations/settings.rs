//! How the feed of ended sessions is followed.

use std::time::Duration;

/// Follows Mintgate's feed of ended sessions, `GET /api/v1/auth/revocations`, so that a logout is seen within a second and not only when the
/// access token expires.
///
/// ```
/// use std::time::Duration;
/// use mintgate_verify::{Issuer, Revocations, WhenStale};
///
/// # let secret = "";
/// let revocations = Revocations::new("orders", secret)
///     .when_stale(Duration::from_mins(1), WhenStale::Refuse);
/// let issuer = Issuer::new("https://auth.example.com").revocations(revocations);
/// ```
#[derive(Clone)]
pub struct Revocations {
    pub(super) client: String,
    pub(super) secret: String,
    pub(super) url: Option<String>,
    pub(super) introspection_url: Option<String>,
    pub(super) at_start: AtStart,
    pub(super) stale_after: Duration,
    pub(super) when_stale: WhenStale,
    pub(super) heartbeat: Duration,
}

impl std::fmt::Debug for Revocations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Revocations").field("client", &self.client).finish_non_exhaustive()
    }
}

/// What happens to tokens before the feed has been read for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// They are refused with status 503, and [`Verifier::is_ready`](crate::Verifier::is_ready) says no. A restart of the service does not bring
    /// ended sessions back to life.
    Refuse,
    /// They are accepted, and counted.
    Accept,
}

/// What happens to tokens when the feed has brought no news for some time, not even a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    /// They are refused with status 503.
    Refuse,
    /// They are accepted unless they are known to have ended, and counted; after this time without news they are refused. It should
    /// be the life of an access token, `tokens.access_ttl_secs`: after it, nothing is known of any token.
    Accept {
        /// The time since the last news.
        at_most: Duration,
    },
    /// [`Verifier::verify_or_fetch`](crate::Verifier::verify_or_fetch) asks Mintgate about each token, by token introspection
    /// (RFC 7662); if Mintgate does not answer, the token is refused with status 503. [`Verifier::verify`](crate::Verifier::verify) refuses.
    Ask,
}

impl Revocations {
    /// Follows the feed as this client, which is one of Mintgate's `[[clients]]`; `mintgate clients new` makes one.
    /// Before the first snapshot, tokens are refused. After 60 s without news they are accepted for up to an hour.
    pub fn new(client_id: impl Into<String>, client_secret: impl Into<String>) -> Self {
        Self {
            client: client_id.into(),
            secret: client_secret.into(),
            url: None,
            introspection_url: None,
            at_start: AtStart::Refuse,
            stale_after: Duration::from_mins(1),
            when_stale: WhenStale::Accept { at_most: Duration::from_hours(1) },
            heartbeat: Duration::from_secs(5),
        }
    }

    /// Reads the feed from this URL instead of `{issuer}/api/v1/auth/revocations`.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Asks about tokens at this URL instead of `{issuer}/oauth2/introspect`, with [`WhenStale::Ask`].
    #[must_use]
    pub fn introspection_url(mut self, url: impl Into<String>) -> Self {
        self.introspection_url = Some(url.into());
        self
    }

    /// What happens to tokens before the feed has been read for the first time. Default: [`AtStart::Refuse`].
    #[must_use]
    pub fn at_start(mut self, at_start: AtStart) -> Self {
        self.at_start = at_start;
        self
    }

    /// What happens to tokens when there has been no news for longer than `after`. Default: after 60 s,
    /// [`WhenStale::Accept`] for up to an hour.
    #[must_use]
    pub fn when_stale(mut self, after: Duration, then: WhenStale) -> Self {
        self.stale_after = after;
        self.when_stale = then;
        self
    }

    /// How often Mintgate sends a heartbeat; after three that are missing, the verifier connects anew. Default: 5 s, as Mintgate does.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }
}
