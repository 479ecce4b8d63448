//! Who is let in.

use mintgate_domain::model::{ExternalIdentity, ProfileClaim};
use mintgate_domain::{Admission, Invitation};

use super::{good, refused_for, with_provider};

#[test]
fn the_lists_are_what_lets_people_in() {
    let settings = good(
        "[users]\nadmission = \"listed\"\nadmit_emails = [\"Ada@example.com\"]\n\
         admit_domains = [\"Example.org\"]\nadmit_groups = [\"CN=staff,DC=x\"]\n\
         admit_subjects = [\"https://idp.example.com a b\"]\ngroup_claims = [\"realm_access.roles\"]",
    );
    let invitations = vec![
        Invitation::Email("Ada@example.com".to_owned()),
        Invitation::Domain("example.org".to_owned()),
        Invitation::Group("CN=staff,DC=x".to_owned()),
        Invitation::Subject(ExternalIdentity {
            issuer: "https://idp.example.com".to_owned(),
            subject: "a b".to_owned(),
        }),
    ];
    let group_claims = vec!["realm_access.roles".to_owned()];
    assert_eq!(settings.users.admission, Admission::Listed { invitations, group_claims });
}

#[test]
fn a_list_of_nobody_is_a_mistake_and_so_is_one_that_is_not_used() {
    let listed = |lines: &str| with_provider(&format!("[users]\nadmission = \"listed\"\n{lines}"));
    refused_for([
        (listed(""), "users.admission: Nobody is listed"),
        (listed("admit_emails = []"), "users.admission: Nobody is listed"),
        (listed("admit_emails = [\"example.com\"]"), "users.admit_emails[0]: not an email address"),
        (
            listed("admit_emails = [\"a b@example.com\"]"),
            "users.admit_emails[0]: not an email address",
        ),
        (listed("admit_domains = [\"com\"]"), "users.admit_domains[0]: top-level domain"),
        (listed("admit_groups = [\" \"]"), "users.admit_groups[0]: This is empty."),
        (listed("admit_subjects = [\"ada\"]"), "users.admit_subjects[0]: an issuer and a subject"),
        (
            listed("admit_groups = [\"x\"]\ngroup_claims = []"),
            "users.group_claims: This list must not be empty.",
        ),
        (
            with_provider("[users]\nadmit_emails = [\"ada@example.com\"]"),
            "users.admit_emails: everybody is let in",
        ),
        (with_provider("[users]\nadmission = \"invited\""), "users.admission: listed"),
    ]);
}

#[test]
fn only_known_claims_are_kept() {
    let users = |lines: &str| format!("[users]\nprofile = {lines}");
    let settings = good(&users("[\"name\", \"preferred_username\", \"email\", \"picture\"]"));
    assert_eq!(settings.users.profile.0, ProfileClaim::ALL);
    refused_for([(
        with_provider(&users("[\"preferredUsername\"]")),
        "users.profile[0]: did you mean \"preferred_username\"?",
    )]);
}
