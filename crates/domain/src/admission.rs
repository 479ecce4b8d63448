//! Whether somebody whom a provider vouches for is let in at all.

use crate::AuthError;
use crate::model::{ClaimSet, ExternalIdentity};
use crate::roles::is_at_domain;

/// An entry of the lists of users who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invitation {
    /// Whoever has this verified email address; ASCII case does not matter.
    Email(String),
    /// Whoever has a verified email address at exactly this domain; ASCII case does not matter.
    Domain(String),
    /// Whoever is in this group.
    Group(String),
    /// One identity: an issuer with a subject.
    Subject(ExternalIdentity),
}

/// Whom sign-ins are open to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Admission {
    /// Every user whom a provider authenticates.
    #[default]
    Open,
    /// Whoever is invited by one of the entries.
    Listed {
        /// The entries.
        invitations: Vec<Invitation>,
        /// The paths of the claims that contain a user's groups.
        group_claims: Vec<String>,
    },
}

impl Admission {
    /// The entry that admits a user; `None` if everybody may sign in.
    ///
    /// # Errors
    /// [`AuthError::AccessDenied`] if no entry does.
    pub fn judge(
        &self,
        identity: &ExternalIdentity,
        claims: &ClaimSet,
    ) -> Result<Option<&Invitation>, AuthError> {
        let Self::Listed { invitations, group_claims } = self else { return Ok(None) };
        // An address that is not verified is not among the claims.
        let email = claims.find("email").and_then(|email| email.as_text());
        let groups = group_claims.iter().filter_map(|path| claims.find(path));
        let invites = |invitation: &&Invitation| match invitation {
            Invitation::Email(address) => email.is_some_and(|it| it.eq_ignore_ascii_case(address)),
            Invitation::Domain(domain) => email.is_some_and(|it| is_at_domain(it, domain)),
            Invitation::Group(name) => groups.clone().any(|all| all.texts().any(|it| it == name)),
            Invitation::Subject(person) => person == identity,
        };
        let found = invitations.iter().find(invites);
        found.map(Some).ok_or_else(|| {
            AuthError::AccessDenied("users.admit_… lists nobody like this person".into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClaimValue;

    fn text(value: &str) -> ClaimValue {
        ClaimValue::Text(value.to_owned())
    }

    fn ada() -> ExternalIdentity {
        let (issuer, subject) = ("https://idp.example.com".to_owned(), "ada".to_owned());
        ExternalIdentity { issuer, subject }
    }

    /// Whether an entry lets Ada in, who has these claims.
    fn admits(invitation: &Invitation, claims: &[(&str, ClaimValue)]) -> bool {
        let group_claims = vec!["groups".to_owned(), "realm_access.roles".to_owned()];
        let admission = Admission::Listed { invitations: vec![invitation.clone()], group_claims };
        let claims = claims.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        match admission.judge(&ada(), &ClaimSet::new(claims.collect())) {
            Ok(by) => by == Some(invitation),
            Err(AuthError::AccessDenied(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    fn email(address: &str, verified: ClaimValue) -> [(&'static str, ClaimValue); 2] {
        [("email", text(address)), ("email_verified", verified)]
    }

    #[test]
    fn an_address_invites_whoever_has_verified_it() {
        let invited = || Invitation::Email("Ada@example.com".to_owned());
        let verified = ClaimValue::Bool(true);
        assert!(admits(&invited(), &email("ada@EXAMPLE.com", verified.clone())));
        for other in ["ada@example.com.evil.test", "xada@example.com", "ada@example.com ", ""] {
            assert!(!admits(&invited(), &email(other, verified.clone())), "{other}");
        }
        for unverified in [ClaimValue::Bool(false), text("true"), ClaimValue::Null] {
            assert!(!admits(&invited(), &email("ada@example.com", unverified)));
        }
        let list = ClaimValue::List(vec![text("ada@example.com")]);
        assert!(!admits(&invited(), &[("email", list), ("email_verified", verified)]));
        assert!(!admits(&invited(), &[]));
    }

    #[test]
    fn a_domain_invites_whoever_has_a_verified_address_there() {
        let invited = || Invitation::Domain("example.com".to_owned());
        let verified = ClaimValue::Bool(true);
        assert!(admits(&invited(), &email("bob@Example.Com", verified.clone())));
        for other in ["bob@sub.example.com", "bob@example.com@evil.test", "@example.com"] {
            assert!(!admits(&invited(), &email(other, verified.clone())), "{other}");
        }
        assert!(!admits(&invited(), &email("bob@example.com", ClaimValue::Bool(false))));
    }

    #[test]
    fn a_group_invites_by_each_claim_that_holds_groups() {
        let invited = || Invitation::Group("staff".to_owned());
        let list = ClaimValue::List(vec![text("x"), text("staff")]);
        let realm = ClaimValue::Object([("roles".to_owned(), list.clone())].into());
        assert!(admits(&invited(), &[("groups", list.clone())]));
        assert!(admits(&invited(), &[("groups", text("staff"))]));
        assert!(admits(&invited(), &[("realm_access", realm)]));
        assert!(!admits(&invited(), &[("groups", text("Staff"))]));
        assert!(!admits(&invited(), &[("teams", list)]));
    }

    #[test]
    fn a_person_is_invited_by_issuer_and_subject_together() {
        assert!(admits(&Invitation::Subject(ada()), &[]));
        let changes: [fn(&mut ExternalIdentity); 3] = [
            |one| one.subject.push('x'),
            |one| one.issuer.push('/'),
            |one| one.subject = "Ada".into(),
        ];
        for change in changes {
            let mut other = ada();
            change(&mut other);
            assert!(!admits(&Invitation::Subject(other), &[]));
        }
        assert_eq!(Admission::Open.judge(&ada(), &ClaimSet::default()), Ok(None));
    }
}
