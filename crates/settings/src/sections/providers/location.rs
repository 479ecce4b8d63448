//! Where a provider is: the parameters of its preset, its issuer, its endpoints, its tenants.

use mintgate_config_reader::{Invalid, Section, invalid, key};
use mintgate_identity_openid::{
    FilledPreset, IssuerRule, OAuth2Endpoints, Parameter, ParameterKind, ParameterValues, Preset,
    SHARED_TENANTS,
};

use super::preset::{ENDPOINTS, SelectedPreset, parameter_names};
use crate::rules;

/// The location of a provider, as its preset's parameters, its issuer and its tenants say.
pub(super) struct Location {
    /// The values of the preset's parameters.
    pub(super) values: ParameterValues,
    /// The preset with these values; `None` if one of them is missing or not valid.
    pub(super) filled: Option<FilledPreset>,
    /// The issuer identifier, if it is valid.
    pub(super) issuer: Option<String>,
    /// Which issuers are this provider, if that is known.
    pub(super) issuer_rule: Option<IssuerRule>,
}

impl Location {
    /// Reads the parameters, `issuer` and `tenants`.
    pub(super) fn read(s: &mut Section<'_>, selected: SelectedPreset) -> Self {
        let mut values = ParameterValues::new();
        let mut is_valid = selected.0.is_some_and(|preset| nothing_is_missing(s, preset));
        for name in parameter_names() {
            let is_given = s.is_given(name);
            let value = parameter(s, selected, name);
            is_valid &= value.is_some() || !is_given;
            values.extend(value.map(|value| (name.to_owned(), value)));
        }
        let filled = selected.0.filter(|_| is_valid).map(|preset| preset.fill(&values));
        let is_issuer_given = s.is_given("issuer");
        let issuer = issuer(s, filled.as_ref());
        let mut location = Self { values, filled, issuer, issuer_rule: None };
        location.issuer_rule = location.issuer_rule(s, selected, is_issuer_given);
        location
    }

    /// Reads `tenants`, which says with the tenant which issuers are this provider.
    fn issuer_rule(
        &self,
        s: &mut Section<'_>,
        selected: SelectedPreset,
        is_issuer_given: bool,
    ) -> Option<IssuerRule> {
        let is_given = s.is_given("tenants");
        let has_tenants = |preset: &Preset| preset.tenant_template.is_some();
        let key = key(
            "tenants",
            "`entra` with the tenant `common` or `organizations` (**required**): the ids of the \
             tenants whose people may sign in. Mintgate cannot let in all tenants, because anybody \
             can create one.",
        )
        .forbidden(selected.unless(has_tenants));
        let kind = "list of GUIDs";
        let tenants = if is_given {
            let example = "[\"72f988bf-86f1-41af-91ab-2d7cd011db47\"]";
            s.non_empty_list(key, kind, example, rules::guid)
        } else {
            s.list(key, kind, rules::guid)
        };
        if !selected.0.is_some_and(has_tenants) {
            return Some(IssuerRule::Exact);
        }
        let tenant = self.values.get("tenant").map_or("", String::as_str);
        if !SHARED_TENANTS.contains(&tenant) {
            if tenants.is_some() && self.filled.is_some() && self.issuer.is_some() {
                let problem = "This is for the tenants common and organizations alone.";
                let fix = "remove it, or write tenant = \"organizations\"";
                s.reject("tenants", invalid(problem, fix));
                return None;
            }
            return (!is_given).then_some(IssuerRule::Exact);
        }
        if !is_given {
            let fix = "add tenants = [\"…\"]: the ids of the tenants whose people are let in";
            s.missing("tenants", fix);
        }
        let (issuer, template) = (self.issuer.as_ref()?, self.filled.as_ref()?);
        let template = if is_issuer_given {
            // An issuer in place of the preset's is the template with one tenant in it.
            let segment = format!("/{tenant}/");
            if issuer.matches(&segment).count() != 1 {
                let problem = format!("The issuer of this tenant has {segment} in it, once.");
                s.reject("issuer", invalid(problem, "correct it, or leave it to the preset"));
                return None;
            }
            issuer.replacen(&segment, "/{tenantid}/", 1)
        } else {
            template.tenant_template.clone()?
        };
        Some(IssuerRule::Tenants { template, allowed: tenants? })
    }

    /// Reads the endpoints of an OAuth 2.0 provider; the preset's apply where they are not set.
    pub(super) fn endpoints(
        &self,
        s: &mut Section<'_>,
        selected: SelectedPreset,
    ) -> Option<OAuth2Endpoints> {
        let docs = [
            "Providers of OAuth 2.0: the authorization endpoint, where people are sent to sign in. \
             **Required** for `oauth2`; otherwise it replaces the preset's.",
            "Providers of OAuth 2.0: the token endpoint, where codes are exchanged. **Required** for \
             `oauth2`; otherwise it replaces the preset's.",
            "Providers of OAuth 2.0: the endpoint that says who has signed in. **Required** for \
             `oauth2`; otherwise it replaces the preset's.",
            "Providers of OAuth 2.0: the endpoint that lists a person's email addresses, as objects \
             with `email`, `primary` and `verified`. With it, an email address in the user \
             endpoint's answer is ignored. It replaces the preset's.",
        ];
        let mut endpoints = ENDPOINTS.iter().zip(docs).map(|(name, doc)| {
            let preset = self.filled.as_ref().and_then(|filled| filled.addresses.get(name));
            let key = key(name, doc)
                .default_from("the preset's", preset.map(String::as_str))
                .forbidden(selected.unless_oauth2());
            s.text(key, "URL", rules::endpoint)
        });
        let mut next = || endpoints.next().flatten();
        let (authorization, token, user, emails) = (next(), next(), next(), next());
        Some(OAuth2Endpoints { authorization: authorization?, token: token?, user: user?, emails })
    }
}

/// Reads the parameter of this name.
fn parameter(s: &mut Section<'_>, selected: SelectedPreset, name: &'static str) -> Option<String> {
    let parameter = selected.0.and_then(|preset| preset.parameter(name));
    let key = key(name, meanings(name))
        .forbidden(selected.unless(|preset| preset.parameter(name).is_some()));
    let key = match parameter.and_then(|parameter| parameter.default) {
        Some(default) => key.default_from("the preset's", Some(default)),
        None => key.optional("the preset's"),
    };
    // Of an unknown preset nothing is known, and nothing more is said.
    let kind = parameter.map_or(ParameterKind::Text, |parameter| parameter.kind);
    let rule = |text: &str| {
        let value = match kind {
            ParameterKind::Domain => rules::domain_name(text),
            ParameterKind::Tenant => tenant(text),
            ParameterKind::Host => rules::host(text),
            ParameterKind::UrlPart => rules::url_part(text),
            ParameterKind::Url | ParameterKind::Text => rules::non_empty(text),
        }?;
        match parameter {
            Some(parameter) if !kind.allows(&value) => Err(invalid(
                "This has characters that cannot stand here.",
                format!("write {}", parameter.meaning),
            )),
            _ => Ok(value),
        }
    };
    s.text(key, described(name), rule)
}

/// The type of a parameter's values, for the reference: that of its first preset.
fn described(name: &str) -> &'static str {
    match Preset::ALL.iter().find_map(|preset| preset.parameter(name)).map(|p| p.kind) {
        Some(ParameterKind::Domain) => "domain name",
        Some(ParameterKind::Tenant) => "GUID, `common`, `organizations`",
        _ => "text",
    }
}

/// The meanings of a parameter, one for each preset that has it.
fn meanings(name: &str) -> String {
    let meaning = |preset: &Preset| {
        let parameter = preset.parameter(name)?;
        let default = match parameter {
            Parameter { default: Some(default), .. } => format!(" (default `{default}`)"),
            Parameter { required: true, .. } => " (**required**)".to_owned(),
            Parameter { .. } => String::new(),
        };
        Some(format!("`{}`{default}: {}.", preset.name, parameter.meaning))
    };
    Preset::ALL.iter().filter_map(meaning).collect::<Vec<_>>().join(" ")
}

/// Reads the issuer; the preset's applies where none is set.
fn issuer(s: &mut Section<'_>, filled: Option<&FilledPreset>) -> Option<String> {
    let preset = filled.and_then(|filled| filled.addresses.get("issuer"));
    s.text(
        key(
            "issuer",
            "The provider's issuer identifier, compared character for character: exactly the \
             `issuer` in its `/.well-known/openid-configuration`. **Required** for `oidc`. **Required** \
             for `oauth2`, where it is the issuer in people's identities and must never change. \
             With another preset only for a provider at a custom domain.",
        )
        .default_from("the preset's", preset.map(String::as_str)),
        "URL",
        rules::issuer,
    )
}

/// Whether every required parameter is set; reports those that are not.
fn nothing_is_missing(s: &mut Section<'_>, preset: &Preset) -> bool {
    // An issuer or endpoint that is set takes the place of its pattern, and of what that needs.
    let mut patterns = preset.address_patterns();
    patterns.retain(|(key, _)| !s.is_given(key));
    let is_needed = |parameter: &&Parameter| {
        let placeholder = parameter.placeholder();
        parameter.required && patterns.iter().any(|(_, pattern)| pattern.contains(&placeholder))
    };
    let mut is_complete = true;
    for Parameter { name, meaning, .. } in preset.parameters.iter().filter(is_needed) {
        if !s.is_given(name) {
            s.missing(name, format!("add {name} = \"…\": {meaning}"));
            is_complete = false;
        }
    }
    is_complete
}

fn tenant(text: &str) -> Result<String, Invalid> {
    if SHARED_TENANTS.contains(&text) {
        return Ok(text.to_owned());
    }
    if text == "consumers" {
        let problem = "Personal accounts are in a tenant of their own, which has an id.";
        return Err(invalid(problem, "write \"9188040d-6c67-4c5b-b112-36a304b66dad\""));
    }
    rules::guid(text).map_err(|Invalid { problem, .. }| {
        let fix = "write its id, a GUID, and not its domain name; or \"common\" or \
                   \"organizations\" with a list of tenants";
        invalid(problem, fix)
    })
}
