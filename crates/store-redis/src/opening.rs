//! Opening a session.

use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use mintgate_domain::model::{KeptUpstream, Session, SessionOpening, Timestamp};
use mintgate_domain::ports::{OpenOutcome, StoreError};

use crate::row::{self, field};
use crate::store::{RedisStore, indexes};
use crate::{keys, scripts};

impl RedisStore {
    /// Puts the session into its indexes and claims what counts once; then stores the session. Only then is
    /// there anything that lives.
    pub(crate) async fn open_session(
        &self,
        opening: &SessionOpening,
    ) -> Result<OpenOutcome, StoreError> {
        let session = Session::from(opening.session.clone());
        let kept_for = self.kept_for(session.refresh.expires_at, session.created_at);
        let id = session.id.to_string();
        let adding = try_join_all(indexes(&session).into_iter().map(|index| {
            let seconds = if index.is_lasting { 0 } else { kept_for.as_secs().max(1) };
            let arguments = [id.clone(), index.limit.to_string(), seconds.to_string()];
            async move { self.run::<()>(scripts::INDEX, &[&index.key], &arguments).await }
        }));
        let claiming = async {
            match &opening.single_use {
                Some(mark) => self.claim_mark(mark, &id).await,
                None => Ok(true),
            }
        };
        let ((), is_first) = try_join(async { adding.await.map(drop) }, claiming).await?;
        if !is_first {
            self.unindex(&session).await?;
            return Ok(OpenOutcome::Replayed);
        }
        if let Some(record) = &opening.idempotency
            && !self.use_key(record, session.id, session.created_at).await?
        {
            if let Some(mark) = &opening.single_use {
                let key = keys::mark(mark.hash);
                self.run::<()>(scripts::RELEASE_MARK, &[&key], &[id]).await?;
            }
            self.unindex(&session).await?;
            return Ok(OpenOutcome::IdempotencyKeyTaken);
        }
        self.store(&session, opening, kept_for).await?;
        Ok(OpenOutcome::Opened)
    }

    async fn store(
        &self,
        session: &Session,
        opening: &SessionOpening,
        kept_for: Duration,
    ) -> Result<(), StoreError> {
        let mut fields = row::fields(session);
        let upstream = KeptUpstream::brought(opening.upstream.clone(), session.created_at);
        fields.extend(upstream.map(|kept| (field::UPSTREAM, row::upstream_text(&kept))));
        let key = opening.idempotency.map(|record| record.request.key.to_hex());
        fields.extend(key.map(|key| (field::IDEMPOTENCY, key)));
        let mut arguments = vec![kept_for.as_secs().max(1).to_string()];
        for (name, value) in fields {
            arguments.extend([name.to_owned(), value]);
        }
        self.run_and_wait(scripts::OPEN, &[&keys::session(session.id)], &arguments).await
    }

    /// Takes a session that was not opened out of its indexes, unless the same sign-in has opened it.
    async fn unindex(&self, session: &Session) -> Result<(), StoreError> {
        if self.stored(session.id).await?.is_none() {
            for index in indexes(session) {
                self.remove_from(&index.key, session.id).await?;
            }
        }
        Ok(())
    }

    /// For how long a session is kept that idles until `expires_at`: its end can be explained as long as
    /// that of others.
    pub(crate) fn kept_for(&self, expires_at: Timestamp, now: Timestamp) -> Duration {
        let left = expires_at.as_unix().saturating_sub(now.as_unix());
        Duration::from_secs(left.try_into().unwrap_or(0)) + self.keep_ended
    }
}
