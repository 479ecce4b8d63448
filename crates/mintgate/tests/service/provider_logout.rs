//! Back-channel logout over HTTP.

use crate::common::{Store, TestService, claims, sign_in};
use crate::on_both_stores;
use mintgate_mock_idp::{LogoutOrder, LogoutTokenFault, SignIn};
use mintgate_testkit::http::RequestBuilder;
use reqwest::StatusCode;

impl TestService {
    fn provider_says(&self, provider: &str, token: &str) -> RequestBuilder {
        let url = self.url(&format!("/api/v1/auth/backchannel-logout/{provider}"));
        self.client.post(url).form(&[("logout_token", token)])
    }

    fn logout_token(
        &self,
        user: &str,
        sid: Option<&str>,
        fault: Option<LogoutTokenFault>,
    ) -> String {
        let sign_in = SignIn { sid: sid.map(str::to_owned), ..sign_in(user) };
        let without_sub = false;
        let order = LogoutOrder { sign_in, without_sub, fault, ..LogoutOrder::default() };
        self.idp().control().logout_token(&order)
    }
}

on_both_stores! {
    async fn a_provider_ends_the_sessions_of_one_person_at_once_and_for_good(store: Store) {
        let service = TestService::start(store).await;
        let alice = [service.signed_in_as("alice").await, service.signed_in_as("alice").await];
        let bob = service.signed_in_as("bob").await;
        let token = service.logout_token("alice", None, None);
        let answer = service.provider_says("corp", &token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        for session in &alice {
            let refresh = service.refresh(&session.refresh);
            service.refused(refresh, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
            let me = service.me(&session.access);
            service.refused(me, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        }
        service.refreshed(&bob.refresh).await;
        let row = service.row(&alice[0].sid()).await;
        assert!(row.contains("provider_logout"), "{row}");
        assert!(service.metrics().await.contains(
            "mintgate_sessions_revoked_total{reason=\"provider_logout\"} 2"
        ));

        let later = service.signed_in_as("alice").await;
        let again = service.provider_says("corp", &token);
        service.refused(again, StatusCode::BAD_REQUEST, "INVALID_LOGOUT_TOKEN").await;
        service.refreshed(&later.refresh).await;
    }

    async fn a_session_at_the_provider_ends_its_own_session_alone(store: Store) {
        let service = TestService::start(store).await;
        let with_sid = async |sid: &str| {
            let code = service.idp().control().issue_code(SignIn {
                sid: Some(sid.to_owned()),
                ..sign_in("alice")
            });
            crate::common::Tokens::of(service.login(&code).await).await
        };
        let (laptop, phone) = (with_sid("laptop").await, with_sid("phone").await);
        let order = LogoutOrder {
            sign_in: SignIn { sid: Some("laptop".to_owned()), ..sign_in("alice") },
            without_sub: true,
            ..LogoutOrder::default()
        };
        let token = service.idp().control().logout_token(&order);
        let answer = service.provider_says("corp", &token).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let refresh = service.refresh(&laptop.refresh);
        service.refused(refresh, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
        service.refreshed(&phone.refresh).await;
    }

    async fn case_26_no_other_token_is_a_logout_token(store: Store) {
        let service = TestService::start(store).await;
        let alice = service.signed_in_as("alice").await;
        let control = service.idp().control();
        let id_token = control.issue_id_token(&sign_in("alice"), &mintgate_mock_idp::IdTokenRecipe::default());
        let mut tokens: Vec<(String, String)> = LogoutTokenFault::ALL
            .into_iter()
            .map(|fault| (format!("{fault:?}"), service.logout_token("alice", None, Some(fault))))
            .collect();
        tokens.push(("an ID token".to_owned(), id_token));
        tokens.push(("our access token".to_owned(), alice.access.clone()));
        tokens.push(("our refresh token".to_owned(), alice.refresh.clone()));
        tokens.push(("garbage".to_owned(), "a.b.c".to_owned()));
        for (name, token) in tokens {
            let before = service.dump().await;
            let answer = service.provider_says("corp", &token).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{name}");
            assert_eq!(service.dump().await, before, "{name}");
        }
        let logout_token = service.logout_token("alice", None, None);
        let as_id_token = serde_json::json!({ "idToken": logout_token, "provider": "corp" });
        let posted = service.post(&as_id_token);
        service.refused(posted, StatusCode::UNAUTHORIZED, "INVALID_ID_TOKEN").await;
        let next = service.refreshed(&alice.refresh).await;
        assert_eq!(claims(&next.access)["sid"], claims(&alice.access)["sid"]);
    }
}

#[tokio::test]
async fn an_unknown_provider_or_another_kind_of_body_ends_nothing() {
    let service = TestService::start(Store::Sqlite).await;
    service.signed_in_as("alice").await;
    let token = service.logout_token("alice", None, None);
    let unknown = service.provider_says("CORP", &token);
    service.refused(unknown, StatusCode::BAD_REQUEST, "UNKNOWN_PROVIDER").await;
    let url = service.url("/api/v1/auth/backchannel-logout/corp");
    let json = service.client.post(&url).json(&serde_json::json!({ "logout_token": token }));
    service.refused(json, StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE").await;
    let empty = service.client.post(&url).form(&[("other", "x")]);
    service.refused(empty, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
    let long = "a".repeat(33 * 1024);
    let long = service.client.post(&url).form(&[("logout_token", long)]);
    service.refused(long, StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE").await;
}

#[tokio::test]
async fn a_store_that_is_down_is_503_and_the_same_order_works_afterwards() {
    let Some(service) = TestService::behind_a_line().await else { return };
    let alice = service.signed_in_as("alice").await;
    let token = service.logout_token("alice", None, None);
    service.line().cut();
    let answer = service.provider_says("corp", &token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    service.line().restore();
    service.until_ready().await;
    let answer = service.provider_says("corp", &token).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let refresh = service.refresh(&alice.refresh);
    service.refused(refresh, StatusCode::UNAUTHORIZED, "SESSION_REVOKED").await;
}
