//! `[users]`: who is let in, and what is kept of them.

use mintgate_config_reader::{Invalid, Section, invalid, key, unknown_name};
use mintgate_domain::model::{ExternalIdentity, ProfileClaim, ProfileClaims};
use mintgate_domain::{Admission, Invitation};

use crate::rules;
use crate::types::UserSettings;

/// Reads the section `[users]`.
pub(crate) fn users(s: &mut Section<'_>) -> Option<UserSettings> {
    let is_listed = s.choice(
        key(
            "admission",
            "Who may sign in. `open`: everybody whom a provider vouches for. `listed`: whoever one of the \
             `admit_…` lists names; everybody else gets 403 `ACCESS_DENIED`, and nothing of them is kept.",
        )
        .default("open"),
        &[("open", false), ("listed", true)],
    );
    let unused = (is_listed == Some(false)).then(|| {
        let fix = "write admission = \"listed\", or remove this list";
        invalid("With admission = \"open\" everybody is let in, listed or not.", fix)
    });
    let list = |name, doc: &'static str| key(name, doc).default([]).forbidden(unused.clone());
    let emails = s.list(
        list("admit_emails", "Verified email addresses; upper and lower case are the same."),
        "list of email addresses",
        |text| email(text).map(Invitation::Email),
    );
    let domains = s.list(
        list(
            "admit_domains",
            "The domains of verified email addresses; a domain below is another one.",
        ),
        "list of domain names",
        |text| rules::domain_name(text).map(Invitation::Domain),
    );
    let groups = s.list(
        list(
            "admit_groups",
            "Groups, by their exact names, in any claim of `group_claims` at any provider.",
        ),
        "list of groups",
        |text| rules::non_empty(text).map(Invitation::Group),
    );
    let subjects = s.list(
        list(
            "admit_subjects",
            "Persons at one provider, each as `ISSUER SUBJECT` with a space between.",
        ),
        "list of `ISSUER SUBJECT`",
        |text| subject(text).map(Invitation::Subject),
    );
    let group_claims = s.non_empty_list(
        key("group_claims", "The claims that `admit_groups` looks at: names, or paths with dots.")
            .default(["groups", "cognito:groups"])
            .forbidden(unused.clone()),
        "list of claim paths",
        "[\"groups\"]",
        rules::non_empty,
    );
    let profile = s.list(
        key(
            "profile",
            "The claims that Mintgate keeps of whoever signs in, for `GET /api/v1/auth/me`: any of \
             `name`, `preferred_username`, `email` (only verified) and `picture` (an `https` URL). Each \
             login renews them all: what its provider does not say, or what does not fit (320 bytes, \
             `picture` 2048), is removed. A claim taken out of this list is shown no more at once, and \
             removed at the person's next login. Personal data.",
        )
        .default([]),
        "list of claims",
        |name| {
            let known = ProfileClaim::ALL.into_iter().find(|claim| claim.name() == name);
            known.ok_or_else(|| unknown_name(name, &ProfileClaim::ALL.map(ProfileClaim::name)))
        },
    );
    let profile = profile.map(ProfileClaims);
    if is_listed != Some(true) {
        is_listed?;
        return Some(UserSettings { admission: Admission::Open, profile: profile? });
    }
    let invitations = [emails?, domains?, groups?, subjects?].concat();
    if invitations.is_empty() {
        let problem = "Nobody is listed, so nobody could sign in.";
        s.reject("admission", invalid(problem, "add one of admit_emails, admit_domains, admit_groups, admit_subjects, or write \"open\""));
        return None;
    }
    let admission = Admission::Listed { invitations, group_claims: group_claims? };
    Some(UserSettings { admission, profile: profile? })
}

fn email(text: &str) -> Result<String, Invalid> {
    let is_address = text.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !domain.is_empty()
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    });
    if is_address {
        return Ok(text.to_owned());
    }
    let fix = "write for example \"ada@example.com\"; a whole domain goes into admit_domains";
    Err(invalid("This is not an email address.", fix))
}

/// Issuer and subject: an issuer has no space in it, a subject may.
fn subject(text: &str) -> Result<ExternalIdentity, Invalid> {
    match text.split_once(' ') {
        Some((issuer, subject)) if issuer.contains("://") && !subject.is_empty() => {
            Ok(ExternalIdentity { issuer: issuer.to_owned(), subject: subject.to_owned() })
        }
        _ => Err(invalid(
            "This is not an issuer and a subject.",
            "write \"https://idp.example.com 00u1a2b3c4\", the `iss` and the `sub` of the ID token",
        )),
    }
}
