//! What a sign-in leaves besides its session: marks and idempotency keys.

use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::TokenHash;
use mintgate_domain::model::{IdempotencyKey, IdempotencyRecord, SessionId, SingleUse, Timestamp};
use mintgate_domain::ports::{
    Holder, IdempotencyRecords, OnceMarks, Reserved, StoreError, StoreOperation,
};

use crate::error::corrupt;
use crate::row::{Change, token_hash, unix};
use crate::store::RedisStore;
use crate::{keys, scripts};

/// By so much longer than until its expiry a mark is kept, because the clocks of the server and of those who
/// accept what it marks can differ.
pub(crate) const LONGER: Duration = Duration::from_mins(10);

impl RedisStore {
    /// Claims a mark under a name; `false` if it is claimed under another one.
    pub(crate) async fn claim_mark(
        &self,
        mark: &SingleUse,
        name: &str,
    ) -> Result<bool, StoreError> {
        let arguments = [name.to_owned(), unix(mark.expires_at), LONGER.as_secs().to_string()];
        self.run(scripts::CLAIM_MARK, &[&keys::mark(mark.hash)], &arguments).await
    }

    /// Notes that an idempotency key opens this session; `false` if it has opened another one.
    pub(crate) async fn use_key(
        &self,
        record: &IdempotencyRecord,
        session: SessionId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let left = record.expires_at.as_unix().saturating_sub(now.as_unix()).max(0);
        let arguments = [
            record.request.body.to_hex(),
            session.to_string(),
            unix(record.expires_at),
            unix(now),
            left.saturating_add_unsigned(LONGER.as_secs()).to_string(),
        ];
        self.run(scripts::USE_KEY, &[&keys::idempotency(record.request.key)], &arguments).await
    }

    async fn reserve_key(
        &self,
        request: &IdempotencyKey,
        holder: &Holder,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Reserved, StoreError> {
        let arguments = [
            request.body.to_hex(),
            uuid::Uuid::from_bytes(*holder).to_string(),
            lease.as_millis().to_string(),
            unix(now),
        ];
        let key = keys::idempotency(request.key);
        let answer: Vec<String> = self.run(scripts::RESERVE, &[&key], &arguments).await?;
        let texts: Vec<&str> = answer.iter().map(String::as_str).collect();
        match texts[..] {
            ["own"] => Ok(Reserved::Own),
            ["held", body] => Ok(Reserved::ByAnother(Some(body_hash(body)?))),
            ["opened", body, session] => {
                let session = session_id(session)?;
                self.confirm(session).await?;
                let request = IdempotencyKey { key: request.key, body: body_hash(body)? };
                Ok(Reserved::Opened(request, session))
            }
            _ => Err(corrupt("an idempotency key")),
        }
    }

    async fn find_key(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, SessionId)>, StoreError> {
        type Row = (Option<String>, Option<String>, Option<i64>);
        let mut command = redis::cmd("HMGET");
        command.arg(keys::idempotency(key)).arg("body").arg("sid").arg("exp");
        let (body, session, expires_at): Row = self.link.ask(&command).await?;
        let (Some(body), Some(session), Some(expires_at)) = (body, session, expires_at) else {
            return Ok(None);
        };
        if Timestamp::from_unix(expires_at) <= now {
            return Ok(None);
        }
        let session = session_id(&session)?;
        self.confirm(session).await?;
        Ok(Some((IdempotencyKey { key, body: body_hash(&body)? }, session)))
    }

    /// Waits until replicas have a session, where sign-ins wait for them: the first answer may have said that they
    /// do not, and a repeated request must not acknowledge what that one did not.
    async fn confirm(&self, session: SessionId) -> Result<(), StoreError> {
        if self.link.waits() {
            self.change_and_wait(session, &Change::default()).await?;
        }
        Ok(())
    }
}

fn body_hash(text: &str) -> Result<TokenHash, StoreError> {
    token_hash(text).ok_or_else(|| corrupt("the body of an idempotency key"))
}

fn session_id(text: &str) -> Result<SessionId, StoreError> {
    SessionId::parse(text).ok_or_else(|| corrupt("the session of an idempotency key"))
}

#[async_trait]
impl OnceMarks for RedisStore {
    async fn claim(&self, mark: &SingleUse) -> Result<bool, StoreError> {
        let name = self.name();
        self.observed(StoreOperation::OnceMarks, self.claim_mark(mark, &name)).await
    }

    /// The mark of an order that is being carried out is not claimed: its repetition carries it out if this
    /// process does not.
    async fn is_claimed(&self, hash: TokenHash) -> Result<bool, StoreError> {
        let reading = async {
            let key = keys::mark(hash);
            let stored: Option<String> = self.run(scripts::READ, &[&key], &[]).await?;
            Ok(stored.is_some_and(|text| !text.starts_with("order ")))
        };
        self.observed(StoreOperation::OnceMarks, reading).await
    }
}

#[async_trait]
impl IdempotencyRecords for RedisStore {
    async fn reserve(
        &self,
        request: &IdempotencyKey,
        holder: &Holder,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Reserved, StoreError> {
        let reserving = self.reserve_key(request, holder, lease, now);
        self.observed(StoreOperation::Idempotency, reserving).await
    }

    async fn release(&self, key: TokenHash, holder: &Holder) -> Result<(), StoreError> {
        let arguments = [uuid::Uuid::from_bytes(*holder).to_string()];
        let key = keys::idempotency(key);
        let keys = [key.as_str()];
        let releasing = self.run(scripts::RELEASE, &keys, &arguments);
        self.observed(StoreOperation::Idempotency, releasing).await
    }

    async fn find(
        &self,
        key: TokenHash,
        now: Timestamp,
    ) -> Result<Option<(IdempotencyKey, SessionId)>, StoreError> {
        self.observed(StoreOperation::Idempotency, self.find_key(key, now)).await
    }
}
