//! Which engine the sessions are in.

use super::{RACERS, adas_session, at_once, count};
use crate::openings::NOW;
use crate::store_under_test::StoreUnderTest;

/// What is recorded changes only from what it is said to be; of many who change it at once, one does.
pub async fn the_engine_of_the_sessions_is_recorded_by_one(store: &dyn StoreUnderTest) {
    let engines = store.store().engines;
    assert_eq!(engines.session_engine().await, Ok(None));
    let names: Vec<String> = (0..RACERS).map(|n| format!("mark-{n}")).collect();
    let recorded = at_once(store, names, |store, name| async move {
        store.engines.record_session_engine(None, Some(&name)).await.expect("an answer")
    })
    .await;
    assert_eq!(count(&recorded, &true), 1, "{recorded:?}");
    let winner = recorded.iter().position(|is_recorded| *is_recorded).expect("one");
    let winner = format!("mark-{winner}");
    assert_eq!(engines.session_engine().await, Ok(Some(winner.clone())));

    assert_eq!(engines.record_session_engine(Some("another"), None).await, Ok(false));
    assert_eq!(engines.record_session_engine(Some(&winner), Some("next")).await, Ok(true));
    assert_eq!(engines.session_engine().await, Ok(Some("next".to_owned())));
    assert_eq!(engines.record_session_engine(Some("next"), None).await, Ok(true));
    assert_eq!(engines.session_engine().await, Ok(None));
}

/// Sessions that have ended or run out are none.
pub async fn live_sessions_with_the_users_are_noticed(store: &dyn StoreUnderTest) {
    let engines = store.store().engines;
    assert_eq!(engines.has_sessions(NOW).await, Ok(false));
    let session = adas_session(store).await;
    assert_eq!(engines.has_sessions(NOW).await, Ok(true));
    assert_eq!(engines.has_sessions(session.refresh.expires_at).await, Ok(false));
    let reason = mintgate_domain::model::RevokeReason::Logout;
    let repo = store.store().sessions.repo;
    repo.end_session(session.id, session.user, reason, NOW).await.expect("an end");
    assert_eq!(engines.has_sessions(NOW).await, Ok(false));
}
