//! Those who use Mintgate from outside: the recipes of `docs/verifying.md` and the tests of the packages
//! for pages. They need Node, Python, Go, Java, Maven, Chromium and the internet.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::steps::Steps;
use crate::process::output_of;
use crate::rig::Binaries;
use crate::workspace;

/// The longest that each may take: what it needs may have to be fetched and compiled.
const LIMIT: Duration = Duration::from_mins(20);

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
