//! Which roles a person gets.

use std::collections::BTreeSet;
use std::sync::Arc;

use regex::Regex;

use crate::AuthError;
use crate::model::{ClaimSet, ProviderId, Role};
use crate::ports::{RoleDirectory, RoleQuestion};

/// The condition under which a rule applies to a claim. A list satisfies it if one of its texts
/// does.
#[derive(Debug, Clone)]
pub enum RoleCondition {
    /// The claim is exactly this text.
    Equals(String),
    /// The claim is exactly one of these texts.
    In(Vec<String>),
    /// The whole claim matches this regular expression.
    Matches(Regex),
    /// An address at exactly this domain; ASCII case does not matter.
    Domain(String),
}

impl RoleCondition {
    /// A [`RoleCondition::Matches`] that must cover the whole text.
    ///
    /// # Errors
    /// If the pattern is not a regular expression.
    pub fn matching(pattern: &str) -> Result<Self, regex::Error> {
        // Compiled alone first, so that a pattern cannot close the group it is put in.
        Regex::new(pattern)?;
        Regex::new(&format!("^(?:{pattern})$")).map(Self::Matches)
    }

    fn holds(&self, text: &str) -> bool {
        match self {
            Self::Equals(expected) => text == expected,
            Self::In(allowed) => allowed.iter().any(|a| a == text),
            Self::Matches(pattern) => pattern.is_match(text),
            Self::Domain(domain) => is_at_domain(text, domain),
        }
    }
}

/// Whether an email address is at exactly this domain; ASCII case does not matter.
pub(crate) fn is_at_domain(address: &str, domain: &str) -> bool {
    let parts = address.rsplit_once('@');
    parts.is_some_and(|(local, at)| !local.is_empty() && at.eq_ignore_ascii_case(domain))
}

/// Grants roles to those whose claim satisfies a condition.
#[derive(Debug, Clone)]
pub struct RoleRule {
    /// Only for sign-ins with this provider; for all if `None`.
    pub provider: Option<ProviderId>,
    /// The path of the claim.
    pub claim: String,
    /// The condition that the claim must satisfy.
    pub condition: RoleCondition,
    /// The roles that the rule grants.
    pub grant: Vec<Role>,
}

/// Whether a rule applies to a user's claims, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleVerdict<'a> {
    /// The rule applies, because the claim has this text.
    Applies(&'a str),
    /// The rule is for another provider.
    OtherProvider,
    /// There is no such claim; or it is an address that is not verified, which counts as none.
    NoSuchClaim,
    /// The claim holds no text that satisfies the condition.
    NotSatisfied,
}

impl RoleRule {
    /// Whether the rule applies to claims from this provider, and why.
    pub(crate) fn judge<'a>(&self, provider: &ProviderId, claims: &'a ClaimSet) -> RuleVerdict<'a> {
        if self.provider.as_ref().is_some_and(|only| only != provider) {
            return RuleVerdict::OtherProvider;
        }
        let Some(value) = claims.find(&self.claim) else { return RuleVerdict::NoSuchClaim };
        match value.texts().find(|text| self.condition.holds(text)) {
            Some(text) => RuleVerdict::Applies(text),
            None => RuleVerdict::NotSatisfied,
        }
    }
}

/// The default roles and the rules. Only roles named here, given to a user in the store, or told by
/// the operator's own user system are ever granted: a provider's group is never a role by its own name.
#[derive(Debug, Clone, Default)]
pub struct RolePolicy {
    /// The roles of everybody who signs in.
    pub default: Vec<Role>,
    /// The rules that grant further roles.
    pub rules: Vec<RoleRule>,
}

impl RolePolicy {
    /// The roles that the rules give for these claims; sorted, without duplicates.
    pub fn claimed(&self, provider: &ProviderId, claims: &ClaimSet) -> Vec<Role> {
        let applies =
            |rule: &&RoleRule| matches!(rule.judge(provider, claims), RuleVerdict::Applies(_));
        union(self.rules.iter().filter(applies).flat_map(|rule| &rule.grant))
    }
}

/// The outcome of a sign-in or a refresh whose roles cannot be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLookupFailure {
    /// The request fails with `ROLES_UNAVAILABLE` and can be tried again: nobody gets in with roles
    /// that may have been taken away.
    #[default]
    Refuse,
    /// A sign-in goes on without those roles, a refresh with the ones that the session has.
    Ignore,
}

/// The operator's own user system, and what its failure means.
#[derive(Clone)]
pub struct RoleLookup {
    /// The directory of the operator's user system.
    pub directory: Arc<dyn RoleDirectory>,
    /// What happens to a sign-in or refresh if the directory does not answer.
    pub on_failure: OnLookupFailure,
}

/// Decides roles from everything that says something about them.
#[derive(Clone, Default)]
pub struct RoleDecider {
    /// The default roles and the rules.
    pub policy: RolePolicy,
    /// The operator's own user system, if it is asked.
    pub lookup: Option<RoleLookup>,
}

/// Roles, and whether everybody who was to be asked has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) roles: Vec<Role>,
    pub(crate) is_complete: bool,
}

impl RoleDecider {
    /// The default roles, those claimed by the rules, those granted in the store, and those looked up;
    /// sorted, without duplicates. Empty means: nobody lets this person in.
    ///
    /// # Errors
    /// [`AuthError::RolesUnavailable`]
    pub(crate) async fn decide(
        &self,
        question: RoleQuestion<'_>,
        claimed: &[Role],
        granted: &[Role],
    ) -> Result<Decision, AuthError> {
        let (looked_up, is_complete) = match &self.lookup {
            None => (Vec::new(), true),
            Some(lookup) => match lookup.directory.roles(question).await {
                Ok(roles) => (roles, true),
                Err(error) if lookup.on_failure == OnLookupFailure::Refuse => {
                    return Err(AuthError::RolesUnavailable(error));
                }
                Err(_) => (Vec::new(), false),
            },
        };
        let all = self.policy.default.iter().chain(claimed).chain(granted).chain(&looked_up);
        Ok(Decision { roles: union(all), is_complete })
    }
}

fn union<'a>(roles: impl Iterator<Item = &'a Role>) -> Vec<Role> {
    let roles: BTreeSet<&Role> = roles.collect();
    roles.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClaimValue;

    fn claims(name: &str, value: ClaimValue) -> ClaimSet {
        ClaimSet::new(
            [(name.to_owned(), value), ("email_verified".to_owned(), ClaimValue::Bool(true))]
                .into(),
        )
    }

    fn text(value: &str) -> ClaimValue {
        ClaimValue::Text(value.to_owned())
    }

    fn granted(condition: RoleCondition, claim: &str, value: ClaimValue) -> bool {
        let policy = RolePolicy {
            default: vec![],
            rules: vec![RoleRule {
                provider: Some(ProviderId::new("corp")),
                claim: claim.to_owned(),
                condition,
                grant: vec![Role::new("admin")],
            }],
        };
        let roles = policy.claimed(&ProviderId::new("corp"), &claims(claim, value));
        roles == [Role::new("admin")]
    }

    #[test]
    fn equals_and_in_compare_exactly() {
        let equals = || RoleCondition::Equals("admins".to_owned());
        assert!(granted(equals(), "groups", text("admins")));
        assert!(!granted(equals(), "groups", text("Admins")));
        assert!(!granted(equals(), "groups", text("admins2")));
        let within = RoleCondition::In(vec!["ops".to_owned(), "admins".to_owned()]);
        assert!(granted(within, "groups", ClaimValue::List(vec![text("x"), text("ops")])));
    }

    #[test]
    fn matches_covers_the_whole_text() {
        let pattern = || RoleCondition::matching("team-[a-z]+|boss").unwrap();
        assert!(granted(pattern(), "groups", text("team-red")));
        assert!(granted(pattern(), "groups", text("boss")));
        assert!(!granted(pattern(), "groups", text("my-boss")));
        assert!(!granted(pattern(), "groups", text("team-red-guest")));
        assert!(!granted(pattern(), "groups", text("team-red\nx")));
        assert!(RoleCondition::matching("a)|(b").is_err());
    }

    #[test]
    fn domain_is_what_follows_the_last_at_sign() {
        let domain = || RoleCondition::Domain("example.com".to_owned());
        assert!(granted(domain(), "email", text("ada@Example.COM")));
        assert!(!granted(domain(), "email", text("ada@sub.example.com")));
        assert!(!granted(domain(), "email", text("ada@example.com@evil.test")));
        assert!(!granted(domain(), "email", text("@example.com")));
        assert!(!granted(domain(), "email", text("example.com")));
    }

    #[test]
    fn a_rule_for_one_provider_does_not_apply_to_another() {
        let policy = RolePolicy {
            default: vec![],
            rules: vec![RoleRule {
                provider: Some(ProviderId::new("corp")),
                claim: "groups".to_owned(),
                condition: RoleCondition::Equals("admins".to_owned()),
                grant: vec![Role::new("admin")],
            }],
        };
        let set = claims("groups", text("admins"));
        assert_eq!(policy.claimed(&ProviderId::new("other"), &set), []);
        assert_eq!(policy.claimed(&ProviderId::new("corp"), &set), [Role::new("admin")]);
    }
}
