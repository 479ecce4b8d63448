//! The contract every store keeps, with sessions in Redis and people elsewhere.

use mintgate_testkit::openings::{Openings, identity, repeatable, single_use};
use mintgate_testkit::{MemoryStore, StoreCalls as _, StoreUnderTest as _, TwoEngines};

use crate::harness::{RedisUnderTest, fresh_sessions};

async fn fresh_stores() -> TwoEngines<RedisUnderTest, MemoryStore> {
    TwoEngines { sessions: fresh_sessions().await, people: MemoryStore::default() }
}

mintgate_testkit::store_suite!(expiring_by_itself fresh_stores);

/// Nothing but what says so is kept for ever: the sets of all ids, which the sweep looks after, and the log.
#[tokio::test]
async fn whatever_a_sign_in_writes_goes_by_itself() {
    let stores = fresh_stores().await;
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.single_use = Some(single_use("ada"));
    opening.idempotency = Some(repeatable("ada"));
    opening.session.upstream_sid = Some("s1".to_owned());
    stores.store().open_session(&opening).await.expect("an outcome");
    let mut lasting = stores.sessions.lasting_keys().await;
    lasting.retain(|key| !key.starts_with("mg:ids:"));
    assert_eq!(lasting, Vec::<String>::new());
}
