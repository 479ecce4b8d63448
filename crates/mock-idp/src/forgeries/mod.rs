//! A catalogue of forged and broken ID tokens, every one of which a relying party must refuse.
//!
//! Tests of the verifier alone and tests of the whole service use this one list. Each entry is a genuine
//! ID token of this mock except for the one fault in its name (OIDC Core §2 and §3.1.3.7, RFC 7515,
//! RFC 7519, RFC 8725). A test must also check that the genuine token is accepted: a verifier that
//! refuses everything would pass otherwise.
//!
//! The tokens are for the default client (see [`SignIn`](crate::SignIn)), and the relying party must
//! expect RS256.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use mintgate_mock_idp::forgeries::{Kind, Target, forgeries};
//! use mintgate_mock_idp::{MockConfig, MockIdp, SignIn};
//!
//! let idp = MockIdp::start(MockConfig::default()).await?;
//! let target = Target { issuer: idp.issuer(), nonce: "n-0S6_WzA2Mj", attacker_jwks: "" };
//! for kind in Kind::ALL {
//!     let nonce = kind.asks_nonce().then(|| target.nonce.to_owned());
//!     let sign_in = SignIn { nonce, ..SignIn::default() };
//!     for forgery in forgeries(kind, &target) {
//!         let token = idp.control().issue_id_token(&sign_in, &forgery.recipe);
//!         // … must be refused.
//!     }
//! }
//! # Ok(()) }
//! ```

mod claims;
mod signatures;

use serde_json::{Map, Value};

use crate::ambient::now_secs;
use crate::id_token::LIFE_SECS;
use crate::{IdTokenRecipe, SignWith};

/// Which part of a token is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `alg` is not the expected algorithm, or the signature was made with another one.
    Algorithm,
    /// The token carries a key or the URL of one, or its key id is malformed.
    Key,
    /// No key has the key id. A relying party may fetch the keys again, once for all these tokens.
    UnknownKey,
    /// The token is not a compact JWS of two JSON objects.
    Form,
    /// The payload has a member twice, or is not valid JSON.
    Payload,
    /// A wrong `iss`.
    Issuer,
    /// A wrong `aud` or `azp`.
    Audience,
    /// A wrong `exp`, `iat`, `nbf` or `auth_time`.
    Time,
    /// `nonce` is not that of the request.
    Nonce,
    /// `nonce` is present although the request had none.
    UnaskedNonce,
    /// A wrong `sub`.
    Subject,
    /// A token of another kind than an ID token.
    OtherToken,
}

impl Kind {
    /// Every kind of forgery.
    pub const ALL: [Self; 12] = [
        Self::Algorithm,
        Self::Key,
        Self::UnknownKey,
        Self::Form,
        Self::Payload,
        Self::Issuer,
        Self::Audience,
        Self::Time,
        Self::Nonce,
        Self::UnaskedNonce,
        Self::Subject,
        Self::OtherToken,
    ];

    /// Whether the request has the nonce [`Target::nonce`]; otherwise it has none.
    pub fn asks_nonce(self) -> bool {
        self != Self::UnaskedNonce
    }
}

/// The relying party that the tokens are made for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The issuer of the mock.
    pub issuer: &'a str,
    /// The nonce of the request: at least five ASCII characters, one of them a capital letter.
    pub nonce: &'a str,
    /// The URL of a key set that the relying party must not request.
    pub attacker_jwks: &'a str,
}

impl Target<'_> {
    /// The payload of a genuine ID token without a nonce; `more` is inserted before the closing brace.
    pub fn payload(&self, more: &str) -> String {
        let (issuer, now) = (self.issuer, now_secs());
        format!(
            r#"{{"iss":"{issuer}","aud":"mintgate","sub":"mock|alice","iat":{now},"exp":{}{more}}}"#,
            now + LIFE_SECS
        )
    }
}

/// An ID token that must be refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Forgery {
    /// The fault of the token, in words, for the message of a failed test.
    pub name: String,
    /// The recipe by which the mock makes the token.
    pub recipe: IdTokenRecipe,
}

/// All forgeries of one kind. Times in them are relative to now.
pub fn forgeries(kind: Kind, target: &Target<'_>) -> Vec<Forgery> {
    let mut list = List::default();
    match kind {
        Kind::Algorithm => signatures::algorithm(&mut list),
        Kind::Key => signatures::key(&mut list, target),
        Kind::UnknownKey => signatures::unknown_key(&mut list),
        Kind::Form => signatures::form(&mut list),
        Kind::Payload => signatures::payload(&mut list, target),
        Kind::Issuer => claims::issuer(&mut list, target),
        Kind::Audience => claims::audience(&mut list),
        Kind::Time => claims::time(&mut list),
        Kind::Nonce => claims::nonce(&mut list, target),
        Kind::UnaskedNonce => claims::unasked_nonce(&mut list, target),
        Kind::Subject => claims::subject(&mut list),
        Kind::OtherToken => claims::other_token(&mut list),
    }
    list.0
}

#[derive(Default)]
struct List(Vec<Forgery>);

impl List {
    fn add(&mut self, name: impl Into<String>, change: impl FnOnce(&mut IdTokenRecipe)) {
        let mut recipe = IdTokenRecipe::default();
        change(&mut recipe);
        self.0.push(Forgery { name: name.into(), recipe });
    }

    fn sign(&mut self, name: &str, sign: SignWith) {
        self.add(name, |recipe| recipe.sign = sign);
    }

    /// Adds a change of the header; an empty `name` is replaced by the change itself.
    fn header(&mut self, name: &str, change: Value) {
        let name = if name.is_empty() { format!("header {change}") } else { name.to_owned() };
        self.add(name, |recipe| recipe.header = object(change));
    }

    fn claims(&mut self, change: Value) {
        self.add(format!("claims {change}"), |recipe| recipe.claims = object(change));
    }

    fn raw_payload(&mut self, name: &str, payload: String) {
        self.add(format!("payload {name}"), |recipe| recipe.raw_payload = Some(payload));
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(members) = value { members } else { Map::new() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_entry_of_every_kind_is_another_way_to_spoil_a_token() {
        let target = Target {
            issuer: "http://127.0.0.1:4",
            nonce: "n-0S6_WzA2Mj",
            attacker_jwks: "http://127.0.0.1:5/jwks",
        };
        let mut seen = BTreeSet::new();
        for kind in Kind::ALL {
            let of_kind = forgeries(kind, &target);
            assert!(of_kind.len() >= 6, "{kind:?}");
            for Forgery { name, recipe } in of_kind {
                assert_ne!(recipe, IdTokenRecipe::default(), "{name} spoils nothing");
                let spoiled = serde_json::to_string(&recipe).expect("JSON");
                assert!(seen.insert(spoiled), "{name} is there twice");
            }
        }
        assert!(seen.len() >= 180, "{}", seen.len());
    }
}
