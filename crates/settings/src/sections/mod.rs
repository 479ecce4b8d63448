//! The sections of the configuration. Each key is declared once, where it is read.

mod admin;
mod audit;
mod clients;
mod cookies;
mod gateways;
mod hosted;
mod limits;
mod login;
mod pages;
mod providers;
mod roles;
mod server;
mod sessions;
mod store;
mod telemetry;
mod tokens;
mod users;

pub(crate) use admin::admin;
pub(crate) use audit::audit;
pub(crate) use clients::{KnownNames, client};
pub(crate) use cookies::{cookies, cors};
pub(crate) use gateways::gateway;
pub(crate) use limits::limits;
pub(crate) use login::login;
pub(crate) use pages::pages;
pub(crate) use providers::{EnvironmentProxies, IssuerConflicts, provider};
pub(crate) use roles::roles;
pub(crate) use server::{log, ops, server};
pub(crate) use sessions::sessions;
pub(crate) use store::store;
pub(crate) use telemetry::telemetry;
pub(crate) use tokens::{keys, refresh, tokens};
pub(crate) use users::users;
