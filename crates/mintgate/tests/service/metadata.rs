//! The metadata documents: a verifier sets itself up from the issuer alone.

use crate::common::{Options, Store, TestService, assert_error, header};
use mintgate_testkit::ResourceServer;
use mintgate_testkit::http::Client;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const DOCUMENTS: [&str; 2] =
    ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];

/// Verifies an access token as a service does that was told nothing but the issuer.
async fn verify(issuer: &str, document: &str, token: &str) -> Value {
    let client = Client::new();
    let get = async |url: &str| -> Value {
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{url}");
        answer.json().await.unwrap()
    };
    let metadata = get(&format!("{issuer}{document}")).await;
    // OIDC Discovery §4.3, RFC 8414 §3.3.
    assert_eq!(metadata["issuer"], issuer);
    let algorithm = &metadata["id_token_signing_alg_values_supported"][0];
    assert_eq!(header(token)["alg"], *algorithm);
    let keys = get(metadata["jwks_uri"].as_str().unwrap()).await.to_string();
    ResourceServer::new(&keys, issuer, issuer).verify(token).unwrap()
}

#[tokio::test]
async fn an_independent_library_verifies_access_tokens_knowing_the_issuer_alone() {
    for algorithm in ["ES256", "EdDSA", "RS256"] {
        let service = TestService::start_with(
            Store::Sqlite,
            Options {
                more: format!("[tokens]\nalgorithm = \"{algorithm}\""),
                real_address: true,
                ..Options::default()
            },
        )
        .await;
        let issuer = format!("http://{}", service.public);
        let first = service.signed_in().await;
        let second = service.refreshed(&first.refresh).await;
        for document in DOCUMENTS {
            for tokens in [&first, &second] {
                let said = verify(&issuer, document, &tokens.access).await;
                assert_eq!(said["sid"], first.sid());
            }
        }
    }
}

#[tokio::test]
async fn the_documents_are_cacheable_and_name_no_endpoint_we_do_not_have() {
    let service = TestService::start_with(
        Store::Sqlite,
        Options { more: "[tokens]\nalgorithm = \"HS256\"".to_owned(), ..Options::default() },
    )
    .await;
    for path in DOCUMENTS {
        let url = service.url(path);
        let answer = service.client.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], "public, max-age=300");
        assert_eq!(answer.headers()["content-type"], "application/json");
        let etag = answer.headers()["etag"].clone();
        assert_eq!(
            answer.json::<Value>().await.unwrap(),
            json!({
                "issuer": "http://localhost:8080",
                "jwks_uri": "http://localhost:8080/.well-known/jwks.json",
                "response_types_supported": [],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["HS256"],
            })
        );
        let again = service.client.get(&url).header("if-none-match", etag).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.text().await.unwrap(), "");
        let head = service.client.request(Method::HEAD, &url).send().await.unwrap();
        assert_eq!(head.status(), StatusCode::OK);
        assert!(head.headers()["content-length"] != "0");
    }
    // A symmetric key is nobody else's, and the set is there all the same.
    let keys = service.client.get(service.url("/.well-known/jwks.json")).send().await.unwrap();
    assert_eq!(keys.json::<Value>().await.unwrap(), json!({ "keys": [] }));
}

#[tokio::test]
async fn an_issuer_with_a_path_has_its_documents_where_the_standards_say_and_nowhere_else() {
    let service = TestService::start_with(
        Store::Sqlite,
        Options {
            more: "[tokens]\nissuer = \"https://id.example.com/tenant/1\"".to_owned(),
            ..Options::default()
        },
    )
    .await;
    for path in [
        "/tenant/1/.well-known/openid-configuration",
        "/.well-known/openid-configuration/tenant/1",
        "/.well-known/oauth-authorization-server/tenant/1",
    ] {
        let answer = service.client.get(service.url(path)).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["issuer"], "https://id.example.com/tenant/1", "{path}");
        assert_eq!(body["jwks_uri"], "http://localhost:8080/.well-known/jwks.json");
    }
    for path in [DOCUMENTS[0], DOCUMENTS[1], "/tenant/2/.well-known/openid-configuration"] {
        let answer = service.client.get(service.url(path)).send().await.unwrap();
        assert_error(answer, StatusCode::NOT_FOUND, "NOT_FOUND").await;
    }
}
