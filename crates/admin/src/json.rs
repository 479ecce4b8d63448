//! People and sessions as JSON: what `--json` prints and what the admin API answers.

mod audit;
mod restore;

use mintgate_domain::model::{
    Account, ClaimValue, DeletedSession, LinkedIdentity, Role, Session, SessionId, Timestamp,
    UserId,
};
use mintgate_domain::ports::UserChange;
use mintgate_domain::{
    AdministrationError, DeletedUser, Page, PersonExport, PersonRecord, SessionRecord,
};
use serde::Serialize;
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

pub use audit::{
    AuditEntryBody, AuditHeadBody, AuditVerdictBody, EntriesBody, PersonExplanationBody,
    RoleOriginBody, SessionExplanationBody,
};
pub use restore::{LastKeptBody, RestoreDoneBody, UndoneBody};

/// What an export does not hold, and why.
const NOT_EXPORTED: [&str; 3] = [
    "digests of refresh tokens and of repeatable requests: they say nothing about the person",
    "tokens of the provider, if any are kept: they are encrypted, and are the provider's secrets",
    "access tokens, and what other services have stored: they are not kept here",
];

/// A time as RFC 3339 in UTC, to the second; seconds since 1970 for one beyond the calendar.
pub fn date(at: Timestamp) -> String {
    let text = at.to_datetime().and_then(|at| at.format(&Rfc3339).ok());
    text.unwrap_or_else(|| at.as_unix().to_string())
}

fn maybe_date(at: Option<Timestamp>) -> Option<String> {
    at.map(date)
}

fn roles(roles: &[Role]) -> Vec<String> {
    roles.iter().map(|role| role.as_str().to_owned()).collect()
}

/// A user with the names that are kept, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserBody {
    /// The user's id, the `sub` of access tokens.
    pub id: String,
    /// When the user was created.
    pub created_at: String,
    /// Since when the user is disabled; null if not.
    #[schema(required)]
    pub disabled_at: Option<String>,
    /// The roles that were granted in the store.
    pub granted_roles: Vec<String>,
    /// The claim `name` of the last sign-in, if it is kept.
    #[schema(required)]
    pub name: Option<String>,
    /// The claim `preferred_username`, if it is kept.
    #[schema(required)]
    pub preferred_username: Option<String>,
    /// The claim `email`, if it is kept.
    #[schema(required)]
    pub email: Option<String>,
    /// The claim `picture`, if it is kept.
    #[schema(required)]
    pub picture: Option<String>,
    /// The identities that the person signs in with, the oldest first.
    pub identities: Vec<IdentityBody>,
    /// The ids that the person had in systems from which they were imported.
    pub former_ids: Vec<FormerIdBody>,
}

/// An id in another system.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FormerIdBody {
    /// The name of the system, as the import was told.
    pub source: String,
    /// The id there.
    pub id: String,
}

/// An identity at a provider.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityBody {
    /// The provider's issuer identifier.
    pub issuer: String,
    /// The subject at that issuer.
    pub subject: String,
    /// The id of the configured provider that it was first used with.
    pub provider: String,
    /// Since when it is linked to the user.
    pub linked_at: String,
}

impl From<&LinkedIdentity> for IdentityBody {
    fn from(linked: &LinkedIdentity) -> Self {
        Self {
            issuer: linked.identity.issuer.clone(),
            subject: linked.identity.subject.clone(),
            provider: linked.provider.as_str().to_owned(),
            linked_at: date(linked.linked_at),
        }
    }
}

impl From<&Account> for UserBody {
    fn from(account: &Account) -> Self {
        let user = &account.user;
        let profile = user.profile.clone();
        Self {
            id: user.id.to_string(),
            created_at: date(account.created_at),
            disabled_at: maybe_date(user.disabled_at),
            granted_roles: roles(&user.granted_roles),
            name: profile.name,
            preferred_username: profile.preferred_username,
            email: profile.email,
            picture: profile.picture,
            identities: account.identities.iter().map(IdentityBody::from).collect(),
            former_ids: account
                .former_ids
                .iter()
                .map(|former| FormerIdBody { source: former.source.clone(), id: former.id.clone() })
                .collect(),
        }
    }
}

/// A session: everything that is stored about it but digests and encrypted tokens.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionBody {
    /// The session's id, the `sid` of its tokens.
    pub sid: String,
    /// The user's id; null for a session that was deleted with its user.
    #[schema(required)]
    pub user: Option<String>,
    /// Whether the session is `live`, has `ended`, or is `gone`: known to the audit log alone.
    pub state: &'static str,
    /// Since when nothing of it works; null while it is live, or where no time is known.
    #[schema(required)]
    pub ended_at: Option<String>,
    /// Why it ended; null while it is live.
    #[schema(required)]
    pub end_reason: Option<&'static str>,
    /// Until when the id of a deleted session is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forget_after: Option<String>,
    /// How it was opened, and what it may do; nothing for a deleted session.
    #[serde(flatten)]
    pub details: Option<SessionDetails>,
}

/// How a session was opened, what it may do, and until when.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionDetails {
    /// The id of the configured provider.
    pub provider: String,
    /// The issuer of the identity it was opened with.
    pub issuer: String,
    /// The subject of the identity it was opened with.
    pub subject: String,
    /// The session at the provider, if the provider named it.
    #[schema(required)]
    pub provider_sid: Option<String>,
    /// When it was opened.
    pub created_at: String,
    /// When it was last refreshed.
    pub last_used_at: String,
    /// When it ends if it is not refreshed.
    pub expires_at: String,
    /// When it ends in any case.
    pub absolute_expires_at: String,
    /// The number of its current refresh token, from 0.
    pub generation: u64,
    /// The user agent that opened it.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// The network that it was opened from: an IPv4 /24 or an IPv6 /48.
    #[schema(required)]
    pub ip: Option<String>,
    /// The roles in its access tokens.
    pub roles: Vec<String>,
    /// The roles that rules gave for the provider's claims.
    pub claimed_roles: Vec<String>,
    /// When the person authenticated at the provider.
    pub auth_time: String,
    /// The authentication context class.
    #[schema(required)]
    pub acr: Option<String>,
    /// The authentication methods.
    pub amr: Vec<String>,
    /// The extra claims in its access tokens.
    pub extra_claims: Map<String, Value>,
}

impl From<&Session> for SessionDetails {
    fn from(session: &Session) -> Self {
        let grant = &session.grant;
        let extra = grant.extra.iter().map(|(name, value)| (name.clone(), claim(value)));
        Self {
            provider: session.provider.as_str().to_owned(),
            issuer: session.identity.issuer.clone(),
            subject: session.identity.subject.clone(),
            provider_sid: session.upstream_sid.clone(),
            created_at: date(session.created_at),
            last_used_at: date(session.last_used_at),
            expires_at: date(session.refresh.expires_at),
            absolute_expires_at: date(session.absolute_expires_at),
            generation: session.refresh.generation,
            user_agent: session.client.user_agent.clone(),
            ip: session.client.ip_prefix.clone(),
            roles: roles(&grant.roles),
            claimed_roles: roles(&session.claimed_roles),
            auth_time: date(grant.auth_time),
            acr: grant.acr.clone(),
            amr: grant.amr.clone(),
            extra_claims: extra.collect(),
        }
    }
}

impl From<&SessionRecord> for SessionBody {
    fn from(record: &SessionRecord) -> Self {
        let SessionRecord { session, end } = record;
        Self {
            sid: session.id.to_string(),
            user: Some(session.user.to_string()),
            state: if end.is_some() { "ended" } else { "live" },
            ended_at: end.and_then(|end| maybe_date(end.at)),
            end_reason: end.map(|end| end.reason.name()),
            forget_after: None,
            details: Some(session.into()),
        }
    }
}

impl SessionBody {
    /// A session of which the id alone is left.
    pub fn deleted(id: SessionId, deleted: &DeletedSession) -> Self {
        Self {
            sid: id.to_string(),
            user: None,
            state: "ended",
            ended_at: Some(date(deleted.ended_at)),
            end_reason: Some(deleted.reason.name()),
            forget_after: Some(date(deleted.forget_after)),
            details: None,
        }
    }
}

impl SessionBody {
    /// A session that only the audit log knows.
    pub fn unknown(id: SessionId) -> Self {
        Self {
            sid: id.to_string(),
            user: None,
            state: "gone",
            ended_at: None,
            end_reason: None,
            forget_after: None,
            details: None,
        }
    }
}

/// A claim as JSON.
pub fn claim(value: &ClaimValue) -> Value {
    match value {
        ClaimValue::Null => Value::Null,
        ClaimValue::Bool(value) => (*value).into(),
        ClaimValue::Integer(value) => (*value).into(),
        ClaimValue::Float(value) => (*value).into(),
        ClaimValue::Text(value) => value.as_str().into(),
        ClaimValue::List(values) => values.iter().map(claim).collect(),
        ClaimValue::Object(values) => {
            values.iter().map(|(name, value)| (name.clone(), claim(value))).collect()
        }
    }
}

/// One page of a list of people, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct UsersBody {
    /// The people, in the order in which they came.
    pub users: Vec<UserBody>,
    /// What to give as `after` for the next page; null on the last.
    #[schema(required)]
    pub next: Option<String>,
}

impl From<&Page<Account, UserId>> for UsersBody {
    fn from(page: &Page<Account, UserId>) -> Self {
        Self {
            users: page.entries.iter().map(UserBody::from).collect(),
            next: page.next.map(|id| id.to_string()),
        }
    }
}

/// One page of a list of sessions, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SessionsBody {
    /// The sessions, the last opened first.
    pub sessions: Vec<SessionBody>,
    /// What to give as `after` for the next page; null on the last.
    #[schema(required)]
    pub next: Option<String>,
}

impl From<&Page<SessionRecord, SessionId>> for SessionsBody {
    fn from(page: &Page<SessionRecord, SessionId>) -> Self {
        Self {
            sessions: page.entries.iter().map(SessionBody::from).collect(),
            next: page.next.map(|id| id.to_string()),
        }
    }
}

/// A person with their live sessions.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PersonBody {
    /// The user, whose members stand beside the others.
    #[serde(flatten)]
    pub user: UserBody,
    /// The live sessions, the last used first; at most 200.
    pub sessions: Vec<SessionBody>,
}

impl From<&PersonRecord> for PersonBody {
    fn from(person: &PersonRecord) -> Self {
        Self {
            user: (&person.account).into(),
            sessions: person.sessions.iter().map(SessionBody::from).collect(),
        }
    }
}

/// Everything that is stored about a person.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportBody {
    /// The user whose data these are.
    pub user: UserBody,
    /// All sessions, ended ones included, the last opened first.
    pub sessions: Vec<SessionBody>,
    /// The audit log's entries about the user and the user's identities, in order.
    pub audit_log: Vec<AuditEntryBody>,
    /// What is not in here, and why.
    pub not_exported: [&'static str; 3],
}

impl From<&PersonExport> for ExportBody {
    fn from(export: &PersonExport) -> Self {
        let PersonBody { user, sessions } = (&export.person).into();
        let audit_log = export.entries.iter().map(AuditEntryBody::from).collect();
        Self { user, sessions, audit_log, not_exported: NOT_EXPORTED }
    }
}

/// What a change has done.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeBody {
    /// The user that it was about.
    pub user: String,
    /// Whether anything is different now.
    pub changed: bool,
    /// How many live sessions were ended, where a change ends sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_ended: Option<u64>,
    /// After a deletion: the time from which on nothing is left, not even the ids of sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forget_after: Option<String>,
}

impl ChangeBody {
    /// A change of a user.
    pub fn new(user: UserId, change: UserChange) -> Self {
        let changed = change == UserChange::Changed;
        Self { user: user.to_string(), changed, sessions_ended: None, forget_after: None }
    }

    /// A change that ends sessions: it did something if one was ended.
    pub fn ended(user: UserId, ended: u64) -> Self {
        let change = if ended > 0 { UserChange::Changed } else { UserChange::AsBefore };
        Self { sessions_ended: Some(ended), ..Self::new(user, change) }
    }

    /// The deletion of a user.
    pub fn deleted(user: UserId, deleted: &DeletedUser) -> Self {
        Self {
            sessions_ended: Some(deleted.ended),
            forget_after: Some(date(deleted.forget_after)),
            ..Self::new(user, UserChange::Changed)
        }
    }
}

/// Why a command did nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RefusalBody {
    /// `not_found`, `ambiguous`, `invalid`, `store_unavailable`, `unknown_outcome` or `not_confirmed`.
    pub error: &'static str,
    /// The same as a sentence.
    pub message: String,
    /// The people whom an ambiguous name may mean.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<UserBody>,
}

impl From<&AdministrationError> for RefusalBody {
    fn from(error: &AdministrationError) -> Self {
        let (name, candidates) = match error {
            AdministrationError::Nobody | AdministrationError::NoSuchSession => {
                ("not_found", &[][..])
            }
            AdministrationError::Ambiguous { candidates } => ("ambiguous", candidates.as_slice()),
            AdministrationError::NotSearchable | AdministrationError::InvalidRole => {
                ("invalid", &[][..])
            }
            AdministrationError::Store(_) | AdministrationError::NotNoted(_) => {
                ("store_unavailable", &[][..])
            }
            AdministrationError::InDoubt(_) => ("unknown_outcome", &[][..]),
        };
        let candidates = candidates.iter().map(UserBody::from).collect();
        Self { error: name, message: crate::words::refusal(error), candidates }
    }
}
