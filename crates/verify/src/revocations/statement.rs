//! One message of the feed: a signed JWT with events.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::Refusal;
use crate::jws::{HeaderBuffer, Jws};
use crate::key::Algorithm;
use crate::keys::Keys;

/// By how much the clocks of Mintgate and this service may differ, in seconds.
const LEEWAY: i64 = 60;

/// Which messages are genuine.
pub(super) struct Expected {
    pub(super) issuer: String,
    /// The `aud` of the messages.
    pub(super) client: String,
    pub(super) algorithms: Vec<Algorithm>,
}

/// The claims of a message whose signature has been verified.
pub(super) struct Statement {
    /// The place in the log after which the events are; empty for the beginning.
    pub(super) after: String,
    /// The place behind the events.
    pub(super) cursor: String,
    /// Whether more events are known to follow.
    pub(super) more: bool,
    pub(super) issued_at: i64,
}

/// What has ended, and from when on no token of it is left, in seconds since 1970.
pub(super) struct Event<'a> {
    pub(super) revoked: Revoked<'a>,
    pub(super) forget_after: i64,
}

pub(super) enum Revoked<'a> {
    Session(Cow<'a, str>),
    /// The user's tokens with an `epoch` below this one.
    User {
        sub: Cow<'a, str>,
        epoch: u64,
    },
    /// All tokens issued before this time, in seconds since 1970.
    IssuedBefore(i64),
}

/// Why a message is not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unacceptable {
    /// Its key has to be fetched first.
    #[error("the key of the message is not known")]
    UnknownKey,
    #[error("the message is no statement about revocations: {0}")]
    Odd(&'static str),
    #[error("the message was issued {0} s ago by this host's clock")]
    OtherTime(i64),
}

#[derive(Deserialize)]
struct Claims<'a> {
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    aud: Cow<'a, str>,
    iat: i64,
    after: String,
    cursor: String,
    #[serde(default)]
    more: bool,
    #[serde(borrow)]
    events: Vec<RawEvent<'a>>,
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(borrow)]
    sid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sub: Option<Cow<'a, str>>,
    epoch: Option<u64>,
    issued_before: Option<i64>,
    forget_after: i64,
}

impl Expected {
    /// Verifies a message, and calls `add` with its events.
    pub(super) fn read(
        &self,
        message: &str,
        keys: &Keys,
        now: i64,
        add: impl FnOnce(&Statement, &[Event<'_>]),
    ) -> Result<Statement, Unacceptable> {
        let odd = |_| Unacceptable::Odd("it is no signed JWT");
        let jws = Jws::split(message).map_err(odd)?;
        let mut buffer = HeaderBuffer::new();
        let header = jws.header(&mut buffer).map_err(odd)?;
        let algorithm = Algorithm::by_name(&header.algorithm);
        let algorithm = algorithm.filter(|it| self.algorithms.contains(it));
        let (Some(algorithm), true, false) =
            (algorithm, header.is_type("revocations+jwt"), header.is_critical)
        else {
            return Err(Unacceptable::Odd("its header is another one"));
        };
        let verified = keys.with(header.kid.as_deref(), algorithm, |key| {
            jws.with_signature(|it| key.verifies(algorithm, jws.signed.as_bytes(), it))
        });
        verified.map_err(|refusal| match refusal {
            Refusal::NoKeys | Refusal::KeyNotFetched => Unacceptable::UnknownKey,
            _ => Unacceptable::Odd("its signature is wrong"),
        })?;
        let payload = URL_SAFE_NO_PAD
            .decode(jws.payload)
            .map_err(|_| Unacceptable::Odd("its claims cannot be decoded"))?;
        let claims: Claims<'_> = serde_json::from_slice(&payload)
            .map_err(|_| Unacceptable::Odd("its claims have another form"))?;
        if claims.iss != self.issuer || claims.aud != self.client {
            return Err(Unacceptable::Odd("it is for somebody else"));
        }
        // An old message, replayed by somebody in between, would hide what has ended since.
        let age = now.saturating_sub(claims.iat);
        if !(-LEEWAY..=LEEWAY).contains(&age) {
            return Err(Unacceptable::OtherTime(age));
        }
        let events: Option<Vec<_>> = claims.events.into_iter().map(RawEvent::meaning).collect();
        let events = events.ok_or(Unacceptable::Odd("it has an event of another kind"))?;
        let statement = Statement {
            after: claims.after,
            cursor: claims.cursor,
            more: claims.more,
            issued_at: claims.iat,
        };
        add(&statement, &events);
        Ok(statement)
    }
}

impl<'a> RawEvent<'a> {
    fn meaning(self) -> Option<Event<'a>> {
        let revoked = match (self.sid, self.sub, self.epoch, self.issued_before) {
            (Some(sid), None, None, None) => Revoked::Session(sid),
            (None, Some(sub), Some(epoch), None) => Revoked::User { sub, epoch },
            (None, None, None, Some(time)) => Revoked::IssuedBefore(time),
            _ => return None,
        };
        Some(Event { revoked, forget_after: self.forget_after })
    }
}
