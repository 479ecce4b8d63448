//! A Postgres database for each test, cloned from a template that is migrated once.

use std::fmt::Write as _;
use std::future::Future;
use std::io::Write as _;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use mintgate_domain::TokenHash;
use tokio_postgres::{Client, NoTls};

use crate::store_under_test::hex;

/// Names a server where databases may be created.
const VARIABLE: &str = "MINTGATE_TEST_DATABASE_URL";
/// Held while the template is made ("mintgtst" in ASCII).
const TEMPLATE_LOCK: &str = "SELECT pg_advisory_lock(x'6d696e7467747374'::bigint)";
/// A test that was killed leaves its database behind; no test takes this long.
const LEFTOVER_AFTER_SECS: i64 = 3600;

/// Whether a server is given; tests that need one are skipped without. Says so once if there is none.
pub fn is_given() -> bool {
    static NOTICE: Once = Once::new();
    let given = std::env::var_os(VARIABLE).is_some_and(|url| !url.is_empty());
    if !given {
        NOTICE.call_once(|| {
            let notice = format!(
                "SKIPPED: the tests that need Postgres. Set {VARIABLE}, or run `cargo xtask test`."
            );
            // Not by a macro: the output of tests that pass is not shown.
            drop(writeln!(std::io::stderr(), "{notice}"));
        });
    }
    given
}

/// Ends the test program if no server is given. For programs all of whose tests need one: a test that
/// has begun cannot be skipped.
pub fn is_given_or_exit() {
    if !is_given() {
        std::process::exit(0);
    }
}

/// A database of one test; dropped with it.
#[derive(Debug)]
pub struct TestDatabase {
    server: String,
    name: String,
}

impl TestDatabase {
    /// Clones the template. Where there is none for the migrations as they are now, one is made,
    /// with `migrate`, which gets its address; of many test processes, one does so.
    ///
    /// # Panics
    /// Without `MINTGATE_TEST_DATABASE_URL`.
    pub async fn create<F: Future<Output = ()>>(migrate: impl FnOnce(String) -> F) -> Self {
        let server = server();
        let admin = client(&server).await;
        let template = format!("mintgate_template_{}", migrations_digest());
        admin.batch_execute(TEMPLATE_LOCK).await.expect("the lock");
        sweep(&admin).await;
        if !exists(&admin, &template).await {
            make_template(&admin, &server, &template, migrate).await;
        }
        admin.batch_execute("SELECT pg_advisory_unlock_all()").await.expect("the lock");
        Self::clone_of(&template, &admin, server).await
    }

    /// An empty database, for tests of the migrations themselves.
    ///
    /// # Panics
    /// Without `MINTGATE_TEST_DATABASE_URL`.
    pub async fn create_empty() -> Self {
        let server = server();
        let admin = client(&server).await;
        Self::clone_of("template0", &admin, server).await
    }

    async fn clone_of(template: &str, admin: &Client, server: String) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mintgate_test_{}_{}_{number}", now(admin).await, std::process::id());
        let create = format!("CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'");
        admin.batch_execute(&create).await.expect("a database");
        Self { server, name }
    }

    /// The URL of the database.
    pub fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }

    /// The `host:port` of the database's server.
    pub fn host_and_port(&self) -> String {
        host_and_port(&self.server)
    }

    /// The URL of the database through a proxy at this `host:port`.
    pub fn url_through(&self, proxy: impl std::fmt::Display) -> String {
        url_through(&self.url(), proxy)
    }

    /// A connection of the test's own, around any adapter.
    pub async fn client(&self) -> Client {
        client(&self.url()).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime of its own: a destructor cannot wait on the test's.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                client(&server).await.batch_execute(&drop).await.expect("the database goes");
            });
        });
        // What is left of a test that panics is swept by another.
        drop(dropped.join());
    }
}

fn server() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| panic!("set {VARIABLE} or run `cargo xtask test`"))
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a server");
    tokio::spawn(connection);
    client
}

async fn exists(admin: &Client, database: &str) -> bool {
    let query = "SELECT FROM pg_database WHERE datname = $1";
    !admin.query(query, &[&database]).await.expect("the databases").is_empty()
}

async fn now(admin: &Client) -> i64 {
    let query = "SELECT extract(epoch FROM now())::bigint";
    admin.query_one(query, &[]).await.expect("the time").get(0)
}

/// Made under another name first: a template that is there is whole.
async fn make_template<F: Future<Output = ()>>(
    admin: &Client,
    server: &str,
    template: &str,
    migrate: impl FnOnce(String) -> F,
) {
    let unfinished = format!("{template}_new");
    for statement in [
        format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)"),
        format!("CREATE DATABASE {unfinished} TEMPLATE template0 ENCODING 'UTF8'"),
    ] {
        admin.batch_execute(&statement).await.expect("a database");
    }
    migrate(with_database(server, &unfinished)).await;
    let rename = format!("ALTER DATABASE {unfinished} RENAME TO {template}");
    admin.batch_execute(&rename).await.expect("a template");
}

async fn sweep(admin: &Client) {
    let oldest = now(admin).await - LEFTOVER_AFTER_SECS;
    let query = "SELECT datname FROM pg_database WHERE datname LIKE 'mintgate\\_test\\_%'";
    for row in admin.query(query, &[]).await.expect("the databases") {
        let name: String = row.get(0);
        let made = name.split('_').nth(2).and_then(|made| made.parse::<i64>().ok());
        if made.is_none_or(|made| made < oldest) {
            // Another process may be sweeping it too.
            drop(admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name}")).await);
        }
    }
}

/// The hash of all migrations, which the template's name contains.
fn migrations_digest() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/postgres");
    let entries = std::fs::read_dir(root).expect("the migrations");
    let mut directories: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    directories.sort();
    let mut text = String::new();
    for directory in directories {
        let sql = std::fs::read_to_string(directory.join("up.sql")).expect("a migration");
        write!(text, "{:?}\n{sql}\n", directory.file_name()).expect("memory");
    }
    hex(&TokenHash::of(&text).as_bytes()[..8])
}

/// The `host:port` of a URL's server.
pub(crate) fn host_and_port(url: &str) -> String {
    let host_and_port = &url[address_range(url)];
    if host_and_port.contains(':') {
        host_and_port.to_owned()
    } else {
        format!("{host_and_port}:5432")
    }
}

/// The URL through a proxy at this `host:port`.
pub(crate) fn url_through(url: &str, proxy: impl std::fmt::Display) -> String {
    let mut url = url.to_owned();
    url.replace_range(address_range(&url), &proxy.to_string());
    url
}

/// The range of `host:port` in a URL.
fn address_range(url: &str) -> std::ops::Range<usize> {
    let authority = url.find("://").expect("an address") + 3;
    let end = url[authority..].find(['/', '?']).map_or(url.len(), |at| authority + at);
    let start = url[authority..end].rfind('@').map_or(authority, |at| authority + at + 1);
    start..end
}

fn with_database(url: &str, name: &str) -> String {
    let end = address_range(url).end;
    let query = url[end..].find('?').map_or("", |at| &url[end + at..]);
    format!("{}/{name}{query}", &url[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_changed_in_the_right_place() {
        for (url, expected) in [
            ("postgres://u:p@h:1/db?sslmode=disable", "postgres://u:p@h:1/x?sslmode=disable"),
            ("postgres://h", "postgres://h/x"),
            ("postgres://u@h?a=/b", "postgres://u@h/x?a=/b"),
        ] {
            assert_eq!(with_database(url, "x"), expected);
        }
        assert_eq!(&"postgres://u:p@h:1/db"[address_range("postgres://u:p@h:1/db")], "h:1");
    }
}
