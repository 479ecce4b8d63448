//! `[roles]`: who gets which roles.

use mintgate_domain::model::ProviderId;
use mintgate_domain::{OnLookupFailure, RoleCondition, RoleRule};

use crate::settings::key::key;
use crate::settings::kinds::not_among;
use crate::settings::mistakes::flaw;
use crate::settings::reader::Section;
use crate::settings::rules;
use crate::settings::types::{RoleLookupSettings, RoleSettings};

const CONDITIONS: [&str; 4] = ["equals", "in", "matches", "domain"];

/// Reads `[roles]`; `providers` are the ids that rules may name.
pub(in crate::settings) fn roles(
    s: &mut Section<'_>,
    providers: &[String],
) -> Option<RoleSettings> {
    let default = s.list(
        key(
            "default",
            "For everybody who signs in. With none, only those a rule lets in may come in.",
        )
        .or(["user"]),
        "list of roles",
        rules::role,
    );
    let at_refresh = s.choice(
        key(
            "at_refresh",
            "`keep`: a session keeps the roles it was opened with. `evaluate`: every refresh decides \
             them anew, from this configuration, what the rules gave at the sign-in (or when the \
             provider was last asked), what is granted in the store, and the lookup.",
        )
        .or("keep"),
        &[("keep", false), ("evaluate", true)],
    );
    let rules = s.tables(
        "roles.rules",
        "In addition, each rule grants roles to those whose claim satisfies its one condition: \
         `equals`, `in`, `matches` or `domain`. In the environment: all rules at once, as a TOML \
         or JSON list in `MINTGATE__ROLES__RULES`.",
        |s| rule(s, providers),
    );
    let lookup = s.section(
        "roles.lookup",
        "Your own user system, asked over HTTP for more roles; not at all without `url`.",
        lookup,
    );
    Some(RoleSettings { default: default?, rules: rules?, at_refresh: at_refresh?, lookup })
}

/// Reads `[roles.lookup]`; `None` if it is not wanted, or if there is a mistake.
fn lookup(s: &mut Section<'_>) -> Option<RoleLookupSettings> {
    let unused = (!s.is_given("url")).then(|| {
        let fix = "add url = \"https://users.example.com/roles\", or remove it";
        flaw("Without url nobody is asked for roles.", fix)
    });
    let url = s.text(
        key("url", "Where roles are asked for: `https`, or `http` on a loopback host.")
            .or_nothing("none: nobody is asked"),
        "URL",
        rules::web_address,
    );
    let key = |name, doc| key(name, doc).barred(unused.clone());
    let token = s.text_or_file(
        key("token", "The bearer token sent along.").secret(),
        "text",
        rules::bearer_token,
    );
    let timeout =
        s.millis(key("timeout_ms", "How long it may take to answer.").or(2000), 1..=30_000);
    let cache = s.seconds(
        key("cache_secs", "How long an answer is remembered; 0: not at all.").or(60),
        0..=86_400,
    );
    let on_failure = s.choice(
        key(
            "on_failure",
            "Where it does not answer. `refuse`: the sign-in or refresh fails with \
             `ROLES_UNAVAILABLE`, and can be tried again. `ignore`: it goes on without those roles, \
             a refresh with the roles the session has.",
        )
        .or("refuse"),
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
        key("provider", "Only for sign-ins with this provider.").or_nothing("any provider"),
        "provider id",
        |id| {
            if providers.iter().any(|known| known == id) {
                return Ok(ProviderId::new(id));
            }
            let names: Vec<&str> = providers.iter().map(String::as_str).collect();
            Err(match names.as_slice() {
                [] => flaw("No provider is configured.", "configure it, or remove this key"),
                names => not_among(id, names),
            })
        },
    );
    let claim = s.text(
        key(
            "claim",
            "The provider's claim: its whole name, or a path with dots (`realm_access.roles`). \
             Of a list, one element is enough.",
        )
        .required("claim = \"groups\""),
        "claim path",
        rules::non_empty,
    );
    let given = CONDITIONS.into_iter().filter(|name| s.is_given(name)).count();
    let equals = s.text(
        key("equals", "The claim is exactly this.").or_nothing("one of the four"),
        "text",
        |text| Ok(RoleCondition::Equals(text.to_owned())),
    );
    let within = s
        .list(
            key("in", "The claim is one of these.").or_nothing("one of the four"),
            "list of texts",
            rules::non_empty,
        )
        .map(RoleCondition::In);
    let matches = s.text(
        key("matches", "The claim matches this regular expression as a whole.")
            .or_nothing("one of the four"),
        "regular expression",
        |pattern| {
            RoleCondition::matching(pattern).map_err(|e| {
                // The library draws the place under the pattern; its last line says what is wrong.
                let why = e.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let problem = format!("This is not a regular expression: {why}.");
                flaw(problem, "correct it, or put \\\\ before the character to mean it literally")
            })
        },
    );
    let domain = s.text(
        key("domain", "The claim is an email address at this domain.")
            .or_nothing("one of the four"),
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
            s.blame(extra, flaw(problem, "keep one, and write a second rule for the other"));
        }
    }
    let grant = s.non_empty_list(
        key("grant", "The roles granted.").required("grant = [\"admin\"]"),
        "list of roles",
        "[\"admin\"]",
        rules::role,
    );
    let condition = equals.or(within).or(matches).or(domain);
    Some(RoleRule { provider, claim: claim?, condition: condition?, grant: grant? })
}
