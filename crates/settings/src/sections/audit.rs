//! `[audit]`: the audit log.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use mintgate_domain::SecretText;

use crate::types::AuditSettings;

/// Reads the section `[audit]`.
pub(crate) fn audit(s: &mut Section<'_>) -> Option<AuditSettings> {
    let retention = s.days(
        key(
            "retention_days",
            "How many days an entry of the audit log is kept. A login takes about 650 bytes in the store, with its \
             indexes.",
        )
        .default(180),
        1..=3650,
    );
    let own_key = s.text_or_file(
        key(
            "key",
            "The secret that proves the entries of the audit log: whoever can write the store and does not \
             know it cannot write another history. Without it and without `keys.encryption_key`, a log that \
             was rewritten as a whole shows only by an end that was exported before.",
        )
        .optional("the proofs are made with a key that follows from `keys.encryption_key`")
        .secret(),
        "32 characters or more",
        secret,
    );
    let former_key = s.text_or_file(
        key(
            "former_key",
            "The `key` before, or the `keys.encryption_key` before, as long as there are entries that it proves.",
        )
        .secret(),
        "32 characters or more",
        secret,
    );
    Some(AuditSettings { retention: retention?, key: own_key, former_key })
}

fn secret(text: &str) -> Result<SecretText, Invalid> {
    if text.chars().count() >= 32 {
        return Ok(SecretText::new(text));
    }
    Err(invalid("This is shorter than 32 characters.", "make one: openssl rand -base64 32"))
}
