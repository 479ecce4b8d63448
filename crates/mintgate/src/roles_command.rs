//! `mintgate roles`: shows which roles a person with certain claims gets, and why.

#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::PathBuf;

use mintgate_admin::{NoSuchProvider, RolesAnswer};
use mintgate_domain::RolePolicy;
use mintgate_domain::model::ProviderId;
use mintgate_identity_openid::read_claims_file;

use crate::settings::{RoleSettings, UserSettings, nearest};

/// The subcommands of `mintgate roles`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum RolesCommand {
    /// Say which rule gives which role to somebody with these claims. The exit code is 3 if there is
    /// no role, and access would be denied.
    Test {
        /// The id of the provider that the claims come from.
        #[arg(long, value_name = "ID")]
        provider: String,
        /// A file with the claims: the payload of an ID token, or the answer of the userinfo endpoint,
        /// as a JSON object of at most 1 MiB; - for standard input.
        #[arg(long, value_name = "FILE")]
        claims: PathBuf,
    },
}

impl RolesCommand {
    /// Explains which roles the person gets. `providers` are the ids of the configured providers; the
    /// claims are read from `stdin` where the command says so.
    ///
    /// # Errors
    /// [`NoSuchProvider`]; or the claims cannot be read or are not a JSON object.
    pub fn run(
        &self,
        (users, roles): &(UserSettings, RoleSettings),
        providers: &[String],
        stdin: impl Read,
    ) -> anyhow::Result<RolesAnswer> {
        let Self::Test { provider, claims } = self;
        let provider = known_provider(providers, provider)?;
        let claims = read_claims_file(claims, stdin)?;
        let policy = RolePolicy { default: roles.default.clone(), rules: roles.rules.clone() };
        Ok(RolesAnswer(policy.explain(&users.admission, &provider, &claims)))
    }
}

fn known_provider(known: &[String], id: &str) -> Result<ProviderId, NoSuchProvider> {
    if known.iter().any(|known| known == id) {
        return Ok(ProviderId::new(id));
    }
    let near = nearest(id, known.iter().map(String::as_str)).map(str::to_owned);
    Err(NoSuchProvider { id: id.to_owned(), near, known: known.to_vec() })
}
