//! The contract every store keeps.

use crate::harness::fresh_store;

mintgate_testkit::store_suite!(fresh_store);

/// People are kept in the file, and sessions in another engine.
mod with_sessions_elsewhere {
    use mintgate_testkit::{MemoryStore, TwoEngines};

    use crate::harness::{SqliteUnderTest, fresh_store};

    async fn fresh_stores() -> TwoEngines<MemoryStore, SqliteUnderTest> {
        TwoEngines { sessions: MemoryStore::of_sessions_alone(), people: fresh_store().await }
    }

    mintgate_testkit::store_suite!(two_engines fresh_stores);
}

/// What the file's lock decides rather than the one writer of a process.
mod by_several_processes {
    use crate::harness::file_of_several_processes;

    mintgate_testkit::store_suite!(
        @cases file_of_several_processes,
        case_25_one_sign_in_many_times_at_once_links_once,
        case_25_a_sign_in_either_opens_a_session_or_links,
        many_users_who_link_one_identity_at_once_one_gets_it,
        one_user_links_one_identity_many_times_at_once,
        linking_and_first_sign_ins_at_once_leave_one_owner,
        of_two_identities_unlinked_by_many_at_once_one_stays,
        after_an_acknowledged_unlinking_no_refresh_works,
        an_order_many_times_at_once_is_carried_out_once,
        several_orders_at_once_end_each_session_once,
        an_order_and_a_sign_in_with_one_mark_at_once_count_once,
        after_an_acknowledged_order_no_refresh_works,
        an_upstream_token_is_stored_with_its_session,
        many_claim_an_upstream_token_at_once_and_one_gets_it,
        rechecks_and_renewals_at_once_claim_one_refresh_token,
        keeping_and_refreshing_at_once_lose_neither,
        case_41_many_rotations_at_once_store_the_roles_of_the_one_that_won,
        many_writers_at_once_make_one_chain,
        the_duty_of_pruning_the_audit_log_is_claimed_by_one_of_many,
    );
}
