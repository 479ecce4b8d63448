//! Sessions to be opened: whole, valid, each unlike the others, the same in every run.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    AccessGrant, ClientInfo, ExternalIdentity, IdempotencyKey, IdempotencyRecord, KeyId,
    NewSession, NewUser, ProviderId, RefreshState, Role, SessionEpochs, SessionId, SessionOpening,
    SingleUse, Timestamp, UpstreamTokens, UserId,
};
use uuid::Uuid;

/// The time at which these sessions are opened: 2026-01-01T00:00:00Z.
pub const NOW: Timestamp = Timestamp::from_unix(1_767_225_600);

/// An identity at a provider of the tests.
pub fn identity(subject: &str) -> ExternalIdentity {
    ExternalIdentity { issuer: "https://idp.example.com".to_owned(), subject: subject.to_owned() }
}

/// The text of a session's refresh token; its hash is what the session holds.
pub fn refresh_token_text(session: SessionId) -> String {
    format!("refresh-token-of-{session}")
}

/// A text in place of an ID token, different for each name.
pub fn id_token_text(name: &str) -> String {
    format!("id-token-of-{name}")
}

/// The single-use mark of an ID token.
pub fn single_use(name: &str) -> SingleUse {
    SingleUse {
        hash: TokenHash::of(&id_token_text(name)),
        expires_at: NOW + Duration::from_mins(5),
    }
}

/// A text for the header `Idempotency-Key`, different for each name.
pub fn idempotency_key_text(name: &str) -> String {
    format!("idempotency-key-{name}")
}

/// A request that may be repeated for a minute.
pub fn repeatable(name: &str) -> IdempotencyRecord {
    let key = TokenHash::of(&idempotency_key_text(name));
    let body = TokenHash::of(&format!("the body of {name}"));
    let request = IdempotencyKey { key, body };
    IdempotencyRecord { request, expires_at: NOW + Duration::from_mins(1) }
}

/// Makes openings of sessions, each with a fresh id.
#[derive(Debug, Default)]
pub struct Openings(AtomicU64);

/// A session to be opened, for a user who exists or for a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// The session to be stored, with everything that belongs to its sign-in.
    pub opening: SessionOpening,
    /// Whether the user has to be created before the session is opened.
    pub is_new_user: bool,
}

impl Opening {
    /// The user that the session is opened for.
    pub fn user_id(&self) -> UserId {
        self.opening.session.user
    }

    /// The user that has to be created before the session is opened.
    pub fn new_user(&self) -> NewUser {
        let session = &self.opening.session;
        NewUser {
            id: session.user,
            identity: session.identity.clone(),
            provider: session.provider.clone(),
            now: session.created_at,
        }
    }
}

impl Deref for Opening {
    type Target = SessionOpening;

    fn deref(&self) -> &SessionOpening {
        &self.opening
    }
}

impl DerefMut for Opening {
    fn deref_mut(&mut self) -> &mut SessionOpening {
        &mut self.opening
    }
}

impl Openings {
    /// Makes the opening of somebody who signs in with this identity for the first time.
    pub fn new_user(&self, identity: ExternalIdentity) -> Opening {
        let user = UserId::from_uuid(self.uuid());
        Opening { is_new_user: true, ..self.existing_with(user, identity) }
    }

    /// Makes an opening for an existing user, signed in with the identity `ada`.
    pub fn existing(&self, user: UserId) -> Opening {
        self.existing_with(user, identity("ada"))
    }

    /// Makes an opening for an existing user, signed in with this identity.
    pub fn existing_with(&self, user: UserId, identity: ExternalIdentity) -> Opening {
        let id = SessionId::from_uuid(self.uuid());
        let session = NewSession {
            id,
            user,
            epochs: SessionEpochs { user: 0, identity: Some(0), restore: 0 },
            provider: ProviderId::new("corp"),
            identity,
            upstream_sid: None,
            claimed_roles: vec![],
            refresh: RefreshState {
                generation: 0,
                hash: TokenHash::of(&refresh_token_text(id)),
                key_id: KeyId::new("refresh-1"),
                issued_at: NOW,
                expires_at: NOW + Duration::from_hours(30 * 24),
            },
            absolute_expires_at: NOW + Duration::from_hours(90 * 24),
            grant: AccessGrant {
                roles: vec![Role::new("user")],
                auth_time: NOW - Duration::from_secs(20),
                acr: None,
                amr: vec!["pwd".to_owned()],
                extra: [].into(),
            },
            client: ClientInfo {
                user_agent: Some("Tests/1.0".to_owned()),
                ip_prefix: Some("192.0.2.0/24".to_owned()),
            },
            created_at: NOW,
        };
        let upstream = UpstreamTokens::default();
        let opening = SessionOpening {
            session,
            single_use: None,
            upstream,
            profile: None,
            idempotency: None,
        };
        Opening { opening, is_new_user: false }
    }

    fn uuid(&self) -> Uuid {
        let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(n))
    }
}
