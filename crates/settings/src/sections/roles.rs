//! `[roles]`: which roles people get.

use mintgate_config_reader::{Section, invalid, key, unknown_name};
use mintgate_domain::model::ProviderId;
use mintgate_domain::{OnLookupFailure, RoleCondition, RoleRule};

use crate::rules;
use crate::types::{RoleLookupSettings, RoleSettings};

const CONDITIONS: [&str; 4] = ["equals", "in", "matches", "domain"];

/// Reads the section `[roles]`. `providers` are the ids that rules may name, valid or not.
pub(crate) fn roles(s: &mut Section<'_>, providers: &[String]) -> Option<RoleSettings> {
    let default = s.list(
        key(
            "default",
            "The roles of everybody who signs in. With an empty list, only a person who gets a role \
             from a rule, from the store or from the lookup may sign in.",
        )
        .default(["user"]),
        "list of roles",
        rules::role,
    );
    let at_refresh = s.choice(
        key(
            "at_refresh",
            "`keep`: a session keeps the roles that it was opened with. `evaluate`: every refresh decides \
             the roles again, from `roles.default`, the roles that rules granted at the sign-in (or \
             when the provider was last asked), the roles granted in the store, and the lookup.",
        )
        .default("keep"),
        &[("keep", false), ("evaluate", true)],
    );
    let rules = s.tables(
        "roles.rules",
        "Each rule grants roles to the people whose claim satisfies its one condition: `equals`, \
         `in`, `matches` or `domain`. Environment: all rules at once, as a TOML or JSON list in \
         `MINTGATE__ROLES__RULES`.",
        |s| rule(s, providers),
    );
    let lookup = s.section(
        "roles.lookup",
        "Your own user system, which Mintgate asks over HTTP for further roles, if `url` is set.",
        lookup,
    );
    Some(RoleSettings { default: default?, rules: rules?, at_refresh: at_refresh?, lookup })
}

/// Reads the section `[roles.lookup]`; `None` if `url` is not set, or if there is a mistake.
fn lookup(s: &mut Section<'_>) -> Option<RoleLookupSettings> {
    let unused = (!s.is_given("url")).then(|| {
        let fix = "add url = \"https://users.example.com/roles\", or remove it";
        invalid("Without url nobody is asked for roles.", fix)
    });
    let url = s.text(
        key(
            "url",
            "The address that Mintgate asks for a person's roles: `https`, or `http` on a loopback \
             host.",
        )
        .optional("none: no lookup"),
        "URL",
        rules::web_address,
    );
    let key = |name, doc| key(name, doc).forbidden(unused.clone());
    let token = s.text_or_file(
        key("token", "The bearer token of the requests.").secret(),
        "text",
        rules::bearer_token,
    );
    let timeout = s.millis(
        key("timeout_ms", "The longest that an answer may take, in milliseconds.").default(2000),
        1..=30_000,
    );
    let cache = s.seconds(
        key("cache_secs", "How long an answer is cached, in seconds. 0 disables the cache.")
            .default(60),
        0..=86_400,
    );
    let on_failure = s.choice(
        key(
            "on_failure",
            "What happens if the user system does not answer. `refuse`: the sign-in or refresh fails \
             with `ROLES_UNAVAILABLE`, and can be tried again. `ignore`: a sign-in goes on without \
             these roles, a refresh with the roles that the session has.",
        )
        .default("refuse"),
        &[("refuse", OnLookupFailure::Refuse), ("ignore", OnLookupFailure::Ignore)],
    );
    Some(RoleLookupSettings {
        url: url?,
        token,
        timeout: timeout?,
        cache: cache?,
        on_failure: on_failure?,
    })
}

fn rule(s: &mut Section<'_>, providers: &[String]) -> Option<RoleRule> {
    let provider = s.text(
        key("provider", "The id of the provider whose sign-ins the rule is for.")
            .optional("any provider"),
        "provider id",
        |id| {
            if providers.iter().any(|known| known == id) {
                return Ok(ProviderId::new(id));
            }
            let names: Vec<&str> = providers.iter().map(String::as_str).collect();
            Err(match names.as_slice() {
                [] => invalid("No provider is configured.", "configure it, or remove this key"),
                names => unknown_name(id, names),
            })
        },
    );
    let claim = s.text(
        key(
            "claim",
            "The provider's claim that the rule looks at: its whole name, or a path with dots such as \
             `realm_access.roles`. Where the claim is a list, one element that satisfies the \
             condition is enough.",
        )
        .required("claim = \"groups\""),
        "claim path",
        rules::non_empty,
    );
    let given = CONDITIONS.into_iter().filter(|name| s.is_given(name)).count();
    let equals = s.text(
        key("equals", "Satisfied if the claim is exactly this text.").optional("one of the four"),
        "text",
        |text| Ok(RoleCondition::Equals(text.to_owned())),
    );
    let within = s
        .list(
            key("in", "Satisfied if the claim is one of these texts.").optional("one of the four"),
            "list of texts",
            rules::non_empty,
        )
        .map(RoleCondition::In);
    let matches = s.text(
        key("matches", "Satisfied if the whole claim matches this regular expression.")
            .optional("one of the four"),
        "regular expression",
        |pattern| {
            RoleCondition::matching(pattern).map_err(|e| {
                // The library's message shows the pattern first; its last line says what is wrong.
                let why = e.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let problem = format!("This is not a regular expression: {why}.");
                invalid(
                    problem,
                    "correct it, or put \\\\ before the character to mean it literally",
                )
            })
        },
    );
    let domain = s.text(
        key("domain", "Satisfied if the claim is an email address at this domain.")
            .optional("one of the four"),
        "domain name",
        |text| rules::domain_name(text).map(RoleCondition::Domain),
    );
    match given {
        1 => {}
        0 => s.missing("equals", "add one condition: equals, in, matches or domain"),
        _ => {
            let extra =
                CONDITIONS.into_iter().rfind(|name| !s.is_default(name)).unwrap_or("equals");
            let problem = "A rule has one condition, and this one has several.";
            s.reject(extra, invalid(problem, "keep one, and write a second rule for the other"));
        }
    }
    let grant = s.non_empty_list(
        key("grant", "The roles that the rule grants.").required("grant = [\"admin\"]"),
        "list of roles",
        "[\"admin\"]",
        rules::role,
    );
    let condition = equals.or(within).or(matches).or(domain);
    Some(RoleRule { provider, claim: claim?, condition: condition?, grant: grant? })
}
