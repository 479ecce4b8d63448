//! The providers' tokens that are kept.

use std::time::Duration;

use mintgate_domain::RotateOutcome;
use mintgate_domain::model::{
    RevokeReason, Role, SealedToken, Session, SessionId, Timestamp, UpstreamTokens, UserId,
};
use mintgate_domain::ports::{OpenOutcome, SweepStep, Swept, UpstreamDue, UpstreamRenewal};
use uuid::Uuid;

use super::{
    CALLERS, again, at_once, count, find_session, is_refused, known_user, open, rotate, soon,
    stored,
};
use crate::openings::{NOW, Opening, Openings, identity, repeatable, single_use};
use crate::rotations::rotation;
use crate::store_under_test::{StoreCalls as _, StoreUnderTest};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const LEASE: Duration = Duration::from_mins(1);

/// As a JWE looks (RFC 7516 §3.1).
pub(super) fn sealed(name: &str) -> SealedToken {
    SealedToken(format!("eyJhbGciOiJkaXIifQ..iv.{name}.tag"))
}

pub(super) fn refresh(token: SealedToken) -> UpstreamTokens {
    UpstreamTokens { refresh: Some(token), ..UpstreamTokens::default() }
}

/// With a refresh token of its own.
pub(super) fn with_token(mut opening: Opening) -> Opening {
    opening.upstream.refresh = Some(sealed(&opening.session.id.to_string()));
    opening
}

pub(super) fn token_of(session: &Session) -> SealedToken {
    sealed(&session.id.to_string())
}

/// Claims it for a minute.
pub(super) async fn claim(
    store: &dyn StoreUnderTest,
    session: SessionId,
    due: Timestamp,
    now: Timestamp,
) -> Option<SealedToken> {
    let due = UpstreamDue::Recheck(due);
    let claimed =
        store.store().upstream_tokens.claim_upstream(session, due, now, now + LEASE).await;
    claimed.expect("an answer").map(|claimed| claimed.refresh)
}

/// Claims it, which must not work, and must not change anything.
pub(super) async fn is_not_claimed(
    store: &dyn StoreUnderTest,
    session: SessionId,
    due: Timestamp,
    now: Timestamp,
) {
    let before = store.dump().await;
    assert_eq!(claim(store, session, due, now).await, None);
    assert_eq!(store.dump().await, before, "being refused prolongs nothing");
}

pub(super) async fn keep(
    store: &dyn StoreUnderTest,
    session: SessionId,
    renewal: &UpstreamRenewal,
) {
    assert_eq!(store.store().upstream_tokens.keep_upstream(session, renewal).await, Ok(()));
}

fn number_of_tokens(dump: &crate::Dump) -> usize {
    dump.rows("upstream_tokens").len()
}

/// A session of somebody called Ada, with a token.
async fn adas_session(store: &dyn StoreUnderTest) -> Session {
    stored(store, &with_token(Openings::default().new_user(identity("ada")))).await
}

/// This holds for a new and for an existing user, and once however often the call is repeated.
pub async fn an_upstream_token_is_stored_with_its_session(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let first = with_token(openings.new_user(identity("ada")));
    let outcomes = at_once(store, vec![first.clone(); CALLERS], |store, opening| async move {
        store.open_session(&opening).await.expect("an outcome")
    })
    .await;
    assert_eq!(count(&outcomes, &OpenOutcome::Opened), CALLERS, "{outcomes:?}");
    assert_eq!(number_of_tokens(&store.dump().await), 1);
    let second = with_token(openings.existing(first.user_id()));
    let second = stored(store, &second).await;
    let without = stored(store, &openings.existing(second.user)).await;
    assert_eq!(number_of_tokens(&store.dump().await), 2);

    let mut other_token = first.clone();
    other_token.upstream.refresh = Some(sealed("of a repetition"));
    let before = store.dump().await;
    assert_eq!(open(store, &other_token).await, OpenOutcome::Opened);
    assert_eq!(store.dump().await, before);
    let first = find_session(store, first.session.id).await.expect("a session");
    for session in [&first, &second] {
        assert_eq!(claim(store, session.id, NOW, NOW).await, Some(token_of(session)));
    }
    assert_eq!(claim(store, without.id, NOW, NOW).await, None);
}

/// The sealed text is stored byte for byte.
pub async fn case_45_an_upstream_token_is_stored_as_it_was_sealed(store: &dyn StoreUnderTest) {
    let long = SealedToken("A-Za-z0-9_.".repeat(2000));
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.upstream.refresh = Some(long.clone());
    let session = stored(store, &opening).await;
    let dump = store.dump().await;
    let [row] = dump.rows("upstream_tokens") else { panic!("one row") };
    assert!(row.contains(&long.0), "{row}");
    assert!(!format!("{:?}", dump.rows("sessions")).contains(&long.0));
    assert_eq!(claim(store, session.id, NOW, NOW).await, Some(long));
}

/// No reason of a refusal leaves a token behind.
pub async fn a_refused_opening_leaves_no_upstream_token(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let mut first = openings.new_user(identity("ada"));
    first.single_use = Some(single_use("ada"));
    first.idempotency = Some(repeatable("ada"));
    let first = stored(store, &first).await;
    let bob = known_user(store, &openings, "bob").await;
    store.disable_user(bob, NOW).await;

    let mut replayed = with_token(openings.existing(first.user));
    replayed.single_use = Some(single_use("ada"));
    is_refused(store, &replayed, OpenOutcome::Replayed).await;
    let mut key_taken = with_token(openings.existing(first.user));
    key_taken.idempotency = Some(repeatable("ada"));
    is_refused(store, &key_taken, OpenOutcome::IdempotencyKeyTaken).await;
    let not_theirs = with_token(openings.existing_with(first.user, identity("bob")));
    is_refused(store, &not_theirs, OpenOutcome::PersonChanged).await;
    let disabled = with_token(openings.existing_with(bob, identity("bob")));
    is_refused(store, &disabled, OpenOutcome::PersonChanged).await;
    assert_eq!(number_of_tokens(&store.dump().await), 0);
}

/// A session without a token of its provider cannot be claimed.
pub async fn where_there_is_no_upstream_token_none_is_claimed(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let without = stored(store, &openings.new_user(identity("ada"))).await;
    stored(store, &with_token(openings.existing(without.user))).await;
    let nothing = SessionId::from_uuid(Uuid::from_u128(0xdead));
    for id in [without.id, nothing] {
        is_not_claimed(store, id, soon(), soon()).await;
    }
}

/// The token is due to the second; the provider of a new session counts as just asked.
pub async fn an_upstream_token_is_claimed_when_it_is_due(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let asked_at = session.created_at;
    is_not_claimed(store, session.id, asked_at - SECOND, soon()).await;
    assert_eq!(claim(store, session.id, asked_at, soon()).await, Some(token_of(&session)));

    let renewal =
        UpstreamRenewal { tokens: UpstreamTokens::default(), claimed_roles: None, at: soon() };
    keep(store, session.id, &renewal).await;
    is_not_claimed(store, session.id, asked_at, soon() + LEASE).await;
    is_not_claimed(store, session.id, soon() - SECOND, soon() + LEASE).await;
    let claimed = claim(store, session.id, soon(), soon() + LEASE).await;
    assert_eq!(claimed, Some(token_of(&session)));
    assert_eq!(again(store, &session).await, session, "all that is the token's own business");
}

/// No other caller gets it meanwhile, however due it is; each session has its own claim.
pub async fn a_claimed_upstream_token_is_one_callers_until_the_lease_ends(
    store: &dyn StoreUnderTest,
) {
    let openings = Openings::default();
    let session = stored(store, &with_token(openings.new_user(identity("ada")))).await;
    let other = stored(store, &with_token(openings.existing(session.user))).await;
    for n in 0..3 {
        let now = soon() + LEASE * n;
        assert_eq!(claim(store, session.id, NOW, now).await, Some(token_of(&session)));
        is_not_claimed(store, session.id, NOW, now).await;
        is_not_claimed(store, session.id, now, now + LEASE - SECOND).await;
    }
    assert_eq!(claim(store, other.id, NOW, soon()).await, Some(token_of(&other)));
}

/// The other callers get none, and go on without asking the provider.
pub async fn many_claim_an_upstream_token_at_once_and_one_gets_it(store: &dyn StoreUnderTest) {
    let session = adas_session(store).await;
    let id = session.id;
    for n in 0..5 {
        // Also when the last one to claim it was never heard of again.
        let now = soon() + LEASE * n;
        let claims = at_once(store, 0..CALLERS, |store, _| async move {
            let due = UpstreamDue::Recheck(NOW);
            let claimed = store.upstream_tokens.claim_upstream(id, due, now, now + LEASE).await;
            claimed.expect("an answer").map(|claimed| claimed.refresh)
        })
        .await;
        assert_eq!(count(&claims, &Some(token_of(&session))), 1, "{claims:?}");
        assert_eq!(count(&claims, &None), CALLERS - 1, "{claims:?}");
    }
}

/// The new token, the roles that follow from the claims, and the time of asking are stored.
pub async fn what_a_provider_said_is_kept_and_ends_the_claim(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let session = stored(store, &with_token(openings.new_user(identity("ada")))).await;
    let other = stored(store, &with_token(openings.existing(session.user))).await;
    assert!(claim(store, session.id, NOW, soon()).await.is_some());
    let roles = vec![Role::new("\"q\", {b}"), Role::new("日本")];
    let renewal = UpstreamRenewal {
        tokens: refresh(sealed("new")),
        claimed_roles: Some(roles.clone()),
        at: soon(),
    };
    keep(store, session.id, &renewal).await;
    let expected = Session { claimed_roles: roles, ..session.clone() };
    assert_eq!(again(store, &session).await, expected);
    // Due again from then on, and at once to be had by whoever asks.
    assert_eq!(claim(store, session.id, soon(), soon()).await, Some(sealed("new")));

    let fewer = UpstreamRenewal {
        tokens: UpstreamTokens::default(),
        claimed_roles: Some(vec![]),
        at: soon(),
    };
    keep(store, session.id, &fewer).await;
    assert_eq!(again(store, &session).await.claimed_roles, []);
    assert_eq!(claim(store, session.id, soon(), soon()).await, Some(sealed("new")));
    assert_eq!(again(store, &other).await, other);
    assert_eq!(claim(store, other.id, NOW, NOW).await, Some(token_of(&other)));
}

/// The token and the roles stay as they are.
pub async fn a_renewal_that_says_nothing_new_changes_only_when_it_was_asked(
    store: &dyn StoreUnderTest,
) {
    let mut opening = with_token(Openings::default().new_user(identity("ada")));
    opening.session.claimed_roles = vec![Role::new("claimed")];
    let session = stored(store, &opening).await;
    assert!(claim(store, session.id, NOW, soon()).await.is_some());
    let nothing =
        UpstreamRenewal { tokens: UpstreamTokens::default(), claimed_roles: None, at: soon() };
    keep(store, session.id, &nothing).await;
    assert_eq!(again(store, &session).await, session);
    is_not_claimed(store, session.id, soon() - SECOND, soon()).await;
    assert_eq!(claim(store, session.id, soon(), soon()).await, Some(token_of(&session)));
}

/// No token is stored without its session, or for a session that had none.
pub async fn what_is_said_of_a_session_that_is_gone_is_not_kept(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let without = stored(store, &openings.new_user(identity("ada"))).await;
    let before = store.dump().await;
    let tokens = refresh(sealed("late"));
    let renewal = UpstreamRenewal { tokens, claimed_roles: None, at: soon() };
    keep(store, without.id, &renewal).await;
    let roles = Some(vec![Role::new("admin")]);
    let renewal = UpstreamRenewal { claimed_roles: roles, ..renewal };
    keep(store, SessionId::from_uuid(Uuid::from_u128(0xdead)), &renewal).await;
    assert_eq!(store.dump().await, before);
}

/// A refresh and an answer of the provider change different columns of one row.
pub async fn keeping_and_refreshing_at_once_lose_neither(store: &dyn StoreUnderTest) {
    let mut session = adas_session(store).await;
    for n in 1..=5 {
        let id = session.id;
        let roles = vec![Role::new(format!("claimed-{n}"))];
        let renewal = UpstreamRenewal {
            tokens: refresh(sealed(&n.to_string())),
            claimed_roles: Some(roles.clone()),
            at: soon(),
        };
        let keeping = at_once(store, vec![renewal; 4], |store, renewal| async move {
            store.upstream_tokens.keep_upstream(id, &renewal).await
        });
        let request = rotation(&session, soon());
        let refreshing = rotate(store, &request);
        let (kept, refreshed) = futures_util::future::join(keeping, refreshing).await;
        assert_eq!(kept, vec![Ok(()); 4]);
        assert!(matches!(refreshed, RotateOutcome::Rotated(_)), "{refreshed:?}");
        session = again(store, &session).await;
        assert_eq!(session.refresh, request.successor);
        assert_eq!(session.claimed_roles, roles);
    }
    assert_eq!(claim(store, session.id, soon(), soon()).await, Some(sealed("5")));
}

pub(super) async fn loaded(store: &dyn StoreUnderTest, session: SessionId) -> UpstreamTokens {
    store.store().upstream_tokens.load_upstream(session).await.expect("an answer")
}

/// The tokens of a session are loaded whoever has claimed the refresh token; no others are.
pub async fn kept_tokens_are_loaded_as_they_were_sealed(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let mut both = with_token(openings.new_user(identity("ada")));
    both.upstream.id = Some(SealedToken("A-Za-z0-9_.".repeat(2000)));
    let expected = both.upstream.clone();
    let both = stored(store, &both).await;
    let without = stored(store, &openings.existing(both.user)).await;
    assert_eq!(loaded(store, both.id).await, expected);
    assert_eq!(claim(store, both.id, NOW, NOW).await, expected.refresh);
    assert_eq!(loaded(store, both.id).await, expected);
    let nothing = SessionId::from_uuid(Uuid::from_u128(0xdead));
    for id in [without.id, nothing] {
        assert_eq!(loaded(store, id).await, UpstreamTokens::default());
    }
}

/// There is nothing to ask the provider with.
pub async fn a_session_with_an_id_token_alone_is_never_claimed(store: &dyn StoreUnderTest) {
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.upstream.id = Some(sealed("id"));
    let session = stored(store, &opening).await;
    assert_eq!(number_of_tokens(&store.dump().await), 1);
    is_not_claimed(store, session.id, soon(), soon()).await;
    assert_eq!(loaded(store, session.id).await, opening.upstream);
}

/// A sweep deletes the tokens of ended sessions, and keeps the sessions until `keep_ended` has passed.
pub async fn a_sweep_forgets_the_upstream_tokens_of_ended_sessions(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let live = stored(store, &with_token(openings.new_user(identity("ada")))).await;
    let over = stored(store, &with_token(openings.existing(live.user))).await;
    let mut run_out = with_token(openings.existing(live.user));
    run_out.session.refresh.expires_at = soon() + SECOND;
    let run_out = stored(store, &run_out).await;
    let without = stored(store, &openings.existing(live.user)).await;
    let end = async |session: &Session, user: UserId| {
        let reason = RevokeReason::ProviderRefused;
        store
            .store()
            .sessions
            .repo
            .end_session(session.id, user, reason, soon())
            .await
            .expect("an end");
    };
    end(&over, live.user).await;
    end(&without, live.user).await;

    let step = SweepStep { after: None, limit: 9, now: soon(), keep_ended: LEASE };
    let sweep = async |now: Timestamp| {
        let step = SweepStep { now, ..step };
        store.store().housekeeping.sweep(&step).await.expect("what it did")
    };
    let before = store.dump().await;
    assert_eq!(sweep(soon()).await, Swept::default());
    let after = store.dump().await;
    assert_eq!(number_of_tokens(&after), 2);
    assert_eq!(after.rows("sessions"), before.rows("sessions"));
    assert_eq!(sweep(soon()).await, Swept::default());
    assert_eq!(store.dump().await, after);
    is_not_claimed(store, over.id, NOW, soon()).await;

    assert_eq!(sweep(soon() + SECOND).await, Swept { expired_idle: 1, ..Swept::default() });
    assert_eq!(number_of_tokens(&store.dump().await), 1);
    is_not_claimed(store, run_out.id, NOW, soon()).await;
    assert_eq!(claim(store, live.id, NOW, soon()).await, Some(token_of(&live)));
    let kept = async |session: &Session| loaded(store, session.id).await;
    assert_eq!(kept(&live).await, refresh(token_of(&live)));
    assert_eq!(kept(&over).await, UpstreamTokens::default());
    for session in [&over, &run_out, &without] {
        assert!(again(store, session).await.end.is_some());
    }
}

/// The token is deleted with the session's row at the latest.
pub async fn an_upstream_token_goes_with_its_session(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let live = stored(store, &openings.new_user(identity("ada"))).await;
    let over = stored(store, &with_token(openings.existing(live.user))).await;
    let reason = RevokeReason::Logout;
    store
        .store()
        .sessions
        .repo
        .end_session(over.id, over.user, reason, soon())
        .await
        .expect("an end");
    let now = soon() + LEASE + SECOND;
    let step = SweepStep { after: None, limit: 9, now, keep_ended: LEASE };
    let swept = store.store().housekeeping.sweep(&step).await.expect("what it did");
    assert_eq!(swept, Swept { deleted: 1, ..Swept::default() });
    assert_eq!(find_session(store, over.id).await, None);
    assert_eq!(number_of_tokens(&store.dump().await), 0);
}
