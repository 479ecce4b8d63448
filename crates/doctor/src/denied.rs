//! Who this process is, where the system denies it something.

use std::io::{Error, ErrorKind};

use rustix::process::{getegid, geteuid};

/// The user and the group of this process in brackets, behind a space, if the system has denied it a file;
/// nothing for other errors.
pub fn who_was_denied(error: &anyhow::Error) -> String {
    let is_denied =
        |kind| matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem);
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<Error>());
    if causes.any(|cause| is_denied(cause.kind())) {
        format!(" (this process runs as uid {}, gid {})", geteuid().as_raw(), getegid().as_raw())
    } else {
        String::new()
    }
}
