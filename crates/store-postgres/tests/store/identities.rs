//! Links, unlinkings and providers' orders that meet other writes at the worst moment.

use mintgate_domain::model::{RevokeReason, SealedToken, Session, SessionId, SingleUse};
use mintgate_domain::ports::{
    LinkOutcome, ProviderLogoutOutcome, RefreshTokenRepo, StoreError, UnlinkOutcome, UpstreamDue,
    UpstreamTokenRepo, UserDirectory,
};
use mintgate_testkit::StoreUnderTest;
use mintgate_testkit::openings::{NOW, Openings, identity, single_use};

use crate::harness::{
    PgUnderTest, fresh_store, linking, opened, order, read, renewal, session,
    somebody_waits_for_a_lock,
};

/// Ada, with a session and a second identity.
struct Meeting {
    test: PgUnderTest,
    ada: Session,
}

async fn meeting() -> Meeting {
    let test = fresh_store().await;
    let ada = session(&test.store, &Openings::default(), "ada").await;
    let linked = test.store.link_identity(ada.user, &linking(&identity("second")), None).await;
    assert_eq!(linked, Ok(LinkOutcome::Linked));
    Meeting { test, ada }
}

impl Meeting {
    /// Has a call wait for `write`, which is then committed, or not.
    async fn meets<T>(&self, call: impl Future<Output = T>, write: &str, commits: bool) -> T {
        let mut other = self.test.database.client().await;
        let transaction = other.transaction().await.unwrap();
        transaction.batch_execute(write).await.unwrap();
        let end = async {
            somebody_waits_for_a_lock(&self.test.admin).await;
            if commits {
                transaction.commit().await.unwrap();
            } else {
                transaction.rollback().await.unwrap();
            }
        };
        tokio::join!(call, end).0
    }

    async fn links(&self, write: &str, commits: bool) -> LinkOutcome {
        let (new, mark) = (linking(&identity("new")), Some(single_use("ada")));
        let call = self.test.store.link_identity(self.ada.user, &new, mark);
        self.meets(call, write, commits).await.unwrap()
    }

    /// No session is spared.
    async fn unlink(&self, subject: &str) -> Result<UnlinkOutcome, StoreError> {
        let nobody = SessionId::from_uuid(uuid::Uuid::nil());
        let (identity, reason) = (identity(subject), RevokeReason::Logout);
        self.test.store.unlink_identity(self.ada.user, &identity, nobody, reason, NOW).await
    }

    async fn subjects(&self) -> Vec<String> {
        let identities = self.test.store.identities(self.ada.user).await.unwrap();
        identities.into_iter().map(|linked| linked.identity.subject).collect()
    }

    fn linked_by(user: &str) -> String {
        format!(
            "INSERT INTO users (id, created_at) VALUES ({BOB}, now());
             INSERT INTO external_identities
                 VALUES ('https://idp.example.com', 'new', 'corp', {user}, '2026-01-01')"
        )
    }

    fn used(mark: SingleUse) -> String {
        let hash = mark.hash.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        let hash = hash.collect::<String>();
        format!("INSERT INTO single_use_marks VALUES ('\\x{hash}', now())")
    }
}

const BOB: &str = "'00000000-0000-7000-8000-000000000b0b'";
const ROTATED: &str = "UPDATE sessions SET gen = gen + 1, prev_hash = cur_hash,
    cur_hash = sha256(cur_hash), rotated_at = clock_timestamp()";

#[tokio::test]
async fn a_link_that_waited_for_another_users_finds_the_identity_taken() {
    let meeting = meeting().await;
    let outcome = meeting.links(&Meeting::linked_by(BOB), true).await;
    assert_eq!(outcome, LinkOutcome::Taken);
    assert_eq!(meeting.subjects().await, ["ada", "second"]);
    assert_eq!(meeting.test.dump().await.counts(), [2, 3, 0, 1], "the sign-in is not used up");
}

#[tokio::test]
async fn a_link_that_waited_for_another_users_that_came_to_nothing_is_linked() {
    let meeting = meeting().await;
    let outcome = meeting.links(&Meeting::linked_by(BOB), false).await;
    assert_eq!(outcome, LinkOutcome::Linked);
    assert_eq!(meeting.test.dump().await.counts(), [1, 3, 1, 1]);
}

#[tokio::test]
async fn a_link_that_waited_for_the_same_link_is_linked_before() {
    let meeting = meeting().await;
    let by_ada = Meeting::linked_by(&format!("'{}'", meeting.ada.user));
    assert_eq!(meeting.links(&by_ada, true).await, LinkOutcome::LinkedBefore);
    assert_eq!(meeting.test.dump().await.counts(), [2, 3, 1, 1], "the sign-in is used up");
}

#[tokio::test]
async fn case_25_a_link_that_waited_for_its_sign_in_to_be_used_up_links_nothing() {
    let meeting = meeting().await;
    let used = Meeting::used(single_use("ada"));
    assert_eq!(meeting.links(&used, true).await, LinkOutcome::Replayed);
    assert_eq!(meeting.test.dump().await.counts(), [1, 2, 1, 1]);
}

#[tokio::test]
async fn case_32_a_link_waits_for_the_operator_who_is_disabling_the_user() {
    let meeting = meeting().await;
    let outcome = meeting.links("UPDATE users SET disabled_at = '2026-01-01'", true).await;
    assert_eq!(outcome, LinkOutcome::UserDisabled);
    assert_eq!(meeting.test.dump().await.counts(), [1, 2, 0, 1]);
}

#[tokio::test]
async fn an_unlinking_that_waited_for_the_only_other_one_finds_the_last() {
    let meeting = meeting().await;
    let unlinked = "DELETE FROM external_identities WHERE subject = 'second'";
    let outcome = meeting.meets(meeting.unlink("ada"), unlinked, true).await;
    assert_eq!(outcome, Ok(UnlinkOutcome::Last));
    assert_eq!(meeting.subjects().await, ["ada"]);
    assert_eq!(read(&meeting.test.store, meeting.ada.id).await, meeting.ada);
}

#[tokio::test]
async fn an_unlinking_that_waited_for_one_that_came_to_nothing_is_done() {
    let meeting = meeting().await;
    let unlinked = "DELETE FROM external_identities WHERE subject = 'second'";
    let outcome = meeting.meets(meeting.unlink("ada"), unlinked, false).await;
    assert_eq!(outcome, Ok(UnlinkOutcome::Unlinked { ended: 1 }));
    assert_eq!(meeting.subjects().await, ["second"]);
}

#[tokio::test]
async fn an_unlinking_that_waited_for_the_same_finds_nothing() {
    let meeting = meeting().await;
    let unlinked = "DELETE FROM external_identities WHERE subject = 'ada'";
    let outcome = meeting.meets(meeting.unlink("ada"), unlinked, true).await;
    assert_eq!(outcome, Ok(UnlinkOutcome::Unknown));
    assert_eq!(meeting.subjects().await, ["second"]);
}

#[tokio::test]
async fn an_unlinking_that_waited_for_a_refresh_ends_the_session_as_it_is_then() {
    let meeting = meeting().await;
    let outcome = meeting.meets(meeting.unlink("ada"), ROTATED, true).await;
    assert_eq!(outcome, Ok(UnlinkOutcome::Unlinked { ended: 1 }));
    let after = read(&meeting.test.store, meeting.ada.id).await;
    assert_eq!(after.refresh.generation, 1);
    assert_eq!(after.end.unwrap().reason, RevokeReason::Logout);
}

#[tokio::test]
async fn an_order_that_waited_for_a_refresh_ends_the_session_as_it_is_then() {
    let meeting = meeting().await;
    let order = order(Some("ada"), None, "order");
    let call = meeting.test.store.end_provider_sessions(&order, NOW);
    let outcome = meeting.meets(call, ROTATED, true).await;
    assert_eq!(outcome, Ok(ProviderLogoutOutcome::Ended(1)));
    let after = read(&meeting.test.store, meeting.ada.id).await;
    assert_eq!(after.refresh.generation, 1);
    assert_eq!(after.end.unwrap().reason, RevokeReason::ProviderLogout);
}

#[tokio::test]
async fn an_order_that_waited_for_a_logout_ends_nothing() {
    let meeting = meeting().await;
    let ended = "UPDATE sessions SET revoked_at = '2026-01-01', revoke_reason = 'logout'";
    let order = order(Some("ada"), None, "order");
    let call = meeting.test.store.end_provider_sessions(&order, NOW);
    let outcome = meeting.meets(call, ended, true).await;
    assert_eq!(outcome, Ok(ProviderLogoutOutcome::Ended(0)));
    let after = read(&meeting.test.store, meeting.ada.id).await;
    assert_eq!(after.end.unwrap().reason, RevokeReason::Logout);
}

#[tokio::test]
async fn an_order_that_waited_for_itself_is_carried_out_by_one() {
    let meeting = meeting().await;
    let order = order(Some("ada"), None, "order");
    let used = Meeting::used(SingleUse { hash: order.id, expires_at: NOW });
    let call = meeting.test.store.end_provider_sessions(&order, NOW);
    let outcome = meeting.meets(call, &used, true).await;
    assert_eq!(outcome, Ok(ProviderLogoutOutcome::Replayed));
    assert_eq!(read(&meeting.test.store, meeting.ada.id).await, meeting.ada);

    meeting.test.admin.batch_execute("DELETE FROM single_use_marks").await.unwrap();
    let call = meeting.test.store.end_provider_sessions(&order, NOW);
    let outcome = meeting.meets(call, &used, false).await;
    assert_eq!(outcome, Ok(ProviderLogoutOutcome::Ended(1)));
}

#[tokio::test]
async fn an_order_reaches_a_session_whose_identity_was_unlinked_from_within() {
    let meeting = meeting().await;
    let (user, reason) = (meeting.ada.user, RevokeReason::Logout);
    let (store, ours) = (&meeting.test.store, identity("ada"));
    let unlinked = store.unlink_identity(user, &ours, meeting.ada.id, reason, NOW).await;
    assert_eq!(unlinked, Ok(UnlinkOutcome::Unlinked { ended: 0 }));
    let order = order(Some("ada"), None, "order");
    let outcome = store.end_provider_sessions(&order, NOW).await;
    assert_eq!(outcome, Ok(ProviderLogoutOutcome::Ended(1)));
}

#[tokio::test]
async fn what_was_stuck_does_not_replace_what_a_provider_has_said_since() {
    let test = fresh_store().await;
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.upstream.refresh = Some(SealedToken("first".to_owned()));
    let id = opened(&test.store, &opening).await.id;
    let later = NOW + std::time::Duration::from_mins(1);
    let newer = renewal("newer", later);
    test.store.keep_upstream(id, &newer).await.unwrap();
    let before = test.dump().await;
    test.store.keep_upstream(id, &renewal("older", NOW)).await.unwrap();
    assert_eq!(test.dump().await, before);
    let claimed = test.store.claim_upstream(id, UpstreamDue::Recheck(later), later, later).await;
    assert_eq!(claimed.unwrap().map(|claimed| claimed.refresh), newer.tokens.refresh);
}
