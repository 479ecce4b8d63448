//! Which roles somebody with certain claims gets, and why: for an operator who writes the rules.

use std::collections::{BTreeMap, BTreeSet};

use crate::admission::{Admission, Invitation};
use crate::model::{ClaimSet, ClaimValue, ExternalIdentity, ProviderId, Role};
use crate::roles::{RolePolicy, RoleRule, RuleVerdict};

/// Whether a user may sign in, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// Sign-ins are open to everybody.
    Everybody,
    /// This entry of the lists admits the user.
    By(Invitation),
    /// No entry of the lists matches the user.
    NotListed,
}

/// The roles that a user with certain claims gets at a sign-in, and why.
#[derive(Debug, Clone)]
pub struct RoleExplanation {
    /// Whether the user may sign in.
    pub admitted: Admitted,
    /// The roles of everybody.
    pub default: Vec<Role>,
    /// Every rule, with the reason why it applies or does not.
    pub rules: Vec<(RoleRule, RuleReason)>,
    /// Why the rules ignore an email that the provider sent, if they do.
    pub dropped_email: Option<DroppedEmail>,
    /// The roles in order; empty if access is denied, also because the person is not listed.
    pub roles: Vec<Role>,
}

/// Why a rule applies, or does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleReason {
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

impl RolePolicy {
    /// Applies the admission and every rule as a sign-in does, and explains the result. The identity
    /// is `iss` and `sub` of the claims.
    pub fn explain(
        &self,
        admission: &Admission,
        provider: &ProviderId,
        claims: &BTreeMap<String, ClaimValue>,
    ) -> RoleExplanation {
        let set = ClaimSet::new(claims.clone());
        let dropped_email = dropped_email(claims, &set);
        let explained =
            |rule: &RoleRule| (rule.clone(), reason(rule, provider, &set, dropped_email));
        let admitted = admitted(admission, claims, &set);
        let claimed = self.claimed(provider, &set);
        let roles: BTreeSet<Role> = self.default.iter().cloned().chain(claimed).collect();
        let roles = roles.into_iter().filter(|_| admitted != Admitted::NotListed).collect();
        RoleExplanation {
            admitted,
            default: self.default.clone(),
            rules: self.rules.iter().map(explained).collect(),
            dropped_email,
            roles,
        }
    }
}

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
) -> RuleReason {
    match rule.judge(provider, set) {
        RuleVerdict::Applies(text) => RuleReason::Applies(text.to_owned()),
        RuleVerdict::OtherProvider => RuleReason::OtherProvider,
        RuleVerdict::NoSuchClaim if rule.claim == "email" && dropped.is_some() => {
            RuleReason::EmailDropped
        }
        RuleVerdict::NoSuchClaim => RuleReason::NoSuchClaim,
        RuleVerdict::NotSatisfied => {
            let value = set.find(&rule.claim);
            let has_text = value.is_some_and(|value| value.texts().next().is_some());
            if has_text { RuleReason::NotSatisfied } else { RuleReason::NoText }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RoleCondition;
    use crate::RoleCondition::{Domain, Equals, In};

    fn text(value: &str) -> ClaimValue {
        ClaimValue::Text(value.to_owned())
    }

    fn roles(names: &[&str]) -> Vec<Role> {
        names.iter().map(|name| Role::new(*name)).collect()
    }

    fn rule(
        provider: Option<&str>,
        claim: &str,
        condition: RoleCondition,
        grant: &str,
    ) -> RoleRule {
        RoleRule {
            provider: provider.map(ProviderId::new),
            claim: claim.to_owned(),
            condition,
            grant: roles(&[grant]),
        }
    }

    fn explained_to(
        admission: &Admission,
        policy: &RolePolicy,
        claims: &[(&str, ClaimValue)],
    ) -> RoleExplanation {
        let claims = claims.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        policy.explain(admission, &ProviderId::new("okta"), &claims.collect())
    }

    fn explained(policy: &RolePolicy, claims: &[(&str, ClaimValue)]) -> RoleExplanation {
        explained_to(&Admission::Open, policy, claims)
    }

    fn reasons(explanation: &RoleExplanation) -> Vec<RuleReason> {
        explanation.rules.iter().map(|(_, reason)| reason.clone()).collect()
    }

    #[test]
    fn the_admission_names_the_entry_that_lets_somebody_in() {
        let person = |issuer: &str| {
            let (issuer, subject) = (issuer.to_owned(), "7".to_owned());
            Invitation::Subject(ExternalIdentity { issuer, subject })
        };
        let staff = Invitation::Group("staff".to_owned());
        let address = Invitation::Email("ada@example.com".to_owned());
        let invitations = vec![address.clone(), staff.clone(), person("https://idp.example.com")];
        let admission = Admission::Listed { invitations, group_claims: vec!["groups".to_owned()] };
        let policy = RolePolicy { default: roles(&["user"]), rules: vec![] };
        let admitted = |claims: &[(&str, ClaimValue)]| {
            let explanation = explained_to(&admission, &policy, claims);
            let is_listed = explanation.admitted != Admitted::NotListed;
            assert_eq!(explanation.roles.len(), usize::from(is_listed));
            explanation.admitted
        };
        let email = ("email", text("Ada@example.com"));
        let verified = ("email_verified", ClaimValue::Bool(true));
        assert_eq!(admitted(&[email.clone(), verified]), Admitted::By(address));
        let groups = ClaimValue::List(vec![text("x"), text("staff")]);
        assert_eq!(admitted(&[("groups", groups)]), Admitted::By(staff));
        let sub = ("sub", text("7"));
        let at = |issuer| [email.clone(), sub.clone(), ("iss", text(issuer))];
        let listed = Admitted::By(person("https://idp.example.com"));
        assert_eq!(admitted(&at("https://idp.example.com")), listed);
        assert_eq!(admitted(&at("https://other.example.com")), Admitted::NotListed);
        assert_eq!(explained(&policy, &[]).admitted, Admitted::Everybody);
    }

    #[test]
    fn every_rule_has_a_reason() {
        let policy = RolePolicy {
            default: roles(&["user", "guest"]),
            rules: vec![
                rule(Some("okta"), "groups", In(vec!["ops".into(), "admins".into()]), "admin"),
                rule(None, "email", Domain("example.com".into()), "staff"),
                rule(Some("corp"), "groups", Equals("admins".into()), "boss"),
                rule(None, "groups", RoleCondition::matching("team-.*|x").unwrap(), "dev"),
                rule(None, "realm.roles", Equals("a \"b\"".into()), "c"),
                rule(None, "level", Equals("7".into()), "seven"),
            ],
        };
        let groups = ClaimValue::List(vec![ClaimValue::Integer(1), text("staff"), text("admins")]);
        let given = [
            ("groups", groups),
            ("email", text("a@example.com")),
            ("level", ClaimValue::Integer(7)),
        ];
        let explanation = explained(&policy, &given);
        let expected = [
            RuleReason::Applies("admins".to_owned()),
            RuleReason::EmailDropped,
            RuleReason::OtherProvider,
            RuleReason::NotSatisfied,
            RuleReason::NoSuchClaim,
            RuleReason::NoText,
        ];
        assert_eq!(reasons(&explanation), expected);
        assert_eq!(explanation.dropped_email, Some(DroppedEmail::Absent));
        assert_eq!(explanation.default, roles(&["user", "guest"]));
        assert_eq!(explanation.roles, roles(&["admin", "guest", "user"]));
    }

    #[test]
    fn case_30_an_email_counts_if_and_only_if_it_is_verified() {
        let policy = RolePolicy {
            default: vec![],
            rules: vec![rule(None, "email", Domain("example.com".into()), "staff")],
        };
        let email = ("email", text("ada@example.com"));
        let verified = [email.clone(), ("email_verified", ClaimValue::Bool(true))];
        let explanation = explained(&policy, &verified);
        assert_eq!(reasons(&explanation), [RuleReason::Applies("ada@example.com".to_owned())]);
        assert_eq!((explanation.dropped_email, explanation.roles), (None, roles(&["staff"])));
        for (value, why) in [
            (ClaimValue::Bool(false), DroppedEmail::NotTrue),
            (ClaimValue::Integer(1), DroppedEmail::NotTrue),
            (text("true"), DroppedEmail::Text),
        ] {
            let explanation = explained(&policy, &[email.clone(), ("email_verified", value)]);
            assert_eq!(explanation.dropped_email, Some(why));
            assert_eq!(reasons(&explanation), [RuleReason::EmailDropped]);
            assert_eq!(explanation.roles, []);
        }
        // Without an address there is none to drop.
        let without = explained(&policy, &[("email_verified", ClaimValue::Bool(false))]);
        assert_eq!(without.dropped_email, None);
        assert_eq!(reasons(&without), [RuleReason::NoSuchClaim]);
    }

    #[test]
    fn without_rules_and_default_roles_nobody_gets_a_role() {
        let explanation = explained(&RolePolicy::default(), &[]);
        assert!(explanation.default.is_empty() && explanation.rules.is_empty());
        assert_eq!(explanation.roles, []);
    }
}
