//! Reads a configuration: one TOML file, environment variables that override it, all of it checked
//! before any of it is used.
//!
//! An application declares each key once, where it reads it: its name, meaning, type and default.
//! From these declarations come the typed values, a message for every mistake (with the line or the
//! variable, and the remedy), the effective configuration with secrets masked, and the reference of
//! all keys in Markdown.
//!
//! ```
//! use mintgate_config_reader::{Conventions, Section, key};
//!
//! const CONVENTIONS: Conventions = Conventions {
//!     default_file: "app.toml",
//!     file_option: "with --config",
//!     env_prefix: "APP__",
//!     named_lists: &[],
//! };
//!
//! fn workers(root: &mut Section<'_>) -> Option<u32> {
//!     root.section("server", "The HTTP server.", |s| {
//!         s.number(key("workers", "The number of worker threads.").default(4), 1..=64)
//!     })
//! }
//!
//! let source = CONVENTIONS.parse("[server]\nworkers = 0").unwrap();
//! let error = source.read(workers).unwrap_err();
//! assert!(error.to_string().contains("1. server.workers = 0 (app.toml:2)"));
//! ```

mod environment;
mod file;
mod key;
mod kinds;
mod mistakes;
mod overlay;
mod reader;
mod reference;
mod show;
mod source;
#[cfg(test)]
mod tests;
mod unknown;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use key::{DefaultValue, Key, key};
pub use kinds::{Unit, unknown_name};
pub use mistakes::{ConfigError, Invalid, invalid};
pub use reader::Section;
pub use unknown::nearest;

use mistakes::Mistake;
use reader::Reader;
use source::{Table, Value};

/// How an application's configuration is named, in files and in the environment.
#[derive(Debug, Clone, Copy)]
pub struct Conventions {
    /// The file that is read where no file is named, if it exists; for example `app.toml`.
    pub default_file: &'static str,
    /// How an operator names another file, as the end of a sentence: `with --config`.
    pub file_option: &'static str,
    /// The prefix of all environment variables, for example `APP__`: `APP__SECTION__KEY` sets a key.
    pub env_prefix: &'static str,
    /// The lists of tables whose elements environment variables can set.
    pub named_lists: &'static [NamedList],
}

/// A list of tables, each of which has a name: `APP__PROVIDERS__NAME__KEY` sets a key of the table
/// with that name, written in upper case and with `_` for `-`.
#[derive(Debug, Clone, Copy)]
pub struct NamedList {
    /// The list's section, for example `providers`.
    pub section: &'static str,
    /// The key that holds a table's name, for example `id`.
    pub name_key: &'static str,
    /// What messages call one element, for example `provider`.
    pub noun: &'static str,
}

/// A configuration as it was written, with the environment applied; nothing is validated yet.
pub struct Source {
    conventions: &'static Conventions,
    table: Table,
    /// Variables that could not be applied, each with the section that it names.
    mistakes: Vec<(String, Mistake)>,
    /// Sections that exist, and are not read this time.
    skipped: Vec<&'static str>,
}

/// A configuration that was read without a mistake.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// What the application has read.
    pub value: T,
    /// Every key with the value in force and its origin, as TOML with secrets masked.
    pub effective: String,
    /// The files that secrets were read from, the configuration file among them if it holds one.
    pub secret_files: Vec<PathBuf>,
}

impl Conventions {
    /// Reads the file at `path` (the default file, if it exists, for `None`) and applies `env`.
    ///
    /// # Errors
    /// If the file cannot be read or is not TOML.
    pub fn load(
        &'static self,
        path: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Source, ConfigError> {
        let mut table = file::read(self, path)?;
        let mistakes = environment::apply(self, &mut table, env);
        Ok(Source { conventions: self, table, mistakes, skipped: Vec::new() })
    }

    /// As [`load`](Self::load), over the text `defaults`, which messages call `name`: what the file at `path`
    /// (none for `None`) or `env` says counts, and what they do not say is as in `defaults`. A table of a
    /// named list is laid over the one with its name; any other list replaces the one in `defaults`.
    ///
    /// # Errors
    /// If the file cannot be read, or either is not TOML.
    pub fn load_over(
        &'static self,
        (name, defaults): (&str, &str),
        path: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Source, ConfigError> {
        let mut table = source::parse(name, defaults)?;
        if let Some(path) = path {
            overlay::lay(self.named_lists, &mut table, file::read(self, Some(path))?);
        }
        let mistakes = environment::apply(self, &mut table, env);
        Ok(Source { conventions: self, table, mistakes, skipped: Vec::new() })
    }

    /// Reads a configuration from a text, without an environment.
    ///
    /// # Errors
    /// If the text is not TOML.
    pub fn parse(&'static self, text: &str) -> Result<Source, ConfigError> {
        let table = source::parse(self.default_file, text)?;
        Ok(Source { conventions: self, table, mistakes: Vec::new(), skipped: Vec::new() })
    }

    /// The Markdown reference of all keys that `read` declares: a heading and a table for each
    /// section. `every_section` is a configuration in which each `[[list]]` has one element.
    pub fn reference<T>(
        &'static self,
        every_section: &str,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> String {
        let mut reader = Reader::new(self, Vec::new());
        let table = source::parse(self.default_file, every_section).unwrap_or_default();
        // Required keys are missing here; only the declarations are used.
        reader.read(table, read);
        reference::markdown(&reader)
    }

    pub(crate) fn named_list(&self, section: &str) -> Option<&'static NamedList> {
        self.named_lists.iter().find(|list| list.section == section)
    }
}

impl Source {
    /// The names of a named list's tables, valid or not.
    pub fn names(&self, section: &str) -> Vec<String> {
        let Some(list) = self.conventions.named_list(section) else { return Vec::new() };
        let Some(Value::List(items)) = self.table.get(section).map(|node| &node.value) else {
            return Vec::new();
        };
        items.iter().filter_map(|item| list.name_of(item)).map(str::to_owned).collect()
    }

    /// Leaves out top-level sections that are not needed: mistakes in them are not reported.
    /// A section that does not exist at all still is.
    #[must_use]
    pub fn without(mut self, sections: impl IntoIterator<Item = &'static str>) -> Self {
        for section in sections {
            self.table.remove(section);
            self.mistakes.retain(|(named, _)| named != section);
            self.skipped.push(section);
        }
        self
    }

    /// Reads and validates everything by `read`, which returns `None` only where it has reported a
    /// mistake.
    ///
    /// # Errors
    /// Every mistake in the file and in the environment.
    pub fn read<T>(
        self,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Result<Loaded<T>, ConfigError> {
        let mut reader = Reader::new(self.conventions, self.skipped);
        reader.mistakes = self.mistakes.into_iter().map(|(_, mistake)| mistake).collect();
        match reader.read(self.table, read) {
            Some(value) if reader.mistakes.is_empty() => {
                let effective = reference::effective(&reader);
                let secret_files = reader.secret_files.into_iter().map(PathBuf::from).collect();
                Ok(Loaded { value, effective, secret_files })
            }
            _ => Err(ConfigError::new(reader.mistakes)),
        }
    }
}
