//! What a rotation costs the database: no index is written, nothing grows, one row is looked at.

use std::time::Duration;

use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{RevokeReason, SealedToken, Session, Timestamp};
use mintgate_domain::ports::{
    ProviderLogoutOutcome, RefreshTokenRepo, UnlinkOutcome, UpstreamDue, UpstreamTokenRepo,
    UserDirectory,
};
use mintgate_testkit::StoreCalls;
use mintgate_testkit::openings::{NOW, Openings, identity};
use mintgate_testkit::rotations::rotation;
use tokio_postgres::Client;

use crate::harness::{PgUnderTest, fresh_store, linking, opened, order, renewal, session};

async fn rotate(test: &PgUnderTest, session: &mut Session, now: Timestamp) {
    match test.store.rotate(&rotation(session, now)).await {
        Ok(RotateOutcome::Rotated(rotated)) => *session = *rotated,
        other => panic!("not rotated: {other:?}"),
    }
}

/// Reads a counter as soon as every backend has told what it counted.
async fn settled(admin: &Client, query: &str, is_settled: impl Fn(&[i64]) -> bool) -> Vec<i64> {
    let wait = async {
        loop {
            admin.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
            let row = admin.query_one(query, &[]).await.unwrap();
            let counts: Vec<i64> = (0..row.len()).map(|n| row.get(n)).collect();
            if is_settled(&counts) {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("statistics in time")
}

/// How many rotations are looked at together.
const ROTATIONS: usize = 200;

#[tokio::test]
async fn rotations_are_hot_updates_and_nothing_grows() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let mut sessions = vec![session(&test.store, &openings, "ada").await];
    for _ in 0..4 {
        sessions.push(opened(&test.store, &openings.existing(sessions[0].user)).await);
    }
    let bytes = "SELECT pg_relation_size('sessions'), pg_indexes_size('sessions')";
    let sizes = async || {
        let row = test.admin.query_one(bytes, &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    let updates = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
        WHERE relname = 'sessions'";
    let mut now = NOW;
    let mut rotate_often = async || {
        for n in 0..ROTATIONS {
            now = now + Duration::from_secs(1);
            rotate(&test, &mut sessions[n % 5], now).await;
        }
    };
    let counted = async |rotations: usize| {
        let rotations = i64::try_from(rotations).unwrap();
        let counts = settled(&test.admin, updates, |counts| counts[0] >= rotations).await;
        assert_eq!(counts[0], rotations);
        counts[1]
    };
    rotate_often().await;
    let mut hot = counted(ROTATIONS).await;
    let mut size = sizes().await;
    let mut seen = Vec::new();
    // Snapshots of others on the server (the autovacuum's, or of a connection that is being made) keep old
    // versions for a moment. One stretch without them is enough; if nothing was ever reused, the table
    // would grow by seven pages in each.
    for stretch in 2..12 {
        let (hot_before, size_before) = (hot, size);
        rotate_often().await;
        (hot, size) = (counted(stretch * ROTATIONS).await, sizes().await);
        // Now and then one finds its page not tidied up yet.
        if size == size_before && hot - hot_before >= 190 {
            return;
        }
        seen.push((size, hot));
    }
    panic!("bytes of table and indexes, and updates in place, after each {ROTATIONS}: {seen:?}");
}

#[tokio::test]
async fn a_rotation_finds_its_row_by_the_primary_key_and_reads_no_other() {
    let test = fresh_store().await;
    let openings = Openings::default();
    // As many users as sessions: the index on the user would serve as well.
    let mut sessions = Vec::new();
    for n in 0..300 {
        sessions.push(session(&test.store, &openings, &n.to_string()).await);
    }
    test.admin.batch_execute("VACUUM ANALYZE").await.unwrap();
    let accesses = "SELECT sum(idx_scan) FILTER (WHERE indexrelname = 'sessions_pkey')::bigint,
            sum(idx_scan) FILTER (WHERE indexrelname <> 'sessions_pkey')::bigint,
            (SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'sessions'),
            (SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'sessions')
        FROM pg_stat_user_indexes WHERE relname = 'sessions'";
    let mut before = settled(&test.admin, accesses, |counts| counts[0] >= 300).await;
    let mut seen = Vec::new();
    // The first stretch also shows what a backend tells late of the openings.
    for stretch in 1..5 {
        for session in &mut sessions {
            rotate(&test, session, NOW + Duration::from_secs(stretch)).await;
        }
        let done = before[3] + 300;
        let after = settled(&test.admin, accesses, |counts| counts[3] >= done).await;
        let rotated: Vec<_> =
            after.iter().zip(&before).map(|(after, before)| after - before).collect();
        if rotated == [300, 0, 0, 300] {
            return;
        }
        seen.push(rotated);
        before = after;
    }
    panic!("accesses in each stretch of 300 rotations: {seen:?}");
}

#[tokio::test]
async fn asking_a_provider_again_updates_in_place_and_touches_no_index() {
    let test = fresh_store().await;
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.upstream.refresh = Some(SealedToken("sealed".to_owned()));
    let session = opened(&test.store, &opening).await;
    let updates = "SELECT s.n_tup_upd, s.n_tup_hot_upd, t.n_tup_upd, t.n_tup_hot_upd
        FROM pg_stat_user_tables AS s, pg_stat_user_tables AS t
        WHERE s.relname = 'sessions' AND t.relname = 'upstream_tokens'";
    let mut now = NOW;
    let mut before = vec![0; 4];
    let mut seen = Vec::new();
    // As in the test above, one stretch without snapshots of others is enough.
    for stretch in 1..12 {
        for n in 0..200 {
            now = now + Duration::from_secs(1);
            let due = UpstreamDue::Recheck(now);
            let claimed = test.store.claim_upstream(session.id, due, now, now).await.unwrap();
            assert!(claimed.is_some());
            test.store.keep_upstream(session.id, &renewal(&format!("{n}"), now)).await.unwrap();
        }
        let all = |counts: &[i64]| counts[0] >= stretch * 200 && counts[2] >= stretch * 400;
        let counts = settled(&test.admin, updates, all).await;
        assert_eq!((counts[0], counts[2]), (stretch * 200, stretch * 400));
        if counts[1] - before[1] >= 190 && counts[3] - before[3] >= 380 {
            return;
        }
        seen.push(counts.clone());
        before = counts;
    }
    panic!("updates, and updates in place, of both tables after each 200 renewals: {seen:?}");
}

#[tokio::test]
async fn what_an_order_or_an_unlinking_ends_is_found_by_an_index() {
    let test = fresh_store().await;
    let openings = Openings::default();
    let mut sessions = Vec::new();
    for n in 0..300 {
        let mut opening = openings.new_user(identity(&format!("subject {n}")));
        opening.session.upstream_sid = Some(format!("sid {n}"));
        let session = opened(&test.store, &opening).await;
        let other = identity(&format!("other {n}"));
        test.store.link_identity(session.user, &linking(&other), None).await.unwrap();
        sessions.push(session);
    }
    test.admin.batch_execute("VACUUM ANALYZE").await.unwrap();
    let accesses = "SELECT s.n_tup_upd, s.seq_scan, i.seq_scan, s.n_tup_ins + i.n_tup_ins
        FROM pg_stat_user_tables AS s, pg_stat_user_tables AS i
        WHERE s.relname = 'sessions' AND i.relname = 'external_identities'";
    // What was read while the tables were small is told of by then.
    let before = settled(&test.admin, accesses, |counts| counts[3] >= 900).await;
    for (n, session) in sessions.iter().enumerate() {
        let (subject, sid) = (format!("subject {n}"), format!("sid {n}"));
        let order = |subject, sid| order(subject, sid, &n.to_string());
        let order = match n % 4 {
            0 => order(Some(subject.as_str()), None),
            1 => order(None, Some(sid.as_str())),
            2 => order(Some(subject.as_str()), Some(sid.as_str())),
            _ => {
                let (ours, keep) = (identity(&subject), sessions[0].id);
                let (user, reason) = (session.user, RevokeReason::Logout);
                let unlinked = test.store.unlink_identity(user, &ours, keep, reason, NOW).await;
                assert_eq!(unlinked, Ok(UnlinkOutcome::Unlinked { ended: 1 }));
                continue;
            }
        };
        let ended = test.store.end_provider_sessions(&order, NOW).await;
        assert_eq!(ended, Ok(ProviderLogoutOutcome::Ended(1)));
    }
    let done = before[0] + 300;
    let after = settled(&test.admin, accesses, |counts| counts[0] >= done).await;
    assert_eq!(after, [done, before[1], before[2], before[3]]);
}
