//! OAuth errors of the token endpoint (RFC 6749 §5.2): whose fault they are, and what they say about the
//! code or refresh token that was sent.

use mintgate_domain::SecretText;
use mintgate_domain::model::ProviderId;
use mintgate_domain::ports::{Misbehaviour, ProviderError};
use serde_json::{Map, Value};

use crate::http::HttpError;
use mintgate_domain::excerpt_without;

/// An OAuth error answer (RFC 6749 §5.2).
#[derive(Debug)]
pub(crate) struct Refusal {
    error: String,
    description: Option<String>,
    status: u16,
}

impl Refusal {
    /// Finds an OAuth error in the members of an answer, whose status may be any: some providers send
    /// errors with status 200.
    pub(crate) fn find(status: u16, members: &Map<String, Value>) -> Option<Self> {
        let text = |name| members.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let error = text("error").filter(|error| !error.is_empty())?;
        Some(Self { error, description: text("error_description"), status })
    }

    /// The error of the port for an exchange of a code. `secrets` are removed from the text.
    pub(crate) fn of_code(self, provider: &ProviderId, secrets: &[SecretText]) -> ProviderError {
        let text = self.text(secrets);
        match self.independent_of_grant(provider, &text) {
            None => ProviderError::CodeRefused(text.into()),
            Some(error) => blame_code(error, self.status),
        }
    }

    /// The error of the port for a refresh. Only `invalid_grant`, and GitHub's own error code for it,
    /// count as a refusal, because a refusal ends sessions; any other error may have passed by the next
    /// refresh. `secrets` are removed from the text.
    pub(crate) fn of_refresh_token(
        self,
        provider: &ProviderId,
        secrets: &[SecretText],
    ) -> ProviderError {
        let text = self.text(secrets);
        let is_refusal = matches!(self.error.as_str(), "invalid_grant" | "bad_refresh_token");
        if is_refusal && self.status < 500 {
            return ProviderError::RefreshRefused(text.into());
        }
        self.independent_of_grant(provider, &text)
            .unwrap_or_else(|| self.misbehaved_with_status(&text))
    }

    /// Error code and description as an excerpt without secrets.
    fn text(&self, secrets: &[SecretText]) -> String {
        let mut text = self.error.clone();
        if let Some(description) = &self.description {
            text = format!("{text}: {description}");
        }
        excerpt_without(&text, secrets)
    }

    /// The error of the port if the provider would refuse any grant; `None` if it refuses this one.
    fn independent_of_grant(&self, provider: &ProviderId, text: &str) -> Option<ProviderError> {
        let advice = match self.error.as_str() {
            "invalid_grant" | "invalid_request" | "access_denied" | "bad_verification_code" => {
                return None;
            }
            "invalid_client" | "incorrect_client_credentials" | "unauthorized_client" => {
                format!("check client_id and client_secret of provider {provider}")
            }
            "redirect_uri_mismatch" => {
                format!("check that redirect_uris of provider {provider} are registered there")
            }
            "unsupported_grant_type" | "invalid_scope" => {
                format!("check what the client of provider {provider} is allowed there")
            }
            "server_error" | "temporarily_unavailable" => {
                return Some(self.misbehaved_with_status(text));
            }
            _ if self.status >= 500 || self.status == 429 => {
                return Some(self.misbehaved_with_status(text));
            }
            _ => return None,
        };
        let text = format!("{text}; {advice}");
        Some(ProviderError::Misbehaved(Misbehaviour::ClientRefused, text.into()))
    }

    fn misbehaved_with_status(&self, text: &str) -> ProviderError {
        let kind = if self.status >= 500 { Misbehaviour::Outage } else { Misbehaviour::BadAnswer };
        let status = HttpError::Status(self.status);
        ProviderError::Misbehaved(kind, format!("token endpoint: {status}: {text}").into())
    }
}

/// The error of the port for a code whose request ended with this error and this status.
///
/// A status of 500 or above counts towards opening the circuit only if it says that the provider, or
/// what is behind it, is down (RFC 9110 §15.6.3 to §15.6.5; 521 to 524 are Cloudflare's words for the
/// same). Any other can be about the code itself, which a stranger can choose.
pub(crate) fn blame_code(error: ProviderError, status: u16) -> ProviderError {
    match error {
        ProviderError::Misbehaved(Misbehaviour::Outage, cause) if !matches!(status, 502..=504 | 521..=524) => {
            ProviderError::Misbehaved(Misbehaviour::FailedRequest, cause)
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use mintgate_domain::chain;
    use serde_json::json;

    use super::*;

    fn refusal(status: u16, error: &str, description: &str) -> Refusal {
        Refusal { error: error.to_owned(), description: Some(description.to_owned()), status }
    }

    fn refuse(status: u16, error: &str, description: &str) -> ProviderError {
        let refusal = refusal(status, error, description);
        let secrets = ["the-code", "s3cret"].map(SecretText::new);
        refusal.of_code(&ProviderId::new("corp"), &secrets)
    }

    #[test]
    fn case_16_an_oauth_error_says_whose_fault_it_is_under_any_status() {
        for status in [200, 400, 401, 403, 500] {
            for code in
                ["invalid_grant", "invalid_request", "access_denied", "bad_verification_code"]
            {
                assert!(
                    matches!(refuse(status, code, ""), ProviderError::CodeRefused(_)),
                    "{code}"
                );
            }
            for code in [
                "invalid_client",
                "unauthorized_client",
                "incorrect_client_credentials",
                "unsupported_grant_type",
                "invalid_scope",
                "redirect_uri_mismatch",
            ] {
                let ProviderError::Misbehaved(_, text) = refuse(status, code, "") else {
                    panic!("{code} is taken for a refused code");
                };
                assert!(text.to_string().contains("corp"), "{text}");
            }
            for code in ["server_error", "temporarily_unavailable"] {
                assert!(
                    matches!(refuse(status, code, ""), ProviderError::Misbehaved(..)),
                    "{code}"
                );
            }
        }
        assert!(matches!(refuse(400, "made_up", ""), ProviderError::CodeRefused(_)));
        assert!(matches!(refuse(429, "made_up", ""), ProviderError::Misbehaved(..)));
        assert!(matches!(refuse(503, "made_up", ""), ProviderError::Misbehaved(..)));
        let outage = |status, error| refuse(status, error, "").is_outage();
        assert!(outage(503, "server_error") && outage(502, "made_up"));
        assert!(!outage(400, "server_error") && !outage(429, "made_up"));
        assert!(!outage(500, "server_error") && !outage(520, "made_up"));
        assert!(!outage(500, "invalid_client") && !outage(500, "invalid_grant"));
    }

    #[test]
    fn a_refresh_token_is_refused_by_the_plain_word_alone() {
        let refuse = |status, error: &str| {
            let refusal = refusal(status, error, "the-token");
            refusal.of_refresh_token(&ProviderId::new("corp"), &[SecretText::new("the-token")])
        };
        for status in [200, 400, 401, 403] {
            for error in ["invalid_grant", "bad_refresh_token"] {
                let refused = refuse(status, error);
                assert!(matches!(refused, ProviderError::RefreshRefused(_)), "{status} {error}");
                assert!(!chain(&refused).to_string().contains("the-token"), "{refused:?}");
            }
        }
        for (status, error) in [
            (500, "invalid_grant"),
            (503, "bad_refresh_token"),
            (400, "invalid_client"),
            (401, "invalid_client"),
            (400, "unauthorized_client"),
            (400, "invalid_request"),
            (400, "invalid_scope"),
            (400, "unsupported_grant_type"),
            (403, "access_denied"),
            (400, "interaction_required"),
            (400, "temporarily_unavailable"),
            (429, "slow_down"),
            (400, "made_up"),
        ] {
            let failed = refuse(status, error);
            assert!(matches!(failed, ProviderError::Misbehaved(..)), "{status} {error}: {failed}");
            assert_eq!(failed.is_outage(), status >= 500, "{status} {error}: {failed}");
        }
    }

    #[test]
    fn what_a_provider_says_is_cut_cleaned_and_without_our_secrets() {
        let refused =
            |description: &str| chain(&refuse(400, "invalid_grant", description)).to_string();
        let text = refused("the-code\r\nforged line, s3cret");
        assert!(!text.contains("the-code") && !text.contains("s3cret") && !text.contains('\n'));
        assert!(text.contains("[redacted]forged line"), "{text}");
        assert!(refused(&"x".repeat(100_000)).len() < 300);
    }

    #[test]
    fn only_an_error_text_is_a_refusal() {
        let find = |members: Value| Refusal::find(400, members.as_object().unwrap());
        assert!(find(json!({ "error": "invalid_grant", "access_token": "x" })).is_some());
        for members in [json!({}), json!({ "error": "" }), json!({ "error": {} })] {
            assert!(find(members.clone()).is_none(), "{members}");
        }
    }
}
