//! What is fetched and built once, in `target/foreign`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use super::FETCH_LIMIT;
use super::sample::Sample;
use crate::process::capture;
use crate::workspace;

/// The directory of everything that is fetched for this provider.
pub(super) fn directory(name: &str) -> PathBuf {
    workspace::root().join("target/foreign").join(name)
}

/// A copy of a sample server's folder in which its commands have run. They run again when its files have
/// changed.
pub(super) async fn prepared(sample: &Sample) -> Result<PathBuf> {
    let source = workspace::root().join("xtask/foreign").join(sample.name);
    let home = directory(sample.name);
    let mut names =
        fs::read_dir(&source)?.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    names.sort();
    let mut digest = Sha256::new();
    for name in &names {
        digest.update(name.as_encoded_bytes());
        digest.update(fs::read(source.join(name))?);
    }
    let digest = hex(&digest.finalize());
    let mark = home.join(".prepared");
    if fs::read_to_string(&mark).is_ok_and(|of| of == digest) {
        return Ok(home);
    }
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    fs::create_dir_all(&home)?;
    for name in &names {
        fs::copy(source.join(name), home.join(name))?;
    }
    for command in sample.prepared_by {
        let (program, arguments) = command.split_first().context("a command is empty")?;
        let program =
            if program.starts_with('.') { home.join(program) } else { PathBuf::from(program) };
        capture(Command::new(program).current_dir(&home).args(arguments), FETCH_LIMIT).await?;
    }
    fs::write(mark, digest)?;
    Ok(home)
}

/// Downloads a file with this SHA-256.
pub(super) async fn file(url: &str, to: &Path, sha256: &str) -> Result<()> {
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--location", "--output"]).arg(to);
    capture(curl.arg(url), FETCH_LIMIT).await?;
    let mut digest = Sha256::new();
    std::io::copy(&mut fs::File::open(to)?, &mut digest)?;
    let got = hex(&digest.finalize());
    ensure!(got == sha256, "{url} has the SHA-256 {got}, not {sha256}");
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_another_one_is_refused() {
        const SHA256_OF_ABC: &str =
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let url = format!("file://{}", from.display());
        fs::write(&from, "abc").unwrap();
        file(&url, &to, SHA256_OF_ABC).await.unwrap();
        fs::write(&from, "abd").unwrap();
        file(&url, &to, SHA256_OF_ABC).await.unwrap_err();
    }
}
