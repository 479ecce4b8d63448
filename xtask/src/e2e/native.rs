//! `examples/native`: a program in Rust that signs in, keeps its refresh token in a file, refreshes and signs out.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::frontends::{location, signed_in_there};
use crate::http::{client, expect, send};
use crate::process::{Process, capture};
use crate::rig::plain;
use crate::workspace;

pub(super) const NAME: &str =
    "examples/native signs in, refreshes, survives an outage and signs out";
/// It may have to be compiled.
pub(super) const LIMIT: Duration = Duration::from_mins(10);
const COMMAND_LIMIT: Duration = Duration::from_secs(20);

struct Native<'a> {
    program: PathBuf,
    dir: &'a Path,
    auth: &'a str,
}

impl Native<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = plain(&self.program, self.dir);
        command.args(arguments).env("MINTGATE_URL", self.auth);
        command.env("MINTGATE_PROVIDER", "corp").env("MINTGATE_TOKEN_FILE", self.file());
        command
    }

    fn file(&self) -> PathBuf {
        self.dir.join("native-token")
    }

    fn token(&self) -> Result<String> {
        let mode = self.file().metadata()?.permissions().mode() & 0o777;
        expect("the mode of the file", &mode, &0o600)?;
        Ok(std::fs::read_to_string(self.file())?)
    }

    async fn ends_with(&self, command: &mut Command, code: i32) -> Result<()> {
        let log = self.dir.join("native-command.log");
        let mut process = Process::logged("examples/native", command, &log)?;
        let status = process.wait_at_most(COMMAND_LIMIT).await?;
        expect("the exit status", &status.code(), &Some(code)).with_context(|| process.output())
    }
}

/// With the service at this address, whose provider `corp` redirects to this port.
pub(super) async fn run(auth: &str, port: u16, dir: &Path) -> Result<()> {
    let target = workspace::root().join("target/recipes");
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "--locked"]).env("CARGO_TARGET_DIR", &target);
    capture(cargo.current_dir(workspace::root().join("examples/native")), LIMIT).await?;
    let native = Native { program: target.join("debug/mintgate-example-native"), dir, auth };

    let log = dir.join("native-sign-in.log");
    let mut command = native.command(&["sign-in", "--no-browser", "--port", &port.to_string()]);
    let mut process = Process::logged("examples/native", &mut command, &log)?;
    let url = process.ready(COMMAND_LIMIT, || async {
        let output = std::fs::read_to_string(&log)?;
        let mut lines = output.lines().filter_map(|line| line.strip_prefix("sign in at "));
        Ok(lines.next().context("no address was printed")?.to_owned())
    });
    let url = url.await?;
    let http = client()?;
    // What is not the response to this login ends nothing.
    let foreign = format!("http://127.0.0.1:{port}/callback?code=x&state=x");
    send(http.get(foreign)).await?.expect_status(404)?;
    let at_provider = send(http.get(signed_in_there(&url)?)).await?;
    send(http.get(location(&at_provider)?)).await?.expect_status(200)?;
    let status = process.wait_at_most(COMMAND_LIMIT).await?;
    ensure!(status.success(), "sign-in ended with {status}: {}", process.output());

    let first = native.token()?;
    capture(&mut native.command(&["who"]), COMMAND_LIMIT).await?;
    let second = native.token()?;
    ensure!(first != second, "the refresh token was not replaced");
    // An outage is another exit status, and ends nothing.
    let mut without = native.command(&["who"]);
    native.ends_with(without.env("MINTGATE_URL", "http://127.0.0.1:9"), 75).await?;
    expect("the token after an outage", &native.token()?, &second)?;
    let told = capture(&mut native.command(&["who"]), COMMAND_LIMIT).await?;
    ensure!(told.starts_with("signed in as "), "{told}");
    capture(&mut native.command(&["sign-out"]), COMMAND_LIMIT).await?;
    ensure!(!native.file().exists(), "the token is still there");
    native.ends_with(&mut native.command(&["who"]), 1).await
}
