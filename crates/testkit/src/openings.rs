//! Sessions to be opened: whole, valid, each unlike the others, the same in every run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mintgate_domain::TokenHash;
use mintgate_domain::model::{
    AccessGrant, ClientInfo, ExternalIdentity, IdempotencyKey, IdempotencyRecord, KeyId,
    NewSession, NewUser, ProviderId, RefreshState, Role, SessionId, SessionOpening, SessionOwner,
    SingleUse, Timestamp, UserId,
};
use uuid::Uuid;

/// When these sessions are opened.
pub const NOW: Timestamp = Timestamp::from_unix(1_767_225_600);

/// An identity at a provider of the tests.
pub fn identity(subject: &str) -> ExternalIdentity {
    ExternalIdentity { issuer: "https://idp.example.com".to_owned(), subject: subject.to_owned() }
}

/// The text of a session's refresh token; its hash is what the session holds.
pub fn refresh_token_text(session: SessionId) -> String {
    format!("refresh-token-of-{session}")
}

/// The text of an ID token.
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

/// The text of an `Idempotency-Key` header.
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

/// Makes openings with fresh ids.
#[derive(Debug, Default)]
pub struct Openings(AtomicU64);

impl Openings {
    /// For somebody who signs in for the first time.
    pub fn new_user(&self, identity: ExternalIdentity) -> SessionOpening {
        let id = UserId::from_uuid(self.uuid());
        self.opening(SessionOwner::New(NewUser { id, identity: identity.clone() }), identity)
    }

    /// For a user that is known; signed in with the identity `ada` has.
    pub fn existing(&self, user: UserId) -> SessionOpening {
        self.existing_with(user, identity("ada"))
    }

    /// For a user that is known, signed in with this identity.
    pub fn existing_with(&self, user: UserId, identity: ExternalIdentity) -> SessionOpening {
        self.opening(SessionOwner::Existing(user), identity)
    }

    fn opening(&self, owner: SessionOwner, identity: ExternalIdentity) -> SessionOpening {
        let id = SessionId::from_uuid(self.uuid());
        let session = NewSession {
            id,
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
        SessionOpening { owner, session, single_use: None, upstream: None, idempotency: None }
    }

    fn uuid(&self) -> Uuid {
        let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(n))
    }
}
