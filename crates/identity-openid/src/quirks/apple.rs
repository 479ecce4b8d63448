//! Apple: the client secret is a JWT of ours, signed with a key from Apple, and it expires.
//!
//! Apple, "Creating a client secret":
//! <https://developer.apple.com/documentation/accountorganizationaldatasharing/creating-a-client-secret>
//! (ES256, `kid`; `iss` the team, `sub` the client id, `aud` <https://appleid.apple.com>; `exp` at most
//! 15777000 seconds, six months, ahead).
//!
//! The rest is plain OpenID Connect. The person's name comes only once and not in the ID token, so its
//! absence means nothing; `email_verified` used to be the text `"true"`, which vouches for nothing
//! here: only the boolean does.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use josekit::JoseError;
use josekit::jws::JwsHeader;
use mintgate_domain::SecretText;
use mintgate_domain::model::Timestamp;
use serde_json::json;

use crate::client_key::{AssertionAlgorithm, ClientKey, ClientKeyError};

/// Whom Apple says the secret is for.
const APPLE: &str = "https://appleid.apple.com";
const DEFAULT_LIFETIME: Duration = Duration::from_hours(1);
const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_mins(1)..=Duration::from_hours(180 * 24);

/// Mints Apple's client secrets: one when it is first needed, the next one shortly before that ends.
/// Clones share what is minted.
#[derive(Clone)]
pub struct AppleSecret {
    key: Arc<ClientKey>,
    team_id: String,
    key_id: String,
    audience: String,
    lifetime: Duration,
    minted: Arc<Mutex<Option<Minted>>>,
}

/// Whether they are configured in the same way; what has been minted does not count.
impl PartialEq for AppleSecret {
    fn eq(&self, other: &Self) -> bool {
        let Self { key, team_id, key_id, audience, lifetime, minted: _ } = self;
        (key, team_id, key_id, audience, lifetime)
            == (&other.key, &other.team_id, &other.key_id, &other.audience, &other.lifetime)
    }
}

impl Eq for AppleSecret {}

struct Minted {
    secret: SecretText,
    client_id: String,
    from: i64,
    /// The time from which on the next secret is used, in seconds since 1970.
    until: i64,
}

impl AppleSecret {
    /// Reads the key (the `.p8` file from Apple) with its identifier, and the team's.
    ///
    /// # Errors
    /// If the text is no P-256 private key in PEM.
    pub fn from_pem(
        pem: &SecretText,
        team_id: impl Into<String>,
        key_id: impl Into<String>,
    ) -> Result<Self, ClientKeyError> {
        Ok(Self {
            key: Arc::new(ClientKey::from_pem(pem, AssertionAlgorithm::Es256)?),
            team_id: team_id.into(),
            key_id: key_id.into(),
            audience: APPLE.to_owned(),
            lifetime: DEFAULT_LIFETIME,
            minted: Arc::default(),
        })
    }

    /// Sets another audience than Apple's, for tests.
    #[must_use]
    pub fn with_audience(self, audience: impl Into<String>) -> Self {
        Self { audience: audience.into(), minted: Arc::default(), ..self }
    }

    /// Sets how long one secret lives; one hour otherwise.
    ///
    /// # Errors
    /// If that is less than a minute, or more than Apple accepts.
    pub fn with_lifetime(self, lifetime: Duration) -> Result<Self, ClientKeyError> {
        if !LIFETIMES.contains(&lifetime) {
            return Err(ClientKeyError::Lifetime);
        }
        Ok(Self { lifetime, minted: Arc::default(), ..self })
    }

    /// The client secret that is valid at `now`, made anew if the last one ends soon.
    pub(crate) fn current(&self, client_id: &str, now: Timestamp) -> Result<SecretText, JoseError> {
        let now = now.as_unix();
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock put back makes the secret one from the future, which Apple need not accept.
        let good = |minted: &&Minted| {
            minted.client_id == client_id && (minted.from..minted.until).contains(&now)
        };
        if let Some(minted) = minted.as_ref().filter(good) {
            return Ok(minted.secret.clone());
        }
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut header = JwsHeader::new();
        header.set_key_id(&self.key_id);
        let claims = json!({
            "iss": self.team_id,
            "sub": client_id,
            "aud": self.audience,
            "iat": now,
            "exp": now.saturating_add(lifetime),
        });
        let secret = self.key.sign(&header, &claims)?;
        *minted = Some(Minted {
            secret: secret.clone(),
            client_id: client_id.to_owned(),
            from: now,
            // With a tenth left, so that none ends on its way.
            until: now.saturating_add(lifetime - lifetime / 10),
        });
        Ok(secret)
    }
}

impl fmt::Debug for AppleSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppleSecret")
            .field("key", &self.key)
            .field("team_id", &self.team_id)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::PKey;

    use super::*;

    fn apple() -> AppleSecret {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let pem = String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        AppleSecret::from_pem(&SecretText::new(pem), "TEAM", "KEY").unwrap()
    }

    #[test]
    fn a_secret_is_minted_once_in_its_life_and_renewed_before_its_end() {
        let apple = apple();
        let at =
            |secs: i64| apple.current("app", Timestamp::from_unix(1_800_000_000 + secs)).unwrap();
        let first = at(0);
        assert!(at(1) == first && at(3239) == first, "one for its whole life");
        let second = at(3240);
        assert!(second != first && at(3600) == second, "the next one a tenth before the end");
        assert!(at(0) != second, "a clock put back gets a secret that is not from the future");
    }

    #[test]
    fn clones_share_a_secret_and_other_clients_do_not() {
        let apple = apple();
        let now = Timestamp::from_unix(1_800_000_000);
        let one = apple.current("app", now).unwrap();
        assert!(apple.clone().current("app", now).unwrap() == one);
        assert!(apple.current("other", now).unwrap() != one);
    }

    #[test]
    fn a_lifetime_is_one_that_apple_accepts() {
        for days in [181, 400] {
            let refused = apple().with_lifetime(Duration::from_hours(days * 24)).unwrap_err();
            assert_eq!(refused, ClientKeyError::Lifetime);
        }
        assert!(apple().with_lifetime(Duration::from_secs(59)).is_err());
        assert!(apple().with_lifetime(Duration::from_hours(180 * 24)).is_ok());
    }

    #[test]
    fn nothing_of_the_key_is_printed() {
        let printed = format!("{:?}", apple());
        assert!(printed.contains("TEAM") && printed.contains("[redacted]"), "{printed}");
    }
}
