//! The audit log, and what it explains, as JSON.

use std::collections::BTreeMap;

use mintgate_domain::model::{AuditEntry, ExportedHead, SessionId};
use mintgate_domain::{AuditVerdict, PersonExplanation, RoleOrigin, SessionExplanation};
use serde::Serialize;
use utoipa::ToSchema;

use super::{SessionBody, UserBody, date};

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntryBody {
    /// The place in the log: 1, 2, 3 and so on.
    pub sequence: u64,
    /// The time of the event, RFC 3339 in UTC.
    pub at: String,
    /// The kind of event, such as `login`.
    pub kind: &'static str,
    /// Who did it: `user`, `provider:ID`, `client:ID`, `token:NAME`, `operator:ACCOUNT` or `service`.
    pub actor: String,
    /// The user whom it is about.
    #[schema(required)]
    pub user: Option<String>,
    /// The session that it is about.
    #[schema(required)]
    pub session: Option<String>,
    /// The id of the request, which its caller may have chosen.
    #[schema(required)]
    pub request_id: Option<String>,
    /// Our own id of the request's trace.
    #[schema(required)]
    pub trace_id: Option<String>,
    /// The issuer of the identity that it is about.
    #[schema(required)]
    pub issuer: Option<String>,
    /// The subject at that issuer.
    #[schema(required)]
    pub subject: Option<String>,
    /// The network of whoever asked: an IPv4 /24 or an IPv6 /48.
    #[schema(required)]
    pub network: Option<String>,
    /// The user agent of whoever asked.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// What else there is to know.
    pub details: BTreeMap<String, String>,
    /// Whether it was written late, because the log could not be written when it happened.
    pub late: bool,
    /// Whether subject, network and user agent were erased with their person.
    pub erased: bool,
    /// The proof of this entry and of all before it.
    pub proof: String,
}

impl From<&AuditEntry> for AuditEntryBody {
    fn from(entry: &AuditEntry) -> Self {
        let event = &entry.event;
        let head = ExportedHead { sequence: entry.sequence, mac: entry.mac }.to_string();
        let proof = head.split_once(':').map_or("", |(_, proof)| proof).to_owned();
        Self {
            sequence: entry.sequence,
            at: date(event.at),
            kind: event.kind.name(),
            actor: event.actor.to_string(),
            user: event.user.map(|id| id.to_string()),
            session: event.session.map(|id| id.to_string()),
            request_id: event.request_id.clone(),
            trace_id: event.trace_id.clone(),
            issuer: event.issuer.clone(),
            subject: event.personal.subject.clone(),
            network: event.personal.network.clone(),
            user_agent: event.personal.user_agent.clone(),
            details: event.details.clone(),
            late: entry.is_late,
            erased: entry.is_erased(),
            proof,
        }
    }
}

/// The last line of an export.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AuditHeadBody {
    /// The end of the log, as `SEQUENCE:PROOF`.
    pub head: String,
}

impl From<&ExportedHead> for AuditHeadBody {
    fn from(head: &ExportedHead) -> Self {
        Self { head: head.to_string() }
    }
}

/// Whether the audit log is as it was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditVerdictBody {
    /// Whether no entry was changed, removed or added.
    pub clean: bool,
    /// What is wrong, as a sentence; null if nothing is.
    pub fault: Option<String>,
    /// How many entries were read.
    pub read: u64,
    /// The first entry that was read: those before it were deleted because they were old.
    pub from: u64,
    /// Whether the entries are proven with a key.
    pub keyed: bool,
    /// The end of the log, as `SEQUENCE:PROOF`.
    pub head: String,
}

impl From<&AuditVerdict> for AuditVerdictBody {
    fn from(verdict: &AuditVerdict) -> Self {
        Self {
            clean: verdict.fault.is_none(),
            fault: verdict.fault.as_ref().map(ToString::to_string),
            read: verdict.read,
            from: verdict.from,
            keyed: verdict.is_keyed,
            head: verdict.head.to_string(),
        }
    }
}

/// Entries of the audit log that explain something.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct EntriesBody {
    /// The entries, in order; at most 200.
    pub entries: Vec<AuditEntryBody>,
}

impl From<&[AuditEntry]> for EntriesBody {
    fn from(entries: &[AuditEntry]) -> Self {
        Self { entries: entries.iter().map(AuditEntryBody::from).collect() }
    }
}

/// Why a session ended, or that it lives.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionExplanationBody {
    /// The session, as far as it is known.
    #[serde(flatten)]
    pub session: SessionBody,
    /// The entry of the audit log that ended it; null if there is none.
    #[schema(required)]
    pub ended_by: Option<AuditEntryBody>,
    /// What the audit log knows of the session, in order; at most 200 entries.
    pub entries: Vec<AuditEntryBody>,
}

impl From<&SessionExplanation> for SessionExplanationBody {
    fn from(explained: &SessionExplanation) -> Self {
        let known = match (&explained.record, &explained.deleted) {
            (Some(record), _) => SessionBody::from(record),
            (None, Some(deleted)) => SessionBody::deleted(explained.id, deleted),
            (None, None) => SessionBody::unknown(explained.id),
        };
        let end = explained.end;
        let session = SessionBody {
            user: explained.user.map(|user| user.to_string()),
            ended_at: end.and_then(|end| end.at).map(date),
            end_reason: end.map(|end| end.reason.name()),
            ..known
        };
        Self {
            session,
            ended_by: explained.ended_by.as_ref().map(AuditEntryBody::from),
            entries: explained.entries.iter().map(AuditEntryBody::from).collect(),
        }
    }
}

/// Why a person has a role.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleOriginBody {
    /// The role's name.
    pub role: String,
    /// Whether it was granted in the store.
    pub granted: bool,
    /// The entry by which it was granted; null if there is none.
    #[schema(required)]
    pub granted_by: Option<AuditEntryBody>,
    /// The live sessions to which the rules gave it.
    pub by_rules: Vec<String>,
    /// The live sessions that have it for another reason.
    pub otherwise: Vec<String>,
}

impl From<&RoleOrigin> for RoleOriginBody {
    fn from(origin: &RoleOrigin) -> Self {
        let ids = |ids: &[SessionId]| ids.iter().map(ToString::to_string).collect();
        Self {
            role: origin.role.as_str().to_owned(),
            granted: origin.is_granted,
            granted_by: origin.granted_by.as_ref().map(AuditEntryBody::from),
            by_rules: ids(&origin.by_rules),
            otherwise: ids(&origin.otherwise),
        }
    }
}

/// Why a person can do what they can, and why not.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonExplanationBody {
    /// The user, whose members stand beside the others.
    #[serde(flatten)]
    pub user: UserBody,
    /// Each role that the person has.
    pub roles: Vec<RoleOriginBody>,
    /// The entries by which the person was denied a login; the last 200.
    pub denied: Vec<AuditEntryBody>,
    /// The entry by which the person was disabled; null if they are not.
    #[schema(required)]
    pub disabled_by: Option<AuditEntryBody>,
}

impl From<&PersonExplanation> for PersonExplanationBody {
    fn from(explained: &PersonExplanation) -> Self {
        Self {
            user: (&explained.account).into(),
            roles: explained.roles.iter().map(RoleOriginBody::from).collect(),
            denied: explained.denied.iter().map(AuditEntryBody::from).collect(),
            disabled_by: explained.disabled_by.as_ref().map(AuditEntryBody::from),
        }
    }
}
