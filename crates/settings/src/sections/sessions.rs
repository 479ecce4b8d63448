//! `[sessions]`: the engine of the sessions, if they are not with the users.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use mintgate_domain::SecretText;

use crate::types::SessionSettings;

/// Reads the section `[sessions]`.
pub(crate) fn sessions(s: &mut Section<'_>) -> Option<SessionSettings> {
    let url = s.text_or_file(
        key(
            "url",
            "The address of a Redis that keeps the sessions: `redis://user:password@host:port/database`, or \
             `rediss://` for TLS. With `?sentinel=NAME` its hosts, separated by commas, are Sentinels, which \
             know the primary of that name; with `?cluster=true`, nodes of a cluster. With `rediss` and one \
             host, `ca_file=PATH` names the certificates to trust. Users, keys and the audit log stay in \
             `store.url`.",
        )
        .optional("sessions are in the store")
        .secret(),
        "URL",
        redis_url,
    );
    let replicas = s.number(
        key(
            "replicas",
            "How many replicas of Redis must have confirmed a login or the end of a session before it is \
             answered; with fewer, the answer is 503, and the request can be repeated.",
        )
        .default(0),
        0..=10,
    );
    let wait = s.millis(
        key(
            "wait_ms",
            "How long replicas may take to confirm, in milliseconds. A request can take this much longer than \
             `store.statement_timeout_ms`.",
        )
        .default(1000),
        1..=60_000,
    );
    Some(SessionSettings { url, replicas: replicas?, wait: wait? })
}

fn redis_url(text: &str) -> Result<SecretText, Invalid> {
    if text.starts_with("redis://") || text.starts_with("rediss://") {
        return Ok(SecretText::new(text));
    }
    Err(invalid(
        "This is not the address of a Redis.",
        "write redis://host:6379 or rediss://host:6379",
    ))
}
