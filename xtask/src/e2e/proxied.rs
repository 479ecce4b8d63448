//! The service below a path, behind nginx as Debian installs it: HTTP/1.0 to Mintgate, small buffers.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mintgate_testkit::free_addresses;
use rustix::process::Signal;
use serde_json::json;

use super::steps::Steps;
use crate::http::{client, expect, send};
use crate::process::Process;
use crate::rig::{Binaries, Mock, REDIRECT_URI, Service, code, listeners, provider};
use crate::workspace;

const START_LIMIT: Duration = Duration::from_secs(20);
const PROVIDER: &str = "mock";
const STEP: &str =
    "a login, a refresh without a body, /me, a logout and the metadata, through nginx";

pub(super) async fn walk(steps: &mut Steps, binaries: &Binaries, dir: &Path) -> Result<()> {
    let Some(nginx) = workspace::find_program(&["nginx", "/usr/sbin/nginx"]) else {
        steps.not_run(STEP, "no nginx in PATH; Debian: apt-get install nginx-light");
        return Ok(());
    };
    std::fs::create_dir_all(dir)?;
    let [public, ops, front] = free_addresses();
    let base = format!("http://{front}/auth");
    let mock = Mock::start(binaries, dir, "mock-idp").await?;
    let config = listeners([public, ops], &base)
        + &format!(
            "[store]\nurl = \"sqlite://{}\"\n\n[keys]\ndir = \"keys\"\n",
            dir.join("db").display()
        )
        + &provider(PROVIDER, &mock.issuer, &[REDIRECT_URI], "");
    let mut service =
        Service::configure("mintgate", &binaries.service, dir, &config, [public, ops])?;
    service.migrate().await?;
    service.start().await?;
    let _nginx = start(&nginx, dir, front, public).await?;
    steps.step(STEP, visit(&base, &mock)).await
}

async fn start(nginx: &Path, dir: &Path, front: SocketAddr, back: SocketAddr) -> Result<Process> {
    let file = dir.join("nginx.conf");
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {};", dir.join(name).display()));
    let config = format!(
        "daemon off; pid {pid}; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{}\n\
         server {{ listen {front}; location /auth/ {{ proxy_pass http://{back}; }} }}\n}}\n",
        temporary.join("\n"),
        pid = dir.join("nginx.pid").display(),
    );
    std::fs::write(&file, config)?;
    let mut command = Command::new(nginx);
    command.arg("-c").arg(&file).args(["-e", "stderr"]);
    let mut process =
        Process::logged("nginx", &mut command, &dir.join("nginx.log"))?.stopped_by(Signal::TERM);
    let client = client()?;
    let url = format!("http://{front}/auth/.well-known/jwks.json");
    process
        .ready(START_LIMIT, || async { send(client.get(&url)).await?.expect_status(200) })
        .await?;
    Ok(process)
}

async fn visit(base: &str, mock: &Mock) -> Result<()> {
    let client = client()?;
    let url = |path: &str| format!("{base}/api/v1/auth/{path}");
    let code = code(&client, &mock.base, "alice").await?;
    let body = json!({ "authCode": code, "provider": PROVIDER });
    let signed_in = send(client.post(url("token")).json(&body)).await?;
    signed_in.expect_status(200)?;
    let cookie = |name: &str| -> Result<String> {
        let all = signed_in.all("set-cookie");
        let found = all.into_iter().find(|cookie| cookie.starts_with(name));
        Ok(found.and_then(|cookie| cookie.split(';').next()).context("no cookie")?.to_owned())
    };
    let (access, refresh) = (cookie("Auth-Access-Token=")?, cookie("Auth-Refresh-Token=")?);
    let path = "Path=/auth/api/v1/auth/refresh;";
    ensure!(signed_in.all("set-cookie").iter().any(|it| it.contains(path)), "no cookie has {path}");
    // reqwest sends neither a body nor a length.
    send(client.post(url("refresh")).header("cookie", refresh)).await?.expect_status(200)?;
    send(client.get(url("me")).header("cookie", &access)).await?.expect_status(200)?;
    send(client.post(url("logout")).header("cookie", &access)).await?.expect_status(200)?;
    let metadata = send(client.get(format!("{base}/.well-known/openid-configuration"))).await?;
    metadata.expect_status(200)?;
    expect("issuer", &metadata.json()?["issuer"], &json!(base))
}
