//! `mintgate admin`: makes tokens of the admin API.

use mintgate_domain::ports::Entropy;
use serde::Serialize;

use crate::json::RefusalBody;
use crate::reply::Reply;
use crate::secret::NewSecret;

/// The subcommands of `mintgate admin`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum AdminCommand {
    /// Make a token of the admin API. Mintgate keeps its hash alone: the token is shown this once.
    NewToken {
        /// What the log calls whoever uses the token: 1 to 64 characters.
        name: String,
        /// What the token is good for.
        #[arg(long, value_name = "SCOPE", default_value = "read")]
        scope: Scope,
        /// Print the token and its hash as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To look at people and sessions.
    Read,
    /// To change and delete them too.
    Write,
}

#[derive(Serialize)]
struct NewTokenBody<'a> {
    name: &'a str,
    scope: Scope,
    token: &'a str,
    hash: &'a str,
}

impl AdminCommand {
    /// Carries the command out.
    pub fn run(&self, entropy: &(dyn Entropy + 'static)) -> Reply {
        let Self::NewToken { name, scope, json } = self;
        if !(1..=64).contains(&name.len()) || name.contains(char::is_control) {
            let message = "a name has 1 to 64 characters; no token was made".to_owned();
            let body = RefusalBody { error: "invalid", message, candidates: vec![] };
            return Reply::not_done(*json, &body, "");
        }
        let NewSecret { text: token, hash } = NewSecret::draw(entropy);
        let body = NewTokenBody { name, scope: *scope, token: &token, hash: &hash };
        Reply::done(*json, &body, || {
            let scope = match scope {
                Scope::Read => "read",
                Scope::Write => "write",
            };
            // A JSON string is a basic string of TOML.
            let name = serde_json::Value::from(name.as_str());
            format!(
                "The token, which is shown this once:\n\n    {token}\n\nThe lines for the configuration:\n\n\
                 [[admin.tokens]]\nname = {name}\nhash = \"{hash}\"\nscope = \"{scope}\"\n"
            )
        })
    }
}
