//! Clean-up beside sessions that are in use.

use std::time::Duration;

use mintgate_domain::model::{RevokeReason, SealedToken, UpstreamTokens};
use mintgate_domain::ports::{Housekeeping, RefreshTokenRepo, SweepStep, Swept};
use mintgate_testkit::openings::{Openings, identity, repeatable, single_use};

use crate::harness::{fresh_store, opened, read};

#[tokio::test]
async fn a_sweep_leaves_what_is_in_use_to_the_next_round_and_does_not_wait() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let upstream =
        UpstreamTokens { refresh: Some(SealedToken("sealed".to_owned())), id: None, access: None };
    let mut first = openings.new_user(identity("ada"));
    first.upstream.clone_from(&upstream);
    let first = opened(&test.store, &first).await;
    let mut second = openings.existing(first.user);
    second.single_use = Some(single_use("ada"));
    second.upstream = upstream;
    second.idempotency = Some(repeatable("ada"));
    let second = opened(&test.store, &second).await;
    let now = first.refresh.expires_at;
    let step = SweepStep { after: None, limit: 9, now, keep_ended: Duration::from_mins(1) };

    let mut other = test.database.client().await;
    let writing = other.transaction().await.unwrap();
    let lock = format!(
        "SELECT FROM sessions WHERE id = '{}' FOR NO KEY UPDATE;
         SELECT FROM single_use_marks FOR UPDATE; SELECT FROM idempotency_keys FOR UPDATE",
        first.id
    );
    writing.batch_execute(&lock).await.unwrap();
    let one = Swept { expired_idle: 1, ..Swept::default() };
    assert_eq!(test.store.sweep(&step).await, Ok(one));
    assert_eq!(read(&test.store, first.id).await.end, None);
    let end = read(&test.store, second.id).await.end.unwrap();
    assert_eq!((end.at, end.reason), (now, RevokeReason::ExpiredIdle));

    let tokens = "SELECT session_id::text FROM upstream_tokens";
    let left: String = test.admin.query_one(tokens, &[]).await.unwrap().get(0);
    assert_eq!(left, first.id.to_string());

    writing.rollback().await.unwrap();
    let locked = test.admin.query("SELECT FROM single_use_marks", &[]).await.unwrap();
    assert_eq!(locked.len(), 1);
    assert_eq!(test.store.sweep(&step).await, Ok(one));
    for table in ["single_use_marks", "idempotency_keys", "upstream_tokens"] {
        let left = test.admin.query(&format!("SELECT FROM {table}"), &[]).await.unwrap();
        assert!(left.is_empty(), "{table}");
    }
    let later = SweepStep { now: now + Duration::from_secs(61), ..step };
    let both = Swept { deleted: 2, ..Swept::default() };
    assert_eq!(test.store.sweep(&later).await, Ok(both));
}

#[tokio::test]
async fn a_sweep_does_not_wait_for_who_asks_the_provider_about_an_ended_session() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let mut opening = openings.new_user(identity("ada"));
    opening.upstream.refresh = Some(SealedToken("sealed".to_owned()));
    let session = opened(&test.store, &opening).await;
    let (id, user, now) = (session.id, session.user, session.created_at);
    test.store.end_session(id, user, RevokeReason::Logout, now).await.unwrap();

    let mut other = test.database.client().await;
    let asking = other.transaction().await.unwrap();
    asking.batch_execute("UPDATE upstream_tokens SET claimed_until = now()").await.unwrap();
    let step = SweepStep { after: None, limit: 9, now, keep_ended: Duration::from_mins(1) };
    assert_eq!(test.store.sweep(&step).await, Ok(Swept::default()));
    asking.commit().await.unwrap();
    let tokens = async || test.admin.query("SELECT FROM upstream_tokens", &[]).await.unwrap();
    assert_eq!(tokens().await.len(), 1);
    assert_eq!(test.store.sweep(&step).await, Ok(Swept::default()));
    assert_eq!(tokens().await.len(), 0);
}
