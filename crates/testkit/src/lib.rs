//! Fakes, builders and the contract suites every adapter must pass.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test kit fails by panicking"
)]

mod addresses;
mod audit;
mod clock;
mod collector;
pub mod cookie_suite;
mod entropy;
pub mod fault_proxy;
pub mod forward_proxy;
#[cfg(feature = "http")]
pub mod http;
mod interposed;
mod jws;
mod memory_counts;
mod memory_store;
mod metrics;
pub mod openings;
pub mod pgbouncer;
pub mod postgres;
pub mod redis;
mod resource_server;
pub mod rotations;
pub mod shared_counts_suite;
pub mod signer_suite;
pub mod store_suite;
mod store_under_test;
#[cfg(feature = "tls")]
pub mod tls;
mod two_engines;

pub use addresses::free_addresses;
pub use audit::RecordingAuditLog;
pub use clock::ManualClock;
pub use collector::{Collector, Posted};
pub use entropy::SeededEntropy;
pub use interposed::{Interposed, InterposedRepo};
pub use jws::hs256;
pub use memory_counts::MemoryCounts;
pub use memory_store::MemoryStore;
pub use metrics::{MetricEvent, RecordingMetrics};
pub use mintgate_domain::ports::NoMetrics;
pub use resource_server::ResourceServer;
pub use store_under_test::{Dump, Store, StoreCalls, StoreUnderTest, Stores};
pub use two_engines::TwoEngines;
