//! The directory that keeps signing keys: one private JWK a file.
//!
//! A file is called by what its key is for and where the key stands: `access-current.jwk`,
//! `refresh-current.jwk`. Keys that are next or former can lie beside them under such names.
//! A file is written once and never changed: whoever finds one finds all of it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mintgate_domain::SecretText;
use zeroize::Zeroizing;

use crate::{Algorithm, KeyError, SigningKey};

/// No key is longer; whatever else lies in the file is not read into memory.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// Access tokens.
    Access,
    /// Refresh tokens.
    Refresh,
}

impl KeyRole {
    const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
        }
    }
}

/// A key of the directory.
#[derive(Debug)]
pub struct StoredKey {
    /// The key.
    pub key: SigningKey,
    /// Whether it has been made just now.
    pub created: bool,
}

/// Why a key directory cannot be used. Nothing in it is ever replaced or repaired.
#[derive(Debug, thiserror::Error)]
pub enum KeyDirectoryError {
    /// Others on the machine may read or change it.
    #[error(
        "{path} has mode {mode:04o}, so others may get at the keys; run: chmod {wanted:03o} {path}"
    )]
    TooOpen {
        /// The directory or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// A file is damaged, or its key is not for the configured algorithm.
    #[error(
        "{path}: {source} — nothing was changed: restore the file, configure the algorithm it is for, or move it away to have a new key made (what the old one signed is then refused)"
    )]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A new key could not be made.
    #[error("cannot make a key: {0}")]
    Generate(KeyError),
    /// The file system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
}

/// The directory of signing keys.
#[derive(Debug, Clone)]
pub struct KeyDirectory {
    path: PathBuf,
}

impl KeyDirectory {
    /// Opens the directory; makes it, with mode 0700, if there is none.
    ///
    /// # Errors
    /// If group or others have any right to it, or it cannot be made.
    pub fn open_or_create(path: impl Into<PathBuf>) -> Result<Self, KeyDirectoryError> {
        let path = path.into();
        if !path.exists() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(failed("make the key directory", &path))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_directory(parent)?;
            }
        }
        let metadata = fs::metadata(&path).map_err(failed("look at", &path))?;
        if !metadata.is_dir() {
            let source = ErrorKind::NotADirectory.into();
            return Err(failed("use as the key directory", &path)(source));
        }
        check_mode(&path, metadata.mode(), 0o700)?;
        Ok(Self { path })
    }

    /// The key that signs at present; made, with mode 0600, if there is none.
    ///
    /// Processes that start at once on one directory all get the same key.
    ///
    /// # Errors
    /// If the file is readable by others, damaged, or for another algorithm; it is left as it is.
    pub fn load_or_create(
        &self,
        role: KeyRole,
        algorithm: Algorithm,
    ) -> Result<StoredKey, KeyDirectoryError> {
        let path = self.path.join(format!("{}-current.jwk", role.name()));
        if let Some(key) = load(&path, algorithm)? {
            return Ok(StoredKey { key, created: false });
        }
        let key = SigningKey::generate(algorithm).map_err(KeyDirectoryError::Generate)?;
        let created = self.store(&path, &key)?;
        // Also by whoever came second: the winner may not have come so far.
        sync_directory(&self.path)?;
        if created {
            return Ok(StoredKey { key, created });
        }
        match load(&path, algorithm)? {
            Some(key) => Ok(StoredKey { key, created }),
            None => Err(failed("read", &path)(ErrorKind::NotFound.into())),
        }
    }

    /// Puts the key at `path` unless there is one, and says whether it did.
    ///
    /// The key is complete on disk before it gets its name, and linking, unlike renaming, fails
    /// where the name is taken: of several at once one wins, and nobody sees half a file.
    fn store(&self, path: &Path, key: &SigningKey) -> Result<bool, KeyDirectoryError> {
        let draft = Draft::new(&self.path)?;
        draft.write(key).map_err(failed("write", &draft.0))?;
        match fs::hard_link(&draft.0, path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(failed("make", path)(error)),
        }
    }
}

/// A file with a name of its own, removed when it goes out of scope.
struct Draft(PathBuf);

impl Draft {
    fn new(directory: &Path) -> Result<Self, KeyDirectoryError> {
        let mut random = [0; 8];
        openssl::rand::rand_bytes(&mut random)
            .map_err(|error| KeyDirectoryError::Generate(error.into()))?;
        Ok(Self(directory.join(format!(".new-{:016x}", u64::from_be_bytes(random)))))
    }

    fn write(&self, key: &SigningKey) -> io::Result<()> {
        let text = key.to_private_jwk()?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.0)?;
        file.write_all(&text)?;
        file.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A leftover is a key nobody uses: not worth failing a start over.
        let _ = fs::remove_file(&self.0);
    }
}

/// Reads a key; `None` if there is no such file.
fn load(path: &Path, algorithm: Algorithm) -> Result<Option<SigningKey>, KeyDirectoryError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    // Of the open file, not of the path, which may lead elsewhere a moment later.
    let metadata = file.metadata().map_err(failed("look at", path))?;
    check_mode(path, metadata.mode(), 0o600)?;
    let text = read_text(&file, metadata.len()).map_err(failed("read", path))?;
    let key = SigningKey::from_text(&text, algorithm);
    key.map(Some).map_err(|source| KeyDirectoryError::BadKey { path: path.to_owned(), source })
}

fn read_text(file: &File, len: u64) -> io::Result<SecretText> {
    // Room for all of it at once, so that growing leaves no copies behind.
    let room = usize::try_from(len.min(MAX_FILE_BYTES)).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(SecretText::new(std::mem::take(&mut *text)))
}

fn check_mode(path: &Path, mode: u32, wanted: u32) -> Result<(), KeyDirectoryError> {
    let rights_of_others = mode & 0o077;
    if rights_of_others == 0 {
        return Ok(());
    }
    Err(KeyDirectoryError::TooOpen { path: path.to_owned(), mode: mode & 0o7777, wanted })
}

fn sync_directory(path: &Path) -> Result<(), KeyDirectoryError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(failed("sync", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyDirectoryError {
    let path = path.to_owned();
    move |source| KeyDirectoryError::Io { action, path, source }
}
