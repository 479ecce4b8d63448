//! The key directory: who may read it, who makes a key first, and what is never overwritten.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Barrier;

use mintgate_signer_jose::{Algorithm, KeyDirectory, KeyDirectoryError, KeyRole, StoredKey};
use tempfile::TempDir;

fn new_place() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("keys");
    (place, path)
}

fn open(path: &Path, algorithm: Algorithm) -> Result<StoredKey, KeyDirectoryError> {
    KeyDirectory::open_or_create(path)?.load_or_create(KeyRole::Access, algorithm)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn file_names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn keys_are_made_once_and_for_nobody_else() {
    let (_place, path) = new_place();
    let directory = KeyDirectory::open_or_create(&path).unwrap();
    let access = directory.load_or_create(KeyRole::Access, Algorithm::Es256).unwrap();
    let refresh = directory.load_or_create(KeyRole::Refresh, Algorithm::Hs256).unwrap();
    assert!(access.created && refresh.created);
    assert_eq!(mode(&path), 0o700);
    assert_eq!(file_names(&path), ["access-current.jwk", "refresh-current.jwk"]);
    for name in file_names(&path) {
        assert_eq!(mode(&path.join(name)), 0o600);
    }

    let again = open(&path, Algorithm::Es256).unwrap();
    assert!(!again.created);
    assert_eq!(again.key.id(), access.key.id());
}

#[test]
fn every_algorithms_key_survives_a_restart() {
    for algorithm in Algorithm::ALL {
        let (_place, path) = new_place();
        let made = open(&path, algorithm).unwrap();
        let found = open(&path, algorithm).unwrap();
        assert!(made.created && !found.created);
        assert_eq!(made.key.id(), found.key.id());
    }
}

#[test]
fn a_directory_others_may_enter_is_refused_with_the_command_that_helps() {
    for bits in [0o755, 0o750, 0o701, 0o720] {
        let (_place, path) = new_place();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
        let error = open(&path, Algorithm::Es256).unwrap_err().to_string();
        let path_text = path.display();
        assert!(error.starts_with(&format!("{path_text} has mode {bits:04o}")), "{error}");
        assert!(error.ends_with(&format!("chmod 700 {path_text}")), "{error}");
        assert!(file_names(&path).is_empty());
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        open(&path, Algorithm::Es256).unwrap();
    }
}

#[test]
fn a_file_others_may_read_is_refused_with_the_command_that_helps() {
    let (_place, path) = new_place();
    open(&path, Algorithm::EdDsa).unwrap();
    let file = path.join("access-current.jwk");
    for bits in [0o644, 0o640, 0o604, 0o620] {
        fs::set_permissions(&file, Permissions::from_mode(bits)).unwrap();
        let error = open(&path, Algorithm::EdDsa).unwrap_err().to_string();
        let file_text = file.display();
        assert!(error.starts_with(&format!("{file_text} has mode {bits:04o}")), "{error}");
        assert!(error.ends_with(&format!("chmod 600 {file_text}")), "{error}");
    }
    for bits in [0o600, 0o400] {
        fs::set_permissions(&file, Permissions::from_mode(bits)).unwrap();
        open(&path, Algorithm::EdDsa).unwrap();
    }
}

#[test]
fn a_link_is_judged_by_the_file_it_leads_to() {
    let (place, path) = new_place();
    open(&path, Algorithm::EdDsa).unwrap();
    let (file, target) = (path.join("access-current.jwk"), place.path().join("mounted"));
    fs::rename(&file, &target).unwrap();
    symlink(&target, &file).unwrap();
    assert!(!open(&path, Algorithm::EdDsa).unwrap().created);
    fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
    let error = open(&path, Algorithm::EdDsa).unwrap_err();
    assert!(matches!(error, KeyDirectoryError::TooOpen { mode: 0o644, .. }), "{error}");
    // A link to nowhere is an error, neither a loop nor a reason to write elsewhere.
    fs::remove_file(&target).unwrap();
    let error = open(&path, Algorithm::EdDsa).unwrap_err();
    assert!(matches!(error, KeyDirectoryError::Io { .. }), "{error}");
    assert!(!target.exists());
}

#[test]
fn a_damaged_file_is_named_and_left_as_it_is() {
    let (_place, path) = new_place();
    open(&path, Algorithm::Rs256).unwrap();
    let file = path.join("access-current.jwk");
    let whole = fs::read(&file).unwrap();
    let mut garbled = whole.clone();
    garbled[whole.len() / 2] ^= 1;
    let half = whole[..whole.len() / 2].to_vec();
    let long = [whole.clone(), vec![b'x'; 100_000]].concat();
    for damaged in [vec![], half, garbled, long, vec![0xff; 100], vec![0; 100]] {
        fs::write(&file, &damaged).unwrap();
        let error = open(&path, Algorithm::Rs256).unwrap_err();
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
        assert_eq!(fs::read(&file).unwrap(), damaged);
        assert_eq!(file_names(&path), ["access-current.jwk"]);
    }
}

#[test]
fn a_key_for_another_algorithm_is_kept_and_the_way_out_told() {
    let (_place, path) = new_place();
    let made = open(&path, Algorithm::Rs256).unwrap();
    let file = path.join("access-current.jwk");
    let before = fs::read(&file).unwrap();
    for other in [Algorithm::Es256, Algorithm::Ps256, Algorithm::Hs256] {
        let error = open(&path, other).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: {other} needs", file.display())), "{error}");
        assert!(error.contains("an RSA key of 3072 bits that says it is for RS256"), "{error}");
        assert!(error.contains("move it away to have a new key made"), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(open(&path, Algorithm::Rs256).unwrap().key.id(), made.key.id());
}

#[test]
fn what_is_no_directory_is_an_error() {
    let (_place, path) = new_place();
    fs::write(&path, "x").unwrap();
    let error = open(&path, Algorithm::EdDsa).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"x");
}

#[test]
fn a_draft_that_a_crash_left_behind_changes_nothing() {
    let (_place, path) = new_place();
    KeyDirectory::open_or_create(&path).unwrap();
    fs::write(path.join(".new-0000000000000000"), "half a k").unwrap();
    let made = open(&path, Algorithm::EdDsa).unwrap();
    assert!(made.created);
    assert_eq!(open(&path, Algorithm::EdDsa).unwrap().key.id(), made.key.id());
}

#[test]
fn all_who_start_at_once_sign_with_one_key() {
    const STARTERS: usize = 8;
    for _ in 0..25 {
        let (_place, path) = new_place();
        let barrier = Barrier::new(STARTERS);
        let start = || {
            barrier.wait();
            open(&path, Algorithm::EdDsa).unwrap()
        };
        let opened: Vec<StoredKey> = std::thread::scope(|scope| {
            let starters: Vec<_> = (0..STARTERS).map(|_| scope.spawn(start)).collect();
            starters.into_iter().map(|starter| starter.join().unwrap()).collect()
        });
        let on_disk = open(&path, Algorithm::EdDsa).unwrap().key;
        for stored in &opened {
            assert_eq!(stored.key.id(), on_disk.id());
        }
        assert_eq!(opened.iter().filter(|stored| stored.created).count(), 1);
        assert_eq!(file_names(&path), ["access-current.jwk"]);
    }
}
