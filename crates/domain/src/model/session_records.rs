//! What stores keep beside sessions, for stores that hold it as values and not as rows of SQL.

use std::time::Duration;

use super::{IdempotencyKey, SealedToken, SessionId, Timestamp, UpstreamTokens};
use crate::ports::{
    ClaimedUpstream, Holder, Reserved, SealedBefore, UpstreamDue, UpstreamRenewal,
    UpstreamTokenKind,
};

/// A provider's tokens as a store keeps them ([`UpstreamTokenRepo`](crate::ports::UpstreamTokenRepo)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptUpstream {
    /// The sealed tokens.
    pub tokens: UpstreamTokens,
    /// The time at which their provider was asked last.
    pub asked_at: Timestamp,
    /// Until when one caller alone asks.
    pub claimed_until: Option<Timestamp>,
}

impl KeptUpstream {
    /// Tokens that a sign-in brought at `now`; `None` if it brought none.
    pub fn brought(tokens: UpstreamTokens, now: Timestamp) -> Option<Self> {
        let is_empty = tokens.is_empty();
        (!is_empty).then_some(Self { tokens, asked_at: now, claimed_until: None })
    }

    /// The refresh token for one caller until `lease`, as
    /// [`claim_upstream`](crate::ports::UpstreamTokenRepo::claim_upstream) says.
    pub fn claim(
        &mut self,
        due: UpstreamDue,
        now: Timestamp,
        lease: Timestamp,
    ) -> Option<ClaimedUpstream> {
        let is_claimed = self.claimed_until.is_some_and(|until| now < until);
        let is_due = match due {
            UpstreamDue::Recheck(at) => self.asked_at <= at,
            UpstreamDue::Access(at) => {
                self.tokens.access.as_ref().is_none_or(|access| access.is_due(at))
            }
        };
        if is_claimed || !is_due {
            return None;
        }
        let refresh = self.tokens.refresh.clone()?;
        self.claimed_until = Some(lease);
        Some(ClaimedUpstream { refresh, asked_at: self.asked_at })
    }

    /// Ends the claim, and gives the tokens, if their refresh token is still this one.
    pub fn unclaim(&mut self, shown: &SealedToken) -> Option<&mut UpstreamTokens> {
        if self.tokens.refresh.as_ref() != Some(shown) {
            return None;
        }
        self.claimed_until = None;
        Some(&mut self.tokens)
    }

    /// Takes over what the provider said, and ends the claim. A token stays where there is no new one.
    pub fn keep(&mut self, renewal: &UpstreamRenewal) {
        let UpstreamTokens { refresh, id, access } = renewal.tokens.clone();
        let kept = &mut self.tokens;
        kept.refresh = refresh.or(kept.refresh.take());
        kept.id = id.or(kept.id.take());
        kept.access = access.or(kept.access.take());
        (self.asked_at, self.claimed_until) = (renewal.at, None);
    }

    /// The tokens that do not begin with this mark
    /// ([`sealed_before`](crate::ports::UpstreamTokenRepo::sealed_before)).
    pub fn sealed_before(&self, session: SessionId, mark: &str) -> Vec<SealedBefore> {
        let UpstreamTokens { refresh, id, access } = &self.tokens;
        let kinds = [
            (UpstreamTokenKind::Refresh, refresh.as_ref()),
            (UpstreamTokenKind::Id, id.as_ref()),
            (UpstreamTokenKind::Access, access.as_ref().map(|access| &access.sealed)),
        ];
        let tokens = kinds.into_iter().filter_map(|(kind, sealed)| {
            let sealed = sealed.filter(|sealed| !sealed.0.starts_with(mark))?.clone();
            Some(SealedBefore { session, kind, sealed })
        });
        tokens.collect()
    }

    /// Replaces a token by the same one, sealed anew, as
    /// [`reseal_upstream`](crate::ports::UpstreamTokenRepo::reseal_upstream) says.
    pub fn reseal(&mut self, token: &SealedBefore, sealed: &SealedToken, now: Timestamp) -> bool {
        let is_claimed = self.claimed_until.is_some_and(|until| now < until);
        let UpstreamTokens { refresh, id, access } = &mut self.tokens;
        let kept = match token.kind {
            UpstreamTokenKind::Refresh => refresh.as_mut().filter(|_| !is_claimed),
            UpstreamTokenKind::Id => id.as_mut(),
            UpstreamTokenKind::Access => access.as_mut().map(|access| &mut access.sealed),
        };
        let kept = kept.filter(|kept| **kept == token.sealed);
        kept.map(|kept| kept.clone_from(sealed)).is_some()
    }
}

/// An idempotency key that is reserved ([`IdempotencyRecords`](crate::ports::IdempotencyRecords)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// The request that it is reserved for.
    pub request: IdempotencyKey,
    /// The caller that it is reserved for.
    pub holder: Holder,
    /// When it ends if it is not given back.
    pub until: Timestamp,
}

impl Reservation {
    /// The answer to another caller, or to another request with the same key; `None` once this has ended,
    /// and for the same again.
    pub fn refuses(
        &self,
        request: &IdempotencyKey,
        holder: &Holder,
        now: Timestamp,
    ) -> Option<Reserved> {
        let is_own = (&self.request, &self.holder) == (request, holder);
        (now < self.until && !is_own).then_some(Reserved::ByAnother(Some(self.request.body)))
    }
}

/// Who holds a duty, as a store without a language of its own keeps it ([`Duties`](crate::ports::Duties)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DutyRecord {
    held_until: Option<Timestamp>,
    ended_at: Option<Timestamp>,
}

impl DutyRecord {
    /// Takes the duty for `lease`; `false` if another holds it, or has ended a round less than `every` ago.
    pub fn claim(&mut self, now: Timestamp, lease: Duration, every: Duration) -> bool {
        let is_held = self.held_until.is_some_and(|until| now < until);
        let was_done = self.ended_at.is_some_and(|at| now < at + every);
        let claims = !is_held && !was_done;
        if claims {
            self.held_until = Some(now + lease);
        }
        claims
    }

    /// When the last round ended; `None` if there never was one.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    /// Gives the duty back after a round.
    pub fn end(&mut self, now: Timestamp) {
        *self = Self { held_until: None, ended_at: Some(now) };
    }
}
