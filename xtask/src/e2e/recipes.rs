//! The recipes of `docs/verifying.md`, run as they stand there. They need Node, Python, Go and the internet.

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
    steps.step("the recipes of docs/verifying.md accept and refuse what they must", run).await
}
