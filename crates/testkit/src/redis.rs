//! A real Redis, started for one test.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(20);

/// The program, from `PATH`. Says once if there is none.
pub fn program() -> Option<PathBuf> {
    static NOTICE: Once = Once::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program =
        std::env::split_paths(&path).map(|it| it.join("redis-server")).find(|it| it.is_file());
    if program.is_none() {
        NOTICE.call_once(|| {
            // Not by a macro: the output of tests that pass is not shown.
            drop(writeln!(
                std::io::stderr(),
                "SKIPPED: the tests that need Redis. Install the Debian package redis-server."
            ));
        });
    }
    program
}

/// The program; ends the test program if there is none. For programs all of whose tests need one.
pub fn program_or_exit() -> PathBuf {
    program().unwrap_or_else(|| std::process::exit(0))
}

/// A Redis in a process of its own, on loopback, in a directory of its own; stopped when dropped.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    program: PathBuf,
    address: SocketAddr,
    arguments: Vec<String>,
    directory: tempfile::TempDir,
}

impl RedisServer {
    /// Starts one that writes every change to its disk at once, with these options besides, as
    /// `["--appendonly", "no"]`.
    ///
    /// # Panics
    /// Without the program, or if it does not answer within 20 s.
    pub async fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [address] = crate::free_addresses();
        let (port, path) = (address.port().to_string(), directory.path().to_str().unwrap());
        let first = ["--bind", "127.0.0.1", "--port", &port, "--dir", path, "--save", ""];
        let durable = ["--appendonly", "yes", "--appendfsync", "always"];
        let arguments = owned(&[&first[..], &durable, options].concat());
        Self::begin(arguments, address, directory).await
    }

    /// Starts a Sentinel that watches this primary by the name `main`, and by itself replaces it when it has not
    /// answered for half a second.
    ///
    /// # Panics
    /// Without the program, or if it does not answer within 20 s.
    pub async fn sentinel(primary: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [address] = crate::free_addresses();
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "bind 127.0.0.1\nport {}\ndir {}\nsentinel monitor main {} {} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n",
            address.port(),
            directory.path().display(),
            primary.ip(),
            primary.port(),
        );
        std::fs::write(&file, text).unwrap();
        let arguments = owned(&[file.to_str().unwrap(), "--sentinel"]);
        Self::begin(arguments, address, directory).await
    }

    /// Starts the nodes of a cluster: three primaries, each with one replica behind it in the list.
    ///
    /// # Panics
    /// Without the program, or if there is no cluster within 20 s.
    pub async fn cluster() -> [Self; 6] {
        // The usual bus port is one that the system gives to whoever connects.
        let buses = crate::free_addresses::<6>().map(|bus| bus.port().to_string());
        let nodes = buses.iter().map(|bus| async move {
            let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
            Self::start(&[&cluster[..], &["--cluster-port", bus]].concat()).await
        });
        let nodes: Vec<Self> = futures_util::future::join_all(nodes).await;
        let nodes: [Self; 6] = nodes.try_into().expect("six nodes");
        for (node, slots) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            node.command(&format!("CLUSTER ADDSLOTSRANGE {slots}")).await;
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            let (ip, port) = (node.address.ip(), node.address.port());
            nodes[0].command(&format!("CLUSTER MEET {ip} {port} {bus}")).await;
        }
        for (primary, replica) in nodes.iter().zip(&nodes[3..]) {
            let id = primary.command("CLUSTER MYID").await;
            let id = id.lines().nth(1).expect("an id").to_owned();
            let order = format!("CLUSTER REPLICATE {id}");
            until(async || replica.command(&order).await.starts_with("+OK")).await;
        }
        for node in &nodes {
            until(async || node.command("CLUSTER INFO").await.contains("cluster_state:ok")).await;
        }
        for primary in &nodes[..3] {
            until(async || primary.command("INFO replication").await.contains("state=online"))
                .await;
        }
        nodes
    }

    async fn begin(
        arguments: Vec<String>,
        address: SocketAddr,
        directory: tempfile::TempDir,
    ) -> Self {
        let program = program().expect("the program redis-server");
        let child = spawn(&program, &arguments);
        let server = Self { child, program, address, arguments, directory };
        server.answers().await;
        server
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as `sessions.url` has it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on its address and with what it has on its disk.
    pub async fn restart(&mut self) {
        self.child = spawn(&self.program, &self.arguments);
        self.answers().await;
    }

    /// Removes what it has on its disk, while it does not run.
    pub fn lose_everything(&self) {
        for entry in std::fs::read_dir(self.directory.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else {
                std::fs::remove_file(path).unwrap();
            }
        }
    }

    /// Stops it without ending it, or has it go on.
    pub fn pause(&self, is_paused: bool) {
        let signal = if is_paused { "-STOP" } else { "-CONT" };
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Sends a command of words without spaces; the answer as it came.
    ///
    /// # Panics
    /// If it cannot be reached.
    pub async fn command(&self, words: &str) -> String {
        answer(self.address, words).await.expect("an answer")
    }

    /// Whether it answers a command with a text that contains this one; not if it closes the connection, as a
    /// server does that is being promoted.
    pub async fn says(&self, words: &str, text: &str) -> bool {
        answer(self.address, words).await.is_ok_and(|answer| answer.contains(text))
    }

    async fn answers(&self) {
        let address = self.address;
        until(async || answer(address, "PING").await.is_ok_and(|text| text.starts_with("+PONG")))
            .await;
    }
}

/// Waits until `is_so`, for 20 s at most.
///
/// # Panics
/// If it is not so by then.
pub async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.expect("it comes to be so");
}

/// What a server answers to a command of words without spaces, as far as it came at once.
///
/// # Errors
/// If the server cannot be reached.
pub async fn answer(address: SocketAddr, words: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("{words}\r\n").as_bytes()).await?;
    let mut buffer = vec![0; 65_536];
    let read = stream.read(&mut buffer).await?;
    Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn spawn(program: &Path, arguments: &[String]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
