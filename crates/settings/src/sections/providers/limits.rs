//! The limits of the calls to a provider, and how often it is asked again.

use std::time::Duration;

use mintgate_config_reader::{Section, invalid, key};
use mintgate_domain::{AccessRule, RecheckRule};
use mintgate_identity_openid::GuardConfig;

/// The shortest lease of a recheck; see [`RecheckRule::lease`].
const LEAST_LEASE: Duration = Duration::from_mins(1);

/// Reads the key `recheck_secs`. `can_seal` tells whether providers' tokens can be encrypted, if that
/// is known.
pub(super) fn recheck(s: &mut Section<'_>, can_seal: Option<bool>) -> Option<Duration> {
    let recheck = s.seconds(
        key(
            "recheck_secs",
            "After this time a refresh asks the provider again, in seconds: a person who may no \
             longer sign in there loses the session. Needs `keys.encryption_key`, because Mintgate \
             then keeps the provider's refresh token, encrypted.",
        )
        .optional("never"),
        1..=2_592_000,
    )?;
    sealable(s, "recheck_secs", can_seal).then_some(recheck)
}

/// Reads the key `keep_access_token`.
pub(super) fn keeps_access_token(s: &mut Section<'_>, can_seal: Option<bool>) -> Option<bool> {
    let keeps = s.flag(
        key(
            "keep_access_token",
            "Whether Mintgate keeps the provider's own access token of each session, encrypted, and renews it, \
             so that the back ends in `[[clients]]` get it at `POST /api/v1/auth/provider-token`. Needs \
             `keys.encryption_key`.",
        )
        .default(false),
    )?;
    (!keeps || sealable(s, "keep_access_token", can_seal)).then_some(keeps)
}

/// Whether a provider's tokens may be kept; `name` is the key that wants it. They cannot if nothing encrypts
/// them, which `can_seal` says, if that is known.
pub(super) fn sealable(s: &mut Section<'_>, name: &str, can_seal: Option<bool>) -> bool {
    if can_seal == Some(false) {
        let problem = "The providers' tokens are kept encrypted alone, and there is no key.";
        let fix = "set keys.encryption_key_file, or remove this key";
        s.reject(name, invalid(problem, fix));
    }
    can_seal != Some(false)
}

/// The rule by which a provider is asked again. `longest_call` includes the wait for a free place.
pub(super) fn recheck_rule(every: Duration, longest_call: Duration) -> RecheckRule {
    RecheckRule { every, lease: lease(longest_call) }
}

/// The rule by which a provider's access tokens are kept. `longest_call` includes the wait for a free place.
pub(super) fn access_rule(longest_call: Duration) -> AccessRule {
    AccessRule { lease: lease(longest_call) }
}

fn lease(longest_call: Duration) -> Duration {
    LEAST_LEASE.max(longest_call * 2)
}

/// Reads the limits of calls to the provider. `timeout` is the longest that one request may take.
pub(super) fn guard(s: &mut Section<'_>, timeout: Option<Duration>) -> Option<GuardConfig> {
    let max_concurrent = s.number(
        key(
            "max_concurrent",
            "The most sign-ins that may be exchanging a code with the provider at once. Further ones \
             wait up to `timeout_ms` and then fail with `PROVIDER_UNAVAILABLE`.",
        )
        .default(64),
        1..=10_000,
    );
    let failures_to_open = s.number(
        key(
            "circuit_failures",
            "The number of failures in a row after which the provider is not asked for a while (its \
             circuit is open).",
        )
        .default(5),
        1..=1000,
    );
    let open_for = s.seconds(
        key(
            "circuit_open_secs",
            "How long the circuit stays open before one call tries the provider again, in seconds.",
        )
        .default(10),
        1..=3600,
    );
    Some(GuardConfig {
        max_concurrent: usize::try_from(max_concurrent?).ok()?,
        max_wait: timeout?,
        failures_to_open: failures_to_open?,
        open_for: open_for?,
    })
}
