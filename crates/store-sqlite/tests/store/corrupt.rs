//! Rows that no version of this program writes: named by their column, never by their value.

use std::time::Duration;

use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse};
use mintgate_domain::ports::{
    Housekeeping, KeyRepo, OpenOutcome, RefreshTokenRepo, StoreError, SweepStep,
};
use mintgate_testkit::StoreUnderTest;
use mintgate_testkit::openings::{NOW, Openings, identity, repeatable};
use mintgate_testkit::rotations::rotation;

use crate::harness::{SqliteUnderTest, found, fresh_store, rotated};

const ANYTHING_GOES: &str = "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF";

fn unreadable<T>(column: &str) -> Result<T, StoreError> {
    Err(StoreError::Corrupt(format!("{column} cannot be read").into()))
}

async fn fresh_and_lax() -> SqliteUnderTest {
    let test = fresh_store().await;
    test.execute(ANYTHING_GOES);
    test
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_called_corrupt_by_its_column() {
    let test = fresh_and_lax().await;
    let openings = Openings::default();
    for (column, change) in [
        ("gen", "gen = -1"),
        ("cur_hash", "cur_hash = x'5ec7e7'"),
        ("prev_hash", "prev_hash = x'5ec7e7'"),
        ("prev_replays", "prev_replays = 65536"),
        ("prev_replays", "prev_replays = -1"),
        ("rotated_at", "rotated_at = NULL"),
        ("revoke_reason", "revoke_reason = 'secret', revoked_at = 1"),
        ("revoke_reason", "revoked_at = 1"),
        ("revoked_at", "revoke_reason = 'logout'"),
        ("roles", "roles = '{\"secret\": 1}'"),
        ("claimed_roles", "claimed_roles = '[\"secret\", 1]'"),
        ("amr", "amr = '[\"secret\", 1]'"),
        ("extra_claims", "extra_claims = '[\"secret\"]'"),
        ("extra_claims", "extra_claims = '{\"secret\": 1e999}'"),
    ] {
        let opening = openings.new_user(identity(change));
        assert_eq!(test.store.open_session(&opening).await, Ok(OpenOutcome::Opened));
        let session = found(&test, opening.session.id).await;
        let session = rotated(&test, &rotation(&session, NOW)).await;
        let id = session.id.as_uuid().simple();
        test.execute(&format!("UPDATE sessions SET {change} WHERE id = x'{id}'"));

        let before = test.dump().await;
        assert_eq!(test.store.find_session(session.id).await, unreadable(column));
        assert_eq!(test.store.rotate(&rotation(&session, NOW)).await, unreadable(column));
        assert_eq!(test.dump().await, before, "{column} is left as it is");
    }
}

#[tokio::test]
async fn a_session_of_nobody_is_unknown_and_its_owner_is_not_guessed() {
    let test = fresh_and_lax().await;
    let opening = Openings::default().new_user(identity("ada"));
    test.store.open_session(&opening).await.unwrap();
    test.execute("UPDATE sessions SET user_id = x'5ec7e7'");
    assert_eq!(test.store.find_session(opening.session.id).await, unreadable("user_id"));
}

#[tokio::test]
async fn a_repeatable_request_that_cannot_be_read_is_called_corrupt_by_its_column() {
    let test = fresh_and_lax().await;
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.idempotency = Some(repeatable("ada"));
    test.store.open_session(&opening).await.unwrap();
    test.execute("UPDATE idempotency_keys SET body_hash = x'5ec7e7'");
    let key = repeatable("ada").request.key;
    assert_eq!(test.store.find_opening(key, NOW).await, unreadable("body_hash"));
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_called_corrupt_by_its_column() {
    let test = fresh_and_lax().await;
    let record = KeyRecord {
        key_use: KeyUse::Access,
        number: 1,
        id: KeyId::new("a key"),
        material: SecretText::new("sealed"),
        created_at: NOW,
        activates_at: None,
    };
    assert_eq!(test.store.add_key(&record).await, Ok(true));
    for (column, change, undo) in [
        ("key_use", "key_use = 'secret'", "key_use = 'access'"),
        ("number", "number = -1", "number = 1"),
        ("number", "number = 4294967296", "number = 1"),
    ] {
        test.execute(&format!("UPDATE signing_keys SET {change}"));
        assert_eq!(test.store.list_keys().await, unreadable(column));
        test.execute(&format!("UPDATE signing_keys SET {undo}"));
    }
    assert_eq!(test.store.list_keys().await, Ok(vec![record]));
}

/// It needs none of what is unreadable, so it goes on.
#[tokio::test]
async fn a_sweep_gets_past_a_row_that_cannot_be_read() {
    let test = fresh_and_lax().await;
    let openings = Openings::default();
    let broken = openings.new_user(identity("ada"));
    test.store.open_session(&broken).await.unwrap();
    test.execute("UPDATE sessions SET roles = 'secret', gen = -1");
    let other = openings.existing(broken.owner.user_id());
    test.store.open_session(&other).await.unwrap();

    let now = other.session.refresh.expires_at;
    let step = SweepStep { after: None, limit: 9, now, keep_ended: Duration::ZERO };
    let swept = test.store.sweep(&step).await.unwrap();
    assert_eq!(swept.expired_idle, 2);
}
