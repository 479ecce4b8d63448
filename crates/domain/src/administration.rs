//! The use case: operators look at people and their sessions, and decide about them.

mod outcome;
mod restore;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use self::outcome::{AdministrationError, DeletedUser, Page, PersonRecord, SessionRecord};
pub use self::restore::RestoreDone;
use crate::Sessions;
use crate::model::{
    Account, Actor, AuditEvent, AuditKind, DeletedSession, ExternalIdentity, KnownEnd, Person,
    PersonName, RevokeReason, Role, SearchText, Session, SessionId, Standing, Timestamp, UserId,
};
use crate::ports::{
    AuditLog, Clock, EndOutcome, Metrics, SessionAdministration, StoreError, UserAdministration,
    UserChange,
};

/// The most users or sessions of one page.
const PAGE: u32 = 200;
/// The most users that are listed if a name matches several.
const CANDIDATES: u32 = 10;
/// How much longer than they are valid the ids of deleted sessions are kept: verifiers' clocks differ.
const CLOCK_DIFFERENCE: Duration = Duration::from_mins(1);

/// The use cases of operators about users and sessions.
///
/// Once a call has returned that disables or deletes a person or ends sessions, nothing of those
/// sessions works: no refresh, on whichever replica it began, no repeat of a sign-in, no `/me`.
#[derive(Clone)]
pub struct Administration {
    /// The stores of sessions and of their users.
    pub sessions: Sessions,
    /// The operator's view of the users.
    pub users: Arc<dyn UserAdministration>,
    /// The operator's view of the sessions.
    pub session_records: Arc<dyn SessionAdministration>,
    /// The life of an access token, for which the ids of deleted sessions are kept.
    pub access_ttl: Duration,
    /// The source of the current time.
    pub clock: Arc<dyn Clock>,
    /// The counters and timers of events.
    pub metrics: Arc<dyn Metrics>,
    /// Where every change is noted, and who has seen everything about somebody.
    pub audit: Arc<dyn AuditLog>,
    /// Whose acts these are, for the audit log.
    pub actor: Actor,
}

type Outcome<T> = Result<T, AdministrationError>;

impl Administration {
    /// The people who are found by a text, or all people, in the order of their ids; at most `limit`, and
    /// at most 200. A user's id and `ISSUER SUBJECT` find that one person; of names, user names, email
    /// addresses, subjects and ids of another system a part is enough.
    ///
    /// # Errors
    /// [`AdministrationError::NotSearchable`], [`AdministrationError::Store`].
    pub async fn find(
        &self,
        text: Option<&str>,
        after: Option<UserId>,
        limit: u32,
    ) -> Outcome<Page<Account, UserId>> {
        let search = match text.map(PersonName::parse) {
            None => None,
            Some(PersonName::Text(text)) if text.is_empty() => None,
            Some(PersonName::Text(text)) => Some(searchable(SearchText::part(&text))?),
            Some(name) => {
                let entries = match self.person(&name).await {
                    Ok(account) => vec![account],
                    Err(AdministrationError::Nobody) => vec![],
                    Err(error) => return Err(error),
                };
                return Ok(Page { entries, next: None });
            }
        };
        let limit = limit.clamp(1, PAGE);
        let found = self.users.find_accounts(search.as_ref(), after, limit + 1).await?;
        Ok(page(found, limit, |account| account.user.id))
    }

    /// The only user with this name.
    ///
    /// # Errors
    /// [`AdministrationError::Nobody`], [`AdministrationError::Ambiguous`],
    /// [`AdministrationError::NotSearchable`], [`AdministrationError::Store`].
    pub async fn person(&self, name: &PersonName) -> Outcome<Account> {
        match name {
            PersonName::Id(id) => match self.account(*id).await {
                // Another system may have had it.
                Err(AdministrationError::Nobody) => self.called(&id.to_string()).await,
                found => found,
            },
            PersonName::Identity(identity) => {
                if [&identity.issuer, &identity.subject]
                    .iter()
                    .any(|t| t.contains(char::is_control))
                {
                    return Err(AdministrationError::NotSearchable);
                }
                let found = self.sessions.users.find_user(identity).await?;
                self.account(found.ok_or(AdministrationError::Nobody)?.user.id).await
            }
            PersonName::Text(text) => self.called(text).await,
        }
    }

    async fn called(&self, text: &str) -> Outcome<Account> {
        let (whole, part) = (SearchText::whole(text), SearchText::part(text));
        let whole = searchable(whole)?;
        let mut called = self.users.find_accounts(Some(&whole), None, CANDIDATES).await?;
        if called.len() == 1
            && let Some(account) = called.pop()
        {
            return Ok(account);
        }
        if called.is_empty() && !text.is_empty() {
            let part = searchable(part)?;
            called = self.users.find_accounts(Some(&part), None, CANDIDATES).await?;
        }
        Err(match called {
            candidates if candidates.is_empty() => AdministrationError::Nobody,
            candidates => AdministrationError::Ambiguous { candidates },
        })
    }

    /// The user with this id.
    ///
    /// # Errors
    /// [`AdministrationError::Nobody`], [`AdministrationError::Store`].
    pub async fn account(&self, user: UserId) -> Outcome<Account> {
        self.users.account(user).await?.ok_or(AdministrationError::Nobody)
    }

    /// A user with at most 200 live sessions, the last used first.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn show(&self, user: UserId) -> Outcome<PersonRecord> {
        let account = self.account(user).await?;
        let live = self.sessions.list(user, self.now(), PAGE).await?;
        let sessions = self.judged(live).await?.into_iter();
        Ok(PersonRecord { account, sessions: sessions.filter(|s| s.end.is_none()).collect() })
    }

    /// The same use cases, for another actor.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Self {
        Self { actor, ..self.clone() }
    }

    /// Everything that is stored about a person, but for digests of tokens and what is encrypted. That it
    /// was shown is noted.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn export(&self, user: UserId) -> Outcome<PersonRecord> {
        let person = self.everything(user).await?;
        self.audit.record(self.event(AuditKind::UserExported, user));
        Ok(person)
    }

    /// A user with all sessions, including ended ones.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn everything(&self, user: UserId) -> Outcome<PersonRecord> {
        let account = self.account(user).await?;
        let (mut sessions, mut before) = (vec![], None);
        loop {
            let page = self.session_page(user, before, PAGE).await?;
            sessions.extend(page.entries);
            before = page.next;
            if before.is_none() {
                return Ok(PersonRecord { account, sessions });
            }
        }
    }

    /// Disables a person: nobody signs in or refreshes as that person until they are enabled again, and
    /// the sessions end. Returns how many live sessions were ended.
    ///
    /// # Errors
    /// [`AdministrationError::Nobody`], [`AdministrationError::InDoubt`].
    pub async fn disable(&self, user: UserId) -> Outcome<(UserChange, u64)> {
        let now = self.now();
        let reason = RevokeReason::UserDisabled;
        let (change, mut ended) = changed(self.users.disable_user(user, now).await)?;
        // The raised epoch has ended them all: if this fails, only the count is incomplete.
        ended += self.sessions.end_rows(user, None, None, reason, now).await.unwrap_or(0);
        self.metrics.sessions_revoked(reason, ended);
        let change = known(change)?;
        if change == UserChange::Changed || ended > 0 {
            let event = self.event(AuditKind::UserDisabled, user);
            self.audit.record(event.with("sessions_ended", ended));
        }
        Ok((change, ended))
    }

    /// Enables a disabled user, if the audit log can be written.
    ///
    /// # Errors
    /// [`AdministrationError::Nobody`], [`AdministrationError::NotNoted`],
    /// [`AdministrationError::InDoubt`].
    pub async fn enable(&self, user: UserId) -> Outcome<UserChange> {
        if self.account(user).await?.user.disabled_at.is_none() {
            return Ok(UserChange::AsBefore);
        }
        let event = self.event(AuditKind::UserEnabled, user);
        self.noted_first(event, self.users.enable_user(user)).await
    }

    /// Grants a user a role in the store, if that can be noted. Live sessions keep their roles, unless
    /// refreshes decide them.
    ///
    /// # Errors
    /// [`AdministrationError::InvalidRole`], [`AdministrationError::Nobody`],
    /// [`AdministrationError::NotNoted`], [`AdministrationError::InDoubt`].
    pub async fn grant_role(&self, user: UserId, role: &str) -> Outcome<UserChange> {
        if !Role::is_valid(role) {
            return Err(AdministrationError::InvalidRole);
        }
        let role = Role::new(role);
        if self.account(user).await?.user.granted_roles.contains(&role) {
            return Ok(UserChange::AsBefore);
        }
        let event = self.event(AuditKind::RoleGranted, user).with("role", &role);
        self.noted_first(event, self.users.grant_role(user, &role)).await
    }

    /// Takes a granted role away, also one that could not be granted here. Live sessions keep their
    /// roles, unless refreshes decide them.
    ///
    /// # Errors
    /// [`AdministrationError::InvalidRole`], [`AdministrationError::Nobody`],
    /// [`AdministrationError::InDoubt`].
    pub async fn revoke_role(&self, user: UserId, role: &str) -> Outcome<UserChange> {
        if role.contains(char::is_control) {
            return Err(AdministrationError::InvalidRole);
        }
        let change = known(changed(self.users.revoke_role(user, &Role::new(role)).await)?)?;
        if change == UserChange::Changed {
            self.audit.record(self.event(AuditKind::RoleRevoked, user).with("role", role));
        }
        Ok(change)
    }

    /// Deletes a person and everything that is stored about them, at once. The ids of sessions stay until
    /// their access tokens have expired everywhere.
    ///
    /// # Errors
    /// [`AdministrationError::Nobody`], [`AdministrationError::InDoubt`].
    pub async fn delete(&self, user: UserId) -> Outcome<DeletedUser> {
        let now = self.now();
        let forget_after = now + self.access_ttl + CLOCK_DIFFERENCE;
        let identities = self.account(user).await?.identities;
        let mut ended = 0;
        if !self.sessions.repo.shares_engine_with_users() {
            // The person goes last: as long as there is one, an attempt that failed can be repeated.
            known(changed(self.users.disable_user(user, now).await)?.0)?;
            let sessions = self.session_records.delete_sessions(user, now, forget_after).await;
            ended = changed(sessions)?;
        }
        let (change, more) = changed(self.users.delete_user(user, now, forget_after).await)?;
        ended += more;
        known(change)?;
        self.metrics.sessions_revoked(RevokeReason::UserDeleted, ended);
        let event = self.event(AuditKind::UserDeleted, user).with("sessions_ended", ended);
        let identities = identities.into_iter().map(|linked| linked.identity).collect();
        let is_forgotten = self.audit.forget(event, identities).await.is_ok();
        Ok(DeletedUser { ended, forget_after, is_forgotten })
    }

    /// The sessions of a person, ended ones included, the last opened first; at most `limit`, and at
    /// most 200.
    ///
    /// # Errors
    /// As [`account`](Self::account).
    pub async fn sessions(
        &self,
        user: UserId,
        before: Option<SessionId>,
        limit: u32,
    ) -> Outcome<Page<SessionRecord, SessionId>> {
        self.account(user).await?;
        self.session_page(user, before, limit).await
    }

    async fn session_page(
        &self,
        user: UserId,
        before: Option<SessionId>,
        limit: u32,
    ) -> Outcome<Page<SessionRecord, SessionId>> {
        let limit = limit.clamp(1, PAGE);
        let found = self.session_records.user_sessions(user, before, limit + 1).await?;
        let Page { entries, next } = page(found, limit, |session| session.id);
        Ok(Page { entries: self.judged(entries).await?, next })
    }

    /// A session, whoever's and ended or not; or what is left of one that was deleted with its user.
    ///
    /// # Errors
    /// [`AdministrationError::NoSuchSession`], [`AdministrationError::Store`].
    pub async fn session(&self, id: SessionId) -> Outcome<Result<SessionRecord, DeletedSession>> {
        if let Some(found) = self.sessions.find(id).await? {
            let (session, person) = (found.session, found.person);
            let end = known_end(&session, person.as_ref(), self.now());
            return Ok(Ok(SessionRecord { session, end }));
        }
        let deleted = self.session_records.deleted_session(id).await?;
        deleted.map(Err).ok_or(AdministrationError::NoSuchSession)
    }

    /// Ends a session, whoever's. What has ended before stays as it is.
    ///
    /// # Errors
    /// [`AdministrationError::NoSuchSession`], [`AdministrationError::Store`],
    /// [`AdministrationError::InDoubt`].
    pub async fn end_session(&self, id: SessionId) -> Outcome<(UserId, EndOutcome)> {
        let found = self.sessions.find(id).await?.ok_or(AdministrationError::NoSuchSession)?;
        let (user, reason) = (found.session.user, RevokeReason::Admin);
        let ended = self.sessions.repo.end_session(id, user, reason, self.now()).await;
        match changed(ended)? {
            EndOutcome::Unknown => Err(AdministrationError::NoSuchSession),
            EndOutcome::Ended => {
                self.metrics.sessions_revoked(reason, 1);
                self.audit.record(self.event(AuditKind::SessionEnded, user).of_session(id));
                Ok((user, EndOutcome::Ended))
            }
            EndOutcome::EndedBefore => Ok((user, EndOutcome::EndedBefore)),
        }
    }

    /// Ends all sessions of a user; returns how many were live.
    ///
    /// # Errors
    /// As [`account`](Self::account), and [`AdministrationError::InDoubt`].
    pub async fn end_all(&self, user: UserId) -> Outcome<u64> {
        self.account(user).await?;
        let reason = RevokeReason::Admin;
        let ended = changed(self.sessions.end_all(user, reason, self.now()).await)?;
        self.metrics.sessions_revoked(reason, ended);
        let event = self.event(AuditKind::SessionsEnded, user);
        self.audit.record(event.with("sessions_ended", ended));
        Ok(ended)
    }

    /// Makes a change that gives rights, once it has been noted; and notes if it has failed after all.
    async fn noted_first(
        &self,
        event: AuditEvent,
        change: impl Future<Output = Result<UserChange, StoreError>>,
    ) -> Outcome<UserChange> {
        let mut failure = AuditEvent { kind: AuditKind::ActFailed, ..event.clone() };
        failure = failure.with("act", event.kind.name());
        let result = match self.audit.record_first(event).await {
            Ok(()) => changed(change.await).and_then(known),
            Err(error) => Err(AdministrationError::NotNoted(error)),
        };
        match &result {
            Ok(UserChange::Changed) => {}
            Err(AdministrationError::InDoubt(_)) => {
                self.audit.record(failure.with("outcome", "unknown"));
            }
            _ => self.audit.record(failure),
        }
        result
    }

    fn event(&self, kind: AuditKind, user: UserId) -> AuditEvent {
        AuditEvent::new(kind, self.now(), self.actor.clone()).of_user(user)
    }

    /// The sessions, each with its end. Each identity is asked for once.
    async fn judged(&self, sessions: Vec<Session>) -> Result<Vec<SessionRecord>, StoreError> {
        let now = self.now();
        let mut people: HashMap<ExternalIdentity, Option<Person>> = HashMap::new();
        let mut records = Vec::with_capacity(sessions.len());
        for session in sessions {
            if !people.contains_key(&session.identity) {
                let users = &self.sessions.users;
                let person = users.find_person(session.user, &session.identity).await?;
                people.insert(session.identity.clone(), person);
            }
            let person = people.get(&session.identity).and_then(Option::as_ref);
            let end = known_end(&session, person, now);
            records.push(SessionRecord { session, end });
        }
        Ok(records)
    }

    fn now(&self) -> Timestamp {
        self.clock.now().into()
    }
}

/// The end of a session: from its row, by a limit, or because of its user.
fn known_end(session: &Session, person: Option<&Person>, now: Timestamp) -> Option<KnownEnd> {
    if let Some(end) = session.end.or_else(|| session.expiry(now)) {
        return Some(KnownEnd { at: Some(end.at), reason: end.reason });
    }
    match Person::standing(person, session) {
        Standing::Good => None,
        Standing::Ended => Some(KnownEnd { at: None, reason: RevokeReason::Other }),
        Standing::Restored => {
            // An epoch is the time at which it was raised.
            let raised = person.and_then(|person| person.restore_epoch.try_into().ok());
            let at = raised.map(Timestamp::from_unix);
            Some(KnownEnd { at, reason: RevokeReason::Restored })
        }
        Standing::Disabled => {
            let at = person.and_then(|person| person.user.disabled_at);
            Some(KnownEnd { at, reason: RevokeReason::UserDisabled })
        }
    }
}

fn searchable<T, E>(text: Result<T, E>) -> Outcome<T> {
    text.map_err(|_| AdministrationError::NotSearchable)
}

/// The result of a write. Where the store is unavailable, it may have been carried out.
fn changed<T>(result: Result<T, StoreError>) -> Outcome<T> {
    result.map_err(|error| match error {
        StoreError::Unavailable(cause) => AdministrationError::InDoubt(cause),
        error => AdministrationError::Store(error),
    })
}

fn known(change: UserChange) -> Outcome<UserChange> {
    if change == UserChange::Unknown { Err(AdministrationError::Nobody) } else { Ok(change) }
}

/// The page of what was found, of which one more than `limit` was asked for.
fn page<T, C>(mut found: Vec<T>, limit: u32, cursor: impl Fn(&T) -> C) -> Page<T, C> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let next = found.last().filter(|_| !is_last).map(cursor);
    Page { entries: found, next }
}
