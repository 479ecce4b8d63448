//! A directory that stores the signing keys of one machine, one private JWK in a file.
//!
//! A file is named by the key's use and number: `access-1.jwk`, `refresh-3.jwk`. The JWK's `iat` is
//! the time when the key was made. A key with an activation time has a second file, such as
//! `access-1.active`, which holds that time in seconds since 1970 and the key's `kid`. A file is
//! written completely before it gets its name, so a reader never finds half of one. Files with other
//! names are ignored.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::{KeyRepo, StoreError};
use mintgate_domain::{Cause, SecretText};
use rustix::process::{Gid, getegid, getgroups};
use serde::Deserialize;
use zeroize::Zeroizing;

/// The longest file that is read, in bytes. Every key is shorter.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why a key directory cannot be used. A damaged file is never repaired.
#[derive(Debug, thiserror::Error)]
pub enum KeyDirectoryError {
    /// Other users of the machine may read or change the directory or a file.
    #[error(
        "{path} has mode {mode:04o}, so others may get at the keys; run: chmod {wanted:03o} {path}"
    )]
    TooOpen {
        /// The directory or file that others may read or change.
        path: PathBuf,
        /// The permission bits that the path has.
        mode: u32,
        /// The permission bits that the path should have.
        wanted: u32,
    },
    /// The content of a file is not what this program writes.
    #[error(
        "{path}: {reason} — nothing was changed: restore the file, or move it away (what its key signed is then refused)"
    )]
    Damaged {
        /// The key file that is damaged.
        path: PathBuf,
        /// The fault in the file's content.
        reason: &'static str,
    },
    /// The file system reports an error.
    #[error("cannot {action} {path}")]
    Io {
        /// The operation that failed, as a verb.
        action: &'static str,
        /// The file or directory of the operation.
        path: PathBuf,
        /// The file system's own error.
        source: io::Error,
    },
}

impl From<KeyDirectoryError> for StoreError {
    fn from(error: KeyDirectoryError) -> Self {
        let text = error.to_string();
        match error {
            KeyDirectoryError::Damaged { .. } => Self::Corrupt(text.into()),
            KeyDirectoryError::TooOpen { .. } => Self::Unavailable(text.into()),
            KeyDirectoryError::Io { source, .. } => {
                Self::Unavailable(Cause::from_error(text, source))
            }
        }
    }
}

/// A directory of signing keys. Several processes of one machine may share it.
#[derive(Debug, Clone)]
pub struct KeyDirectory {
    path: PathBuf,
}

impl KeyDirectory {
    /// Opens the directory, or makes it with mode 0700.
    ///
    /// # Errors
    /// If others have any permission on the directory, or a group has that this process is not in, or the group
    /// may write to it; or if it cannot be made.
    pub fn open_or_create(path: impl Into<PathBuf>) -> Result<Self, KeyDirectoryError> {
        let path = path.into();
        if !path.exists() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(failed("make the key directory", &path))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_directory(parent)?;
            }
        }
        let directory = Self { path };
        directory.check()?;
        Ok(directory)
    }

    fn check(&self) -> Result<(), KeyDirectoryError> {
        let metadata = fs::metadata(&self.path).map_err(failed("look at", &self.path))?;
        if !metadata.is_dir() {
            let source = ErrorKind::NotADirectory.into();
            return Err(failed("use as the key directory", &self.path)(source));
        }
        check_rights(&self.path, &metadata, 0o700)
    }

    /// A lock on the directory against other processes and other threads of this one, held until it is
    /// dropped: shared to read, exclusive to write.
    fn lock(&self, exclusive: bool) -> Result<File, KeyDirectoryError> {
        let directory = File::open(&self.path).map_err(failed("open", &self.path))?;
        let locked = if exclusive { directory.lock() } else { directory.lock_shared() };
        locked.map_err(failed("lock", &self.path))?;
        Ok(directory)
    }

    fn key_file(&self, key_use: KeyUse, number: u32) -> PathBuf {
        self.path.join(format!("{}-{number}.jwk", key_use.name()))
    }

    fn time_file(&self, key_use: KeyUse, number: u32) -> PathBuf {
        self.path.join(format!("{}-{number}.active", key_use.name()))
    }

    /// Reads every key, ordered by use and number.
    fn read_all(&self) -> Result<Vec<KeyRecord>, KeyDirectoryError> {
        let unlisted = failed("list", &self.path);
        let names = fs::read_dir(&self.path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let names = names.map_err(unlisted)?;
        let slots: BTreeSet<(KeyUse, u32)> =
            names.iter().filter_map(|entry| slot_of(entry.file_name().to_str()?)).collect();
        let mut records = Vec::with_capacity(slots.len());
        for (key_use, number) in slots {
            let path = self.key_file(key_use, number);
            let Some(material) = read(&path)? else { continue };
            let Some(label) = JwkLabel::of(&material) else {
                let reason = "it is not a private JWK with a \"kid\" and an \"iat\"";
                return Err(KeyDirectoryError::Damaged { path, reason });
            };
            let id = KeyId::new(label.kid);
            let created_at = Timestamp::from_unix(label.iat);
            let activates_at = self.read_time(key_use, number, &id)?;
            records.push(KeyRecord { key_use, number, id, material, created_at, activates_at });
        }
        Ok(records)
    }

    /// The activation time of a key. A time that was written for an earlier key with the same number
    /// is ignored.
    fn read_time(
        &self,
        key_use: KeyUse,
        number: u32,
        id: &KeyId,
    ) -> Result<Option<Timestamp>, KeyDirectoryError> {
        let path = self.time_file(key_use, number);
        let Some(text) = read(&path)? else { return Ok(None) };
        let parsed = text.expose().strip_suffix('\n').and_then(|line| line.split_once(' '));
        let Some((at, kid)) = parsed.and_then(|(at, kid)| Some((at.parse().ok()?, kid))) else {
            let reason = "it does not hold a time in seconds since 1970 and a \"kid\"";
            return Err(KeyDirectoryError::Damaged { path, reason });
        };
        Ok((kid == id.as_str()).then_some(Timestamp::from_unix(at)))
    }

    fn write_time(&self, record: &KeyRecord, at: Timestamp) -> Result<(), KeyDirectoryError> {
        let path = self.time_file(record.key_use, record.number);
        let file = TemporaryFile::write(
            &self.path,
            format!("{} {}\n", at.as_unix(), record.id).as_bytes(),
        )?;
        fs::rename(&file.0, &path).map_err(failed("make", &path))
    }

    fn add(&self, record: &KeyRecord) -> Result<bool, KeyDirectoryError> {
        let path = self.key_file(record.key_use, record.number);
        let fits = JwkLabel::of(&record.material).is_some_and(|label| {
            label.kid == record.id.as_str() && label.iat == record.created_at.as_unix()
        });
        if !fits {
            let reason = "the record to be written there does not hold this key's private JWK";
            return Err(KeyDirectoryError::Damaged { path, reason });
        }
        let _lock = self.lock(true)?;
        let records = self.read_all()?;
        let of_use = records.iter().filter(|other| other.key_use == record.key_use);
        let highest = of_use.map(|other| other.number).max().unwrap_or_default();
        if Some(record.number) != highest.checked_add(1)
            || records.iter().any(|other| other.id == record.id)
        {
            return Ok(false);
        }
        let file = TemporaryFile::write(&self.path, record.material.expose().as_bytes())?;
        // The time is written before the key: without the key it means nothing.
        if let Some(at) = record.activates_at {
            self.write_time(record, at)?;
        }
        // Linking, unlike renaming, fails if the name exists.
        let added = match fs::hard_link(&file.0, &path) {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed("make", &path)(error)),
        };
        sync_directory(&self.path)?;
        Ok(added)
    }

    fn activate(
        &self,
        key_use: KeyUse,
        id: &KeyId,
        at: Timestamp,
    ) -> Result<bool, KeyDirectoryError> {
        let _lock = self.lock(true)?;
        let Some(record) = self.find(key_use, id)? else { return Ok(false) };
        if record.activates_at.is_some_and(|before| before <= at) {
            return Ok(false);
        }
        self.write_time(&record, at)?;
        sync_directory(&self.path)?;
        Ok(true)
    }

    fn remove(&self, key_use: KeyUse, id: &KeyId) -> Result<bool, KeyDirectoryError> {
        let _lock = self.lock(true)?;
        let Some(record) = self.find(key_use, id)? else { return Ok(false) };
        // The key is removed before its time: a time without its key means nothing.
        remove_file(&self.key_file(key_use, record.number))?;
        sync_directory(&self.path)?;
        remove_file(&self.time_file(key_use, record.number))?;
        Ok(true)
    }

    fn find(&self, key_use: KeyUse, id: &KeyId) -> Result<Option<KeyRecord>, KeyDirectoryError> {
        let mut records = self.read_all()?.into_iter();
        Ok(records.find(|record| record.key_use == key_use && record.id == *id))
    }
}

/// The files are few and small, so they are read and written on the caller's thread.
#[async_trait]
impl KeyRepo for KeyDirectory {
    async fn list_keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        self.check()?;
        let _lock = self.lock(false)?;
        Ok(self.read_all()?)
    }

    async fn add_key(&self, record: &KeyRecord) -> Result<bool, StoreError> {
        Ok(self.add(record)?)
    }

    async fn activate_key(
        &self,
        key_use: KeyUse,
        id: &KeyId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.activate(key_use, id, at)?)
    }

    async fn remove_key(&self, key_use: KeyUse, id: &KeyId) -> Result<bool, StoreError> {
        Ok(self.remove(key_use, id)?)
    }
}

/// The members of a private JWK that the directory reads itself.
#[derive(Deserialize)]
struct JwkLabel {
    kid: String,
    iat: i64,
}

impl JwkLabel {
    fn of(material: &SecretText) -> Option<Self> {
        serde_json::from_str(material.expose()).ok()
    }
}

/// The use and number in the name of a key file; `None` if the name is not a key file's.
fn slot_of(name: &str) -> Option<(KeyUse, u32)> {
    let (key_use, number) = name.strip_suffix(".jwk")?.split_once('-')?;
    let parsed: u32 = number.parse().ok()?;
    // Each number has one name: not 0, 01 or +1.
    (parsed > 0 && parsed.to_string() == number).then_some((KeyUse::from_name(key_use)?, parsed))
}

/// A temporary file, removed when it goes out of scope.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// Writes a file with mode 0600 and syncs it to the disk.
    fn write(directory: &Path, content: &[u8]) -> Result<Self, KeyDirectoryError> {
        let mut random = [0; 8];
        openssl::rand::rand_bytes(&mut random)
            .map_err(|error| failed("draw a name in", directory)(error.into()))?;
        let file = Self(directory.join(format!(".new-{:016x}", u64::from_be_bytes(random))));
        let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.0);
        let written = options.and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        });
        written.map_err(failed("write", &file.0))?;
        Ok(file)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // If this fails, a file is left that nobody reads. A renamed file is no longer there.
        let _ = fs::remove_file(&self.0);
    }
}

/// Reads a file; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<SecretText>, KeyDirectoryError> {
    // To open a pipe would wait for somebody who writes to it.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        let reason = "it is not a regular file";
        return Err(KeyDirectoryError::Damaged { path: path.to_owned(), reason });
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed("open", path)(error)),
    };
    // The mode of the open file, because the path may lead to another file by now.
    let metadata = file.metadata().map_err(failed("look at", path))?;
    check_rights(path, &metadata, 0o600)?;
    read_text(&file, metadata.len()).map(Some).map_err(failed("read", path))
}

fn read_text(file: &File, len: u64) -> io::Result<SecretText> {
    // Allocated once, because a growing buffer would leave copies of the key behind.
    let room = usize::try_from(len.min(MAX_FILE_BYTES)).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(SecretText::new(std::mem::take(&mut *text)))
}

fn remove_file(path: &Path) -> Result<(), KeyDirectoryError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Refuses what others have a right to. The group may read if this process is in it: the files of a Kubernetes
/// Secret belong to root, and their group is how a process that is not root may read them.
fn check_rights(path: &Path, metadata: &Metadata, wanted: u32) -> Result<(), KeyDirectoryError> {
    let mode = metadata.mode();
    let reading = if metadata.is_dir() { 0o050 } else { 0o040 };
    let allowed = if is_our_group(metadata.gid()) { reading } else { 0 };
    if mode & 0o077 & !allowed == 0 {
        return Ok(());
    }
    Err(KeyDirectoryError::TooOpen { path: path.to_owned(), mode: mode & 0o7777, wanted })
}

/// Whether this process is in the group.
fn is_our_group(group: u32) -> bool {
    let is_it = |other: Gid| other.as_raw() == group;
    is_it(getegid()) || getgroups().is_ok_and(|groups| groups.into_iter().any(is_it))
}

fn sync_directory(path: &Path) -> Result<(), KeyDirectoryError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyDirectoryError {
    let path = path.to_owned();
    move |source| KeyDirectoryError::Io { action, path, source }
}
