//! What is documented of a method of a path.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{RefOr, path::Parameter};
use utoipa::{IntoParams, ToSchema};

use crate::body;
use crate::error::ErrorKind;
use crate::json::Fields;
use crate::validation::TextRule;

/// A method of a path, as the document has it.
pub(crate) struct Operation {
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    /// The security schemes, one of which is enough; none where anybody may ask.
    pub(super) security: Vec<&'static str>,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    pub(super) answers: BTreeMap<u16, Value>,
    pub(super) refusals: Vec<ErrorKind>,
    /// Whether browsers load it as a page, and see refusals as pages.
    pub(super) is_page: bool,
    pub(super) schemas: Vec<(String, Value)>,
}

impl Operation {
    /// Describes an operation. Code that is generated calls it by its `id`.
    pub(crate) fn new(tag: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            id,
            tag,
            summary,
            description: "",
            security: Vec::new(),
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            refusals: Vec::new(),
            is_page: false,
            schemas: Vec::new(),
        }
    }

    /// Says more than the summary.
    pub(crate) fn about(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// Needs one of these security schemes.
    pub(crate) fn secured_by(mut self, schemes: &[&'static str]) -> Self {
        self.security.extend(schemes);
        self
    }

    /// Is loaded by browsers as a page.
    pub(crate) fn for_browsers(self) -> Self {
        Self { is_page: true, ..self }
    }

    /// Has a parameter in its query that may be left out.
    pub(crate) fn query_parameter(self, name: &str, description: &str) -> Self {
        self.parameter("query", name, description, &json!({ "type": "string" }))
    }

    /// Has a parameter in its path.
    pub(crate) fn path_parameter(self, name: &str, description: &str) -> Self {
        self.parameter("path", name, description, &json!({ "type": "string" }))
    }

    /// Reads a header that may be missing.
    pub(crate) fn header(self, rule: &TextRule, description: &str) -> Self {
        let mut schema = json!({ "type": "string" });
        rule.apply(&mut schema);
        self.parameter("header", rule.name, description, &schema)
    }

    /// Documents the parameters of the query string.
    pub(crate) fn query<T: IntoParams>(mut self) -> Self {
        let parameters: Vec<Parameter> =
            T::into_params(|| Some(utoipa::openapi::path::ParameterIn::Query));
        self.parameters.extend(parameters.iter().map(written));
        self
    }

    fn parameter(mut self, place: &str, name: &str, description: &str, schema: &Value) -> Self {
        self.parameters.push(json!({
            "name": name, "in": place, "required": place == "path",
            "description": description, "schema": schema,
        }));
        self
    }

    /// Takes a JSON body, with the rules by which it is checked.
    pub(crate) fn takes_json<T: Fields>(self, required: bool) -> Self {
        self.takes::<T>(body::JSON, required, &T::text_rules())
    }

    /// Takes a form, with the rules by which it is checked.
    pub(crate) fn takes_form<T: ToSchema>(self, rules: &[TextRule]) -> Self {
        self.takes::<T>(body::FORM, true, rules)
    }

    fn takes<T: ToSchema>(mut self, media_type: &str, required: bool, rules: &[TextRule]) -> Self {
        let mut schema = written(&T::schema());
        for rule in rules {
            rule.apply(&mut schema["properties"][rule.name]);
        }
        let reference = reference::<T>();
        self.schemas.push((T::name().into_owned(), schema));
        self.body = Some(
            json!({ "required": required, "content": { media_type: { "schema": reference } } }),
        );
        self.refuses(body::REFUSALS)
    }

    /// Succeeds with a JSON body of this type.
    pub(crate) fn answers<T: ToSchema>(self, status: StatusCode, description: &str) -> Self {
        let schema = reference::<T>();
        let mut own: Vec<(String, RefOr<Schema>)> = Vec::new();
        T::schemas(&mut own);
        own.push((T::name().into_owned(), T::schema()));
        let mut answering = self.answers_as(status, description, &["application/json"], &schema);
        let own = own.iter().map(|(name, schema)| (name.clone(), as_sent(written(schema))));
        answering.schemas.extend(own);
        answering
    }

    /// Succeeds with a body of any of these media types.
    pub(crate) fn answers_as(
        self,
        status: StatusCode,
        description: &str,
        media_types: &[&str],
        schema: &Value,
    ) -> Self {
        let content: Map<String, Value> = media_types
            .iter()
            .map(|media_type| ((*media_type).to_owned(), json!({ "schema": schema })))
            .collect();
        self.with_answer(status, json!({ "description": description, "content": content }))
    }

    /// Succeeds without a body.
    pub(crate) fn answers_nothing(self, status: StatusCode, description: &str) -> Self {
        self.with_answer(status, json!({ "description": description }))
    }

    fn with_answer(mut self, status: StatusCode, answer: Value) -> Self {
        self.answers.insert(status.as_u16(), answer);
        self
    }

    /// Every success has this header, which the document describes; or may have it.
    pub(crate) fn sends(mut self, header: &str) -> Self {
        for answer in self.answers.values_mut() {
            answer["headers"][header] = json!({ "$ref": format!("#/components/headers/{header}") });
        }
        self
    }

    /// May be refused for these reasons, each in addition to those that are there.
    pub(crate) fn refuses<K: Into<ErrorKind>>(
        mut self,
        kinds: impl IntoIterator<Item = K>,
    ) -> Self {
        for kind in kinds.into_iter().map(Into::into) {
            if !self.refusals.contains(&kind) {
                self.refusals.push(kind);
            }
        }
        self
    }
}

fn reference<T: ToSchema>() -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
}

/// The schema of an answer as serde sends it. utoipa takes an `Option` for a member that may be missing or
/// null: serde either sends null, and then the member is required, or leaves the member out. And it takes a
/// flattened `Option` for null where there is none, but its members are missing.
fn as_sent(mut schema: Value) -> Value {
    for part in schema.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
        *part = match part["oneOf"].as_array().map(Vec::as_slice) {
            Some([there, _null]) => json!({ "anyOf": [there, {}] }),
            _ => as_sent(part.take()),
        };
    }
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let members = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, member) in members.into_iter().flatten() {
        if let Some([there, _null]) = member["type"].as_array().map(Vec::as_slice)
            && !required.iter().any(|required| required == name)
        {
            member["type"] = there.clone();
        }
    }
    schema
}

/// What utoipa has derived, as JSON; its types can always be written.
fn written(derived: &impl serde::Serialize) -> Value {
    serde_json::to_value(derived).unwrap_or_default()
}
