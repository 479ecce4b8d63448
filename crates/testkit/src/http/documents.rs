//! Holds answers to the documents that are kept in `docs`, which are those of the code.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use http::{HeaderMap, Method, StatusCode};
use jsonschema::Validator;
use serde_json::{Value, json};

static PUBLIC: LazyLock<Document> =
    LazyLock::new(|| Document::read(include_str!("../../../../docs/openapi.json")));
static ADMIN: LazyLock<Document> =
    LazyLock::new(|| Document::read(include_str!("../../../../docs/admin-openapi.json")));

/// An answer, and what it answers.
pub(super) struct Seen<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) is_preflight: bool,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

struct Document {
    json: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Seen<'_> {
    /// Checks that the answer is documented, if it is one of the service.
    ///
    /// # Errors
    /// What is not documented, as a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_admin = self.path.contains("/admin/v1/");
        let document: &Document = if is_admin { &ADMIN } else { &PUBLIC };
        let methods = document.methods(self.path);
        if !self.headers.contains_key("x-request-id") {
            return match methods {
                // Another server's, or a route without the envelope: metrics, health.
                None => Ok(()),
                // A service without admin tokens has no admin API.
                Some(_) if is_admin && self.status == StatusCode::NOT_FOUND => Ok(()),
                Some(_) => Err("X-Request-Id is missing".to_owned()),
            };
        }
        // Which of these paths there are depends on the listener, the public URL and the issuer.
        let may_be_missing =
            is_admin || is_metadata(self.path) || document.methods_at(self.path).is_none();
        let methods = methods.filter(|_| !(may_be_missing && self.status == StatusCode::NOT_FOUND));
        let method = if *self.method == Method::HEAD { &Method::GET } else { self.method };
        let name = method.as_str().to_ascii_lowercase();
        match methods.map(|methods| (methods, methods.get(&name))) {
            Some((_, Some(operation))) => self.check_operation(document, operation),
            _ if self.is_preflight && self.status == StatusCode::NO_CONTENT => Ok(()),
            Some((methods, None)) => {
                if self.status == StatusCode::METHOD_NOT_ALLOWED {
                    self.check_allow(methods)?;
                }
                self.check_refusal(document)
            }
            None => self.check_refusal(document),
        }
    }

    fn check_operation(&self, document: &Document, operation: &Value) -> Result<(), String> {
        let answer = &operation["responses"][self.status.as_str()];
        let answer = document.resolve(answer).ok_or_else(|| {
            let statuses = operation["responses"].as_object().map(|all| all.keys());
            let statuses: Vec<_> = statuses.into_iter().flatten().collect();
            format!("its status is none of {statuses:?}")
        })?;
        for (name, header) in answer["headers"].as_object().into_iter().flatten() {
            let header = document.resolve(header).ok_or("a header is not described")?;
            if header["required"] == true && !self.headers.contains_key(name.as_str()) {
                return Err(format!("the header {name} is missing"));
            }
        }
        if *self.method == Method::HEAD {
            return if self.body.is_empty() { Ok(()) } else { Err("HEAD has a body".to_owned()) };
        }
        let Some(contents) = answer["content"].as_object() else {
            return if self.body.is_empty() { Ok(()) } else { Err("it has a body".to_owned()) };
        };
        let media_type = self.headers.get("content-type").and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or("none");
        let content =
            contents.get(media_type).ok_or_else(|| format!("its content type is {media_type}"))?;
        if media_type.ends_with("json") {
            self.validate(document, &content["schema"])
        } else {
            Ok(())
        }
    }

    fn check_refusal(&self, document: &Document) -> Result<(), String> {
        if !self.status.is_client_error() && !self.status.is_server_error() {
            return Err("neither the method nor a refusal is documented".to_owned());
        }
        if *self.method == Method::HEAD {
            return Ok(());
        }
        self.validate(document, &json!({ "$ref": "#/components/schemas/ErrorBody" }))
    }

    fn check_allow(&self, methods: &Value) -> Result<(), String> {
        let allow = self.headers.get("allow").and_then(|value| value.to_str().ok());
        let mut allowed: Vec<&str> = allow.unwrap_or_default().split(", ").collect();
        allowed.retain(|method| *method != "HEAD");
        allowed.sort_unstable();
        let documented = methods.as_object().into_iter().flatten();
        let mut documented: Vec<_> = documented.map(|(name, _)| name.to_uppercase()).collect();
        documented.sort();
        if allowed == documented { Ok(()) } else { Err(format!("Allow is {allow:?}")) }
    }

    fn validate(&self, document: &Document, schema: &Value) -> Result<(), String> {
        let body = serde_json::from_slice(self.body).map_err(|error| error.to_string())?;
        let errors: Vec<String> = document
            .validator(schema)
            .iter_errors(&body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }
}

impl Document {
    fn read(text: &str) -> Self {
        let mut json: Value = serde_json::from_str(text).expect("JSON");
        close(&mut json["components"]["schemas"], false);
        Self { json, validators: Mutex::default() }
    }

    /// The methods of the path, also of one that stands behind the path of a public URL.
    fn methods(&self, path: &str) -> Option<&Value> {
        let mut rest = Some(path);
        while let Some(path) = rest {
            if let Some(methods) = self.methods_at(path) {
                return Some(methods);
            }
            rest = path.get(1..).and_then(|path| path.find('/').map(|at| &path[at..]));
        }
        None
    }

    fn methods_at(&self, path: &str) -> Option<&Value> {
        let mut paths = self.json["paths"].as_object()?.iter();
        paths.find(|(template, _)| matches(template, path)).map(|(_, methods)| methods)
    }

    /// What is described, at another place if there is a reference.
    fn resolve<'a>(&'a self, described: &'a Value) -> Option<&'a Value> {
        match described["$ref"].as_str() {
            Some(reference) => self.json.pointer(reference.strip_prefix('#')?),
            None => Some(described).filter(|it| it.is_object()),
        }
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = validators.entry(schema.to_string());
        let made = entry.or_insert_with(|| {
            let root = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "components": { "schemas": self.json["components"]["schemas"] },
                "allOf": [schema],
                "unevaluatedProperties": schema["$ref"].is_null() && schema["allOf"].is_null(),
            });
            let options = jsonschema::options().should_validate_formats(true);
            Arc::new(options.build(&root).expect("a JSON schema"))
        });
        Arc::clone(made)
    }
}

/// Allows no other members than the documented ones, wherever a schema is used: what a client may have to
/// live with is a mistake of the documents here. The parts of an `allOf` share their members.
fn close(schema: &mut Value, is_part: bool) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("$ref") && !is_part {
                members.insert("unevaluatedProperties".to_owned(), false.into());
            }
            for (name, value) in members {
                close(value, matches!(name.as_str(), "allOf" | "anyOf"));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| close(value, is_part)),
        _ => {}
    }
}

fn is_metadata(path: &str) -> bool {
    path.contains("/.well-known/openid-configuration")
        || path.contains("/.well-known/oauth-authorization-server")
}

/// Whether a path is one of this template. The metadata of an issuer with a path has that behind its own.
fn matches(template: &str, path: &str) -> bool {
    let (mut templates, mut segments) = (template.split('/'), path.split('/'));
    loop {
        match (templates.next(), segments.next()) {
            (None, rest) => return rest.is_none() || is_metadata(template),
            (Some(_), None) => return false,
            (Some(expected), Some(actual)) => {
                if !expected.starts_with('{') && expected != actual {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(
        method: &Method,
        path: &str,
        status: u16,
        headers: &[&'static str],
        body: &str,
    ) -> Result<(), String> {
        let mut all = HeaderMap::new();
        for name in headers {
            all.insert(*name, HeaderValue::from_static("POST"));
        }
        all.insert("content-type", HeaderValue::from_static("application/json"));
        let (status, body) = (StatusCode::from_u16(status).unwrap(), body.as_bytes());
        Seen { method, path, is_preflight: false, status, headers: &all, body }.check()
    }

    const ID: &str = "x-request-id";
    const PROVIDERS: &str = "/api/v1/auth/providers";
    const NOT_FOUND: &str = r#"{"errorCode":"NOT_FOUND","message":"m","timestamp":"2026-11-28T10:00:00Z","requestId":"r"}"#;

    #[test]
    fn an_answer_that_is_documented_passes() {
        check(&Method::GET, PROVIDERS, 200, &[ID], r#"{"providers":[]}"#).unwrap();
        check(&Method::GET, "/prefix/api/v1/auth/providers", 200, &[ID], r#"{"providers":[]}"#)
            .unwrap();
        check(&Method::GET, "/nothing", 404, &[ID], NOT_FOUND).unwrap();
        check(&Method::DELETE, "/api/v1/auth/sessions/1", 404, &[ID, "cache-control"], NOT_FOUND)
            .unwrap();
        check(&Method::GET, "/authorize", 200, &[], "a provider's").unwrap();
        let refused = NOT_FOUND.replace("NOT_FOUND", "METHOD_NOT_ALLOWED");
        check(&Method::PUT, "/api/v1/auth/token", 405, &[ID, "allow"], &refused).unwrap();
    }

    #[test]
    fn an_answer_that_is_not_documented_does_not() {
        let refused = NOT_FOUND.replace("NOT_FOUND", "METHOD_NOT_ALLOWED");
        for (method, path, status, headers, body, problem) in [
            (
                Method::GET,
                PROVIDERS,
                201,
                &[ID][..],
                r#"{"providers":[]}"#,
                "its status is none of",
            ),
            (Method::GET, PROVIDERS, 404, &[ID], NOT_FOUND, "its status is none of"),
            (Method::GET, PROVIDERS, 200, &[ID], r#"{"providers":[],"more":1}"#, "more"),
            (Method::GET, PROVIDERS, 200, &[ID], r#"{"providers":[{}]}"#, "clientId"),
            (Method::GET, PROVIDERS, 200, &[ID], "no JSON", "expected"),
            (Method::GET, PROVIDERS, 200, &[], r#"{"providers":[]}"#, "X-Request-Id"),
            (Method::DELETE, "/api/v1/auth/sessions/1", 404, &[ID], NOT_FOUND, "Cache-Control"),
            (Method::DELETE, "/api/v1/auth/sessions/1", 204, &[ID], "{}", "it has a body"),
            (Method::GET, "/nothing", 200, &[ID], "{}", "neither the method nor a refusal"),
            (Method::GET, "/nothing", 404, &[ID], "{}", "errorCode"),
            (Method::PUT, PROVIDERS, 405, &[ID, "allow"], &refused, "Allow is"),
        ] {
            let found = check(&method, path, status, headers, body).unwrap_err();
            assert!(found.contains(problem), "{method} {path} {status}: {found}");
        }
        let wrong = NOT_FOUND.replace("NOT_FOUND", "ACCESS_DENIED");
        let headers = &[ID, "cache-control"][..];
        let found = check(&Method::DELETE, "/api/v1/auth/sessions/1", 404, headers, &wrong);
        assert!(found.unwrap_err().contains("errorCode"));
    }
}
