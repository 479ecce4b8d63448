//! `[login]`: logins that begin with `POST /api/v1/auth/login`.

use mintgate_config_reader::{Section, key};

use crate::types::LoginSettings;

/// Reads the section `[login]`.
pub(crate) fn login(s: &mut Section<'_>) -> Option<LoginSettings> {
    let ttl = s.seconds(
        key(
            "ttl_secs",
            "The longest that a person may take at the provider, from `POST /api/v1/auth/login` to \
             `POST /api/v1/auth/token`, in seconds.",
        )
        .default(600),
        1..=3600,
    );
    Some(LoginSettings { ttl: ttl? })
}
