//! The shipped dashboards, by a real Prometheus that scrapes the real binary while people sign in, refresh,
//! are refused, and a provider is down.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mintgate_domain::TokenHash;
use mintgate_mock_idp::{MockConfig, MockIdp, SignIn};
use mintgate_testkit::free_addresses;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::common::process::Process;
use crate::common::session::refresh_cookie;
use crate::common::{REDIRECT_URI, Tokens, sign_in};

const DASHBOARD: &str = include_str!("../../../../deploy/grafana/mintgate.json");
/// How often it is looked whether the panels show everything, and the pause after each look.
const ATTEMPTS: usize = 60;
const PAUSE: Duration = Duration::from_millis(500);
/// What Grafana puts in for its variables. The scrapes are a tenth as far apart.
const VARIABLES: [(&str, &str); 5] = [
    ("$__rate_interval", "10s"),
    ("$__range", "60s"),
    ("$job", ".*"),
    ("$instance", ".*"),
    ("$provider", ".*"),
];
/// Panels, by title and letter of the query, that rightly show nothing here: the process has looked at its
/// audit log when that was empty, and looks again after a minute; and it does not speak TLS.
const EMPTY: [(&str, &str); 5] = [
    ("Age of the oldest entry of the audit log", "A"),
    ("How long certificates are still valid", "A"),
    ("Certificates", "A"),
    ("Certificates", "B"),
    ("Exchange of shared limits", "B"),
];
/// Panels whose first query must count something: what it counts has happened.
const POSITIVE: [&str; 9] = [
    "Instances",
    "Signed in",
    "Refreshed",
    "Refresh tokens reused",
    "From begun to signed in",
    "Outcomes by provider",
    "Sessions ended by reason",
    "Circuit breakers",
    "Providers asked again about people",
];

/// A query of a panel.
struct Query {
    panel: String,
    letter: String,
    expression: String,
}

/// Every query of every panel, as Grafana sends it.
fn queries() -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let mut queries = vec![];
    for panel in panels.filter(|panel| panel["type"] != "row") {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        for target in panel["targets"].as_array().expect("queries") {
            let mut expression = text(&target["expr"]);
            for (name, value) in VARIABLES {
                expression = expression.replace(name, value);
            }
            assert!(!expression.contains('$'), "an unknown variable: {expression}");
            let (panel, letter) = (text(&panel["title"]), text(&target["refId"]));
            queries.push(Query { panel, letter, expression });
        }
    }
    queries
}

/// A Prometheus of its own, which scrapes one service.
struct Prometheus {
    child: Child,
    base: String,
    client: Client,
}

impl Prometheus {
    /// Starts one, if there is one in `PATH`.
    fn start(dir: &Path, target: &str) -> Option<Self> {
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: any name\n    \
             static_configs: [{{ targets: [\"{target}\"] }}]\n"
        );
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config).expect("a file");
        let [address] = free_addresses();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()));
        command.arg(format!("--web.listen-address={address}"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        Some(Self { child, base: format!("http://{address}"), client: Client::new() })
    }

    /// The values that a query has at this moment; `None` until Prometheus answers.
    ///
    /// # Panics
    /// If the query is not one.
    async fn values(&self, query: &str) -> Option<Vec<f64>> {
        let url = format!("{}/api/v1/query", self.base);
        let answer = self.client.post(url).form(&[("query", query)]).send().await.ok()?;
        let status = answer.status();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        let text = answer.text().await.ok()?;
        assert_eq!(status, StatusCode::OK, "{query}: {text}");
        let body: Value = serde_json::from_str(&text).expect("JSON");
        let series = body["data"]["result"].as_array().expect("a vector").iter();
        let value = |series: &Value| series["value"][1].as_str()?.parse::<f64>().ok();
        Some(series.filter_map(value).filter(|value| !value.is_nan()).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service, with a provider that works, one that is down, and a back end.
async fn service(idp: &MockIdp) -> Process {
    let more = format!(
        "[users]\nprofile = [\"name\"]\n[limits]\nexempt = [\"127.0.0.0/8\"]\n[[clients]]\nid = \"api\"\nsecret_hash = \"{}\"\nrefresh_tokens = true\n\
         [[providers]]\nid = \"works\"\nissuer = \"{}\"\nclient_id = \"mintgate\"\n\
         client_secret = \"mintgate-dev-secret\"\nredirect_uris = [\"{REDIRECT_URI}\"]\nrecheck_secs = 1\n",
        TokenHash::of("secret").to_hex(),
        idp.issuer(),
    );
    let keys = format!("encryption_key = \"{}\"", "ab".repeat(32));
    Process::start_with_keys(&keys, &more, "", |_| ()).await
}

/// One round of what happens to a service.
struct Traffic<'a> {
    idp: &'a MockIdp,
    base: String,
    client: Client,
}

impl Traffic<'_> {
    async fn sign_in(&self) -> Tokens {
        let scope = "openid profile email offline_access".to_owned();
        let code = self.idp.control().issue_code(SignIn { scope, ..sign_in("alice") });
        let body = json!({"authCode": code, "provider": "works", "redirectUri": REDIRECT_URI});
        Tokens::of(self.post("/api/v1/auth/token", &body).await).await
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Response {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        request.send().await.expect("an answer")
    }

    async fn refresh(&self, token: &str) -> reqwest::Response {
        let request = self.client.post(format!("{}/api/v1/auth/refresh", self.base));
        request.header("cookie", refresh_cookie(token)).send().await.expect("an answer")
    }

    async fn ask(&self, path: &str, token: &str) {
        let request =
            self.client.post(format!("{}{path}", self.base)).basic_auth("api", Some("secret"));
        let answer = request.form(&[("token", token)]).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }

    /// People sign in, refresh, sign out; somebody shows an old token, a bad one, a bad code; a back end
    /// asks; a provider is down. Returns a session that goes on.
    async fn round(&self, kept: &str) -> String {
        let login = json!({"provider": "works", "redirectUri": REDIRECT_URI});
        let begun = self.post("/api/v1/auth/login", &login).await;
        assert_eq!(begun.status(), StatusCode::OK);
        // The next ID token is signed with a key that is not known yet.
        self.idp.control().rotate_keys();
        let first = self.sign_in().await;
        let second = Tokens::of(self.refresh(&first.refresh).await).await;
        let third = Tokens::of(self.refresh(&second.refresh).await).await;
        self.ask("/oauth2/introspect", &third.refresh).await;
        assert_eq!(self.refresh(&first.refresh).await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(self.refresh("bad").await.status(), StatusCode::UNAUTHORIZED);
        self.ask("/oauth2/revoke", &self.sign_in().await.refresh).await;
        let own = self.client.post(format!("{}/api/v1/auth/provider-token", self.base));
        let own = own.basic_auth("api", Some("secret")).json(&json!({"sid": first.sid()}));
        own.send().await.expect("an answer");
        for (provider, status) in
            [("works", StatusCode::UNAUTHORIZED), ("corp", StatusCode::SERVICE_UNAVAILABLE)]
        {
            let redirect_uri =
                if provider == "works" { REDIRECT_URI } else { "http://localhost/cb" };
            let body =
                json!({"authCode": "bad", "provider": provider, "redirectUri": redirect_uri});
            assert_eq!(self.post("/api/v1/auth/token", &body).await.status(), status, "{provider}");
        }
        // Older than a second in most rounds: the provider is asked again.
        Tokens::of(self.refresh(kept).await).await.refresh
    }
}

#[tokio::test]
async fn every_panel_shows_what_happens() {
    let mut mock = MockConfig::default();
    for client in &mut mock.clients {
        client.redirect_uris.push(REDIRECT_URI.to_owned());
    }
    let idp = MockIdp::start(mock).await.expect("the provider starts");
    let service = service(&idp).await;
    let Some(prometheus) = Prometheus::start(service.dir(), &service.ops.to_string()) else {
        #[expect(clippy::print_stderr, reason = "whoever runs the tests has to know")]
        let () = eprintln!("SKIPPED: there is no prometheus (apt-get install prometheus)");
        return;
    };
    // The first event is an increase only after what was before it.
    until(async || prometheus.values("mintgate_build_info").await.is_some_and(|it| it == [1.0]))
        .await;

    let base = format!("http://{}", service.public);
    let traffic = Traffic { idp: &idp, base, client: Client::new() };
    let mut kept = traffic.sign_in().await.refresh;
    let mut left = queries();
    assert!(left.len() > 40, "{}", left.len());
    for attempt in 0.. {
        if left.is_empty() {
            break;
        }
        let words: Vec<_> = left.iter().map(|it| (&it.panel, &it.letter, &it.expression)).collect();
        assert!(attempt < ATTEMPTS, "nothing is shown by {words:#?}");
        kept = traffic.round(&kept).await;
        let mut still = vec![];
        for query in left {
            let values = prometheus.values(&query.expression).await.unwrap_or_default();
            let is_shown = if POSITIVE.contains(&query.panel.as_str()) {
                values.iter().any(|value| *value > 0.0)
            } else {
                !values.is_empty()
            };
            if !is_shown && !EMPTY.contains(&(&query.panel, &query.letter)) {
                still.push(query);
            }
        }
        left = still;
        tokio::time::sleep(PAUSE).await;
    }
    // No panel shows a number where there is no service.
    drop(service);
    for query in queries().iter().filter(|query| POSITIVE.contains(&query.panel.as_str())) {
        let elsewhere = query.expression.replace("job=~\".*\"", "job=\"nowhere\"");
        assert_eq!(prometheus.values(&elsewhere).await, Some(vec![]), "{}", query.panel);
    }
}

async fn until(condition: impl AsyncFn() -> bool) {
    for _ in 0..ATTEMPTS {
        if condition().await {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("Prometheus has scraped nothing");
}

/// The dashboard works wherever it is put.
#[test]
fn nothing_of_the_dashboard_belongs_to_one_installation() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    let names: Vec<_> = variables.iter().filter_map(|variable| variable["name"].as_str()).collect();
    assert_eq!(names, ["datasource", "job", "instance", "provider"]);
    assert_eq!(variables[0]["type"], "datasource");
    assert_eq!(dashboard.get("uid"), None);
    for rest in DASHBOARD.split("\"uid\":").skip(1) {
        assert!(rest.trim_start().starts_with("\"${datasource}\""), "a data source is fixed");
    }
    for query in queries() {
        let expression = &query.expression;
        // Nothing paints a service that is dead.
        assert!(!expression.contains("vector("), "{expression}");
        let series =
            expression.matches("mintgate_").count() + expression.matches("process_").count();
        let of_any = expression.matches("job=~\".*\", instance=~\".*\"").count();
        let joined = expression.matches("and on (job, instance) mintgate_build_info").count();
        assert_eq!(series - joined, of_any, "{expression}");
    }
}
