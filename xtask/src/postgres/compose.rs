//! A Postgres in a container, by `docker compose`.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use mintgate_testkit::free_addresses;

use super::Durability;
use crate::process::capture;
use crate::workspace;

const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long `docker compose` may take, with time to pull the image.
const UP_LIMIT: Duration = Duration::from_mins(5);

/// Fails, saying why, if containers cannot be used.
pub(crate) async fn engine_answers() -> Result<()> {
    let mut version = Command::new("docker");
    capture(version.args(["version", "--format", "{{.Server.Version}}"]), ANSWER_LIMIT).await?;
    let mut compose = Command::new("docker");
    capture(compose.args(["compose", "version"]), ANSWER_LIMIT).await?;
    Ok(())
}

/// A compose project of this process alone.
pub(super) struct Compose {
    project: String,
    port: u16,
    settings: String,
}

impl Compose {
    pub(super) async fn start(durability: Durability) -> Result<Self> {
        let [address] = free_addresses();
        let settings =
            durability.settings().iter().map(|setting| format!("-c {setting}")).collect::<Vec<_>>();
        // Created before the container, so that an interrupted start is cleaned up too.
        let compose = Self {
            project: format!("mintgate-test-{}", std::process::id()),
            port: address.port(),
            settings: settings.join(" "),
        };
        compose.run(&["up", "--detach", "--wait"]).await?;
        Ok(compose)
    }

    pub(super) async fn crash(&self) -> Result<()> {
        self.run(&["kill", "--signal", "SIGKILL"]).await
    }

    pub(super) async fn restart(&self) -> Result<()> {
        self.run(&["start"]).await
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://mintgate:mintgate@127.0.0.1:{}/mintgate", self.port)
    }

    async fn run(&self, args: &[&str]) -> Result<()> {
        let mut command = self.command();
        capture(command.args(args), UP_LIMIT).await.context("docker compose")?;
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command
            .args(["compose", "--project-name", &self.project, "--file"])
            .arg(workspace::root().join("deploy/compose.test.yml"))
            .env("MINTGATE_TEST_POSTGRES_PORT", self.port.to_string())
            .env("MINTGATE_TEST_POSTGRES_SETTINGS", &self.settings);
        command
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        let mut down = self.command();
        down.args(["down", "--volumes", "--timeout", "0"]);
        // An error leaves the container; nothing more can be done here.
        let _ = down.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
