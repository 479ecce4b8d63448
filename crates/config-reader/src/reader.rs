//! Reads sections key by key. The reader collects every mistake, records every key that it was asked
//! for (the reference and the effective configuration are made from the records), and reports the
//! keys that no section has asked for.

use std::collections::BTreeSet;

use crate::Conventions;
use crate::key::Key;
use crate::mistakes::{Invalid, Mistake, invalid};
use crate::show;
use crate::source::{Node, Origin, Shape, Table, Value};
use crate::unknown::{self, Unknown};

/// A key that was read.
pub(crate) struct Record {
    /// The section as the reference names it, for example `providers`.
    pub section: &'static str,
    /// The section's path in this configuration, for example `providers[0]`.
    pub path: String,
    pub name: String,
    /// The key's type, for the reference.
    pub kind: String,
    /// The key's default, for the reference.
    pub default: String,
    /// The key's meaning, for the reference.
    pub doc: String,
    /// Whether the key may be set in this section; one that may not is in the reference alone.
    pub applies: bool,
    /// The value in force as TOML, masked; `None` if there is none.
    pub value: Option<String>,
    pub origin: Origin,
}

/// A section that was read.
pub(crate) struct SectionDoc {
    pub name: &'static str,
    /// What the section is about, for the reference.
    pub doc: &'static str,
    /// Whether the section is a list of tables: `[[name]]`.
    pub repeated: bool,
}

/// What reading a configuration yields besides its values.
pub(crate) struct Reader {
    pub conventions: &'static Conventions,
    pub mistakes: Vec<Mistake>,
    pub records: Vec<Record>,
    pub sections: Vec<SectionDoc>,
    /// Top-level sections that exist and are not read this time.
    pub skipped: Vec<&'static str>,
    /// The files that secrets were read from.
    pub secret_files: BTreeSet<String>,
    unknown: Vec<Unknown>,
}

impl Reader {
    pub(crate) fn new(conventions: &'static Conventions, skipped: Vec<&'static str>) -> Self {
        let (mistakes, records, sections) = (Vec::new(), Vec::new(), Vec::new());
        let (secret_files, unknown) = (BTreeSet::new(), Vec::new());
        Self { conventions, mistakes, records, sections, skipped, secret_files, unknown }
    }

    /// Reads a whole configuration by `read`, which is given the top level as a section.
    pub(crate) fn read<T>(&mut self, table: Table, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let node = Node { value: Value::Table(table), origin: Origin::Unset };
        let out = self.enter("", String::new(), node, read);
        let unknown = std::mem::take(&mut self.unknown);
        let mistakes: Vec<_> = unknown.iter().map(|u| unknown::mistake(u, self)).collect();
        self.mistakes.extend(mistakes);
        out
    }

    pub(crate) fn is_repeated(&self, section: &str) -> bool {
        self.sections.iter().any(|s| s.name == section && s.repeated)
    }

    fn declare(&mut self, name: &'static str, doc: &'static str, repeated: bool) {
        if !self.sections.iter().any(|s| s.name == name) {
            self.sections.push(SectionDoc { name, doc, repeated });
        }
    }

    fn enter<T>(
        &mut self,
        name: &'static str,
        path: String,
        node: Node,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let Node { value, origin } = node;
        let table = if let Value::Table(table) = value {
            table
        } else {
            let fix = format!("write [{name}] on a line of its own, and its keys below it");
            self.mistakes.push(Mistake {
                key: path.clone(),
                origin: origin.clone(),
                value: None,
                invalid: invalid("This is not a table.", fix),
            });
            Table::new()
        };
        let mut section = Section { reader: self, name, path, table, origin };
        let out = read(&mut section);
        section.finish();
        out
    }
}

/// One section while it is read. Each method for a key takes the key's declaration and returns its
/// value; `None` means that the key is optional and not set, or that a mistake was reported.
pub struct Section<'r> {
    reader: &'r mut Reader,
    name: &'static str,
    path: String,
    /// The keys that have not been read yet.
    table: Table,
    origin: Origin,
}

impl Section<'_> {
    /// Reads the table `[name]`, which need not exist. `name` is the whole path from the top level,
    /// for example `roles.lookup`; `doc` is the section's introduction in the reference.
    pub fn section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        self.reader.declare(name, doc, false);
        let key = last_segment(name);
        let node = match self.table.remove(key) {
            Some(Node { value, origin }) => {
                Node { value: value.shaped(Shape::Table, &origin), origin }
            }
            None => Node { value: Value::Table(Table::new()), origin: Origin::Unset },
        };
        let path = self.path_of(key);
        self.reader.enter(name, path, node, read)
    }

    /// Reads each of the tables `[[name]]`: all of them, or `None` if one has a mistake. `name` is the
    /// whole path from the top level; `doc` is the introduction in the reference, for all of them.
    pub fn tables<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.reader.declare(name, doc, true);
        let key = last_segment(name);
        let Some(Node { value, origin }) = self.table.remove(key) else { return Some(Vec::new()) };
        let path = self.path_of(key);
        let Value::List(items) = value.shaped(Shape::List, &origin) else {
            let fix = format!("write [[{name}]], in double brackets, above each one's keys");
            self.reader.mistakes.push(Mistake {
                key: path,
                origin,
                value: None,
                invalid: invalid("This is not a list of tables.", fix),
            });
            return None;
        };
        let mut all = Vec::new();
        let count = items.len();
        let list = self.reader.conventions.named_list(name);
        for (index, item) in items.into_iter().enumerate() {
            let path = match (&item.origin, list.and_then(|list| list.name_of(&item))) {
                // A table that the environment made has a name, but no place in the file's list.
                (Origin::Env(_), Some(own)) => format!("{path}.{own}"),
                _ => format!("{path}[{index}]"),
            };
            all.extend(self.reader.enter(name, path, item, &mut read));
        }
        (all.len() == count).then_some(all)
    }

    /// The path of a key or subsection in this configuration.
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Reports the keys that were not read as unknown.
    fn finish(self) {
        for (name, node) in self.table {
            unknown::collect(&mut self.reader.unknown, self.name, &self.path, name, node);
        }
    }

    /// Whether a key is set, validly or not. Must be called before the key is read.
    pub fn is_given(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Lets a text stand for the list of this one text.
    pub fn accept_one(&mut self, name: &str) {
        if let Some(node) = self.table.get_mut(name)
            && matches!(node.value, Value::Text(_))
        {
            let only = node.clone();
            node.value = Value::List(vec![only]);
        }
    }

    /// Whether a key that was read is not set.
    pub fn is_default(&self, name: &str) -> bool {
        self.find(name).is_none_or(|record| record.origin == Origin::Unset)
    }

    fn find(&self, name: &str) -> Option<&Record> {
        self.reader.records.iter().rev().find(|r| r.path == self.path && r.name == name)
    }

    /// Notes that a secret was read from this file.
    pub(crate) fn note_secret_file(&mut self, path: String) {
        self.reader.secret_files.insert(path);
    }

    /// Takes a key's value in the given shape, or reports why there is none.
    pub(crate) fn take(&mut self, key: Key, shape: Shape, kind: &str) -> Option<Node> {
        let Key { name, doc, secret, fallback, forbidden, .. } = key;
        let (default, required) = (fallback.shown(), fallback.required());
        let node = self.take_raw(name, shape);
        let node = if forbidden.is_some() { node } else { node.or_else(|| fallback.into_node()) };
        if let (true, Some(Node { origin: Origin::File(file, _), .. })) = (secret, &node) {
            self.note_secret_file(file.to_string());
        }
        let shown = |n: &Node| match &n.value {
            Value::Text(text) if secret && text.is_empty() => show::toml(&n.value),
            _ if secret => show::quoted(show::MASK),
            value => show::toml(value),
        };
        self.record(Record {
            section: self.name,
            path: self.path.clone(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            default,
            doc: doc.into_owned(),
            applies: forbidden.is_none(),
            value: node.as_ref().map(shown),
            origin: node.as_ref().map_or(Origin::Unset, |n| n.origin.clone()),
        });
        if let Some(reason) = forbidden {
            if node.is_some() {
                self.reject(name, reason);
            }
            return None;
        }
        match (node, required) {
            (Some(node), _) if node.value.is(shape) => Some(node),
            (Some(_), _) => {
                self.reject(name, misshapen(shape));
                None
            }
            (None, Some(example)) => {
                self.missing(name, format!("add {example}"));
                None
            }
            (None, None) => None,
        }
    }

    /// Takes a key's value in the given shape, without a record.
    pub(crate) fn take_raw(&mut self, name: &str, shape: Shape) -> Option<Node> {
        let Node { value, origin } = self.table.remove(name)?;
        Some(Node { value: value.shaped(shape, &origin), origin })
    }

    /// Records a key that was taken raw.
    pub(crate) fn record(&mut self, record: Record) {
        self.reader.records.push(record);
    }

    /// The section's name, and its path in this configuration.
    pub(crate) fn name_and_path(&self) -> (&'static str, &str) {
        (self.name, &self.path)
    }

    /// Reports that the value of a key that was read is not valid.
    pub fn reject(&mut self, name: &str, invalid: Invalid) {
        let (origin, value) = match self.find(name) {
            Some(record) => (record.origin.clone(), record.value.as_deref().map(show::shortened)),
            None => (self.origin.clone(), None),
        };
        self.report(name, origin, value, invalid);
    }

    /// Reports that a part of a key's value is not valid; `name` is for example `redirect_uris[1]`.
    pub(crate) fn reject_part(&mut self, name: &str, node: &Node, invalid: Invalid) {
        let value = show::shortened(&show::toml(&node.value));
        self.report(name, node.origin.clone(), Some(value), invalid);
    }

    /// Reports that a key is required and not set; `fix` says what to add.
    pub fn missing(&mut self, name: &str, fix: impl Into<String>) {
        let invalid = invalid("This key is required, and it is not set.", fix);
        self.report(name, self.origin.clone(), None, invalid);
    }

    fn report(&mut self, name: &str, origin: Origin, value: Option<String>, invalid: Invalid) {
        let key = self.path_of(name);
        self.reader.mistakes.push(Mistake { key, origin, value, invalid });
    }
}

fn last_segment(section: &'static str) -> &'static str {
    section.rsplit('.').next().unwrap_or(section)
}

fn misshapen(shape: Shape) -> Invalid {
    let (problem, fix) = match shape {
        Shape::Text => ("This must be a text.", "put it in double quotes"),
        Shape::Integer => {
            ("This must be a whole number.", "write digits alone, without quotes or a unit")
        }
        Shape::Flag => ("This must be true or false.", "write true or false, without quotes"),
        Shape::List => {
            ("This must be a list.", "write [\"…\"], one text in double quotes for each element")
        }
        Shape::Table => {
            ("This must be a table.", "write { name = \"…\" }, one pair for each element")
        }
    };
    invalid(problem, fix)
}
