//! The contract of a store: what Postgres, SQLite and the fake in memory all must pass.
//!
//! [`store_suite!`](crate::store_suite!) makes each case a test of its own.

mod administration;
mod audit;
mod ending;
mod engines;
mod epochs;
mod finding;
mod housekeeping;
mod idempotency;
mod identities;
mod keys;
mod oracle;
mod people_import;
mod profiles;
mod provider_logout;
mod replays;
mod replicas;
mod resealing;
mod restore;
mod revocations;
mod roles;
mod rotation;
mod sign_in;
mod unlinking;
mod upstream;
mod upstream_access;

use futures_util::future::join_all;
use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{
    ExternalIdentity, Rotation, Session, SessionEnd, SessionId, Timestamp, UserId,
};
use mintgate_domain::ports::OpenOutcome;

pub use administration::*;
pub use audit::*;
pub use ending::*;
pub use engines::*;
pub use epochs::*;
pub use finding::*;
pub use housekeeping::*;
pub use idempotency::*;
pub use identities::*;
pub use keys::*;
pub use oracle::*;
pub use people_import::*;
pub use profiles::*;
pub use provider_logout::*;
pub use replays::*;
pub use replicas::*;
pub use resealing::*;
pub use restore::*;
pub use revocations::*;
pub use roles::*;
pub use rotation::*;
pub use sign_in::*;
pub use unlinking::*;
pub use upstream::*;
pub use upstream_access::*;

use crate::openings::{Opening, Openings, identity};
use crate::rotations::rotation;
use crate::store_under_test::{StoreCalls as _, StoreUnderTest, Stores};

/// How many callers race.
const RACERS: usize = 16;

/// How many callers race for an identity, a provider's order, or a provider's refresh token.
const CALLERS: usize = 20;

/// One test for each case; the argument is an async function that gives a fresh store. With
/// `two_engines` before it, the function gives sessions in one engine and people in another: then the
/// cases are left out that one atomic step over both decides. With `expiring_by_itself`, the engine of the
/// sessions also deletes by its own clock what has expired, and no sweep does.
#[macro_export]
macro_rules! store_suite {
    ($fresh_store:path) => {
        $crate::store_suite!(two_engines $fresh_store);
        $crate::store_suite!(
            @cases $fresh_store,
            // In two engines a refused sign-in has used up its mark and its key, and leaves an ended session
            // with its upstream token until the next sweep.
            case_30_an_identity_that_is_not_the_users_opens_nothing,
            a_refused_opening_leaves_no_upstream_token,
            after_an_acknowledged_deletion_nothing_of_the_user_works,
            // In two engines a refused linking has used up its mark.
            an_identity_of_another_user_is_taken,
            case_32_a_disabled_user_links_nothing,
            a_user_that_is_gone_links_nothing,
            many_users_who_link_one_identity_at_once_one_gets_it,
            // In two engines the store of people ends no session, and sessions are loaded without people.
            ending_all_sessions_of_an_identity_ends_sign_ins_under_way,
            a_session_is_found_with_its_user,
            live_sessions_with_the_users_are_noticed,
        );
    };
    (two_engines $fresh_store:path) => {
        $crate::store_suite!(expiring_by_itself $fresh_store);
        $crate::store_suite!(
            @cases $fresh_store,
            a_sweep_forgets_used_id_tokens_and_repeatable_requests,
            a_sweep_forgets_so_many_at_most,
            marks_of_links_and_orders_go_when_they_expire,
            the_ids_of_deleted_sessions_are_forgotten_in_time,
        );
    };
    (expiring_by_itself $fresh_store:path) => {
        $crate::store_suite!(
            @cases $fresh_store,
            a_fresh_store_is_ready,
            the_engine_of_the_sessions_is_recorded_by_one,
            a_first_sign_in_stores_one_row_of_each_kind,
            a_user_is_found_by_the_identity_that_signed_in,
            case_30_issuer_and_subject_are_compared_byte_for_byte,
            identities_that_look_like_sql_are_only_text,
            a_second_session_belongs_to_the_same_user,
            what_an_operator_did_to_a_user_is_found,
            a_known_identity_is_not_created_again,
            many_first_sign_ins_at_once_create_one_user,
            case_25_an_id_token_opens_one_session,
            case_25_a_replayed_id_token_opens_no_session_of_a_new_user,
            case_25_one_id_token_posted_by_many_at_once_opens_one_session,
            case_32_a_disabled_user_opens_nothing,
            a_user_that_is_gone_opens_nothing,
            repeating_an_opening_changes_nothing,
            repeating_an_opening_many_times_at_once_leaves_one_row,
            every_column_survives,
            a_session_with_the_least_survives,
            case_45_a_dump_holds_digests_and_no_token,
            the_current_token_is_exchanged_for_its_successor,
            every_column_survives_a_rotation,
            claims_of_more_than_the_limit_are_not_exchanged_unseen,
            case_43_the_idle_limit_slides_and_the_absolute_limit_never_moves,
            case_41_the_current_token_fifty_times_at_once_rotates_once,
            many_sessions_rotate_at_once_without_touching_each_other,
            case_42_the_token_before_gets_the_same_successor_within_the_window,
            replays_are_counted_up_to_their_limit,
            replays_that_do_not_count_have_no_limit,
            counted_replays_at_once_are_each_counted,
            case_42_the_token_before_is_reuse_after_the_window,
            case_42_a_token_before_the_one_before_is_reuse,
            case_42_a_reused_token_many_times_at_once_ends_the_session_once,
            without_a_window_the_token_before_is_reuse_at_once,
            until_used_the_token_before_supersedes_its_lost_successor,
            until_used_a_superseded_successor_is_reuse,
            until_used_the_token_before_is_reuse_once_its_successor_was_used,
            until_used_many_at_once_supersede_once,
            a_token_of_a_lost_timeline_changes_nothing,
            a_token_of_a_lost_timeline_is_followed,
            a_session_that_is_not_there_is_unknown,
            case_46_another_users_session_is_unknown,
            an_ended_session_says_why_it_ended,
            a_session_past_its_idle_limit_has_expired,
            a_session_past_its_absolute_limit_has_expired,
            case_32_a_disabled_user_is_shut_out_at_the_next_refresh,
            case_32_many_refreshes_of_a_disabled_user_end_the_session_once,
            a_successor_of_another_generation_is_to_be_made_anew,
            a_successor_with_another_limit_is_to_be_made_anew,
            until_used_a_successor_that_does_not_fit_is_to_be_made_anew,
            case_43_after_an_acknowledged_end_no_refresh_works,
            random_histories_agree_with_the_rules,
            roles_decided_again_are_stored_with_the_successor,
            until_used_a_superseding_successor_brings_its_roles,
            roles_that_come_with_no_successor_are_not_stored,
            case_41_many_rotations_at_once_store_the_roles_of_the_one_that_won,
            a_session_is_ended_once_and_stays_as_it_was,
            many_ends_at_once_end_once,
            case_46_ending_another_users_session_changes_nothing,
            a_session_past_its_limits_can_be_ended,
            every_reason_survives,
            ending_all_sessions_counts_the_live_ones_of_this_user,
            live_sessions_are_the_last_used_first,
            live_sessions_are_live_and_the_users_own,
            live_sessions_are_so_many_at_most,
            a_repeatable_opening_is_found_until_it_is_forgotten,
            a_repeatable_opening_is_found_as_its_session_is_now,
            an_opening_without_a_key_is_not_found,
            a_taken_key_stores_nothing,
            a_forgotten_key_may_be_used_again,
            one_key_many_times_at_once_opens_one_session,
            a_forgotten_key_many_times_at_once_opens_one_session,
            one_key_for_many_first_sign_ins_at_once_creates_one_user,
            repeating_an_opening_with_a_key_changes_nothing,
            a_key_is_reserved_for_one_holder_until_it_gives_it_back,
            a_reserved_key_is_found_opened_and_never_reserved_again,
            one_key_reserved_by_many_at_once_is_one_holders,
            openings_and_reservations_at_once_give_no_key_twice,
            a_lease_ends_and_a_sweep_forgets_it,
            the_duty_of_sweeping_is_claimed_by_one_of_many,
            a_claim_ends_with_its_lease,
            a_round_that_was_ended_is_not_begun_again_too_soon,
            a_sweep_marks_what_has_run_out_at_the_moment_it_did,
            a_sweep_leaves_what_lives_alone,
            a_sweep_deletes_what_ended_long_ago,
            a_sweep_looks_at_so_many_at_most_and_goes_on_from_there,
            a_sweep_of_an_empty_store_is_done_at_once,
            sweeping_and_refreshing_at_once_lose_no_session,
            a_refresh_key_is_in_use_while_a_live_session_needs_it,
            a_fresh_store_has_no_keys,
            every_column_of_a_key_survives,
            keys_are_listed_by_use_and_number,
            only_the_next_number_of_a_use_is_added,
            a_key_id_is_added_once,
            of_many_at_once_one_adds_the_next_key,
            activating_a_key_only_brings_it_forward,
            a_removed_key_is_gone_and_no_other,
            a_key_is_resealed_while_it_is_the_same,
            sealing_keys_are_noted_until_they_are_forgotten,
            tokens_without_the_mark_are_found_in_pages,
            a_token_is_resealed_while_it_is_the_same,
            a_restore_ends_every_session_that_was_opened_before,
            sessions_opened_after_a_restore_go_on,
            a_restore_epoch_is_the_time_and_always_larger,
            the_rows_of_sessions_before_a_restore_are_ended_in_steps,
            after_an_acknowledged_restore_no_refresh_works,
            the_end_of_a_session_is_logged_once,
            a_reused_token_is_logged,
            an_end_of_all_is_logged_by_its_epoch,
            what_a_provider_or_an_unlinking_ends_is_logged,
            what_expires_is_not_logged,
            the_log_is_read_in_pages,
            one_who_follows_misses_nothing,
            a_place_that_the_log_does_not_have_is_lost,
            a_restore_begins_the_log_anew,
            what_is_to_be_forgotten_goes_and_no_cursor_is_too_old,
            the_log_keeps_as_long_as_the_longest_tokens_live,
            a_linked_identity_finds_its_user,
            identities_are_listed_the_oldest_first,
            linking_what_is_the_users_own_changes_nothing,
            linking_what_is_the_users_own_uses_the_sign_in_up,
            case_30_linked_identities_are_compared_byte_for_byte,
            case_25_a_sign_in_links_once,
            case_25_one_sign_in_many_times_at_once_links_once,
            case_25_a_sign_in_either_opens_a_session_or_links,
            one_user_links_one_identity_many_times_at_once,
            linking_and_first_sign_ins_at_once_leave_one_owner,
            an_unlinked_identity_is_nobodys,
            an_unlinked_identity_can_be_linked_by_another_user,
            unlinking_ends_the_sessions_signed_in_with_it_and_no_other,
            unlinking_keeps_the_session_that_asks,
            case_30_unlinking_compares_byte_for_byte,
            the_last_identity_stays,
            an_identity_the_user_has_not_is_unknown,
            of_two_identities_unlinked_by_many_at_once_one_stays,
            after_an_acknowledged_unlinking_no_refresh_works,
            after_an_acknowledged_unlinking_no_sign_in_lives,
            an_order_about_a_subject_ends_its_live_sessions,
            an_order_about_a_session_ends_what_was_opened_in_it,
            an_order_about_both_ends_what_is_both_or_may_be,
            an_order_leaves_what_has_ended_or_run_out_as_it_was,
            case_30_an_order_is_compared_byte_for_byte,
            an_order_about_nobody_ends_nothing_and_counts_once,
            an_order_that_names_nothing_ends_nothing,
            an_order_that_was_carried_out_before_writes_nothing,
            an_order_many_times_at_once_is_carried_out_once,
            several_orders_at_once_end_each_session_once,
            an_order_and_a_sign_in_with_one_mark_at_once_count_once,
            after_an_acknowledged_order_no_refresh_works,
            ending_all_sessions_of_a_user_ends_sign_ins_under_way,
            an_order_about_a_subject_ends_sign_ins_under_way,
            an_identity_that_is_linked_again_has_an_epoch_of_its_own,
            after_an_acknowledged_end_of_all_nothing_of_the_user_works,
            a_change_is_made_only_to_the_session_that_was_seen,
            a_mark_is_claimed_once,
            a_profile_is_kept_with_the_session_that_brings_it,
            a_profile_that_comes_without_its_session_is_kept,
            a_refused_opening_leaves_the_profile_as_it_was,
            many_sign_ins_of_one_person_at_once_all_bring_news,
            a_replica_is_told_of_itself_and_the_others,
            the_order_is_that_in_which_replicas_were_first_heard_of,
            a_replica_that_is_silent_for_too_long_lives_no_more,
            a_replica_of_the_future_lives_no_more,
            a_replica_that_withdraws_is_forgotten_and_no_other,
            replicas_of_another_issuer_are_not_told,
            many_replicas_at_once_do_not_wait_for_one_another,
            people_are_listed_page_by_page_while_others_come_and_go,
            people_are_found_by_any_part_of_a_name_an_address_or_a_subject,
            what_is_searched_is_what_the_last_sign_in_said,
            an_account_is_told_with_its_identities,
            a_disabled_user_has_no_session_and_opens_none_until_enabled,
            disabling_again_ends_what_an_operator_left_and_keeps_the_time,
            roles_are_granted_once_and_taken_away,
            a_role_that_no_command_grants_can_be_taken_away,
            an_operators_changes_of_nobody_change_nothing,
            after_an_acknowledged_disabling_nothing_of_the_user_works,
            sessions_are_listed_the_last_opened_first_also_when_ended,
            a_deleted_user_leaves_the_ids_of_what_may_have_access_tokens,
            imported_people_are_created_whole_and_found,
            a_batch_of_imported_people_is_stored_whole_or_not_at_all,
            a_batch_imported_many_times_at_once_is_stored_once,
            an_import_changes_a_user_who_is_there,
            an_import_changes_nobody_if_something_belongs_to_somebody_else,
            a_ban_ends_in_time_unless_an_operator_has_decided_otherwise,
            imported_people_are_listed_page_by_page,
            former_ids_are_compared_byte_for_byte_and_go_with_their_user,
            an_audit_log_begins_empty,
            every_column_of_an_audit_entry_survives,
            an_append_counts_once,
            many_writers_at_once_make_one_chain,
            audit_entries_are_found_by_what_they_are_about,
            an_erased_person_leaves_nothing_but_what_is_proven,
            an_entry_about_a_user_who_is_gone_is_stored_erased,
            old_audit_entries_end_where_the_first_young_one_is,
            old_audit_entries_are_deleted_from_the_beginning_so_many_at_once,
            the_duty_of_pruning_the_audit_log_is_claimed_by_one_of_many,
            the_configuration_of_the_start_before_is_remembered,
            an_upstream_token_is_stored_with_its_session,
            kept_tokens_are_loaded_as_they_were_sealed,
            a_session_with_an_id_token_alone_is_never_claimed,
            a_renewal_replaces_the_tokens_it_brings_and_no_other,
            an_access_token_is_kept_and_replaced_as_a_whole,
            a_refresh_token_is_claimed_when_the_access_token_is_due,
            rechecks_and_renewals_at_once_claim_one_refresh_token,
            a_refresh_token_that_was_not_shown_is_released,
            tokens_that_were_refused_are_forgotten,
            case_45_an_upstream_token_is_stored_as_it_was_sealed,
            where_there_is_no_upstream_token_none_is_claimed,
            an_upstream_token_is_claimed_when_it_is_due,
            a_claimed_upstream_token_is_one_callers_until_the_lease_ends,
            many_claim_an_upstream_token_at_once_and_one_gets_it,
            what_a_provider_said_is_kept_and_ends_the_claim,
            a_renewal_that_says_nothing_new_changes_only_when_it_was_asked,
            what_is_said_of_a_session_that_is_gone_is_not_kept,
            keeping_and_refreshing_at_once_lose_neither,
            a_sweep_forgets_the_upstream_tokens_of_ended_sessions,
            an_upstream_token_goes_with_its_session,
        );
    };
    (@cases $fresh_store:path, $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::store_suite::$case(&$fresh_store().await).await;
            }
        )+
    };
}

async fn open(store: &dyn StoreUnderTest, opening: &Opening) -> OpenOutcome {
    store.store().open_session(opening).await.expect("an outcome")
}

/// Opens a session, which must be refused and leave nothing behind but the user it was for. Where people are
/// in another engine, a person that has changed leaves an ended session and what was written with it.
async fn is_refused(store: &dyn StoreUnderTest, opening: &Opening, with: OpenOutcome) {
    if opening.is_new_user {
        store.store().sessions.users.find_or_create(&opening.new_user()).await.expect("a user");
    }
    let before = store.dump().await;
    assert_eq!(open(store, opening).await, with);
    let session = find_session(store, opening.session.id).await;
    if with == OpenOutcome::PersonChanged && !is_one_engine(store) {
        assert!(session.expect("a session").end.is_some(), "it must have ended");
        return;
    }
    assert_eq!(store.dump().await, before, "a refusal must not write");
    assert_eq!(session, None);
}

/// Whether one atomic step can be about sessions and people.
fn is_one_engine(store: &dyn StoreUnderTest) -> bool {
    store.store().sessions.repo.shares_engine_with_users()
}

/// A session that was being refreshed while all were ended, as it was found after the end.
async fn no_refresh_works(
    store: &dyn StoreUnderTest,
    session: &Session,
    outcome: &RotateOutcome,
    end: SessionEnd,
) {
    assert_eq!(session.end, Some(end));
    let refreshed = matches!(outcome, RotateOutcome::Rotated(_));
    let revoked = RotateOutcome::Revoked(end.reason);
    if is_one_engine(store) {
        assert_eq!(session.refresh.generation, u64::from(refreshed), "{outcome:?}");
        assert!(refreshed || *outcome == revoked, "{outcome:?}");
    } else {
        // The refresh may have been written before it found the raised epoch, which has no reason.
        assert!(session.refresh.generation >= u64::from(refreshed), "{outcome:?}");
        assert!(refreshed || matches!(outcome, RotateOutcome::Revoked(_)), "{outcome:?}");
    }
    assert_eq!(again(store, session).await, *session, "what has ended changes no more");
    assert_eq!(rotate(store, &rotation(session, soon())).await, revoked);
}

/// Calls the store with each argument at once; the outcomes in the order of the arguments.
async fn at_once<C, F>(
    store: &dyn StoreUnderTest,
    arguments: impl IntoIterator<Item = C>,
    call: impl Fn(Stores, C) -> F,
) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let calls = arguments.into_iter().map(|argument| call(store.store(), argument));
    let calls: Vec<_> = calls.map(tokio::spawn).collect();
    join_all(calls).await.into_iter().map(Result::unwrap).collect()
}

async fn open_at_once(store: &dyn StoreUnderTest, openings: Vec<Opening>) -> Vec<OpenOutcome> {
    at_once(store, openings, |store, opening| async move {
        store.open_session(&opening).await.expect("an outcome")
    })
    .await
}

async fn rotate_at_once(
    store: &dyn StoreUnderTest,
    rotations: Vec<Rotation>,
) -> Vec<RotateOutcome> {
    at_once(store, rotations, |store, rotation| async move {
        store.rotate(&rotation).await.expect("an outcome")
    })
    .await
}

/// How many of the outcomes are this one.
fn count<T: PartialEq>(outcomes: &[T], wanted: &T) -> usize {
    outcomes.iter().filter(|outcome| *outcome == wanted).count()
}

async fn find(store: &dyn StoreUnderTest, identity: &ExternalIdentity) -> Option<UserId> {
    store
        .store()
        .sessions
        .users
        .find_user(identity)
        .await
        .expect("an answer")
        .map(|person| person.user.id)
}

async fn find_session(store: &dyn StoreUnderTest, id: SessionId) -> Option<Session> {
    store.store().find_session(id).await.expect("an answer")
}

/// The session as it is now.
async fn again(store: &dyn StoreUnderTest, session: &Session) -> Session {
    find_session(store, session.id).await.expect("a session")
}

/// A new user with a session.
async fn known_user(store: &dyn StoreUnderTest, openings: &Openings, subject: &str) -> UserId {
    stored(store, &openings.new_user(identity(subject))).await.user
}

/// Opens it; the session as it is stored.
async fn stored(store: &dyn StoreUnderTest, opening: &Opening) -> Session {
    assert_eq!(open(store, opening).await, OpenOutcome::Opened);
    find_session(store, opening.session.id).await.expect("a session")
}

/// A session of somebody called Ada, who has no other.
async fn adas_session(store: &dyn StoreUnderTest) -> Session {
    stored(store, &Openings::default().new_user(identity("ada"))).await
}

async fn rotate(store: &dyn StoreUnderTest, rotation: &Rotation) -> RotateOutcome {
    store.store().rotate(rotation).await.expect("an outcome")
}

/// Rotates, which must work; the session as it is then.
async fn rotated(store: &dyn StoreUnderTest, rotation: &Rotation) -> Session {
    match rotate(store, rotation).await {
        RotateOutcome::Rotated(session) => {
            assert_eq!(again(store, &session).await, *session, "what it answers is what is stored");
            *session
        }
        other => panic!("not rotated: {other:?}"),
    }
}

/// Rotates, which must have this outcome and change nothing.
async fn writes_nothing(store: &dyn StoreUnderTest, rotation: &Rotation, with: &RotateOutcome) {
    let before = store.dump().await;
    assert_eq!(rotate(store, rotation).await, *with);
    assert_eq!(store.dump().await, before, "{with:?} must not write");
}

fn ended(session: &Session, end: SessionEnd) -> Session {
    Session { end: Some(end), ..session.clone() }
}

/// A moment after the sessions were opened.
fn soon() -> Timestamp {
    crate::openings::NOW + std::time::Duration::from_secs(10)
}
