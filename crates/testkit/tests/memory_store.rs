//! The fake keeps the same contract as the real stores.

use mintgate_testkit::{MemoryStore, TwoEngines};

async fn fresh_store() -> MemoryStore {
    MemoryStore::default()
}

mintgate_testkit::store_suite!(fresh_store);

mod two_engines {
    use super::*;

    async fn fresh_stores() -> TwoEngines<MemoryStore, MemoryStore> {
        TwoEngines { sessions: MemoryStore::of_sessions_alone(), people: MemoryStore::default() }
    }

    mintgate_testkit::store_suite!(two_engines fresh_stores);
}

mod counts {
    async fn fresh_counts() -> mintgate_testkit::MemoryCounts {
        mintgate_testkit::MemoryCounts::default()
    }

    mintgate_testkit::shared_counts_suite!(fresh_counts);
}
