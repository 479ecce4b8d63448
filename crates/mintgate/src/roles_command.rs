//! `mintgate roles`: shows which roles a person with certain claims gets, and why.

mod claims_file;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use mintgate_domain::model::{ClaimSet, ClaimValue, ExternalIdentity, ProviderId, Role};
use mintgate_domain::{Admission, Invitation, RolePolicy, RoleRule, RuleVerdict};

use crate::settings::{RoleSettings, UserSettings, nearest};

/// The exit code if the person gets no role, and access is denied.
const DENIED: u8 = 3;

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

/// Whether the person may sign in at all, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// Sign-ins are open to everybody.
    Everybody,
    /// This entry of the lists admits the person.
    By(Invitation),
    /// No entry does.
    NotListed,
}

/// The roles a person gets, and why; its text is in `words.rs`.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Whether the person may sign in at all.
    pub admitted: Admitted,
    /// The roles of everybody.
    pub default: Vec<Role>,
    /// Every rule, with the reason why it applies or does not.
    pub rules: Vec<(RoleRule, Reason)>,
    /// Why the rules ignore an email that the provider sent, if they do.
    pub dropped_email: Option<DroppedEmail>,
    /// The roles in order; empty if access is denied, also because the person is not listed.
    pub roles: Vec<Role>,
}

/// Why a rule applies, or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The rule applies, because the claim has this text.
    Applies(String),
    /// The rule is for another provider.
    OtherProvider,
    /// There is no such claim.
    NoSuchClaim,
    /// The claim is an email that counts as none, as it is not verified.
    EmailDropped,
    /// No text of the claim satisfies the condition.
    NotSatisfied,
    /// The claim holds no text.
    NoText,
}

/// How `email_verified` fails to be `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DroppedEmail {
    /// There is no such claim.
    Absent,
    /// It is a text.
    Text,
    /// It is `false`, or no boolean.
    NotTrue,
}

impl Explanation {
    /// The exit code: 0 if there are roles, 3 if there are none.
    pub fn exit_code(&self) -> ExitCode {
        if self.roles.is_empty() { ExitCode::from(DENIED) } else { ExitCode::SUCCESS }
    }
}

/// There is no provider of this id; the text is in `words.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchProvider {
    /// The id that was asked for.
    pub id: String,
    /// A configured id that looks like it.
    pub near: Option<String>,
    /// Every configured id.
    pub known: Vec<String>,
}

impl RolesCommand {
    /// Explains which roles the person gets. `providers` are the ids of the configured providers; the
    /// claims are read from `stdin` where the command says so.
    ///
    /// # Errors
    /// [`NoSuchProvider`]; or the claims cannot be read or are not a JSON object.
    pub fn run(
        &self,
        (users, roles): &(UserSettings, RoleSettings),
        providers: &[String],
        stdin: impl Read,
    ) -> anyhow::Result<Explanation> {
        let Self::Test { provider, claims } = self;
        let provider = known_provider(providers, provider)?;
        let claims = claims_file::read(claims, stdin)?;
        let policy = RolePolicy { default: roles.default.clone(), rules: roles.rules.clone() };
        Ok(explain(&users.admission, &policy, &provider, &claims))
    }
}

fn known_provider(known: &[String], id: &str) -> Result<ProviderId, NoSuchProvider> {
    if known.iter().any(|known| known == id) {
        return Ok(ProviderId::new(id));
    }
    let near = nearest(id, known.iter().map(String::as_str)).map(str::to_owned);
    Err(NoSuchProvider { id: id.to_owned(), near, known: known.to_vec() })
}

/// Applies every rule as a sign-in does, and explains the result.
pub fn explain(
    admission: &Admission,
    policy: &RolePolicy,
    provider: &ProviderId,
    claims: &BTreeMap<String, ClaimValue>,
) -> Explanation {
    let set = ClaimSet::new(claims.clone());
    let dropped_email = dropped_email(claims, &set);
    let explained = |rule: &RoleRule| (rule.clone(), reason(rule, provider, &set, dropped_email));
    let admitted = admitted(admission, claims, &set);
    let claimed = policy.claimed(provider, &set);
    let roles: BTreeSet<Role> = policy.default.iter().cloned().chain(claimed).collect();
    let roles = roles.into_iter().filter(|_| admitted != Admitted::NotListed).collect();
    Explanation {
        admitted,
        default: policy.default.clone(),
        rules: policy.rules.iter().map(explained).collect(),
        dropped_email,
        roles,
    }
}

/// Judges the admission as a sign-in does; the identity is `iss` and `sub` of the claims.
fn admitted(
    admission: &Admission,
    claims: &BTreeMap<String, ClaimValue>,
    set: &ClaimSet,
) -> Admitted {
    let text = |name| claims.get(name).and_then(ClaimValue::as_text).unwrap_or_default().to_owned();
    let identity = ExternalIdentity { issuer: text("iss"), subject: text("sub") };
    match admission.judge(&identity, set) {
        Ok(None) => Admitted::Everybody,
        Ok(Some(invitation)) => Admitted::By(invitation.clone()),
        Err(_) => Admitted::NotListed,
    }
}

fn dropped_email(claims: &BTreeMap<String, ClaimValue>, set: &ClaimSet) -> Option<DroppedEmail> {
    if !claims.contains_key("email") || set.find("email").is_some() {
        return None;
    }
    Some(match claims.get("email_verified") {
        None => DroppedEmail::Absent,
        Some(ClaimValue::Text(_)) => DroppedEmail::Text,
        Some(_) => DroppedEmail::NotTrue,
    })
}

fn reason(
    rule: &RoleRule,
    provider: &ProviderId,
    set: &ClaimSet,
    dropped: Option<DroppedEmail>,
) -> Reason {
    match rule.judge(provider, set) {
        RuleVerdict::Applies(text) => Reason::Applies(text.to_owned()),
        RuleVerdict::OtherProvider => Reason::OtherProvider,
        RuleVerdict::NoSuchClaim if rule.claim == "email" && dropped.is_some() => {
            Reason::EmailDropped
        }
        RuleVerdict::NoSuchClaim => Reason::NoSuchClaim,
        RuleVerdict::NotSatisfied => {
            let value = set.find(&rule.claim);
            let has_text = value.is_some_and(|value| value.texts().next().is_some());
            if has_text { Reason::NotSatisfied } else { Reason::NoText }
        }
    }
}
