//! The fake keeps the same contract as the real stores.

use mintgate_testkit::MemoryStore;

async fn fresh_store() -> MemoryStore {
    MemoryStore::default()
}

mintgate_testkit::store_suite!(fresh_store);
