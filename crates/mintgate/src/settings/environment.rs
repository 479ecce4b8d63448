//! Environment variables laid over the file: `MINTGATE__SECTION__KEY`, and
//! `MINTGATE__PROVIDERS__ID__KEY` for a provider, by its id in upper case with `_` for `-`; a section
//! in a section is one more segment.

use std::ffi::OsString;

use super::mistakes::Mistake;
use super::source::{Node, Origin, Shape, Table, Value};
use super::unknown::{PROVIDERS, nearest};

/// What our variables begin with.
const PREFIX: &str = "MINTGATE__";

/// One of our variables.
struct Variable {
    /// The whole name.
    name: String,
    value: String,
}

/// Lays the variables over the table.
pub(super) fn overlay(
    root: &mut Table,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut variables = Vec::new();
    for (name, value) in env {
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with(PREFIX) {
            continue;
        }
        match value.into_string() {
            Ok(value) => variables.push(Variable { name, value }),
            Err(_) => mistakes.push(mistake(name, "Its value is not UTF-8.", "set it anew")),
        }
    }
    // Not the order of the process's environment: that of the names, so that it is always the same.
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    let mut unplaced = Vec::new();
    for variable in variables {
        let path = variable.name[PREFIX.len()..].to_owned();
        if path != path.to_ascii_uppercase() {
            let fix = format!("write {PREFIX}{}", path.to_ascii_uppercase());
            mistakes.push(mistake(variable.name, "It must be in upper case.", &fix));
            continue;
        }
        let path = path.to_ascii_lowercase();
        match path.split_once("__") {
            Some((PROVIDERS, rest)) if rest.contains("__") => unplaced.push(variable),
            Some((PROVIDERS, _)) | None => mistakes.push(mistake(
                variable.name,
                "It names no key.",
                "write MINTGATE__SECTION__KEY, or MINTGATE__PROVIDERS__ID__KEY for a provider",
            )),
            Some((section, key)) => {
                let at = enter(root, section, &variable.name);
                mistakes.extend(put(at, key, variable));
            }
        }
    }
    mistakes.extend(overlay_providers(root, unplaced));
    mistakes
}

/// Puts a variable into a section, or into a section in that one.
fn put(at: &mut Node, key: &str, variable: Variable) -> Option<Mistake> {
    let Some((inner, rest)) = key.split_once("__") else {
        insert(at, key, variable);
        return None;
    };
    // A section that is no table is told when it is read.
    let Value::Table(table) = &mut at.value else { return None };
    let inner = enter(table, inner, &variable.name);
    if !matches!(inner.value, Value::Table(_)) {
        let problem = "It names a part of something that has no such parts.";
        let fix = "set all of it in one variable, whose name ends where the part begins";
        return Some(mistake(variable.name, problem, fix));
    }
    put(inner, rest, variable)
}

/// The table of this name, made if it is not there; one that a variable holds is read.
fn enter<'t>(table: &'t mut Table, name: &str, variable: &str) -> &'t mut Node {
    let node = table.entry(name.to_owned()).or_insert_with(|| Node {
        value: Value::Table(Table::new()),
        origin: Origin::Env(variable.to_owned()),
    });
    if let Value::Variable(_) = node.value {
        let text = std::mem::replace(&mut node.value, Value::Flag(false));
        node.value = text.shaped(Shape::Table, &node.origin);
    }
    node
}

/// The ids of the configured providers, whether they are well-formed or not.
pub(super) fn provider_ids(root: &Table) -> Vec<String> {
    match root.get(PROVIDERS).map(|node| &node.value) {
        Some(Value::List(items)) => items.iter().filter_map(id_of).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn overlay_providers(root: &mut Table, variables: Vec<Variable>) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let Some(first) = variables.first() else { return mistakes };
    let providers = root.entry(PROVIDERS.to_owned()).or_insert_with(|| Node {
        value: Value::List(Vec::new()),
        origin: Origin::Env(first.name.clone()),
    });
    // Anything else is a mistake already, and told as one when it is read.
    let Value::List(items) = &mut providers.value else { return mistakes };

    // A provider that is in the environment alone is made by its …__ID.
    for variable in &variables {
        if let Some((segment, "ID")) = split(&variable.name)
            && env_form(&variable.value) == segment
            && !items.iter().filter_map(id_of).any(|id| env_form(id) == segment)
        {
            let origin = Origin::Env(variable.name.clone());
            items.push(Node { value: Value::Table(Table::new()), origin: origin.clone() });
            if let Some(made) = items.last_mut() {
                insert(
                    made,
                    "id",
                    Variable { name: variable.name.clone(), value: variable.value.clone() },
                );
            }
        }
    }
    for variable in variables {
        let Some((segment, key)) = split(&variable.name) else { continue };
        let key = key.to_ascii_lowercase();
        let ids: Vec<String> = items.iter().filter_map(id_of).map(str::to_owned).collect();
        let mut named =
            items.iter_mut().filter(|p| id_of(p).is_some_and(|id| env_form(id) == segment));
        match (named.next(), named.next()) {
            (Some(provider), None) if key != "id" || env_form(&variable.value) == segment => {
                insert(provider, &key, variable);
            }
            (Some(_), None) => mistakes.push(mistake(
                variable.name,
                "It would give a provider another id.",
                "change the id where the provider is configured",
            )),
            (Some(_), Some(_)) => mistakes.push(mistake(
                variable.name,
                "The ids of several providers look like this in a variable's name.",
                "give one of them an id that differs by more than - and _",
            )),
            (None, _) => {
                let lower = segment.to_ascii_lowercase();
                let fix = match nearest(&lower, ids.iter().map(String::as_str)) {
                    Some(id) => format!(
                        "did you mean {PREFIX}PROVIDERS__{}__{}?",
                        env_form(id),
                        key.to_ascii_uppercase()
                    ),
                    None => format!(
                        "correct the id, or set {PREFIX}PROVIDERS__{segment}__ID={lower} to make such a provider"
                    ),
                };
                mistakes.push(mistake(variable.name.clone(), "No provider has this id.", &fix));
            }
        }
    }
    mistakes
}

/// A provider variable's id and key: an id may hold `__`, a key never does.
fn split(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PREFIX)?.split_once("__")?.1.rsplit_once("__")
}

/// An id as it is in a variable's name.
fn env_form(id: &str) -> String {
    id.to_ascii_uppercase().replace('-', "_")
}

fn id_of(provider: &Node) -> Option<&str> {
    let Value::Table(table) = &provider.value else { return None };
    match &table.get("id")?.value {
        Value::Text(id) | Value::Variable(id) => Some(id),
        _ => None,
    }
}

fn insert(table: &mut Node, key: &str, variable: Variable) {
    if let Value::Table(table) = &mut table.value {
        let node =
            Node { value: Value::Variable(variable.value), origin: Origin::Env(variable.name) };
        table.insert(key.to_owned(), node);
    }
}

fn mistake(variable: String, problem: &str, fix: &str) -> Mistake {
    Mistake {
        key: "environment".to_owned(),
        origin: Origin::Env(variable),
        value: None,
        problem: problem.to_owned(),
        fix: fix.to_owned(),
    }
}
