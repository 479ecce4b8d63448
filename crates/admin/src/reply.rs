//! The answer of a command.

use std::io::{self, Write};
use std::process::ExitCode;

use mintgate_domain::AdministrationError;
use serde::Serialize;

use crate::json::RefusalBody;
use crate::words;

/// What a command prints, and whether it has done what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The text for standard output.
    pub out: String,
    /// The text for standard error.
    pub err: String,
    /// Whether the command has done what it was asked to.
    pub is_done: bool,
}

impl Reply {
    /// Prints both texts; returns the exit code: 0 if the command has done what it was asked to, else 1.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn print(&self, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
        out.write_all(self.out.as_bytes())?;
        err.write_all(self.err.as_bytes())?;
        Ok(ExitCode::from(u8::from(!self.is_done)))
    }

    /// All is printed already.
    pub(crate) fn nothing() -> Self {
        Self { out: String::new(), err: String::new(), is_done: true }
    }

    /// The result, as JSON or as the text that `words` makes of it.
    pub(crate) fn done(json: bool, body: &impl Serialize, words: impl FnOnce() -> String) -> Self {
        let out = if json { as_json(body) } else { words() };
        Self { out, err: String::new(), is_done: true }
    }

    /// The reply itself, or the refusal: its JSON goes to standard output, where the reader of JSON waits
    /// for it.
    pub(crate) fn of(json: bool, outcome: Result<Self, AdministrationError>) -> Self {
        outcome.unwrap_or_else(|error| {
            Self::not_done(json, &RefusalBody::from(&error), &words::candidates(&error))
        })
    }

    pub(crate) fn not_done(json: bool, body: &RefusalBody, more: &str) -> Self {
        let (out, err) = if json {
            (as_json(body), String::new())
        } else {
            (String::new(), format!("mintgate: {}\n{more}", body.message))
        };
        Self { out, err, is_done: false }
    }
}

fn as_json(body: &impl Serialize) -> String {
    // Texts, numbers and maps with texts as keys: nothing that JSON cannot say.
    let mut text = serde_json::to_string_pretty(body).unwrap_or_default();
    text.push('\n');
    text
}
