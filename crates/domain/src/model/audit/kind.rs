//! What happened, and who did it, by names that are stored.

use std::fmt;

use crate::model::ProviderId;

/// Declares the kinds with the names that they are stored and exported under.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What an entry of the audit log is about. The names are stored and exported: they never change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum AuditKind {
            $($(#[$doc])* $kind,)*
        }

        impl AuditKind {
            /// Every kind, in the order in which the documentation lists them.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The name that the kind is stored and exported under.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// A session was opened.
    Login = "login",
    /// A provider has authenticated a user whom Mintgate refused.
    LoginDenied = "login_denied",
    /// A superseded refresh token was used, and its session has ended.
    RefreshReused = "refresh_reused",
    /// A user ended a session by one of its tokens.
    Logout = "logout",
    /// A user ended all sessions.
    LogoutAll = "logout_all",
    /// One session was ended from another: by its user, or by an operator.
    SessionEnded = "session_ended",
    /// An operator ended all sessions of a user.
    SessionsEnded = "sessions_ended",
    /// A provider ended sessions (OIDC Back-Channel Logout).
    ProviderLogout = "provider_logout",
    /// A provider refused a user at a recheck; the session has ended.
    ProviderRefused = "provider_refused",
    /// A user may not sign in any more, and the sessions have ended.
    UserDisabled = "user_disabled",
    /// A disabled user may sign in again.
    UserEnabled = "user_enabled",
    /// A role was granted in the store.
    RoleGranted = "role_granted",
    /// A role that was granted in the store was taken away.
    RoleRevoked = "role_revoked",
    /// An identity was linked to a user.
    IdentityLinked = "identity_linked",
    /// An identity was unlinked from a user, and its other sessions have ended.
    IdentityUnlinked = "identity_unlinked",
    /// A user was deleted, with everything that is stored about them.
    UserDeleted = "user_deleted",
    /// Everything that is stored about a user was shown to an operator.
    UserExported = "user_exported",
    /// People of another system are imported, with the roles that they had there.
    PeopleImported = "people_imported",
    /// A backup of the store was restored, and every session opened before has ended.
    StoreRestored = "store_restored",
    /// Another signing key of one use began to sign.
    KeyRotated = "key_rotated",
    /// A signing key was removed before its time.
    KeyRetired = "key_retired",
    /// The service has started with another configuration than at the start before.
    ConfigChanged = "config_changed",
    /// Old entries are deleted: those up to a sequence number, which is the anchor of the rest.
    EntriesPruned = "entries_pruned",
    /// Events were lost because the audit log could not be written for too long.
    EventsDropped = "events_dropped",
    /// The action that the entry before announced was not carried out, or its result is unknown.
    ActFailed = "act_failed",
}

impl AuditKind {
    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// The longest name of an actor, in bytes.
const MAX_NAME: usize = 64;

/// Who did what an entry of the audit log is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The user whom the entry is about.
    User,
    /// The identity provider of this id.
    Provider(ProviderId),
    /// Whoever used the token of this name at the admin API.
    AdminToken(String),
    /// Whoever showed the client certificate of this name at the admin API.
    ClientCertificate(String),
    /// A back end with credentials of its own, by its configured id.
    Client(String),
    /// Whoever ran a command, by the name of their account on that machine.
    Operator(String),
    /// The service itself, without a request.
    Service,
}

impl Actor {
    /// Whoever ran a command on this account: at most 64 bytes of the name are kept.
    pub fn operator(account: &str) -> Self {
        let clean: String = account.chars().filter(|c| !c.is_control()).collect();
        Self::Operator(clean[..clean.floor_char_boundary(MAX_NAME)].to_owned())
    }

    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.split_once(':') {
            None if text == "user" => Self::User,
            None if text == "service" => Self::Service,
            Some(("provider", id)) => Self::Provider(ProviderId::new(id)),
            Some(("client", id)) => Self::Client(id.to_owned()),
            Some(("token", name)) => Self::AdminToken(name.to_owned()),
            Some(("certificate", name)) => Self::ClientCertificate(name.to_owned()),
            Some(("operator", name)) => Self::Operator(name.to_owned()),
            _ => return None,
        })
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => f.write_str("user"),
            Self::Provider(id) => write!(f, "provider:{id}"),
            Self::AdminToken(name) => write!(f, "token:{name}"),
            Self::ClientCertificate(name) => write!(f, "certificate:{name}"),
            Self::Client(id) => write!(f, "client:{id}"),
            Self::Operator(name) => write!(f, "operator:{name}"),
            Self::Service => f.write_str("service"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_actors_are_read_as_they_are_written() {
        for kind in AuditKind::ALL {
            assert_eq!(AuditKind::from_name(kind.name()), Some(*kind));
        }
        assert_eq!(AuditKind::from_name("else"), None);
        for actor in [
            Actor::User,
            Actor::Provider(ProviderId::new("corp")),
            Actor::AdminToken("a:b".to_owned()),
            Actor::ClientCertificate("spiffe://a/b".to_owned()),
            Actor::Client("shop".to_owned()),
            Actor::operator("root\n"),
            Actor::Service,
        ] {
            assert_eq!(Actor::parse(&actor.to_string()), Some(actor));
        }
        assert_eq!(Actor::parse("root"), None);
        let Actor::Operator(name) = Actor::operator(&"ä".repeat(40)) else { unreachable!() };
        assert_eq!(name, "ä".repeat(32));
    }
}
