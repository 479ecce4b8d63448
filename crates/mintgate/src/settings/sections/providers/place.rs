//! Where a provider is: what its preset's patterns are told, its issuer, its endpoints, its tenants.

use std::cell::Cell;
use std::collections::BTreeMap;

use mintgate_identity_openid::{
    Dialect, GraphGroups, IssuerRule, OAuth2Endpoints, Parameter, Preset, PresetError, PresetKind,
};
use url::Url;

use super::chosen::{Chosen, ENDPOINTS};
use crate::settings::key::{Key, key};
use crate::settings::mistakes::{Flaw, flaw};
use crate::settings::reader::Section;
use crate::settings::rules;
use crate::settings::source::Value;

/// The tenants behind which all of Entra's tenants are.
const SHARED_TENANTS: [&str; 2] = ["common", "organizations"];

/// Where a provider is.
pub(super) struct Place {
    /// What the patterns are told.
    values: BTreeMap<String, String>,
    /// The hosts among them that are asked by plain HTTP.
    plain_hosts: Vec<String>,
    /// The issuer, if it is well.
    pub(super) issuer: Option<String>,
    /// Whether that was written down in place of the pattern.
    is_issuer_given: bool,
    /// The tenants let in.
    tenants: Vec<String>,
    /// Whether nothing was wrong; no more is made of the values otherwise.
    is_sound: Cell<bool>,
}

impl Place {
    /// Reads the parameters, `issuer` and `tenants`.
    pub(super) fn read(s: &mut Section<'_>, chosen: Chosen) -> Self {
        let mut place = Self {
            values: BTreeMap::new(),
            plain_hosts: Vec::new(),
            issuer: None,
            is_issuer_given: s.is_given("issuer"),
            tenants: Vec::new(),
            is_sound: Cell::new(chosen.0.is_some_and(|preset| nothing_is_missing(s, preset))),
        };
        for name in parameter_names() {
            place.read_parameter(s, chosen, name);
        }
        place.read_issuer(s, chosen);
        place.read_tenants(s, chosen);
        place
    }

    fn read_parameter(&mut self, s: &mut Section<'_>, chosen: Chosen, name: &'static str) {
        let parameter = chosen.parameter(name);
        let key = key(name, meanings(name)).barred(chosen.unless(|preset| has(preset, name)));
        let key = with_default(key, parameter.and_then(|parameter| parameter.default));
        let is_given = s.is_given(name);
        let in_address = chosen.0.is_some_and(|preset| is_in_address(preset, name));
        let value = match name {
            "hosted_domain" => s.text(key, "domain name", rules::domain_name),
            "tenant" => s.text(key, "GUID, `common`, `organizations`", tenant),
            _ if in_address => {
                let part = s.text(key, "text", rules::address_part);
                part.map(|(host, is_plain)| {
                    self.plain_hosts.extend(is_plain.then(|| host.clone()));
                    host
                })
            }
            _ => s.text(key, "text", rules::non_empty),
        };
        if value.is_none() && is_given {
            self.is_sound.set(false);
        }
        self.values.extend(value.map(|value| (name.to_owned(), value)));
    }

    fn read_issuer(&mut self, s: &mut Section<'_>, chosen: Chosen) {
        let is_parameter = chosen.parameter("issuer").is_some();
        let pattern = chosen.0.filter(|_| !self.is_issuer_given && !is_parameter);
        let derived = pattern.and_then(|preset| self.made(s, |values| preset.issuer(values)));
        let derived = derived.map(|issuer| self.respelt(&issuer));
        self.issuer = s.text(
            key(
                "issuer",
                "Its issuer identifier, kept character for character: exactly the `issuer` of its \
                 `/.well-known/openid-configuration`. **Required** for `oidc`, and for `oauth2`, \
                 where it is what people's identities name as their issuer, the same for ever. \
                 Elsewhere the preset knows it, and a custom domain takes its place.",
            )
            .or_derived("the preset's", derived.as_deref().map(Value::from)),
            "URL",
            rules::issuer,
        );
        if self.issuer.is_none() {
            self.is_sound.set(false);
        }
        if is_parameter {
            self.values.extend(self.issuer.clone().map(|issuer| ("issuer".to_owned(), issuer)));
        }
    }

    fn read_tenants(&mut self, s: &mut Section<'_>, chosen: Chosen) {
        let is_given = s.is_given("tenants");
        let has_tenants = |preset: &Preset| preset.tenant_template.is_some();
        let key = key(
            "tenants",
            "`entra` with the tenant `common` or `organizations`: the ids of the tenants whose \
             people are let in. Anybody can make a tenant, so there is no way to let in all.",
        )
        .barred(chosen.unless(has_tenants));
        let rule = rules::guid;
        let tenants = if is_given {
            let example = "[\"72f988bf-86f1-41af-91ab-2d7cd011db47\"]";
            s.non_empty_list(key, "list of GUIDs", example, rule)
        } else {
            s.list(key, "list of GUIDs", rule)
        };
        if !chosen.0.is_some_and(has_tenants) {
            return;
        }
        let tenant = self.values.get("tenant").map_or("", String::as_str);
        let is_shared = SHARED_TENANTS.contains(&tenant);
        if is_shared && !is_given {
            let fix = "add tenants = [\"…\"]: the ids of the tenants whose people are let in";
            s.missing("tenants", fix);
            self.is_sound.set(false);
        } else if !is_shared && tenants.is_some() && self.is_sound.get() {
            let problem = "This is for the tenants common and organizations alone.";
            let fix = "remove it, or write tenant = \"organizations\"";
            s.blame("tenants", flaw(problem, fix));
            self.is_sound.set(false);
        } else if is_given && tenants.is_none() {
            self.is_sound.set(false);
        }
        self.tenants = tenants.unwrap_or_default();
    }

    /// Reads the endpoints of a provider of OAuth 2.0, each of them the preset's if it is not given.
    pub(super) fn endpoints(
        &mut self,
        s: &mut Section<'_>,
        chosen: Chosen,
    ) -> Option<OAuth2Endpoints> {
        let docs = [
            "`oauth2`, and in place of the preset's: where people are sent to sign in.",
            "`oauth2`, and in place of the preset's: where codes are exchanged.",
            "`oauth2`, and in place of the preset's: where it says who somebody is.",
            "`oauth2`, and in place of the preset's: where it lists somebody's email addresses, as \
             objects with `email`, `primary` and `verified`; an address from elsewhere counts for \
             nothing then.",
        ];
        let [authorization, token, user, emails] = [0, 1, 2, 3].map(|index| {
            let name = ENDPOINTS[index];
            let filled = chosen.0.filter(|_| chosen.parameter(name).is_none()).and_then(|preset| {
                let endpoints = self.made(s, |values| preset.endpoints(values)).flatten()?;
                [
                    Some(endpoints.authorization),
                    Some(endpoints.token),
                    Some(endpoints.user),
                    endpoints.emails,
                ]
                .into_iter()
                .nth(index)?
            });
            let filled = filled.map(|url| Value::from(self.respelt(&url).as_str()));
            s.text(
                key(name, docs[index])
                    .or_derived("the preset's", filled)
                    .barred(chosen.unless_oauth2()),
                "URL",
                rules::endpoint,
            )
        });
        Some(OAuth2Endpoints { authorization: authorization?, token: token?, user: user?, emails })
    }

    /// What the preset knows of the provider's dialect.
    pub(super) fn dialect(&self, s: &mut Section<'_>, preset: &Preset) -> Option<Dialect> {
        let mut dialect = self.made(s, |values| preset.dialect(values, &self.tenants))?;
        if let IssuerRule::Tenants { template, .. } = &mut dialect.issuer {
            *template = self.template(s, template)?;
        }
        Some(match self.values.get("hosted_domain") {
            Some(domain) => dialect.with_hosted_domain(domain),
            None => dialect,
        })
    }

    /// What the shared discovery document names as the issuer. Where the issuer is given, it is that
    /// one with the tenant taken out.
    fn template(&self, s: &mut Section<'_>, pattern: &str) -> Option<String> {
        if !self.is_issuer_given {
            return Some(self.respelt(pattern));
        }
        let issuer = self.issuer.as_ref()?;
        let segment = format!("/{}/", self.values.get("tenant")?);
        if issuer.matches(&segment).count() == 1 {
            return Some(issuer.replacen(&segment, "/{tenantid}/", 1));
        }
        let problem = format!("The issuer of this tenant has {segment} in it, once.");
        s.blame("issuer", flaw(problem, "correct it, or leave it to the preset"));
        None
    }

    /// Where groups are asked for.
    pub(super) fn graph_groups(&self, s: &mut Section<'_>, preset: &Preset) -> Option<GraphGroups> {
        let groups = self.made(s, |values| preset.graph_groups(values)).flatten()?;
        let endpoint = Url::parse(&self.respelt(groups.endpoint.as_str())).ok()?;
        Some(GraphGroups { endpoint, ..groups })
    }

    /// What the preset says besides in authorization requests.
    pub(super) fn authorization_parameters(
        &self,
        s: &mut Section<'_>,
        preset: &Preset,
    ) -> Option<Vec<(String, String)>> {
        self.made(s, |values| preset.authorization_parameters(values))
    }

    /// What is made of the values; none if one of them is wrong, and that is told.
    fn made<T>(
        &self,
        s: &mut Section<'_>,
        fill: impl FnOnce(&BTreeMap<String, String>) -> Result<T, PresetError>,
    ) -> Option<T> {
        if !self.is_sound.get() {
            return None;
        }
        let made = fill(&self.values).map_err(|error| tell(s, error)).ok();
        self.is_sound.set(made.is_some());
        made
    }

    /// The URL with `http` where its host was written so.
    fn respelt(&self, url: &str) -> String {
        let rest = url.strip_prefix("https://").unwrap_or_default();
        let is_plain = self.plain_hosts.iter().any(|host| {
            rest.strip_prefix(host.as_str())
                .is_some_and(|path| path.is_empty() || path.starts_with('/'))
        });
        if is_plain { format!("http://{rest}") } else { url.to_owned() }
    }
}

/// The parameters of all presets, each once, but for those that are read elsewhere.
fn parameter_names() -> Vec<&'static str> {
    let mut names = Vec::new();
    for parameter in Preset::ALL.iter().flat_map(|preset| preset.parameters) {
        let name = parameter.name;
        if name != "issuer" && !ENDPOINTS.contains(&name) && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn has(preset: &Preset, name: &str) -> bool {
    preset.parameters.iter().any(|parameter| parameter.name == name)
}

/// What a parameter means to each preset that has it.
fn meanings(name: &str) -> String {
    let meaning = |preset: &Preset| {
        let parameter = preset.parameters.iter().find(|parameter| parameter.name == name)?;
        let default = match parameter {
            Parameter { default: Some(default), .. } => format!(" (default `{default}`)"),
            Parameter { required: true, .. } => " (**required**)".to_owned(),
            Parameter { .. } => String::new(),
        };
        Some(format!("`{}`{default}: {}.", preset.name, parameter.meaning))
    };
    Preset::ALL.iter().filter_map(meaning).collect::<Vec<_>>().join(" ")
}

fn with_default(key: Key, default: Option<&'static str>) -> Key {
    match default {
        Some(default) => key.or_derived("the preset's", Some(Value::from(default))),
        None => key.or_nothing("the preset's"),
    }
}

/// Tells of every parameter that is needed and not given.
fn nothing_is_missing(s: &mut Section<'_>, preset: &Preset) -> bool {
    let mut patterns = Vec::new();
    if !s.is_given("issuer") {
        patterns.push(preset.issuer);
    }
    if let PresetKind::OAuth2(user) = preset.kind {
        let urls = [user.authorization, user.token, user.user];
        patterns.extend(
            ENDPOINTS
                .into_iter()
                .zip(urls)
                .filter(|(key, _)| !s.is_given(key))
                .map(|(_, pattern)| pattern),
        );
    }
    let missing = |parameter: &&Parameter| {
        let placeholder = format!("{{{}}}", parameter.name);
        parameter.required && patterns.iter().any(|pattern| pattern.contains(&placeholder))
    };
    let mut is_complete = true;
    for parameter in preset.parameters.iter().filter(missing) {
        if !s.is_given(parameter.name) {
            tell(s, PresetError::Missing(parameter.name, parameter.meaning));
            is_complete = false;
        }
    }
    is_complete
}

/// Whether the parameter becomes a part of an address.
fn is_in_address(preset: &Preset, name: &str) -> bool {
    let placeholder = format!("{{{name}}}");
    let mut patterns = vec![preset.issuer];
    if let PresetKind::OAuth2(user) = preset.kind {
        patterns.extend([user.authorization, user.token, user.user]);
        patterns.extend(user.emails);
    }
    patterns.extend(preset.tenant_template);
    patterns.extend(preset.group_endpoint);
    patterns.into_iter().any(|pattern| pattern.contains(&placeholder) && pattern != placeholder)
}

fn tenant(text: &str) -> Result<String, Flaw> {
    if SHARED_TENANTS.contains(&text) {
        return Ok(text.to_owned());
    }
    if text == "consumers" {
        let problem = "Personal accounts are in a tenant of their own, which has an id.";
        return Err(flaw(problem, "write \"9188040d-6c67-4c5b-b112-36a304b66dad\""));
    }
    rules::guid(text).map_err(|Flaw { problem, .. }| {
        let fix = "write its id, a GUID, and not its domain name; or \"common\" or \
                   \"organizations\" with a list of tenants";
        flaw(problem, fix)
    })
}

/// Tells what a preset says is wrong.
fn tell(s: &mut Section<'_>, error: PresetError) {
    match error {
        PresetError::Missing(name, meaning) => {
            s.missing(name, format!("add {name} = \"…\": {meaning}"));
        }
        PresetError::Invalid(name, meaning) => {
            let problem = "This has characters that cannot stand here.";
            s.blame(name, flaw(problem, format!("write {meaning}")));
        }
        other => {
            let problem = format!("It cannot be used so: {other}.");
            s.blame("preset", flaw(problem, "compare its keys with docs/configuration.md"));
        }
    }
}
