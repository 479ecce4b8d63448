//! Processes on one store with other signing keys: the one that came later does not serve.

use std::time::Duration;

use crate::common::process::Process;
use mintgate_testkit::postgres::{self, TestDatabase};
use reqwest::StatusCode;
use tokio_postgres::Client;

/// A key-encryption key: 32 bytes in base64.
const ENCRYPTION_KEY: &str =
    "encryption_key = \"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\nreload_secs = 1";

const ISSUER: &str = "http://localhost:8080";

async fn database() -> Option<(TestDatabase, Client)> {
    if !postgres::is_given() {
        return None;
    }
    let database = crate::common::database().await;
    let admin = database.client().await;
    Some((database, admin))
}

async fn serving(database: &TestDatabase, keys: &str) -> Process {
    let process = Process::beside(&database.url(), ISSUER, keys).await;
    process.until_ready().await;
    process
}

/// Looks again and again until it is so, for 30 s.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..300 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

async fn until_not_ready(process: &Process) -> String {
    let mut said = String::new();
    until("not ready", async || match process.ops("/health/ready").await.unwrap() {
        (StatusCode::SERVICE_UNAVAILABLE, body) => {
            said = body;
            true
        }
        _ => false,
    })
    .await;
    said
}

/// How many processes have said since this moment that they live.
async fn heard_of_since(admin: &Client, moment: std::time::SystemTime) -> i64 {
    let count = "SELECT count(*) FROM replicas WHERE seen_at > $1";
    admin.query_one(count, &[&moment]).await.unwrap().get(0)
}

/// How many different rings of keys the processes tell of.
async fn rings(admin: &Client) -> i64 {
    let count =
        "SELECT count(DISTINCT concat(access_kids::text, ' ', refresh_kids::text)) FROM replicas";
    admin.query_one(count, &[]).await.unwrap().get(0)
}

async fn database_time(admin: &Client) -> std::time::SystemTime {
    admin.query_one("SELECT clock_timestamp()", &[]).await.unwrap().get(0)
}

async fn count(admin: &Client) -> i64 {
    admin.query_one("SELECT count(*) FROM replicas", &[]).await.unwrap().get(0)
}

/// Lets a minute go by for all processes, as far as the store knows of them.
async fn a_minute_goes_by(admin: &Client) {
    let update = "UPDATE replicas SET seen_at = seen_at - interval '1 minute',
        known_since = known_since - interval '1 minute'";
    admin.batch_execute(update).await.unwrap();
}

async fn keys_command(process: &Process, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mintgate"));
    command.arg("--config").arg(process.config()).arg("keys").args(arguments);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn case_49_a_second_process_with_keys_of_its_own_ends_with_status_2_and_says_what_to_do() {
    let Some((database, admin)) = database().await else { return };
    let first = serving(&database, "").await;
    let mut second = Process::beside(&database.url(), ISSUER, "").await;
    assert_eq!(second.exit_code(30).await, Some(2));
    let said = second.output();
    assert!(said.contains("mintgate: keys: another process on this store"), "{said}");
    let names_it = format!("(process {})", first.child.id());
    assert!(said.contains(&names_it) && said.contains("keys.encryption_key"), "{said}");
    let (status, body) = first.ops("/health/ready").await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(count(&admin).await, 1, "it has taken itself out");
}

#[tokio::test]
async fn case_49_processes_with_one_ring_of_keys_serve_whatever_happens_to_it() {
    let Some((database, admin)) = database().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let in_directory = format!(
        "dir = \"{}/keys\"\npublish_ahead_secs = 0\nreload_secs = 1",
        directory.path().display()
    );
    for keys in [ENCRYPTION_KEY, &in_directory] {
        let both = [serving(&database, keys).await, serving(&database, keys).await];
        for key_use in ["access", "refresh"] {
            keys_command(&both[0], &["rotate", "--use", key_use]).await;
        }
        // All there are, one after another, as after a theft.
        let listed = keys_command(&both[0], &["list"]).await;
        let kids = listed.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap());
        for kid in kids {
            keys_command(&both[1], &["retire", kid, "--emergency"]).await;
        }
        let moment = database_time(&admin).await;
        until("both tell of one ring", async || {
            heard_of_since(&admin, moment).await == 2 && rings(&admin).await == 1
        })
        .await;
        let moment = database_time(&admin).await;
        until("both have heard of it", async || heard_of_since(&admin, moment).await == 2).await;
        for mut process in both {
            let (status, body) = process.ops("/health/ready").await.unwrap();
            assert_eq!(status, StatusCode::OK, "{body}");
            process.signal("TERM");
            assert_eq!(process.exit_code(30).await, Some(0));
        }
        assert_eq!(count(&admin).await, 0, "each has taken itself out");
    }
}

#[tokio::test]
async fn case_49_a_process_that_was_killed_stands_in_nobodys_way_for_long() {
    let Some((database, admin)) = database().await else { return };
    let mut killed = serving(&database, "").await;
    killed.signal("KILL");
    killed.exit_code(30).await;
    assert_eq!(count(&admin).await, 1, "nobody took it out");
    let again = Process::beside(&database.url(), ISSUER, "").await;
    until("it says how long it waits", async || again.output().contains("at_most_secs")).await;
    a_minute_goes_by(&admin).await;
    again.until_ready().await;
    assert_eq!(count(&admin).await, 1);
}

#[tokio::test]
async fn case_49_a_process_that_slept_while_another_took_its_place_is_not_ready_until_that_is_gone()
{
    let Some((database, admin)) = database().await else { return };
    let slept = serving(&database, "").await;
    slept.signal("STOP");
    a_minute_goes_by(&admin).await;
    let mut other = serving(&database, "").await;
    slept.signal("CONT");
    let said = until_not_ready(&slept).await;
    let names_it = format!("(process {})", other.child.id());
    assert!(said.contains(&names_it) && said.contains("keys.encryption_key"), "{said}");
    let (status, body) = other.ops("/health/ready").await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");

    other.signal("TERM");
    assert_eq!(other.exit_code(30).await, Some(0));
    slept.until_ready().await;
}

#[tokio::test]
async fn case_49_processes_of_two_issuers_may_share_a_database() {
    let Some((database, admin)) = database().await else { return };
    let _one = serving(&database, "").await;
    let other = Process::beside(&database.url(), "http://localhost:8081", "").await;
    other.until_ready().await;
    assert_eq!(count(&admin).await, 2);
}
