//! What a restored backup has undone, in words.

use std::fmt::Write as _;

use super::shown;
use crate::json::RestoreDoneBody;

const UNDONE: &str = "What was done after that is undone: people who were disabled or deleted since are \
                      back, and so are roles that were revoked, identities that were unlinked, and keys \
                      that were retired.\n";

pub(crate) fn restore_done(body: &RestoreDoneBody) -> String {
    let mut text = format!(
        "Every session that was opened before {} has ended (restored); live were: {}\n",
        body.at, body.sessions_ended
    );
    if !body.counted {
        text += "Not all could be counted: the store failed. They have ended all the same.\n";
    }
    let _ = match &body.last_kept {
        Some(last) => writeln!(
            text,
            "The audit log of the backup ends with entry {}, of {}.",
            last.sequence, last.at
        ),
        None => writeln!(text, "The audit log of the backup is empty."),
    };
    match (&body.undone, body.lost) {
        (None, _) => {
            text += UNDONE;
            text += "If the audit log was exported after the backup was made, run this again with \
                     --audit-log FILE before the service is reached again: it lists them.\n";
        }
        (Some(_), None) => text += "The exported log does not go further.\n",
        (Some(undone), Some([first, last])) => {
            let _ = writeln!(text, "Of the exported log, it lacks the entries {first} to {last}.");
            let next = body.last_kept.as_ref().map_or(1, |kept| kept.sequence + 1);
            if next < first {
                let _ =
                    writeln!(text, "The export does not have the entries {next} to {}.", first - 1);
            }
            if undone.is_empty() {
                text += "By them, nothing was taken away that is back now.\n";
            }
            for one in undone {
                let _ = writeln!(text, "{}, {} by {}", shown(&one.what), one.at, shown(&one.by));
                if let Some(command) = &one.command {
                    let _ = writeln!(text, "    {}", shown(command));
                }
            }
            text += "What was done after the last of these entries is undone too, and nothing here knows it.\n";
        }
    }
    text
}
