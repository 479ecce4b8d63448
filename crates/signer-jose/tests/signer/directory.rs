//! The key directory: permissions, races between processes, damage and crashes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use mintgate_domain::SecretText;
use mintgate_domain::model::{KeyId, KeyRecord, KeyUse, Timestamp};
use mintgate_domain::ports::{KeyRepo, StoreError};
use mintgate_signer_jose::{
    Algorithm, FixedKeys, JoseTokens, KeyDirectory, KeyDirectoryError, KeyRing, KeyRingConfig,
    KeyRingError, KeySeal, StoredKeys,
};
use mintgate_testkit::{ManualClock, MemoryStore};
use serde_json::json;
use tempfile::TempDir;

use crate::common::{self, Sessions};

const NOW: Timestamp = Timestamp::from_unix(1_767_225_600);

fn new_path() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    (dir, path)
}

fn open(path: &Path) -> KeyDirectory {
    KeyDirectory::open_or_create(path).unwrap()
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

fn record(key_use: KeyUse, number: u32, id: &str) -> KeyRecord {
    let jwk = json!({"kty": "oct", "kid": id, "iat": NOW.as_unix(), "k": "secret"});
    KeyRecord {
        key_use,
        number,
        id: KeyId::new(id),
        material: SecretText::new(jwk.to_string()),
        created_at: NOW,
        activates_at: None,
    }
}

/// The whole text of the error of listing the keys.
async fn listing_error(directory: &KeyDirectory) -> String {
    mintgate_domain::chain(&directory.list_keys().await.unwrap_err()).to_string()
}

/// A directory with one active access key.
async fn with_a_key(path: &Path) -> KeyDirectory {
    let directory = open(path);
    let key = KeyRecord { activates_at: Some(NOW), ..record(KeyUse::Access, 1, "a1") };
    assert!(directory.add_key(&key).await.unwrap());
    directory
}

/// Checks the contract of [`KeyRepo`].
async fn keeps_the_contract(repo: &dyn KeyRepo) {
    assert_eq!(repo.list_keys().await.unwrap(), []);
    for number in [0, 2] {
        assert!(!repo.add_key(&record(KeyUse::Access, number, "early")).await.unwrap());
    }
    let hour = Duration::from_hours(1);
    let mut first = KeyRecord { activates_at: Some(NOW), ..record(KeyUse::Access, 1, "a1") };
    let mut second = record(KeyUse::Access, 2, "a2");
    let refresh = record(KeyUse::Refresh, 1, "r1");
    for key in [&refresh, &first, &second] {
        assert!(repo.add_key(key).await.unwrap());
        assert!(!repo.add_key(key).await.unwrap(), "added twice");
    }
    assert!(!repo.add_key(&record(KeyUse::Access, 2, "late")).await.unwrap());
    assert!(!repo.add_key(&record(KeyUse::Access, 3, "a1")).await.unwrap(), "a kid comes twice");
    assert!(!repo.add_key(&record(KeyUse::Access, 3, "r1")).await.unwrap(), "a kid comes twice");
    let listed = [first.clone(), second.clone(), refresh.clone()];
    assert_eq!(repo.list_keys().await.unwrap(), listed);

    let activate = |id: &'static str, at| async move {
        repo.activate_key(KeyUse::Access, &KeyId::new(id), at).await.unwrap()
    };
    assert!(!activate("a1", NOW).await && !activate("a1", NOW + hour).await);
    assert!(!activate("r1", NOW).await && !activate("none", NOW).await);
    assert!(activate("a2", NOW + hour * 3).await);
    assert!(!activate("a2", NOW + hour * 4).await);
    assert!(activate("a2", NOW + hour).await);
    assert!(activate("a1", NOW - hour).await);
    first.activates_at = Some(NOW - hour);
    second.activates_at = Some(NOW + hour);
    assert_eq!(repo.list_keys().await.unwrap(), [first, second.clone(), refresh.clone()]);

    let remove =
        |key_use, id| async move { repo.remove_key(key_use, &KeyId::new(id)).await.unwrap() };
    assert!(!remove(KeyUse::Refresh, "a1").await && !remove(KeyUse::Access, "none").await);
    assert!(remove(KeyUse::Access, "a1").await);
    assert!(!remove(KeyUse::Access, "a1").await);
    assert_eq!(repo.list_keys().await.unwrap(), [second, refresh.clone()]);
    assert!(!repo.add_key(&record(KeyUse::Access, 1, "below")).await.unwrap());

    // A new key with the number of a removed one does not get that key's activation time.
    assert!(remove(KeyUse::Access, "a2").await);
    let again = record(KeyUse::Access, 1, "again");
    assert!(repo.add_key(&again).await.unwrap());
    for number in 2..=11 {
        let id = format!("a{}", 99 - number);
        assert!(repo.add_key(&record(KeyUse::Access, number, &id)).await.unwrap());
    }
    let listed = repo.list_keys().await.unwrap();
    let order: Vec<u32> = listed.iter().map(|key| key.number).collect();
    assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1]);
    assert_eq!((&listed[0], &listed[11]), (&again, &refresh));
}

#[tokio::test]
async fn a_directory_and_the_memory_store_keep_the_contract_of_a_key_repository() {
    let (_dir, path) = new_path();
    keeps_the_contract(&open(&path)).await;
    keeps_the_contract(&MemoryStore::default()).await;
}

#[tokio::test]
async fn keys_are_written_with_permissions_for_the_owner_only() {
    let (_dir, path) = new_path();
    let directory = with_a_key(&path).await;
    directory.add_key(&record(KeyUse::Refresh, 1, "r1")).await.unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(file_names(&path), ["access-1.active", "access-1.jwk", "refresh-1.jwk"]);
    for name in file_names(&path) {
        assert_eq!(mode(&path.join(name)), 0o600);
    }
    let time = fs::read_to_string(path.join("access-1.active")).unwrap();
    assert_eq!(time, "1767225600 a1\n");
    directory.remove_key(KeyUse::Access, &KeyId::new("a1")).await.unwrap();
    assert_eq!(file_names(&path), ["refresh-1.jwk"]);
}

#[tokio::test]
async fn a_directory_that_others_may_access_is_refused_with_the_command_that_helps() {
    for bits in [0o755, 0o770, 0o701, 0o720] {
        let (_dir, path) = new_path();
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
        let error = KeyDirectory::open_or_create(&path).unwrap_err();
        let command = format!("chmod 700 {}", path.display());
        assert!(error.to_string().contains(&command), "{error}");
        let KeyDirectoryError::TooOpen { path: named, mode, wanted } = error else {
            panic!("{error}")
        };
        assert_eq!((named, mode, wanted), (path.clone(), bits, 0o700));
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let directory = open(&path);
        directory.list_keys().await.unwrap();
        // An open directory is refused as well.
        fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
        assert!(listing_error(&directory).await.contains(&command));
    }
}

/// As a Kubernetes Secret is mounted: names that lead through `..data`, which is replaced as a whole.
#[tokio::test]
async fn files_of_a_secret_that_our_group_alone_may_read_are_read_and_so_are_their_successors() {
    let (dir, path) = new_path();
    let (made, next) = (with_a_key(&path).await, dir.path().join("next"));
    let before = made.list_keys().await.unwrap();
    let mounted = dir.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let version = |name: &str, source: &Path| {
        let version = mounted.join(name);
        fs::create_dir(&version).unwrap();
        for file in file_names(source) {
            let copy = version.join(&file);
            fs::copy(source.join(&file), &copy).unwrap();
            fs::set_permissions(&copy, Permissions::from_mode(0o440)).unwrap();
        }
        symlink(name, mounted.join("..data_tmp")).unwrap();
        fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();
    };
    version("..1", &path);
    for name in file_names(&path) {
        symlink(format!("..data/{name}"), mounted.join(name)).unwrap();
    }
    fs::set_permissions(&mounted, Permissions::from_mode(0o750)).unwrap();
    let directory = open(&mounted);
    assert_eq!(directory.list_keys().await.unwrap(), before);

    let other = open(&next);
    let successor = record(KeyUse::Access, 1, "a2");
    let activates_at = Some(successor.created_at);
    other.add_key(&KeyRecord { activates_at, ..successor }).await.unwrap();
    version("..2", &next);
    let after = directory.list_keys().await.unwrap();
    assert_eq!(after.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["a2"]);

    // Not if it is the group of others. Only root can give a file to such a group.
    let file = mounted.join("..2/access-1.jwk");
    if std::os::unix::fs::chown(&file, None, Some(54_321)).is_ok() {
        assert!(listing_error(&directory).await.contains("0440"));
    }
}

#[tokio::test]
async fn a_file_that_others_may_access_is_refused_with_the_command_that_helps() {
    let (_dir, path) = new_path();
    let directory = with_a_key(&path).await;
    for name in ["access-1.jwk", "access-1.active"] {
        let file = path.join(name);
        for bits in [0o644, 0o660, 0o604, 0o620] {
            fs::set_permissions(&file, Permissions::from_mode(bits)).unwrap();
            let error = listing_error(&directory).await;
            let command = format!("chmod 600 {}", file.display());
            assert!(error.contains(&command) && error.contains(&format!("{bits:04o}")), "{error}");
        }
        for bits in [0o400, 0o600] {
            fs::set_permissions(&file, Permissions::from_mode(bits)).unwrap();
            directory.list_keys().await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_permissions_of_a_link_are_those_of_its_target() {
    let (dir, path) = new_path();
    let directory = with_a_key(&path).await;
    let (file, target) = (path.join("access-1.jwk"), dir.path().join("mounted"));
    fs::rename(&file, &target).unwrap();
    symlink(&target, &file).unwrap();
    assert_eq!(directory.list_keys().await.unwrap().len(), 1);
    fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
    assert!(listing_error(&directory).await.contains("0644"));
    // A dangling link is an error; nothing is written to its target.
    fs::remove_file(&target).unwrap();
    assert!(listing_error(&directory).await.contains(&file.display().to_string()));
    let added = directory.add_key(&record(KeyUse::Access, 1, "other")).await;
    assert!(matches!(added, Err(StoreError::Unavailable(_))), "{added:?}");
    assert!(!target.exists());
}

#[tokio::test]
async fn a_damaged_file_is_named_and_left_unchanged() {
    let (_dir, path) = new_path();
    let directory = with_a_key(&path).await;
    for name in ["access-1.jwk", "access-1.active"] {
        let file = path.join(name);
        let whole = fs::read(&file).unwrap();
        let half = whole[..whole.len() / 2].to_vec();
        let long = [whole.clone(), vec![b'x'; 100_000]].concat();
        let other = br#"{"kty":"oct","k":"secret"}"#.to_vec();
        for damaged in [vec![], half, long, other, vec![0xff; 100], vec![0; 100]] {
            fs::write(&file, &damaged).unwrap();
            let error = listing_error(&directory).await;
            assert!(error.contains(&file.display().to_string()), "{error}");
            assert!(!error.contains("secret"), "{error}");
            assert_eq!(fs::read(&file).unwrap(), damaged);
            // The next number is unknown, so no key is added.
            assert!(directory.add_key(&record(KeyUse::Access, 1, "new")).await.is_err());
        }
        fs::write(&file, &whole).unwrap();
        directory.list_keys().await.unwrap();
    }
    assert_eq!(file_names(&path), ["access-1.active", "access-1.jwk"]);
}

#[tokio::test]
async fn a_record_without_its_own_jwk_is_not_written() {
    let (_dir, path) = new_path();
    let directory = open(&path);
    let key = record(KeyUse::Access, 1, "a1");
    for wrong in [
        KeyRecord { id: KeyId::new("other"), ..key.clone() },
        KeyRecord { created_at: Timestamp::from_unix(0), ..key.clone() },
        KeyRecord { material: SecretText::new("e30..AAAA.AAAA.AAAA"), ..key },
    ] {
        let refused = directory.add_key(&wrong).await;
        assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    }
    assert!(file_names(&path).is_empty());
}

#[tokio::test]
async fn files_with_other_names_are_ignored() {
    let (_dir, path) = new_path();
    let directory = with_a_key(&path).await;
    let names = [
        ".new-0000000000000000",
        "access-0.jwk",
        "access-02.jwk",
        "access-+2.jwk",
        "access-current.jwk",
        "access-2.jwk.bak",
        "admin-2.jwk",
        "access-2.active",
        "README",
    ];
    for name in names {
        fs::write(path.join(name), "half a k").unwrap();
    }
    assert_eq!(directory.list_keys().await.unwrap().len(), 1);
}

#[test]
fn a_path_that_is_not_a_directory_is_an_error() {
    let (_dir, path) = new_path();
    fs::write(&path, "x").unwrap();
    let error = KeyDirectory::open_or_create(&path).unwrap_err();
    assert!(matches!(error, KeyDirectoryError::Io { .. }), "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"x");
}

#[tokio::test]
async fn an_activation_time_left_by_a_crash_does_not_apply_to_another_key() {
    let (_dir, path) = new_path();
    let directory = open(&path);
    // A crash leaves this before its key is written, or after the key is removed.
    fs::write(path.join("access-1.active"), "1767225600 gone\n").unwrap();
    fs::set_permissions(path.join("access-1.active"), Permissions::from_mode(0o600)).unwrap();
    let key = record(KeyUse::Access, 1, "a1");
    assert!(directory.add_key(&key).await.unwrap());
    assert_eq!(directory.list_keys().await.unwrap(), std::slice::from_ref(&key));
    assert!(directory.activate_key(KeyUse::Access, &key.id, NOW).await.unwrap());
    let active = KeyRecord { activates_at: Some(NOW), ..key };
    assert_eq!(directory.list_keys().await.unwrap(), [active]);
}

#[tokio::test]
async fn one_of_several_processes_that_add_a_key_at_once_adds_it() {
    const STARTERS: usize = 8;
    for _ in 0..25 {
        let (_dir, path) = new_path();
        let barrier = Barrier::new(STARTERS);
        let start = |starter: usize| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let at = Some(NOW + Duration::from_secs(starter as u64));
            let key = KeyRecord {
                activates_at: at,
                ..record(KeyUse::Access, 1, &format!("key-{starter}"))
            };
            barrier.wait();
            let added = runtime.block_on(open(&path).add_key(&key)).unwrap();
            added.then_some(key)
        };
        let added: Vec<KeyRecord> = std::thread::scope(|scope| {
            let start = &start;
            let starters: Vec<_> = (0..STARTERS).map(|n| scope.spawn(move || start(n))).collect();
            starters.into_iter().filter_map(|starter| starter.join().unwrap()).collect()
        });
        assert_eq!(added.len(), 1);
        assert_eq!(open(&path).list_keys().await.unwrap(), added);
        assert_eq!(file_names(&path), ["access-1.active", "access-1.jwk"]);
    }
}

/// The ring of a new process on this directory.
fn ring(path: &Path, algorithm: Algorithm) -> KeyRing {
    let config = KeyRingConfig { access: algorithm, ..common::ring_config() };
    let clock = Arc::new(ManualClock::default());
    let stored = StoredKeys { repo: Arc::new(open(path)), seal: KeySeal::Plain };
    KeyRing::new(config, Some(stored), FixedKeys::default(), clock).unwrap()
}

#[tokio::test]
async fn keys_of_every_algorithm_survive_a_restart() {
    for algorithm in Algorithm::ALL {
        let (_dir, path) = new_path();
        let made = ring(&path, algorithm);
        assert_eq!(made.apply_due_changes(&Sessions::default()).await.unwrap().len(), 4);
        let names = [
            "access-1.active",
            "access-1.jwk",
            "access-2.jwk",
            "refresh-1.active",
            "refresh-1.jwk",
            "refresh-2.jwk",
        ];
        assert_eq!(file_names(&path), names);
        let found = ring(&path, algorithm);
        assert_eq!(found.apply_due_changes(&Sessions::default()).await.unwrap(), []);
        assert_eq!(found.keys(), made.keys());
        let tokens = JoseTokens::new(common::tokens_config(), Arc::new(found)).unwrap();
        common::access_token(&tokens);
    }
}

#[tokio::test]
async fn a_key_whose_numbers_do_not_match_is_an_error_and_is_left_unchanged() {
    let (_dir, path) = new_path();
    ring(&path, Algorithm::Es256).apply_due_changes(&Sessions::default()).await.unwrap();
    let file = path.join("access-1.jwk");
    let mut jwk: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    jwk["d"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE");
    fs::write(&file, jwk.to_string()).unwrap();
    let error =
        ring(&path, Algorithm::Es256).apply_due_changes(&Sessions::default()).await.unwrap_err();
    let KeyRingError::BadKey { key_use, number, .. } = error else { panic!("{error}") };
    assert_eq!((key_use, number), (KeyUse::Access, 1));
    assert_eq!(fs::read_to_string(&file).unwrap(), jwk.to_string());
    assert_eq!(file_names(&path).len(), 6);
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_key_is_an_error_and_not_waited_for() {
    let (_dir, path) = new_path();
    let directory = with_a_key(&path).await;
    for name in ["access-1.jwk", "access-1.active"] {
        let file = path.join(name);
        let whole = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        assert!(matches!(directory.list_keys().await, Err(StoreError::Corrupt(_))), "{name}");
        fs::remove_file(&file).unwrap();
        fs::write(&file, whole).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }
}
