//! The form of an answer.

use std::collections::BTreeSet;

use mintgate_domain::model::Role;
use mintgate_strict_json::{Error, Limits, MAX_DEPTH, Value, parse_object};

use crate::lookup::MAX_BODY_BYTES;

/// The most roles of one user; every token contains all of them.
const MAX_ROLES: usize = 100;

/// Whether this is the media type of JSON (RFC 8259 §11, RFC 6839 §3.1), whatever its parameters.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Why an answer cannot be used. No variant holds any text of the answer, which goes into a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The answer is not a JSON object, or one that has a member name twice.
    #[error("it {0}")]
    Json(#[from] Error),
    /// The answer has no list of texts as `roles`.
    #[error("it is not of the form {{\"roles\": [\"…\"]}}")]
    Form,
    /// The answer has more than 100 roles.
    #[error("it has more than {MAX_ROLES} roles")]
    TooManyRoles,
    /// The role with this number, counted from 1, is not allowed as a role.
    #[error(
        "role number {0} is not 1 to {max} visible ASCII characters without spaces and commas",
        max = Role::MAX_BYTES
    )]
    Role(usize),
}

/// Reads the roles; sorted, without duplicates. Other members may be whatever they are.
pub(crate) fn read(body: &[u8]) -> Result<Vec<Role>, AnswerError> {
    let mut answer = parse_object(body, Limits { bytes: MAX_BODY_BYTES, depth: MAX_DEPTH })?;
    let Some(Value::Array(roles)) = answer.remove("roles") else { return Err(AnswerError::Form) };
    if roles.len() > MAX_ROLES {
        return Err(AnswerError::TooManyRoles);
    }
    let mut names = BTreeSet::new();
    for (index, role) in roles.into_iter().enumerate() {
        let Value::String(name) = role else { return Err(AnswerError::Form) };
        if !Role::is_valid(&name) {
            return Err(AnswerError::Role(index + 1));
        }
        names.insert(name);
    }
    Ok(names.into_iter().map(Role::new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> Vec<String> {
        let roles = read(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
        roles.iter().map(|role| role.as_str().to_owned()).collect()
    }

    #[test]
    fn roles_are_sorted_and_there_once() {
        assert_eq!(names(r#"{"roles":["b","a","b"]}"#), ["a", "b"]);
        assert_eq!(names(r#" {"x":{"roles":7},"roles":["a"],"y":[[["deep"]]]} "#), ["a"]);
        assert!(names(r#"{"roles":[]}"#).is_empty());
        let longest = "r".repeat(64);
        assert_eq!(names(&format!(r#"{{"roles":["{longest}"]}}"#)), [longest]);
    }

    #[test]
    fn anything_else_is_refused_without_repeating_it() {
        let long = format!(r#"{{"roles":["s3cret{}"]}}"#, "r".repeat(59));
        for body in [
            "",
            "s3cret",
            "null",
            "{}",
            r#"["s3cret"]"#,
            r#"[["s3cret"]]"#,
            r#"{"roles":null}"#,
            r#"{"roles":"s3cret"}"#,
            r#"{"roles":{"s3cret":true}}"#,
            r#"{"roles":["a",7]}"#,
            r#"{"roles":["a",null]}"#,
            r#"{"roles":["a"],"roles":["s3cret"]}"#,
            r#"{"roles":["a"],"more":{"s3cret":1,"s3cret":2}}"#,
            r#"{"roles":["a"]} {}"#,
            r#"{"roles":["a"]"#,
            r#"{"Roles":["s3cret"]}"#,
            r#"{"roles":[""]}"#,
            r#"{"roles":["s3cret role"]}"#,
            r#"{"roles":["s3cret,role"]}"#,
            r#"{"roles":["s3crét"]}"#,
            r#"{"roles":["s3cret\n"]}"#,
            r#"{"roles":["s3cret\u0000"]}"#,
            &long,
        ] {
            let error = read(body.as_bytes()).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("s3cr") && !shown.contains('\n'), "{body}: {shown}");
        }
        assert!(read(b"{\"roles\":[\"\xff\"]}").is_err());
    }

    #[test]
    fn there_are_at_most_a_hundred_roles() {
        let body = |count: usize| {
            let roles: Vec<String> = (0..count).map(|n| format!("\"r{n}\"")).collect();
            format!(r#"{{"roles":[{}]}}"#, roles.join(","))
        };
        assert_eq!(names(&body(100)).len(), 100);
        assert_eq!(read(body(101).as_bytes()), Err(AnswerError::TooManyRoles));
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;charset=utf-8",
            "application/vnd.example.roles+json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in ["", "text/html", "text/plain", "text/json", "application/jsonp", "json"] {
            assert!(!is_json(other), "{other}");
        }
    }
}
