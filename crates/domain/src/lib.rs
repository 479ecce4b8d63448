//! The pure core of Mintgate: entities, ports and the token-issuing use case.
//!
//! Nothing here does I/O, reads a clock or draws randomness by itself: whatever
//! touches the world is a trait in [`ports`], implemented by an adapter crate.
//! The one flow of this crate, [`IssueTokens`], reads top to bottom like the
//! sign-in it performs.

mod codes;
mod error;
mod issue_tokens;
pub mod model;
pub mod ports;
mod registry;
mod roles;
mod secret;

pub use codes::UsedCodes;
pub use error::{AuthError, FieldError};
pub use issue_tokens::{
    Credential, IssueTokens, IssueTokensConfig, IssueTokensPorts, IssuedTokens, TokenDelivery,
    TokenRequest,
};
pub use registry::{ProviderPolicy, ProviderRegistry, RegisteredProvider, Requirement};
pub use roles::{RoleCondition, RolePolicy, RoleRule};
pub use secret::{
    AuthorizationCode, CodeVerifier, IdTokenText, Nonce, ProviderAccessToken, SecretText,
    SetCookie, SignedToken, TokenHash,
};
