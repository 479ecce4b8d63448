//! What differs between the configuration that runs and a later one, and what of that a running service
//! takes over.

use crate::types::Settings;

/// The sections and keys that a running service takes over. All else is used at the start alone.
const TAKEN_OVER: [&str; 19] = [
    "providers",
    "clients",
    "gateways",
    "roles",
    "users",
    "cors",
    "pages",
    "server.trusted_proxies",
    "log.filter",
    "limits.logins_per_minute",
    "limits.sign_ins_per_minute",
    "limits.refused_sign_ins_per_minute",
    "limits.provider_sign_ins_per_minute",
    "limits.refused_refreshes_per_minute",
    "limits.refused_logout_tokens_per_minute",
    "limits.session_refreshes_per_minute",
    "limits.refused_admin_tokens_per_minute",
    "limits.exempt",
    "limits.shared",
];

/// The keys whose values differ between two configurations, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Those that a running service takes over. A secret, or a file at the same path, may have changed
    /// besides.
    pub taken_over: Vec<String>,
    /// Those that need a restart.
    pub need_restart: Vec<String>,
}

impl Settings {
    /// What differs in `next`.
    pub fn changes(&self, next: &Self) -> Changes {
        let mut changed = next.digests().differing(&self.digests());
        // Secrets are masked in the lines.
        for (is_same, section) in [
            (self.store == next.store, "store"),
            (self.keys == next.keys, "keys"),
            (self.audit == next.audit, "audit"),
            (self.admin == next.admin, "admin"),
        ] {
            if !is_same && !changed.iter().any(|name| is_in(name, section)) {
                changed.push(format!("{section} (a secret)"));
            }
        }
        changed.sort_unstable();
        let (taken_over, need_restart) =
            changed.into_iter().partition(|name| TAKEN_OVER.iter().any(|it| is_in(name, it)));
        Changes { taken_over, need_restart }
    }

    /// The keys whose values come from an environment variable, as `key (VARIABLE)`. A file that changes
    /// such a key changes nothing.
    pub fn from_environment(&self) -> Vec<String> {
        let (mut section, mut names) = (String::new(), vec![]);
        for line in self.effective.lines() {
            if line.starts_with('[') {
                line.trim_matches(['[', ']']).clone_into(&mut section);
            } else if let Some((key, rest)) = line.split_once(" = ")
                && let Some((_, origin)) = rest.rsplit_once("  # ")
                && origin.starts_with(crate::CONVENTIONS.env_prefix)
            {
                names.push(format!("{section}.{key} ({origin})"));
            }
        }
        names
    }
}

/// Whether a key is this one or in this section; the tables of a list are numbered.
fn is_in(name: &str, key_or_section: &str) -> bool {
    let rest = name.strip_prefix(key_or_section);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
