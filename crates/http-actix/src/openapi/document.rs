//! Puts a document together.

use std::collections::BTreeMap;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use super::{Endpoint, Operation};
use super::{page, refusals};
use crate::body::JSON;
use crate::error::ErrorKind;
use crate::public_document;

/// What a document says of its API as a whole.
pub(crate) struct Api<'a> {
    pub(crate) title: &'a str,
    pub(crate) description: &'a str,
    /// What stands before the path of every endpoint.
    pub(crate) path_prefix: &'a str,
    /// The URL that the paths continue.
    pub(crate) server: &'a str,
    pub(crate) security_schemes: Value,
    /// Adds what every operation has.
    pub(crate) common: fn(&Method, Operation) -> Operation,
}

/// The media type of the page, and its charset.
const HTML: &str = "text/html; charset=utf-8";

/// A document as it is answered.
#[derive(Debug)]
pub(crate) struct Document {
    json: String,
    etag: String,
}

impl Document {
    pub(crate) fn new(document: &Value) -> Self {
        let json = document.to_string();
        Self { etag: public_document::etag(&json), json }
    }

    /// Answers the document, or 304 if the caller has it.
    pub(crate) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        public_document::answer(request, JSON, &self.json, &self.etag)
    }
}

/// The page about a document.
#[derive(Debug)]
pub(crate) struct Page {
    html: String,
    etag: String,
    policy: HeaderValue,
}

impl Page {
    pub(crate) fn new(document: &Value) -> Self {
        let html = page::page(document);
        let policy = HeaderValue::from_str(&page::content_security_policy());
        let nothing = || HeaderValue::from_static("default-src 'none'");
        Self {
            etag: public_document::etag(&html),
            html,
            policy: policy.unwrap_or_else(|_| nothing()),
        }
    }

    /// Answers the page, or 304 if the caller has it.
    pub(crate) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let mut answer = public_document::answer(request, HTML, &self.html, &self.etag);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        answer
    }
}

impl Api<'_> {
    /// The document about these paths.
    pub(crate) fn document(&self, endpoints: &[Endpoint]) -> Value {
        let mut tags: Vec<&str> = Vec::new();
        let (mut paths, mut schemas, mut responses) =
            (Map::new(), Map::from_iter(refusals::schemas()), Map::new());
        for endpoint in endpoints {
            let mut methods = Map::new();
            for (method, describe) in &endpoint.operations {
                let operation = (self.common)(method, describe());
                if !tags.contains(&operation.tag) {
                    tags.push(operation.tag);
                }
                schemas.extend(operation.schemas.iter().cloned());
                let written = operation.write(&mut responses);
                methods.insert(method.as_str().to_ascii_lowercase(), written);
            }
            paths.insert(format!("{}{}", self.path_prefix, endpoint.path), methods.into());
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": self.title,
                "version": env!("CARGO_PKG_VERSION"),
                "description": self.description,
                "license": { "name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE") },
            },
            "servers": [{ "url": self.server }],
            "tags": tags.iter().map(|tag| json!({ "name": tag })).collect::<Value>(),
            "paths": paths,
            "components": {
                "schemas": schemas,
                "responses": responses,
                "headers": refusals::headers(),
                "securitySchemes": self.security_schemes,
            },
        })
    }
}

impl Operation {
    fn write(self, responses: &mut Map<String, Value>) -> Value {
        let mut by_status: BTreeMap<u16, Vec<ErrorKind>> = BTreeMap::new();
        for kind in self.refusals {
            by_status.entry(kind.status().as_u16()).or_default().push(kind);
        }
        let mut all: BTreeMap<String, Value> = BTreeMap::new();
        for (status, mut answer) in self.answers {
            answer["headers"]["X-Request-Id"] =
                json!({ "$ref": "#/components/headers/X-Request-Id" });
            all.insert(status.to_string(), answer);
        }
        for (status, mut kinds) in by_status {
            kinds.sort_by_key(|kind| kind.code());
            let codes: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
            let page = if self.is_page { ".page" } else { "" };
            let name = format!("{status}.{}{page}", codes.join("."));
            all.insert(
                status.to_string(),
                json!({ "$ref": format!("#/components/responses/{name}") }),
            );
            responses.entry(name).or_insert_with(|| refusals::response(&kinds, self.is_page));
        }
        let mut operation = json!({
            "operationId": self.id, "tags": [self.tag], "summary": self.summary, "responses": all,
        });
        if !self.description.is_empty() {
            operation["description"] = self.description.into();
        }
        if !self.parameters.is_empty() {
            operation["parameters"] = self.parameters.into();
        }
        if let Some(body) = self.body {
            operation["requestBody"] = body;
        }
        let schemes = self.security.iter().map(|scheme| json!({ *scheme: [] }));
        operation["security"] = schemes.collect();
        operation
    }
}
