//! Rows that no version of this program writes: named by their column, never by their value.

use std::fmt::Debug;
use std::time::Duration;

use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, RevokeReason};
use mintgate_domain::ports::{
    Housekeeping, IdempotencyRecords, KeyRepo, OpenOutcome, StoreError, SweepStep,
};
use mintgate_domain::{RotateOutcome, SecretText, chain};
use mintgate_testkit::openings::{NOW, Openings, identity, repeatable};
use mintgate_testkit::rotations::{presenting, rotation, token_of};
use mintgate_testkit::{StoreCalls, StoreUnderTest};

use crate::harness::{SqliteUnderTest, found, fresh_store, rotated};

const ANYTHING_GOES: &str = "PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF";

/// The error names the column and the row, and no value.
fn assert_corrupt<T: Debug>(result: Result<T, StoreError>, column: &str, row: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    let text = chain(&error).to_string();
    assert!(text.contains(column) && text.contains(row), "{text}");
    assert!(!text.contains("secret") && !text.contains("5ec7e7"), "{text}");
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
    // What the exchange of the current token writes without reading it.
    let overwritten = ["sessions.prev_hash", "sessions.prev_replays", "sessions.rotated_at"];
    for (column, change) in [
        ("gen", "gen = -1"),
        ("user_epoch", "user_epoch = -1"),
        ("identity_epoch", "identity_epoch = -1"),
        ("cur_hash", "cur_hash = x'5ec7e7'"),
        ("prev_hash", "prev_hash = x'5ec7e7'"),
        ("prev_replays", "prev_replays = 65536"),
        ("prev_replays", "prev_replays = -1"),
        ("rotated_at", "rotated_at = NULL"),
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
        let previous = token_of(&session.refresh);
        let session = rotated(&test, &rotation(&session, NOW)).await;
        let id = session.id.as_uuid().simple();
        test.execute(&format!("UPDATE sessions SET {change} WHERE id = x'{id}'"));

        let before = test.dump().await;
        let column = format!("sessions.{column}");
        let row = session.id.as_uuid().simple().to_string();
        assert_corrupt(test.store.find_session(session.id).await, &column, &row);
        let previous = presenting(&session, previous, NOW);
        assert_corrupt(test.store.rotate(&previous).await, &column, &row);
        if !overwritten.contains(&column.as_str()) {
            assert_corrupt(test.store.rotate(&rotation(&session, NOW)).await, &column, &row);
        }
        assert_eq!(test.dump().await, before, "{column} is left as it is");
    }
}

#[tokio::test]
async fn a_session_of_nobody_is_unknown_and_its_owner_is_not_guessed() {
    let test = fresh_and_lax().await;
    let opening = Openings::default().new_user(identity("ada"));
    test.store.open_session(&opening).await.unwrap();
    test.execute("UPDATE sessions SET user_id = x'5ec7e7'");
    let row = opening.session.id.as_uuid().simple().to_string();
    assert_corrupt(test.store.find_session(opening.session.id).await, "sessions.user_id", &row);
}

#[tokio::test]
async fn a_repeatable_request_that_cannot_be_read_is_called_corrupt_by_its_column() {
    let test = fresh_and_lax().await;
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.idempotency = Some(repeatable("ada"));
    test.store.open_session(&opening).await.unwrap();
    test.execute("UPDATE idempotency_keys SET body_hash = x'5ec7e7'");
    let key = repeatable("ada").request.key;
    let row = u128::from_be_bytes(*key.as_bytes().first_chunk().unwrap());
    let row = format!("{row:032x}");
    assert_corrupt(test.store.find(key, NOW).await, "idempotency_keys.body_hash", &row);
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
    for (column, change, undo) in
        [("number", "number = -1", "number = 1"), ("number", "number = 4294967296", "number = 1")]
    {
        test.execute(&format!("UPDATE signing_keys SET {change}"));
        let column = format!("signing_keys.{column}");
        assert_corrupt(test.store.list_keys().await, &column, "a key");
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
    let other = openings.existing(broken.user_id());
    test.store.open_session(&other).await.unwrap();

    let now = other.session.refresh.expires_at;
    let step = SweepStep { after: None, limit: 9, now, keep_ended: Duration::ZERO };
    let swept = test.store.sweep(&step).await.unwrap();
    assert_eq!(swept.expired_idle, 2);
}

#[tokio::test]
async fn a_session_that_ended_for_an_unknown_reason_has_ended() {
    let test = fresh_and_lax().await;
    let opening = Openings::default().new_user(identity("ada"));
    test.store.open_session(&opening).await.unwrap();
    let session = found(&test, opening.session.id).await;
    test.execute("UPDATE sessions SET revoke_reason = 'of a later release', revoked_at = 1");
    let outcome = test.store.rotate(&rotation(&session, NOW)).await;
    assert_eq!(outcome, Ok(RotateOutcome::Revoked(RevokeReason::Other)));
}

#[tokio::test]
async fn a_key_for_an_unknown_use_is_left_out() {
    let test = fresh_and_lax().await;
    test.execute(
        "INSERT INTO signing_keys (key_use, number, kid, material, created_at)
            VALUES ('of a later release', 1, 'a key', 'sealed', 1)",
    );
    assert_eq!(test.store.list_keys().await, Ok(vec![]));
}
