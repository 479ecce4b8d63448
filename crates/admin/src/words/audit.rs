//! What the audit log says, in words.

use std::fmt::Write as _;

use mintgate_domain::model::{Account, AuditEntry, SessionId};
use mintgate_domain::{AuditVerdict, PersonExplanation, RoleOrigin, SessionExplanation};

use super::{called, date, shown, why};

/// One entry on one line: when, what, who, from where, in which request.
pub(crate) fn entry(entry: &AuditEntry) -> String {
    let event = &entry.event;
    let mut text = format!(
        "{}  {}  by {}",
        date(event.at),
        event.kind.name(),
        shown(&event.actor.to_string())
    );
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(text, "  {name} {}", shown(&value));
        }
    };
    add("user", event.user.map(|id| id.to_string()));
    add("session", event.session.map(|id| id.to_string()));
    add("issuer", event.issuer.clone());
    add("subject", event.personal.subject.clone());
    add("from", event.personal.network.clone());
    for (name, value) in &event.details {
        add(&name.replace('_', " "), Some(value.clone()));
    }
    add("request", event.request_id.clone());
    add("trace", event.trace_id.clone());
    if entry.is_late {
        text += "  (written late)";
    }
    text.push('\n');
    text
}

/// Entries, or that there are none.
pub(crate) fn entries(entries: &[AuditEntry]) -> String {
    if entries.is_empty() {
        return "The audit log knows nothing of this.\n".to_owned();
    }
    entries.iter().map(entry).collect()
}

/// What is known of the end of a session that the audit log alone knows, or more than the session says.
pub(crate) fn session(explained: &SessionExplanation) -> String {
    let mut text = match (&explained.record, &explained.deleted) {
        (Some(record), _) => super::explained(record),
        (None, Some(deleted)) => super::deleted_session(explained.id, deleted),
        (None, None) => {
            let mut text = format!("session    {}\n", explained.id);
            match explained.end {
                None => text += "state      not stored any more; nothing says that it was ended\n",
                Some(end) => {
                    let at = end.at.map(date).unwrap_or_default();
                    let _ = writeln!(text, "state      ended {at} ({})", end.reason.name());
                    let _ = writeln!(text, "because    {}", why(end.reason));
                }
            }
            text
        }
    };
    if let Some(end) = &explained.ended_by {
        let _ = write!(text, "ended by   {}", entry(end));
    }
    if !explained.entries.is_empty() {
        text += "The audit log:\n";
        text += &entries(&explained.entries);
    }
    text
}

/// Why a person has which roles, was denied a login, or is disabled.
pub(crate) fn person(explained: &PersonExplanation) -> String {
    let Account { user, .. } = &explained.account;
    let mut text = format!("user       {}  {}\n", user.id, called(&explained.account));
    match (&explained.disabled_by, user.disabled_at) {
        (_, None) => {}
        (Some(by), Some(_)) => {
            let _ = write!(text, "disabled   {}", entry(by));
        }
        (None, Some(at)) => {
            let _ = writeln!(text, "disabled   {}; the audit log does not say by whom", date(at));
        }
    }
    if explained.roles.is_empty() {
        text += "roles      none\n";
    }
    for origin in &explained.roles {
        text += &role(origin);
    }
    if !explained.denied.is_empty() {
        text += "Denied logins:\n";
        text += &entries(&explained.denied);
    }
    text
}

fn role(origin: &RoleOrigin) -> String {
    let mut text = String::new();
    let name = shown(origin.role.as_str());
    let mut line = |why: &str| {
        let _ = writeln!(text, "role       {name}: {why}");
    };
    match &origin.granted_by {
        Some(by) => {
            let actor = shown(&by.event.actor.to_string());
            line(&format!("granted {} by {actor}", date(by.event.at)));
        }
        None if origin.is_granted => line("granted; the audit log does not say by whom"),
        None => {}
    }
    let list =
        |ids: &[SessionId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !origin.by_rules.is_empty() {
        line(&format!("given by the rules of [roles], in {}", list(&origin.by_rules)));
    }
    if !origin.otherwise.is_empty() {
        line(&format!(
            "given by roles.default or the user system, or granted before, in {}",
            list(&origin.otherwise)
        ));
    }
    text
}

/// Whether the audit log is as it was written.
pub(crate) fn verdict(verdict: &AuditVerdict) -> String {
    let mut text = match &verdict.fault {
        None => format!(
            "The audit log is as it was written: {} entries from {} on.\nhead {}\nKeep the head outside the \
             database: with --head it shows later whether the end was cut off or everything rewritten.\n",
            verdict.read, verdict.from, verdict.head
        ),
        Some(fault) => format!("The audit log is not as it was written: {fault}.\n"),
    };
    if !verdict.is_keyed {
        text += "Its entries are proven without a key: whoever can write the store can write another log. \
                 Set keys.encryption_key or audit.key.\n";
    }
    text
}
