//! The mock's catalogue of forged ID tokens, and the one way in which all of them are tried.

use mintgate_domain::Nonce;
use mintgate_domain::ports::{IdentityProvider, ProviderError};
use mintgate_mock_idp::forgeries::{Forgery, Kind, Target, forgeries};
use mintgate_mock_idp::{Faults, IdTokenRecipe, MockIdp, SignIn};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::support::{Adapter, NONCE, logged, start, with_nonce};

const NOBODYS_JWKS: &str = "https://attacker.example.com/jwks";

pub(crate) fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[expect(clippy::disallowed_methods, reason = "the mock signs with the machine's clock")]
pub(crate) fn now_secs() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Whom the forgeries are for: what [`with_nonce`] begins.
pub(crate) fn target<'a>(idp: &'a MockIdp, attacker_jwks: &'a str) -> Target<'a> {
    Target { issuer: idp.issuer(), nonce: NONCE, attacker_jwks }
}

/// Holds every forgery of a kind against an adapter that is warm, posted directly and through a code.
pub(crate) async fn refuse(kind: Kind) {
    let idp = start().await;
    refuse_all(&idp, kind, NOBODYS_JWKS).await;
}

/// The same at this provider; answers the adapter.
pub(crate) async fn refuse_all(idp: &MockIdp, kind: Kind, attacker_jwks: &str) -> Adapter {
    let adapter = Adapter::new(idp.issuer(), |_| {});
    let control = idp.control();
    assert_genuine_passes(idp, &adapter).await;
    let before = control.stats();
    let nonce = kind.asks_nonce().then_some(NONCE);
    let sign_in = SignIn { nonce: nonce.map(str::to_owned), ..SignIn::default() };
    for Forgery { name, recipe } in forgeries(kind, &target(idp, attacker_jwks)) {
        let token = control.issue_id_token(&sign_in, &recipe);
        let direct = adapter.verify(&token, nonce).await;
        assert!(
            matches!(direct, Err(ProviderError::IdTokenRefused(_))),
            "{name}, posted directly: {direct:?}"
        );

        control.set_faults(Faults { id_token: Some(recipe), ..Faults::default() });
        let code = control.issue_code(sign_in.clone());
        let tokens = adapter.redeem(&code, None).await.unwrap();
        let by_code = adapter.provider.verify(&tokens, nonce.map(Nonce::new).as_ref()).await;
        let refused = by_code.unwrap_err();
        assert!(matches!(refused, ProviderError::IdTokenRefused(_)), "{name}: {refused:?}");
        let text = logged(&refused);
        assert!(!text.contains(&code) && !text.contains(&token), "{name}: {text}");
        assert!(text.len() < 400 && !text.contains(char::is_control), "{name}: {text}");
    }
    let after = control.stats();
    // At most once for all that were posted, and once for all that came for a code.
    let for_keys = match kind {
        Kind::UnknownKey | Kind::Key | Kind::Algorithm => 2,
        _ => 0,
    };
    assert_eq!(
        (after.discovery, after.jwks, after.userinfo),
        (before.discovery, before.jwks + for_keys, before.userinfo),
        "something was fetched for a forged token"
    );
    control.clear_faults();
    assert_genuine_passes(idp, &adapter).await;
    adapter
}

/// The control: what the forgeries spoil is good before.
async fn assert_genuine_passes(idp: &MockIdp, adapter: &Adapter) {
    assert_passes(idp, adapter, with_nonce(), IdTokenRecipe::default()).await;
}

/// Posted directly and through a code.
pub(crate) async fn assert_passes(
    idp: &MockIdp,
    adapter: &Adapter,
    sign_in: SignIn,
    recipe: IdTokenRecipe,
) {
    let token = idp.control().issue_id_token(&sign_in, &recipe);
    let identity = adapter.verify(&token, sign_in.nonce.as_deref()).await.unwrap();
    assert_eq!(identity.identity.subject, "mock|alice");
    idp.control().set_faults(Faults { id_token: Some(recipe), ..Faults::default() });
    let identity = adapter.sign_in(idp, sign_in).await.unwrap();
    assert_eq!(identity.identity.subject, "mock|alice");
    idp.control().clear_faults();
}
