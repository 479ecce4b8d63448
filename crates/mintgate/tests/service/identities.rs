//! Identities linked and unlinked over HTTP.

use crate::common::login::IDENTITIES;
use crate::common::session::access_cookie;
use crate::common::{Options, Store, TestService, Tokens, claims, sign_in};
use crate::on_both_stores;
use reqwest::StatusCode;
use serde_json::{Value, json};

impl TestService {
    async fn identities(&self, access: &str) -> Vec<Value> {
        let request = self.client.get(self.url(IDENTITIES)).bearer_auth(access);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let mut body: Value = answer.json().await.unwrap();
        body["identities"].as_array_mut().map(std::mem::take).unwrap()
    }

    fn unlink(&self, access: &str, id: &str) -> mintgate_testkit::http::RequestBuilder {
        self.client.delete(self.url(&format!("{IDENTITIES}/{id}"))).bearer_auth(access)
    }
}

fn sub(tokens: &Tokens) -> Value {
    claims(&tokens.access)["sub"].clone()
}

on_both_stores! {
    async fn an_identity_is_linked_listed_used_and_unlinked(store: Store) {
        let service = TestService::start(store).await;
        let alice = service.signed_in_as("alice").await;
        let (response, cookie) = service.response_for("bob").await;
        let answer = service.link(&alice.access, &response, &cookie).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let set: Vec<_> = answer.headers().get_all("set-cookie").iter().collect();
        assert_eq!(set.len(), 1, "the login is over, and no token is handed out");
        let linked: Value = answer.json().await.unwrap();

        let listed = service.identities(&alice.access).await;
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[1], linked);
        let id = linked["id"].as_str().unwrap();
        assert_eq!(
            linked,
            json!({
                "id": id, "provider": "corp", "issuer": service.idp().issuer(),
                "subject": linked["subject"], "linkedAt": linked["linkedAt"],
            })
        );
        let as_bob = service.signed_in_as("bob").await;
        assert_eq!(sub(&as_bob), sub(&alice), "one user");

        assert_eq!(service.unlink(&alice.access, id).send().await.unwrap().status(), StatusCode::NO_CONTENT);
        assert_eq!(service.identities(&alice.access).await.len(), 1);
        let refused = service.refresh(&as_bob.refresh).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "its sessions have ended");
        assert_ne!(sub(&service.signed_in_as("bob").await), sub(&alice), "somebody new");
        let only = service.identities(&alice.access).await;
        let last = service.unlink(&alice.access, only[0]["id"].as_str().unwrap());
        service.refused(last, StatusCode::CONFLICT, "LAST_IDENTITY").await;
    }

    async fn case_30_what_is_anothers_is_neither_linked_nor_unlinked(store: Store) {
        let service = TestService::start(store).await;
        let alice = service.signed_in_as("alice").await;
        let bob = service.signed_in_as("bob").await;
        let (response, cookie) = service.response_for("bob").await;
        let taken = service.link(&alice.access, &response, &cookie);
        service.refused(taken, StatusCode::CONFLICT, "IDENTITY_TAKEN").await;
        let bobs = service.identities(&bob.access).await;
        for id in [bobs[0]["id"].as_str().unwrap(), "0", "' OR 1=1 --", &"f".repeat(32)] {
            let request = service.unlink(&alice.access, id);
            service.refused(request, StatusCode::NOT_FOUND, "NOT_FOUND").await;
        }
    }

    async fn two_users_who_link_one_identity_at_once_do_not_both_get_it(store: Store) {
        let service = TestService::start(store).await;
        let users = [service.signed_in_as("alice").await, service.signed_in_as("bob").await];
        let mut responses = Vec::new();
        for _ in &users {
            responses.push(service.response_for("carol").await);
        }
        let linking = users.iter().zip(&responses).map(|(user, (response, cookie))| {
            service.link(&user.access, response, cookie).send()
        });
        let mut statuses: Vec<_> = futures_util::future::join_all(linking)
            .await.into_iter().map(|answer| answer.unwrap().status().as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    }
}

#[tokio::test]
async fn case_47_a_foreign_page_links_and_unlinks_nothing() {
    let service = TestService::start(Store::Sqlite).await;
    let alice = service.signed_in_as("alice").await;
    let (response, cookie) = service.response_for("bob").await;
    let cookies = format!("{}; {cookie}", access_cookie(&alice.access));
    let link = service
        .client
        .post(service.url(IDENTITIES))
        .header("cookie", &cookies)
        .json(&json!({ "authCode": response["code"], "state": response["state"] }));
    let id = service.identities(&alice.access).await[0]["id"].as_str().unwrap().to_owned();
    let unlink = service
        .client
        .delete(service.url(&format!("{IDENTITIES}/{id}")))
        .header("cookie", access_cookie(&alice.access));
    for request in [link, unlink] {
        for header in [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")] {
            let request = request.try_clone().unwrap().header(header.0, header.1);
            service.refused(request, StatusCode::FORBIDDEN, "CSRF_REJECTED").await;
        }
    }
}

#[tokio::test]
async fn a_bare_code_or_an_id_token_links_nothing() {
    let service = TestService::start_with(Store::Sqlite, Options::default()).await;
    let alice = service.signed_in_as("alice").await;
    let control = service.idp().control();
    let before = control.stats();
    let id_token =
        control.issue_id_token(&sign_in("bob"), &mintgate_mock_idp::IdTokenRecipe::default());
    for body in [
        json!({ "authCode": service.code_for("bob"), "provider": "corp" }),
        json!({ "idToken": id_token, "provider": "corp" }),
    ] {
        let request = service.client.post(service.url(IDENTITIES)).bearer_auth(&alice.access);
        let request = request.json(&body);
        service.refused(request, StatusCode::BAD_REQUEST, "INVALID_REQUEST").await;
    }
    assert_eq!(control.stats().token, before.token, "nothing was sent out");
    let nobody = service.client.post(service.url(IDENTITIES)).json(&json!({}));
    service.refused(nobody, StatusCode::UNAUTHORIZED, "INVALID_ACCESS_TOKEN").await;
}
