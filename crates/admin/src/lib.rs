//! What operators type and read about users and sessions: the commands `mintgate users`,
//! `mintgate sessions`, `mintgate audit`, `mintgate explain` and `mintgate restore-done`, their words, the
//! JSON that these commands and the admin API share, the words of `mintgate roles`, and the commands that make credentials:
//! `mintgate admin new-token` and `mintgate clients new`.

mod audit;
mod clients;
pub mod json;
mod reply;
mod restore;
mod roles;
mod secret;
mod sessions;
mod token;
mod users;
mod words;

use mintgate_domain::model::Actor;

pub use audit::{AuditCommand, ExplainCommand, ExportError};
pub use clients::ClientsCommand;
pub use reply::Reply;
pub use restore::RestoreDoneCommand;
pub use roles::{NoSuchProvider, RolesAnswer};
pub use sessions::SessionsCommand;
pub use token::AdminCommand;
pub use users::UsersCommand;

/// Whoever runs this command, by the name of their account: the one before `sudo`, if there was one.
pub fn operator() -> Actor {
    let account = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    Actor::operator(account.as_deref().unwrap_or("unknown"))
}
