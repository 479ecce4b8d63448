//! `docs/configuration.md`, made from the declarations of the keys.

use mintgate_identity_openid::Proxies;

use crate::{CONVENTIONS, settings};

/// The least that production needs; a test loads it.
pub(crate) const EXAMPLE: &str = r#"[server]
public_url = "https://auth.example.com"        # as browsers and services reach it
[cors]
allowed_origins = ["https://app.example.com"]  # the pages that call with cookies
[[providers]]
id = "corp"                                    # `provider` in requests
issuer = "https://idp.example.com"             # exactly as its discovery document says
client_id = "mintgate"
client_secret_file = "/run/secrets/corp"       # or MINTGATE__PROVIDERS__CORP__CLIENT_SECRET
redirect_uris = ["https://app.example.com/callback"]
"#;

/// A configuration in which each list of tables has one element.
const EVERY_SECTION: &str = "[[admin.tokens]]\n[[roles.rules]]\n[[providers]]\n[[clients]]\n";

const OPENING: &str = "\
<!-- Made from the code by `mintgate config reference`; a test compares. -->

# Configuration

Mintgate reads one TOML file: the one that `--config` or `MINTGATE_CONFIG` names, else
`./mintgate.toml`, if it exists. It checks everything at the start and reports all mistakes at once,
each with its place and its remedy. An unknown key is a mistake. `mintgate config check` checks and
does nothing else; `mintgate config print` shows the values in force and where each comes from.
`mintgate migrate`, `mintgate keys`, `mintgate users`, `mintgate sessions` and `mintgate roles test` check
only the sections they need.

The least that production needs:

";

const AFTER_EXAMPLE: &str = "
**Environment.** An environment variable overrides the file: `MINTGATE__SECTION__KEY`, for example
`MINTGATE__SERVER__LISTEN`; for a provider `MINTGATE__PROVIDERS__ID__KEY`, with the provider's id in
upper case and `_` for `-`. A list is written with commas between its elements, or in TOML or JSON; a
table in TOML or JSON. `MINTGATE__PROVIDERS__CORP__ID=corp` creates a provider that is not in the
file. A `MINTGATE__…` variable that sets nothing is a mistake.

**Secrets.** A key with a `…_file` beside it is set by one of the two, not by both. No message, and no
output of `config print`, shows secrets or the passwords in URLs.
";

/// The reference of all keys, in Markdown.
pub fn reference() -> String {
    let keys =
        CONVENTIONS.reference(EVERY_SECTION, |root| settings(root, &[], &Ok(Proxies::default())));
    format!("{OPENING}```toml\n{EXAMPLE}```\n{AFTER_EXAMPLE}{keys}")
}
