//! `[[gateways]]`: what gateways demand that cannot say it themselves.

use mintgate_config_reader::{Invalid, Section, invalid, key};

use crate::rules;
use crate::types::GatewaySettings;

/// Reads one gateway; `known` are the names of those that were read before.
pub(crate) fn gateway(s: &mut Section<'_>, known: &mut Vec<String>) -> Option<GatewaySettings> {
    let name = s.text(
        key(
            "name",
            "The name by which the gateway asks, at `/api/v1/auth/gateway/NAME/`; unique among the gateways.",
        )
        .required("name = \"shop\""),
        "1 to 64 of `a`–`z`, `0`–`9`, `-`, `_`",
        |name| own_name(name, known),
    );
    s.accept_one("role");
    let roles = s.list(
        key(
            "role",
            "The role that callers must have; or a list of roles, all of which they must have.",
        )
        .default([]),
        "role, or list of roles",
        rules::role,
    );
    let redirects = s.choice(
        key(
            "login",
            "How callers who are not signed in are answered. `none`: with 401. `redirect`: if they navigate to a \
             page, with a redirect to the login; else with 401.",
        )
        .default("none"),
        &[("none", false), ("redirect", true)],
    );
    Some(GatewaySettings { name: name?, roles: roles?, redirects: redirects? })
}

fn own_name(name: &str, known: &mut Vec<String>) -> Result<String, Invalid> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if !(1..=64).contains(&name.len()) || !name.bytes().all(allowed) {
        let problem = "A name has 1 to 64 lower-case letters, digits, - and _.";
        return Err(invalid(problem, "write for example \"shop\""));
    }
    if known.iter().any(|other| other == name) {
        let problem = "Another gateway has this name.";
        return Err(invalid(problem, "choose a name that no other gateway has"));
    }
    known.push(name.to_owned());
    Ok(name.to_owned())
}
