//! Signs the tokens of a session and dresses them for delivery.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::model::{
    AccessClaims, AccessGrant, ProviderId, RefreshClaims, RefreshState, Session, SessionId,
    Timestamp, UserId,
};
use crate::ports::{CookiePolicy, Entropy, SessionTokens, TokenSigner};
use crate::{AuthError, SetCookie, SignedToken, TokenHash};

/// The way in which a client gets its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenDelivery {
    /// Two HttpOnly cookies; the refresh token is not in the body.
    #[default]
    Cookie,
    /// Both tokens in the body of the answer and no cookies, for native apps.
    Body,
}

/// A session's tokens and cookies, ready to be answered.
#[derive(Debug)]
pub struct IssuedTokens {
    /// The provider the session was opened with.
    pub provider: ProviderId,
    /// The user the tokens are for.
    pub user: UserId,
    /// The session the tokens belong to.
    pub session: SessionId,
    /// The signed access token.
    pub access: SignedToken,
    /// The remaining life of the access token.
    pub access_expires_in: Duration,
    /// The signed refresh token.
    pub refresh: SignedToken,
    /// The remaining life of the refresh token.
    pub refresh_expires_in: Duration,
    /// The access cookie and the refresh cookie; `None` where the body delivers the tokens.
    pub cookies: Option<[SetCookie; 2]>,
    /// Whether the session went on from a refresh token that was newer than it: the store has lost what it had
    /// acknowledged.
    pub has_followed: bool,
}

/// Room in an access token's cookie that is left free when its claims are not known yet: for a longer
/// provider id than the measured one, and for a key with longer signatures.
const SPARE_BYTES: usize = 768;

/// Everything that has to do with signing, and nothing that has to do with storing.
#[derive(Clone)]
pub(crate) struct Mint {
    pub(crate) signer: Arc<dyn TokenSigner>,
    pub(crate) cookies: Arc<dyn CookiePolicy>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The life of an access token.
    pub(crate) access_ttl: Duration,
    /// The life of a refresh token: the idle limit of a session.
    pub(crate) refresh_ttl: Duration,
    /// The length in bytes of an access token without roles and claims of a person, once measured.
    pub(crate) bare_access_bytes: OnceLock<usize>,
}

/// The session that tokens are signed for.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) provider: &'a ProviderId,
    /// The session epoch of the user that the session was opened with.
    pub(crate) epoch: u64,
    pub(crate) grant: &'a AccessGrant,
    pub(crate) absolute_expires_at: Timestamp,
}

impl<'a> Subject<'a> {
    /// The subject of a stored session's tokens.
    pub(crate) fn of(session: &'a Session) -> Self {
        Self {
            user: session.user,
            session: session.id,
            provider: &session.provider,
            epoch: session.epochs.user,
            grant: &session.grant,
            absolute_expires_at: session.absolute_expires_at,
        }
    }
}

impl Mint {
    /// A new refresh token, and the state it can be minted from again.
    pub(crate) fn refresh(
        &self,
        user: UserId,
        session: SessionId,
        generation: u64,
        absolute_expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<(SignedToken, RefreshState), AuthError> {
        let mut state = RefreshState {
            generation,
            hash: TokenHash::of(""),
            key_id: self.signer.refresh_key_id()?,
            issued_at: now,
            expires_at: RefreshState::expiry(now, self.refresh_ttl, absolute_expires_at),
        };
        let token = self.sign_refresh(user, session, &state)?;
        state.hash = TokenHash::of(token.expose());
        Ok((token, state))
    }

    /// The refresh token of this state, byte for byte as it was.
    pub(crate) fn refresh_again(
        &self,
        user: UserId,
        session: SessionId,
        state: &RefreshState,
    ) -> Result<SignedToken, AuthError> {
        let token = self.sign_refresh(user, session, state)?;
        if TokenHash::of(token.expose()) == state.hash {
            return Ok(token);
        }
        // Never hand out a second token of one generation.
        Err(crate::ports::SigningError::Failed(format!(
            "refresh token {} of session {session} comes out different; was tokens.issuer changed?",
            state.generation
        ).into())
        .into())
    }

    fn sign_refresh(
        &self,
        user: UserId,
        session: SessionId,
        state: &RefreshState,
    ) -> Result<SignedToken, AuthError> {
        Ok(self.signer.sign_refresh(&RefreshClaims {
            subject: user,
            session,
            generation: state.generation,
            key_id: &state.key_id,
            issued_at: state.issued_at,
            expires_at: state.expires_at,
        })?)
    }

    /// A new access token beside this refresh token, both ready to be delivered.
    pub(crate) fn deliver(
        &self,
        subject: Subject<'_>,
        refresh: SignedToken,
        refresh_expires_at: Timestamp,
        delivery: TokenDelivery,
        now: Timestamp,
    ) -> Result<IssuedTokens, AuthError> {
        let claims = AccessClaims {
            subject: subject.user,
            session: subject.session,
            token_id: u128::from_be_bytes(self.entropy.bytes()),
            provider: subject.provider,
            epoch: subject.epoch,
            grant: subject.grant,
            issued_at: now,
            expires_at: (now + self.access_ttl).min(subject.absolute_expires_at),
        };
        let access = self.signer.sign_access(&claims)?;
        let access_expires_in = span(now, claims.expires_at);
        let refresh_expires_in = span(now, refresh_expires_at);
        let cookies = match delivery {
            TokenDelivery::Body => None,
            TokenDelivery::Cookie => Some(self.cookies(
                &claims,
                &access,
                access_expires_in,
                &refresh,
                refresh_expires_in,
            )?),
        };
        Ok(IssuedTokens {
            provider: subject.provider.clone(),
            user: subject.user,
            session: subject.session,
            access,
            access_expires_in,
            refresh,
            refresh_expires_in,
            cookies,
            has_followed: false,
        })
    }

    /// The most bytes that a session's grant may take in the store if its tokens are to fit for
    /// certain beside this refresh token; `None` where there is no limit.
    ///
    /// The bytes in the store may be half of those in the token ([`RefreshTokenRepo::exchange`]), where
    /// base64url makes four of three.
    ///
    /// [`RefreshTokenRepo::exchange`]: crate::ports::RefreshTokenRepo::exchange
    pub(crate) fn grant_limit(
        &self,
        refresh: &SignedToken,
        delivery: TokenDelivery,
        now: Timestamp,
    ) -> Result<Option<u32>, AuthError> {
        if delivery == TokenDelivery::Body {
            return Ok(None);
        }
        let [longest_access, longest_refresh] = self.cookies.longest_tokens();
        if refresh.expose().len() > longest_refresh {
            return Ok(Some(0));
        }
        let room = longest_access.saturating_sub(self.bare_access_bytes(now)? + SPARE_BYTES);
        Ok(Some(u32::try_from(room / 4 * 3 / 2).unwrap_or(u32::MAX)))
    }

    fn bare_access_bytes(&self, now: Timestamp) -> Result<usize, AuthError> {
        if let Some(bytes) = self.bare_access_bytes.get() {
            return Ok(*bytes);
        }
        let nobody = UserId::from_uuid(uuid::Uuid::nil());
        let grant = AccessGrant {
            roles: vec![],
            auth_time: now,
            acr: None,
            amr: vec![],
            extra: BTreeMap::new(),
        };
        let bare = self.signer.sign_access(&AccessClaims {
            subject: nobody,
            session: SessionId::from_uuid(uuid::Uuid::nil()),
            token_id: 0,
            provider: &ProviderId::new(""),
            epoch: u64::MAX,
            grant: &grant,
            issued_at: now,
            expires_at: now,
        })?;
        Ok(*self.bare_access_bytes.get_or_init(|| bare.expose().len()))
    }

    fn cookies(
        &self,
        claims: &AccessClaims<'_>,
        access: &SignedToken,
        access_max_age: Duration,
        refresh: &SignedToken,
        refresh_max_age: Duration,
    ) -> Result<[SetCookie; 2], AuthError> {
        let tokens = SessionTokens { access, access_max_age, refresh, refresh_max_age };
        self.cookies.session_cookies(tokens).map_err(|source| {
            let (claim, claim_bytes) = claims.largest();
            AuthError::TokenTooLarge { source, claim: claim.to_owned(), claim_bytes }
        })
    }
}

fn span(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_secs(to.as_unix().saturating_sub(from.as_unix()).try_into().unwrap_or_default())
}
