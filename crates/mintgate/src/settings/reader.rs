//! Reads sections key by key: collects every mistake, notes every key it was asked for
//! (what the reference and `config print` are made of), and finds the keys nobody asked for.

use super::key::Key;
use super::mistakes::{Flaw, Mistake, flaw};
use super::show;
use super::source::{Node, Origin, Shape, Table, Value};
use super::unknown::{self, Unknown};

/// A key that was read.
pub(super) struct Record {
    /// The section as the reference names it, for example `providers`.
    pub section: &'static str,
    /// The section as it is in this configuration, for example `providers[0]`.
    pub path: String,
    /// The key.
    pub name: String,
    /// Its type, for the reference.
    pub kind: String,
    /// Its default, for the reference.
    pub default: String,
    /// Its meaning, for the reference.
    pub doc: String,
    /// Whether it means something here; one that does not is in the reference alone.
    pub applies: bool,
    /// Its value here as TOML, masked; `None` if it has none.
    pub value: Option<String>,
    /// Where that came from.
    pub origin: Origin,
}

/// A section that was read.
pub(super) struct SectionDoc {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub doc: &'static str,
    /// Whether there may be several: `[[name]]`.
    pub repeated: bool,
}

/// What reading a configuration finds out besides its values.
#[derive(Default)]
pub(super) struct Reader {
    pub mistakes: Vec<Mistake>,
    pub records: Vec<Record>,
    pub sections: Vec<SectionDoc>,
    unknown: Vec<Unknown>,
}

impl Reader {
    /// Reads everything, from the top.
    pub(super) fn read<T>(&mut self, table: Table, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let mut root =
            Section { reader: self, name: "", path: String::new(), table, origin: Origin::Unset };
        let out = read(&mut root);
        root.finish();
        let unknown = std::mem::take(&mut self.unknown);
        let mistakes: Vec<_> = unknown.iter().map(|u| unknown::mistake(u, self)).collect();
        self.mistakes.extend(mistakes);
        out
    }
}

/// One section being read.
pub(super) struct Section<'r> {
    reader: &'r mut Reader,
    name: &'static str,
    path: String,
    /// The keys not read yet.
    table: Table,
    origin: Origin,
}

impl Section<'_> {
    /// Reads the table `[name]`, which may be absent; `name` is the whole path.
    pub(super) fn section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        self.reader.sections.push(SectionDoc { name, doc, repeated: false });
        let key = name.rsplit('.').next().unwrap_or(name);
        let node = match self.table.remove(key) {
            Some(Node { value, origin }) => {
                Node { value: value.shaped(Shape::Table, &origin), origin }
            }
            None => Node { value: Value::Table(Table::new()), origin: Origin::Unset },
        };
        self.enter(name, name.to_owned(), node, read)
    }

    /// Reads each of the tables `[[name]]`, all of them or nothing; `name` is the whole path,
    /// `doc` speaks of all of them.
    pub(super) fn tables<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.reader.sections.push(SectionDoc { name, doc, repeated: true });
        let key = name.rsplit('.').next().unwrap_or(name);
        let Some(Node { value, origin }) = self.table.remove(key) else { return Some(Vec::new()) };
        let Value::List(items) = value.shaped(Shape::List, &origin) else {
            let problem = "This is not a list of tables.";
            self.reader.mistakes.push(Mistake {
                key: name.to_owned(),
                origin,
                value: None,
                problem: problem.to_owned(),
                fix: format!("write [[{name}]], in double brackets, above each one's keys"),
            });
            return None;
        };
        let mut all = Vec::new();
        let count = items.len();
        for (index, item) in items.into_iter().enumerate() {
            let path = match (&item.origin, &item.value) {
                // One that the environment made has an id, but no place in a list.
                (Origin::Env(_), Value::Table(table)) if table.contains_key("id") => {
                    let id = table.get("id").map(|id| show::toml(&id.value)).unwrap_or_default();
                    format!("{name}.{}", id.trim_matches('"'))
                }
                _ => format!("{name}[{index}]"),
            };
            all.extend(self.enter(name, path, item, &mut read));
        }
        (all.len() == count).then_some(all)
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
            self.reader.mistakes.push(Mistake {
                key: path.clone(),
                origin: origin.clone(),
                value: None,
                problem: "This is not a table.".to_owned(),
                fix: format!("write [{name}] on a line of its own, and its keys below it"),
            });
            Table::new()
        };
        let mut section = Section { reader: self.reader, name, path, table, origin };
        let out = read(&mut section);
        section.finish();
        out
    }

    /// Whatever nobody asked for is unknown.
    fn finish(self) {
        for (name, node) in self.table {
            unknown::collect(&mut self.reader.unknown, self.name, &self.path, name, node);
        }
    }

    /// Whether the key is written down, rightly or wrongly; to be asked before it is read.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Whether a key that was read is not written down.
    pub(super) fn is_default(&self, name: &str) -> bool {
        self.find(name).is_none_or(|record| record.origin == Origin::Unset)
    }

    fn find(&self, name: &str) -> Option<&Record> {
        self.reader.records.iter().rev().find(|r| r.path == self.path && r.name == name)
    }

    /// Takes a key's value in the given shape, or notes why there is none.
    pub(super) fn take(&mut self, key: Key, shape: Shape, kind: &str) -> Option<Node> {
        let Key { name, doc, secret, fallback, barred } = key;
        let (default, required) = (fallback.shown(), fallback.required());
        let node = self.table.remove(name);
        let node = if barred.is_some() { node } else { node.or_else(|| fallback.into_node()) };
        let node =
            node.map(|Node { value, origin }| Node { value: value.shaped(shape, &origin), origin });
        let shown = |n: &Node| if secret { show::quoted(show::MASK) } else { show::toml(&n.value) };
        self.record(Record {
            section: self.name,
            path: self.path.clone(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            default,
            doc: doc.into_owned(),
            applies: barred.is_none(),
            value: node.as_ref().map(shown),
            origin: node.as_ref().map_or(Origin::Unset, |n| n.origin.clone()),
        });
        if let Some(flaw) = barred {
            if node.is_some() {
                self.blame(name, flaw);
            }
            return None;
        }
        match (node, required) {
            (Some(node), _) if node.value.is(shape) => Some(node),
            (Some(_), _) => {
                self.blame(name, misshapen(shape));
                None
            }
            (None, Some(example)) => {
                self.missing(name, format!("add {example}"));
                None
            }
            (None, None) => None,
        }
    }

    /// Takes a value that will be a text, without a record.
    pub(super) fn take_raw(&mut self, name: &str) -> Option<Node> {
        let Node { value, origin } = self.table.remove(name)?;
        Some(Node { value: value.shaped(Shape::Text, &origin), origin })
    }

    /// Notes a key that was taken raw.
    pub(super) fn record(&mut self, record: Record) {
        self.reader.records.push(record);
    }

    /// The section's name and its path here.
    pub(super) fn place(&self) -> (&'static str, &str) {
        (self.name, &self.path)
    }

    /// Notes a mistake in a key that was read.
    pub(super) fn blame(&mut self, name: &str, flaw: Flaw) {
        let (origin, value) = match self.find(name) {
            Some(record) => (record.origin.clone(), record.value.as_deref().map(show::shortened)),
            None => (self.origin.clone(), None),
        };
        self.push(name, origin, value, flaw);
    }

    /// Notes a mistake in a part of a key's value, for example `redirect_uris[1]`.
    pub(super) fn blame_value(&mut self, name: &str, node: &Node, flaw: Flaw) {
        let value = show::shortened(&show::toml(&node.value));
        self.push(name, node.origin.clone(), Some(value), flaw);
    }

    /// Notes that a key is not there.
    pub(super) fn missing(&mut self, name: &str, fix: impl Into<String>) {
        let flaw = flaw("This key is required, and it is not set.", fix);
        self.push(name, self.origin.clone(), None, flaw);
    }

    fn push(&mut self, name: &str, origin: Origin, value: Option<String>, flaw: Flaw) {
        let key =
            if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        let Flaw { problem, fix } = flaw;
        self.reader.mistakes.push(Mistake { key, origin, value, problem, fix });
    }
}

fn misshapen(shape: Shape) -> Flaw {
    match shape {
        Shape::Text => flaw("This must be a text.", "put it in double quotes"),
        Shape::Integer => {
            flaw("This must be a whole number.", "write digits alone, without quotes or a unit")
        }
        Shape::Flag => flaw("This must be true or false.", "write true or false, without quotes"),
        Shape::List => flaw(
            "This must be a list.",
            "write [\"…\"], one text in double quotes for each element",
        ),
        Shape::Table => {
            flaw("This must be a table.", "write { name = \"…\" }, one pair for each element")
        }
    }
}
