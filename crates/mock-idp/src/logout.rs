//! Logout tokens (OpenID Connect Back-Channel Logout 1.0 §2.4), valid and invalid. The mock does not
//! send them: a test posts them to the relying party as the form parameter `logout_token`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::ambient::{now_secs, random_text};
use crate::dialect::reshape;
use crate::faults::merge;
use crate::id_token::{self, Issuance};
use crate::shared::Shared;
use crate::{Habit, IdTokenRecipe, SignIn, SignWith};

/// The content of a logout token (OIDC Back-Channel Logout §2.4).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct LogoutOrder {
    /// The user and the client; with `sid`, one session of the user.
    pub sign_in: SignIn,
    /// Leaves `sub` out, so that only `sid` names the session.
    pub without_sub: bool,
    /// The rule that the token breaks, if any.
    pub fault: Option<LogoutTokenFault>,
    /// Further changes to the claims; null removes a claim.
    pub claims: Map<String, Value>,
}

/// A rule of OIDC Back-Channel Logout §2.4 or §2.6 that a logout token breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogoutTokenFault {
    /// The claim `events` is missing.
    NoEvents,
    /// The claim `events` names another event.
    OtherEvent,
    /// The value of the event is not an object.
    EventIsText,
    /// The token has a `nonce`, as an ID token may.
    WithNonce,
    /// The claims `sub` and `sid` are both missing.
    NeitherSubNorSid,
    /// The claim `iss` names another provider.
    OtherIssuer,
    /// The claim `aud` names another client.
    OtherAudience,
    /// The time `exp` has passed.
    Expired,
    /// The claim `iat` is missing.
    NoIat,
    /// The time `iat` is in the future.
    FutureIat,
    /// The claim `jti` is missing.
    NoJti,
    /// `typ` is that of an access token.
    AccessTokenType,
    /// The header's `alg` is `none`, and the signature is empty.
    Unsigned,
    /// An attacker's key signs, with the genuine key id.
    AttackerKey,
    /// The signature is HS256, keyed with the client's secret.
    HmacWithClientSecret,
}

impl LogoutTokenFault {
    /// Every fault of a logout token.
    pub const ALL: [Self; 15] = [
        Self::NoEvents,
        Self::OtherEvent,
        Self::EventIsText,
        Self::WithNonce,
        Self::NeitherSubNorSid,
        Self::OtherIssuer,
        Self::OtherAudience,
        Self::Expired,
        Self::NoIat,
        Self::FutureIat,
        Self::NoJti,
        Self::AccessTokenType,
        Self::Unsigned,
        Self::AttackerKey,
        Self::HmacWithClientSecret,
    ];

    /// The changes that the fault makes to the claims.
    fn claims(self, now: i64) -> Value {
        match self {
            Self::NoEvents => json!({ "events": null }),
            Self::OtherEvent => {
                json!({ "events": { "http://schemas.openid.net/event/other": {} } })
            }
            Self::EventIsText => json!({ "events": { EVENT: "" } }),
            Self::WithNonce => json!({ "nonce": "n-0S6" }),
            Self::NeitherSubNorSid => json!({ "sub": null, "sid": null }),
            Self::OtherIssuer => json!({ "iss": "https://other.example.com" }),
            Self::OtherAudience => json!({ "aud": "another-client" }),
            Self::Expired => json!({ "iat": now - 7200, "exp": now - 3600 }),
            Self::NoIat => json!({ "iat": null }),
            Self::FutureIat => json!({ "iat": now + 3600, "exp": now + 7200 }),
            Self::NoJti => json!({ "jti": null }),
            Self::AccessTokenType
            | Self::Unsigned
            | Self::AttackerKey
            | Self::HmacWithClientSecret => Value::Null,
        }
    }

    fn sign(self) -> SignWith {
        match self {
            Self::Unsigned => SignWith::Unsigned,
            Self::AttackerKey => SignWith::AttackerKeySameKid,
            Self::HmacWithClientSecret => SignWith::HmacWithClientSecret,
            _ => SignWith::Genuine,
        }
    }
}

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// How long a logout token is valid; §2.4 recommends at most two minutes.
const LIFE_SECS: i64 = 120;

pub(crate) fn make(shared: &Shared, order: &LogoutOrder) -> String {
    let now = now_secs();
    let user = shared.config.user(&order.sign_in.user);
    let subject = shared.subject(&user, &order.sign_in);
    // Provider, user and client are named as in the ID tokens of the dialect.
    let id_token = id_token::claims(&subject, &Issuance { now, auth_time: now, at_hash: None });
    let mut claims = Map::new();
    let genuine = json!({
        "iss": id_token.get("iss"),
        "aud": id_token.get("aud"),
        "sub": if order.without_sub { None } else { id_token.get("sub") },
        "sid": order.sign_in.sid,
        "iat": now,
        "exp": now + LIFE_SECS,
        "jti": random_text::<16>(),
        "events": { EVENT: {} },
    });
    reshape(&mut claims, &genuine);
    {
        let state = shared.state();
        state.habits().claims(&mut claims);
        if state.habits().has(Habit::LogoutWithoutExp) {
            claims.remove("exp");
        }
    }
    if let Some(fault) = order.fault {
        reshape(&mut claims, &fault.claims(now));
    }
    merge(&mut claims, &order.claims);

    let typ = match order.fault {
        Some(LogoutTokenFault::AccessTokenType) => "at+jwt",
        _ => "logout+jwt",
    };
    let mut recipe = IdTokenRecipe {
        sign: order.fault.map_or(SignWith::Genuine, LogoutTokenFault::sign),
        ..IdTokenRecipe::default()
    };
    recipe.header.insert("typ".into(), typ.into());
    let keys = shared.state().keys.clone();
    shared.sign_as_it_is(claims, &recipe, &keys, &order.sign_in.client_id)
}
