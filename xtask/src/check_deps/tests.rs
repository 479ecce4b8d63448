use serde_json::{Value, json};

use super::*;

/// Builds metadata from `(crate, [(dependency, kind)])`; crates named so far are the workspace's.
struct Workspace(Vec<(&'static str, Vec<(&'static str, &'static str)>)>);

impl Workspace {
    fn healthy() -> Self {
        let adapter = || vec![(DOMAIN, ""), ("tokio", ""), (TESTKIT, "dev"), (MOCK_IDP, "dev")];
        let mut service: Vec<_> = ADAPTERS.iter().map(|name| (*name, "")).collect();
        service.extend([(DOMAIN, ""), (MOCK_IDP, ""), (TESTKIT, "dev"), ("openssl", "")]);
        let mut crates: Vec<_> = ADAPTERS.iter().map(|name| (*name, adapter())).collect();
        crates.extend([
            (DOMAIN, vec![("sha2", "")]),
            (TESTKIT, vec![(DOMAIN, ""), ("tokio", "")]),
            (MOCK_IDP, vec![("openssl", "")]),
            (SERVICE, service),
            ("xtask", vec![("tokio", "")]),
        ]);
        Self(crates)
    }

    fn with(mut self, from: &'static str, to: &'static str, kind: &'static str) -> Self {
        match self.0.iter_mut().find(|(name, _)| *name == from) {
            Some((_, dependencies)) => dependencies.push((to, kind)),
            None => self.0.push((from, vec![(to, kind)])),
        }
        self
    }

    fn graph(&self) -> Graph {
        let is_own = |name: &str| name.starts_with("mintgate") || name == "xtask";
        let id = |name: &str| format!("path+file:///x/{name}#0.1.0");
        let mut names: Vec<&str> = self
            .0
            .iter()
            .flat_map(|(name, deps)| [*name].into_iter().chain(deps.iter().map(|(dep, _)| *dep)))
            .collect();
        names.sort_unstable();
        names.dedup();
        let node = |name: &str| -> Value {
            let found = self.0.iter().find(|(crate_name, _)| *crate_name == name);
            let deps = found.map(|(_, deps)| deps.as_slice()).unwrap_or_default();
            let dep = |(dep, kind): &(&str, &str)| -> Value {
                let kind = (!kind.is_empty()).then_some(*kind);
                json!({"pkg": id(dep), "dep_kinds": [{"kind": kind, "target": null}]})
            };
            json!({"id": id(name), "deps": deps.iter().map(dep).collect::<Vec<_>>()})
        };
        let package = |name: &str| -> Value {
            let directory = name.strip_prefix("mintgate-").unwrap_or(name);
            let manifest = format!("/x/crates/{directory}/Cargo.toml");
            json!({"id": id(name), "name": name, "manifest_path": manifest})
        };
        let metadata = json!({
            "packages": names.iter().map(|name| package(name)).collect::<Vec<_>>(),
            "workspace_members": names.iter().filter(|n| is_own(n)).map(|n| id(n)).collect::<Vec<_>>(),
            "resolve": {"nodes": names.iter().map(|name| node(name)).collect::<Vec<_>>()},
        });
        Graph::from_metadata(&metadata.to_string()).unwrap()
    }

    fn complaints(&self) -> Vec<String> {
        broken_arrows(&self.graph())
    }
}

#[test]
fn the_intended_arrows_are_fine() {
    assert_eq!(Workspace::healthy().complaints(), Vec::<String>::new());
}

#[test]
fn each_wrong_arrow_is_named() {
    let wrong = [
        ("mintgate-store-postgres", "mintgate-store-sqlite", ""),
        ("mintgate-store-postgres", "mintgate-store-sqlite", "dev"),
        ("mintgate-identity-openid", "mintgate-mock-idp", ""),
        ("mintgate-signer-jose", "mintgate-testkit", ""),
        ("mintgate-signer-jose", "mintgate-testkit", "build"),
        ("mintgate-domain", "mintgate-signer-jose", ""),
        ("mintgate-domain", "mintgate-signer-jose", "dev"),
        ("mintgate-mock-idp", "mintgate-domain", ""),
        ("mintgate-mock-idp", "mintgate-domain", "dev"),
        ("mintgate-testkit", "mintgate-mock-idp", ""),
        ("mintgate-store-sqlite", "mintgate", ""),
        ("xtask", "mintgate-store-sqlite", ""),
        ("xtask", "mintgate-domain", ""),
    ];
    for (from, to, kind) in wrong {
        let complaints = Workspace::healthy().with(from, to, kind).complaints();
        let how = if kind == "dev" { " (dev-dependency)" } else { "" };
        let expected = format!("{from} → {to}{how} is not allowed");
        assert!(complaints.contains(&expected), "{expected}, not {complaints:?}");
    }
}

#[test]
fn the_domain_reaches_nothing_that_does_input_or_output() {
    let complaints = Workspace::healthy().with("sha2", "diesel_derives", "").complaints();
    assert_eq!(complaints, ["mintgate-domain → sha2 → diesel_derives: the domain is pure"]);
    let tests_only = Workspace::healthy().with(DOMAIN, "tokio", "dev").complaints();
    assert_eq!(tests_only, Vec::<String>::new());
}

#[test]
fn a_second_crypto_stack_is_found_behind_any_dependency() {
    let complaints = Workspace::healthy().with("tokio", "aws-lc-rs", "").complaints();
    let [only] = complaints.as_slice() else { panic!("one complaint, not {complaints:?}") };
    assert!(only.starts_with("mintgate → "), "{only}");
    assert!(only.ends_with(" → tokio → aws-lc-rs: one TLS and crypto stack, OpenSSL"), "{only}");
    // A name that merely begins alike is another crate.
    assert_eq!(
        Workspace::healthy().with("tokio", "ringbuf", "").complaints(),
        Vec::<String>::new()
    );
}

#[test]
fn a_renamed_crate_does_not_slip_through() {
    let mut workspace = Workspace::healthy();
    for (name, dependencies) in &mut workspace.0 {
        if *name == "mintgate-store-sqlite" {
            *name = "mintgate-store-lite";
        }
        dependencies.retain(|(dependency, _)| *dependency != "mintgate-store-sqlite");
    }
    let complaints = workspace.complaints();
    assert!(complaints.iter().any(|c| c.contains("mintgate-store-sqlite is not in the workspace")));
    assert!(complaints.iter().any(|c| c == "mintgate-store-lite → mintgate-domain is not allowed"));
}

#[test]
fn the_architecture_page_lists_the_crates_that_are_there() {
    let graph = Workspace::healthy().graph();
    let page = "crates/domain, `crates/mintgate/src`, identity-openid role-directory-http signer-jose store-postgres \
                store-sqlite mock-idp testkit xtask";
    assert_eq!(undocumented(&graph, page), Vec::<String>::new());
    let stale = page.replace("testkit", "crates/store-redis");
    let complaints = undocumented(&graph, &stale);
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(complaints[0].contains("does not name testkit"));
    assert!(complaints[1].contains("names store-redis"));
}
