//! Microsoft Entra ID: one issuer per tenant behind one discovery document, and users with more groups
//! than a token can hold.
//!
//! Microsoft, "Access tokens in the Microsoft identity platform", multi-tenant applications: the
//! metadata's issuer is a template with `{tenantid}`, the token's is that filled with its own `tid`,
//! and a key that names an issuer signs for that issuer alone.
//! <https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-issuer>
//!
//! Microsoft, "Access token claims reference", groups overage claim: `hasgroups`, or `_claim_names`
//! that sends the reader elsewhere for `groups`, from 200 groups on.
//! <https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference#groups-overage-claim>

use std::collections::BTreeSet;

use http::header::{CONTENT_TYPE, HeaderValue};
use mintgate_domain::model::ClaimValue;
use mintgate_domain::ports::{ProviderEndpoint, ProviderError};
use mintgate_domain::{Cause, ProviderAccessToken};
use oauth2::HttpRequest;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::dialect::{GraphGroups, GroupOverage, IssuerRule};
use crate::http::{BoundedClient, HttpError, JSON, get};
use crate::json::Members;

const PLACEHOLDER: &str = "{tenantid}";

/// Checks an issuer rule.
pub(crate) fn check_rule(rule: &IssuerRule) -> Result<(), &'static str> {
    let IssuerRule::Tenants { template, allowed } = rule else { return Ok(()) };
    if template.matches(PLACEHOLDER).count() != 1 {
        return Err("its template must contain {tenantid} once");
    }
    if allowed.is_empty() {
        return Err("at least one tenant must be allowed; there is no way to allow all of them");
    }
    if !allowed.iter().all(|tenant| is_tenant_id(tenant)) {
        return Err(
            "a tenant is given by its id, a GUID such as 72f988bf-86f1-41af-91ab-2d7cd011db47",
        );
    }
    Ok(())
}

/// The issuer that a discovery document must name.
pub(crate) fn discovered_issuer<'a>(rule: &'a IssuerRule, configured: &'a str) -> &'a str {
    match rule {
        IssuerRule::Exact => configured,
        IssuerRule::Tenants { template, .. } => template,
    }
}

/// The issuer that a token must name.
pub(crate) fn expected_issuer(
    rule: &IssuerRule,
    configured: &str,
    claims: &Members,
) -> Result<String, Cause> {
    let IssuerRule::Tenants { template, allowed } = rule else {
        return Ok(configured.to_owned());
    };
    let tenant = claims.get("tid").and_then(ClaimValue::as_text).ok_or("it names no tenant")?;
    // Entra writes ids in lower case. Another spelling would fill in to another issuer.
    let allowed = allowed.iter().any(|id| id.eq_ignore_ascii_case(tenant) && !has_upper(tenant));
    if !allowed {
        return Err("its tenant is not allowed".into());
    }
    Ok(template.replace(PLACEHOLDER, tenant))
}

/// Whether an identity of this provider can have the issuer.
pub(crate) fn is_issuer(rule: &IssuerRule, configured: &str, issuer: &str) -> bool {
    match rule {
        IssuerRule::Exact => issuer == configured,
        IssuerRule::Tenants { template, allowed } => allowed
            .iter()
            .any(|tenant| template.replace(PLACEHOLDER, &tenant.to_ascii_lowercase()) == issuer),
    }
}

fn has_upper(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_uppercase())
}

fn is_tenant_id(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    text.split('-').map(str::len).eq(lengths)
        && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// Whether a key may sign for `issuer`. `named` is the key's own issuer, if it has that member.
pub(crate) fn may_sign(rule: &IssuerRule, named: Option<&Value>, issuer: &str) -> bool {
    match (rule, named) {
        (IssuerRule::Exact, _) | (_, None) => true,
        (IssuerRule::Tenants { template, .. }, Some(named)) => {
            named == template.as_str() || named == issuer
        }
    }
}

/// Whether the user has more groups than the token.
fn is_overage(claims: &Members) -> bool {
    let elsewhere = match claims.get("_claim_names") {
        Some(ClaimValue::Object(names)) => names.contains_key("groups"),
        _ => false,
    };
    let has_groups = match claims.get("hasgroups") {
        Some(ClaimValue::Bool(has)) => *has,
        Some(ClaimValue::Text(has)) => has.eq_ignore_ascii_case("true"),
        _ => false,
    };
    elsewhere || has_groups
}

/// Applies the rule for users who have more groups than a token can hold.
pub(crate) async fn complete_groups(
    overage: &GroupOverage,
    http: &BoundedClient,
    access_token: Option<&ProviderAccessToken>,
    mut claims: Members,
) -> Result<Members, ProviderError> {
    if matches!(overage, GroupOverage::Ignore) || !is_overage(&claims) {
        return Ok(claims);
    }
    let refused = |what: &str| {
        ProviderError::IdTokenRefused(
            format!("it leaves the groups out because there are too many (group overage); {what}")
                .into(),
        )
    };
    let GroupOverage::Follow(graph) = overage else {
        return Err(refused(
            "let the provider send assigned groups or app roles, or have them followed",
        ));
    };
    let Some(access_token) = access_token else {
        return Err(refused("without an access token they cannot be asked for: sign in by code"));
    };
    let groups =
        ask(graph, http, access_token).await.map_err(|e| e.at_endpoint_named("group endpoint"))?;
    let groups = groups.into_iter().map(ClaimValue::Text).collect();
    claims.insert("groups".to_owned(), ClaimValue::List(groups));
    Ok(claims)
}

#[derive(Deserialize)]
struct Page {
    value: Vec<Group>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
}

/// A group, as its id or as an object with its id.
#[derive(Deserialize)]
#[serde(untagged)]
enum Group {
    Id(String),
    Object { id: String },
}

/// All groups of the user, sorted and without duplicates.
async fn ask(
    graph: &GraphGroups,
    http: &BoundedClient,
    access_token: &ProviderAccessToken,
) -> Result<BTreeSet<String>, HttpError> {
    let mut groups = BTreeSet::new();
    let mut request = first(graph, access_token);
    for _ in 0..graph.max_pages {
        let page = http.fetch(ProviderEndpoint::Userinfo, request, read_page).await?;
        groups.extend(page.value.into_iter().map(|group| match group {
            Group::Id(id) | Group::Object { id } => id,
        }));
        let Some(next) = page.next else { return Ok(groups) };
        // The access token must not be sent to another server.
        let next = Url::parse(&next).ok().filter(|next| next.origin() == graph.endpoint.origin());
        let next =
            next.ok_or_else(|| HttpError::malformed("its next page is on another server"))?;
        request = get(&next, JSON, Some(access_token.expose()));
    }
    Err(HttpError::malformed(format!("it has more than {} pages", graph.max_pages)))
}

fn read_page(body: &[u8]) -> Result<Page, Cause> {
    serde_json::from_slice(body).map_err(|_| "it is not a list of groups".into())
}

/// The first request. The actions `getMemberObjects` and `getMemberGroups` need a POST; a list such as
/// `transitiveMemberOf` needs a GET.
///
/// Microsoft, "directoryObject: getMemberObjects":
/// <https://learn.microsoft.com/en-us/graph/api/directoryobject-getmemberobjects>
fn first(
    graph: &GraphGroups,
    access_token: &ProviderAccessToken,
) -> Result<HttpRequest, HttpError> {
    let mut request = get(&graph.endpoint, JSON, Some(access_token.expose()))?;
    let action = graph.endpoint.path_segments().and_then(Iterator::last);
    if action.is_some_and(|action| action.starts_with("getMember")) {
        *request.method_mut() = http::Method::POST;
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let body = serde_json::json!({ "securityEnabledOnly": graph.security_enabled_only });
        *request.body_mut() = body.to_string().into_bytes();
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::json::parse_object;

    const A: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    const TEMPLATE: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

    fn tenants(template: &str, allowed: &[&str]) -> IssuerRule {
        let allowed = allowed.iter().map(ToString::to_string).collect();
        IssuerRule::Tenants { template: template.to_owned(), allowed }
    }

    #[test]
    fn a_rule_names_its_tenants_by_their_ids() {
        assert_eq!(check_rule(&IssuerRule::Exact), Ok(()));
        assert_eq!(check_rule(&tenants(TEMPLATE, &[A, &A.to_uppercase()])), Ok(()));
        for (template, allowed) in [
            ("https://login.microsoftonline.com/common/v2.0", &[A][..]),
            ("https://{tenantid}/{tenantid}", &[A]),
            (TEMPLATE, &[]),
            (TEMPLATE, &["*"]),
            (TEMPLATE, &["{tenantid}"]),
            (TEMPLATE, &["contoso.onmicrosoft.com"]),
            (TEMPLATE, &[A, ""]),
        ] {
            assert!(check_rule(&tenants(template, allowed)).is_err(), "{template} {allowed:?}");
        }
    }

    #[test]
    fn case_23_the_issuer_is_the_template_filled_with_an_allowed_tenant() {
        let rule = tenants(TEMPLATE, &[&A.to_uppercase()]);
        let expected = |claims: &str| {
            expected_issuer(&rule, "configured", &parse_object(claims.as_bytes()).unwrap())
        };
        let filled = format!("https://login.microsoftonline.com/{A}/v2.0");
        assert_eq!(expected(&format!(r#"{{"tid":"{A}"}}"#)), Ok(filled));
        for claims in [
            "{}",
            r#"{"tid":null}"#,
            r#"{"tid":""}"#,
            r#"{"tid":"{tenantid}"}"#,
            r#"{"tid":"9188040d-6c67-4c5b-b112-36a304b66dad"}"#,
            &format!(r#"{{"tid":"{}"}}"#, A.to_uppercase()),
            &format!(r#"{{"tid":["{A}"]}}"#),
            &format!(r#"{{"tid":"{A} "}}"#),
        ] {
            assert!(expected(claims).is_err(), "{claims}");
        }
    }

    #[test]
    fn an_identity_has_the_issuer_of_an_allowed_tenant() {
        let rule = tenants(TEMPLATE, &[&A.to_uppercase()]);
        let of = |tenant: &str| TEMPLATE.replace(PLACEHOLDER, tenant);
        assert!(is_issuer(&rule, "configured", &of(A)));
        for other in [&of(&A.to_uppercase()), &of("common"), TEMPLATE, "configured", ""] {
            assert!(!is_issuer(&rule, "configured", other), "{other}");
        }
        assert!(is_issuer(&IssuerRule::Exact, "configured", "configured"));
        assert!(!is_issuer(&IssuerRule::Exact, "configured", "configured/"));
    }

    #[test]
    fn a_key_that_names_an_issuer_signs_for_that_one_alone() {
        let rule = tenants(TEMPLATE, &[A]);
        let issuer = TEMPLATE.replace(PLACEHOLDER, A);
        for (named, may) in [
            (json!(TEMPLATE), true),
            (json!(issuer), true),
            (json!("https://login.microsoftonline.com/9188/v2.0"), false),
            (json!(7), false),
            (json!([issuer]), false),
        ] {
            assert_eq!(may_sign(&rule, Some(&named), &issuer), may, "{named}");
        }
        assert!(may_sign(&rule, None, &issuer));
        assert!(may_sign(&IssuerRule::Exact, Some(&json!("https://x")), &issuer));
    }

    #[test]
    fn case_31_overage_is_seen_in_every_form_it_has() {
        let overage = |claims: &str| is_overage(&parse_object(claims.as_bytes()).unwrap());
        for claims in [
            r#"{"_claim_names":{"groups":"src1"},"_claim_sources":{"src1":{"endpoint":"https://x"}}}"#,
            r#"{"_claim_names":{"groups":"src1"},"groups":["a"]}"#,
            r#"{"hasgroups":true}"#,
            r#"{"hasgroups":"true"}"#,
        ] {
            assert!(overage(claims), "{claims}");
        }
        for claims in [
            r#"{"groups":["a"]}"#,
            "{}",
            r#"{"hasgroups":false}"#,
            r#"{"_claim_names":{"roles":"src1"}}"#,
        ] {
            assert!(!overage(claims), "{claims}");
        }
    }
}
