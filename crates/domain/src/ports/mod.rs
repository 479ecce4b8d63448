//! What the core needs from the world, one trait a file.
//!
//! A trait's documentation says what an adapter MUST do; the contract suites in
//! the testkit crate prove it for each adapter.

mod audit_log;
mod audit_store;
mod background;
mod clock;
mod cookie_policy;
mod counts;
mod duties;
mod entropy;
mod housekeeping;
mod idempotency_records;
mod identity_provider;
mod key_list;
mod key_repo;
mod metrics;
mod once_marks;
mod people_import;
mod public_keys;
mod refresh_limit;
mod refresh_token_repo;
mod replicas;
mod revocation_log;
mod revocation_signer;
mod role_directory;
mod running_configuration;
mod session_administration;
mod session_engines;
mod shared_counts;
mod store_examination;
mod store_health;
mod token_signer;
mod token_verifier;
mod upstream;
mod user_administration;
mod user_directory;

pub use audit_log::{AuditLog, NoAuditLog};
pub use audit_store::{AuditStore, Erasure};
pub use background::Background;
pub use clock::Clock;
pub use cookie_policy::{CookiePolicy, CookieTooLarge, SessionTokens};
pub use counts::{CountReader, Counts};
pub use duties::{Duties, Duty};
pub use entropy::Entropy;
pub use housekeeping::{Housekeeping, SweepStep, Swept};
pub use idempotency_records::{Holder, IdempotencyRecords, Reserved};
pub use identity_provider::{
    AuthorizationEndpoint, CodeGrant, ID_TOKEN_MAX_AGE, IdentityProvider, LogoutOrder,
    Misbehaviour, ProviderAccess, ProviderError, ProviderTokens, Renewal, TokenSource,
};
pub use key_list::{KeyList, ListedKey};
pub use key_repo::KeyRepo;
pub use metrics::{
    AuditState, CircuitState, IntrospectionResult, Metrics, NoMetrics, Phase, ProviderEndpoint,
    ProviderTokenResult, RecheckResult, RefreshResult, RevocationResult, StoreOperation,
};
pub use once_marks::OnceMarks;
pub use people_import::{
    ImportOutcome, ImportQuestion, ImportedChange, PeopleImport, StoredPeople,
};
pub use public_keys::{JwksDocument, PublicKeys};
pub use refresh_limit::RefreshLimit;
pub use refresh_token_repo::{
    EndOutcome, EndedStep, LoadedSession, OpenOutcome, ProviderLogoutOutcome, RefreshTokenRepo,
    SessionChange, SessionOwner,
};
pub use replicas::Replicas;
pub use revocation_log::{RevocationLog, RevocationPage};
pub use revocation_signer::RevocationSigner;
pub use role_directory::{RoleDirectory, RoleLookupError, RoleQuestion};
pub use running_configuration::{ConfigurationFile, RunningConfiguration};
pub use session_administration::SessionAdministration;
pub use session_engines::SessionEngines;
pub use shared_counts::SharedCounts;
pub use store_examination::{DiskSpace, ServerFacts, StoreExamination, StoreFacts};
pub use store_health::{PoolState, StoreError, StoreHealth};
pub use token_signer::{SigningError, TokenSigner};
pub use token_verifier::{TokenVerifier, VerifiedAccess, VerifiedRefresh, VerifyError};
pub use upstream::{
    ClaimedUpstream, SealError, SealedBefore, SealedPage, TokenSeal, UpstreamDue, UpstreamRenewal,
    UpstreamTokenKind, UpstreamTokenRepo,
};
pub use user_administration::{UserAdministration, UserChange};
pub use user_directory::{LinkOutcome, UnlinkOutcome, UserDirectory};
