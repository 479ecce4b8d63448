//! Tables of spoiled ID tokens, and the one way in which all of them are tried.

use mintgate_domain::Nonce;
use mintgate_domain::ports::{IdentityProvider, ProviderError};
use mintgate_mock_idp::{Faults, IdTokenRecipe, MockIdp, SignWith};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::support::{Adapter, NONCE, start, with_nonce};

/// A way to spoil a token.
pub(crate) struct Variant {
    name: String,
    recipe: IdTokenRecipe,
}

#[derive(Default)]
pub(crate) struct Table(pub(crate) Vec<Variant>);

impl Table {
    pub(crate) fn add(&mut self, name: impl Into<String>, change: impl FnOnce(&mut IdTokenRecipe)) {
        let mut recipe = IdTokenRecipe::default();
        change(&mut recipe);
        self.0.push(Variant { name: name.into(), recipe });
    }

    pub(crate) fn header(&mut self, name: &str, change: &Value) {
        self.add(name, |recipe| recipe.header = object(change));
    }

    pub(crate) fn claims(&mut self, name: &str, change: &Value) {
        self.add(name, |recipe| recipe.claims = object(change));
    }

    pub(crate) fn sign(&mut self, name: &str, sign: SignWith) {
        self.add(name, |recipe| recipe.sign = sign);
    }
}

pub(crate) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[expect(clippy::disallowed_methods, reason = "the mock signs with the machine's clock")]
pub(crate) fn now_secs() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Holds every variant against an adapter that is warm, posted directly and through a code.
pub(crate) async fn refuse_all(idp: &MockIdp, adapter: &Adapter, variants: Vec<Variant>) {
    let control = idp.control();
    assert_genuine_passes(idp, adapter).await;
    let before = control.stats();
    for Variant { name, recipe } in variants {
        let token = control.issue_id_token(&with_nonce(), &recipe);
        let direct = adapter.verify(&token, Some(NONCE)).await;
        assert!(
            matches!(direct, Err(ProviderError::IdTokenRefused(_))),
            "{name}, posted directly: {direct:?}"
        );

        control.set_faults(Faults { id_token: Some(recipe), ..Faults::default() });
        let code = control.issue_code(with_nonce());
        let tokens = adapter.redeem(&code, None).await.unwrap();
        let by_code = adapter.provider.verify(&tokens, Some(&Nonce::new(NONCE))).await;
        let Err(ProviderError::IdTokenRefused(reason)) = by_code else {
            panic!("{name}, by code: {by_code:?}");
        };
        assert!(!reason.contains(&code) && !reason.contains(&token), "{name}: {reason}");
        assert!(reason.len() < 400 && !reason.contains(char::is_control), "{name}: {reason}");
    }
    let after = control.stats();
    assert_eq!(
        (after.discovery, after.jwks, after.userinfo),
        (before.discovery, before.jwks, before.userinfo),
        "something was fetched for a forged token"
    );
    control.clear_faults();
    assert_genuine_passes(idp, adapter).await;
}

/// The control: what the variants spoil is good before.
pub(crate) async fn assert_genuine_passes(idp: &MockIdp, adapter: &Adapter) {
    let token = idp.control().issue_id_token(&with_nonce(), &IdTokenRecipe::default());
    let identity = adapter.verify(&token, Some(NONCE)).await.unwrap();
    assert_eq!(identity.identity.subject, "mock|alice");
    adapter.sign_in(idp, with_nonce()).await.unwrap();
}

pub(crate) async fn refuse(variants: Table) {
    let idp = start().await;
    let adapter = Adapter::new(idp.issuer(), |_| {});
    refuse_all(&idp, &adapter, variants.0).await;
}
