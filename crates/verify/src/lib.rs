//! Verifies Mintgate's access tokens in the services that receive them: offline, with the keys that Mintgate
//! publishes.
//!
//! ```no_run
//! # async fn service() -> Result<(), Box<dyn std::error::Error>> {
//! use mintgate_verify::Verifier;
//!
//! // Once, at the start. A background task fetches the keys and keeps them fresh.
//! let verifier =
//!     Verifier::builder("https://auth.example.com").audience("https://api.example.com").build()?;
//!
//! // For each request.
//! # let token = "";
//! match verifier.verify_or_fetch(token).await {
//!     Ok(claims) if claims.has_role("admin") => println!("hello {}", claims.sub),
//!     Ok(_) => println!("403"),
//!     Err(refusal) => println!("{}: {refusal}", refusal.status()),
//! }
//! # Ok(()) }
//! ```
//!
//! # What is checked
//!
//! `typ` (RFC 9068 §2.1), `alg` against a fixed list, `crit`, `iss`, the signature with a key of that issuer, `aud`, `exp`, `nbf` and
//! `iat`. Members that occur twice are refused, keys that a token brings itself are ignored.
//!
//! # When Mintgate cannot be reached
//!
//! The keys in memory stay in use ([`Builder::keep_keys_for`]). A service that starts meanwhile answers 503, not 401, until the first keys have
//! arrived ([`Refusal::is_temporary`]).
//!
//! # Features
//!
//! - `http` (default): fetches keys over HTTPS, with rustls.
//! - `revocations`: follows the feed of ended sessions, so that a logout is seen within a second.
//! - `actix`, `axum`: the extractor `SignedIn`; `tower`: the layer `RequireToken`. All three use a `Guard`, which reads the token from
//!   the request and refuses what a page of a foreign origin sends with a cookie.

mod builder;
mod claims;
mod clock;
mod fetch;
#[cfg(feature = "guard")]
mod guard;
#[cfg(feature = "http")]
mod http;
mod issuer;
mod jws;
mod key;
mod key_set;
mod keys;
mod refusal;
#[cfg(feature = "revocations")]
mod revocations;
mod verifier;

pub use builder::{BuildError, Builder};
pub use claims::Claims;
pub use fetch::{Fetch, FetchError, Fetching};
#[cfg(feature = "guard")]
pub use guard::{Denied, Guard, SignedIn};
#[cfg(feature = "tower")]
pub use guard::{RequireToken, RequireTokenService};
#[cfg(feature = "http")]
pub use http::HttpFetch;
pub use issuer::Issuer;
pub use key::Algorithm;
pub use refusal::Refusal;
#[cfg(feature = "revocations")]
pub use revocations::{AtStart, FeedStatus, Revocations, WhenStale};
pub use verifier::{IssuerStatus, Verifier};
