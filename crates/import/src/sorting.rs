//! Makes of a person of the other system the user that is to be imported.

use std::collections::BTreeMap;

use mintgate_domain::model::{
    ClaimSet, ClaimValue, ExternalIdentity, ImportedUser, Profile, ProfileClaims, Role, Timestamp,
    UserId,
};

use crate::mapping::Mapping;
use crate::person::{ImportedPerson, InvalidRecord};
use crate::times;

/// A user that is to be imported, and what was left out.
#[derive(Debug)]
pub(crate) struct Sorted {
    pub(crate) user: ImportedUser,
    /// The identities that are not taken, as the provider's name there and why.
    pub(crate) not_taken: Vec<(String, &'static str)>,
    /// The roles that the mapping does not have.
    pub(crate) unknown_roles: Vec<String>,
}

/// The user for a person. `id` is the user's id if the former one is no UUID.
///
/// # Errors
/// What is wrong with the record.
pub(crate) fn sort(
    person: ImportedPerson,
    mapping: &Mapping,
    kept: &ProfileClaims,
    id: UserId,
    now: Timestamp,
) -> Result<Sorted, InvalidRecord> {
    let refused = |problem: String| InvalidRecord {
        place: person.called(),
        id: Some(person.id().to_owned()),
        problem,
    };
    if let Some(problem) = person.problem() {
        return Err(refused(problem));
    }
    let created_at = person.created_at.map(|at| times::past(at, now));
    let created_at =
        created_at.transpose().map_err(|why| refused(format!("the time of creation: {why}")))?;
    let mut identities: Vec<(ExternalIdentity, _)> = vec![];
    let mut not_taken = vec![];
    for identity in &person.identities {
        match mapping.identity(identity) {
            Ok((provider, issuer)) => {
                let identity = ExternalIdentity { issuer, subject: identity.subject.clone() };
                if !identities.iter().any(|(known, _)| *known == identity) {
                    identities.push((identity, provider));
                }
            }
            Err(why) => not_taken.push((identity.provider.clone(), why)),
        }
    }
    let mut roles: Vec<Role> = vec![];
    let mut unknown_roles = vec![];
    for name in &person.roles {
        match mapping.role(name) {
            Some(role) if !roles.contains(role) => roles.push(role.clone()),
            Some(_) => {}
            None => unknown_roles.push(name.clone()),
        }
    }
    let profile = profile(&person, kept);
    let user = ImportedUser {
        id: own_id(person.id()).unwrap_or(id),
        former_ids: person.ids,
        identities,
        roles,
        profile,
        ban: person.ban,
        created_at: created_at.unwrap_or(now),
    };
    Ok(Sorted { user, not_taken, unknown_roles })
}

/// The id as a user's id, if it is a UUID in the form in which we would write it: applications that have
/// stored it compare texts.
fn own_id(id: &str) -> Option<UserId> {
    let parsed = UserId::parse(id)?;
    let is_same =
        parsed.to_string() == id && !parsed.as_uuid().is_nil() && !parsed.as_uuid().is_max();
    is_same.then_some(parsed)
}

fn profile(person: &ImportedPerson, kept: &ProfileClaims) -> Profile {
    let texts = [
        ("name", &person.name),
        ("preferred_username", &person.username),
        ("email", &person.email),
        ("picture", &person.picture),
    ];
    let mut claims: BTreeMap<String, ClaimValue> = texts
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), ClaimValue::Text(value.clone()?))))
        .collect();
    // An address that is not verified is not kept.
    claims.insert("email_verified".to_owned(), ClaimValue::Bool(person.email_verified));
    kept.of(&ClaimSet::new(claims))
}

#[cfg(test)]
mod tests {
    use mintgate_domain::model::ProfileClaim;

    use super::*;
    use crate::mapping::tests::known;
    use crate::person::SourceIdentity;

    const NOW: Timestamp = Timestamp::from_unix(1_767_323_045);

    fn sorted(person: ImportedPerson) -> Result<Sorted, InvalidRecord> {
        let mapping = "source = \"old\"\n[providers.google]\nprovider = \"google\"\n\
                       issuer = \"https://accounts.google.com\"\nsubject = \"sub\"\nclient_id = \"any\"\n\
                       [roles]\nAdministrators = \"admin\"";
        let mapping = Mapping::parse(mapping, &known()).unwrap();
        let kept = ProfileClaims(vec![ProfileClaim::Email]);
        let id = UserId::parse("0192f0c1-2b3c-7def-8abc-0123456789ab").unwrap();
        sort(person, &mapping, &kept, id, NOW)
    }

    #[test]
    fn a_former_id_that_is_a_uuid_stays_the_id() {
        let uuid = "6f9619ff-8b86-4011-b42d-00cf4fc964ff";
        assert_eq!(sorted(ImportedPerson::new(uuid)).unwrap().user.id.to_string(), uuid);
        for other in [
            "6F9619FF-8B86-4011-B42D-00CF4FC964FF",
            "6f9619ff8b864011b42d00cf4fc964ff",
            "00000000-0000-0000-0000-000000000000",
            "f:6f9619ff-8b86-4011-b42d-00cf4fc964ff:ada",
            "42",
        ] {
            let user = sorted(ImportedPerson::new(other)).unwrap().user;
            assert_eq!(user.id.to_string(), "0192f0c1-2b3c-7def-8abc-0123456789ab", "{other}");
            assert_eq!(user.former_ids, [other]);
        }
    }

    #[test]
    fn what_the_mapping_does_not_have_is_left_out_and_told() {
        let identity = |provider: &str| SourceIdentity {
            provider: provider.to_owned(),
            subject: "1".to_owned(),
            issuer: None,
        };
        let person = ImportedPerson {
            identities: vec![identity("google"), identity("google"), identity("yahoo")],
            roles: vec!["Administrators".to_owned(), "staff".to_owned()],
            email: Some("ada@example.com".to_owned()),
            email_verified: true,
            name: Some("Ada".to_owned()),
            ..ImportedPerson::new("1")
        };
        let Sorted { user, not_taken, unknown_roles } = sorted(person.clone()).unwrap();
        assert_eq!(user.identities.len(), 1);
        assert_eq!(not_taken.len(), 1);
        assert_eq!(
            (user.roles, unknown_roles),
            (vec![Role::new("admin")], vec!["staff".to_owned()])
        );
        assert_eq!(user.profile.email.as_deref(), Some("ada@example.com"));
        assert_eq!(user.profile.name, None, "users.profile does not ask for it");
        let unverified = ImportedPerson { email_verified: false, ..person };
        assert_eq!(sorted(unverified).unwrap().user.profile.email, None);
    }

    #[test]
    fn what_cannot_be_stored_is_an_error_of_the_record() {
        let future = Some(Timestamp::from_unix(1_900_000_000));
        let person = ImportedPerson { created_at: future, ..ImportedPerson::new("1") };
        assert!(sorted(person).is_err());
        for odd in ["", "a\tb", &"x".repeat(256)] {
            assert!(sorted(ImportedPerson::new(odd)).is_err());
        }
        let mut person = ImportedPerson::new("0");
        for id in 1..20 {
            person.add_id(id.to_string());
        }
        assert!(sorted(person).is_err());
    }
}
