//! The faults that can be ordered, as data.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{IdTokenRecipe, Refusal};

/// How the provider misbehaves from now on; the default is not at all.
///
/// A `…_merge` object is laid over the genuine one, member by member; null removes a member.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Faults {
    /// How the discovery endpoint answers.
    pub discovery: Option<Fault>,
    /// How the JWKS endpoint answers.
    pub jwks: Option<Fault>,
    /// How the token endpoint answers.
    pub token: Option<Fault>,
    /// How the userinfo endpoint answers.
    pub userinfo: Option<Fault>,
    /// How GitHub's list of addresses answers.
    pub emails: Option<Fault>,
    /// How Microsoft Graph answers.
    pub graph: Option<Fault>,
    /// Why the token endpoint refuses whatever it is asked, in the dialect's words. A code sent to
    /// it stays unused.
    pub refusal: Option<Refusal>,
    /// Changes to the discovery document: another issuer, another `jwks_uri`.
    pub discovery_merge: Map<String, Value>,
    /// Changes to each genuine key of the JWKS.
    pub jwks_merge: Map<String, Value>,
    /// Keys published besides the genuine one.
    pub jwks_extra: Vec<Value>,
    /// What the JWKS endpoint answers instead of a key set.
    pub jwks_replace: Option<Value>,
    /// Changes to a successful token answer.
    pub token_merge: Map<String, Value>,
    /// Changes to a successful userinfo answer (GitHub: to `/user`).
    pub userinfo_merge: Map<String, Value>,
    /// How the ID tokens of the token endpoint are made.
    pub id_token: Option<IdTokenRecipe>,
}

/// A fault of one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// To how many requests, if not to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// What an endpoint does instead of its work. Only [`FaultKind::Delay`] and [`FaultKind::Drip`] do
/// the work as well: under all others a code sent to the token endpoint stays unused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FaultKind {
    /// Answers properly, later.
    Delay {
        /// Milliseconds before the work is begun.
        ms: u64,
    },
    /// Takes the request and never answers.
    Hang,
    /// Answers 307, which asks the client to send the very same request, secrets and all, there.
    Redirect {
        /// `Location`
        to: String,
    },
    /// Answers 200 with a body of spaces and no length.
    Huge {
        /// How many; no end to them if none is given.
        #[serde(default)]
        bytes: Option<u64>,
    },
    /// Answers properly, one byte at a time.
    Drip {
        /// Milliseconds before each byte.
        interval_ms: u64,
    },
    /// Answers with this status.
    Status {
        /// The status; one that HTTP does not know becomes 500.
        status: u16,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// Answers 200 with this body.
    Body {
        /// The body.
        body: String,
        /// `Content-Type`
        #[serde(default = "json")]
        content_type: String,
    },
    /// Closes the connection without an answer.
    Close,
}

impl FaultKind {
    /// This fault for the first `count` requests alone.
    pub fn times(self, count: u32) -> Fault {
        Fault { kind: self, times: Some(count) }
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self { kind, times: None }
    }
}

/// Takes what is due now from an ordered fault, and counts it down.
pub(crate) fn take_due(ordered: &mut Option<Fault>) -> Option<FaultKind> {
    let fault = ordered.as_mut()?;
    match &mut fault.times {
        None => Some(fault.kind.clone()),
        Some(0) => None,
        Some(left) => {
            *left -= 1;
            Some(fault.kind.clone())
        }
    }
}

/// Lays `changes` over `genuine`, member by member; null removes a member.
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
