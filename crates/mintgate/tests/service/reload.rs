//! A changed configuration that a running process takes over, all of it or nothing.

use std::time::Duration;

use mintgate_mock_idp::IdTokenRecipe;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::login::{LOGIN, posted};
use crate::common::process::Process;
use crate::common::{Options, REDIRECT_URI, Store, TestService, claims, sign_in};

const GOOD: &str = "mintgate_config_last_reload_successful 1";
const BAD: &str = "mintgate_config_last_reload_successful 0";

/// A process beside a service with the same provider, and what its file says.
struct Scene {
    service: TestService,
    process: Process,
    text: String,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
struct Printed {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Scene {
    async fn set() -> Self {
        Self::with("").await
    }

    /// With these lines about the provider.
    async fn with(provider: &'static str) -> Self {
        let more = "[tokens]\nbody_delivery = true".to_owned();
        let options = Options { provider, more, ..Options::default() };
        let service = TestService::start_with(Store::Sqlite, options).await;
        let process = service.replica_process().await;
        let text = std::fs::read_to_string(process.config()).unwrap();
        Self { service, process, text }
    }

    /// Has the file say this besides, at its beginning.
    fn write(&self, more: &str, change: impl FnOnce(&str) -> String) {
        let text = change(&format!("{more}\n{}", self.text));
        std::fs::write(self.process.config(), text).unwrap();
    }

    async fn reload(&self) -> Printed {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mintgate"));
        command.env_clear().arg("--config").arg(self.process.config()).arg("reload");
        let output = command.output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Printed { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.process.public)
    }

    /// Signs somebody in at the process; the answer's status and body.
    async fn sign_in(&self, provider: &str) -> (StatusCode, Value) {
        let body = json!({
            "authCode": self.service.code(), "provider": provider, "redirectUri": REDIRECT_URI,
            "tokenDelivery": "body",
        });
        let request = self.service.client.post(self.url("/api/v1/auth/token")).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn refresh(&self, session: &Value) -> StatusCode {
        let body = json!({ "refreshToken": session["refreshToken"] });
        let request = self.service.client.post(self.url("/api/v1/auth/refresh")).json(&body);
        request.send().await.unwrap().status()
    }

    /// Whether pages of this origin may read answers.
    async fn permits(&self, origin: &str) -> bool {
        let url = self.url("/api/v1/auth/refresh");
        let request = self.service.client.request(Method::OPTIONS, url);
        let request = request.header("origin", origin);
        let answer = request.header("access-control-request-method", "POST").send().await.unwrap();
        answer.headers().contains_key("access-control-allow-origin")
    }

    async fn providers(&self) -> Vec<String> {
        let url = self.url("/api/v1/auth/providers");
        let answer = self.service.client.get(url).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        let providers = body["providers"].as_array().expect("a list").iter();
        providers.map(|provider| provider["id"].as_str().unwrap().to_owned()).collect()
    }

    async fn metrics(&self) -> String {
        self.process.ops("/metrics").await.unwrap().1
    }

    /// The series that tells which configuration runs.
    async fn running(&self) -> String {
        let metrics = self.metrics().await;
        let mut lines = metrics.lines().filter(|line| line.starts_with("mintgate_config_info{"));
        let line = lines.next().expect("a configuration runs").to_owned();
        assert_eq!(lines.next(), None, "one runs");
        line
    }

    /// Waits until the metrics have this line.
    async fn until(&self, line: &str) {
        for _ in 0..500 {
            if self.metrics().await.lines().any(|other| other == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never {line}");
    }

    /// Another provider, at the same issuer, as the file says it.
    fn second(&self) -> String {
        let issuer = self.service.idp().issuer();
        format!(
            "[[providers]]\nid = \"second\"\nissuer = \"{issuer}\"\nclient_id = \"mintgate\"\n\
             client_secret = \"mintgate-dev-secret\"\nredirect_uris = [\"{REDIRECT_URI}\"]\n"
        )
    }
}

#[tokio::test]
async fn a_changed_file_is_taken_over_and_people_stay_signed_in() {
    let scene = Scene::set().await;
    let (status, before) = scene.sign_in("corp").await;
    assert_eq!(status, StatusCode::OK, "{before}");
    assert!(!scene.permits("https://new.example.com").await);
    let running = scene.running().await;
    assert!(scene.metrics().await.lines().any(|line| line == GOOD), "after the start");

    let more = "[cors]\nallowed_origins = [\"https://new.example.com\"]\n\
                [log]\nfilter = \"warn\"\n[limits]\nlogins_per_minute = 7\n";
    scene.write(more, |text| {
        let text = text.replace("domain = \"example.com\"", "domain = \"example.org\"");
        format!("{text}\n{}", scene.second())
    });
    let printed = scene.reload().await;
    assert_eq!((printed.code, printed.err.as_str()), (Some(0), ""), "{printed:?}");
    for key in
        ["cors.allowed_origins", "log.filter", "limits.logins_per_minute", "roles.rules.2.domain"]
    {
        assert!(printed.out.contains(key), "{key}: {}", printed.out);
    }
    assert!(printed.out.contains("providers.") && !printed.out.contains("secret\""), "{printed:?}");

    assert!(scene.permits("https://new.example.com").await);
    assert_eq!(scene.providers().await, ["corp", "second"]);
    assert_eq!(scene.refresh(&before).await, StatusCode::OK, "the session goes on");
    let (status, by_second) = scene.sign_in("second").await;
    assert_eq!(status, StatusCode::OK, "{by_second}");
    let roles = |session: &Value| claims(session["accessToken"].as_str().unwrap())["roles"].clone();
    assert_ne!(roles(&before), roles(&by_second), "the rule is another");
    let metrics = scene.metrics().await;
    assert!(metrics.contains(
        "mintgate_token_generation_total{outcome=\"access_denied\",provider=\"second\"} 0"
    ));
    assert_ne!(scene.running().await, running);
}

#[tokio::test]
async fn what_was_begun_and_counted_before_a_reload_is_finished_and_counts_after_it() {
    let scene = Scene::set().await;
    let limit = |number: u32| format!("[limits]\nrefused_sign_ins_per_minute = {number}\n");
    scene.write(&limit(2), str::to_owned);
    assert_eq!(scene.reload().await.code, Some(0));

    let request = json!({ "provider": "corp", "redirectUri": REDIRECT_URI });
    let begun = scene.service.client.post(scene.url(LOGIN)).json(&request).send().await.unwrap();
    let cookie =
        begun.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let begun: Value = begun.json().await.unwrap();
    let url = begun["authorizationUrl"].as_str().unwrap();
    let response = scene.service.at_provider(url, "alice").await;
    let garbage = async || {
        let body = json!({ "authCode": "x", "provider": "corp", "redirectUri": REDIRECT_URI });
        let request = scene.service.client.post(scene.url("/api/v1/auth/token")).json(&body);
        request.send().await.unwrap().status()
    };
    assert_eq!([garbage().await, garbage().await], [StatusCode::UNAUTHORIZED; 2]);

    let with_origin = format!("{}[cors]\nallowed_origins = [\"https://a.example\"]\n", limit(2));
    scene.write(&with_origin, str::to_owned);
    assert_eq!(scene.reload().await.code, Some(0));
    assert_eq!(garbage().await, StatusCode::TOO_MANY_REQUESTS, "two were refused before");
    scene.write(&limit(9), str::to_owned);
    assert_eq!(scene.reload().await.code, Some(0));
    assert_eq!(garbage().await, StatusCode::UNAUTHORIZED, "the limit is another");

    let finish = scene.service.client.post(scene.url("/api/v1/auth/token"));
    let finish = finish.json(&posted(&response)).header("cookie", cookie).send().await.unwrap();
    assert_eq!(finish.status(), StatusCode::OK, "{}", finish.text().await.unwrap());
}

#[tokio::test]
async fn a_provider_that_is_down_keeps_its_keys_and_its_open_circuit_over_a_reload() {
    let mut scene = Scene::with("circuit_open_secs = 300").await;
    assert_eq!(scene.sign_in("corp").await.0, StatusCode::OK, "its keys are fetched");
    let [first, second] = [(); 2].map(|()| {
        let idp = scene.service.idp().control();
        idp.issue_id_token(&sign_in("alice"), &IdTokenRecipe::default())
    });
    let post = async |scene: &Scene, token: &str| {
        let body = json!({ "idToken": token, "provider": "corp" });
        let request = scene.service.client.post(scene.url("/api/v1/auth/token")).json(&body);
        request.send().await.unwrap().status()
    };
    scene.service.stop_provider().await;
    scene.write("[cors]\nallowed_origins = [\"https://new.example.com\"]\n", str::to_owned);
    assert_eq!(scene.reload().await.code, Some(0));
    assert_eq!(post(&scene, &first).await, StatusCode::OK, "by the keys from before");

    let open = "mintgate_provider_circuit_state{provider=\"corp\"} 2";
    for _ in 0..20 {
        let body = json!({ "authCode": "x", "provider": "corp", "redirectUri": REDIRECT_URI });
        let request = scene.service.client.post(scene.url("/api/v1/auth/token")).json(&body);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    scene.until(open).await;
    // One that is refused, and one that is taken over.
    scene.write("[cors]\nallowed_origins = 7\n", str::to_owned);
    assert_eq!(scene.reload().await.code, Some(2));
    assert!(scene.metrics().await.lines().any(|line| line == open), "after a refused reload");
    scene.write("", |text| text.trim_start().to_owned());
    assert_eq!(scene.reload().await.code, Some(0));
    assert!(scene.metrics().await.lines().any(|line| line == open), "after a reload");
    assert_eq!(post(&scene, &second).await, StatusCode::SERVICE_UNAVAILABLE, "it is open");

    // Another secret is another client.
    scene.write("", |text| {
        let changed = text.replacen("client_secret = \"", "client_secret = \"other-", 1);
        assert_ne!(changed, text);
        changed
    });
    assert_eq!(scene.reload().await.code, Some(0));
    scene.until("mintgate_provider_circuit_state{provider=\"corp\"} 0").await;
}

#[tokio::test]
async fn one_mistake_refuses_the_whole_file_and_the_old_one_put_back_ends_the_alarm() {
    let scene = Scene::set().await;
    let running = scene.running().await;
    let more = "[cors]\nallowed_origins = [\"https://new.example.com\"]\n[roles]\ndefault = [7]\n";
    scene.write(more, |text| text.replace("issuer = \"http", "isuer = \"http"));
    let printed = scene.reload().await;
    assert_eq!((printed.code, printed.out.as_str()), (Some(2), ""), "{printed:?}");
    assert!(printed.err.contains("isuer") && printed.err.contains("roles.default"), "{printed:?}");
    assert!(!scene.permits("https://new.example.com").await, "nothing of it was taken over");
    assert_eq!(scene.sign_in("corp").await.0, StatusCode::OK);
    scene.until(BAD).await;
    assert_eq!(scene.running().await, running);

    scene.write("", |text| text.trim_start().to_owned());
    assert_eq!(scene.reload().await.code, Some(0));
    scene.until(GOOD).await;
    assert_eq!(scene.running().await, running);
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_refuses_the_rest() {
    let scene = Scene::set().await;
    let origins = "[cors]\nallowed_origins = [\"https://new.example.com\"]\n";
    for (more, from, to, named) in [
        ("", "workers = 1", "workers = 2", "server.workers"),
        ("[audit]\nretention_days = 3\n", "", "", "audit.retention_days"),
        ("", "body_delivery", "access_ttl_secs = 61\nbody_delivery", "tokens.access_ttl_secs"),
        ("[audit]\nkey = \"a secret that is long enough for a key of the log\"\n", "", "", "audit"),
    ] {
        scene.write(&format!("{origins}{more}"), |text| text.replacen(from, to, 1));
        let printed = scene.reload().await;
        assert_eq!(printed.code, Some(2), "{printed:?}");
        assert!(printed.err.contains("restart") && printed.err.contains(named), "{printed:?}");
        assert!(!printed.err.contains("cors.allowed_origins"), "{printed:?}");
        assert!(!scene.permits("https://new.example.com").await);
    }
}

#[tokio::test]
async fn a_signal_reloads_too_and_two_at_once_do_no_harm() {
    let scene = Scene::set().await;
    scene.write("[cors]\nallowed_origins = [\"https://new.example.com\"]\n", str::to_owned);
    scene.process.signal("HUP");
    scene.process.signal("HUP");
    for _ in 0..500 {
        if scene.permits("https://new.example.com").await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(scene.permits("https://new.example.com").await);
    scene.write("[cors]\nallowed_origins = 7\n", str::to_owned);
    scene.process.signal("HUP");
    scene.until(BAD).await;
    assert!(scene.permits("https://new.example.com").await, "the service goes on as before");
}

#[tokio::test]
async fn what_the_environment_overrides_is_named_and_nobody_to_ask_is_an_error() {
    let mut process = Process::start("[log]\nfilter = \"info\"", "", |command| {
        command.env("MINTGATE__LOG__FILTER", "warn");
    })
    .await;
    let config = process.config();
    let order = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mintgate"));
        command.env_clear().arg("--config").arg(&config).arg("reload").output().unwrap()
    };
    let output = order();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("log.filter (MINTGATE__LOG__FILTER)"), "{out}");
    process.signal("KILL");
    process.exit_code(10).await;
    let nobody = order();
    let err = String::from_utf8(nobody.stderr).unwrap();
    assert_eq!(nobody.status.code(), Some(1), "{err}");
    assert!(err.contains("ops.listen"), "{err}");
}
