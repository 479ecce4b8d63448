//! What the public listener counts.

use std::time::Duration;

use actix_web::http::Method;

use crate::limits::Limit;

/// Counts answered requests. An implementation MUST return at once.
pub trait HttpMetrics: Send + Sync {
    /// Counts one request of the public listener. `route` is a route's pattern, `method` one of a
    /// fixed set, `status` the three digits of the answer's status, and `took` the time from the
    /// request's head to its answer's.
    fn http_request(&self, route: &str, method: &str, status: &str, took: Duration);

    /// Counts what happened to a connection of the public listener.
    fn connection(&self, change: ConnectionChange);

    /// Counts a stream about revocations that was opened, or one that is closed.
    fn revocation_stream(&self, is_open: bool);

    /// Counts entries of the log of revocations that a client was told of.
    fn revocations_told(&self, count: usize);

    /// Counts a request for which a limit was more than a look at a number.
    fn rate_limit(&self, limit: Limit, result: LimitResult);
}

/// The effect of a rate limit on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitResult {
    /// The request was refused with `RATE_LIMITED`.
    Refused,
    /// It was not limited, because it came through a proxy that is not in `server.trusted_proxies`.
    UnknownProxy,
}

impl LimitResult {
    /// Every result that a limit can have.
    pub const ALL: [Self; 2] = [Self::Refused, Self::UnknownProxy];

    /// The value of the label `outcome`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::UnknownProxy => "unknown_proxy",
        }
    }
}

/// A change of a connection of the public listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionChange {
    /// It was accepted; [`Closed`](Self::Closed) follows in any case.
    Opened,
    /// It was closed, by whichever side.
    Closed,
    /// There were too many, and none that waited for its client: it was closed again at once.
    Refused,
    /// There were too many, and it had waited longest for its client: it was closed for a new one.
    ClosedForRoom,
}

/// The method as a label: clients can send any word, so words that no route has become `other`.
pub(crate) fn method_label(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::DELETE | Method::OPTIONS => {
            method.as_str()
        }
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_counted_under_a_fixed_set_of_labels() {
        assert_eq!(method_label(&Method::POST), "POST");
        assert_eq!(method_label(&Method::PUT), "other");
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "other");
    }
}
