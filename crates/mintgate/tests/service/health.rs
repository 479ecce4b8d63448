//! `mintgate health`, as container engines start it.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use mintgate_testkit::tls::Certificates;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::common::process::Process;

/// Runs it in a directory, with this file and these variables; the exit code, and what it says. It takes less
/// than two seconds in any case.
async fn health(dir: &Path, arguments: &[&str], variables: &[(&str, String)]) -> (i32, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mintgate"));
    command.current_dir(dir).env_clear().args(arguments);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let output = tokio::time::timeout(Duration::from_secs(2), command.output());
    let Output { status, stdout, stderr } = output.await.expect("it ends in time").unwrap();
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert_eq!(said.matches('\n').count(), 1, "one line: {said}");
    (status.code().unwrap(), said)
}

/// The variable that sends the command to a listener.
fn at(address: &str) -> (&'static str, String) {
    ("MINTGATE__OPS__LISTEN", address.to_owned())
}

/// Answers each connection with this, or, without it, not at all.
async fn answering(bytes: Option<&'static str>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held: Vec<TcpStream> = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if let Some(bytes) = bytes {
                let _ = stream.read(&mut [0; 1024]).await;
                stream.write_all(bytes.as_bytes()).await.unwrap();
            }
            held.push(stream);
            if bytes.is_some() {
                held.clear();
            }
        }
    });
    address
}

#[tokio::test]
async fn a_service_that_lives_is_found_by_its_own_configuration() {
    let process = Process::start("", "", |_| ()).await;
    let config = process.config().display().to_string();
    let elsewhere = tempfile::tempdir().unwrap();
    for arguments in [&["health"][..], &["health", "--ready"]] {
        let by_option = [&["--config", &config][..], arguments].concat();
        let (code, said) = health(elsewhere.path(), &by_option, &[]).await;
        assert_eq!(code, 0, "{said}");
        let by_variable = ("MINTGATE_CONFIG", config.clone());
        let (code, said) = health(elsewhere.path(), arguments, &[by_variable]).await;
        assert_eq!(code, 0, "{said}");
        // A listener on every address is asked on this machine.
        let everywhere = at(&format!("0.0.0.0:{}", process.ops.port()));
        let (code, said) = health(elsewhere.path(), arguments, &[everywhere]).await;
        assert_eq!(code, 0, "{said}");
    }
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "it makes no file");
}

#[tokio::test]
async fn a_service_that_drains_lives_and_is_not_ready() {
    let process = Process::start("", "", |command| {
        command.env("MINTGATE__SERVER__DRAIN_SECS", "600");
    })
    .await;
    let config = process.config().display().to_string();
    process.signal("TERM");
    let mut said = String::new();
    for _ in 0..100 {
        let asked = health(process.dir(), &["--config", &config, "health", "--ready"], &[]).await;
        said = asked.1;
        if asked.0 == 1 {
            break;
        }
    }
    assert!(said.contains("503") && said.contains("shutting down"), "{said}");
    assert_eq!(health(process.dir(), &["--config", &config, "health"], &[]).await.0, 0);
}

#[tokio::test]
async fn a_listener_that_speaks_tls_is_asked_over_tls() {
    let files = tempfile::tempdir().unwrap();
    let made = Certificates::made_for("ops.example.internal");
    let path = |name: &str| files.path().join(name).display().to_string();
    std::fs::write(path("cert.pem"), &made.certificate).unwrap();
    std::fs::write(path("key.pem"), &made.key).unwrap();
    let variables = [
        ("MINTGATE__OPS__TLS_CERT_FILE", path("cert.pem")),
        ("MINTGATE__OPS__TLS_KEY_FILE", path("key.pem")),
    ];
    let process = Process::start("", "", |command| {
        command.envs(variables.clone());
    })
    .await;
    let config = process.config().display().to_string();
    for arguments in
        [&["--config", &config, "health"][..], &["--config", &config, "health", "--ready"]]
    {
        let (code, said) = health(files.path(), arguments, &variables).await;
        assert_eq!(code, 0, "{said}");
    }
    // Without TLS there is no answer that it understands.
    let (code, said) = health(files.path(), &["--config", &config, "health"], &[]).await;
    assert_eq!(code, 1, "{said}");
}

#[tokio::test]
async fn whatever_is_wrong_the_exit_code_is_1_and_a_line_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let silent = answering(None).await;
    let garbage = answering(Some("SSH-2.0-OpenSSH_9.2\r\n")).await;
    let unfinished = answering(Some("HTTP/1.1")).await;
    let not_found = answering(Some("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")).await;
    let [gone] = mintgate_testkit::free_addresses();
    for (address, expected) in [
        (silent.to_string(), "elapsed"),
        (garbage.to_string(), "not HTTP"),
        (unfinished.to_string(), "not HTTP"),
        (not_found.to_string(), "404"),
        (gone.to_string(), "no connection"),
        ("127.0.0.1:0".to_owned(), "port 0"),
        ("nowhere".to_owned(), "ops.listen"),
    ] {
        for arguments in [&["health"][..], &["health", "--ready"]] {
            let (code, said) = health(dir.path(), arguments, &[at(&address)]).await;
            assert_eq!(code, 1, "{said}");
            assert!(said.contains(expected), "{address}: {said}");
        }
    }
    let (code, said) = health(dir.path(), &["--config", "/none.toml", "health"], &[]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("/none.toml"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it makes no file");
}

/// A pod's file systems are read-only but for its volume, and its user has no name and no home.
#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_written_is_named_with_the_user_that_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let provider = "[[providers]]\nid = \"corp\"\nissuer = \"https://idp.example.com\"\n\
        client_id = \"x\"\nclient_secret = \"x\"\nredirect_uris = [\"https://app.example.com/cb\"]";
    std::fs::write(dir.path().join("mintgate.toml"), provider).unwrap();
    let here = |name: &str| dir.path().join(name).display().to_string();
    for (database, keys, named) in [
        // Nobody writes there, not even root.
        ("/sys/mintgate.db".to_owned(), here("keys"), "/sys/mintgate.db"),
        (here("mintgate.db"), "/sys/keys".to_owned(), "/sys/keys"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mintgate"));
        command.current_dir(dir.path()).env_clear().arg("serve").stdout(Stdio::null());
        command.env("MINTGATE__STORE__URL", format!("sqlite://{database}"));
        command.env("MINTGATE__KEYS__DIR", keys);
        command.env("MINTGATE__SERVER__LISTEN", "127.0.0.1:0");
        command.env("MINTGATE__OPS__LISTEN", "127.0.0.1:0");
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        assert!(said.contains(named), "{said}");
        assert!(said.contains(&format!("uid {uid}, gid {gid}")), "{said}");
    }
}
