//! How somebody must have authenticated at the provider.

use std::time::Duration;

use super::{Timestamp, VerifiedIdentity};
use crate::Cause;

/// How far the provider's clock may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_mins(1);

/// What a login asks of the authentication at the provider, and then holds the ID token to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthenticationRequirements {
    /// The longest time since the person authenticated (`max_age`, OIDC Core §3.1.2.1); `None` if it
    /// does not matter.
    pub max_age: Option<Duration>,
    /// The authentication context classes, separated by spaces, one of which the ID token must name
    /// (`acr` as an essential claim, OIDC Core §5.5.1.1); empty if it does not matter.
    pub acr_values: String,
}

impl AuthenticationRequirements {
    /// Checks how somebody authenticated (OIDC Core §3.1.3.7 items 12 and 13). The provider's clock may
    /// be a minute behind ours.
    ///
    /// # Errors
    /// The requirement that is not met.
    pub(crate) fn check(&self, identity: &VerifiedIdentity, now: Timestamp) -> Result<(), Cause> {
        if let Some(max_age) = self.max_age {
            let at =
                identity.auth_time.ok_or("it has no auth_time, and the login asked for maxAge")?;
            if at + max_age + CLOCK_SKEW < now {
                return Err("the person authenticated longer ago than the login's maxAge".into());
            }
        }
        let mut accepted = self.acr_values.split(' ').filter(|value| !value.is_empty()).peekable();
        if accepted.peek().is_some()
            && !accepted.any(|value| Some(value) == identity.acr.as_deref())
        {
            return Err("its acr is none of the login's acrValues".into());
        }
        Ok(())
    }
}
