//! The faults that can be set, as data.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Habit, IdTokenRecipe, Refusal};

/// How the provider misbehaves; by default, not at all.
///
/// The members of a `…_merge` object replace those of the genuine object; null removes a member.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Faults {
    /// The fault of the discovery endpoint.
    pub discovery: Option<Fault>,
    /// The fault of the JWKS endpoint.
    pub jwks: Option<Fault>,
    /// The fault of the token endpoint.
    pub token: Option<Fault>,
    /// The fault of the userinfo endpoint.
    pub userinfo: Option<Fault>,
    /// How GitHub's endpoint for email addresses answers.
    pub emails: Option<Fault>,
    /// The fault of Microsoft Graph, which Entra's dialect has.
    pub graph: Option<Fault>,
    /// The reason for which the token endpoint refuses every request, worded as the dialect words it.
    /// A code in such a request stays unused.
    pub refusal: Option<Refusal>,
    /// Changes to the discovery document, for example another issuer or another `jwks_uri`.
    pub discovery_merge: Map<String, Value>,
    /// Changes to each genuine key of the JWKS.
    pub jwks_merge: Map<String, Value>,
    /// Keys that the JWKS has besides the genuine ones.
    pub jwks_extra: Vec<Value>,
    /// The JSON that the JWKS endpoint answers instead of a key set.
    pub jwks_replace: Option<Value>,
    /// Changes to the members of a successful token answer; null removes one.
    pub token_merge: Map<String, Value>,
    /// Changes to a successful userinfo answer (GitHub: to `/user`).
    pub userinfo_merge: Map<String, Value>,
    /// How the ID tokens of the token endpoint are made.
    pub id_token: Option<IdTokenRecipe>,
    /// How the JWTs of [`Habit::SignedUserinfo`] are made.
    pub userinfo_token: Option<IdTokenRecipe>,
    /// Habits that are no faults, for all endpoints and tokens.
    pub habits: Vec<Habit>,
}

/// A fault of one endpoint, for some or all of its requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The way in which the endpoint fails.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How many requests the fault affects; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// What an endpoint does instead of its work. [`FaultKind::Delay`] and [`FaultKind::Drip`] also do the
/// work; with all others, a code sent to the token endpoint stays unused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// Answers properly after a delay.
    Delay {
        /// The delay before the work begins, in milliseconds.
        ms: u64,
    },
    /// Accepts the request and never answers.
    Hang,
    /// Answers 307, which asks the client to repeat the request, with its secrets, at another URL.
    Redirect {
        /// The value of the header `Location`.
        to: String,
    },
    /// Answers 200 with a body of spaces and without `Content-Length`.
    Huge {
        /// The length of the body in bytes; endless if absent.
        #[serde(default)]
        bytes: Option<u64>,
    },
    /// Answers properly, one byte at a time.
    Drip {
        /// The delay before each byte, in milliseconds.
        interval_ms: u64,
    },
    /// Answers with this status and body.
    Status {
        /// The status; a number that is no HTTP status becomes 500.
        status: u16,
        /// The body of the answer.
        #[serde(default)]
        body: String,
    },
    /// Answers 200 with this body and content type.
    Body {
        /// The body of the answer.
        body: String,
        /// The value of the header `Content-Type`.
        #[serde(default = "json")]
        content_type: String,
    },
    /// Closes the connection without an answer.
    Close,
}

impl FaultKind {
    /// Limits the fault to the next `count` requests.
    pub fn times(self, count: u32) -> Fault {
        Fault { kind: self, times: Some(count) }
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self { kind, times: None }
    }
}

/// The fault for the current request, if any requests are left for it; counts them down.
pub(crate) fn take_due(fault: &mut Option<Fault>) -> Option<FaultKind> {
    let fault = fault.as_mut()?;
    match &mut fault.times {
        None => Some(fault.kind.clone()),
        Some(0) => None,
        Some(left) => {
            *left -= 1;
            Some(fault.kind.clone())
        }
    }
}

/// Replaces members of `genuine` by those of `changes`; null removes a member.
pub(crate) fn merge(genuine: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        if value.is_null() {
            genuine.remove(name);
        } else {
            genuine.insert(name.clone(), value.clone());
        }
    }
}

fn json() -> String {
    "application/json".into()
}
