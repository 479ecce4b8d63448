//! The TLS of a listener: a certificate with its private key, read from two files, checked, and replaced
//! while the listener runs; and the certificates of its clients.

mod client;
mod files;
mod pair;
mod served;
#[cfg(test)]
mod tests;

pub use client::ClientCertificate;
pub use files::{PairError, PairFiles};
pub use pair::{Pair, Validity};
pub use served::{Served, Status};
