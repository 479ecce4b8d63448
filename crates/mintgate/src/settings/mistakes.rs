//! What is wrong with a configuration, told so that it can be put right; no secret is ever in it.

use std::fmt;

use super::source::Origin;

/// A value that breaks a rule: what is wrong with it, and what to write instead.
#[derive(Clone)]
pub(super) struct Flaw {
    pub problem: String,
    pub fix: String,
}

/// A broken rule and its remedy.
pub(super) fn flaw(problem: impl Into<String>, fix: impl Into<String>) -> Flaw {
    Flaw { problem: problem.into(), fix: fix.into() }
}

/// One mistake, with its place and its remedy.
#[derive(Debug, Clone)]
pub(super) struct Mistake {
    /// The key, for example `providers[0].issuer`.
    pub key: String,
    /// Where the value came from.
    pub origin: Origin,
    /// The value, shortened and masked; `None` if there is none or it must not be shown.
    pub value: Option<String>,
    /// What is wrong: a sentence.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.value, &self.origin) {
            (None, origin) => write!(f, "{} ({origin})", self.key)?,
            (Some(value), Origin::Unset) => write!(f, "{} = {value} (default)", self.key)?,
            (Some(value), origin) => write!(f, "{} = {value} ({origin})", self.key)?,
        }
        let stop = if self.fix.ends_with('?') { "" } else { "." };
        write!(f, "\n   {}\n   Fix: {}{stop}", self.problem, self.fix)
    }
}

/// Everything that is wrong with a configuration, in the order of the file, then of the environment.
#[derive(Debug, Clone)]
pub struct ConfigError {
    mistakes: Vec<Mistake>,
}

impl ConfigError {
    pub(super) fn new(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by(|a, b| a.origin.cmp(&b.origin));
        Self { mistakes }
    }

    /// The file itself is wrong, and so there is nothing else to tell; line 0 is all of it.
    pub(super) fn of_file(name: &str, line: usize, problem: String, fix: &str) -> Self {
        Self::new(vec![Mistake {
            key: "configuration file".to_owned(),
            origin: Origin::File(name.into(), line),
            value: None,
            problem,
            fix: fix.to_owned(),
        }])
    }

    /// How many mistakes there are; at least one.
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
