//! `[admin]` and `[[admin.tokens]]`: the admin API of the operations listener.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use mintgate_domain::{AdminToken, TokenHash};

use crate::rules;
use crate::types::AdminSettings;

const TOKENS_DOC: &str = "Who may use the console and the admin API. Without any, and without `ops.client_ca_file`, there is neither. \
    `mintgate admin new-token NAME` makes a token and these lines.";

/// Reads the section `[admin]`.
pub(crate) fn admin(s: &mut Section<'_>) -> Option<AdminSettings> {
    let hosts = s.list(
        key(
            "hosts",
            "The names, besides `localhost` and IP addresses, by which the console and the admin API may be called. A \
             request for another name is refused: a page could have been made to call this machine by it \
             (DNS rebinding).",
        )
        .default([]),
        "list of host names",
        rules::domain_name,
    );
    let mut seen: Vec<(String, TokenHash)> = vec![];
    let tokens = s.tables("admin.tokens", TOKENS_DOC, |s| {
        let token = token(s)?;
        if seen.iter().any(|(name, _)| *name == token.name) {
            let problem = "Another token has this name.";
            s.reject("name", invalid(problem, "give each token a name of its own, for the log"));
            return None;
        }
        if seen.iter().any(|(_, hash)| *hash == token.hash) {
            let problem = "Another token has this hash: the log could not tell the two apart.";
            s.reject("hash", invalid(problem, "make one with `mintgate admin new-token NAME`"));
            return None;
        }
        seen.push((token.name.clone(), token.hash));
        Some(token)
    });
    Some(AdminSettings { hosts: hosts?, tokens: tokens? })
}

fn token(s: &mut Section<'_>) -> Option<AdminToken> {
    let name = s.text(
        key("name", "What the log calls whoever uses the token.").required("name = \"ops\""),
        "1 to 64 characters",
        name,
    );
    let hash = s.text(
        // Not a secret, but somebody may have put the token itself here, and messages show values.
        key("hash", "The SHA-256 of the token's text, in hexadecimal.")
            .secret()
            .required("hash = \"…\", which mintgate admin new-token makes"),
        "64 hexadecimal digits",
        |text| rules::token_hash(text, "mintgate admin new-token NAME"),
    );
    let may_write = s.choice(
        key("scope", "`read`: look at people and sessions. `write`: change and delete them too.")
            .default("read"),
        &[("read", false), ("write", true)],
    );
    Some(AdminToken { name: name?, hash: hash?, may_write: may_write? })
}

fn name(text: &str) -> Result<String, Invalid> {
    let is_name = (1..=64).contains(&text.len()) && !text.contains(char::is_control);
    if is_name {
        return Ok(text.to_owned());
    }
    Err(invalid("This is not a name of 1 to 64 characters.", "write for example \"ops\""))
}
