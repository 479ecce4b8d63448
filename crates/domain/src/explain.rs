//! The use case: operators ask why.

use crate::model::{
    Account, Actor, AuditEntry, AuditKind, AuditQuery, DeletedSession, ExternalIdentity, KnownEnd,
    RevokeReason, Role, Session, SessionId, Timestamp, UserId,
};
use crate::ports::StoreError;
use crate::{
    Administration, AdministrationError, AuditReview, PersonRecord, RestoreDone, SessionRecord,
};

/// The most entries of the audit log that an explanation shows.
const SHOWN: usize = 200;
/// How many entries are read at once.
const PAGE: u32 = 500;

/// Why something is as it is: from what is stored, and from the audit log.
#[derive(Clone)]
pub struct Explain {
    /// What is stored now.
    pub administration: Administration,
    /// The audit log as an operator reads it.
    pub review: AuditReview,
}

/// What is known of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionExplanation {
    /// The session that was asked about.
    pub id: SessionId,
    /// The session, if it is stored still.
    pub record: Option<SessionRecord>,
    /// What is left of it, if it was deleted with its user.
    pub deleted: Option<DeletedSession>,
    /// The user whose session it is or was, if anything says so.
    pub user: Option<UserId>,
    /// The end of the session; `None` if it is live, or if nothing says that it has ended.
    pub end: Option<KnownEnd>,
    /// The entry of the audit log that ended it, if there is one: by whom, from where, in which request.
    pub ended_by: Option<AuditEntry>,
    /// What the audit log knows of the session, in order; at most 200 entries.
    pub entries: Vec<AuditEntry>,
}

/// Why a user has a role.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleOrigin {
    /// The role that the user has.
    pub role: Role,
    /// Whether it was granted in the store.
    pub is_granted: bool,
    /// The entry of the audit log by which it was granted: by whom, and when.
    pub granted_by: Option<AuditEntry>,
    /// The live sessions to which the rules gave it, for the provider's claims.
    pub by_rules: Vec<SessionId>,
    /// The live sessions that have it for another reason: by default, from the user system, or since a grant
    /// that was taken away.
    pub otherwise: Vec<SessionId>,
}

/// Why a user has which roles, was refused at sign-ins, or is disabled.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonExplanation {
    /// The user whom the explanation is about.
    pub account: Account,
    /// Each role of the user, sorted by name.
    pub roles: Vec<RoleOrigin>,
    /// The audit log's entries about refused sign-ins of the user, in order; the last 200.
    pub denied: Vec<AuditEntry>,
    /// The audit log's entry about the disabling of the user, if the user is disabled.
    pub disabled_by: Option<AuditEntry>,
}

/// Everything that is stored about a user.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonExport {
    /// The user, with all sessions.
    pub person: PersonRecord,
    /// What the audit log knows of the user and of the user's identities, in order.
    pub entries: Vec<AuditEntry>,
}

type Outcome<T> = Result<T, AdministrationError>;

impl Explain {
    /// Why a session ended, or that it lives. Answered as long as the session, its id or an entry of the
    /// audit log is there.
    ///
    /// # Errors
    /// [`AdministrationError::NoSuchSession`], [`AdministrationError::Store`].
    pub async fn session(&self, id: SessionId) -> Outcome<SessionExplanation> {
        let (record, deleted) = match self.administration.session(id).await {
            Ok(Ok(record)) => (Some(record), None),
            Ok(Err(deleted)) => (None, Some(deleted)),
            Err(AdministrationError::NoSuchSession) => (None, None),
            Err(error) => return Err(error),
        };
        let mut entries = self.first(&AuditQuery::OfSession(id)).await?;
        if record.is_none() && deleted.is_none() && entries.is_empty() {
            return Err(AdministrationError::NoSuchSession);
        }
        let of_row = record.as_ref().map(|record| record.session.user);
        let user = of_row.or_else(|| entries.iter().find_map(|entry| entry.event.user));
        let opened = entries.iter().find(|entry| entry.event.kind == AuditKind::Login);
        let opened = opened.map(|entry| entry.sequence);
        let since = record.as_ref().map(|record| record.session.created_at);
        let is_after = |entry: &AuditEntry| match opened {
            Some(opened) => entry.sequence > opened,
            None => since.is_none_or(|since| entry.event.at >= since),
        };
        if let Some(user) = user {
            let about_all = self.first(&AuditQuery::OfUser(user)).await?;
            entries
                .extend(about_all.into_iter().filter(|entry| ends_all(entry) && is_after(entry)));
        }
        let identity = record.as_ref().map(|record| record.session.identity.clone());
        if let Some(identity) = identity {
            let orders = self.first(&AuditQuery::OfIdentity(identity)).await?;
            let is_order = |entry: &AuditEntry| entry.event.kind == AuditKind::ProviderLogout;
            entries.extend(orders.into_iter().filter(|entry| is_order(entry) && is_after(entry)));
        }
        let restored = record.as_ref().and_then(|record| record.end);
        if let Some(KnownEnd { at: Some(at), reason: RevokeReason::Restored }) = restored {
            let noted = self.first(&AuditQuery::OfRequest(RestoreDone::request_id(at))).await?;
            let is_it = |entry: &AuditEntry| entry.event.kind == AuditKind::StoreRestored;
            entries.extend(noted.into_iter().filter(is_it));
        }
        entries.sort_by_key(|entry| entry.sequence);
        entries.dedup_by_key(|entry| entry.sequence);
        entries.truncate(SHOWN);
        let known = match (&record, &deleted) {
            (Some(record), _) => Some(record.end),
            (None, Some(deleted)) => {
                Some(Some(KnownEnd { at: Some(deleted.ended_at), reason: deleted.reason }))
            }
            (None, None) => None,
        };
        let ended_by = match known {
            Some(None) => None,
            Some(Some(end)) => find_end(&entries, id, Some(end.reason)),
            None => find_end(&entries, id, None),
        };
        let end = known.unwrap_or_else(|| ended_by.as_ref().and_then(end_of));
        // The row of a session that a raised epoch has ended does not say why; the audit log may.
        let end = match (end, &ended_by) {
            (Some(KnownEnd { reason: RevokeReason::Other, at }), Some(entry)) => {
                end_of(entry).or(Some(KnownEnd { reason: RevokeReason::Other, at }))
            }
            (end, _) => end,
        };
        Ok(SessionExplanation { id, record, deleted, user, end, ended_by, entries })
    }

    /// What the audit log knows of all requests with this id, in order; at most 200 entries. A caller may
    /// have chosen the id, and others the same one.
    ///
    /// # Errors
    /// [`AdministrationError::Store`]
    pub async fn request(&self, id: &str) -> Outcome<Vec<AuditEntry>> {
        self.first(&AuditQuery::OfRequest(id.to_owned())).await
    }

    /// What the audit log knows of somebody who is no user: denied logins, and logouts that the provider
    /// ordered; at most 200 entries.
    ///
    /// # Errors
    /// [`AdministrationError::Store`]
    pub async fn identity(&self, identity: &ExternalIdentity) -> Outcome<Vec<AuditEntry>> {
        self.first(&AuditQuery::OfIdentity(identity.clone())).await
    }

    /// Explains why a user has which roles, was refused at sign-ins, or is disabled.
    ///
    /// # Errors
    /// [`AdministrationError::Nobody`], [`AdministrationError::Store`].
    pub async fn person(&self, user: UserId) -> Outcome<PersonExplanation> {
        let shown = self.administration.show(user).await?;
        let (mut granted_by, mut disabled_by) = (vec![], None);
        let mut denied: Vec<AuditEntry> = vec![];
        for identity in &shown.account.identities {
            let about = self.identity(&identity.identity).await?;
            denied.extend(about.into_iter().filter(is_denial));
        }
        for entry in self.all(&AuditQuery::OfUser(user)).await? {
            match entry.event.kind {
                AuditKind::RoleGranted => granted_by.push(entry),
                AuditKind::UserDisabled => disabled_by = Some(entry),
                AuditKind::LoginDenied => denied.push(entry),
                _ => {}
            }
        }
        denied.sort_by_key(|entry| entry.sequence);
        let too_many = denied.len().saturating_sub(SHOWN);
        denied.drain(..too_many);
        let granted = &shown.account.user.granted_roles;
        let sessions: Vec<_> = shown.sessions.iter().map(|record| &record.session).collect();
        let of_sessions = sessions.iter().flat_map(|session| &session.grant.roles);
        let mut names: Vec<Role> = granted.iter().chain(of_sessions).cloned().collect();
        names.sort_unstable();
        names.dedup();
        let roles = names.into_iter().map(|role| {
            let is_granted = granted.contains(&role);
            let is_of = |entry: &&AuditEntry| {
                entry.event.details.get("role").is_some_and(|name| name == role.as_str())
            };
            let has =
                sessions.iter().copied().filter(|session| session.grant.roles.contains(&role));
            let (by_rules, otherwise): (Vec<&Session>, Vec<&Session>) =
                has.partition(|session| session.claimed_roles.contains(&role));
            let otherwise = if is_granted { vec![] } else { otherwise };
            RoleOrigin {
                is_granted,
                granted_by: granted_by.iter().rfind(is_of).filter(|_| is_granted).cloned(),
                by_rules: by_rules.iter().map(|session| session.id).collect(),
                otherwise: otherwise.iter().map(|session| session.id).collect(),
                role,
            }
        });
        let roles = roles.collect();
        let disabled_by = disabled_by.filter(|_| shown.account.user.disabled_at.is_some());
        Ok(PersonExplanation { account: shown.account, roles, denied, disabled_by })
    }

    /// Everything that is stored about a user; the export itself is noted in the audit log.
    ///
    /// # Errors
    /// [`AdministrationError::Nobody`], [`AdministrationError::Store`].
    pub async fn export(&self, user: UserId) -> Outcome<PersonExport> {
        let person = self.administration.export(user).await?;
        let mut entries = self.all(&AuditQuery::OfUser(user)).await?;
        for identity in &person.account.identities {
            entries.extend(self.all(&AuditQuery::OfIdentity(identity.identity.clone())).await?);
        }
        entries.sort_by_key(|entry| entry.sequence);
        entries.dedup_by_key(|entry| entry.sequence);
        Ok(PersonExport { person, entries })
    }

    async fn all(&self, query: &AuditQuery) -> Outcome<Vec<AuditEntry>> {
        let mut entries: Vec<AuditEntry> = vec![];
        loop {
            let after = entries.last().map_or(0, |entry| entry.sequence);
            let page = self.review.page(query, after, PAGE).await?;
            if page.is_empty() {
                return Ok(entries);
            }
            entries.extend(page);
        }
    }

    async fn first(&self, query: &AuditQuery) -> Outcome<Vec<AuditEntry>> {
        let limit = SHOWN.try_into().unwrap_or(u32::MAX);
        let found: Result<_, StoreError> = self.review.page(query, 0, limit).await;
        Ok(found?)
    }
}

fn is_denial(entry: &AuditEntry) -> bool {
    entry.event.kind == AuditKind::LoginDenied
}

/// Whether what an entry is about ended all sessions of its user.
fn ends_all(entry: &AuditEntry) -> bool {
    matches!(
        entry.event.kind,
        AuditKind::LogoutAll
            | AuditKind::SessionsEnded
            | AuditKind::UserDisabled
            | AuditKind::UserDeleted
            | AuditKind::IdentityUnlinked
    )
}

/// The reason for which sessions end where an entry is about such an end; `None` if it is not.
fn reason_of(entry: &AuditEntry) -> Option<RevokeReason> {
    Some(match entry.event.kind {
        AuditKind::Logout | AuditKind::LogoutAll | AuditKind::IdentityUnlinked => {
            RevokeReason::Logout
        }
        AuditKind::SessionEnded => match entry.event.actor {
            Actor::User => RevokeReason::Logout,
            Actor::Client(_) => RevokeReason::RevokedByClient,
            _ => RevokeReason::Admin,
        },
        AuditKind::SessionsEnded => RevokeReason::Admin,
        AuditKind::RefreshReused => RevokeReason::Reuse,
        AuditKind::ProviderLogout => RevokeReason::ProviderLogout,
        AuditKind::ProviderRefused => RevokeReason::ProviderRefused,
        AuditKind::UserDisabled => RevokeReason::UserDisabled,
        AuditKind::UserDeleted => RevokeReason::UserDeleted,
        AuditKind::StoreRestored => RevokeReason::Restored,
        _ => return None,
    })
}

fn end_of(entry: &AuditEntry) -> Option<KnownEnd> {
    let at: Timestamp = entry.event.at;
    Some(KnownEnd { at: Some(at), reason: reason_of(entry)? })
}

/// The first entry that ended a session, for this reason if one is known.
fn find_end(
    entries: &[AuditEntry],
    id: SessionId,
    reason: Option<RevokeReason>,
) -> Option<AuditEntry> {
    let is_it = |entry: &&AuditEntry| {
        // Where somebody ends all others, or unlinks an identity, the session that asks is named.
        let is_kept =
            entry.event.kind == AuditKind::IdentityUnlinked && entry.event.session == Some(id);
        let found = reason_of(entry).filter(|_| !is_kept);
        match reason {
            None | Some(RevokeReason::Other) => found.is_some(),
            Some(_) => found == reason,
        }
    };
    entries.iter().find(is_it).cloned()
}
