//! Environment variables, applied over the file: `APP__SECTION__KEY`, with one more segment for a
//! section in a section, and `APP__LIST__NAME__KEY` for a table of a named list.

use std::ffi::OsString;
use std::fmt::Write as _;

use crate::mistakes::{Mistake, invalid};
use crate::source::{Node, Origin, Shape, Table, Value};
use crate::unknown::nearest;
use crate::{Conventions, NamedList};

/// One of the application's variables.
struct Variable {
    /// The whole name, prefix included.
    name: String,
    value: String,
}

/// Applies the variables to the table. Returns each variable that could not be applied, with the
/// section that it names (empty if it names none).
pub(crate) fn apply(
    conventions: &Conventions,
    root: &mut Table,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(String, Mistake)> {
    let prefix = conventions.env_prefix;
    let mut mistakes = Vec::new();
    let mut of_lists: Vec<Vec<Variable>> =
        conventions.named_lists.iter().map(|_| Vec::new()).collect();
    // Sorted, so that messages do not depend on the order of the process's environment.
    let mut variables: Vec<_> = env
        .into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with(prefix))
        .collect();
    variables.sort();
    for (name, value) in variables {
        let path = name[prefix.len()..].to_owned();
        let lower = path.to_ascii_lowercase();
        let (section, key) = lower.split_once("__").unwrap_or(("", ""));
        let list = conventions.named_lists.iter().position(|list| list.section == section);
        let refused = match value.into_string() {
            Err(_) => Some(mistake(name, "Its value is not UTF-8.", "set it anew")),
            Ok(_) if path != path.to_ascii_uppercase() => {
                let fix = format!("write {prefix}{}", path.to_ascii_uppercase());
                Some(mistake(name, "It must be in upper case.", &fix))
            }
            Ok(value) => match list {
                Some(list) if key.contains("__") => {
                    of_lists[list].push(Variable { name, value });
                    None
                }
                None if !section.is_empty() => {
                    let table = enter(root, section, &name);
                    set(table, key, Variable { name, value })
                }
                _ => Some(mistake(name, "It names no key.", &forms(conventions))),
            },
        };
        mistakes.extend(refused.map(|mistake| (section.to_owned(), mistake)));
    }
    for (list, variables) in conventions.named_lists.iter().zip(of_lists) {
        let refused = NamedTables { list, prefix }.apply(root, variables);
        mistakes.extend(refused.into_iter().map(|mistake| (list.section.to_owned(), mistake)));
    }
    mistakes
}

/// The forms that a variable's name can have, as an instruction.
fn forms(conventions: &Conventions) -> String {
    let mut out = format!("write {}SECTION__KEY", conventions.env_prefix);
    for list in conventions.named_lists {
        let variable = list.variable(conventions.env_prefix);
        let _ = write!(out, ", or {variable} for a {}", list.noun);
    }
    out
}

/// Sets a key of a section, or of a section in that one.
fn set(at: &mut Node, key: &str, variable: Variable) -> Option<Mistake> {
    // A section that is not a table is reported when it is read.
    let Value::Table(table) = &mut at.value else { return None };
    let Some((inner, rest)) = key.split_once("__") else {
        insert(table, key, variable);
        return None;
    };
    let inner = enter(table, inner, &variable.name);
    if !matches!(inner.value, Value::Table(_)) {
        let problem = "It names a part of something that has no such parts.";
        let fix = "set all of it in one variable, whose name ends where the part begins";
        return Some(mistake(variable.name, problem, fix));
    }
    set(inner, rest, variable)
}

/// The table of this name, created if it does not exist, parsed if a variable holds it.
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

impl NamedList {
    /// The form of a variable that sets a key of one of the tables.
    pub(crate) fn variable(&self, prefix: &str) -> String {
        let upper = |text: &str| text.to_ascii_uppercase();
        format!("{prefix}{}__{}__KEY", upper(self.section), upper(self.name_key))
    }

    /// The name of a table of the list.
    pub(crate) fn name_of<'a>(&self, table: &'a Node) -> Option<&'a str> {
        let Value::Table(table) = &table.value else { return None };
        match &table.get(self.name_key)?.value {
            Value::Text(name) | Value::Variable(name) => Some(name),
            _ => None,
        }
    }
}

/// A named list while variables are applied to it.
struct NamedTables<'a> {
    list: &'a NamedList,
    prefix: &'a str,
}

impl NamedTables<'_> {
    fn apply(&self, root: &mut Table, variables: Vec<Variable>) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let Some(first) = variables.first() else { return mistakes };
        let list = root.entry(self.list.section.to_owned()).or_insert_with(|| Node {
            value: Value::List(Vec::new()),
            origin: Origin::Env(first.name.clone()),
        });
        // Anything but a list is reported when it is read.
        let Value::List(tables) = &mut list.value else { return mistakes };
        self.create(tables, &variables);
        for variable in variables {
            mistakes.extend(self.set(tables, variable));
        }
        mistakes
    }

    /// Creates each table that only the environment has: one whose name is set by a variable.
    fn create(&self, tables: &mut Vec<Node>, variables: &[Variable]) {
        for Variable { name, value } in variables {
            if let Some((segment, key)) = self.split(name)
                && key == self.list.name_key
                && env_form(value) == segment
                && !self.names(tables).any(|name| env_form(name) == segment)
            {
                let origin = Origin::Env(name.clone());
                let id = Node { value: Value::Variable(value.clone()), origin: origin.clone() };
                let value = Value::Table(Table::from([(key, id)]));
                tables.push(Node { value, origin });
            }
        }
    }

    /// Sets a key of the one table that a variable names.
    fn set(&self, tables: &mut [Node], variable: Variable) -> Option<Mistake> {
        let NamedList { section, name_key, noun } = self.list;
        let (segment, key) = self.split(&variable.name)?;
        let mut named: Vec<usize> = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            if self.list.name_of(table).is_some_and(|name| env_form(name) == segment) {
                named.push(index);
            }
        }
        let (problem, fix) = match named[..] {
            [index] if key != *name_key || env_form(&variable.value) == segment => {
                if let Value::Table(table) = &mut tables[index].value {
                    insert(table, &key, variable);
                }
                return None;
            }
            [_] => (
                format!("It would give a {noun} another {name_key}."),
                format!("change the {name_key} where the {noun} is configured"),
            ),
            [] => {
                let lower = segment.to_ascii_lowercase();
                let start = format!("{}{}__", self.prefix, section.to_ascii_uppercase());
                let fix = match nearest(&lower, self.names(tables)) {
                    Some(name) => format!(
                        "did you mean {start}{}__{}?",
                        env_form(name),
                        key.to_ascii_uppercase()
                    ),
                    None => format!(
                        "correct the {name_key}, or set {start}{segment}__{}={lower} to make such \
                         a {noun}",
                        name_key.to_ascii_uppercase()
                    ),
                };
                (format!("No {noun} has this {name_key}."), fix)
            }
            _ => (
                format!("The {name_key}s of several {noun}s look like this in a variable's name."),
                format!("give one of them an {name_key} that differs by more than - and _"),
            ),
        };
        Some(mistake(variable.name, &problem, &fix))
    }

    /// The table's name as the variable has it, and the key in lower case. A name may hold `__`; a
    /// key never does.
    fn split<'v>(&self, variable: &'v str) -> Option<(&'v str, String)> {
        let path = variable.strip_prefix(self.prefix)?;
        let (name, key) = path.split_once("__")?.1.rsplit_once("__")?;
        Some((name, key.to_ascii_lowercase()))
    }

    fn names<'t>(&self, tables: &'t [Node]) -> impl Iterator<Item = &'t str> {
        tables.iter().filter_map(|table| self.list.name_of(table))
    }
}

/// A name as it is written in a variable's name.
fn env_form(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn insert(table: &mut Table, key: &str, variable: Variable) {
    let Variable { name, value } = variable;
    table.insert(key.to_owned(), Node { value: Value::Variable(value), origin: Origin::Env(name) });
}

fn mistake(variable: String, problem: &str, fix: &str) -> Mistake {
    Mistake {
        key: "environment".to_owned(),
        origin: Origin::Env(variable),
        value: None,
        invalid: invalid(problem, fix),
    }
}
