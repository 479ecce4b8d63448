//! Entities and value types. None of them derives Serialize: wire shapes live at the edges.

mod account;
mod allowed_uri;
mod audit;
mod authentication;
mod claims;
mod former;
mod identity;
mod ids;
mod key_record;
mod login;
mod profile;
mod replica;
mod return_to;
mod revocation;
mod rotation;
mod search_text;
mod session;
mod session_changes;
mod session_records;
mod shared_count;
mod timestamp;
mod tokens;
mod user;

pub use account::{Account, DeletedSession, KnownEnd, PersonName};
pub use allowed_uri::AllowedUri;
pub use audit::{
    Actor, AuditEntry, AuditEvent, AuditExtent, AuditFault, AuditHead, AuditKey, AuditKeys,
    AuditKind, AuditQuery, ChainReader, ExportedHead, PersonalData,
};
pub use authentication::AuthenticationRequirements;
pub use claims::{ClaimSet, ClaimValue, find_claim};
pub use former::{
    Ban, FormerId, ImportRecord, ImportedUser, MAX_FORMER_ID_BYTES, MAX_SOURCE_BYTES,
};
pub use identity::{ExternalIdentity, LinkedIdentity, NewIdentity, VerifiedIdentity, stored_sid};
pub use ids::{KeyId, ProviderId, Role, SessionId, UserId};
pub use key_record::{KeyRecord, KeyUse};
pub use login::{LoginPurpose, LoginTransaction};
pub use profile::{Profile, ProfileClaim, ProfileClaims};
pub use replica::{
    KeyDispute, KeySet, LiveReplica, REPLICA_PATIENCE, Replica, ReplicaId, key_dispute,
};
pub use return_to::{ReturnOrigins, ReturnTo};
pub use revocation::{Revocation, RevocationCursor, RevocationStatement, Revoked};
pub use rotation::{LostAnswer, NewerToken, PresentedRefresh, ReplayRule, Rotation, Verdict};
pub use search_text::{NotSearchable, SearchText, searched};
pub use session::{
    AccessGrant, ClientInfo, IdempotencyKey, IdempotencyRecord, KeptAccess, NewSession,
    PreviousToken, RefreshState, RevokeReason, SealedToken, Session, SessionEnd, SessionEpochs,
    SessionOpening, SingleUse, UpstreamTokens,
};
pub use session_records::{DutyRecord, KeptUpstream, Reservation};
pub use shared_count::{CountDigest, CountKey, CountReport, SharedCount};
pub use timestamp::Timestamp;
pub use tokens::{AccessClaims, RefreshClaims};
pub use user::{NewUser, Person, Standing, User};
