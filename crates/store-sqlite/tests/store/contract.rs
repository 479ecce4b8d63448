//! The contract every store keeps.

use crate::harness::fresh_store;

mintgate_testkit::store_suite!(fresh_store);
