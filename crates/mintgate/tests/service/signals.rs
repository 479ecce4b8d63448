//! What signals do, and what files are warned of at the start.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::process::Process;
use reqwest::StatusCode;
use serde_json::Value;

/// A process whose log goes to a file, and what is in that.
async fn logging(shell: &str) -> (Process, impl Fn() -> Vec<Value> + use<>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let log = Stdio::from(File::create(&file).unwrap());
    let process = Process::start("", shell, |command: &mut Command| {
        command.stdout(log);
    });
    let lines = move || {
        let _ = &dir;
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    (process.await, lines)
}

#[tokio::test]
async fn signals_that_ask_for_nothing_are_logged_and_sigquit_stops_like_sigterm() {
    let (mut process, lines) = logging("").await;
    for name in ["USR1", "USR2"] {
        process.signal(name);
        let full_name = format!("SIG{name}");
        let is_logged = || lines().iter().any(|line| line["signal"] == full_name);
        for _ in 0..500 {
            if is_logged() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(is_logged(), "{name}");
    }
    assert_eq!(process.ops("/health/ready").await.unwrap().0, StatusCode::OK);
    process.signal("QUIT");
    assert_eq!(process.exit_code(10).await, Some(0));
    assert_eq!(lines().last().unwrap()["target"], "mintgate::app", "the last word is the end's");
}

#[tokio::test]
async fn one_line_warns_of_the_files_that_everybody_may_read() {
    // The configuration holds a secret.
    let files = |mode: &str| format!("chmod {mode} \"$2\" \"${{2%/*}}/mintgate.db\"");
    let (process, lines) = logging(&files("644")).await;
    let database = process.dir().join("mintgate.db").display().to_string();
    let warnings = |lines: Vec<Value>, file: &str| -> Vec<String> {
        let texts = lines.iter().filter_map(|line| line["message"].as_str());
        texts.filter(|text| text.contains(file)).map(str::to_owned).collect()
    };
    let named = warnings(lines(), &database);
    let [named] = &named[..] else { panic!("{named:?}") };
    for file in ["mintgate.toml", "mintgate.db"] {
        let path = process.dir().join(file);
        assert!(named.contains(path.to_str().unwrap()), "{named}");
        assert_eq!(
            std::fs::metadata(path).unwrap().permissions(),
            Permissions::from_mode(0o100_644)
        );
    }

    let (process, lines) = logging(&files("640")).await;
    let database = process.dir().join("mintgate.db").display().to_string();
    assert!(warnings(lines(), &database).is_empty());
}
