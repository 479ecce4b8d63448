//! `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`: the metadata with
//! which a verifier of tokens configures itself from the issuer alone.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::ErrorCode;
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use crate::body::JSON;
use crate::current::State;
use crate::error::ApiError;
use crate::introspection::{INTROSPECT, REVOKE};
use crate::jwks::published_keys;
use crate::openapi::{Endpoint, Operation};
use crate::public_document;

/// The metadata of OIDC Discovery 1.0 §3 and RFC 8414 §2, as far as it applies.
///
/// Mintgate is not an authorization server: people sign in at their provider, and
/// `/api/v1/auth/token` is not a token endpoint of RFC 6749. So no endpoint is named but those of back ends,
/// where there are any.
#[derive(Serialize, ToSchema)]
#[schema(as = MetadataBody)]
struct Document<'a> {
    /// The issuer of access tokens.
    issuer: &'a str,
    /// Where the public keys are.
    jwks_uri: &'a str,
    /// Empty; both standards require the member.
    #[schema(value_type = Vec<String>)]
    response_types_supported: [&'a str; 0],
    /// `public`: everybody sees the same subject.
    #[schema(value_type = Vec<String>)]
    subject_types_supported: [&'a str; 1],
    /// The algorithms that sign access tokens, including those of former keys. Some verifiers accept
    /// no others.
    #[schema(value_type = Vec<String>)]
    id_token_signing_alg_values_supported: &'a [&'a str],
    #[serde(flatten)]
    back_ends: Option<&'a BackEnds>,
}

/// The endpoints of back ends, and how they authenticate there.
#[derive(Debug, Serialize, ToSchema)]
struct BackEnds {
    /// Where back ends ask about tokens.
    introspection_endpoint: String,
    /// `client_secret_basic`.
    #[schema(value_type = Vec<String>)]
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    /// Where back ends have tokens revoked.
    revocation_endpoint: String,
    /// `client_secret_basic`.
    #[schema(value_type = Vec<String>)]
    revocation_endpoint_auth_methods_supported: [&'static str; 1],
}

impl BackEnds {
    fn below(base: &str) -> Self {
        let methods = ["client_secret_basic"];
        Self {
            introspection_endpoint: format!("{base}{INTROSPECT}"),
            introspection_endpoint_auth_methods_supported: methods,
            revocation_endpoint: format!("{base}{REVOKE}"),
            revocation_endpoint_auth_methods_supported: methods,
        }
    }
}

/// The constant part of the document, and its paths.
#[derive(Debug)]
pub(crate) struct Metadata {
    issuer: String,
    jwks_uri: String,
    back_ends: Option<BackEnds>,
    paths: [String; 3],
}

impl Metadata {
    pub(crate) fn new(issuer: &str, public_url: &Url, has_clients: bool) -> Self {
        let prefix = path_of(public_url);
        let base = format!("{}{prefix}", public_url.origin().ascii_serialization());
        Self {
            issuer: issuer.to_owned(),
            jwks_uri: format!("{base}/.well-known/jwks.json"),
            back_ends: has_clients.then(|| BackEnds::below(&base)),
            paths: paths(issuer, prefix),
        }
    }

    /// The issuer identifier of our tokens.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The paths at which the document is answered.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        let describe: [fn() -> Operation; 3] = [
            || operation("showOpenidConfiguration"),
            || operation("showOpenidConfigurationByHost"),
            || operation("showServerMetadata"),
        ];
        let [below, by_host, _] = &self.paths;
        let again = below == by_host;
        let all = self.paths.iter().zip(describe).enumerate();
        let each = all.filter(|(index, _)| !(again && *index == 1));
        each.map(|(_, (path, describe))| Endpoint::at(path).get(show, describe)).collect()
    }

    fn document(&self, algorithms: &[&str]) -> String {
        let document = Document {
            issuer: &self.issuer,
            jwks_uri: &self.jwks_uri,
            response_types_supported: [],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: algorithms,
            back_ends: self.back_ends.as_ref(),
        };
        // Texts and arrays of texts can always be written as JSON.
        serde_json::to_string(&document).unwrap_or_default()
    }
}

/// The path of a URL, empty where it is `/`.
pub(crate) fn path_of(url: &Url) -> &str {
    url.path().trim_end_matches('/')
}

/// The paths of the document, without the path prefix of the service. That of an issuer with a path is
/// below the path (OIDC Discovery §4) or between host and path (RFC 8414 §3), there under either name
/// (RFC 8414 §5).
fn paths(issuer: &str, prefix: &str) -> [String; 3] {
    let url = Url::parse(issuer);
    let path = url.as_ref().map_or("", path_of);
    let below = path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    [
        format!("{}/.well-known/openid-configuration", below.unwrap_or(path)),
        format!("/.well-known/openid-configuration{path}"),
        format!("/.well-known/oauth-authorization-server{path}"),
    ]
}

fn operation(id: &'static str) -> Operation {
    Operation::new(
        "Verifiers",
        id,
        "Get what a verifier of access tokens needs to configure itself",
    )
    .about("OpenID Connect Discovery 1.0 and RFC 8414, as far as they apply.")
    .answers::<Document<'_>>(StatusCode::OK, "The metadata.")
    .can_be_cached()
    .refuses([ErrorCode::StoreUnavailable])
}

/// Answers the document, or 304 if the caller has it.
pub(crate) async fn show(request: HttpRequest, state: State) -> Result<HttpResponse, ApiError> {
    let json = state.metadata.document(&published_keys(&state)?.algorithms);
    Ok(public_document::answer(&request, JSON, &json, &public_document::etag(&json)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_where_the_keys_are_and_names_no_endpoint_we_do_not_have() {
        let url = Url::parse("https://auth.example.com").unwrap();
        let json =
            Metadata::new("https://id.example.com/", &url, false).document(&["ES256", "EdDSA"]);
        assert_eq!(
            json,
            r#"{"issuer":"https://id.example.com/","jwks_uri":"https://auth.example.com/.well-known/jwks.json","response_types_supported":[],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256","EdDSA"]}"#
        );
    }

    #[test]
    fn where_there_are_back_ends_their_endpoints_are_named() {
        let url = Url::parse("https://example.com/auth/").unwrap();
        let json = Metadata::new("https://example.com/auth", &url, true).document(&["ES256"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        for (name, endpoint) in [("introspection", "introspect"), ("revocation", "revoke")] {
            let url = format!("https://example.com/auth/oauth2/{endpoint}");
            assert_eq!(json[format!("{name}_endpoint")], url);
            let methods = &json[format!("{name}_endpoint_auth_methods_supported")];
            assert_eq!(*methods, serde_json::json!(["client_secret_basic"]));
        }
    }

    #[test]
    fn an_issuer_with_a_path_has_its_document_where_the_standards_say() {
        let root = [
            "/.well-known/openid-configuration",
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server",
        ];
        assert_eq!(paths("https://id.example.com", ""), root);
        assert_eq!(paths("https://id.example.com/", ""), root);
        assert_eq!(paths("https://id.example.com", "/auth"), root);
        assert_eq!(
            paths("https://id.example.com/tenant/1/", ""),
            [
                "/tenant/1/.well-known/openid-configuration",
                "/.well-known/openid-configuration/tenant/1",
                "/.well-known/oauth-authorization-server/tenant/1",
            ]
        );
    }
}
