//! The providers' tokens, in the hash of their session.

use async_trait::async_trait;
use mintgate_domain::model::{
    KeptUpstream, Role, SealedToken, SessionId, Timestamp, UpstreamTokens,
};
use mintgate_domain::ports::{
    ClaimedUpstream, SealedBefore, SealedPage, StoreError, StoreOperation, UpstreamDue,
    UpstreamRenewal, UpstreamTokenRepo,
};

use crate::json;
use crate::row::{Change, field, upstream_text};
use crate::store::{Changed, RedisStore};

impl RedisStore {
    /// Changes the tokens of a session by `change`, again if they have changed meanwhile. What `change` returns
    /// is returned; `None` if there are no tokens, or if it returned nothing, and then nothing is written.
    async fn change_upstream<T: Send>(
        &self,
        id: SessionId,
        roles: Option<&[Role]>,
        change: impl Fn(&mut KeptUpstream) -> Option<T> + Send,
    ) -> Result<Option<T>, StoreError> {
        let mut found = self.stored(id).await?;
        while let Some(stored) = found {
            let Some(mut kept) = stored.kept_upstream()? else { return Ok(None) };
            let Some(result) = change(&mut kept) else { return Ok(None) };
            let text = upstream_text(&kept);
            let mut write = Change::default()
                .is(field::UPSTREAM, stored.upstream.as_ref())
                .set(field::UPSTREAM, text);
            if let Some(roles) = roles {
                let roles = json::roles(roles);
                write = write.set(field::CLAIMED_ROLES, roles);
            }
            found = match self.change(id, &write).await? {
                Changed::Made(_) => return Ok(Some(result)),
                Changed::Otherwise(stored) => Some(*stored),
                Changed::Gone => None,
            };
        }
        Ok(None)
    }

    async fn keep(&self, id: SessionId, renewal: &UpstreamRenewal) -> Result<(), StoreError> {
        let roles = renewal.claimed_roles.as_deref();
        let keep = |kept: &mut KeptUpstream| {
            kept.keep(renewal);
            Some(())
        };
        if self.change_upstream(id, roles, keep).await?.is_none()
            && let Some(roles) = roles
        {
            let roles = json::roles(roles);
            self.change(id, &Change::default().set(field::CLAIMED_ROLES, roles)).await?;
        }
        Ok(())
    }

    async fn page(
        &self,
        mark: &str,
        mut after: Option<SessionId>,
        limit: u32,
    ) -> Result<SealedPage, StoreError> {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut tokens, mut sessions) = (Vec::new(), 0);
        loop {
            let ids = self.next_ids(after, limit).await?;
            for stored in self.found(crate::keys::ids_with, &ids).await? {
                let Some(kept) = stored.kept_upstream()? else { continue };
                let id = stored.session.id;
                tokens.extend(kept.sealed_before(id, mark));
                sessions += 1;
                if sessions == wanted {
                    return Ok(SealedPage { tokens, next: Some(id) });
                }
            }
            after = ids.last().copied();
            if ids.len() < wanted {
                return Ok(SealedPage { tokens, next: None });
            }
        }
    }
}

#[async_trait]
impl UpstreamTokenRepo for RedisStore {
    async fn load_upstream(&self, session: SessionId) -> Result<UpstreamTokens, StoreError> {
        let loading = async {
            let Some(stored) = self.stored(session).await? else { return Ok(None) };
            stored.kept_upstream()
        };
        let kept = self.observed(StoreOperation::Upstream, loading).await?;
        Ok(kept.map(|kept| kept.tokens).unwrap_or_default())
    }

    async fn claim_upstream(
        &self,
        session: SessionId,
        due: UpstreamDue,
        now: Timestamp,
        lease: Timestamp,
    ) -> Result<Option<ClaimedUpstream>, StoreError> {
        let claiming = self.change_upstream(session, None, |kept| kept.claim(due, now, lease));
        self.observed(StoreOperation::Upstream, claiming).await
    }

    async fn release_upstream(
        &self,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError> {
        let release = |kept: &mut KeptUpstream| kept.unclaim(refresh).map(drop);
        let releasing = self.change_upstream(session, None, release);
        self.observed(StoreOperation::Upstream, releasing).await.map(drop)
    }

    async fn forget_upstream(
        &self,
        session: SessionId,
        refresh: &SealedToken,
    ) -> Result<(), StoreError> {
        let forget = |kept: &mut KeptUpstream| {
            let tokens = kept.unclaim(refresh)?;
            (tokens.refresh, tokens.access) = (None, None);
            Some(())
        };
        let forgetting = self.change_upstream(session, None, forget);
        self.observed(StoreOperation::Upstream, forgetting).await.map(drop)
    }

    async fn keep_upstream(
        &self,
        session: SessionId,
        renewal: &UpstreamRenewal,
    ) -> Result<(), StoreError> {
        self.observed(StoreOperation::Upstream, self.keep(session, renewal)).await
    }

    async fn sealed_before(
        &self,
        mark: &str,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<SealedPage, StoreError> {
        self.observed(StoreOperation::Upstream, self.page(mark, after, limit)).await
    }

    async fn reseal_upstream(
        &self,
        token: &SealedBefore,
        sealed: &SealedToken,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let reseal = |kept: &mut KeptUpstream| kept.reseal(token, sealed, now).then_some(());
        let resealing = self.change_upstream(token.session, None, reseal);
        Ok(self.observed(StoreOperation::Upstream, resealing).await?.is_some())
    }
}
