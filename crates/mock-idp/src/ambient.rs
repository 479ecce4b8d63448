//! The clock and the randomness of the mock, which are its own because it plays a foreign server.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// The current time in seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a foreign server has a clock of its own")]
pub(crate) fn now_secs() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

/// An unguessable text of `N` random bytes, in base64url.
#[expect(clippy::disallowed_methods, reason = "a foreign server has randomness of its own")]
#[expect(clippy::expect_used, reason = "a machine without randomness can run no mock")]
pub(crate) fn random_text<const N: usize>() -> String {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives random bytes");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
