//! What a service manager such as systemd is told, on a real socket.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::process::Process;

/// The next message.
fn next(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).expect("a message in time");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

fn listening(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

#[tokio::test]
async fn a_service_manager_is_told_of_start_reload_and_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = listening(&path);
    let mut process = Process::start("", "", |command| {
        command.env("NOTIFY_SOCKET", &path);
    })
    .await;
    assert_eq!(next(&socket), "READY=1");
    let text = std::fs::read_to_string(process.config()).unwrap();
    for (text, expected) in [(text.clone(), 0), (format!("{text}\nclient_idd = 1\n"), 2)] {
        std::fs::write(process.config(), text).unwrap();
        let mut order = Command::new(env!("CARGO_BIN_EXE_mintgate"));
        order.env_clear().env("NOTIFY_SOCKET", &path).arg("--config").arg(process.config());
        let output = tokio::task::spawn_blocking(move || order.arg("reload").output().unwrap());
        assert_eq!(output.await.unwrap().status.code(), Some(expected));
        let reloading = next(&socket);
        let (first, second) = reloading.split_once('\n').expect("two lines");
        assert_eq!(first, "RELOADING=1");
        let micros = second.strip_prefix("MONOTONIC_USEC=").expect("a time");
        assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
        assert_eq!(next(&socket), "READY=1");
    }
    process.signal("TERM");
    assert_eq!(next(&socket), "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000");
    assert_eq!(process.exit_code(10).await, Some(0));
}

#[tokio::test]
async fn a_watchdog_is_fed_at_an_abstract_address() {
    let name = format!("mintgate-watchdog-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let process = Process::start("", "", |command| {
        command.env("NOTIFY_SOCKET", format!("@{name}")).env("WATCHDOG_USEC", "200000");
    })
    .await;
    let messages: Vec<_> = (0..6).map(|_| next(&socket)).collect();
    assert!(messages.iter().any(|it| it == "READY=1"), "{messages:?}");
    assert!(messages.iter().filter(|it| *it == "WATCHDOG=1").count() >= 5, "{messages:?}");
    drop(process);
}
