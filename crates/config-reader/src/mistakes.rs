//! What is wrong with a configuration, and how to correct it. Messages never hold a secret.

use std::fmt;

use crate::source::Origin;

/// Why a value is not valid, and what to write instead.
#[derive(Debug, Clone)]
pub struct Invalid {
    /// What is wrong with the value: a sentence with a full stop.
    pub problem: String,
    /// What to do about it: an instruction without a full stop.
    pub fix: String,
}

/// Makes an [`Invalid`] from a problem (a sentence) and its fix (an instruction without full stop).
pub fn invalid(problem: impl Into<String>, fix: impl Into<String>) -> Invalid {
    Invalid { problem: problem.into(), fix: fix.into() }
}

/// One mistake, with its place and its remedy.
#[derive(Debug, Clone)]
pub(crate) struct Mistake {
    /// The full name of the key, for example `providers[0].issuer`.
    pub key: String,
    /// Where the value was written.
    pub origin: Origin,
    /// The value, shortened and masked; `None` if there is no value or it must not be shown.
    pub value: Option<String>,
    /// What is wrong, and how to correct it.
    pub invalid: Invalid,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.value, &self.origin) {
            (None, origin) => write!(f, "{} ({origin})", self.key)?,
            (Some(value), Origin::Unset) => write!(f, "{} = {value} (default)", self.key)?,
            (Some(value), origin) => write!(f, "{} = {value} ({origin})", self.key)?,
        }
        let Invalid { problem, fix } = &self.invalid;
        let stop = if fix.ends_with('?') { "" } else { "." };
        write!(f, "\n   {problem}\n   Fix: {fix}{stop}")
    }
}

/// Every mistake in a configuration, ordered by line of the file, then by environment variable.
#[derive(Debug, Clone)]
pub struct ConfigError {
    mistakes: Vec<Mistake>,
}

impl ConfigError {
    pub(crate) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by(|a, b| a.origin.cmp(&b.origin));
        Self { mistakes }
    }

    /// The file itself cannot be used; line 0 stands for the whole file.
    pub(crate) fn of_file(name: &str, line: usize, problem: String, fix: &str) -> Self {
        Self::new(vec![Mistake {
            key: "configuration file".to_owned(),
            origin: Origin::File(name.into(), line),
            value: None,
            invalid: invalid(problem, fix),
        }])
    }

    /// The number of mistakes; at least one.
    pub fn count(&self) -> usize {
        self.mistakes.len()
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count() {
            1 => f.write_str("There is 1 mistake in the configuration:")?,
            n => write!(f, "There are {n} mistakes in the configuration:")?,
        }
        for (index, mistake) in self.mistakes.iter().enumerate() {
            write!(f, "\n\n{}. {mistake}", index + 1)?;
        }
        Ok(())
    }
}
