//! Sessions in one engine; people, signing keys and the list of processes in another.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{ReplicaId, RevocationCursor, SessionId, Timestamp, UserId};
use mintgate_domain::ports::{RevocationLog, RevocationPage, StoreError};

use crate::store_under_test::{Dump, StoreUnderTest, Stores};

/// Two stores under test, used as one: no transaction covers both.
#[derive(Debug)]
pub struct TwoEngines<S, P> {
    /// The store of sessions and of what is kept with them.
    pub sessions: S,
    /// The store of people and of signing keys.
    pub people: P,
}

#[async_trait]
impl<S: StoreUnderTest, P: StoreUnderTest> StoreUnderTest for TwoEngines<S, P> {
    fn store(&self) -> Stores {
        let people = self.people.store();
        let mut stores = self.sessions.store();
        let logs = [Arc::clone(&stores.revocations), people.revocations];
        stores.sessions.users = people.sessions.users;
        Stores {
            users: people.users,
            import: people.import,
            duties: people.duties,
            keys: people.keys,
            replicas: people.replicas,
            audit: people.audit,
            revocations: Arc::new(JoinedLog(logs)),
            health: people.health,
            ..stores
        }
    }

    async fn disable_user(&self, user: UserId, at: Timestamp) {
        self.people.disable_user(user, at).await;
    }

    async fn grant_roles(&self, user: UserId, roles: &[&str]) {
        self.people.grant_roles(user, roles).await;
    }

    async fn age_rotation(&self, session: SessionId, by: Duration) {
        self.sessions.age_rotation(session, by).await;
    }

    async fn age_replica(&self, id: &ReplicaId, by: Duration) {
        self.people.age_replica(id, by).await;
    }

    async fn hurry_replica(&self, id: &ReplicaId, by: Duration) {
        self.people.hurry_replica(id, by).await;
    }

    async fn dump(&self) -> Dump {
        let mut dump = self.sessions.dump().await;
        let people = self.people.dump().await;
        for table in [
            "users",
            "external_identities",
            "duties",
            "restores",
            "signing_keys",
            "sealing_keys",
            "replicas",
            "audit_events",
            "audit_head",
            "revocation_log",
        ] {
            dump.insert(table, people.rows(table).to_vec());
        }
        let logged = [dump.rows("revocations"), people.rows("revocations")].concat();
        dump.insert("revocations", logged);
        dump
    }
}

/// The logs of two engines, read as one. Its cursors name a place in each.
struct JoinedLog([Arc<dyn RevocationLog>; 2]);

impl JoinedLog {
    /// Stands between the two places, and for the beginning of a log where there is none.
    const BETWEEN: char = '~';

    /// The places in both logs; `None` if the cursor names another number of places.
    fn places(after: Option<&RevocationCursor>) -> Option<[Option<RevocationCursor>; 2]> {
        let Some(after) = after else { return Some([None, None]) };
        let (first, second) = after.as_str().split_once(Self::BETWEEN)?;
        Some([RevocationCursor::parse(first), RevocationCursor::parse(second)])
    }
}

#[async_trait]
impl RevocationLog for JoinedLog {
    async fn revocations(
        &self,
        after: Option<&RevocationCursor>,
        now: Timestamp,
        limit: u32,
    ) -> Result<Option<RevocationPage>, StoreError> {
        let Some(places) = Self::places(after) else { return Ok(None) };
        let mut joined =
            RevocationPage { events: vec![], cursor: RevocationCursor::behind("", 0), more: false };
        let mut cursors = Vec::new();
        for (log, place) in self.0.iter().zip(&places) {
            let left = limit - u32::try_from(joined.events.len()).expect("a small limit");
            let Some(page) = log.revocations(place.as_ref(), now, left).await? else {
                return Ok(None);
            };
            joined.events.extend(page.events);
            joined.more |= page.more;
            cursors.push(page.cursor.to_string());
        }
        let text = cursors.join(&Self::BETWEEN.to_string());
        joined.cursor = RevocationCursor::parse(&text).expect("a proper cursor");
        Ok(Some(joined))
    }

    async fn keep_revocations_for(&self, lifetime: Duration) -> Result<(), StoreError> {
        for log in &self.0 {
            log.keep_revocations_for(lifetime).await?;
        }
        Ok(())
    }
}
