//! Rotation and the ends of sessions.

use std::cmp::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use mintgate_domain::model::{
    ExternalIdentity, RevokeReason, Rotation, Session, SessionEnd, SessionId, SessionOpening,
    Timestamp, UserId,
};
use mintgate_domain::ports::{
    EndOutcome, EndedStep, LoadedSession, LogoutOrder, OpenOutcome, ProviderLogoutOutcome,
    RefreshTokenRepo, SessionChange, SessionOwner, StoreError, StoreOperation,
};
use tokio::time::sleep;

use crate::row::{Change, field, roles_len, unix};
use crate::store::{Changed, RedisStore};
use crate::{json, keys, scripts};

/// How long somebody who waits for another to carry an order out waits before looking again.
const ORDER_PAUSE: Duration = Duration::from_millis(10);

impl RedisStore {
    /// The writes of a rotation.
    fn rotate(&self, change: Change, rotation: &Rotation) -> Change {
        let next = &rotation.successor;
        let change = change
            .set(field::PREVIOUS, rotation.presented.hash.to_hex())
            .set(field::ROTATED, unix(rotation.now))
            .set(field::REPLAYS, 0)
            .time(field::MOVED)
            .set(field::GENERATION, next.generation)
            .set(field::HASH, next.hash.to_hex())
            .set(field::KEY, &next.key_id)
            .set(field::ISSUED, unix(next.issued_at))
            .set(field::EXPIRES, unix(next.expires_at))
            .set(field::USED, unix(rotation.now))
            .keep(self.kept_for(next.expires_at, rotation.now));
        match &rotation.roles {
            Some(roles) => {
                change.set(field::ROLES, json::roles(roles)).set(field::ROLES_LEN, roles_len(roles))
            }
            None => change,
        }
    }

    async fn exchange_current(
        &self,
        rotation: &Rotation,
        grant_limit: Option<u32>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        let Some(generation) = rotation.successor.generation.checked_sub(1) else {
            return Ok(None);
        };
        let mut change = Change::default()
            .is(field::USER, Some(rotation.user))
            .is(field::HASH, Some(rotation.presented.hash.to_hex()))
            .is(field::GENERATION, Some(generation))
            .none(field::ENDED)
            .over(field::EXPIRES, unix(rotation.now));
        // The earlier of the idle limit and the absolute limit is when the successor expires.
        let (idle, expires) = (rotation.idle_expires_at, rotation.successor.expires_at);
        change = match expires.cmp(&idle) {
            Ordering::Equal => change.over(field::ABSOLUTE, idle.as_unix() - 1),
            Ordering::Less => change.is(field::ABSOLUTE, Some(unix(expires))),
            Ordering::Greater => return Ok(None),
        };
        if let Some(limit) = grant_limit {
            change = change.fits(limit);
        }
        self.made(rotation.session, &self.rotate(change, rotation)).await
    }

    async fn made(
        &self,
        id: SessionId,
        change: &Change,
    ) -> Result<Option<Box<Session>>, StoreError> {
        Ok(match self.change(id, change).await? {
            Changed::Made(stored) => Some(Box::new(stored.session)),
            Changed::Otherwise(_) | Changed::Gone => None,
        })
    }

    async fn end_seen(
        &self,
        seen: &Session,
        end: SessionEnd,
    ) -> Result<Option<Box<Session>>, StoreError> {
        let change =
            Change::unchanged_since(seen).end(end).set(field::UNLOGGED, 1).keep(self.keep_ended);
        let Changed::Made(stored) = self.change_and_wait(seen.id, &change).await? else {
            return Ok(None);
        };
        self.log_end(seen.id).await?;
        Ok(Some(Box::new(stored.session)))
    }

    async fn end(
        &self,
        id: SessionId,
        user: UserId,
        end: SessionEnd,
    ) -> Result<EndOutcome, StoreError> {
        let change = Change::default()
            .is(field::USER, Some(user))
            // An end that is repeated because replicas have not confirmed it waits for them again.
            .touch()
            .none(field::ENDED)
            .end(end)
            .set(field::UNLOGGED, 1)
            .keep(self.keep_ended);
        let (outcome, stored) = match self.change_and_wait(id, &change).await? {
            Changed::Made(stored) => (EndOutcome::Ended, stored),
            Changed::Otherwise(stored) if stored.session.user == user => {
                (EndOutcome::EndedBefore, stored)
            }
            Changed::Otherwise(_) | Changed::Gone => return Ok(EndOutcome::Unknown),
        };
        if stored.is_unlogged {
            self.log_end(id).await?;
        }
        Ok(outcome)
    }

    async fn carry_out(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        let (key, name) = (keys::mark(order.id), self.name());
        let lease = self.link.timeout();
        let arguments = [
            name.clone(),
            unix(order.expires_at),
            crate::records::LONGER.as_secs().to_string(),
            lease.as_micros().to_string(),
        ];
        // Whoever repeats an order while it is carried out learns that it was when it was.
        loop {
            match self.run::<u8>(scripts::BEGIN_ORDER, &[&key], &arguments).await? {
                0 => return Ok(ProviderLogoutOutcome::Replayed),
                1 => sleep(ORDER_PAUSE).await,
                _ => break,
            }
        }
        let end = SessionEnd { at: now, reason: RevokeReason::ProviderLogout };
        let mut ended = 0;
        for index in named_by(order) {
            let ids = self.indexed(&index).await?;
            for stored in self.found(|_| index.clone(), &ids).await? {
                let meant = |session: &Session| session.is_live(now) && order.names(session);
                let is_ended = meant(&stored.session)
                    && self
                        .end_if(stored.session.id, true, |session| meant(session).then_some(end))
                        .await?;
                ended += u64::from(is_ended);
            }
        }
        // With this, replicas have all that was written before it.
        self.run_and_wait::<()>(scripts::END_ORDER, &[&key], &[name]).await?;
        Ok(ProviderLogoutOutcome::Ended(ended))
    }

    async fn end_of(
        &self,
        user: UserId,
        identity: Option<&ExternalIdentity>,
        keep: Option<SessionId>,
        end: SessionEnd,
    ) -> Result<u64, StoreError> {
        if let (Some(keep), Some(identity)) = (keep, identity)
            && let Some(stored) = self.stored(keep).await?
            && stored.session.is_of(user, Some(identity))
        {
            self.change(keep, &Change::default().delete(field::IDENTITY_EPOCH)).await?;
        }
        let index = keys::of_user(user);
        let mut ended = 0;
        for id in self.indexed(&index).await? {
            if Some(id) == keep {
                continue;
            }
            let is_one =
                |session: &Session| session.is_of(user, identity) && session.is_live(end.at);
            ended += u64::from(self.end_if(id, true, |it| is_one(it).then_some(end)).await?);
        }
        Ok(ended)
    }

    async fn end_those_before(
        &self,
        epoch: u64,
        after: Option<SessionId>,
        limit: u32,
        end: SessionEnd,
    ) -> Result<EndedStep, StoreError> {
        let ids = self.next_ids(after, limit).await?;
        let next = ids.last().copied().filter(|_| ids.len() as u64 == u64::from(limit));
        let mut step = EndedStep { ended: 0, next };
        let is_one = |session: &Session| session.is_live(end.at) && session.epochs.restore != epoch;
        for id in ids {
            // The epoch is in the log of the people's store.
            step.ended += u64::from(self.end_if(id, false, |it| is_one(it).then_some(end)).await?);
        }
        Ok(step)
    }

    async fn live(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        let index = keys::of_user(user);
        let ids = self.indexed(&index).await?;
        let found = self.found(|_| index.clone(), &ids).await?;
        let sessions = found.into_iter().map(|stored| stored.session);
        let mut live: Vec<_> = sessions.filter(|it| it.user == user && it.is_live(now)).collect();
        live.sort_by_key(|session| std::cmp::Reverse((session.last_used_at, session.id)));
        live.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(live)
    }
}

/// The indexes that have the sessions an order names.
fn named_by(order: &LogoutOrder) -> Vec<String> {
    let subject = order.subject.as_ref().map(|subject| {
        let identity = ExternalIdentity { issuer: order.issuer.clone(), subject: subject.clone() };
        keys::of_identity(&identity)
    });
    let session = order.session.as_ref();
    let session = session.map(|sid| keys::of_upstream_session(&order.issuer, sid));
    // The session first: its index has all of its sessions, however many the subject has.
    session.into_iter().chain(subject).collect()
}

#[async_trait]
impl RefreshTokenRepo for RedisStore {
    fn shares_engine_with_users(&self) -> bool {
        false
    }

    async fn open(&self, opening: &SessionOpening) -> Result<OpenOutcome, StoreError> {
        self.observed(StoreOperation::OpenSession, self.open_session(opening)).await
    }

    async fn load(&self, id: SessionId) -> Result<Option<LoadedSession>, StoreError> {
        let found = self.observed(StoreOperation::FindSession, self.stored(id)).await?;
        Ok(found.map(|stored| LoadedSession {
            session: stored.session,
            rotated_ago: stored.rotated_ago,
            owner: SessionOwner::KeptElsewhere,
        }))
    }

    async fn exchange(
        &self,
        rotation: &Rotation,
        grant_limit: Option<u32>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        let exchanging = self.exchange_current(rotation, grant_limit);
        self.observed(StoreOperation::Rotate, exchanging).await
    }

    async fn replace(
        &self,
        seen: &Session,
        change: SessionChange<'_>,
    ) -> Result<Option<Box<Session>>, StoreError> {
        let unchanged = Change::unchanged_since(seen);
        let replacing = async {
            match change {
                SessionChange::Rotate(rotation) => {
                    self.made(seen.id, &self.rotate(unchanged, rotation)).await
                }
                SessionChange::CountReplay => {
                    self.made(seen.id, &unchanged.add_one(field::REPLAYS)).await
                }
                SessionChange::End(end) => self.end_seen(seen, end).await,
            }
        };
        self.observed(StoreOperation::Rotate, replacing).await
    }

    async fn live_sessions(
        &self,
        user: UserId,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Session>, StoreError> {
        self.observed(StoreOperation::LiveSessions, self.live(user, now, limit)).await
    }

    async fn end_session(
        &self,
        id: SessionId,
        user: UserId,
        reason: RevokeReason,
        now: Timestamp,
    ) -> Result<EndOutcome, StoreError> {
        let ending = self.end(id, user, SessionEnd { at: now, reason });
        self.observed(StoreOperation::EndSession, ending).await
    }

    async fn end_provider_sessions(
        &self,
        order: &LogoutOrder,
        now: Timestamp,
    ) -> Result<ProviderLogoutOutcome, StoreError> {
        self.observed(StoreOperation::EndProviderSessions, self.carry_out(order, now)).await
    }

    async fn end_restored(
        &self,
        epoch: u64,
        after: Option<SessionId>,
        limit: u32,
        end: SessionEnd,
    ) -> Result<EndedStep, StoreError> {
        let ending = self.end_those_before(epoch, after, limit, end);
        self.observed(StoreOperation::EndUserSessions, ending).await
    }

    async fn end_sessions(
        &self,
        user: UserId,
        identity: Option<&ExternalIdentity>,
        keep: Option<SessionId>,
        end: SessionEnd,
    ) -> Result<u64, StoreError> {
        let ending = self.end_of(user, identity, keep, end);
        self.observed(StoreOperation::EndUserSessions, ending).await
    }
}
