//! An internal user.

use super::{
    ExternalIdentity, NewSession, Profile, ProviderId, Role, Session, SessionEpochs, Timestamp,
    UserId,
};

/// A user of the operator's application, known by one or more external identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id: the `sub` claim of the user's tokens.
    pub id: UserId,
    /// The time at which an operator disabled the user, who cannot sign in or refresh since; `None`
    /// if not disabled.
    pub disabled_at: Option<Timestamp>,
    /// Roles that an operator gave this user, added to those the role rules grant.
    pub granted_roles: Vec<Role>,
    /// How often all sessions of the user have been ended. A session with an older epoch has ended.
    pub session_epoch: u64,
    /// The claims of the last sign-in that `users.profile` has stored.
    pub profile: Profile,
}

/// A user to be created for an identity that nobody has yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The identifier the user will have.
    pub id: UserId,
    /// The identity the user will be known by.
    pub identity: ExternalIdentity,
    /// The id of the configured provider of the identity; for display only.
    pub provider: ProviderId,
    /// The time of the sign-in that creates the user.
    pub now: Timestamp,
}

/// A user together with one external identity: what a session of that identity is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The user that the identity is, or was, linked to.
    pub user: User,
    /// How often all sessions of the identity have been ended; `None` if the identity is not, or no
    /// longer, linked to the user.
    pub identity_epoch: Option<u64>,
    /// The store's restore epoch: larger since each time that a backup was restored. A session with
    /// another one has ended.
    pub restore_epoch: u64,
}

/// Whether a session may continue, judged by its user and its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The session may be used.
    Good,
    /// An operator has disabled the user.
    Disabled,
    /// All sessions of the user, or of the identity, were ended after this one was opened; or the
    /// identity was unlinked, or the user deleted.
    Ended,
    /// A backup was restored after the session was opened.
    Restored,
}

impl Person {
    /// The epochs that a session opened now is to keep.
    pub fn epochs(&self) -> SessionEpochs {
        SessionEpochs {
            user: self.user.session_epoch,
            identity: self.identity_epoch,
            restore: self.restore_epoch,
        }
    }

    /// Whether a session may be opened: nothing has changed since its epochs were read.
    pub fn admits(&self, session: &NewSession) -> bool {
        self.user.disabled_at.is_none()
            && self.identity_epoch.is_some()
            && self.epochs() == session.epochs
    }

    /// Whether a session of this person may continue; `None` means that the user does not exist.
    pub fn standing(person: Option<&Self>, session: &Session) -> Standing {
        let Some(person) = person else { return Standing::Ended };
        if person.user.id != session.user {
            return Standing::Ended;
        }
        if person.restore_epoch != session.epochs.restore {
            return Standing::Restored;
        }
        if person.user.disabled_at.is_some() {
            return Standing::Disabled;
        }
        let identity = session.epochs.identity;
        let is_current = person.user.session_epoch == session.epochs.user
            && (identity.is_none() || identity == person.identity_epoch);
        if is_current { Standing::Good } else { Standing::Ended }
    }
}
