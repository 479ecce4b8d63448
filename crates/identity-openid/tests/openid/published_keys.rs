//! Case 22: keys in the JWKS that must not verify this provider's ID tokens.

use mintgate_domain::ports::ProviderError;
use mintgate_mock_idp::{Faults, IdTokenAlg, MockIdp, SignIn};
use serde_json::{Value, json};

use crate::support::{Adapter, start_with};

async fn sign_in(idp: &MockIdp, alg: IdTokenAlg) -> Result<(), ProviderError> {
    let adapter = Adapter::new(idp.issuer(), |config| {
        config.id_token_algorithms = vec![alg.name().to_owned()];
    });
    adapter.sign_in(idp, SignIn::default()).await.map(|_| ())
}

#[tokio::test]
async fn case_22_a_key_for_something_else_verifies_nothing() {
    for (alg, changes) in [
        (
            IdTokenAlg::Rs256,
            vec![
                json!({ "use": "enc" }),
                json!({ "use": "tls" }),
                json!({ "kty": "EC" }),
                json!({ "kty": "oct" }),
                json!({ "kty": "unheard-of" }),
                json!({ "alg": "RS512" }),
                json!({ "alg": "PS256" }),
                json!({ "alg": "ES256" }),
                json!({ "alg": "RSA-OAEP" }),
                json!({ "alg": "none" }),
                json!({ "n": null }),
                json!({ "n": "AQAB" }),
                json!({ "e": "AA" }),
            ],
        ),
        (
            IdTokenAlg::Es256,
            vec![
                json!({ "crv": "P-384" }),
                json!({ "crv": "P-521" }),
                json!({ "crv": "secp256k1" }),
                json!({ "crv": null }),
                json!({ "kty": "OKP" }),
                json!({ "alg": "ES384" }),
                json!({ "use": "enc" }),
                json!({ "x": "AAAA" }),
            ],
        ),
        (
            IdTokenAlg::EdDsa,
            vec![
                json!({ "crv": "X25519" }),
                json!({ "crv": "Ed448" }),
                json!({ "kty": "EC" }),
                json!({ "use": "enc" }),
            ],
        ),
    ] {
        let idp = start_with(alg).await;
        sign_in(&idp, alg).await.unwrap();
        for change in changes {
            let jwks_merge = change.as_object().unwrap().clone();
            idp.control().set_faults(Faults { jwks_merge, ..Faults::default() });
            let refused = sign_in(&idp, alg).await;
            assert!(
                matches!(refused, Err(ProviderError::IdTokenRefused(_))),
                "{} {change}: {refused:?}",
                alg.name()
            );
        }
    }
}

#[tokio::test]
async fn case_22_keys_that_mean_nothing_to_us_do_not_hide_the_one_that_does() {
    let alg = IdTokenAlg::EdDsa;
    let idp = start_with(alg).await;
    let jwks_extra = vec![
        json!({ "kty": "unheard-of", "kid": "a" }),
        json!({ "kty": "RSA", "kid": "b", "use": "enc", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": "c", "n": 7 }),
        json!("no key at all"),
        Value::Null,
    ];
    idp.control().set_faults(Faults { jwks_extra, ..Faults::default() });
    sign_in(&idp, alg).await.unwrap();
}
