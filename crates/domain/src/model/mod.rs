//! Entities and value types. None of them derives Serialize: wire shapes live at the edges.

mod claims;
mod identity;
mod ids;
mod session;
mod timestamp;
mod tokens;
mod user;

pub use claims::{ClaimSet, ClaimValue};
pub use identity::{ExternalIdentity, VerifiedIdentity};
pub use ids::{KeyId, ProviderId, Role, SessionId, UserId};
pub use session::{
    AccessGrant, ClientInfo, ConsumedIdToken, NewSession, NewUser, RefreshState, SessionOpening,
    SessionOwner,
};
pub use timestamp::Timestamp;
pub use tokens::{AccessClaims, RefreshClaims};
pub use user::User;
