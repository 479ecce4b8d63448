//! Clean-up beside sessions that are in use.

use std::time::Duration;

use mintgate_domain::model::RevokeReason;
use mintgate_domain::ports::{Housekeeping, SweepStep, Swept};
use mintgate_testkit::openings::{Openings, consumed, repeatable};

use crate::harness::{fresh_store, opened, read, session};

#[tokio::test]
async fn a_sweep_leaves_what_is_in_use_to_the_next_round_and_does_not_wait() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let first = session(&test.store, &openings, "ada").await;
    let mut second = openings.existing(first.user);
    second.consumed = Some(consumed("ada"));
    second.idempotency = Some(repeatable("ada"));
    let second = opened(&test.store, &second).await;
    let now = first.refresh.expires_at;
    let step = SweepStep { after: None, limit: 9, now, keep_ended: Duration::from_mins(1) };

    let mut other = test.database.client().await;
    let writing = other.transaction().await.unwrap();
    let lock = format!(
        "SELECT FROM sessions WHERE id = '{}' FOR NO KEY UPDATE;
         SELECT FROM consumed_id_tokens FOR UPDATE; SELECT FROM idempotency_keys FOR UPDATE",
        first.id
    );
    writing.batch_execute(&lock).await.unwrap();
    let one = Swept { expired_idle: 1, ..Swept::default() };
    assert_eq!(test.store.sweep(&step).await, Ok(one));
    assert_eq!(read(&test.store, first.id).await.end, None);
    let end = read(&test.store, second.id).await.end.unwrap();
    assert_eq!((end.at, end.reason), (now, RevokeReason::ExpiredIdle));

    writing.rollback().await.unwrap();
    let locked = test.admin.query("SELECT FROM consumed_id_tokens", &[]).await.unwrap();
    assert_eq!(locked.len(), 1);
    assert_eq!(test.store.sweep(&step).await, Ok(one));
    for table in ["consumed_id_tokens", "idempotency_keys"] {
        let left = test.admin.query(&format!("SELECT FROM {table}"), &[]).await.unwrap();
        assert!(left.is_empty(), "{table}");
    }
    let later = SweepStep { now: now + Duration::from_secs(61), ..step };
    let both = Swept { deleted: 2, ..Swept::default() };
    assert_eq!(test.store.sweep(&later).await, Ok(both));
}
