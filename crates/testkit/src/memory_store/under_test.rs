//! What the suite needs besides the ports.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    IdempotencyRecord, ReplicaId, Role, Session, SessionId, Timestamp, UserId,
};

use super::MemoryStore;
use crate::store_under_test::{Dump, StoreUnderTest, Stores, hex};

#[async_trait]
impl StoreUnderTest for MemoryStore {
    fn store(&self) -> Stores {
        Arc::new(self.clone()).into()
    }

    async fn disable_user(&self, user: UserId, at: Timestamp) {
        self.0.lock().unwrap().users.get_mut(&user).expect("a user").disabled_at = Some(at);
    }

    async fn grant_roles(&self, user: UserId, roles: &[&str]) {
        self.0.lock().unwrap().users.get_mut(&user).expect("a user").granted_roles =
            roles.iter().map(|role| Role::new(*role)).collect();
    }

    async fn age_rotation(&self, session: SessionId, by: Duration) {
        let mut state = self.0.lock().unwrap();
        let session = state.sessions.get_mut(&session).expect("a session");
        let previous = session.previous.as_mut().expect("a session that was rotated");
        previous.rotated_at = previous.rotated_at - by;
    }

    async fn age_replica(&self, id: &ReplicaId, by: Duration) {
        self.0.lock().unwrap().replicas.get_mut(id).expect("a replica").age(by);
    }

    async fn hurry_replica(&self, id: &ReplicaId, by: Duration) {
        self.0.lock().unwrap().replicas.get_mut(id).expect("a replica").hurry(by);
    }

    async fn dump(&self) -> Dump {
        let state = self.0.lock().unwrap();
        let mut dump = Dump::default();
        dump.insert("users", state.users.iter().map(|row| format!("{row:?}")).collect());
        let former = state.former_ids.iter().map(|row| format!("{row:?}"));
        dump.insert("former_ids", former.collect());
        let identities = state.identities.iter().map(|row| format!("{row:?}"));
        dump.insert("external_identities", identities.collect());
        let marks =
            state.single_use.iter().map(|(hash, at)| format!("{} {at:?}", hex(hash.as_bytes())));
        dump.insert("single_use_marks", marks.collect());
        dump.insert(
            "upstream_tokens",
            state.upstream.iter().map(|row| format!("{row:?}")).collect(),
        );
        dump.insert("sessions", state.sessions.values().map(session_row).collect());
        let openings =
            state.openings.values().map(|(IdempotencyRecord { request, expires_at }, id)| {
                let (key, body) = (hex(request.key.as_bytes()), hex(request.body.as_bytes()));
                format!("{key} {body} {id} {expires_at:?}")
            });
        dump.insert("idempotency_keys", openings.collect());
        let reservations = state.reservations.values().map(|row| format!("{row:?}"));
        dump.insert("idempotency_reservations", reservations.collect());
        let deleted = state.deleted.iter().map(|row| format!("{row:?}"));
        dump.insert("deleted_sessions", deleted.collect());
        let keys = state.keys.values().map(|key| format!("{} {key:?}", key.material.expose()));
        dump.insert("signing_keys", keys.collect());
        let replicas = state.replicas.values().map(|row| format!("{row:?}"));
        dump.insert("sealing_keys", state.sealing_keys.iter().cloned().collect());
        dump.insert("replicas", replicas.collect());
        dump.insert("restores", vec![state.restore_epoch.to_string()]);
        dump.insert("session_engine", state.session_engine.iter().cloned().collect());
        dump.insert("duties", vec![format!("{:?}", state.duties)]);
        let (entries, rest) = state.audit.rows();
        dump.insert("audit_events", entries);
        dump.insert("audit_head", vec![rest]);
        let [log, events] = state.log.rows();
        dump.insert("revocation_log", vec![log]);
        dump.insert("revocations", vec![events]);
        dump
    }
}

/// A session as a dump shows it: `Debug` of a digest prints nothing of it, so both are added in hexadecimal.
fn session_row(session: &Session) -> String {
    let current = hex(session.refresh.hash.as_bytes());
    let previous = session.previous.map(|previous| hex(previous.hash.as_bytes()));
    let reason = session.end.map(|end| end.reason.name());
    format!("{current} {previous:?} {reason:?} {session:?}")
}
