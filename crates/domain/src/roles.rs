//! Which roles a person gets.

use std::collections::BTreeSet;

use regex::Regex;

use crate::model::{ClaimSet, ProviderId, Role};

/// What a claim must be for a rule to apply. A list matches if one of its texts does.
#[derive(Debug, Clone)]
pub enum RoleCondition {
    /// Exactly this text.
    Equals(String),
    /// One of these texts.
    In(Vec<String>),
    /// This regular expression, over the whole text.
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
            Self::Domain(domain) => text
                .rsplit_once('@')
                .is_some_and(|(local, at)| !local.is_empty() && at.eq_ignore_ascii_case(domain)),
        }
    }
}

/// Grants roles to those whose claim satisfies a condition.
#[derive(Debug, Clone)]
pub struct RoleRule {
    /// Only for sign-ins with this provider; for all if `None`.
    pub provider: Option<ProviderId>,
    /// The path of the claim.
    pub claim: String,
    /// What it must be.
    pub condition: RoleCondition,
    /// The roles granted.
    pub grant: Vec<Role>,
}

/// The default roles and the rules. Only roles named here, or given to a user in
/// the store, are ever granted: a provider's group is never a role by its own name.
#[derive(Debug, Clone, Default)]
pub struct RolePolicy {
    /// For everybody who signs in.
    pub default: Vec<Role>,
    /// In addition.
    pub rules: Vec<RoleRule>,
}

impl RolePolicy {
    /// The roles for these claims plus those granted in the store; sorted, without duplicates.
    /// Empty means: no rule lets this person in.
    pub fn evaluate(
        &self,
        provider: &ProviderId,
        claims: &ClaimSet,
        granted: &[Role],
    ) -> Vec<Role> {
        let by_rules = self.rules.iter().filter(|rule| {
            rule.provider.as_ref().is_none_or(|only| only == provider)
                && claims
                    .find(&rule.claim)
                    .is_some_and(|value| value.texts().any(|text| rule.condition.holds(text)))
        });
        let roles: BTreeSet<&Role> = self
            .default
            .iter()
            .chain(granted)
            .chain(by_rules.flat_map(|rule| &rule.grant))
            .collect();
        roles.into_iter().cloned().collect()
    }
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
        let roles = policy.evaluate(&ProviderId::new("corp"), &claims(claim, value), &[]);
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
            default: vec![Role::new("user")],
            rules: vec![RoleRule {
                provider: Some(ProviderId::new("corp")),
                claim: "groups".to_owned(),
                condition: RoleCondition::Equals("admins".to_owned()),
                grant: vec![Role::new("admin")],
            }],
        };
        let set = claims("groups", text("admins"));
        let roles = policy.evaluate(&ProviderId::new("other"), &set, &[]);
        assert_eq!(roles, [Role::new("user")]);
    }

    #[test]
    fn case_32_a_group_named_like_a_role_grants_nothing_by_itself() {
        let policy = RolePolicy { default: vec![Role::new("user")], rules: vec![] };
        let set = claims("groups", ClaimValue::List(vec![text("admin"), text("user")]));
        let roles = policy.evaluate(&ProviderId::new("corp"), &set, &[Role::new("editor")]);
        assert_eq!(roles, [Role::new("editor"), Role::new("user")]);
    }
}
