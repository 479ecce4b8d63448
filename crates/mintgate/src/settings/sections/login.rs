//! `[login]`: logins that are begun here.

use crate::settings::key::key;
use crate::settings::reader::Section;
use crate::settings::types::LoginSettings;

/// Reads `[login]`.
pub(in crate::settings) fn login(s: &mut Section<'_>) -> Option<LoginSettings> {
    let ttl = s.seconds(
        key(
            "ttl_secs",
            "How long a person may take at the provider, from `POST /api/v1/auth/login` to \
             `POST /api/v1/auth/token`.",
        )
        .or(600),
        1..=3600,
    );
    Some(LoginSettings { ttl: ttl? })
}
