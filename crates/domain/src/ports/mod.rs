//! What the core needs from the world, one trait a file.
//!
//! A trait's documentation says what an adapter MUST do; the contract suites in
//! the testkit crate prove it for each adapter.

mod clock;
mod cookie_policy;
mod entropy;
mod identity_provider;
mod metrics;
mod public_keys;
mod refresh_token_repo;
mod store_health;
mod token_signer;
mod user_directory;

pub use clock::Clock;
pub use cookie_policy::{CookiePolicy, CookieTooLarge, SessionTokens};
pub use entropy::Entropy;
pub use identity_provider::{CodeGrant, IdentityProvider, ProviderError, ProviderTokens};
pub use metrics::{Metrics, Phase, ProviderEndpoint, StoreOperation};
pub use public_keys::{JwksDocument, PublicKeys};
pub use refresh_token_repo::{OpenOutcome, RefreshTokenRepo};
pub use store_health::{PoolState, StoreError, StoreHealth};
pub use token_signer::{SigningError, TokenSigner};
pub use user_directory::UserDirectory;
