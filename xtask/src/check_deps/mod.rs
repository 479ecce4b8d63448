//! `cargo xtask check-deps`: proves the arrows between the crates from `cargo metadata`.

mod graph;

use std::fs;

use anyhow::{Context, Result, bail};

use crate::process::output_of;
use crate::{say, workspace};
use graph::{Edges, Graph};

/// What the domain may not reach, however indirectly; a trailing `*` stands for any ending.
const NOT_IN_DOMAIN: &[&str] = &[
    "tokio",
    "actix-*",
    "diesel*",
    "openssl*",
    "reqwest",
    "hyper",
    "serde_json",
    "josekit",
    "openidconnect",
];

/// TLS and crypto stacks beside OpenSSL, which alone the service links.
const NOT_IN_SERVICE: &[&str] = &["rustls", "ring", "aws-lc*", "boring*", "mbedtls*"];

const SERVICE: &str = "mintgate";
const DOMAIN: &str = "mintgate-domain";
const TESTKIT: &str = "mintgate-testkit";
const MOCK_IDP: &str = "mintgate-mock-idp";
const ADAPTERS: &[&str] = &[
    "mintgate-identity-openid",
    "mintgate-role-directory-http",
    "mintgate-signer-jose",
    "mintgate-store-postgres",
    "mintgate-store-sqlite",
];

pub(crate) async fn run() -> Result<()> {
    let mut command = workspace::cargo();
    command.args(["metadata", "--format-version", "1", "--filter-platform", &host()?]);
    let graph = Graph::from_metadata(&output_of("cargo metadata", &mut command).await?)?;
    let mut wrong = broken_arrows(&graph);
    if let Ok(architecture) = fs::read_to_string(workspace::root().join("docs/architecture.md")) {
        wrong.extend(undocumented(&graph, &architecture));
    }
    if wrong.is_empty() {
        say::line("check-deps: ok");
        return Ok(());
    }
    bail!(
        "the crates do not depend on each other as docs/architecture.md says:\n  {}",
        wrong.join("\n  ")
    )
}

/// The platform whose dependencies are looked at: this one.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = std::process::Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Every arrow that should not be, in words.
fn broken_arrows(graph: &Graph) -> Vec<String> {
    let mut wrong = Vec::new();
    for member in graph.members() {
        for kind in [Edges::Linked, Edges::Dev] {
            for target in graph.direct(member, kind) {
                if graph.is_member(target) && !allowed(member, target, kind) {
                    let how = if kind == Edges::Dev { " (dev-dependency)" } else { "" };
                    wrong.push(format!("{member} → {target}{how} is not allowed"));
                }
            }
        }
    }
    for expected in ADAPTERS.iter().chain([&SERVICE, &DOMAIN, &TESTKIT, &MOCK_IDP]) {
        if !graph.is_member(expected) {
            wrong
                .push(format!("{expected} is not in the workspace: mend this check or the crates"));
        }
    }
    wrong.extend(unwanted(graph, DOMAIN, NOT_IN_DOMAIN, "the domain is pure"));
    wrong.extend(unwanted(graph, SERVICE, NOT_IN_SERVICE, "one TLS and crypto stack, OpenSSL"));
    wrong
}

/// Whether one crate of ours may depend on another.
fn allowed(from: &str, to: &str, kind: Edges) -> bool {
    let is_adapter = ADAPTERS.contains(&from);
    match kind {
        Edges::Linked => from == SERVICE || (to == DOMAIN && (is_adapter || from == TESTKIT)),
        Edges::Dev => match to {
            TESTKIT => is_adapter || from == SERVICE || from == DOMAIN,
            MOCK_IDP => is_adapter || from == SERVICE,
            _ => false,
        },
    }
}

/// Each unwanted crate that `from` links, with the way to it.
fn unwanted(graph: &Graph, from: &str, patterns: &[&str], why: &str) -> Vec<String> {
    graph
        .paths(from)
        .into_iter()
        .filter(|path| path.last().is_some_and(|name| patterns.iter().any(|p| fits(p, name))))
        .map(|path| format!("{}: {why}", path.join(" → ")))
        .collect()
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

/// Crates whose directory the architecture page does not name, and those it names that are gone.
fn undocumented(graph: &Graph, architecture: &str) -> Vec<String> {
    let directories = graph.member_directories();
    let missing = directories
        .iter()
        .filter(|directory| !architecture.contains(directory.as_str()))
        .map(|directory| format!("docs/architecture.md does not name {directory}"));
    let gone = mentioned(architecture)
        .into_iter()
        .filter(|named| !directories.contains(named))
        .map(|named| format!("docs/architecture.md names {named}, which is not in the workspace"));
    missing.chain(gone).collect()
}

/// Every `crates/NAME` in the text.
fn mentioned(text: &str) -> Vec<String> {
    let name = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
    };
    text.split("crates/").skip(1).map(name).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests;
