//! Files with secrets or people's data that every user of the machine may read.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::settings::{Settings, StoreUrl};

/// The right to read of those who are neither the owner nor in the file's group. The group may read: that is
/// how Kubernetes gives secrets to a process.
const OTHERS_MAY_READ: u32 = 0o004;

/// Warns of the configuration file if it holds a secret, of files of secrets and of SQLite's file, as far
/// as everybody may read them.
pub(crate) fn warning(settings: &Settings) -> Option<String> {
    let mut files: Vec<&Path> = settings.secret_files.iter().map(AsRef::as_ref).collect();
    if let StoreUrl::Sqlite(path) = &settings.store.url {
        files.push(path.as_ref());
    }
    files.retain(|file| file.metadata().is_ok_and(|it| it.mode() & OTHERS_MAY_READ != 0));
    if files.is_empty() {
        return None;
    }
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let names = names.join(" ");
    Some(format!("every user of this machine can read secrets or people's data; chmod o-r {names}"))
}
