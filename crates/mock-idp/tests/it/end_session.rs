//! Signing out at the provider: where the browser may go afterwards, and which hint is believed.

use mintgate_mock_idp::{IdTokenRecipe, SignWith};
use reqwest::Response;
use serde_json::json;

use crate::support::{Mock, REDIRECT_URI, mock, sign_in};

impl Mock {
    async fn sign_out(&self, query: &[(&str, &str)]) -> Response {
        self.http.get(self.url("/end-session")).query(query).send().await.expect("an answer")
    }

    fn hint(&self, recipe: &IdTokenRecipe) -> String {
        self.idp.control().issue_id_token(&sign_in(), recipe)
    }
}

fn with(claims: &serde_json::Value) -> IdTokenRecipe {
    let claims = claims.as_object().expect("an object").clone();
    IdTokenRecipe { claims, ..IdTokenRecipe::default() }
}

#[tokio::test]
async fn a_hint_of_this_provider_for_the_client_is_believed_also_when_it_has_expired() {
    let mock = mock().await;
    let expired = with(&json!({ "iat": 1_000_000, "exp": 1_000_300 }));
    for recipe in [IdTokenRecipe::default(), expired, with(&json!({ "aud": ["x", "mintgate"] }))] {
        let hint = mock.hint(&recipe);
        let query = [("client_id", "mintgate"), ("id_token_hint", &hint)];
        assert_eq!(mock.sign_out(&query).await.status(), 200);
        let back = [query[0], query[1], ("post_logout_redirect_uri", REDIRECT_URI), ("state", "s")];
        let answer = mock.sign_out(&back).await;
        assert_eq!(answer.status(), 303);
        assert_eq!(answer.headers()["location"], format!("{REDIRECT_URI}?state=s"));
    }
    // Also after the key that signed it was replaced.
    let hint = mock.hint(&IdTokenRecipe::default());
    mock.idp.control().rotate_keys();
    let query = [("client_id", "mintgate"), ("id_token_hint", &hint)];
    assert_eq!(mock.sign_out(&query).await.status(), 200);
}

#[tokio::test]
async fn a_wrong_hint_is_refused() {
    let mock = mock().await;
    let signed = |sign| IdTokenRecipe { sign, ..IdTokenRecipe::default() };
    for recipe in [
        signed(SignWith::AttackerKeySameKid),
        signed(SignWith::Unsigned),
        signed(SignWith::Garbage),
        with(&json!({ "iss": "https://other.example.com" })),
        with(&json!({ "aud": "another-client" })),
        with(&json!({ "aud": null })),
    ] {
        let hint = mock.hint(&recipe);
        let answer = mock.sign_out(&[("client_id", "mintgate"), ("id_token_hint", &hint)]).await;
        assert_eq!(answer.status(), 400, "{recipe:?}");
    }
    let hint = mock.hint(&IdTokenRecipe::default());
    for query in [
        vec![("client_id", "mintgate"), ("id_token_hint", "no token")],
        vec![("client_id", "another-client"), ("id_token_hint", &hint)],
        vec![("id_token_hint", &hint)],
    ] {
        assert_eq!(mock.sign_out(&query).await.status(), 400, "{query:?}");
    }
}
