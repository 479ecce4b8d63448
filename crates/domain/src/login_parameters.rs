//! The parameters of an authorization request that a client chooses for one login.

use std::time::Duration;

use crate::model::AuthenticationRequirements;
use crate::{AuthError, FieldError, FieldRule, LoginRequest};

/// A parameter of the authorization request that a client may choose for one login, where the
/// provider's configuration allows it (OIDC Core §3.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginParameter {
    /// `login_hint`: who is probably signing in.
    LoginHint,
    /// `prompt`: which pages the provider shows, as words separated by spaces.
    Prompt,
    /// `ui_locales`: the languages of these pages, as BCP 47 tags separated by spaces.
    UiLocales,
    /// The organization whose people are signing in: `domain_hint` at Entra, `hd` at Google.
    DomainHint,
    /// `acr_values`: the authentication context classes, separated by spaces, of which the ID token
    /// must name one.
    AcrValues,
    /// `max_age`: the longest time since the person authenticated, in seconds.
    MaxAge,
}

impl LoginParameter {
    /// Every parameter, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::LoginHint,
        Self::Prompt,
        Self::UiLocales,
        Self::DomainHint,
        Self::AcrValues,
        Self::MaxAge,
    ];

    /// The name in requests to Mintgate and in its configuration.
    pub const fn field(self) -> &'static str {
        match self {
            Self::LoginHint => "loginHint",
            Self::Prompt => "prompt",
            Self::UiLocales => "uiLocales",
            Self::DomainHint => "domainHint",
            Self::AcrValues => "acrValues",
            Self::MaxAge => "maxAge",
        }
    }
}

/// The configured parameters of an authorization request together with those `asked` for, and what
/// the ID token is held to because of the latter.
///
/// # Errors
/// [`AuthError::InvalidRequest`] with each parameter that this provider's configuration does not allow.
pub(crate) fn combine(
    login: &LoginRequest,
    asked: &[(LoginParameter, String)],
) -> Result<(Vec<(String, String)>, AuthenticationRequirements), AuthError> {
    let mut parameters = login.parameters.clone();
    let mut requirements = AuthenticationRequirements::default();
    let mut errors = Vec::new();
    for (parameter, value) in asked {
        let allowed = login.client_parameters.iter().find(|(allowed, _)| allowed == parameter);
        let Some((_, name)) = allowed else {
            errors.push(FieldError::new(parameter.field(), FieldRule::NotForProvider));
            continue;
        };
        match parameter {
            LoginParameter::AcrValues => requirements.acr_values.clone_from(value),
            LoginParameter::MaxAge => match value.parse() {
                Ok(secs) => requirements.max_age = Some(Duration::from_secs(secs)),
                Err(_) => errors.push(FieldError::new(parameter.field(), FieldRule::NotSeconds)),
            },
            _ => {}
        }
        match parameters.iter_mut().find(|(set, _)| set == name) {
            None => parameters.push((name.clone(), value.clone())),
            Some((_, set)) => match joined(*parameter, set, value) {
                Some(both) => *set = both,
                None => errors.push(FieldError::new(parameter.field(), FieldRule::Contradiction)),
            },
        }
    }
    if errors.is_empty() {
        Ok((parameters, requirements))
    } else {
        Err(AuthError::InvalidRequest(errors))
    }
}

/// The value of a parameter that is both configured and asked for; `None` if the two contradict each
/// other. A client can ask for more than the configuration, and never for less.
fn joined(parameter: LoginParameter, configured: &str, asked: &str) -> Option<String> {
    match parameter {
        LoginParameter::Prompt if configured == asked => Some(asked.to_owned()),
        // `none` stands alone (OIDC Core §3.1.2.1).
        LoginParameter::Prompt if configured == "none" || asked == "none" => None,
        LoginParameter::Prompt => {
            let mut words: Vec<&str> = configured.split(' ').collect();
            words
                .extend(asked.split(' ').filter(|word| !configured.split(' ').any(|w| w == *word)));
            Some(words.join(" "))
        }
        LoginParameter::MaxAge => {
            let secs = |text: &str| text.parse::<u64>().ok();
            Some(secs(configured)?.min(secs(asked)?).to_string())
        }
        _ => Some(asked.to_owned()),
    }
}
