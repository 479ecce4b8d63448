//! Sessions in one engine; people, signing keys and the list of processes in another.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::JoinedLog;
use mintgate_domain::model::{ReplicaId, SessionId, Timestamp, UserId};

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
            engines: people.engines,
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
            "session_engine",
            "former_ids",
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
