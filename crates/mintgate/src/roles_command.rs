//! `mintgate roles`: shows which roles a person with certain claims gets, and why.

mod claims_file;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use mintgate_domain::model::{ClaimSet, ClaimValue, ProviderId, Role};
use mintgate_domain::{RoleCondition, RolePolicy, RoleRule, RuleVerdict};

use crate::settings::{RoleSettings, nearest};

/// The exit code if the person gets no role, and access is denied.
const DENIED: u8 = 3;
/// How many characters of a claim are shown.
const SHOWN_CHARS: usize = 100;

/// The subcommands of `mintgate roles`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum RolesCommand {
    /// Say which rule gives which role to somebody with these claims. The exit code is 3 if there is
    /// no role, and access would be denied.
    Test {
        /// The id of the provider that the claims come from.
        #[arg(long, value_name = "ID")]
        provider: String,
        /// A file with the claims: the payload of an ID token, or the answer of the userinfo endpoint,
        /// as a JSON object of at most 1 MiB; - for standard input.
        #[arg(long, value_name = "FILE")]
        claims: PathBuf,
    },
}

/// The roles a person gets, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The explanation, in lines.
    pub text: String,
    /// The roles in order; empty if access is denied.
    pub roles: Vec<Role>,
}

impl Explanation {
    /// The exit code: 0 if there are roles, 3 if there are none.
    pub fn exit_code(&self) -> ExitCode {
        if self.roles.is_empty() { ExitCode::from(DENIED) } else { ExitCode::SUCCESS }
    }
}

impl RolesCommand {
    /// Explains which roles the person gets. `providers` are the ids of the configured providers; the
    /// claims are read from `stdin` where the command says so.
    ///
    /// # Errors
    /// If there is no such provider, or if the claims cannot be read or are not a JSON object.
    pub fn run(
        &self,
        roles: &RoleSettings,
        providers: &[String],
        stdin: impl Read,
    ) -> anyhow::Result<Explanation> {
        let Self::Test { provider, claims } = self;
        let provider = known_provider(providers, provider)?;
        let claims = claims_file::read(claims, stdin)?;
        let policy = RolePolicy { default: roles.default.clone(), rules: roles.rules.clone() };
        Ok(explain(&policy, &provider, &claims))
    }
}

fn known_provider(known: &[String], id: &str) -> anyhow::Result<ProviderId> {
    if known.iter().any(|known| known == id) {
        return Ok(ProviderId::new(id));
    }
    let (shown, names) = (excerpt(id), known.join(", "));
    match nearest(id, known.iter().map(String::as_str)) {
        Some(near) => {
            bail!("there is no provider {shown}; did you mean \"{near}\"? There are: {names}")
        }
        None => bail!("there is no provider {shown}; there are: {names}"),
    }
}

/// Applies every rule as a sign-in does, and explains the result.
pub fn explain(
    policy: &RolePolicy,
    provider: &ProviderId,
    claims: &BTreeMap<String, ClaimValue>,
) -> Explanation {
    let set = ClaimSet::new(claims.clone());
    let dropped = dropped_email(claims, &set);
    let mut text = format!("default roles, for everybody: {}\n", list(&policy.default));
    if policy.rules.is_empty() {
        text.push_str("there are no rules\n");
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        let verdict = verdict(rule, rule.judge(provider, &set), &set, dropped);
        let _ = writeln!(text, "rule {} ({}): {verdict}", index + 1, condition(rule));
    }
    if let Some(why) = dropped {
        let _ = writeln!(text, "email is dropped: {why}");
    }
    let claimed = policy.claimed(provider, &set);
    let roles: BTreeSet<Role> = policy.default.iter().cloned().chain(claimed).collect();
    let roles: Vec<Role> = roles.into_iter().collect();
    let _ = writeln!(text, "roles: {}", list(&roles));
    if roles.is_empty() {
        text.push_str("Nobody lets this person in: access is denied.\n");
    }
    text.push_str("At a sign-in, roles granted in the store and roles looked up are added.\n");
    Explanation { text, roles }
}

/// Why the rules ignore an email that the provider sent, if they do.
fn dropped_email(claims: &BTreeMap<String, ClaimValue>, set: &ClaimSet) -> Option<&'static str> {
    if !claims.contains_key("email") || set.find("email").is_some() {
        return None;
    }
    Some(match claims.get("email_verified") {
        None => "email_verified is not true; there is no such claim",
        Some(ClaimValue::Text(_)) => "email_verified is not true; it is a text, not a boolean",
        Some(_) => "email_verified is not true",
    })
}

fn verdict(
    rule: &RoleRule,
    verdict: RuleVerdict<'_>,
    set: &ClaimSet,
    dropped: Option<&'static str>,
) -> String {
    let reason = match verdict {
        RuleVerdict::Applies(text) => {
            return format!("applies because of {}; grants {}", excerpt(text), list(&rule.grant));
        }
        RuleVerdict::OtherProvider => "is for another provider",
        RuleVerdict::NoSuchClaim if rule.claim == "email" && dropped.is_some() => {
            "no such claim, as email is dropped"
        }
        RuleVerdict::NoSuchClaim => "no such claim",
        RuleVerdict::NotSatisfied => {
            let has_text =
                set.find(&rule.claim).is_some_and(|value| value.texts().next().is_some());
            if has_text {
                "not satisfied"
            } else {
                "not satisfied, as there is no text in the claim"
            }
        }
    };
    format!("{reason}; does not grant {}", list(&rule.grant))
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
