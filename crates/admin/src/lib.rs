//! What operators type and read about people and sessions: the commands `mintgate users` and
//! `mintgate sessions`, their words, and the JSON that these commands and the admin API share.

pub mod json;
mod reply;
mod sessions;
mod token;
mod users;
mod words;

pub use reply::Reply;
pub use sessions::SessionsCommand;
pub use token::AdminCommand;
pub use users::UsersCommand;
