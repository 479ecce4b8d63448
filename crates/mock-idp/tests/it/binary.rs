//! The mock as a process.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

/// Starts the binary on a free port; the process and its issuer.
async fn spawn(arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mintgate-mock-idp"))
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let stdout = child.stdout.take().expect("its output");
    let line = timeout(DEADLINE, BufReader::new(stdout).lines().next_line()).await;
    let line = line.expect("in time").expect("readable").expect("a line");
    let issuer = line.rsplit(' ').next().expect("its last word").to_owned();
    (child, issuer)
}

async fn status(url: &str) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(url).send().await.expect("an answer").status().as_u16()
}

#[tokio::test]
async fn it_says_its_issuer_and_stops_at_once_on_sigterm() {
    let (mut child, issuer) = spawn(&["--control"]).await;
    assert_eq!(status(&format!("{issuer}/.well-known/openid-configuration")).await, 200);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let order = serde_json::json!({ "jwks": { "kind": "hang" } });
    let order = client.put(format!("{issuer}/control/faults")).json(&order).send().await;
    assert_eq!(order.unwrap().status(), 204);
    let mut hung = TcpStream::connect(issuer.trim_start_matches("http://")).await.unwrap();
    hung.write_all(b"GET /jwks HTTP/1.1\r\nHost: mock\r\n\r\n").await.unwrap();

    let pid = child.id().expect("it runs").to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
    assert!(killed.success());
    let exit = timeout(DEADLINE, child.wait()).await.expect("in time").unwrap();
    assert!(exit.success(), "{exit}");
}

#[tokio::test]
async fn control_is_off_unless_asked_for_and_the_client_can_be_set() {
    let (_child, issuer) = spawn(&[
        "--client-id",
        "shop",
        "--redirect-uri",
        "https://shop.example/a",
        "--redirect-uri",
        "https://shop.example/b",
    ])
    .await;
    assert_eq!(status(&format!("{issuer}/control/stats")).await, 404);
    let request = |client: &str, uri: &str| {
        format!("{issuer}/authorize?response_type=code&client_id={client}&redirect_uri={uri}")
    };
    assert_eq!(status(&request("shop", "https://shop.example/b")).await, 200);
    assert_eq!(status(&request("shop", "https://app.example.com/callback")).await, 400);
    assert_eq!(status(&request("mintgate", "https://shop.example/b")).await, 400);
}

#[tokio::test]
async fn it_speaks_the_dialect_it_is_told_to() {
    let (_child, issuer) = spawn(&["--dialect", "keycloak", "--iss-parameter", "false"]).await;
    assert!(issuer.ends_with("/realms/mintgate"), "{issuer}");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{issuer}/.well-known/openid-configuration");
    let document: serde_json::Value = client.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(document["issuer"], issuer);
    assert_eq!(document["authorization_response_iss_parameter_supported"], false);

    let mut child = Command::new(env!("CARGO_BIN_EXE_mintgate-mock-idp"));
    let refused = child.args(["--dialect", "klingon"]).output().await.unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("plain, google, github"));
}
