//! `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`: the metadata with
//! which a verifier of tokens configures itself from the issuer alone.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use mintgate_domain::{ErrorCode, TokenHash};
use serde::Serialize;
use url::Url;

use crate::error::ApiError;
use crate::introspection::{INTROSPECT, REVOKE};
use crate::jwks::published_keys;
use crate::{AppState, public_document};

/// Every path that the document can have for some issuer; [`show`] answers at those of ours.
pub(crate) const ROUTES: [&str; 5] = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration/{path:.+}",
    "/.well-known/oauth-authorization-server/{path:.+}",
    "/{path:.+}/.well-known/openid-configuration",
];

/// The metadata of OIDC Discovery 1.0 §3 and RFC 8414 §2, as far as it applies.
///
/// Mintgate is not an authorization server: people sign in at their provider, and
/// `/api/v1/auth/token` is not a token endpoint of RFC 6749. So no endpoint is named but those of back ends,
/// where there are any.
#[derive(Serialize)]
struct Document<'a> {
    issuer: &'a str,
    jwks_uri: &'a str,
    /// Empty; both standards require the member.
    response_types_supported: [&'a str; 0],
    subject_types_supported: [&'a str; 1],
    /// The algorithms that sign access tokens, including those of former keys. Some verifiers accept
    /// no others.
    id_token_signing_alg_values_supported: &'a [&'a str],
    #[serde(flatten)]
    back_ends: Option<&'a BackEnds>,
}

/// The endpoints of back ends, and how they authenticate there.
#[derive(Debug, Serialize)]
struct BackEnds {
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    revocation_endpoint: String,
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

/// The strong entity tag of a document (RFC 9110 §8.8.3).
fn etag(json: &str) -> String {
    let digest = TokenHash::of(json);
    let tag = u128::from_be_bytes(std::array::from_fn(|i| digest.as_bytes()[i]));
    format!("\"{tag:032x}\"")
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

/// Answers the document, or 304 if the caller has it.
pub(crate) async fn show(
    request: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let metadata = &state.metadata;
    if !metadata.paths.iter().any(|path| path == request.path()) {
        return Err(ApiError::new(ErrorCode::NotFound));
    }
    let json = metadata.document(&published_keys(&state)?.algorithms);
    Ok(public_document::answer(&request, &json, &etag(&json)))
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
        assert_eq!(etag(&json).len(), 34);
        assert_ne!(etag(&json), etag(""));
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
