//! The sections: each key is declared once, where it is read.

mod cookies;
mod login;
mod providers;
mod roles;
mod server;
mod store;
mod tokens;

pub(super) use cookies::{cookies, cors};
pub(super) use login::login;
pub(super) use providers::{Neighbours, provider};
pub(super) use roles::roles;
pub(super) use server::{limits, log, ops, server};
pub(super) use store::store;
pub(super) use tokens::{keys, refresh, tokens};
