//! `mintgate dev` for a developer's own page, with a configuration of their own over its defaults.

use std::net::SocketAddr;
use std::time::Duration;

use mintgate_testkit::free_addresses;
use reqwest::{Client, StatusCode, redirect};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

const APP: &str = "http://localhost:5173";

/// `mintgate dev` in a directory of its own.
struct Dev {
    child: Child,
    listen: SocketAddr,
    idp: SocketAddr,
    dir: tempfile::TempDir,
}

fn command(dir: &tempfile::TempDir, [listen, ops, idp]: [SocketAddr; 3]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mintgate"));
    command.env_clear().current_dir(dir.path()).kill_on_drop(true);
    command.args(["dev", "--listen", &listen.to_string(), "--ops-listen", &ops.to_string()]);
    command.args(["--idp-listen", &idp.to_string()]);
    command
}

impl Dev {
    async fn start(prepare: impl FnOnce(&mut Command, &tempfile::TempDir)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let addresses = free_addresses();
        let mut command = command(&dir, addresses);
        command.stdout(std::fs::File::create(dir.path().join("output")).unwrap());
        prepare(&mut command, &dir);
        let child = command.spawn().unwrap();
        let [listen, ops, idp] = addresses;
        let mut dev = Self { child, listen, idp, dir };
        let ready = format!("http://{ops}/health/ready");
        let answers = async {
            while !reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success()) {
                assert!(dev.child.try_wait().unwrap().is_none(), "it ended: {}", dev.output());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answers).await.expect("it gets ready");
        dev
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("output")).unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}/api/v1/auth{path}", self.listen.port())
    }

    /// What a login of alice gets that comes back to `redirect_uri`, at a page of this origin or no page.
    async fn login(&self, redirect_uri: &str, origin: Option<&str>) -> reqwest::Response {
        let client = Client::builder().redirect(redirect::Policy::none()).build().unwrap();
        let authorize = client.get(format!("http://{}/authorize", self.idp)).query(&[
            ("response_type", "code"),
            ("client_id", "mintgate"),
            ("redirect_uri", redirect_uri),
            ("scope", "openid"),
            ("prompt", "none"),
            ("login_hint", "alice"),
        ]);
        let answer = authorize.send().await.unwrap();
        let back = url::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        let code =
            back.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
        let body = json!({ "authCode": code, "provider": "mock", "redirectUri": redirect_uri });
        let mut token = client.post(self.url("/token")).json(&body);
        if let Some(origin) = origin {
            token = token.header("origin", origin);
        }
        token.send().await.unwrap()
    }
}

/// What the command says that ends by itself, and its exit code.
async fn refusal(prepare: impl FnOnce(&mut Command, &tempfile::TempDir)) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(&dir, free_addresses());
    prepare(&mut command, &dir);
    let output = tokio::time::timeout(Duration::from_secs(30), command.output());
    let output = output.await.expect("it ends").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_page_of_its_own_may_call_and_its_browser_keeps_the_cookies() {
    let dev = Dev::start(|command, _| {
        command.args(["--app", APP]);
    })
    .await;
    let answer = dev.login(&format!("{APP}/callback"), Some(APP)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["access-control-allow-origin"], APP);
    let set: Vec<_> =
        answer.headers().get_all("set-cookie").iter().map(|it| it.to_str().unwrap()).collect();
    assert_eq!(set.len(), 3, "{set:?}");
    assert!(
        set.iter().all(|cookie| !cookie.contains("Secure")),
        "Safari drops them over http: {set:?}"
    );
    assert!(set[2].starts_with("Auth-Session=1; "), "{set:?}");
    let output = dev.output();
    let lines = [
        format!("const auth = \"http://localhost:{}/api/v1/auth\";", dev.listen.port()),
        "${auth}/start/mock?returnTo=${encodeURIComponent(location.href)}".to_owned(),
    ];
    assert!(lines.iter().all(|line| output.contains(line)), "{output}");

    let foreign =
        Client::new().get(dev.url("/providers")).header("origin", "http://localhost:5174");
    assert!(!foreign.send().await.unwrap().headers().contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn the_named_file_and_the_environment_go_over_its_defaults() {
    let dev = Dev::start(|command, dir| {
        let file = dir.path().join("mine.toml");
        let text = "[tokens]\naccess_ttl_secs = 20\n\
                    [[providers]]\nid = \"mock\"\nredirect_uris = [\"http://localhost:7000/back\"]\n";
        std::fs::write(&file, text).unwrap();
        command.arg("--config").arg(file).env("MINTGATE__ROLES__DEFAULT", "reader");
    })
    .await;
    let answer = dev.login("http://localhost:7000/back", None).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["expiresIn"], 20);
    let me = Client::new().get(dev.url("/me")).bearer_auth(body["accessToken"].as_str().unwrap());
    let me: Value = me.send().await.unwrap().json().await.unwrap();
    assert_eq!(me["roles"], json!(["admin", "reader"]));
}

#[tokio::test]
async fn what_it_cannot_honour_is_refused() {
    let (code, text) = refusal(|command, _| {
        command.env("MINTGATE__SERVER__LISTEN", "127.0.0.1:1");
    })
    .await;
    assert_eq!(code, Some(1));
    assert!(
        text.contains("server.listen is 127.0.0.1:1") && text.contains("--listen 127.0.0.1:1"),
        "{text}"
    );

    let (code, text) = refusal(|command, dir| {
        let file = dir.path().join("mine.toml");
        std::fs::write(&file, "garbage = [").unwrap();
        command.arg("--config").arg(file);
    })
    .await;
    assert_eq!(code, Some(2));
    assert!(text.contains("mine.toml") && text.contains("is not TOML"), "{text}");

    let (code, text) = refusal(|command, _| {
        command.args(["--config", "missing.toml"]);
    })
    .await;
    assert_eq!(code, Some(2));
    assert!(text.contains("missing.toml"), "{text}");

    let (code, text) = refusal(|command, _| {
        command.args(["--app", "http://localhost:5173", "--app", "http://127.0.0.1:5174"]);
    })
    .await;
    assert_eq!(code, Some(1));
    assert!(text.contains("one host name"), "{text}");

    let (code, text) = refusal(|command, _| {
        command.args(["--app", "https://localhost:5173"]);
    })
    .await;
    assert_eq!(code, Some(2));
    assert!(text.contains("serve the page over http"), "{text}");
}
