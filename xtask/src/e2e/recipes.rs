//! Those who use Mintgate from outside: the recipes of `docs/verifying.md`, run as they stand there, and the
//! tests of the packages for pages. They need Node, Python, Go, Chromium and the internet.

use std::process::Command;

use anyhow::Result;

use super::steps::Steps;
use crate::process::output_of;
use crate::rig::Binaries;
use crate::workspace;

pub(super) async fn walk(steps: &mut Steps, binaries: &Binaries) -> Result<()> {
    let run = async {
        let mut command = Command::new("python3");
        command.arg(workspace::root().join("xtask/recipes/verifying.py"));
        command.arg("--binary").arg(&binaries.service);
        output_of("the recipes", &mut command).await.map(drop)
    };
    steps.step("the recipes of docs/verifying.md accept and refuse what they must", run).await?;
    let packages = async {
        for argument in ["ci", "test"] {
            let mut command = Command::new("npm");
            command.arg(argument).current_dir(workspace::root().join("sdk/typescript"));
            command.env("MINTGATE_BIN", &binaries.service);
            output_of("npm", &mut command).await?;
        }
        Ok(())
    };
    steps
        .step("the packages of sdk/typescript pass their tests in Node and Chromium", packages)
        .await
}
