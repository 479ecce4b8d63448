//! The pure core of Mintgate: entities, ports and use cases.
//!
//! Nothing here does I/O, reads a clock or draws randomness by itself: whatever
//! touches the world is a trait in [`ports`], implemented by an adapter crate.
//! There is one use case for each part of a session's life:
//!
//! - [`BeginLogin`] sends a user to a provider, and [`IssueTokens`] opens the session;
//! - [`RefreshSession`] keeps it alive;
//! - [`OwnSessions`] shows users their sessions and ends them, [`SignOut`] signs them out at the provider
//!   too, and [`Identities`] links and unlinks the identities they sign in with;
//! - [`ProviderLogout`] ends sessions when the provider says so;
//! - [`AppAccess`] gives the back end of an app the provider's own access token;
//! - [`Introspection`] tells back ends about our tokens, and revokes them;
//! - [`Administration`] shows operators users and sessions, and changes them; [`AuditReview`] reads the
//!   audit log, [`Explain`] says why, and [`UndoneActs`] what a restored backup has undone;
//! - [`ImportPeople`] takes over the people of another system;
//! - [`CleanUp`] deletes what is no longer needed.

mod admin_token;
mod administration;
mod admission;
mod app_access;
mod audit_review;
mod begin_login;
mod cause;
mod clean_up;
mod clients;
mod concurrent_refreshes;
mod configuration_digests;
mod error;
mod excerpt;
mod explain;
mod field_error;
mod identities;
mod introspection;
mod issue_tokens;
mod kept_tokens;
mod key_agreement;
mod login_parameters;
pub mod memory;
mod minting;
pub mod model;
mod origin;
mod own_sessions;
mod people_import;
pub mod ports;
mod provider_logout;
mod recheck;
mod refresh_session;
mod registry;
mod renewals;
mod revocations;
mod role_explanation;
mod roles;
mod secret;
mod sessions;
mod sign_in;
mod sign_out;
mod two_engines;
mod undone;

pub use admin_token::AdminToken;
pub use administration::{
    Administration, AdministrationError, DeletedUser, Page, PersonRecord, RestoreDone,
    SessionRecord,
};
pub use admission::{Admission, Invitation};
pub use app_access::{AppAccess, AppToken};
pub use audit_review::{AuditReview, AuditVerdict};
pub use begin_login::{BeginLogin, BegunLogin};
pub use cause::{Cause, chain};
pub use clean_up::{CleanUp, CleanUpPorts};
pub use clients::{Client, Clients};
pub use configuration_digests::ConfigurationDigests;
pub use error::{AuthError, ErrorCode};
pub use excerpt::{excerpt, excerpt_without};
pub use explain::{Explain, PersonExplanation, PersonExport, RoleOrigin, SessionExplanation};
pub use field_error::{FieldError, FieldRule};
pub use identities::Identities;
pub use introspection::{ActiveToken, Introspection};
pub use issue_tokens::{IssueTokens, IssueTokensConfig, IssueTokensPorts, TokenRequest};
pub use kept_tokens::KeptTokens;
pub use key_agreement::{AgreementChange, KeyAgreement, KeyConflict, KeyDoubt};
pub use login_parameters::LoginParameter;
pub use minting::{IssuedTokens, TokenDelivery};
pub use origin::Origin;
pub use own_sessions::{OwnSessions, SessionProof};
pub use people_import::{ImportClaims, ImportConflict, ImportPeople, ImportResult};
pub use provider_logout::ProviderLogout;
pub use recheck::Recheck;
pub use refresh_session::{RefreshConfig, RefreshPorts, RefreshSession};
pub use registry::{
    AccessRule, LoginRequest, LogoutRequest, LogoutScope, NonceRule, OfflineScope, ProviderPolicy,
    ProviderRegistry, RecheckRule, RegisteredProvider, Requirement,
};
pub use renewals::{RenewalPorts, Renewals};
pub use revocations::{FollowRevocations, revocation_lifetime};
pub use role_explanation::{Admitted, DroppedEmail, RoleExplanation, RuleReason};
pub use roles::{OnLookupFailure, RoleCondition, RoleDecider, RoleLookup, RolePolicy, RoleRule};
pub use secret::{
    AuthorizationCode, CodeVerifier, IdTokenText, LoginCookie, LogoutTokenText, Nonce,
    PresentedToken, ProviderAccessToken, ProviderRefreshToken, SecretText, SetCookie, SignedToken,
    TokenHash,
};
pub use sessions::{RotateOutcome, Sessions};
pub use sign_in::{Credential, SignIn, SignInRequest};
pub use sign_out::{SignOut, SignOutRequest, SignedOut};
pub use two_engines::{JoinedHousekeeping, JoinedLog};
pub use undone::{Undone, UndoneAct, UndoneActs};
