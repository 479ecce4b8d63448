//! `mintgate migrate` beside a service on Postgres that goes on.

use std::process::Stdio;
use std::time::Duration;

use mintgate_testkit::postgres;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::common::{Options, Store, TestService};

/// A migration without which the service works, and which needs the strongest lock on the sessions.
const MIGRATION: &str = "0013_sessions_without_checks";
const UNDO: &str =
    include_str!("../../../../migrations/postgres/0013_sessions_without_checks/down.sql");

/// A service whose store lacks that migration. Its statements wait for a lock for one second.
async fn service() -> TestService {
    let options = Options { store_timeout_ms: 2000, ..Options::default() };
    let service = TestService::start_with(Store::Postgres, options).await;
    let undo = format!("{UNDO}; DELETE FROM __diesel_schema_migrations WHERE version = '0013'");
    service.sql("", &undo).await;
    service
}

/// A transaction such as that of `pg_dump`, which has read the sessions and goes on.
async fn dump(service: &TestService) -> (tokio_postgres::Client, i32) {
    let connected = tokio_postgres::connect(&service.store_url(), tokio_postgres::NoTls).await;
    let (client, connection) = connected.expect("the database");
    tokio::spawn(connection);
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sessions";
    client.batch_execute(begin).await.expect("a transaction");
    let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("its id").get(0);
    (client, pid)
}

/// The command as a process of its own.
struct Migrate {
    child: Child,
    err: Lines<BufReader<ChildStderr>>,
}

impl Migrate {
    fn start(service: &TestService, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mintgate"));
        command.env_clear().arg("--config").arg(service.config_file()).arg("migrate");
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it runs");
        let err = child.stderr.take().expect("its output");
        Self { child, err: BufReader::new(err).lines() }
    }

    /// The next line that it says.
    async fn says(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(30), self.err.next_line()).await;
        line.expect("a line in time").expect("text").expect("a line")
    }

    async fn ended(self) -> (bool, String) {
        let output = self.child.wait_with_output();
        let output = tokio::time::timeout(Duration::from_secs(30), output).await;
        let output = output.expect("it ends").expect("an output");
        (output.status.success(), String::from_utf8(output.stdout).expect("text"))
    }
}

#[tokio::test]
async fn a_migration_that_waits_for_a_dump_holds_no_refresh_up() {
    if !postgres::is_given() {
        return;
    }
    let service = service().await;
    let mut tokens = service.signed_in().await;
    let (dump, pid) = dump(&service).await;

    let plan = service.operate(&["migrate", "--plan"]).await.done();
    for expected in [MIGRATION, "ACCESS EXCLUSIVE on sessions", &format!("pid {pid}")] {
        assert!(plan.contains(expected), "{plan}");
    }
    let mut migrate = Migrate::start(&service, &[]);
    // From before it asks for its lock, until long after it has given up.
    let refreshing = async {
        for _ in 0..40 {
            tokens = service.refreshed(&tokens.refresh).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (said, ()) = tokio::join!(migrate.says(), refreshing);
    assert!(said.contains(MIGRATION) && said.contains(&format!("pid {pid}")), "{said}");
    assert!(migrate.child.try_wait().expect("a process").is_none(), "it waits");

    // Another one waits for the first, and one that was killed leaves nothing to unlock.
    let mut second = Migrate::start(&service, &[]);
    let said = second.says().await;
    assert!(said.contains("another process migrates") && said.contains("pid "), "{said}");
    migrate.child.kill().await.expect("it is killed");
    let said = second.says().await;
    assert!(said.contains(&format!("pid {pid}")), "{said}");
    let impatient = Migrate::start(&service, &["--wait-secs", "0"]);

    dump.batch_execute("COMMIT").await.expect("it ends");
    assert_eq!(second.ended().await, (true, format!("ran {MIGRATION}\n")));
    let (succeeded, out) = impatient.ended().await;
    assert!(succeeded && out.contains("up to date"), "{out}");
    service.refreshed(&tokens.refresh).await;
}

#[tokio::test]
async fn a_migration_gives_up_at_its_deadline_and_leaves_nothing_behind() {
    if !postgres::is_given() {
        return;
    }
    let service = service().await;
    let (_dump, pid) = dump(&service).await;
    let printed = service.operate(&["migrate", "--wait-secs", "1"]).await;
    assert_eq!((printed.code, printed.out.as_str()), (1, ""), "{printed:?}");
    assert!(printed.err.contains(&format!("pid {pid}")), "{printed:?}");
    let plan = service.operate(&["migrate", "--plan"]).await.done();
    assert!(plan.contains(MIGRATION), "{plan}");
}
