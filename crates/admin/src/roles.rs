//! What `mintgate roles test` prints.

use std::fmt;
use std::process::ExitCode;

use mintgate_domain::model::{ProviderId, Role};
use mintgate_domain::{
    Admitted, DroppedEmail, Invitation, RoleCondition, RoleExplanation, RoleRule, RuleReason,
};

/// The exit code if the person gets no role, and access is denied.
const DENIED: u8 = 3;
/// How many characters of a claim are shown.
const SHOWN_CHARS: usize = 100;

/// Which roles a person gets, and why.
#[derive(Debug, Clone)]
pub struct RolesAnswer(pub RoleExplanation);

impl RolesAnswer {
    /// The exit code: 0 if there are roles, 3 if there are none.
    pub fn exit_code(&self) -> ExitCode {
        if self.0.roles.is_empty() { ExitCode::from(DENIED) } else { ExitCode::SUCCESS }
    }
}

/// There is no provider of this id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchProvider {
    /// The id that was asked for.
    pub id: String,
    /// A configured id that looks like it.
    pub near: Option<String>,
    /// The ids of all configured providers.
    pub known: Vec<String>,
}

impl fmt::Display for RolesAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(explanation) = self;
        match &explanation.admitted {
            Admitted::Everybody => {}
            Admitted::By(invitation) => writeln!(f, "admitted by {}", listed(invitation))?,
            Admitted::NotListed => writeln!(f, "no entry of users.admit_… admits this person")?,
        }
        writeln!(f, "default roles, for everybody: {}", list(&explanation.default))?;
        if explanation.rules.is_empty() {
            writeln!(f, "there are no rules")?;
        }
        for (index, (rule, reason)) in explanation.rules.iter().enumerate() {
            let applies = matches!(reason, RuleReason::Applies(_));
            let grants = if applies { "grants" } else { "does not grant" };
            let (number, condition, granted) = (index + 1, condition(rule), list(&rule.grant));
            writeln!(f, "rule {number} ({condition}): {}; {grants} {granted}", why(reason))?;
        }
        if let Some(dropped) = explanation.dropped_email {
            let why = match dropped {
                DroppedEmail::Absent => "; there is no such claim",
                DroppedEmail::Text => "; it is a text, not a boolean",
                DroppedEmail::NotTrue => "",
            };
            writeln!(f, "email is dropped: email_verified is not true{why}")?;
        }
        writeln!(f, "roles: {}", list(&explanation.roles))?;
        if explanation.admitted == Admitted::NotListed {
            writeln!(f, "This person is not listed: access is denied.")?;
        } else if explanation.roles.is_empty() {
            writeln!(f, "Nobody lets this person in: access is denied.")?;
        }
        writeln!(f, "At a sign-in, roles granted in the store and roles looked up are added.")
    }
}

/// The list that an entry is in, and the entry.
fn listed(invitation: &Invitation) -> String {
    let (list, entry) = match invitation {
        Invitation::Email(address) => ("admit_emails", excerpt(address)),
        Invitation::Domain(domain) => ("admit_domains", excerpt(domain)),
        Invitation::Group(group) => ("admit_groups", excerpt(group)),
        Invitation::Subject(person) => {
            ("admit_subjects", excerpt(&format!("{} {}", person.issuer, person.subject)))
        }
    };
    format!("users.{list}, {entry}")
}

/// Why a rule applies, or does not.
fn why(reason: &RuleReason) -> String {
    let words = match reason {
        RuleReason::Applies(text) => return format!("applies because of {}", excerpt(text)),
        RuleReason::OtherProvider => "is for another provider",
        RuleReason::NoSuchClaim => "no such claim",
        RuleReason::EmailDropped => "no such claim, as email is dropped",
        RuleReason::NotSatisfied => "not satisfied",
        RuleReason::NoText => "not satisfied, as there is no text in the claim",
    };
    words.to_owned()
}

impl std::error::Error for NoSuchProvider {}

impl fmt::Display for NoSuchProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, names) = (excerpt(&self.id), self.known.join(", "));
        match &self.near {
            Some(near) => {
                write!(f, "there is no provider {shown}; did you mean {near:?}? There are: {names}")
            }
            None => write!(f, "there is no provider {shown}; there are: {names}"),
        }
    }
}

/// The provider and the condition of a rule.
fn condition(rule: &RoleRule) -> String {
    let provider = rule.provider.as_ref().map_or("any provider", ProviderId::as_str);
    let asks = match &rule.condition {
        RoleCondition::Equals(text) => format!("equals {text:?}"),
        RoleCondition::In(texts) => format!("in {texts:?}"),
        RoleCondition::Matches(pattern) => {
            // As the configuration has it, without the anchors that were added.
            let whole = pattern.as_str();
            let written = whole.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$"));
            format!("matches '{}'", written.unwrap_or(whole).escape_debug())
        }
        RoleCondition::Domain(domain) => format!("at domain {domain:?}"),
    };
    format!("{provider}, {} {asks}", rule.claim.escape_debug())
}

fn list(roles: &[Role]) -> String {
    if roles.is_empty() {
        return "none".to_owned();
    }
    roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", ")
}

/// The beginning of an untrusted text, quoted, on one line and without control characters.
fn excerpt(text: &str) -> String {
    let mut chars = text.chars();
    let beginning: String = chars.by_ref().take(SHOWN_CHARS).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("{beginning:?}{more}")
}
