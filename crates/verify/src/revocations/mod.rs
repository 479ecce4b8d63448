//! Revocations: which tokens are refused although they have not expired, as Mintgate's feed of ended sessions tells.

mod ended;
mod feed;
mod follower;
mod settings;
mod sse;
mod statement;

pub use feed::FeedStatus;
pub(crate) use follower::{Following, start};
pub use settings::{AtStart, Revocations, WhenStale};
