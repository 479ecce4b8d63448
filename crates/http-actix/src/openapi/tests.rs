//! The documents are complete, consistent, and kept in `docs`.

use std::collections::BTreeSet;

use mintgate_domain::model::ReturnOrigins;
use mintgate_domain::{Clients, ErrorCode};
use serde_json::Value;
use url::Url;

use crate::config::{CookieConfig, HttpConfig, Limits, RateLimits, SameSite};
use crate::error::{ErrorKind, HttpErrorCode};
use crate::metadata::Metadata;
use crate::{admin, public_api};

fn public() -> Value {
    public_at("https://auth.example.com", "https://auth.example.com")
}

fn public_at(public_url: &str, issuer: &str) -> Value {
    let public_url = Url::parse(public_url).unwrap();
    let config = HttpConfig {
        issuer: issuer.to_owned(),
        allowed_origins: Vec::new(),
        return_origins: ReturnOrigins::default(),
        hosted: None,
        trusted_proxies: Vec::new(),
        trusted_callers: Vec::new(),
        cookies: CookieConfig {
            access_name: "Auth-Access-Token".to_owned(),
            refresh_name: "Auth-Refresh-Token".to_owned(),
            same_site: SameSite::Lax,
            domain: None,
            partitioned: false,
            refresh_path: "/api/v1/auth/refresh".to_owned(),
            secure: true,
            hint: None,
        },
        limits: Limits {
            request_timeout: std::time::Duration::from_secs(5),
            max_header_bytes: 16_384,
            max_connections: 1,
            max_in_flight: 1,
            max_sign_ins: 1,
            max_revocation_streams: 1,
            max_slow_bodies: 1,
        },
        rate_limits: RateLimits {
            logins_per_minute: 0,
            sign_ins_per_minute: 0,
            refused_sign_ins_per_minute: 0,
            provider_sign_ins_per_minute: 0,
            refused_refreshes_per_minute: 0,
            refused_logout_tokens_per_minute: 0,
            session_refreshes_per_minute: 0,
            refused_admin_tokens_per_minute: 0,
            exempt: Vec::new(),
            shared: None,
        },
        clients: Clients::default(),
        gateways: Vec::new(),
        login_address: None,
        workers: 1,
        public_url,
    };
    let metadata = Metadata::new(&config.issuer, &config.public_url, false);
    public_api::document(&metadata, &config)
}

fn both() -> [(&'static str, Value); 2] {
    [("openapi.json", public()), ("admin-openapi.json", admin::document())]
}

#[test]
fn the_documents_in_docs_are_those_of_the_code() {
    for (name, document) in both() {
        let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("MINTGATE_TEST_UPDATE_DOCS").is_some() {
            let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
            std::fs::write(&path, text).unwrap();
        }
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(
            kept == document,
            "docs/{name} is out of step: `MINTGATE_TEST_UPDATE_DOCS=1 cargo test -p mintgate-http-actix \
             openapi` writes it anew"
        );
    }
}

/// Every value of this member, at any depth.
fn all<'a>(value: &'a Value, member: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(member).and_then(Value::as_str));
            members.values().for_each(|value| all(value, member, found));
        }
        Value::Array(values) => values.iter().for_each(|value| all(value, member, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_id_is_unique() {
    for (name, document) in both() {
        let (mut references, mut ids) = (Vec::new(), Vec::new());
        all(&document, "$ref", &mut references);
        all(&document, "operationId", &mut ids);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{name}: {reference}");
        }
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{name}");
        assert!(ids.len() > 15, "{name}");
    }
}

#[test]
fn every_security_scheme_and_every_parameter_of_a_path_is_described() {
    for (name, document) in both() {
        for (path, methods) in document["paths"].as_object().unwrap() {
            for operation in methods.as_object().unwrap().values() {
                for scheme in operation["security"].as_array().unwrap() {
                    let scheme = scheme.as_object().unwrap().keys().next().unwrap();
                    assert!(
                        document["components"]["securitySchemes"][scheme].is_object(),
                        "{scheme}"
                    );
                }
                let described: BTreeSet<_> = operation["parameters"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|parameter| parameter["in"] == "path")
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                let parts = path.split(['{', '}']).skip(1).step_by(2);
                assert_eq!(described, parts.collect(), "{name}: {path}");
            }
        }
    }
}

#[test]
fn every_error_is_documented_at_an_operation_but_those_of_no_operation() {
    let documents = both().map(|(_, document)| document.to_string()).join("");
    let of_no_operation: [ErrorKind; 3] = [
        HttpErrorCode::MethodNotAllowed.into(),
        // Told by the page that a login returns to.
        ErrorCode::LoginCancelled.into(),
        ErrorCode::LoginExpired.into(),
    ];
    for kind in ErrorKind::ALL.iter().filter(|kind| !of_no_operation.contains(kind)) {
        assert!(documents.contains(&format!("\"{}\"", kind.code())), "{}", kind.code());
    }
}

#[test]
fn the_rules_for_texts_are_those_of_the_code() {
    let document = public();
    let body = &document["components"]["schemas"]["SignInBody"]["properties"];
    assert_eq!(body["authCode"]["maxLength"], 8192);
    assert_eq!(body["codeVerifier"]["minLength"], 43);
    assert_eq!(body["codeVerifier"]["pattern"], "^[A-Za-z0-9._~-]*$");
    for name in ["SignInBody", "LoginBody", "LogoutBody", "RefreshTokenBody", "LogoutTokenBody"] {
        let properties = document["components"]["schemas"][name]["properties"].as_object().unwrap();
        for (member, schema) in properties {
            let is_text = schema["type"].to_string().contains("string");
            assert_eq!(is_text, schema["pattern"].is_string(), "{name}.{member}: {schema}");
            assert!(schema["description"].is_string(), "{name}.{member}");
        }
    }
}

#[test]
fn names_and_addresses_are_those_of_the_configuration() {
    let document = public_at("https://example.com/auth/", "https://id.example.com/tenant/1");
    assert_eq!(document["servers"][0]["url"], "https://example.com/auth");
    assert_eq!(
        document["components"]["securitySchemes"]["accessCookie"]["name"],
        "Auth-Access-Token"
    );
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/tenant/1/.well-known/openid-configuration",
        "/.well-known/openid-configuration/tenant/1",
        "/.well-known/oauth-authorization-server/tenant/1",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(!paths.contains_key("/.well-known/openid-configuration"));
}

#[test]
fn the_page_has_every_operation_and_type_and_loads_nothing() {
    let document = public();
    let page = super::page::page(&document);
    let mut ids = Vec::new();
    all(&document, "operationId", &mut ids);
    ids.extend(document["components"]["schemas"].as_object().unwrap().keys().map(String::as_str));
    for id in ids {
        assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
    for loading in ["<script", "<link", "<img", "src=", "@import", "url(", " style=", " on"] {
        let tags = page.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
        let found = tags.filter(|(tag, _)| format!("<{tag}").contains(loading)).count();
        assert_eq!(found, 0, "{loading}");
    }
}
