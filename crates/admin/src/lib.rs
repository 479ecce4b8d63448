//! What operators type and read about people and sessions: the commands `mintgate users` and
//! `mintgate sessions`, their words, the JSON that these commands and the admin API share, and the words of
//! `mintgate roles`.

pub mod json;
mod reply;
mod roles;
mod sessions;
mod token;
mod users;
mod words;

pub use reply::Reply;
pub use roles::{NoSuchProvider, RolesAnswer};
pub use sessions::SessionsCommand;
pub use token::AdminCommand;
pub use users::UsersCommand;
