//! The pure core of Mintgate: entities, ports and use cases.
//!
//! Nothing here does I/O, reads a clock or draws randomness by itself: whatever
//! touches the world is a trait in [`ports`], implemented by an adapter crate.
//! There is one use case for each part of a session's life: [`IssueTokens`] opens it,
//! [`RefreshSession`] keeps it alive, and with [`OwnSessions`] its user looks at it and ends it.
//! Each reads top to bottom like what it performs.

mod codes;
mod crowds;
mod error;
mod issue_tokens;
mod minting;
pub mod model;
mod own_sessions;
pub mod ports;
mod refresh_session;
mod registry;
mod repeats;
mod roles;
mod secret;

pub use codes::UsedCodes;
pub use error::{AuthError, FieldError};
pub use issue_tokens::{
    Credential, IssueTokens, IssueTokensConfig, IssueTokensPorts, TokenRequest,
};
pub use minting::{IssuedTokens, TokenDelivery};
pub use own_sessions::{OwnSessions, SessionProof};
pub use refresh_session::{RefreshConfig, RefreshPorts, RefreshSession};
pub use registry::{ProviderPolicy, ProviderRegistry, RegisteredProvider, Requirement};
pub use roles::{RoleCondition, RolePolicy, RoleRule};
pub use secret::{
    AuthorizationCode, CodeVerifier, IdTokenText, Nonce, PresentedToken, ProviderAccessToken,
    SecretText, SetCookie, SignedToken, TokenHash,
};
