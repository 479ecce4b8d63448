//! The back ends that may ask about sessions, and say for whom they ask.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::model::ProviderId;
use crate::{SecretText, TokenHash};

/// A back end that may ask about sessions, and authenticates by a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The client's id.
    pub id: String,
    /// The hash of the client's secret, which has 256 random bits.
    pub secret_hash: TokenHash,
    /// The providers whose own access tokens the client gets.
    pub provider_tokens: Vec<ProviderId>,
    /// The client sees the access tokens that are for this audience; `None` lets it see none.
    pub audience: Option<String>,
    /// Whether the client sees refresh tokens.
    pub refresh_tokens: bool,
    /// The key by which the client signs for whom it asks; `None` if it may not say so.
    pub address_key: Option<SecretText>,
}

impl Client {
    /// Whether the client sees an access token that is for this audience.
    pub(crate) fn sees(&self, audience: &[String]) -> bool {
        self.audience.as_ref().is_some_and(|own| audience.contains(own))
    }
}

/// All configured clients; their ids are unique.
#[derive(Debug, Clone, Default)]
pub struct Clients(Vec<Client>);

impl Clients {
    /// Whether there is no client.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The client of this id, if this is its secret. An unknown id takes as long as a wrong secret.
    pub fn authenticate(&self, id: &str, secret: &SecretText) -> Option<&Client> {
        let shown = TokenHash::of(secret.expose());
        let client = self.0.iter().find(|client| client.id == id);
        let expected = client.map_or_else(|| TokenHash::from_bytes([0; 32]), |one| one.secret_hash);
        let is_right = shown.same_in_constant_time(&expected);
        client.filter(|_| is_right)
    }

    /// The client of this id, if `mac` is the HMAC-SHA-256 of `signed` under its address key (HS256, RFC 7518
    /// §3.2).
    pub fn signer_of(&self, id: &str, signed: &[u8], mac: &[u8]) -> Option<&Client> {
        let client = self.0.iter().find(|client| client.id == id)?;
        let key = client.address_key.as_ref()?.expose();
        let expected = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?.chain_update(signed);
        expected.verify_slice(mac).ok().map(|()| client)
    }
}

impl FromIterator<Client> for Clients {
    fn from_iter<I: IntoIterator<Item = Client>>(clients: I) -> Self {
        Self(clients.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: &str, secret: &str) -> Client {
        let secret_hash = TokenHash::of(secret);
        Client {
            id: id.to_owned(),
            secret_hash,
            provider_tokens: vec![],
            audience: None,
            refresh_tokens: false,
            address_key: None,
        }
    }

    #[test]
    fn a_client_is_known_by_its_own_secret_alone() {
        let clients: Clients =
            [client("app", "s3cret"), client("jobs", "other")].into_iter().collect();
        let id = |id: &str, secret: &str| {
            clients.authenticate(id, &SecretText::new(secret)).map(|client| client.id.as_str())
        };
        assert_eq!(id("app", "s3cret"), Some("app"));
        assert_eq!(id("jobs", "other"), Some("jobs"));
        for (name, secret) in [
            ("app", "other"),
            ("app", ""),
            ("app", "s3cret "),
            ("APP", "s3cret"),
            ("", "s3cret"),
            ("nobody", "s3cret"),
        ] {
            assert_eq!(id(name, secret), None, "{name} {secret}");
        }
        assert!(Clients::default().authenticate("", &SecretText::new("")).is_none());
    }

    #[test]
    fn a_client_signs_with_its_own_address_key_alone() {
        let key = |text: &str| Some(SecretText::new(text));
        // RFC 4231 §4.3 (test case 2).
        let (signed, mac) = (
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        let mac: Vec<u8> =
            (0..32).map(|n| u8::from_str_radix(&mac[2 * n..2 * n + 2], 16).unwrap()).collect();
        let jefe = Client { address_key: key("Jefe"), ..client("jefe", "s") };
        let other = Client { address_key: key("other"), ..client("other", "s") };
        let clients: Clients = [jefe, other, client("none", "s")].into_iter().collect();
        let who = |id: &str, signed: &[u8], mac: &[u8]| {
            clients.signer_of(id, signed, mac).map(|client| client.id.as_str())
        };
        assert_eq!(who("jefe", signed, &mac), Some("jefe"));
        for id in ["other", "none", "nobody", ""] {
            assert_eq!(who(id, signed, &mac), None, "{id}");
        }
        assert_eq!(who("jefe", b"something else", &mac), None);
        assert_eq!(who("jefe", signed, &mac[..31]), None);
        assert_eq!(who("jefe", signed, &[]), None);
    }
}
