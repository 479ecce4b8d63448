//! Entra: tenants and groups.

use mintgate_identity_openid::{GroupOverage, IssuerRule};

use super::presets::{preset, refused};
use super::{dialect, only, refused_for};

const TENANT: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

#[test]
fn case_23_entras_shared_tenants_need_a_list_of_those_let_in() {
    let shared = |lines: &str| format!("tenant = \"common\"\n{lines}");
    let missing = refused("entra", &shared(""));
    assert_eq!(missing.heading, "providers[0].tenants (mintgate.toml:1)");
    assert!(missing.body.contains("tenants = ["), "{missing}");
    let lists = [
        ("tenants = []", "providers[0].tenants: This list must not be empty."),
        ("tenants = [\"*\"]", "providers[0].tenants[0]: This is not the id of a tenant."),
        (
            "tenants = [\"contoso.onmicrosoft.com\"]",
            "providers[0].tenants[0]: This is not the id of a tenant.",
        ),
    ];
    refused_for(lists.map(|(lines, reason)| (preset("entra", &shared(lines)), reason)));
    let lines = format!("tenants = [\"{}\"]", TENANT.to_uppercase());
    let entra = only(&preset("entra", &shared(&lines)));
    assert_eq!(
        entra.policy.issuers,
        [
            "https://login.microsoftonline.com/common/v2.0".to_owned(),
            format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        ]
    );
    // A list beside one tenant would be thought to mean something.
    let beside = refused("entra", &format!("tenant = \"{TENANT}\"\n{lines}"));
    assert_eq!(beside.key(), "providers[0].tenants");
    assert!(["common", "organizations"].iter().all(|name| beside.body.contains(name)), "{beside}");

    let own = format!("{lines}\nissuer = \"http://127.0.0.1:9/common/v2.0\"");
    let mock = only(&preset("entra", &shared(&own)));
    let IssuerRule::Tenants { template, .. } = &dialect(&mock).issuer else {
        panic!("several tenants")
    };
    assert_eq!(template, "http://127.0.0.1:9/{tenantid}/v2.0");
    let own = format!("{lines}\nissuer = \"https://login.test/v2.0\"");
    let mistake = refused("entra", &shared(&own));
    assert_eq!(mistake.key(), "providers[0].issuer");
    assert!(mistake.body.contains("/common/"), "{mistake}");
}

#[test]
fn case_31_group_overage_is_followed_to_the_clouds_own_graph() {
    let follow = |lines: &str| {
        let lines = format!("tenant = \"{TENANT}\"\ngroup_overage = \"follow\"\n{lines}");
        let entra = only(&preset("entra", &lines));
        match &dialect(&entra).group_overage {
            GroupOverage::Follow(graph) => graph.endpoint.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(follow(""), "https://graph.microsoft.com/v1.0/me/getMemberObjects");
    let us = "domain = \"login.microsoftonline.us\"\ngraph = \"graph.microsoft.us\"";
    assert_eq!(follow(us), "https://graph.microsoft.us/v1.0/me/getMemberObjects");
    let local = "issuer = \"http://127.0.0.1:9/x/v2.0\"\ngraph = \"http://127.0.0.1:9\"";
    assert_eq!(follow(local), "http://127.0.0.1:9/v1.0/me/getMemberObjects");
    let lines = format!(
        "tenant = \"{TENANT}\"\ngroup_overage = \"follow\"\ngraph = \"http://127.0.0.1:9\""
    );
    let mistake = refused("entra", &lines);
    assert_eq!(mistake.key(), "providers[0].graph");
    assert!(mistake.body.contains("https"), "{mistake}");
}
