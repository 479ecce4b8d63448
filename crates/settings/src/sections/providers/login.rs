//! The authorization request that a login sends to the provider (RFC 6749 §4.1.1).

use std::time::Duration;

use mintgate_config_reader::{Invalid, Section, invalid, key, unknown_name};
use mintgate_domain::{LoginParameter, LoginRequest, LogoutRequest, OfflineScope};
use mintgate_identity_openid::{FilledPreset, Offline};

use super::limits::sealable;
use super::overlaid;
use super::preset::SelectedPreset;
use crate::rules;

/// The longest `max_age`, ten years, in seconds.
const MAX_AGE_LIMIT_SECS: u64 = 10 * 365 * 24 * 3600;

/// Parameters of an authorization request that Mintgate sets itself, or that would change how it is
/// protected.
const PROTECTED: [&str; 10] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];

/// Reads the key `scopes`.
pub(super) fn scopes(s: &mut Section<'_>, selected: SelectedPreset) -> Option<Vec<String>> {
    let scopes = s.list(
        key(
            "scopes",
            "The scopes of the authorization request. An OpenID Connect provider needs `openid`. \
             Mintgate adds `recheck_scope` itself where `recheck_secs` or `keep_access_token` is set.",
        )
        .default_from("the preset's", selected.0.map(|preset| preset.scopes)),
        "list of scopes",
        scope,
    )?;
    if selected.openid().is_some() && !scopes.iter().any(|scope| scope == "openid") {
        let problem = "Without the scope openid there is no ID token.";
        s.reject("scopes", invalid(problem, "add \"openid\" to the list"));
        return None;
    }
    Some(scopes)
}

/// Reads the key `authorization_params`; the result includes the preset's.
pub(super) fn parameters(
    s: &mut Section<'_>,
    filled: Option<&FilledPreset>,
) -> Option<Vec<(String, String)>> {
    let more = s.list(
        key(
            "authorization_params",
            "Additional parameters of the authorization request, each as `name=value`, for example \
             `prompt=select_account`. A parameter replaces the preset's of the same name. Mintgate \
             holds ID tokens to `max_age`.",
        )
        .default([]),
        "list of `name=value`",
        parameter,
    )?;
    Some(overlaid(filled?.authorization_parameters.clone(), more))
}

/// Reads the key `login_params`: the parameters that a client may choose for one login, each with its
/// name at the provider.
pub(super) fn client_parameters(
    s: &mut Section<'_>,
    selected: SelectedPreset,
) -> Option<Vec<(LoginParameter, String)>> {
    let chosen = s.list(
        key(
            "login_params",
            "What `POST /api/v1/auth/login` may ask for in one login: any of `loginHint`, `prompt`, \
             `uiLocales`, `acrValues`, `maxAge`, and `domainHint` where the preset is `entra` or \
             `google`. Mintgate holds the ID token to `acrValues` and `maxAge`.",
        )
        .default([])
        .forbidden(selected.unless_openid()),
        "list of names",
        |name| {
            let known = LoginParameter::ALL.into_iter().find(|one| one.field() == name);
            let Some(parameter) = known else {
                return Err(unknown_name(name, &LoginParameter::ALL.map(LoginParameter::field)));
            };
            Ok((parameter, standard_name(parameter, selected)?.to_owned()))
        },
    );
    if selected.openid().is_none() { Some(Vec::new()) } else { chosen }
}

fn standard_name(
    parameter: LoginParameter,
    selected: SelectedPreset,
) -> Result<&'static str, Invalid> {
    Ok(match parameter {
        LoginParameter::LoginHint => "login_hint",
        LoginParameter::Prompt => "prompt",
        LoginParameter::UiLocales => "ui_locales",
        LoginParameter::AcrValues => "acr_values",
        LoginParameter::MaxAge => "max_age",
        LoginParameter::DomainHint => {
            let name = selected.0.and_then(|preset| preset.domain_hint);
            let problem = "The preset has no parameter for the domain of the people who sign in.";
            name.ok_or_else(|| invalid(problem, "remove it"))?
        }
    })
}

/// The parameter `max_age` of the authorization request (OIDC Core §3.1.2.1), if there is one; `None` if
/// it is not a number of seconds.
#[expect(clippy::option_option, reason = "the outer one says that there is a mistake")]
pub(super) fn max_age(
    s: &mut Section<'_>,
    parameters: Option<&[(String, String)]>,
) -> Option<Option<Duration>> {
    let Some((_, value)) = parameters?.iter().find(|(name, _)| name == "max_age") else {
        return Some(None);
    };
    let secs = value.parse().ok().filter(|secs| *secs <= MAX_AGE_LIMIT_SECS);
    if secs.is_none() {
        let problem = "The value of max_age is not a number of seconds.";
        s.reject("authorization_params", invalid(problem, "write for example max_age=3600"));
    }
    secs.map(|secs| Some(Duration::from_secs(secs)))
}

/// Reads what a sign-out at the provider needs.
pub(super) fn logout(
    s: &mut Section<'_>,
    selected: SelectedPreset,
    can_seal: Option<bool>,
) -> Option<LogoutRequest> {
    let redirect_uris = s.list(
        key(
            "post_logout_redirect_uris",
            "Where the provider may send the browser after `POST /api/v1/auth/logout` with \
             `\"provider\": true`, compared character for character. Each is `https`, `http` on a loopback \
             host, or a private-use scheme with a dot in it. They must be registered at the provider too.",
        )
        .default([])
        .forbidden(selected.unless_openid()),
        "list of URIs",
        |text| rules::exact_redirect_uri(text).map(|()| text.to_owned()),
    );
    let keeps_id_token = s.flag(
        key(
            "keep_id_token",
            "Whether Mintgate keeps the ID token of each session, encrypted, and shows it to the provider \
             as `id_token_hint` in `logoutUrl`: Okta needs it, Keycloak asks for no confirmation then. \
             Needs `keys.encryption_key`.",
        )
        .default(false)
        .forbidden(selected.unless_openid()),
    );
    if keeps_id_token == Some(true) && !sealable(s, "keep_id_token", can_seal) {
        return None;
    }
    let preset = selected.0?;
    let redirect_parameter = preset.logout_redirect_parameter.to_owned();
    let is_openid = selected.openid().is_some();
    let redirect_uris = if is_openid { redirect_uris? } else { Vec::new() };
    let keeps_id_token = if is_openid { keeps_id_token? } else { false };
    Some(LogoutRequest { redirect_uris, redirect_parameter, keeps_id_token })
}

fn parameter(text: &str) -> Result<(String, String), Invalid> {
    let (name, value) = rules::pair(text)?;
    if PROTECTED.contains(&name.as_str()) {
        let problem = format!("Mintgate sets {name} itself, or does without it.");
        let fix = "remove it; scopes and redirect URIs have keys of their own";
        return Err(invalid(problem, fix));
    }
    Ok((name, value))
}

/// Reads a scope (RFC 6749 §3.3).
fn scope(text: &str) -> Result<String, Invalid> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
        let problem = "A scope is visible ASCII without spaces, quotes and backslashes.";
        return Err(invalid(problem, "write each scope as an element of its own"));
    }
    Ok(text.to_owned())
}

/// Reads the key `recheck_scope`; the text is empty if no scope is to be asked for.
pub(super) fn recheck_scope(s: &mut Section<'_>, selected: SelectedPreset) -> Option<String> {
    let of_preset = selected.0.map(|preset| preset.offline.scope().unwrap_or_default());
    s.text(
        key(
            "recheck_scope",
            "The scope that Mintgate adds where `recheck_secs` or `keep_access_token` is set, so that the \
             provider issues a refresh token; `\"\"` adds none, for a provider that issues one without. A provider whose \
             `scopes_supported` lacks it is not asked for it. With `oidc`, `prompt=consent` comes \
             along (OIDC Core §11).",
        )
        .default_from(
            "the preset's: `\"offline_access\"` for `oidc`, `okta`, `entra` and `auth0`, else `\"\"`",
            of_preset,
        ),
        "scope",
        |text| if text.is_empty() { Ok(String::new()) } else { scope(text) },
    )
}

/// Adds what makes the provider issue a refresh token; no scope if `scope` is empty.
pub(super) fn ask_for_refresh_token(login: &mut LoginRequest, offline: Offline, scope: &str) {
    if let Offline::Parameters(parameters) = offline {
        for (name, value) in parameters {
            add_parameter(&mut login.parameters, name, value);
        }
    }
    if !scope.is_empty() {
        let with_consent =
            matches!(offline, Offline::ConsentedScope(consented) if consented == scope);
        login.offline = Some(OfflineScope { scope: scope.to_owned(), with_consent });
    }
}

/// Adds a scope, unless the request has it already.
pub(super) fn add_scope(scopes: &mut Vec<String>, scope: &str) {
    if !scopes.iter().any(|other| other == scope) {
        scopes.push(scope.to_owned());
    }
}

/// Adds a parameter. One that the configuration sets stays as it is, except that `prompt` can hold
/// several values (OIDC Core §3.1.2.1).
fn add_parameter(parameters: &mut Vec<(String, String)>, name: &str, value: &str) {
    match parameters.iter_mut().find(|(other, _)| other == name) {
        None => parameters.push((name.to_owned(), value.to_owned())),
        Some((_, set)) if name == "prompt" && !set.split(' ').any(|word| word == value) => {
            set.push(' ');
            set.push_str(value);
        }
        Some(_) => {}
    }
}
