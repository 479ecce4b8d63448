//! The contract every store keeps.

mod harness;

use harness::fresh_store;

mintgate_testkit::store_suite!(fresh_store);
