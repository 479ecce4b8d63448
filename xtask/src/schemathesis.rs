//! `cargo xtask schemathesis`: requests made from the OpenAPI documents, against the service as a process.
//! Every answer must be one that the documents have. It needs Python and, the first time, the network.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use mintgate_testkit::free_addresses;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::http::{client, send};
use crate::process::{Process, capture, tail};
use crate::rig::{Binaries, Mock, REDIRECT_URI, Service, code, listeners, provider};
use crate::{say, workspace};

const VERSION: &str = "4.32.5";
const INSTALL_LIMIT: Duration = Duration::from_mins(5);
const ENCRYPTION_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
/// The text of the admin token and of the client's secret, which open nothing elsewhere.
const SECRET: &str = "schemathesis";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance";

#[derive(Args)]
pub(crate) struct Options {
    /// How many requests are sent at least, over all operations
    #[arg(long, default_value_t = 5000)]
    cases: u64,
    /// How many are made for an operation in one round
    #[arg(long, default_value_t = 60)]
    per_operation: u32,
    /// Makes the same requests again; another number each time by default
    #[arg(long)]
    seed: Option<u64>,
}

/// One run over a part of a document.
struct Round<'a> {
    name: &'a str,
    document: &'a Path,
    url: &'a str,
    /// Lines of its configuration: who asks.
    config: String,
    filter: &'a [&'a str],
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let program = installed().await?;
    let binaries = Binaries::build().await?;
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let mock = Mock::start(&binaries, dir, "mock-idp").await?;
    let addresses @ [public, ops] = free_addresses();
    let config = config(&mock, addresses);
    let mut service = Service::configure("mintgate", &binaries.service, dir, &config, addresses)?;
    service.migrate().await?;
    service.start().await?;
    let urls = [public, ops].map(|address| format!("http://{address}"));
    let outcome = rounds(options, &program, dir, &mock, &urls).await;
    let outcome = outcome.and_then(|cases| {
        let panics = service.log().matches("panic: ").count();
        ensure!(panics == 0, "the log has {panics} panics");
        ensure!(cases >= options.cases, "{cases} cases only");
        say::line(&format!("schemathesis: ok, {cases} cases, no failure"));
        Ok(())
    });
    if outcome.is_err() {
        say::error(&format!("--- the end of the service's log\n{}", tail(&service.log())));
    }
    outcome
}

fn config(mock: &Mock, addresses: [std::net::SocketAddr; 2]) -> String {
    let hash = Sha256::digest(SECRET).iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}"));
    [
        listeners(addresses, &format!("http://{}", addresses[0])),
        "[store]\nurl = \"sqlite://schemathesis.db\"\n\n[log]\nformat = \"json\"\n\n".to_owned(),
        format!("[keys]\ndir = \"keys\"\nencryption_key = \"{ENCRYPTION_KEY}\"\n\n"),
        // So that every request gets as far as it can.
        "[limits]\nrefused_sign_ins_per_minute = 0\n\n".to_owned(),
        format!("[[admin.tokens]]\nname = \"all\"\nhash = \"{hash}\"\nscope = \"write\"\n\n"),
        format!(
            "[[clients]]\nid = \"app\"\nsecret_hash = \"{hash}\"\nprovider_tokens = [\"mock\"]\n\
             refresh_tokens = true\n"
        ),
        provider("mock", &mock.issuer, &[REDIRECT_URI], "keep_access_token = true\n"),
    ]
    .concat()
}

/// Runs every round; returns how many requests were sent.
async fn rounds(
    options: &Options,
    program: &Path,
    dir: &Path,
    mock: &Mock,
    [public, ops]: &[String; 2],
) -> Result<u64> {
    let api = document(dir, "public", &format!("{public}/api/openapi.json")).await?;
    let admin = document(dir, "admin", &format!("{ops}/admin/v1/openapi.json")).await?;
    let of_nobody = "";
    let of_person = async || {
        let (access, sub, sid) = signed_in(mock, public).await?;
        let auth = format!(
            "[auth.openapi.accessToken]\nbearer = \"{access}\"\n\
             [auth.openapi.client]\nusername = \"app\"\npassword = \"{SECRET}\"\n\
             [auth.openapi.adminToken]\nbearer = \"{SECRET}\"\n"
        );
        Ok::<_, anyhow::Error>((auth, sub, sid))
    };
    let (person, sub, sid) = of_person().await?;
    let known = format!(
        "[parameters]\n\"path.id\" = \"{sub}\"\n\"path.sid\" = \"{sid}\"\n\"path.role\" = \"auditor\"\n"
    );
    let ending =
        ["--include-operation-id-regex", "^(logOut|endSession|unlink|deleteUser|disableUser)"];
    let not_ending = ["--exclude-operation-id-regex", ending[1]];
    let reading = ["--include-method", "GET"];
    let changing = ["--exclude-method", "GET", "--exclude-operation-id", "deleteUser"];
    let all = [
        ("nobody", &api, public, of_nobody.to_owned(), &[][..]),
        ("a person and a back end", &api, public, person.clone(), &not_ending),
        ("a person who signs out", &api, public, of_person().await?.0, &ending),
        ("nobody, of the operators", &admin, ops, of_nobody.to_owned(), &[]),
        ("an operator who looks", &admin, ops, person.clone() + &known, &reading),
        ("an operator who changes", &admin, ops, person.clone() + &known, &changing),
        ("an operator", &admin, ops, person, &[]),
    ];
    let (mut cases, mut failed) = (0, Vec::new());
    for (name, document, url, config, filter) in all {
        let round = Round { name, document, url, config, filter };
        let (made, is_clean) = round.run(options, program, dir).await?;
        cases += made;
        failed.extend((!is_clean).then_some(name));
    }
    ensure!(failed.is_empty(), "failures as {}", failed.join(", "));
    Ok(cases)
}

/// Signs somebody in; the access token, the user and the session.
async fn signed_in(mock: &Mock, public: &str) -> Result<(String, String, String)> {
    let client = client()?;
    let code = code(&client, &mock.base, "alice").await?;
    let body = json!({ "authCode": code, "provider": "mock", "redirectUri": REDIRECT_URI });
    let answer = send(client.post(format!("{public}/api/v1/auth/token")).json(&body)).await?;
    answer.expect_status(200)?;
    let text = |json: &Value, name: &str| {
        json[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"))
    };
    let access = text(&answer.json()?, "accessToken")?;
    let me = send(client.get(format!("{public}/api/v1/auth/me")).bearer_auth(&access)).await?;
    me.expect_status(200)?;
    Ok((access, text(&me.json()?, "sub")?, text(&me.json()?, "sid")?))
}

/// Saves a document that the service answers.
async fn document(dir: &Path, name: &str, url: &str) -> Result<PathBuf> {
    let answer = send(client()?.get(url).bearer_auth(SECRET)).await?;
    answer.expect_status(200)?;
    let file = dir.join(format!("{name}.json"));
    std::fs::write(&file, answer.body)?;
    Ok(file)
}

impl Round<'_> {
    /// Returns how many requests were sent, and whether every answer was documented.
    async fn run(&self, options: &Options, program: &Path, dir: &Path) -> Result<(u64, bool)> {
        say::line(&format!("schemathesis: as {}", self.name));
        let (config, report) = (dir.join("schemathesis.toml"), dir.join("report.json"));
        std::fs::write(&config, &self.config)?;
        let mut command = Command::new(program);
        command.current_dir(dir).arg("--config-file").arg(&config).args(["run", "--url", self.url]);
        command.args(["--checks", CHECKS, "--continue-on-failure", "--warnings", "off"]);
        command.args(["--suppress-health-check", "all", "--request-timeout", "20"]);
        command.args(["--max-examples", &options.per_operation.to_string()]);
        command.args(["--report", "json", "--report-json-path"]).arg(&report);
        if let Some(seed) = options.seed {
            command.args(["--seed", &seed.to_string()]);
        }
        command.args(self.filter).arg(self.document);
        let status = Process::shown("schemathesis", &mut command)?.wait().await?;
        let report: Value = serde_json::from_slice(&std::fs::read(report)?)?;
        let cases = report.pointer("/test_cases/generated").and_then(Value::as_u64);
        Ok((cases.context("the report has no number of cases")?, status.success()))
    }
}

/// The program, installed into `target/schemathesis` if it is not there.
async fn installed() -> Result<PathBuf> {
    let home = workspace::root().join("target/schemathesis").join(VERSION);
    let program = home.join("bin/schemathesis");
    if !program.exists() {
        say::line(&format!("schemathesis: {VERSION} is installed from PyPI"));
        capture(Command::new("python3").args(["-m", "venv"]).arg(&home), INSTALL_LIMIT).await?;
        let mut install = Command::new(home.join("bin/pip"));
        install.args(["install", "--quiet", &format!("schemathesis=={VERSION}")]);
        capture(&mut install, INSTALL_LIMIT).await?;
    }
    Ok(program)
}
