//! `cargo xtask check-deps`: proves the arrows between the crates, as docs/architecture.md states them.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::process::output_of;
use crate::{say, workspace};

/// The role of a crate decides which other crates of the workspace it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The hexagon's core: uses no other crate of the workspace, and no I/O library.
    Domain,
    /// A library that knows nothing of Mintgate.
    Library,
    /// The domain as text and JSON, for whichever adapter or command shows it.
    Presentation,
    /// A library for other services, which need nothing else of Mintgate.
    ForServices,
    /// Implements or drives the domain's ports.
    Adapter,
    /// Reads the configuration, with the adapters' own configuration types.
    Settings,
    /// Looks at what the configuration and the adapters know of an installation.
    Diagnosis,
    /// The identity provider for development and tests.
    MockProvider,
    Testkit,
    /// The binary, which puts everything together.
    Service,
    DeveloperCommands,
}

/// Every crate of the workspace. A new crate needs a line here and a row in the code map.
const CRATES: &[(&str, Role)] = &[
    ("mintgate", Role::Service),
    ("mintgate-admin", Role::Presentation),
    ("mintgate-audit", Role::Adapter),
    ("mintgate-config-reader", Role::Library),
    ("mintgate-doctor", Role::Diagnosis),
    ("mintgate-domain", Role::Domain),
    ("mintgate-http-actix", Role::Adapter),
    ("mintgate-identity-openid", Role::Adapter),
    ("mintgate-import", Role::Adapter),
    ("mintgate-log-writer", Role::Library),
    ("mintgate-metrics-prometheus", Role::Adapter),
    ("mintgate-mock-idp", Role::MockProvider),
    ("mintgate-role-directory-http", Role::Adapter),
    ("mintgate-service-manager", Role::Library),
    ("mintgate-settings", Role::Settings),
    ("mintgate-signer-jose", Role::Adapter),
    ("mintgate-store-postgres", Role::Adapter),
    ("mintgate-store-redis", Role::Adapter),
    ("mintgate-store-sqlite", Role::Adapter),
    ("mintgate-strict-json", Role::Library),
    ("mintgate-testkit", Role::Testkit),
    ("mintgate-tls", Role::Library),
    ("mintgate-traces-otlp", Role::Adapter),
    ("mintgate-verify", Role::ForServices),
    ("xtask", Role::DeveloperCommands),
];

impl Role {
    /// Whether a crate of this role may link one of another role.
    fn may_link(self, other: Self) -> bool {
        match self {
            Self::Domain | Self::Library | Self::ForServices | Self::MockProvider => false,
            Self::Testkit | Self::Presentation => other == Self::Domain,
            Self::DeveloperCommands => other == Self::Testkit,
            Self::Adapter => matches!(other, Self::Domain | Self::Library | Self::Presentation),
            Self::Settings => matches!(other, Self::Domain | Self::Library | Self::Adapter),
            Self::Diagnosis => {
                matches!(other, Self::Domain | Self::Library | Self::Adapter | Self::Settings)
            }
            Self::Service => {
                !matches!(other, Self::Testkit | Self::ForServices | Self::DeveloperCommands)
            }
        }
    }

    /// Whether the tests of a crate of this role may use one of another role.
    fn may_test_with(self, other: Self) -> bool {
        match other {
            Self::Testkit => {
                !matches!(self, Self::Library | Self::ForServices | Self::MockProvider)
            }
            Self::MockProvider => {
                matches!(self, Self::Adapter | Self::Settings | Self::Diagnosis | Self::Service)
            }
            _ => self.may_link(other),
        }
    }
}

/// What a package without its default features (as the production image builds it) must not link,
/// however indirectly, and why. A name also stands for all names
/// that continue it with a hyphen, an underscore or a digit.
const BANNED: &[(&str, &[&str], &str)] = &[
    (
        "mintgate-domain",
        &[
            "tokio",
            "actix",
            "diesel",
            "openssl",
            "reqwest",
            "hyper",
            "serde_json",
            "josekit",
            "openidconnect",
        ],
        "the domain is pure",
    ),
    (
        "mintgate",
        &["rustls", "ring", "aws-lc", "boring", "mbedtls"],
        "OpenSSL is the one TLS and crypto stack",
    ),
    ("mintgate", &["mintgate-mock-idp"], "only `mintgate dev` uses the mock provider"),
    (
        "mintgate-verify",
        &["openssl", "native-tls", "aws-lc"],
        "a service links it without OpenSSL or a second crypto library",
    ),
];

/// Crates that have a banned name and no code of what is banned: reqwest takes certificates as these
/// types, whatever its TLS library.
const TYPES_ONLY: &[&str] = &["rustls-pki-types"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for a dependency that is linked.
    kind: Option<String>,
}

pub(crate) async fn run() -> Result<()> {
    let mut command = workspace::cargo();
    command.args(["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Metadata =
        serde_json::from_str(&output_of("cargo metadata", &mut command).await?)?;
    let map = workspace::root().join("docs/architecture.md");
    let map = std::fs::read_to_string(&map).with_context(|| map.display().to_string())?;
    let mut wrong = wrong_arrows(&metadata.packages);
    wrong.extend(map_differences(&metadata.packages, &map));
    for (package, banned, reason) in BANNED {
        let mut tree = workspace::cargo();
        tree.args(["tree", "--package", package, "--edges", "no-dev", "--prefix", "none"]);
        tree.arg("--no-default-features");
        let tree = output_of("cargo tree", &mut tree).await?;
        let linked: BTreeSet<&str> =
            tree.lines().filter_map(|line| line.split(' ').next()).collect();
        let unwanted = linked
            .into_iter()
            .filter(|name| !TYPES_ONLY.contains(name))
            .filter(|name| banned.iter().any(|it| matches(it, name)));
        wrong.extend(unwanted.map(|name| format!("{package} links {name}: {reason}")));
    }
    if wrong.is_empty() {
        say::line("check-deps: ok");
        return Ok(());
    }
    bail!("the crates are not as docs/architecture.md says:\n  {}", wrong.join("\n  "))
}

fn wrong_arrows(packages: &[Package]) -> Vec<String> {
    let role = |name: &str| CRATES.iter().find(|(it, _)| *it == name).map(|(_, role)| *role);
    let mut wrong = Vec::new();
    for Package { name, dependencies, .. } in packages {
        let Some(from) = role(name) else {
            wrong.push(format!("{name} is not listed in xtask/src/check_deps.rs"));
            continue;
        };
        for Dependency { name: target, kind } in dependencies {
            // A crate names itself to switch its features on in its tests.
            let Some(to) = role(target).filter(|_| target != name) else { continue };
            let is_dev = kind.as_deref() == Some("dev");
            if !if is_dev { from.may_test_with(to) } else { from.may_link(to) } {
                let how = if is_dev { " (dev-dependency)" } else { "" };
                wrong.push(format!("{name} → {target}{how} is not allowed"));
            }
        }
    }
    wrong
}

/// How the rows of the code map differ from the crates there are.
fn map_differences(packages: &[Package], architecture: &str) -> Vec<String> {
    let rows: BTreeSet<&str> = architecture
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|path| path.starts_with("crates/") || *path == "xtask")
        .collect();
    let root = workspace::root();
    let crates: BTreeSet<&str> = packages
        .iter()
        .filter_map(|it| it.manifest_path.strip_prefix(root.to_str()?)?.strip_suffix("/Cargo.toml"))
        .map(|path| path.trim_start_matches('/'))
        .collect();
    let missing =
        crates.difference(&rows).map(|path| format!("the code map has no row for {path}"));
    let gone = rows
        .difference(&crates)
        .map(|path| format!("the code map has a row for {path}, which is no crate"));
    missing.chain(gone).collect()
}

fn matches(banned: &str, name: &str) -> bool {
    name.strip_prefix(banned).is_some_and(|rest| {
        rest.chars().next().is_none_or(|next| matches!(next, '-' | '_') || next.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, &str)]) -> Package {
        let kind = |kind: &str| (!kind.is_empty()).then(|| kind.to_owned());
        let dependencies = dependencies
            .iter()
            .map(|(name, it)| Dependency { name: (*name).to_owned(), kind: kind(it) })
            .collect();
        let directory = name.strip_prefix("mintgate-").unwrap_or(name);
        let manifest_path =
            format!("{}/crates/{directory}/Cargo.toml", workspace::root().display());
        Package { name: name.to_owned(), manifest_path, dependencies }
    }

    #[test]
    fn an_arrow_that_the_architecture_does_not_have_is_named() {
        let wrong = [
            ("mintgate-store-postgres", "mintgate-store-sqlite", ""),
            ("mintgate-store-postgres", "mintgate-store-sqlite", "dev"),
            ("mintgate-http-actix", "mintgate-settings", ""),
            ("mintgate-identity-openid", "mintgate-mock-idp", ""),
            ("mintgate-signer-jose", "mintgate-testkit", "build"),
            ("mintgate-domain", "mintgate-signer-jose", "dev"),
            ("mintgate-domain", "mintgate-strict-json", ""),
            ("mintgate-mock-idp", "mintgate-testkit", "dev"),
            ("mintgate-verify", "mintgate-domain", ""),
            ("mintgate-verify", "mintgate-testkit", "dev"),
            ("mintgate", "mintgate-verify", ""),
            ("mintgate-testkit", "mintgate-mock-idp", ""),
            ("mintgate-store-sqlite", "mintgate", ""),
            ("xtask", "mintgate-store-sqlite", ""),
        ];
        for (from, to, kind) in wrong {
            let how = if kind == "dev" { " (dev-dependency)" } else { "" };
            let expected = format!("{from} → {to}{how} is not allowed");
            assert_eq!(wrong_arrows(&[package(from, &[(to, kind)])]), [expected]);
        }
    }

    #[test]
    fn the_arrows_of_the_architecture_are_allowed() {
        let adapter =
            [("mintgate-domain", ""), ("mintgate-testkit", "dev"), ("mintgate-mock-idp", "dev")];
        let packages = [
            package("mintgate-domain", &[("sha2", ""), ("mintgate-testkit", "dev")]),
            package("mintgate-store-sqlite", &adapter),
            package("mintgate-settings", &[("mintgate-store-sqlite", "")]),
            package("mintgate", &[("mintgate-store-sqlite", ""), ("mintgate-mock-idp", "")]),
        ];
        assert_eq!(wrong_arrows(&packages), Vec::<String>::new());
    }

    #[test]
    fn a_crate_without_a_role_or_a_row_in_the_code_map_is_named() {
        let packages = [package("mintgate-store-lite", &[])];
        let listed = "mintgate-store-lite is not listed in xtask/src/check_deps.rs";
        assert_eq!(wrong_arrows(&packages), [listed]);
        let differences =
            map_differences(&packages, "| folder |\n| `crates/store-redis` | a store |");
        let expected = [
            "the code map has no row for crates/store-lite",
            "the code map has a row for crates/store-redis, which is no crate",
        ];
        assert_eq!(differences, expected);
    }

    #[test]
    fn a_banned_name_stands_for_its_family_and_no_other_crate() {
        for name in ["diesel", "diesel_derives", "diesel-async"] {
            assert!(matches("diesel", name));
        }
        assert!(!matches("ring", "ringbuf"));
    }
}
