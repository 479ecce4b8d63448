//! A small real OpenID provider for development and tests, which misbehaves on request.
//!
//! The provider signs real ID tokens and checks redirect URIs, PKCE and one-time codes as a careful
//! provider does. Anyone may sign in as anyone: it must never be reachable in production.
//!
//! # Faults and control
//!
//! [`Faults`] sets how each endpoint fails and what its answers say; [`IdTokenRecipe`] makes forged
//! ID tokens, and [`forgeries`] is a catalogue of them. A test in the same process uses [`Control`].
//! Other processes use the endpoints under `/control`, which take and return JSON and are served if
//! [`MockConfig::control`] is set (`mintgate-mock-idp --control`). `docs/mock-provider.md` lists them
//! with an example of each.
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
//!
//! With [`MockConfig::dialect`] the mock behaves like one of the well-known providers; see [`Dialect`].
//! A [`Habit`] is one oddity of real providers that a relying party has to live with.

mod ambient;
mod answer;
mod authorize;
mod client_auth;
mod client_key;
mod config;
mod control;
mod dialect;
mod discovery;
mod end_session;
mod faults;
pub mod forgeries;
mod grants;
mod habits;
mod id_token;
mod keys;
mod logout;
mod page;
mod params;
mod refusal;
mod server;
mod shared;
mod state;
mod token;
mod userinfo;

pub use client_auth::ClientAuth;
pub use client_key::{ClientKey, ClientKeyPair};
pub use config::{IdTokenAlg, MockClient, MockConfig, MockUser, SignIn, UnknownAlg};
pub use control::Control;
pub use dialect::{Dialect, DialectOptions, Overage, UnknownDialect, entra_object_id};
pub use faults::{Fault, FaultKind, Faults};
pub use habits::Habit;
pub use id_token::{IdTokenRecipe, Shape, SignWith};
pub use logout::{LogoutOrder, LogoutTokenFault};
pub use refusal::Refusal;
pub use server::{MockIdp, Urls};
pub use state::Stats;
