//! Case 52: everybody comes at once, right after the start.

use std::time::Duration;

use crate::common::{Options, Store, TestService};
use crate::on_both_stores;
use futures_util::future::join_all;
use mintgate_mock_idp::{IdTokenAlg, MockConfig};
use reqwest::StatusCode;
use serde_json::json;

/// Patient beyond the slowest machine: here it is counted how often the provider is asked.
async fn cold(store: Store) -> TestService {
    let options = Options {
        provider: "timeout_ms = 120000\nconnect_timeout_ms = 30000\nid_token_algs = [\"EdDSA\"]",
        more: "[limits]\nrequest_timeout_ms = 120000".to_owned(),
        store_timeout_ms: 60_000,
        mock: MockConfig { id_token_alg: IdTokenAlg::EdDsa, ..MockConfig::default() },
        ..Options::default()
    };
    let mut service = TestService::start_with(store, options).await;
    let client = reqwest::Client::builder().timeout(Duration::from_mins(2)).build().unwrap();
    service.client = client.into();
    service
}

on_both_stores! {
    async fn case_52_five_hundred_cold_logins_at_once_make_one_discovery_and_one_jwks_request(store: Store) {
        let service = cold(store).await;
        let codes: Vec<_> = (0..500).map(|_| service.code()).collect();
        let answers = join_all(codes.iter().map(|code| service.login(code))).await;
        for answer in answers {
            assert_eq!(answer.status(), StatusCode::OK);
        }
        assert_eq!(service.sessions().await, 500);
        let stats = service.idp().control().stats();
        assert_eq!((stats.discovery, stats.jwks), (1, 1));
        assert_eq!((stats.token, stats.exchanges), (500, 500));
    }

    async fn case_52_two_hundred_logins_begun_at_once_after_a_cold_start_make_the_same_requests(store: Store) {
        let service = cold(store).await;
        let body = json!({ "provider": "corp" });
        let begun = (0..200).map(|_| service.login_request(&body).send());
        for answer in join_all(begun).await {
            assert_eq!(answer.unwrap().status(), StatusCode::OK);
        }
        let stats = service.idp().control().stats();
        assert_eq!((stats.discovery, stats.jwks, stats.token), (1, 1, 0));
    }
}
