//! What a check has found.

use serde::Serialize;

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What was examined works as configured.
    Good,
    /// It does not work, or will not once it matters.
    Wrong,
    /// This process cannot see it, or only somebody who knows the intention can judge it.
    CannotBeTold,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check, such as `store.writable`; it does not change between releases.
    pub check: &'static str,
    /// What was looked at, where a check looks at several: a provider's id, an origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether it is as it should be.
    pub verdict: Verdict,
    /// What was found, as a sentence for people.
    pub what: String,
    /// What comes of it; empty if all is good.
    pub why: String,
    /// What to do about it; empty if all is good.
    pub fix: String,
}

impl Finding {
    /// Something that is as it should be.
    pub fn good(check: &'static str, what: impl Into<String>) -> Self {
        Self::new(check, Verdict::Good, what, "", "")
    }

    /// Something that is wrong.
    pub fn wrong(
        check: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(check, Verdict::Wrong, what, why, fix)
    }

    /// Something that cannot be told from here.
    pub fn cannot_be_told(
        check: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(check, Verdict::CannotBeTold, what, why, fix)
    }

    fn new(
        check: &'static str,
        verdict: Verdict,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (what, why, fix) = (what.into(), why.into(), fix.into());
        Self { check, subject: None, verdict, what, why, fix }
    }

    /// The same, about one of several.
    #[must_use]
    pub fn about(self, subject: &(impl ToString + ?Sized)) -> Self {
        Self { subject: Some(subject.to_string()), ..self }
    }
}
