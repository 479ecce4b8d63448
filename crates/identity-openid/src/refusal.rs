//! A refusal of the token endpoint: whose fault it is, and what it means for who is waiting.

use mintgate_domain::model::ProviderId;
use mintgate_domain::ports::{Misbehaviour, ProviderError};
use oauth2::HttpResponse;
use serde::Deserialize;

use crate::http::HttpError;
use crate::text::excerpt;

/// An OAuth error answer (RFC 6749 §5.2).
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    error: String,
    #[serde(default)]
    error_description: serde_json::Value,
    #[serde(skip)]
    status: u16,
}

impl Refusal {
    /// An OAuth error is one under any status: some providers send theirs as a success.
    pub(crate) fn find(answer: &HttpResponse) -> Option<Self> {
        let refusal: Self = serde_json::from_slice(answer.body()).ok()?;
        let status = answer.status().as_u16();
        (!refusal.error.is_empty()).then_some(Self { status, ..refusal })
    }

    /// What an error says of a code.
    pub(crate) fn of_code(self, provider: &ProviderId, secrets: &[&str]) -> ProviderError {
        let text = self.text(secrets);
        self.of_anything(provider, &text).unwrap_or(ProviderError::CodeRefused(text.into()))
    }

    /// What an error says of a refresh token. Only the plain word that it is no good is taken for
    /// that, as somebody is signed out by it: `invalid_grant`, and GitHub's own word. Whatever else is
    /// wrong, a server in trouble before all, may be right again tomorrow.
    pub(crate) fn of_refresh_token(self, provider: &ProviderId, secrets: &[&str]) -> ProviderError {
        let text = self.text(secrets);
        let is_bad = matches!(self.error.as_str(), "invalid_grant" | "bad_refresh_token");
        if is_bad && self.status < 500 {
            return ProviderError::RefreshRefused(text.into());
        }
        self.of_anything(provider, &text).unwrap_or_else(|| {
            let status = HttpError::Status(self.status);
            let kind =
                if self.status >= 500 { Misbehaviour::Outage } else { Misbehaviour::BadAnswer };
            ProviderError::Misbehaved(kind, format!("token endpoint: {status}: {text}").into())
        })
    }

    fn text(&self, secrets: &[&str]) -> String {
        let mut text = self.error.clone();
        if let Some(description) = self.error_description.as_str() {
            text = format!("{text}: {description}");
        }
        for secret in secrets {
            text = text.replace(secret, "[redacted]");
        }
        excerpt(&text)
    }

    /// What an error says whatever was shown; `None` if it is about just that.
    fn of_anything(&self, provider: &ProviderId, text: &str) -> Option<ProviderError> {
        let mut kind = Misbehaviour::ClientRefused;
        let text = match self.error.as_str() {
            "invalid_grant" | "invalid_request" | "access_denied" | "bad_verification_code" => {
                return None;
            }
            "invalid_client" | "incorrect_client_credentials" | "unauthorized_client" => {
                format!("{text}; check client_id and client_secret of provider {provider}")
            }
            "redirect_uri_mismatch" => {
                format!(
                    "{text}; check that redirect_uris of provider {provider} are registered there"
                )
            }
            "unsupported_grant_type" | "invalid_scope" => {
                format!("{text}; check what the client of provider {provider} is allowed there")
            }
            _ if self.status >= 500 => {
                kind = Misbehaviour::Outage;
                format!("token endpoint: {}: {text}", HttpError::Status(self.status))
            }
            "server_error" | "temporarily_unavailable" => {
                kind = Misbehaviour::BadAnswer;
                text.to_owned()
            }
            _ if self.status == 429 => {
                kind = Misbehaviour::BadAnswer;
                text.to_owned()
            }
            _ => return None,
        };
        Some(ProviderError::Misbehaved(kind, text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, error: &str, description: &str) -> Refusal {
        Refusal { error: error.to_owned(), error_description: description.into(), status }
    }

    fn refuse(status: u16, error: &str, description: &str) -> ProviderError {
        let refusal = refusal(status, error, description);
        refusal.of_code(&ProviderId::new("corp"), &["the-code", "s3cret"])
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
        assert!(outage(500, "server_error") && outage(503, "made_up"));
        assert!(!outage(400, "server_error") && !outage(429, "made_up"));
        assert!(!outage(500, "invalid_client") && !outage(500, "invalid_grant"));
    }

    #[test]
    fn a_refresh_token_is_refused_by_the_plain_word_alone() {
        let refuse = |status, error: &str| {
            let refusal = refusal(status, error, "the-token");
            refusal.of_refresh_token(&ProviderId::new("corp"), &["the-token"])
        };
        for status in [200, 400, 401, 403] {
            for error in ["invalid_grant", "bad_refresh_token"] {
                let refused = refuse(status, error);
                assert!(matches!(refused, ProviderError::RefreshRefused(_)), "{status} {error}");
                assert!(!refused.to_string().contains("the-token"), "{refused}");
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
        let text = refuse(400, "invalid_grant", "the-code\r\nforged line, s3cret").to_string();
        assert!(!text.contains("the-code") && !text.contains("s3cret") && !text.contains('\n'));
        assert!(text.contains("[redacted]forged line"), "{text}");
        assert!(refuse(400, "invalid_grant", &"x".repeat(100_000)).to_string().len() < 300);
    }

    #[test]
    fn only_a_json_object_with_an_error_text_is_a_refusal() {
        let find = |body: &str| Refusal::find(&HttpResponse::new(body.as_bytes().to_vec()));
        assert!(find(r#"{"error":"invalid_grant","access_token":"x"}"#).is_some());
        for body in ["", "error=invalid_grant", "{}", r#"{"error":""}"#, r#"{"error":{}}"#] {
            assert!(find(body).is_none(), "{body}");
        }
    }
}
