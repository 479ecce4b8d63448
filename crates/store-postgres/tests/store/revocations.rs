//! The log of revocations where several transactions write at once.

use mintgate_domain::model::{RevocationCursor, RevokeReason, Revoked, Session};
use mintgate_domain::ports::{RefreshTokenRepo, RevocationLog};
use mintgate_testkit::openings::{NOW, Openings};

use crate::harness::{PgUnderTest, config, fresh_store, session, store};

/// What is behind the cursor, and the cursor behind that.
async fn read(
    log: &dyn RevocationLog,
    after: Option<&RevocationCursor>,
) -> (Vec<Revoked>, RevocationCursor) {
    let page = log.revocations(after, NOW, 100).await.unwrap().expect("a place of this log");
    (page.events.into_iter().map(|event| event.revoked).collect(), page.cursor)
}

async fn end(test: &PgUnderTest, session: &Session) {
    let ended = test.store.end_session(session.id, session.user, RevokeReason::Logout, NOW).await;
    ended.unwrap();
}

/// Two replicas: what one has begun to write before the other, and commits after it, is behind all that has
/// been read meanwhile, however often and by whom.
#[tokio::test]
async fn what_commits_late_is_behind_what_has_been_read() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let late = session(&test.store, &openings, "late").await;
    let first = session(&test.store, &openings, "first").await;
    let second = session(&test.store, &openings, "second").await;
    let other_replica = store(&config(test.database.url()));

    let mut client = test.database.client().await;
    let writing = client.transaction().await.unwrap();
    let end_late = format!(
        "UPDATE sessions SET revoked_at = now(), revoke_reason = 'logout' WHERE id = '{}'",
        late.id
    );
    writing.batch_execute(&end_late).await.unwrap();
    end(&test, &first).await;
    let (events, cursor) = read(&*test.store, None).await;
    assert_eq!(events, [Revoked::Session(first.id)]);
    let (events, cursor) = read(&*other_replica, Some(&cursor)).await;
    assert_eq!(events, []);
    end(&test, &second).await;
    let (events, cursor) = read(&*other_replica, Some(&cursor)).await;
    assert_eq!(events, [Revoked::Session(second.id)]);

    writing.commit().await.unwrap();
    let (events, cursor) = read(&*test.store, Some(&cursor)).await;
    assert_eq!(events, [Revoked::Session(late.id)]);
    assert_eq!(read(&*other_replica, Some(&cursor)).await, (vec![], cursor));
    let (everything, _) = read(&*other_replica, None).await;
    assert_eq!(everything, [first.id, second.id, late.id].map(Revoked::Session));
}

/// A transaction that is rolled back leaves nothing, and no gap that a reader waits for.
#[tokio::test]
async fn what_is_rolled_back_was_never_there() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let gone = session(&test.store, &openings, "gone").await;
    let mut client = test.database.client().await;
    let writing = client.transaction().await.unwrap();
    let end_all = "UPDATE sessions SET revoked_at = now(), revoke_reason = 'logout'";
    writing.batch_execute(end_all).await.unwrap();
    writing.rollback().await.unwrap();
    assert_eq!(read(&*test.store, None).await.0, []);
    end(&test, &gone).await;
    assert_eq!(read(&*test.store, None).await.0, [Revoked::Session(gone.id)]);
}

/// The positions that a failover has undone do not come again: who has read up to one of them misses nothing
/// that is logged afterwards.
#[tokio::test]
async fn a_position_that_was_lost_does_not_come_again() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let lost = session(&test.store, &openings, "lost").await;
    let later = session(&test.store, &openings, "later").await;
    let before = "SELECT last_position FROM revocation_log";
    let before: i64 = test.admin.query_one(before, &[]).await.unwrap().get(0);
    end(&test, &lost).await;
    let (_, cursor) = read(&*test.store, None).await;
    let undo =
        format!("DELETE FROM revocations; UPDATE revocation_log SET last_position = {before}");
    test.admin.batch_execute(&undo).await.unwrap();
    let nothing_yet = test.store.revocations(Some(&cursor), NOW, 10).await;
    assert_eq!(nothing_yet, Ok(None), "it begins again");
    end(&test, &later).await;
    read(&*test.store, None).await;
    let (events, _) = read(&*test.store, Some(&cursor)).await;
    assert_eq!(events, [Revoked::Session(later.id)]);
}
