//! How often a caller may ask: allowances by network, and by session.
//!
//! No limit can be used against somebody else: what a caller has to wait for, it has used up itself, or
//! somebody of its network has. So a refresh counts for its network only if its token is refused, and for
//! its session only if its token is genuine. The JWKS, the metadata and the list of providers are not
//! limited, nor is anything about a session that a person looks at or ends.

mod allowance;
mod network;
mod refused_sign_ins;
mod sessions;

use std::sync::{Arc, Once};
use std::time::Duration;

use actix_web::HttpRequest;
use ipnet::IpNet;
use mintgate_domain::ErrorCode;
use mintgate_domain::ports::{Clock, RefreshLimit};

use crate::AppState;
use crate::client::{caller_address, is_unknown_proxy};
use crate::config::RateLimits;
use crate::error::{ApiError, ErrorKind};
use crate::metrics::LimitResult;

pub(crate) use network::Caller;
use network::NetworkAllowance;
use refused_sign_ins::RefusedSignIns;
use sessions::SessionAllowance;

/// A rate limit; its setting and its metric have its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Logins that begin at `/login`.
    Logins,
    /// Sign-ins, and identities that are linked.
    SignIns,
    /// Sign-ins whose code or ID token was refused.
    RefusedSignIns,
    /// Refresh tokens that were refused.
    RefusedRefreshes,
    /// Logout tokens that were refused.
    RefusedLogoutTokens,
    /// Refreshes of one session.
    SessionRefreshes,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 6] = [
        Self::Logins,
        Self::SignIns,
        Self::RefusedSignIns,
        Self::RefusedRefreshes,
        Self::RefusedLogoutTokens,
        Self::SessionRefreshes,
    ];

    /// The name, as the setting `limits.{name}_per_minute` and the series have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logins => "logins",
            Self::SignIns => "sign_ins",
            Self::RefusedSignIns => "refused_sign_ins",
            Self::RefusedRefreshes => "refused_refreshes",
            Self::RefusedLogoutTokens => "refused_logout_tokens",
            Self::SessionRefreshes => "session_refreshes",
        }
    }
}

/// The exceeded limit, for the headers of a refusal (draft-ietf-httpapi-ratelimit-headers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) limit: Limit,
    pub(crate) per_minute: u32,
    pub(crate) wait: Duration,
}

/// The rate limits of callers and sessions.
#[derive(Debug)]
pub(crate) struct CallerLimits {
    logins: NetworkAllowance,
    sign_ins: NetworkAllowance,
    refused_sign_ins: RefusedSignIns,
    refused_refreshes: NetworkAllowance,
    refused_logout_tokens: NetworkAllowance,
    session_refreshes: Arc<SessionAllowance>,
    /// The networks whose callers are not limited.
    exempt: Vec<IpNet>,
    warned: Once,
}

impl CallerLimits {
    pub(crate) fn new(config: RateLimits, clock: &Arc<dyn Clock>) -> Self {
        Self {
            logins: NetworkAllowance::new(config.logins_per_minute, clock),
            sign_ins: NetworkAllowance::new(config.sign_ins_per_minute, clock),
            refused_sign_ins: RefusedSignIns::new(config.refused_sign_ins_per_minute),
            refused_refreshes: NetworkAllowance::new(config.refused_refreshes_per_minute, clock),
            refused_logout_tokens: NetworkAllowance::new(
                config.refused_logout_tokens_per_minute,
                clock,
            ),
            session_refreshes: Arc::new(SessionAllowance::new(
                config.session_refreshes_per_minute,
                clock,
            )),
            exempt: config.exempt,
            warned: Once::new(),
        }
    }

    fn allowance(&self, limit: Limit) -> Option<&NetworkAllowance> {
        match limit {
            Limit::Logins => Some(&self.logins),
            Limit::SignIns => Some(&self.sign_ins),
            Limit::RefusedRefreshes => Some(&self.refused_refreshes),
            Limit::RefusedLogoutTokens => Some(&self.refused_logout_tokens),
            Limit::RefusedSignIns | Limit::SessionRefreshes => None,
        }
    }
}

impl AppState {
    /// Whoever the request counts for; none if its caller is not limited: it is exempt, or unknown as
    /// it comes through a proxy that nobody has named, behind which all would be one caller.
    fn limited_caller(&self, request: &HttpRequest, limit: Limit) -> Option<LimitedCaller> {
        let address = caller_address(request, &self.trusted_proxies)?.to_canonical();
        if self.caller_limits.exempt.iter().any(|network| network.contains(&address)) {
            return None;
        }
        if is_unknown_proxy(request, &self.trusted_proxies) {
            self.ports.metrics.rate_limit(limit, LimitResult::UnknownProxy);
            self.caller_limits.warned.call_once(|| {
                tracing::warn!(
                    peer = ?request.peer_addr(),
                    "the limits on callers are not applied: this peer forwards for others; name its \
                     network in server.trusted_proxies"
                );
            });
            return None;
        }
        Some(LimitedCaller { caller: address.into(), is_loopback: address.is_loopback() })
    }

    /// Takes one of the caller's requests under a limit. A caller on this machine is not limited: it is
    /// a proxy that says nothing of its callers, or a tool.
    ///
    /// # Errors
    /// `RATE_LIMITED` if none is left.
    pub(crate) fn admit(&self, request: &HttpRequest, limit: Limit) -> Result<(), ApiError> {
        let Some(allowance) = self.caller_limits.allowance(limit) else { return Ok(()) };
        if allowance.per_minute() == 0 {
            return Ok(());
        }
        let caller = self.limited_caller(request, limit).filter(|caller| !caller.is_loopback);
        let Some(LimitedCaller { caller, .. }) = caller else { return Ok(()) };
        allowance.take(caller).map_err(|wait| {
            self.exceeded(Exceeded { limit, per_minute: allowance.per_minute(), wait })
        })
    }

    /// Takes one of the sign-ins of the caller, and returns the caller that a refusal of it counts for;
    /// none if refusals are not limited.
    ///
    /// # Errors
    /// `RATE_LIMITED` if none is left, or if too many of the caller's sign-ins have been refused.
    pub(crate) fn admit_sign_in(&self, request: &HttpRequest) -> Result<Option<Caller>, ApiError> {
        self.admit(request, Limit::SignIns)?;
        let (limit, refused) = (Limit::RefusedSignIns, &self.caller_limits.refused_sign_ins);
        let per_minute = refused.per_minute();
        if per_minute == 0 {
            return Ok(None);
        }
        let caller = self.limited_caller(request, limit).map(|limited| limited.caller);
        let wait = caller.and_then(|caller| refused.wait(caller, self.ports.clock.monotonic()));
        match wait {
            Some(wait) => Err(self.exceeded(Exceeded { limit, per_minute, wait })),
            None => Ok(caller),
        }
    }

    /// Counts a refused sign-in, if its code or its ID token was refused.
    pub(crate) fn count_refused_sign_in(&self, caller: Option<Caller>, refusal: &ApiError) {
        use ErrorCode::{InvalidAuthCode, InvalidIdToken};
        if let Some(caller) = caller
            && let ErrorKind::Core(InvalidAuthCode | InvalidIdToken) = refusal.kind()
        {
            self.caller_limits.refused_sign_ins.count(caller, self.ports.clock.monotonic());
        }
    }

    /// The refusal of a token, or `RATE_LIMITED` in its place if too many of the caller's were refused.
    pub(crate) fn refused(
        &self,
        request: &HttpRequest,
        limit: Limit,
        refusal: ApiError,
    ) -> ApiError {
        self.admit(request, limit).err().unwrap_or(refusal)
    }

    /// The limit on the refreshes of the session whose token the caller shows; none where the caller is
    /// not limited.
    pub(crate) fn refresh_limit(&self, request: &HttpRequest) -> Option<Arc<dyn RefreshLimit>> {
        let limit = &self.caller_limits.session_refreshes;
        (limit.per_minute > 0).then_some(())?;
        let caller = self.limited_caller(request, Limit::SessionRefreshes);
        caller.filter(|caller| !caller.is_loopback)?;
        Some(Arc::clone(limit) as _)
    }

    /// The refusal of a refresh because its session was refreshed too often.
    pub(crate) fn refreshed_too_often(&self, wait: Duration) -> ApiError {
        let per_minute = self.caller_limits.session_refreshes.per_minute;
        self.exceeded(Exceeded { limit: Limit::SessionRefreshes, per_minute, wait })
    }

    fn exceeded(&self, exceeded: Exceeded) -> ApiError {
        self.ports.metrics.rate_limit(exceeded.limit, LimitResult::Refused);
        ApiError::rate_limited(exceeded)
    }
}

struct LimitedCaller {
    caller: Caller,
    is_loopback: bool,
}
