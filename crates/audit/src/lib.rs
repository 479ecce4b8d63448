//! Writes the audit log: a bounded queue of events, one writer at a time that puts them into the store in
//! batches, and the deletion of old entries.
//!
//! Nobody who notes an event waits for the store, except whoever gives rights. Several processes write into
//! one log: who finds its end moved on begins again behind it, so that no lock is held between two round
//! trips, and the log never forks.

mod pruning;
mod queue;
mod trail;
mod writing;

pub use trail::{AuditTrail, AuditTrailPorts};
