//! A small real OpenID provider for development and tests, with faults to order.
//!
//! It signs real ID tokens, insists on redirect URIs, PKCE and one-time codes as a careful provider
//! does, and on request misbehaves in the ways a relying party must survive: see [`Faults`] and
//! [`IdTokenRecipe`]. Anyone may sign in as anyone: it must never be reachable in production.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use mintgate_mock_idp::{FaultKind, Faults, MockConfig, MockIdp, SignIn};
//!
//! let idp = MockIdp::start(MockConfig::default()).await?;
//! let code = idp.control().issue_code(SignIn::default());
//! idp.control().set_faults(Faults { token: Some(FaultKind::Hang.into()), ..Faults::default() });
//! # Ok(()) }
//! ```

mod ambient;
mod answer;
mod authorize;
mod config;
mod control;
mod discovery;
mod faults;
mod id_token;
mod keys;
mod page;
mod params;
mod server;
mod state;
mod token;
mod userinfo;

pub use config::{IdTokenAlg, MockClient, MockConfig, MockUser, SignIn};
pub use control::Control;
pub use faults::{Fault, FaultKind, Faults};
pub use id_token::{IdTokenRecipe, Shape, SignWith};
pub use server::MockIdp;
pub use state::Stats;
