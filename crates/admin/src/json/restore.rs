//! What a restored backup has undone, as JSON.

use mintgate_domain::model::Timestamp;
use mintgate_domain::{RestoreDone, Undone, UndoneAct};
use serde::Serialize;

use super::date;

/// What `mintgate restore-done` has ended and found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreDoneBody {
    /// Every session that was opened before this time has ended.
    pub at: String,
    /// How many of them were live.
    pub sessions_ended: u64,
    /// Whether all of them were counted, and their rows say so.
    pub counted: bool,
    /// The last entry that the audit log had, before this command; null if it had none.
    pub last_kept: Option<LastKeptBody>,
    /// The first and the last entry of the exported log that the store has lost; null without an export,
    /// or if it has lost none.
    pub lost: Option<[u64; 2]>,
    /// What the lost entries say was taken away and is back; null without an export.
    pub undone: Option<Vec<UndoneBody>>,
}

/// The last entry that the audit log had.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastKeptBody {
    /// The sequence number of the entry.
    pub sequence: u64,
    /// The time of the entry.
    pub at: String,
}

/// Something that was taken away and is back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UndoneBody {
    /// What is back, as a sentence.
    pub what: String,
    /// The command that takes it away again; null if there is none.
    pub command: Option<String>,
    /// The time at which it was taken away.
    pub at: String,
    /// Who took it away.
    pub by: String,
}

impl RestoreDoneBody {
    pub(crate) fn new(
        done: &RestoreDone,
        last_kept: Option<(u64, Timestamp)>,
        lost: Option<(u64, u64)>,
        undone: Option<&[Undone]>,
    ) -> Self {
        Self {
            at: date(done.at),
            sessions_ended: done.ended,
            counted: done.is_counted,
            last_kept: last_kept.map(|(sequence, at)| LastKeptBody { sequence, at: date(at) }),
            lost: lost.map(|(first, last)| [first, last]),
            undone: undone.map(|undone| undone.iter().map(UndoneBody::from).collect()),
        }
    }
}

impl From<&Undone> for UndoneBody {
    fn from(undone: &Undone) -> Self {
        let (what, command) = match &undone.act {
            UndoneAct::UserDisabled(user) => (
                format!("the user {user} is not disabled"),
                Some(format!("mintgate users disable {user}")),
            ),
            UndoneAct::UserDeleted(user) => (
                format!("the user {user} is not deleted"),
                Some(format!("mintgate users delete {user} --yes")),
            ),
            UndoneAct::RoleRevoked(user, role) => (
                format!("the user {user} has the role {role}"),
                Some(format!("mintgate users revoke-role {user} {}", quoted(role))),
            ),
            UndoneAct::IdentityUnlinked(user, issuer) => (
                format!(
                    "the user {user} has an identity of {issuer}, which only they can unlink; \
                     `mintgate users show {user}` lists their identities"
                ),
                None,
            ),
            UndoneAct::KeyRetired(kid) => (
                format!("the key {kid} verifies, unless the keys are in keys.dir"),
                Some(format!("mintgate keys retire {} --emergency", quoted(kid))),
            ),
        };
        Self { what, command, at: date(undone.at), by: undone.actor.to_string() }
    }
}

/// An argument of a command that a shell takes as it is.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@%+=,".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_one_word_to_a_shell() {
        assert_eq!(quoted("a-b_C.1"), "a-b_C.1");
        assert_eq!(quoted("two words"), "'two words'");
        assert_eq!(quoted("it's $(x)"), r"'it'\''s $(x)'");
    }
}
