//! The texts of the hosted pages in one language.

use std::collections::BTreeMap;

use mintgate_domain::ErrorCode;
use serde::Deserialize;

/// A text for each key of a language file. What stands in braces is replaced when the text is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Texts {
    /// `rtl` for a language that is written from right to left.
    pub(super) dir: String,
    pub(super) sign_in: String,
    pub(super) sign_in_with: String,
    pub(super) signed_in: String,
    pub(super) signed_in_as: String,
    #[serde(rename = "continue")]
    pub(super) go_on: String,
    pub(super) other_account: String,
    pub(super) your_account: String,
    pub(super) back: String,
    pub(super) try_again: String,
    pub(super) refused: String,
    pub(super) unavailable: String,
    pub(super) you_signed_out: String,
    pub(super) signed_out_everywhere: String,
    pub(super) no_cookies: String,
    pub(super) bad_return: String,
    pub(super) foreign_form: String,
    pub(super) cannot_tell: String,
    pub(super) cancelled: String,
    pub(super) expired: String,
    pub(super) denied: String,
    pub(super) not_yours: String,
    pub(super) provider_failed: String,
    pub(super) busy: String,
    pub(super) too_often: String,
    pub(super) ended: String,
    pub(super) failed: String,
    pub(super) name: String,
    pub(super) user_name: String,
    pub(super) email: String,
    pub(super) roles: String,
    pub(super) sessions: String,
    pub(super) this_device: String,
    pub(super) unknown_device: String,
    pub(super) browser_on_system: String,
    pub(super) signed_in_at: String,
    pub(super) last_used: String,
    pub(super) network: String,
    pub(super) sign_out: String,
    pub(super) end_session: String,
    pub(super) end_others: String,
    pub(super) end_all: String,
    pub(super) identities: String,
    pub(super) identities_help: String,
    pub(super) linked_since: String,
    pub(super) unlink: String,
    pub(super) unlink_which: String,
    pub(super) last_identity: String,
    pub(super) link: String,
    pub(super) going_to: String,
    pub(super) session_ended: String,
    pub(super) others_ended: String,
    pub(super) linked: String,
    pub(super) unlinked: String,
    pub(super) taken: String,
    pub(super) link_elsewhere: String,
    pub(super) gone: String,
    pub(super) repeat: String,
}

impl Texts {
    /// The texts of these keys; a key that is missing has an empty text.
    pub(super) fn of(texts: &BTreeMap<String, String>) -> Self {
        let object = texts.iter().map(|(key, text)| (key.clone(), text.clone().into())).collect();
        serde_json::from_value(serde_json::Value::Object(object)).unwrap_or_default()
    }

    /// What a person reads of a refusal with this code, wherever it happens.
    pub(super) fn of_code(&self, code: &str) -> &str {
        use ErrorCode::{
            AccessDenied, LoginCancelled, LoginExpired, Overloaded, ProviderError, ProviderTimeout,
            ProviderUnavailable, RateLimited, RefreshTokenExpired, RefreshTokenReused,
            ReturnToNotAllowed, RolesUnavailable, SessionRevoked, StoreUnavailable,
        };
        let is = |codes: &[ErrorCode]| codes.iter().any(|known| known.as_str() == code);
        if is(&[LoginCancelled]) {
            &self.cancelled
        } else if is(&[LoginExpired]) {
            &self.expired
        } else if is(&[AccessDenied]) {
            &self.denied
        } else if is(&[ErrorCode::InvalidState]) {
            &self.not_yours
        } else if is(&[ProviderError, ProviderUnavailable, ProviderTimeout]) {
            &self.provider_failed
        } else if is(&[StoreUnavailable, RolesUnavailable, Overloaded]) {
            &self.busy
        } else if is(&[RateLimited]) {
            &self.too_often
        } else if is(&[SessionRevoked, RefreshTokenExpired, RefreshTokenReused]) {
            &self.ended
        } else if is(&[ReturnToNotAllowed]) {
            &self.bad_return
        } else {
            &self.failed
        }
    }
}

/// A text with its places filled in: each name in braces is replaced by its value.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let place = after.split_once('}');
        let value = place.and_then(|(name, behind)| {
            values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value, behind))
        });
        rest = if let Some((value, behind)) = value {
            filled.push_str(value);
            behind
        } else {
            filled.push('{');
            after
        };
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_once_and_values_are_not_read_again() {
        let values = [("a", "{b}"), ("b", "B")];
        assert_eq!(fill("{a} and {b}, {c} {", &values), "{b} and B, {c} {");
        assert_eq!(fill("none", &values), "none");
    }
}
