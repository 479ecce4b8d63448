//! Entra's dialect.

use mintgate_mock_idp::{
    Dialect, DialectOptions, FaultKind, Faults, MockConfig, Overage, entra_object_id,
};
use serde_json::{Value, json};

use super::{answered, config, id_claims, response, speaking, text, with_user};
use crate::support::{Mock, start};

const OTHER_TENANT: &str = "c2f0a9b4-3d57-4e0f-8a61-7b9e5d4c3b2a";

fn under(mock: &Mock, path: &str) -> String {
    format!("http://{}{path}", mock.idp.address())
}

async fn with_overage(overage: Overage) -> Mock {
    let options = DialectOptions { groups_limit: 1, overage, ..DialectOptions::default() };
    start(MockConfig { options, ..config(Dialect::Entra) }).await
}

#[tokio::test]
async fn a_tenant_has_an_issuer_and_people_have_ids_in_it() {
    let mock = speaking(Dialect::Entra).await;
    let tokens = mock.log_in("alice", &[]).await;
    let claims = id_claims(&tokens);
    assert_eq!(claims["iss"], mock.idp.issuer());
    assert!(mock.idp.issuer().ends_with(&format!("/{}/v2.0", text(&claims["tid"]))));
    assert_eq!(claims["ver"], "2.0");
    assert_eq!(text(&claims["oid"]).len(), 36);
    assert_eq!(claims["preferred_username"], "alice@example.com");
    let groups = ["admins", "engineering"].map(entra_object_id);
    assert_eq!(claims["groups"], json!(groups));
    for absent in ["email_verified", "at_hash", "amr", "_claim_names", "hasgroups"] {
        assert!(!claims.contains_key(absent), "{absent}");
    }
    let info: Value = mock.userinfo(&tokens).await.json().await.unwrap();
    assert_eq!(info["sub"], claims["sub"]);
    assert!(info.get("groups").is_none());
}

#[tokio::test]
async fn common_and_organizations_have_a_template_for_an_issuer() {
    let mock = speaking(Dialect::Entra).await;
    for tenant in ["common", "organizations"] {
        let path = format!("/{tenant}/v2.0/.well-known/openid-configuration");
        let document = mock.json(mock.http.get(under(&mock, &path))).await;
        assert_eq!(document["issuer"], under(&mock, "/{tenantid}/v2.0"));
        let token = under(&mock, &format!("/{tenant}/oauth2/v2.0/token"));
        assert_eq!(document["token_endpoint"], token);
        let keys = mock.json(mock.http.get(text(&document["jwks_uri"]))).await;
        assert_eq!(keys["keys"][0]["issuer"], document["issuer"]);
        assert!(keys["keys"][0].get("alg").is_none());
    }
}

#[tokio::test]
async fn a_token_over_common_has_the_issuer_of_the_persons_tenant() {
    let mock = with_user(Dialect::Entra, |dora| dora.tenant = Some(OTHER_TENANT.into())).await;
    let endpoint = under(&mock, "/common/oauth2/v2.0/authorize");
    let code = response(mock.pick(&endpoint, "dora", &[]).await).await["code"].clone();
    let tokens: Value = mock.redeem(&code, &[]).await.json().await.unwrap();
    let claims = id_claims(&tokens);
    assert_eq!(claims["tid"], OTHER_TENANT);
    assert_eq!(claims["iss"], under(&mock, &format!("/{OTHER_TENANT}/v2.0")));
}

#[tokio::test]
async fn a_single_tenant_lets_nobody_else_in() {
    let mock = with_user(Dialect::Entra, |dora| dora.tenant = Some(OTHER_TENANT.into())).await;
    let answer = mock.pick(&mock.idp.urls().authorize, "dora", &[]).await;
    assert_eq!(answer.status(), 400);
    assert!(answer.text().await.unwrap().contains("AADSTS50020"));
    let own = under(&mock, &format!("/{OTHER_TENANT}/oauth2/v2.0/authorize"));
    assert_eq!(mock.pick(&own, "dora", &[]).await.status(), 303);
    let personal = under(&mock, "/consumers/oauth2/v2.0/authorize");
    assert_eq!(mock.pick(&personal, "dora", &[]).await.status(), 400);
}

#[tokio::test]
async fn too_many_groups_are_to_be_asked_of_the_graph() {
    let mock = with_overage(Overage::Distributed).await;
    let tokens = mock.log_in("alice", &[]).await;
    let claims = id_claims(&tokens);
    assert!(!claims.contains_key("groups") && !claims.contains_key("hasgroups"));
    assert_eq!(claims["_claim_names"], json!({ "groups": "src1" }));
    let endpoint = text(&claims["_claim_sources"]["src1"]["endpoint"]);

    let groups = ["admins", "engineering"].map(entra_object_id);
    for url in [endpoint, &under(&mock, "/v1.0/me/getMemberObjects")] {
        let request = mock.http.post(url).json(&json!({ "securityEnabledOnly": false }));
        let request = request.bearer_auth(text(&tokens["access_token"]));
        assert_eq!(mock.json(request).await["value"], json!(groups));
    }
    assert_eq!(mock.http.post(endpoint).send().await.unwrap().status(), 401);
    let bobs = mock.log_in("bob", &[]).await;
    let request = mock.http.post(endpoint).bearer_auth(text(&bobs["access_token"]));
    assert_eq!(request.send().await.unwrap().status(), 403);
    assert_eq!(mock.idp.control().stats().graph, 4);

    // One group is as many as the token holds.
    assert_eq!(id_claims(&bobs)["groups"], json!([entra_object_id("engineering")]));
}

#[tokio::test]
async fn overage_can_be_a_bare_mark_and_the_graph_can_fail() {
    let mock = with_overage(Overage::HasGroups).await;
    let claims = id_claims(&mock.log_in("alice", &[]).await);
    assert_eq!(claims["hasgroups"], true);
    assert!(!claims.contains_key("groups") && !claims.contains_key("_claim_names"));
    let graph = Some(FaultKind::Status { status: 503, body: "{}".into() }.into());
    mock.idp.control().set_faults(Faults { graph, ..Faults::default() });
    let answer = mock.http.post(under(&mock, "/v1.0/me/getMemberObjects")).send().await;
    assert_eq!(answer.unwrap().status(), 503);
}

#[tokio::test]
async fn refusals_carry_aadsts_numbers() {
    let mock = speaking(Dialect::Entra).await;
    let (status, body) = mock.refused_client().await;
    assert_eq!((status, &body["error"]), (401, &json!("invalid_client")));
    assert_eq!(body["error_codes"], json!([7_000_215]));
    let description = text(&body["error_description"]);
    assert!(description.starts_with("AADSTS7000215: "), "{description}");
    assert!(description.contains("\r\nTrace ID: "), "{description}");

    let code = mock.code("alice", &[]).await["code"].clone();
    mock.redeem(&code, &[]).await;
    let (status, body) = answered(mock.redeem(&code, &[]).await).await;
    assert_eq!((status, &body["error_codes"]), (400, &json!([54005])));
    let code = mock.code("alice", &[]).await["code"].clone();
    let verifier = "x".repeat(43);
    let (_, body) = answered(mock.redeem(&code, &[("code_verifier", &verifier)]).await).await;
    assert_eq!(body["error_codes"], json!([501_481]));
}
