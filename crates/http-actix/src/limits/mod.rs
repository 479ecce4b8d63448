//! How often a caller may ask: allowances by network, and by session.
//!
//! No limit can be used against somebody else: what a caller has to wait for, it has used up itself, or
//! somebody of its network has. So a refresh counts for its network only if its token is refused, and for
//! its session only if its token is genuine. The JWKS, the metadata and the list of providers are not
//! limited, nor is anything about a session that a person looks at or ends.

mod allowance;
mod nanos;
mod network;
mod provider_shares;
mod refused_sign_ins;
mod sessions;
mod shared;
mod untold;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::Duration;

use actix_web::HttpRequest;
use ipnet::IpNet;
use mintgate_domain::model::ProviderId;
use mintgate_domain::ports::{Clock, RefreshLimit};
use mintgate_domain::{AuthError, ErrorCode};

use crate::AppState;
use crate::client::{FoundCaller, found_caller, is_unknown_proxy};
use crate::config::RateLimits;
use crate::error::ApiError;
use crate::metrics::LimitResult;

pub(crate) use network::Caller;
use network::{Naming, NetworkAllowance};
use provider_shares::ProviderShares;
use refused_sign_ins::RefusedSignIns;
use sessions::SessionAllowance;
pub use shared::SharedLimits;

/// A rate limit; its setting and its metric have its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Logins that begin at `/login`.
    Logins,
    /// Sign-ins, and identities that are linked.
    SignIns,
    /// Sign-ins whose code or ID token was refused.
    RefusedSignIns,
    /// Sign-ins of all callers at one provider.
    ProviderSignIns,
    /// Refresh tokens that were refused.
    RefusedRefreshes,
    /// Logout tokens that were refused.
    RefusedLogoutTokens,
    /// Refreshes of one session.
    SessionRefreshes,
    /// Tokens of the admin API that were refused.
    RefusedAdminTokens,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 8] = [
        Self::Logins,
        Self::SignIns,
        Self::RefusedSignIns,
        Self::ProviderSignIns,
        Self::RefusedRefreshes,
        Self::RefusedLogoutTokens,
        Self::SessionRefreshes,
        Self::RefusedAdminTokens,
    ];

    /// The name, as the setting `limits.{name}_per_minute` and the series have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Logins => "logins",
            Self::SignIns => "sign_ins",
            Self::RefusedSignIns => "refused_sign_ins",
            Self::ProviderSignIns => "provider_sign_ins",
            Self::RefusedRefreshes => "refused_refreshes",
            Self::RefusedLogoutTokens => "refused_logout_tokens",
            Self::SessionRefreshes => "session_refreshes",
            Self::RefusedAdminTokens => "refused_admin_tokens",
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
    provider_sign_ins: ProviderShares,
    refused_refreshes: NetworkAllowance,
    refused_logout_tokens: NetworkAllowance,
    session_refreshes: Arc<SessionAllowance>,
    refused_admin_tokens: NetworkAllowance,
    naming: Arc<Naming>,
    /// The networks whose callers are not limited.
    exempt: Vec<IpNet>,
    warned: Once,
}

impl CallerLimits {
    pub(crate) fn new(config: RateLimits, clock: &Arc<dyn Clock>) -> Self {
        let is_shared = config.shared.is_some();
        let naming = Arc::new(Naming(config.shared));
        let of_networks = |per_minute| NetworkAllowance::new(per_minute, is_shared, clock);
        let session_refreshes =
            SessionAllowance::new(config.session_refreshes_per_minute, &naming, clock);
        Self {
            logins: of_networks(config.logins_per_minute),
            sign_ins: of_networks(config.sign_ins_per_minute),
            refused_sign_ins: RefusedSignIns::new(config.refused_sign_ins_per_minute, is_shared),
            provider_sign_ins: ProviderShares::new(config.provider_sign_ins_per_minute),
            refused_refreshes: of_networks(config.refused_refreshes_per_minute),
            refused_logout_tokens: of_networks(config.refused_logout_tokens_per_minute),
            session_refreshes: Arc::new(session_refreshes),
            refused_admin_tokens: of_networks(config.refused_admin_tokens_per_minute),
            naming,
            exempt: config.exempt,
            warned: Once::new(),
        }
    }

    /// Whether callers at this address are never limited.
    fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(&address))
    }

    fn allowance(&self, limit: Limit) -> Option<&NetworkAllowance> {
        match limit {
            Limit::Logins => Some(&self.logins),
            Limit::SignIns => Some(&self.sign_ins),
            Limit::RefusedRefreshes => Some(&self.refused_refreshes),
            Limit::RefusedLogoutTokens => Some(&self.refused_logout_tokens),
            Limit::RefusedAdminTokens => Some(&self.refused_admin_tokens),
            Limit::RefusedSignIns | Limit::ProviderSignIns | Limit::SessionRefreshes => None,
        }
    }
}

impl AppState {
    /// Whoever the request counts for; none if its caller is not limited: it is exempt, or unknown as
    /// it comes through a proxy that nobody has named, behind which all would be one caller.
    fn limited_caller(&self, request: &HttpRequest, limit: Limit) -> Option<LimitedCaller> {
        let FoundCaller { address, is_unreadable } = found_caller(request, &self.trusted_proxies)?;
        // What cannot be read is no way around a limit.
        if !is_unreadable && self.caller_limits.is_exempt(address) {
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
        let is_loopback = !is_unreadable && address.is_loopback();
        Some(LimitedCaller { caller: self.caller_limits.naming.caller(address), is_loopback })
    }

    /// Takes one of the caller's requests under a limit. A caller on this machine is not limited: it is
    /// a proxy that says nothing of its callers, or a tool.
    ///
    /// # Errors
    /// `RATE_LIMITED` if none is left.
    pub(crate) fn admit(&self, request: &HttpRequest, limit: Limit) -> Result<(), ApiError> {
        self.take(request, limit).map(drop)
    }

    /// The same; returns the caller whose request it took, or none if the caller is not limited.
    fn take(&self, request: &HttpRequest, limit: Limit) -> Result<Option<Caller>, ApiError> {
        let Some(allowance) = self.caller_limits.allowance(limit) else { return Ok(None) };
        let per_minute = allowance.per_minute();
        let Some(caller) = self.remote_caller(request, limit, per_minute) else { return Ok(None) };
        match allowance.take(caller) {
            Ok(()) => Ok(Some(caller)),
            Err(wait) => Err(self.exceeded(Exceeded { limit, per_minute, wait })),
        }
    }

    /// Whoever the request counts for under a limit of so many a minute, unless it is on this machine.
    fn remote_caller(
        &self,
        request: &HttpRequest,
        limit: Limit,
        per_minute: u32,
    ) -> Option<Caller> {
        (per_minute > 0).then_some(())?;
        let caller = self.limited_caller(request, limit).filter(|caller| !caller.is_loopback)?;
        Some(caller.caller)
    }

    /// Takes one of the sign-ins of the caller, and one at this provider, if it is known.
    ///
    /// # Errors
    /// `RATE_LIMITED` if none is left, or if too many of the caller's sign-ins have been refused.
    pub(crate) fn admit_sign_in(
        &self,
        request: &HttpRequest,
        provider: Option<ProviderId>,
    ) -> Result<AdmittedSignIn, ApiError> {
        let CallerLimits { refused_sign_ins, provider_sign_ins, .. } = &*self.caller_limits;
        let now = self.ports.clock.monotonic();
        let taken = self.take(request, Limit::SignIns)?;

        let (limit, per_minute) = (Limit::RefusedSignIns, refused_sign_ins.per_minute());
        let limited = if per_minute > 0 { self.limited_caller(request, limit) } else { None };
        let refused_for = limited.map(|limited| limited.caller);
        if let Some(wait) = refused_for.and_then(|caller| refused_sign_ins.wait(caller, now)) {
            return Err(self.exceeded(Exceeded { limit, per_minute, wait }));
        }

        let (limit, per_minute) = (Limit::ProviderSignIns, provider_sign_ins.per_minute());
        let share = provider.zip(self.remote_caller(request, limit, per_minute));
        if let Some((provider, caller)) = &share {
            let taken = provider_sign_ins.take(provider, *caller, now);
            taken.map_err(|wait| self.exceeded(Exceeded { limit, per_minute, wait }))?;
        }
        Ok(AdmittedSignIn { taken, refused_for, share })
    }

    /// Counts a sign-in as refused, if its code or ID token was; gives it back, if its provider was down.
    pub(crate) fn settle_sign_in(&self, admitted: &AdmittedSignIn, refusal: &AuthError) {
        use ErrorCode::{InvalidAuthCode, InvalidIdToken};
        let limits = &self.caller_limits;
        if matches!(refusal, AuthError::Provider(error) if error.is_outage()) {
            admitted.taken.inspect(|caller| limits.sign_ins.give_back(*caller));
            if let Some((provider, caller)) = &admitted.share {
                limits.provider_sign_ins.give_back(provider, *caller);
            }
        } else if let Some(caller) = admitted.refused_for
            && matches!(refusal.code(), InvalidAuthCode | InvalidIdToken)
        {
            limits.refused_sign_ins.count(caller, self.ports.clock.monotonic());
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

    /// The refusal of a token of the admin API, or `RATE_LIMITED` in its place if too many of the peer's
    /// network were refused. A peer on this machine counts too: nobody is kept from showing a good token.
    pub(crate) fn refused_admin_token(
        &self,
        peer: Option<SocketAddr>,
        refusal: ApiError,
    ) -> ApiError {
        let allowance = &self.caller_limits.refused_admin_tokens;
        let peer = peer.map(|peer| peer.ip().to_canonical());
        let Some(peer) = peer.filter(|peer| !self.caller_limits.is_exempt(*peer)) else {
            return refusal;
        };
        let (limit, per_minute) = (Limit::RefusedAdminTokens, allowance.per_minute());
        match allowance.take(self.caller_limits.naming.caller(peer)) {
            Ok(()) => refusal,
            Err(wait) => self.exceeded(Exceeded { limit, per_minute, wait }),
        }
    }

    /// The limit on the refreshes of the session whose token the caller shows; none where the caller is
    /// not limited.
    pub(crate) fn refresh_limit(&self, request: &HttpRequest) -> Option<Arc<dyn RefreshLimit>> {
        let limit = &self.caller_limits.session_refreshes;
        self.remote_caller(request, Limit::SessionRefreshes, limit.per_minute)?;
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

/// A sign-in that was let in, and for whom it counts; for nobody where its caller is not limited.
pub(crate) struct AdmittedSignIn {
    /// Whose sign-in was taken.
    taken: Option<Caller>,
    /// Whom a refusal of its code or ID token counts for.
    refused_for: Option<Caller>,
    /// At which provider one was taken, and whose.
    share: Option<(ProviderId, Caller)>,
}
