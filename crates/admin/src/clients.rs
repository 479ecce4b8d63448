//! `mintgate clients`: makes the credentials of back ends.

use mintgate_domain::ports::Entropy;
use serde::Serialize;

use crate::reply::Reply;
use crate::secret::NewSecret;

/// The subcommands of `mintgate clients`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ClientsCommand {
    /// Make a secret and an address key for a back end. Mintgate keeps the hash of the secret alone, which is
    /// shown this once.
    New {
        /// The client's id: 1 to 64 of a-z, 0-9, - and _.
        #[arg(value_name = "ID", default_value = "app", value_parser = client_id)]
        id: String,
        /// Print them and the secret's hash as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct NewClientBody<'a> {
    id: &'a str,
    secret: &'a str,
    secret_hash: &'a str,
    address_key: &'a str,
}

impl ClientsCommand {
    /// Carries the command out.
    pub fn run(&self, entropy: &(dyn Entropy + 'static)) -> Reply {
        let Self::New { id, json } = self;
        let NewSecret { text: secret, hash } = NewSecret::draw(entropy);
        let NewSecret { text: address_key, .. } = NewSecret::draw(entropy);
        let body =
            NewClientBody { id, secret: &secret, secret_hash: &hash, address_key: &address_key };
        Reply::done(*json, &body, || {
            format!(
                "The secret, which is shown this once:\n\n    {secret}\n\nThe lines for the configuration:\n\n\
                 [[clients]]\nid = \"{id}\"\nsecret_hash = \"{hash}\"\n\
                 provider_tokens = []    # ids of providers that have keep_access_token = true\n\
                 # audience = \"https://api.example.com\"    # one of tokens.audience, for /oauth2/introspect\n\
                 refresh_tokens = false\n\
                 # address_key = \"{address_key}\"    # signs X-Auth-Client-Address\n"
            )
        })
    }
}

fn client_id(text: &str) -> Result<String, &'static str> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("an id has 1 to 64 lower-case letters, digits, - and _")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_that_the_configuration_takes() {
        for id in ["app", "a-1_b"] {
            assert_eq!(client_id(id).as_deref(), Ok(id));
        }
        for id in ["", "App", "a b", "a\"", "é"] {
            assert!(client_id(id).is_err(), "{id}");
        }
    }
}
