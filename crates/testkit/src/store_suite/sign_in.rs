//! Signing in: users, identities, and the sessions that are opened for them.

use mintgate_domain::model::{
    ClaimValue, ClientInfo, ExternalIdentity, Profile, RevokeReason, Role, Session, SessionId,
    Timestamp, User, UserId,
};
use mintgate_domain::ports::{OpenOutcome, SessionOwner};
use uuid::Uuid;

use super::identities::elsewhere;
use super::{
    RACERS, again, count, find, find_session, is_refused, known_user, open, open_at_once, rotated,
    soon, stored,
};
use crate::openings::{
    Opening, Openings, id_token_text, idempotency_key_text, identity, refresh_token_text,
    repeatable, single_use,
};
use crate::rotations::rotation;
use crate::store_under_test::{StoreUnderTest, hex};

/// The store answers, and its schema is current.
pub async fn a_fresh_store_is_ready(store: &dyn StoreUnderTest) {
    assert_eq!(store.store().health.check().await, Ok(()));
    assert_eq!(store.dump().await.counts(), [0, 0, 0, 0]);
    assert_eq!(store.store().health.pool_state().in_use, 0, "requests have all connections");
}

/// A first sign-in stores a user, an identity, a mark and a session.
pub async fn a_first_sign_in_stores_one_row_of_each_kind(store: &dyn StoreUnderTest) {
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.single_use = Some(single_use("ada"));
    assert_eq!(open(store, &opening).await, OpenOutcome::Opened);
    assert_eq!(store.dump().await.counts(), [1, 1, 1, 1]);
}

/// Before the sign-in nobody is found, afterwards the user.
pub async fn a_user_is_found_by_the_identity_that_signed_in(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    assert_eq!(find(store, &identity("ada")).await, None);
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    assert_eq!(find(store, &identity("ada")).await, Some(ada));
    assert_eq!(find(store, &identity("bob")).await, Some(bob));
}

/// Another case, a slash, a space, or another encoding of an accent makes another person.
pub async fn case_30_issuer_and_subject_are_compared_byte_for_byte(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    for (n, identity) in near_misses().iter().enumerate() {
        assert_eq!(find(store, identity).await, None, "{identity:?} is another's");
        let opening = openings.new_user(identity.clone());
        assert_eq!(open(store, &opening).await, OpenOutcome::Opened);
        assert_eq!(find(store, identity).await, Some(opening.user_id()));
        assert_eq!(store.dump().await.counts(), [n + 1, n + 1, 0, n + 1]);
    }
}

/// Identities that are alike to anybody but a machine.
pub(super) fn near_misses() -> [ExternalIdentity; 10] {
    let texts = [
        ("https://idp.example.com", "Zo\u{eb}"),
        ("https://idp.example.com/", "Zo\u{eb}"),
        ("https://IDP.example.com", "Zo\u{eb}"),
        ("https://idp.example.com ", "Zo\u{eb}"),
        ("https://idp.example.com", "zo\u{eb}"),
        ("https://idp.example.com", "Zo\u{eb} "),
        ("https://idp.example.com", " Zo\u{eb}"),
        ("https://idp.example.com", "Zoe\u{308}"),
        ("https://idp.example.com", "Zoe"),
        ("https://idp.example.comZo", "\u{eb}"),
    ];
    texts.map(|(issuer, subject)| ExternalIdentity {
        issuer: issuer.into(),
        subject: subject.into(),
    })
}

/// Quotes, comments and wildcards in an identity have no effect.
pub async fn identities_that_look_like_sql_are_only_text(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    known_user(store, &openings, "ada").await;
    for subject in ["'; DROP TABLE sessions; --", "' OR '1'='1", "%", "ad_", "\\", "$1", "{}"] {
        assert_eq!(find(store, &identity(subject)).await, None, "{subject}");
        let user = known_user(store, &openings, subject).await;
        assert_eq!(find(store, &identity(subject)).await, Some(user), "{subject}");
    }
}

/// Signing in again adds a session and nothing else.
pub async fn a_second_session_belongs_to_the_same_user(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let again = openings.existing(ada);
    assert_eq!(open(store, &again).await, OpenOutcome::Opened);
    assert_eq!(store.dump().await.counts(), [1, 1, 0, 2]);
    assert_eq!(find_session(store, again.session.id).await.expect("a session").user, ada);
}

/// Granted roles and the time of disabling are read with the user.
pub async fn what_an_operator_did_to_a_user_is_found(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let found =
        store.store().sessions.users.find_user(&identity("ada")).await.unwrap().expect("a user");
    assert_eq!((found.user.granted_roles, found.user.disabled_at), (vec![], None));

    let disabled_at = Timestamp::from_unix(1_767_225_601);
    store.grant_roles(ada, &["auditor", "Übersetzer, \"quoted\""]).await;
    store.disable_user(ada, disabled_at).await;
    let found =
        store.store().sessions.users.find_user(&identity("ada")).await.unwrap().expect("a user");
    let roles = vec![Role::new("auditor"), Role::new("Übersetzer, \"quoted\"")];
    assert_eq!((found.user.granted_roles, found.user.disabled_at), (roles, Some(disabled_at)));
}

/// The caller gets the user who has the identity.
pub async fn a_known_identity_is_not_created_again(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let late = stored(store, &openings.new_user(identity("ada"))).await;
    assert_eq!(late.user, ada);
    assert_eq!(find(store, &identity("ada")).await, Some(ada));
    assert_eq!(store.dump().await.counts(), [1, 1, 0, 2]);
}

/// All callers get the same user.
pub async fn many_first_sign_ins_at_once_create_one_user(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let racers = (0..RACERS).map(|n| {
        let mut opening = openings.new_user(identity("ada"));
        opening.single_use = Some(single_use(&n.to_string()));
        opening
    });
    let outcomes = open_at_once(store, racers.collect()).await;
    assert_eq!(outcomes, [OpenOutcome::Opened; RACERS]);
    assert_eq!(store.dump().await.counts(), [1, 1, RACERS, RACERS]);
}

/// The second time is refused, whatever else is new.
pub async fn case_25_an_id_token_opens_one_session(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let mut first = openings.existing(ada);
    first.single_use = Some(single_use("ada"));
    let mut second = openings.existing(ada);
    second.single_use = first.single_use;
    let mut other = openings.existing(ada);
    other.single_use = Some(single_use("another"));
    assert_eq!(open(store, &first).await, OpenOutcome::Opened);
    is_refused(store, &second, OpenOutcome::Replayed).await;
    assert_eq!(open(store, &other).await, OpenOutcome::Opened);
}

/// This holds for an identity that nobody has yet; only its user, without a session, stays.
pub async fn case_25_a_replayed_id_token_opens_no_session_of_a_new_user(
    store: &dyn StoreUnderTest,
) {
    let openings = Openings::default();
    let mut first = openings.new_user(identity("ada"));
    first.single_use = Some(single_use("ada"));
    let mut second = openings.new_user(identity("eve"));
    second.single_use = first.single_use;
    assert_eq!(open(store, &first).await, OpenOutcome::Opened);
    assert_eq!(open(store, &second).await, OpenOutcome::Replayed);
    is_refused(store, &second, OpenOutcome::Replayed).await;
    assert_eq!(store.dump().await.counts(), [2, 2, 1, 1]);
}

/// The database decides, not the order of the calls.
pub async fn case_25_one_id_token_posted_by_many_at_once_opens_one_session(
    store: &dyn StoreUnderTest,
) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let racers = (0..RACERS).map(|_| {
        let mut opening = openings.existing(ada);
        opening.single_use = Some(single_use("ada"));
        opening
    });
    let outcomes = open_at_once(store, racers.collect()).await;
    assert_eq!(count(&outcomes, &OpenOutcome::Opened), 1);
    assert_eq!(count(&outcomes, &OpenOutcome::Replayed), RACERS - 1);
    assert_eq!(store.dump().await.counts(), [1, 1, 1, 2]);
}

/// Neither a session nor a mark is stored.
pub async fn case_32_a_disabled_user_opens_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    let bob = known_user(store, &openings, "bob").await;
    store.disable_user(ada, Timestamp::from_unix(1_767_225_600)).await;
    let mut refused = openings.existing(ada);
    refused.single_use = Some(single_use("ada"));
    is_refused(store, &refused, OpenOutcome::PersonChanged).await;
    let bobs = openings.existing_with(bob, identity("bob"));
    assert_eq!(open(store, &bobs).await, OpenOutcome::Opened);
}

/// The identity may have been unlinked after the user was looked up, and belong to somebody else
/// now.
pub async fn case_30_an_identity_that_is_not_the_users_opens_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let ada = known_user(store, &openings, "ada").await;
    known_user(store, &openings, "bob").await;
    for not_hers in [identity("bob"), identity("nobody"), elsewhere("ada")] {
        let mut refused = openings.existing_with(ada, not_hers);
        refused.single_use = Some(single_use("ada"));
        refused.idempotency = Some(repeatable("ada"));
        is_refused(store, &refused, OpenOutcome::PersonChanged).await;
    }
}

/// No session is stored without its user.
pub async fn a_user_that_is_gone_opens_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    known_user(store, &openings, "ada").await;
    let mut refused = openings.existing(UserId::from_uuid(Uuid::from_u128(0xdead)));
    refused.single_use = Some(single_use("gone"));
    is_refused(store, &refused, OpenOutcome::PersonChanged).await;
}

/// A caller that does not know the outcome of its call repeats it.
pub async fn repeating_an_opening_changes_nothing(store: &dyn StoreUnderTest) {
    let openings = Openings::default();
    let mut first = openings.new_user(identity("ada"));
    first.single_use = Some(single_use("first"));
    let mut second = openings.existing(first.user_id());
    second.single_use = Some(single_use("second"));
    let plain = openings.existing(first.user_id());
    for opening in [first, second, plain] {
        assert_eq!(open(store, &opening).await, OpenOutcome::Opened);
        let after_the_first = store.dump().await;
        assert_eq!(open(store, &opening).await, OpenOutcome::Opened);
        assert_eq!(store.dump().await, after_the_first);
    }
    assert_eq!(store.dump().await.counts(), [1, 1, 2, 3]);
}

/// The call is repeated while the first attempt is still under way.
pub async fn repeating_an_opening_many_times_at_once_leaves_one_row(store: &dyn StoreUnderTest) {
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.single_use = Some(single_use("ada"));
    let outcomes = open_at_once(store, vec![opening; RACERS]).await;
    assert_eq!(outcomes, [OpenOutcome::Opened; RACERS]);
    assert_eq!(store.dump().await.counts(), [1, 1, 1, 1]);
}

/// Every column of a session is read back as it was written, with claims of every JSON type.
pub async fn every_column_survives(store: &dyn StoreUnderTest) {
    let text = |text: &str| ClaimValue::Text(text.to_owned());
    let openings = Openings::default();
    let mut opening = openings.new_user(identity("ada"));
    let session = &mut opening.session;
    session.identity = ExternalIdentity {
        issuer: "https://Id\u{e9}.example.com/'quoted' \\".to_owned(),
        subject: "Zoe\u{308} \u{1f980} \"too\"".to_owned(),
    };
    session.upstream_sid = Some("S\u{e9}ssion '1' \\ \"2\" ".to_owned());
    session.claimed_roles = ["a,b", "{c}", "\"d\"", "日本", "NULL"].map(Role::new).into();
    session.refresh.generation = 7;
    session.refresh.issued_at = Timestamp::from_unix(1_767_225_001);
    session.refresh.expires_at = Timestamp::from_unix(1_767_225_002);
    session.absolute_expires_at = Timestamp::from_unix(1_767_225_003);
    session.created_at = Timestamp::from_unix(1_767_225_004);
    session.grant.auth_time = Timestamp::from_unix(-1);
    session.grant.roles = ["admin", "a,b", "{c}", "\"d\"", "日本", "NULL"].map(Role::new).into();
    session.grant.acr = Some("urn:mace:incommon:iap:silver".to_owned());
    session.grant.amr = vec!["pwd".to_owned(), "otp, \"mfa\" \\".to_owned(), String::new()];
    session.client.user_agent = Some("Mozilla/5.0 (\u{1f980}) 'quoted' \\ \"too\"".to_owned());
    session.client.ip_prefix = Some("2001:db8:1::/48".to_owned());
    session.grant.extra = [
        ("https://example.com/näme".to_owned(), text("Zoë \u{1f600} \u{2028} \"'\\ \u{0} \u{7f}")),
        ("nothing".to_owned(), ClaimValue::Null),
        ("yes".to_owned(), ClaimValue::Bool(true)),
        ("smallest".to_owned(), ClaimValue::Integer(i64::MIN)),
        ("largest".to_owned(), ClaimValue::Integer(i64::MAX)),
        ("whole".to_owned(), ClaimValue::Float(1.0)),
        ("huge".to_owned(), ClaimValue::Float(1e18)),
        ("tiny".to_owned(), ClaimValue::Float(-1.5e-300)),
        ("smallest of all".to_owned(), ClaimValue::Float(f64::from_bits(1))),
        ("beyond integers".to_owned(), ClaimValue::Float(9.007_199_254_740_993e30)),
        ("every digit".to_owned(), ClaimValue::Float(0.1 + 0.2)),
        (
            "nested".to_owned(),
            ClaimValue::List(vec![
                ClaimValue::List(vec![]),
                ClaimValue::Object([(String::new(), ClaimValue::Object([].into()))].into()),
                text(""),
            ]),
        ),
        ("deep".to_owned(), (0..100).fold(text("down"), |inner, _| ClaimValue::List(vec![inner]))),
    ]
    .into();
    is_read_back(store, opening).await;
}

/// A session without any optional value is read back as it was written.
pub async fn a_session_with_the_least_survives(store: &dyn StoreUnderTest) {
    let mut opening = Openings::default().new_user(identity("ada"));
    opening.session.upstream_sid = None;
    opening.session.claimed_roles = vec![];
    opening.session.grant.acr = None;
    opening.session.grant.amr = vec![];
    opening.session.client = ClientInfo::default();
    is_read_back(store, opening).await;
}

/// Session and user are returned as they are now, ended or disabled.
pub async fn a_session_is_found_with_its_user(store: &dyn StoreUnderTest) {
    let find = async |id: SessionId| {
        let loaded = store.store().sessions.repo.load(id).await.expect("an answer")?;
        match loaded.owner {
            SessionOwner::Loaded(Some(person)) => Some((loaded.session, person.user)),
            other => panic!("the user of a session: {other:?}"),
        }
    };
    let openings = Openings::default();
    let opening = openings.new_user(identity("ada"));
    assert_eq!(find(opening.session.id).await, None);
    let ada = stored(store, &opening).await;
    let bob = stored(store, &openings.new_user(identity("bob"))).await;
    let mut user = User {
        id: ada.user,
        disabled_at: None,
        granted_roles: vec![],
        session_epoch: 0,
        profile: Profile::default(),
    };
    assert_eq!(find(ada.id).await, Some((ada.clone(), user.clone())));

    store.grant_roles(ada.user, &["auditor"]).await;
    user.granted_roles = vec![Role::new("auditor")];
    let ada = rotated(store, &rotation(&ada, soon())).await;
    assert_eq!(find(ada.id).await, Some((ada.clone(), user.clone())));

    store.disable_user(ada.user, soon()).await;
    user.disabled_at = Some(soon());
    let reason = RevokeReason::Admin;
    store
        .store()
        .sessions
        .repo
        .end_session(ada.id, ada.user, reason, soon())
        .await
        .expect("an end");
    let ada = again(store, &ada).await;
    assert!(ada.end.is_some());
    assert_eq!(find(ada.id).await, Some((ada, user)));
    let (_, nobody_else) = find(bob.id).await.expect("both");
    assert_eq!(
        nobody_else,
        User {
            id: bob.user,
            disabled_at: None,
            granted_roles: vec![],
            session_epoch: 0,
            profile: Profile::default()
        }
    );
}

async fn is_read_back(store: &dyn StoreUnderTest, opening: Opening) {
    let session = opening.session.clone();
    let expected = Session {
        id: session.id,
        user: opening.user_id(),
        epochs: session.epochs,
        provider: session.provider,
        identity: session.identity,
        upstream_sid: session.upstream_sid,
        claimed_roles: session.claimed_roles,
        refresh: session.refresh,
        previous: None,
        absolute_expires_at: session.absolute_expires_at,
        grant: session.grant,
        client: session.client,
        created_at: session.created_at,
        last_used_at: session.created_at,
        end: None,
    };
    assert_eq!(stored(store, &opening).await, expected);
}

/// A dump of the store has no text by which somebody could get in.
pub async fn case_45_a_dump_holds_digests_and_no_token(store: &dyn StoreUnderTest) {
    let mut opening = Openings::default().new_user(identity("ada"));
    let mark = single_use("ada");
    let record = repeatable("ada");
    opening.single_use = Some(mark);
    opening.idempotency = Some(record);
    let session = stored(store, &opening).await;
    let next = rotated(store, &rotation(&session, soon())).await;
    let dump = format!("{:?}", store.dump().await);
    let request = record.request;
    for digest in [session.refresh.hash, next.refresh.hash, mark.hash, request.key, request.body] {
        assert!(dump.contains(&hex(digest.as_bytes())), "the digest is there: {dump}");
    }
    let texts =
        [refresh_token_text(opening.session.id), id_token_text("ada"), idempotency_key_text("ada")];
    for token in texts {
        let bytes = hex(token.as_bytes());
        assert!(!dump.contains(&token) && !dump.contains(&bytes), "{token} is in the dump");
    }
}
