//! Whether a refresh token would be accepted, without using it.

use super::RefreshSession;
use crate::model::{PresentedRefresh, Rotation, Session, Timestamp, Verdict};
use crate::ports::{StoreError, VerifiedRefresh};
use crate::{PresentedToken, TokenHash};

impl RefreshSession {
    /// The session of a refresh token with these claims, if [`refresh`](Self::refresh) would answer the
    /// token now. Changes nothing; neither the roles nor the provider are asked.
    pub(crate) async fn would_accept(
        &self,
        token: &PresentedToken,
        claims: &VerifiedRefresh,
    ) -> Result<Option<Session>, StoreError> {
        let now = Timestamp::from(self.ports.clock.now());
        if claims.expires_at <= now {
            return Ok(None);
        }
        let Some(found) = self.ports.sessions.find(claims.session).await? else { return Ok(None) };
        let rotation = Rotation {
            session: claims.session,
            user: claims.subject,
            presented: PresentedRefresh {
                generation: claims.generation,
                hash: TokenHash::of(token.expose()),
            },
            // One that does not fit: none is signed for a question.
            successor: found.session.refresh.clone(),
            roles: None,
            idle_expires_at: now,
            now,
            replay: self.replay(true),
        };
        Ok(match rotation.judge(&found.session, found.standing, found.rotated_ago) {
            Verdict::Rotate
            | Verdict::Remint
            | Verdict::Replay
            | Verdict::Supersede
            | Verdict::Follow => Some(found.session),
            Verdict::Reuse
            | Verdict::UserDisabled
            | Verdict::Revoked(_)
            | Verdict::Expired
            | Verdict::Ahead
            | Verdict::Unknown => None,
        })
    }
}
