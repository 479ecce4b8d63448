//! Microsoft Entra ID, v2.0 endpoints.
//!
//! - "OpenID Connect on the Microsoft identity platform"
//!   <https://learn.microsoft.com/en-us/entra/identity-platform/v2-protocols-oidc>: the addresses
//!   with a tenant, `common`, `organizations` or `consumers` in them; response modes and ways of
//!   client authentication. Under `common` and `organizations` the issuer is the literal template
//!   `…/{tenantid}/v2.0`, see <https://github.com/MicrosoftDocs/azure-docs/issues/38427>.
//! - "ID token claims reference"
//!   <https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference>: `tid`,
//!   `oid`, `preferred_username`, `ver`, a `sub` for each client, no `at_hash` and no
//!   `email_verified`; groups as object ids, and the groups overage claim.
//! - "directoryObject: getMemberObjects"
//!   <https://learn.microsoft.com/en-us/graph/api/directoryobject-getmemberobjects>: where the
//!   groups are to be had instead.
//! - "Microsoft Entra authentication and authorization error codes"
//!   <https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes>: the shape of
//!   an error, and its AADSTS number.
//! - "Access tokens in the Microsoft identity platform", "Validate the issuer"
//!   <https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens>: published keys name
//!   their issuer. They have no `alg`.

use std::fmt::Write as _;

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::plain::PLAIN;
use super::{Refresh, RefreshWhen, Reuse, Subject, Traits};
use crate::ClientAuth::{ClientSecretPost, PrivateKeyJwt};
use crate::answer::{answer, json as json_answer};
use crate::refusal::{Wording, standard_body};
use crate::shared::Shared;
use crate::state::Endpoint;
use crate::{MockUser, Overage, Refusal, userinfo};

/// The tenant of personal Microsoft accounts.
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

pub(super) static TRAITS: Traits = Traits {
    name: "entra",
    issuer_path: "/5a1c3e70-0d2b-4c7e-9f11-6d0c8b6f4e21/v2.0",
    discovery: Some("/{tenant}/v2.0/.well-known/openid-configuration"),
    jwks: Some("/{tenant}/discovery/v2.0/keys"),
    authorize: "/{tenant}/oauth2/v2.0/authorize",
    token: "/{tenant}/oauth2/v2.0/token",
    userinfo: Some("/oidc/userinfo"),
    more_routes: |config| {
        config
            .route("/v1.0/me/getMemberObjects", web::post().to(member_objects))
            .route("/v1.0/users/{id}/getMemberObjects", web::post().to(member_objects));
    },
    document: |shared, tenant| {
        let issuer_tenant = match tenant {
            "common" | "organizations" => "{tenantid}",
            "consumers" => PERSONAL,
            tenant => tenant,
        };
        json!({
            "issuer": issuer(shared, issuer_tenant),
            "subject_types_supported": ["pairwise"],
            "tenant_region_scope": null,
            "cloud_instance_name": "microsoftonline.com",
        })
    },
    jwk: |shared| json!({ "alg": null, "issuer": issuer(shared, "{tenantid}") }),
    scopes: &["openid", "profile", "email", "offline_access"],
    response_modes: &["query", "fragment", "form_post"],
    iss_parameter: false,
    admits: |subject, path_tenant| {
        let own = tenant(subject.shared, subject.user);
        match path_tenant {
            "common" => true,
            "organizations" => own != PERSONAL,
            "consumers" => own == PERSONAL,
            other => other == own,
        }
    },
    client_auth: &[ClientSecretPost, PrivateKeyJwt, crate::ClientAuth::None],
    refresh: Refresh { when: RefreshWhen::OnScope, reuse: Reuse::Renew },
    errors: ERRORS,
    error_body,
    id_token: |subject| {
        let mut changes = user(subject);
        let own = tenant(subject.shared, subject.user);
        changes["iss"] = issuer(subject.shared, own).into();
        changes["tid"] = own.into();
        changes["oid"] = oid(subject).into();
        changes["preferred_username"] = subject.user.email.as_str().into();
        changes["ver"] = "2.0".into();
        for absent in ["at_hash", "amr", "acr", "auth_time"] {
            changes[absent] = Value::Null;
        }
        add_groups(subject, &mut changes);
        changes
    },
    user,
    backchannel_logout: false,
    ..PLAIN
};

const ERRORS: &[Wording] = &[
    (
        Refusal::Client,
        401,
        "invalid_client",
        "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request \
         is the client secret value, not the client secret ID.",
    ),
    (
        Refusal::ExpiredClient,
        401,
        "invalid_client",
        "AADSTS7000222: The provided client secret keys are expired.",
    ),
    (
        Refusal::Code,
        400,
        "invalid_grant",
        "AADSTS70000: The provided value for the 'code' parameter is not valid.",
    ),
    (
        Refusal::ExpiredCode,
        400,
        "invalid_grant",
        "AADSTS70008: The provided authorization code or refresh token has expired.",
    ),
    (
        Refusal::UsedCode,
        400,
        "invalid_grant",
        "AADSTS54005: OAuth2 Authorization code was already redeemed, please retry with a new \
         valid code or use an existing refresh token.",
    ),
    (
        Refusal::RedirectUri,
        400,
        "invalid_grant",
        "AADSTS500112: The reply address does not match the reply address provided when requesting \
         Authorization code.",
    ),
    (
        Refusal::Verifier,
        400,
        "invalid_grant",
        "AADSTS501481: The Code_Verifier does not match the code_challenge supplied in the \
         authorization request.",
    ),
    (
        Refusal::RefreshToken,
        400,
        "invalid_grant",
        "AADSTS50173: The provided grant has expired due to it being revoked.",
    ),
    (Refusal::DisabledUser, 400, "invalid_grant", "AADSTS50057: The user account is disabled."),
];

/// The object id that the mock directory has for the group (or person) of a name, which is what its
/// tokens say: a GUID, the same in every mock.
pub fn object_id(name: &str) -> String {
    let hash = Sha256::digest(format!("entra object {name}"));
    let mut hex = String::new();
    for byte in &hash[..16] {
        let _ = write!(hex, "{byte:02x}");
    }
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

fn tenant<'a>(shared: &'a Shared, user: &'a MockUser) -> &'a str {
    user.tenant.as_deref().unwrap_or_else(|| shared.home_tenant())
}

fn issuer(shared: &Shared, tenant: &str) -> String {
    format!("{}/{tenant}/v2.0", shared.origin)
}

fn oid(subject: &Subject<'_>) -> String {
    object_id(&format!("{} {}", tenant(subject.shared, subject.user), subject.user.sub))
}

/// The claims that ID token and userinfo have in common.
fn user(subject: &Subject<'_>) -> Value {
    let pair = format!("{} {}", subject.sign_in.client_id, oid(subject));
    json!({
        "sub": BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(pair)),
        "email_verified": null,
        "preferred_username": null,
        "groups": null,
    })
}

fn group_ids(user: &MockUser) -> Vec<String> {
    user.groups.iter().map(|name| object_id(name)).collect()
}

/// Adds the claim `groups`, or the claims that say there are too many (group overage).
fn add_groups(subject: &Subject<'_>, changes: &mut Value) {
    let options = &subject.shared.config.options;
    let groups = group_ids(subject.user);
    if groups.is_empty() {
        return;
    }
    if groups.len() <= options.groups_limit {
        changes["groups"] = json!(groups);
        return;
    }
    match options.overage {
        Overage::HasGroups => changes["hasgroups"] = true.into(),
        Overage::Distributed => {
            let path = format!("/v1.0/users/{}/getMemberObjects", oid(subject));
            changes["_claim_names"] = json!({ "groups": "src1" });
            changes["_claim_sources"] =
                json!({ "src1": { "endpoint": subject.shared.url(&path, "") } });
        }
    }
}

fn error_body(words: &Wording) -> Map<String, Value> {
    let mut body = standard_body(words);
    let number = words.3.strip_prefix("AADSTS").and_then(|rest| rest.split(':').next());
    if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
        const TRACE: &str = "7d3f0c1e-52ab-4b0e-9c55-1f6a0be0d0c4";
        const TIME: &str = "2026-01-01 00:00:00Z";
        let description = format!(
            "{}\r\nTrace ID: {TRACE}\r\nCorrelation ID: {TRACE}\r\nTimestamp: {TIME}",
            words.3
        );
        let more = json!({
            "error_description": description,
            "error_codes": [number],
            "timestamp": TIME,
            "trace_id": TRACE,
            "correlation_id": TRACE,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        });
        super::reshape(&mut body, &more);
    }
    body
}

/// Answers all groups of the user whom the access token is for; the id in the path `/users/ID` must
/// be that user's.
async fn member_objects(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(shared, Endpoint::Graph, |shared| {
        let sign_in = match userinfo::authorize(shared, &request) {
            Ok(sign_in) => sign_in,
            Err(refusal) => return *refusal,
        };
        let user = shared.config.user(&sign_in.user);
        let asked = request.match_info().get("id");
        if asked.is_some_and(|id| id != oid(&shared.subject(&user, &sign_in))) {
            return HttpResponse::Forbidden().json(json!({ "error": {
                "code": "Authorization_RequestDenied",
                "message": "Insufficient privileges to complete the operation.",
            }}));
        }
        let context = "https://graph.microsoft.com/v1.0/$metadata#Collection(Edm.String)";
        json_answer(
            HttpResponse::Ok(),
            &json!({ "@odata.context": context, "value": group_ids(&user) }),
        )
    })
    .await
}
