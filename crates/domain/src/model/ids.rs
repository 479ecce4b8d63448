//! Identifiers, each its own type so that none is taken for another.

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;
use uuid::Uuid;

use super::Timestamp;

fn uuid_v7(now: OffsetDateTime, random: [u8; 10]) -> Uuid {
    let millis = u64::try_from(now.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// A new UUIDv7 (RFC 9562 §5.7) from the given instant and 80 random bits.
            pub fn generate(now: OffsetDateTime, random: [u8; 10]) -> Self {
                Self(uuid_v7(now, random))
            }

            /// The identifier that a store keeps as this UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Reads a UUID with hyphens, in either case (RFC 9562 §4).
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().filter(|_| text.len() == 36).map(Self)
            }

            /// The identifier as a UUID.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// An internal user, the `sub` of our tokens.
    UserId
}
uuid_id! {
    /// A session, the `sid` of our tokens.
    SessionId
}

impl SessionId {
    /// The second in which the identifier was generated (UUIDv7, RFC 9562 §5.7); `None` for another
    /// kind of UUID.
    pub fn generated_at(&self) -> Option<Timestamp> {
        let (seconds, _) = self.0.get_timestamp()?.to_unix();
        seconds.try_into().ok().map(Timestamp::from_unix)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text over; cloning afterwards is cheap.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// The configured name of an identity provider, for example `corp`.
    ProviderId
}
text_id! {
    /// An internal role, for example `admin`.
    Role
}

impl Role {
    /// The longest name of a role, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Whether a text can be the name of a role: 1 to [`MAX_BYTES`](Self::MAX_BYTES) visible ASCII
    /// characters without spaces and commas.
    pub fn is_valid(name: &str) -> bool {
        (1..=Self::MAX_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
    }
}

text_id! {
    /// A key identifier, the `kid` of a JWS header (RFC 7515 §4.1.4).
    KeyId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_from_a_uuid_with_hyphens_and_nothing_else() {
        let canonical = "0192f0c1-2b3c-7def-8abc-0123456789ab";
        let id = SessionId::parse(canonical).unwrap();
        assert_eq!(id.to_string(), canonical);
        assert_eq!(SessionId::parse(&canonical.to_uppercase()), Some(id));
        for other in [
            "",
            "me",
            "0192f0c12b3c7def8abc0123456789ab",
            "{0192f0c1-2b3c-7def-8abc-0123456789ab}",
            "urn:uuid:0192f0c1-2b3c-7def-8abc-0123456789ab",
            "0192f0c1-2b3c-7def-8abc-0123456789ag",
            "' OR 1=1 --",
        ] {
            assert_eq!(SessionId::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_session_id_tells_the_second_it_was_generated_in() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_767_225_600_987_000_000).unwrap();
        let id = SessionId::generate(at, [7; 10]);
        assert_eq!(id.generated_at(), Some(Timestamp::from(at)));
        assert_eq!(SessionId::from_uuid(Uuid::nil()).generated_at(), None);
    }
}
