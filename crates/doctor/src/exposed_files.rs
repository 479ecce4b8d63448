//! Files with secrets or people's data that every user of the machine may read.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use mintgate_settings::{Settings, StoreUrl};

/// The right to read of those who are neither the owner nor in the file's group. The group may read: that is
/// how Kubernetes gives secrets to a process.
const OTHERS_MAY_READ: u32 = 0o004;

/// The configuration file if it holds a secret, files of secrets and SQLite's file, as far as everybody may
/// read them: what is so, and what to do about it.
pub(crate) fn found(settings: &Settings) -> Option<(&'static str, String)> {
    let mut files: Vec<&Path> = settings.secret_files.iter().map(AsRef::as_ref).collect();
    if let StoreUrl::Sqlite(path) = &settings.store.url {
        files.push(path.as_ref());
    }
    files.retain(|file| file.metadata().is_ok_and(|it| it.mode() & OTHERS_MAY_READ != 0));
    if files.is_empty() {
        return None;
    }
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let what = "every user of this machine can read secrets or people's data";
    Some((what, format!("chmod o-r {}", names.join(" "))))
}
