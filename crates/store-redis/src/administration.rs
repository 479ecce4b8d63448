//! What operators see of sessions.

use async_trait::async_trait;
use mintgate_domain::model::{DeletedSession, RevokeReason, Session, SessionId, Timestamp, UserId};
use mintgate_domain::ports::{SessionAdministration, StoreError, StoreOperation};
use serde_json::{Value, json};

use crate::error::corrupt;
use crate::keys;
use crate::store::RedisStore;

impl RedisStore {
    async fn opened_by(
        &self,
        user: UserId,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let index = keys::of_user(user);
        let mut ids = self.indexed(&index).await?;
        ids.retain(|id| before.is_none_or(|before| *id < before));
        ids.reverse();
        let mut sessions = Vec::new();
        for page in ids.chunks(wanted.max(1)) {
            for stored in self.found(|_| index.clone(), page).await? {
                if sessions.len() < wanted && stored.session.user == user {
                    sessions.push(stored.session);
                }
            }
            if sessions.len() >= wanted {
                break;
            }
        }
        Ok(sessions)
    }

    async fn delete_all(
        &self,
        user: UserId,
        now: Timestamp,
        forget_after: Timestamp,
    ) -> Result<u64, StoreError> {
        let index = keys::of_user(user);
        let ids = self.indexed(&index).await?;
        let mut live = 0;
        for stored in self.found(|_| index.clone(), &ids).await? {
            let session = &stored.session;
            if session.user != user {
                continue;
            }
            if let Some(left) = session.deleted(now, forget_after) {
                self.note_deleted(session.id, &left, now).await?;
            }
            live += u64::from(session.is_live(now));
            self.forget(&stored).await?;
        }
        Ok(live)
    }

    async fn note_deleted(
        &self,
        id: SessionId,
        left: &DeletedSession,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let note = json!({
            "ended": left.ended_at.as_unix(),
            "reason": left.reason.name(),
            "forget": left.forget_after.as_unix(),
        });
        let seconds = left.forget_after.as_unix().saturating_sub(now.as_unix()).max(1);
        let mut command = redis::cmd("SET");
        command.arg(keys::deleted(id)).arg(note.to_string()).arg("EX").arg(seconds);
        self.link.ask(&command).await
    }

    async fn note_of(&self, id: SessionId) -> Result<Option<DeletedSession>, StoreError> {
        let mut command = redis::cmd("GET");
        command.arg(keys::deleted(id));
        let Some(text) = self.link.ask::<Option<String>>(&command).await? else { return Ok(None) };
        let note: Value = serde_json::from_str(&text).unwrap_or_default();
        let time = |name: &str| {
            let seconds = note[name].as_i64();
            seconds
                .map(Timestamp::from_unix)
                .ok_or_else(|| corrupt("the note of a deleted session"))
        };
        Ok(Some(DeletedSession {
            ended_at: time("ended")?,
            reason: RevokeReason::from_name(note["reason"].as_str().unwrap_or_default()),
            forget_after: time("forget")?,
        }))
    }
}

#[async_trait]
impl SessionAdministration for RedisStore {
    async fn user_sessions(
        &self,
        user: UserId,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        self.observed(StoreOperation::Administration, self.opened_by(user, before, limit)).await
    }

    async fn deleted_session(&self, id: SessionId) -> Result<Option<DeletedSession>, StoreError> {
        self.observed(StoreOperation::Administration, self.note_of(id)).await
    }

    async fn delete_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        forget_after: Timestamp,
    ) -> Result<u64, StoreError> {
        let deleting = self.delete_all(user, now, forget_after);
        self.observed(StoreOperation::Administration, deleting).await
    }
}
