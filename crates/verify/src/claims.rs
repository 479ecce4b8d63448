//! The claims of an access token.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::jws::Text;

/// The claims of an access token that has been verified (RFC 9068 §2.2).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Claims {
    /// `iss`: who issued the token.
    pub issuer: String,
    /// `sub`: the user's id, the same for all of the user's identities.
    pub sub: String,
    /// `aud`: all services that the token is meant for; at least one of them is this one.
    pub audience: Vec<String>,
    /// `roles`: the user's roles when the token was issued.
    pub roles: Vec<String>,
    /// `sid`: the session's id, the same after each refresh.
    pub sid: Option<String>,
    /// `idp`: the provider at which the user signed in.
    pub idp: Option<String>,
    /// `client_id`: the client that the token was issued to.
    pub client_id: Option<String>,
    /// `jti`: the token's own id.
    pub jti: Option<String>,
    /// `iat`: when the token was issued, in seconds since 1970.
    pub issued_at: i64,
    /// `exp`: when the token expires, in seconds since 1970.
    pub expires_at: i64,
    /// `auth_time`: when the user authenticated at the provider, in seconds since 1970.
    pub auth_time: Option<i64>,
    /// `acr`: the class of the authentication, as the provider names it.
    pub acr: Option<String>,
    /// `amr`: the methods of the authentication, as the provider names them.
    pub amr: Vec<String>,
    /// `epoch`: how often all sessions of the user had been ended when this session began.
    pub epoch: Option<u64>,
    /// All other claims, by name: those of `tokens.extra_claims`.
    pub extra: Map<String, Value>,
}

impl Claims {
    /// Whether the user has this role, compared exactly.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|each| each == role)
    }
}

/// The claims of a token, as they were received.
pub(crate) struct Received {
    /// `nbf`, in seconds since 1970.
    pub(crate) not_before: Option<i64>,
    pub(crate) claims: Claims,
}

/// `aud`, `amr`, `roles`: one text or several (RFC 7519 §4.1.3).
struct Texts(Vec<String>);

/// A NumericDate (RFC 7519 §2), which may have a fraction.
struct Seconds(i64);

impl<'de> Deserialize<'de> for Received {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Received;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of an access token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Received, A::Error> {
        let (mut iss, mut sub, mut sid, mut idp) = (None, None, None, None);
        let (mut client_id, mut jti, mut acr, mut epoch) = (None, None, None, None);
        let (mut iat, mut nbf, mut exp, mut auth_time) = (None, None, None, None);
        let (mut aud, mut roles, mut amr) = (None, None, None);
        let mut extra = Map::new();
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "iss" => once(&mut iss, map.next_value::<String>()?)?,
                "sub" => once(&mut sub, map.next_value::<String>()?)?,
                "sid" => once(&mut sid, map.next_value::<String>()?)?,
                "idp" => once(&mut idp, map.next_value::<String>()?)?,
                "client_id" => once(&mut client_id, map.next_value::<String>()?)?,
                "jti" => once(&mut jti, map.next_value::<String>()?)?,
                "acr" => once(&mut acr, map.next_value::<String>()?)?,
                "epoch" => once(&mut epoch, map.next_value::<u64>()?)?,
                "iat" => once(&mut iat, map.next_value::<Seconds>()?.0)?,
                "nbf" => once(&mut nbf, map.next_value::<Seconds>()?.0)?,
                "exp" => once(&mut exp, map.next_value::<Seconds>()?.0)?,
                "auth_time" => once(&mut auth_time, map.next_value::<Seconds>()?.0)?,
                "aud" => once(&mut aud, map.next_value::<Texts>()?.0)?,
                "amr" => once(&mut amr, map.next_value::<Texts>()?.0)?,
                "roles" => once(&mut roles, map.next_value::<Vec<String>>()?)?,
                _ => {
                    let value = map.next_value::<Value>()?;
                    if extra.insert(name.into_owned(), value).is_some() {
                        return Err(twice());
                    }
                }
            }
        }
        let claims = Claims {
            issuer: iss.ok_or_else(|| Error::missing_field("iss"))?,
            sub: sub.ok_or_else(|| Error::missing_field("sub"))?,
            audience: aud.ok_or_else(|| Error::missing_field("aud"))?,
            roles: roles.unwrap_or_default(),
            sid,
            idp,
            client_id,
            jti,
            issued_at: iat.ok_or_else(|| Error::missing_field("iat"))?,
            expires_at: exp.ok_or_else(|| Error::missing_field("exp"))?,
            auth_time,
            acr,
            amr: amr.unwrap_or_default(),
            epoch,
            extra,
        };
        Ok(Received { not_before: nbf, claims })
    }
}

fn once<T, E: Error>(slot: &mut Option<T>, value: T) -> Result<(), E> {
    if slot.replace(value).is_some() { Err(twice()) } else { Ok(()) }
}

fn twice<E: Error>() -> E {
    E::custom("a claim occurs twice")
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrSeveral;
        impl<'de> Visitor<'de> for OneOrSeveral {
            type Value = Texts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }
            fn visit_str<E>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(OneOrSeveral)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Seconds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since 1970")
            }
            fn visit_i64<E>(self, seconds: i64) -> Result<Seconds, E> {
                Ok(Seconds(seconds))
            }
            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds, E> {
                i64::try_from(seconds).map(Seconds).map_err(E::custom)
            }
            #[expect(
                clippy::cast_possible_truncation,
                reason = "saturates, and drops the fraction"
            )]
            fn visit_f64<E>(self, seconds: f64) -> Result<Seconds, E> {
                Ok(Seconds(seconds as i64))
            }
        }
        deserializer.deserialize_any(Number)
    }
}
