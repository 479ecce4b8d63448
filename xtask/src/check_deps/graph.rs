//! The part of `cargo metadata` that is about who depends on whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// Which dependencies are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edges {
    /// Those that end up in, or build, the shipped crate.
    Linked,
    /// Those of its tests alone.
    Dev,
}

/// Packages by id, and their direct dependencies.
pub(super) struct Graph {
    names: BTreeMap<String, String>,
    /// Workspace members: name → (id, directory name).
    members: BTreeMap<String, (String, String)>,
    linked: BTreeMap<String, Vec<String>>,
    dev: BTreeMap<String, Vec<String>>,
}

impl Graph {
    pub(super) fn from_metadata(json: &str) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(json).context("cargo metadata")?;
        let own: BTreeSet<String> = metadata.workspace_members.into_iter().collect();
        let mut graph = Self {
            names: BTreeMap::new(),
            members: BTreeMap::new(),
            linked: BTreeMap::new(),
            dev: BTreeMap::new(),
        };
        for package in metadata.packages {
            if own.contains(&package.id) {
                let directory = package.manifest_path.rsplit('/').nth(1).unwrap_or_default();
                let member = (package.id.clone(), directory.to_owned());
                graph.members.insert(package.name.clone(), member);
            }
            graph.names.insert(package.id, package.name);
        }
        for node in metadata.resolve.nodes {
            let of_kind = |dev: bool| {
                let fits = |kind: &Kind| (kind.kind.as_deref() == Some("dev")) == dev;
                let has = |dep: &&Dependency| dep.dep_kinds.iter().any(fits);
                node.deps.iter().filter(has).map(|dep| dep.pkg.clone()).collect::<Vec<_>>()
            };
            graph.linked.insert(node.id.clone(), of_kind(false));
            graph.dev.insert(node.id.clone(), of_kind(true));
        }
        Ok(graph)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    pub(super) fn is_member(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    pub(super) fn member_directories(&self) -> BTreeSet<String> {
        self.members.values().map(|(_, directory)| directory.clone()).collect()
    }

    /// What a workspace member depends on directly.
    pub(super) fn direct(&self, member: &str, kind: Edges) -> Vec<&str> {
        let edges = match kind {
            Edges::Linked => &self.linked,
            Edges::Dev => &self.dev,
        };
        let Some((id, _)) = self.members.get(member) else { return Vec::new() };
        edges.get(id).into_iter().flatten().map(|target| self.name(target)).collect()
    }

    /// Everything a workspace member links, each with a shortest way to it.
    pub(super) fn paths(&self, member: &str) -> Vec<Vec<&str>> {
        let Some((start, _)) = self.members.get(member) else { return Vec::new() };
        let mut seen = BTreeSet::from([start.as_str()]);
        let mut queue = VecDeque::from([(start.as_str(), vec![self.name(start)])]);
        let mut paths = Vec::new();
        while let Some((id, path)) = queue.pop_front() {
            for target in self.linked.get(id).into_iter().flatten() {
                if seen.insert(target) {
                    let mut longer = path.clone();
                    longer.push(self.name(target));
                    queue.push_back((target, longer.clone()));
                    paths.push(longer);
                }
            }
        }
        paths
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }
}
