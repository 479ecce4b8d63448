//! The file with the refresh token, which only its user can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

pub struct Kept {
    file: PathBuf,
}

/// The same while no other process of this program uses it.
pub struct Locked<'a> {
    kept: &'a Kept,
    _lock: File,
}

impl Kept {
    pub fn at(file: PathBuf) -> Self {
        Self { file }
    }

    /// Waits until no other process refreshes.
    pub fn lock(&self) -> io::Result<Locked<'_>> {
        let lock = private().truncate(false).open(self.file.with_extension("lock"))?;
        lock.lock()?;
        Ok(Locked { kept: self, _lock: lock })
    }
}

impl Locked<'_> {
    pub fn token(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(&self.kept.file) {
            Ok(token) => Ok(Some(token)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the token in one step, so that a crash leaves the old one or the new one.
    pub fn replace(&self, token: &str) -> io::Result<()> {
        let next = self.kept.file.with_extension("next");
        if let Err(error) = fs::remove_file(&next)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = private().create_new(true).open(&next)?;
        file.write_all(token.as_bytes())?;
        file.sync_all()?;
        fs::rename(next, &self.kept.file)
    }

    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.kept.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Makes files that others can neither read nor write.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}
