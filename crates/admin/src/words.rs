//! What the commands print. Texts of strangers are shown without what would act on a terminal.

mod audit;
mod restore;

use std::fmt::Write as _;

use mintgate_domain::model::{Account, DeletedSession, RevokeReason, Role, SessionId, UserId};
use mintgate_domain::ports::{EndOutcome, UserChange};
use mintgate_domain::{AdministrationError, DeletedUser, Page, PersonRecord, SessionRecord, chain};

use crate::json::date;

pub(crate) use audit::{
    entries, person as person_explained, session as session_explained, verdict,
};
pub(crate) use restore::restore_done;

/// A text without control characters, and without those that change the direction of what follows.
fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let changes_direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || changes_direction {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// What a person is called: as much as is known of them.
fn called(account: &Account) -> String {
    let profile = &account.user.profile;
    let texts = [&profile.name, &profile.preferred_username, &profile.email];
    let known: Vec<_> = texts.into_iter().flatten().map(|text| shown(text)).collect();
    if known.is_empty() {
        let subjects = account.identities.iter();
        let subjects: Vec<_> = subjects
            .map(|linked| {
                format!("{} {}", shown(&linked.identity.issuer), shown(&linked.identity.subject))
            })
            .collect();
        return subjects.join(", ");
    }
    known.join(", ")
}

fn line(account: &Account) -> String {
    let disabled = if account.user.disabled_at.is_some() { "  disabled" } else { "" };
    format!("{}  {}{disabled}\n", account.user.id, called(account))
}

pub(crate) fn refusal(error: &AdministrationError) -> String {
    match error {
        AdministrationError::Nobody => "there is no such person; nothing was changed".to_owned(),
        AdministrationError::NoSuchSession => {
            "there is no such session; nothing was changed".to_owned()
        }
        AdministrationError::Ambiguous { .. } => {
            "this is not the whole name of exactly one person; nothing was changed. Name one of these \
             by the id:"
                .to_owned()
        }
        AdministrationError::NotSearchable | AdministrationError::InvalidRole => {
            format!("{error}; nothing was changed")
        }
        AdministrationError::Store(error) => {
            format!("the store cannot be asked, nothing was changed: {}", chain(error))
        }
        AdministrationError::NotNoted(error) => format!(
            "the audit log cannot be written, so nothing was changed: {}",
            chain(error)
        ),
        AdministrationError::InDoubt(_) => format!(
            "it is not known whether anything was changed; run the command again, twice does no harm: {}",
            chain(error)
        ),
    }
}

pub(crate) fn candidates(error: &AdministrationError) -> String {
    match error {
        AdministrationError::Ambiguous { candidates } => candidates.iter().map(line).collect(),
        _ => String::new(),
    }
}

pub(crate) fn people(page: &Page<Account, UserId>, text: Option<&str>) -> String {
    if page.entries.is_empty() {
        return match text {
            None => "There is nobody.\n".to_owned(),
            Some(_) => {
                "Nobody is found. Names and addresses are kept as far as users.profile says.\n"
                    .to_owned()
            }
        };
    }
    let mut text: String = page.entries.iter().map(line).collect();
    if let Some(next) = page.next {
        let _ = writeln!(text, "There are more: add --after {next}");
    }
    text
}

pub(crate) fn person(person: &PersonRecord) -> String {
    let account = &person.account;
    let user = &account.user;
    let mut text = format!("user       {}\ncreated    {}\n", user.id, date(account.created_at));
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    if let Some(at) = user.disabled_at {
        field("disabled", &date(at));
    }
    let profile = &user.profile;
    for (name, value) in [
        ("name", &profile.name),
        ("username", &profile.preferred_username),
        ("email", &profile.email),
        ("picture", &profile.picture),
    ] {
        if let Some(value) = value {
            field(name, &shown(value));
        }
    }
    field("granted", &list(&user.granted_roles));
    for linked in &account.identities {
        let (identity, since) = (&linked.identity, date(linked.linked_at));
        let (issuer, subject) = (shown(&identity.issuer), shown(&identity.subject));
        field("identity", &format!("{issuer} {subject} ({}, since {since})", linked.provider));
    }
    for former in &account.former_ids {
        field("former id", &format!("{} (of {})", shown(&former.id), shown(&former.source)));
    }
    field("sessions", &format!("{} live", person.sessions.len()));
    text.extend(person.sessions.iter().map(session_line));
    text
}

fn list(roles: &[Role]) -> String {
    if roles.is_empty() {
        return "none".to_owned();
    }
    roles.iter().map(|role| shown(role.as_str())).collect::<Vec<_>>().join(", ")
}

fn changed(change: UserChange, now: &str, before: &str) -> String {
    if change == UserChange::Changed { now.to_owned() } else { before.to_owned() }
}

pub(crate) fn disabled(account: &Account, change: UserChange, ended: u64) -> String {
    let now = changed(change, "is disabled", "was disabled before");
    let called = called(account);
    format!("{called} ({}) {now}; live sessions ended: {ended}\n", account.user.id)
}

pub(crate) fn enabled(account: &Account, change: UserChange) -> String {
    let now = changed(change, "can sign in again; ended sessions stay ended", "was not disabled");
    format!("{} ({}) {now}\n", called(account), account.user.id)
}

/// When a change of roles takes effect.
const ROLES_TAKE_EFFECT: &str = "It counts from the next sign-in; with roles.at_refresh = \"evaluate\" \
    from the next refresh.";

pub(crate) fn granted(account: &Account, role: &str, change: UserChange) -> String {
    let now = changed(change, "is granted", "was granted before");
    let called = called(account);
    format!("{role} {now} to {called} ({}). {ROLES_TAKE_EFFECT}\n", account.user.id)
}

pub(crate) fn role_revoked(account: &Account, role: &str, change: UserChange) -> String {
    let now = changed(change, "is no longer granted", "was not granted");
    let (role, called) = (shown(role), called(account));
    format!(
        "{role} {now} to {called} ({}). {ROLES_TAKE_EFFECT} Other sources of roles are not touched.\n",
        account.user.id
    )
}

/// How much a deletion of this person would delete, for people to read.
fn extent(person: &PersonRecord) -> String {
    let live = person.sessions.iter().filter(|session| session.end.is_none()).count();
    format!(
        "{}identities: {}\nsessions: {}, of which {live} live\n",
        line(&person.account),
        person.account.identities.len(),
        person.sessions.len()
    )
}

pub(crate) fn would_delete(person: &PersonRecord) -> String {
    format!(
        "{}All of this would be deleted, and could not be brought back. Whoever signs in with one of these \
         identities afterwards is a new user; to lock somebody out, use `mintgate users disable`.\n",
        extent(person)
    )
}

pub(crate) fn deleted(person: &PersonRecord, deleted: &DeletedUser) -> String {
    let audit = if deleted.is_forgotten {
        ""
    } else {
        "\nThe audit log cannot be written at present. What it knows of the person is there still, and goes \
         with the entries' age (audit.retention_days)."
    };
    format!(
        "{}This is deleted; live sessions ended: {}.\nWhat remains until {} are the ids of sessions that \
         may have valid access tokens, so that other services can be told; nothing of it names the \
         person. What other services, logs and backups hold is not touched.{audit}\n",
        extent(person),
        deleted.ended,
        date(deleted.forget_after)
    )
}

pub(crate) fn sessions(page: &Page<SessionRecord, mintgate_domain::model::SessionId>) -> String {
    if page.entries.is_empty() {
        return "There is no session.\n".to_owned();
    }
    let mut text: String = page.entries.iter().map(session_line).collect();
    if let Some(next) = page.next {
        let _ = writeln!(text, "There are more: add --after {next}");
    }
    text
}

fn session_line(record: &SessionRecord) -> String {
    let session = &record.session;
    let agent = session.client.user_agent.as_deref().unwrap_or("unknown user agent");
    let network = session.client.ip_prefix.as_deref().unwrap_or("unknown network");
    format!(
        "{}  {}  last used {}  {}  {network}  {}\n",
        session.id,
        state(record),
        date(session.last_used_at),
        session.provider,
        shown(agent)
    )
}

/// `live`, or the time and the reason of the end.
fn state(record: &SessionRecord) -> String {
    let Some(end) = record.end else { return "live".to_owned() };
    let at = end.at.map(|at| format!(" {}", date(at))).unwrap_or_default();
    format!("ended{at} ({})", end.reason.name())
}

pub(crate) fn session(record: &SessionRecord) -> String {
    let session = &record.session;
    let mut text = explained(record);
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    field("expires", &format!("{} without a refresh", date(session.refresh.expires_at)));
    field("at most", &date(session.absolute_expires_at));
    field("generation", &session.refresh.generation.to_string());
    field("roles", &list(&session.grant.roles));
    text
}

pub(crate) fn explained(record: &SessionRecord) -> String {
    let session = &record.session;
    let mut text = format!("session    {}\n", session.id);
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {value}");
    };
    field("state", &state(record));
    if let Some(end) = record.end {
        field("because", why(end.reason));
    }
    field("user", &session.user.to_string());
    let (issuer, subject) = (shown(&session.identity.issuer), shown(&session.identity.subject));
    field("identity", &format!("{issuer} {subject} ({})", session.provider));
    field("opened", &date(session.created_at));
    field("last used", &date(session.last_used_at));
    let agent = session.client.user_agent.as_deref().map_or("unknown".to_owned(), shown);
    field("from", session.client.ip_prefix.as_deref().unwrap_or("unknown"));
    field("with", &agent);
    text
}

pub(crate) fn deleted_session(id: SessionId, deleted: &DeletedSession) -> String {
    format!(
        "session    {id}\nstate      ended {} ({})\nbecause    {}\nforgotten  after {}, when its access \
         tokens have expired\n",
        date(deleted.ended_at),
        deleted.reason.name(),
        why(deleted.reason),
        date(deleted.forget_after)
    )
}

/// The reason for which a session ended, in words.
fn why(reason: RevokeReason) -> &'static str {
    match reason {
        RevokeReason::Logout => {
            "the person signed out of this session or of all, or unlinked the identity it was opened with"
        }
        RevokeReason::RevokedByClient => "a back end revoked one of its tokens",
        RevokeReason::Reuse => {
            "a refresh token came that had been replaced long before: somebody may have stolen it"
        }
        RevokeReason::Admin => "an operator ended it",
        RevokeReason::UserDisabled => "an operator disabled the person",
        RevokeReason::ExpiredIdle => "it was not refreshed in time (tokens.refresh_ttl_secs)",
        RevokeReason::ExpiredAbsolute => "it reached its greatest age (tokens.session_ttl_secs)",
        RevokeReason::ProviderLogout => "the provider ended it",
        RevokeReason::ProviderRefused => {
            "the provider was asked again and no longer lets the person sign in"
        }
        RevokeReason::UserDeleted => "an operator deleted the person",
        RevokeReason::Restored => "a backup of the store was restored after it was opened",
        RevokeReason::Other => {
            "all sessions of the person or of the identity were ended, or the store has a reason that \
             this version does not know"
        }
    }
}

pub(crate) fn ended(id: SessionId, outcome: EndOutcome) -> String {
    match outcome {
        EndOutcome::Ended => format!("The session {id} has ended.\n"),
        EndOutcome::EndedBefore | EndOutcome::Unknown => {
            format!("The session {id} had ended before; its time and reason stay as they were.\n")
        }
    }
}

pub(crate) fn all_ended(account: &Account, ended: u64) -> String {
    let called = called(account);
    format!("All sessions of {called} ({}) have ended; live were: {ended}\n", account.user.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_strangers_do_nothing_to_a_terminal() {
        let hostile = "a\u{1b}[2Jb\u{202e}c\r\n<img src=x>";
        assert_eq!(shown(hostile), "a\\u{1b}[2Jb\\u{202e}c\\u{d}\\u{a}<img src=x>");
        assert_eq!(shown("Jörn O’Neil"), "Jörn O’Neil");
    }
}
