//! The form of an answer.

use std::collections::BTreeSet;

use mintgate_domain::model::Role;
use serde::Deserialize;

/// The largest number of roles of a person; every token holds all of them.
const MAX_ROLES: usize = 100;

/// The members of an answer that are read; others are ignored.
#[derive(Deserialize)]
struct Answer {
    roles: Vec<String>,
}

/// Whether this is the media type of JSON (RFC 8259 §11, RFC 6839 §3.1), whatever its parameters.
pub(crate) fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Why an answer cannot be used. No variant holds any text of the answer, which goes into a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The answer is not a JSON object.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// The answer is not an object with a list of texts as `roles`.
    #[error("it is not of the form {{\"roles\": [\"…\"]}} (line {line}, column {column})")]
    Form {
        /// The line of the problem, counted from 1.
        line: usize,
        /// The column of the problem in bytes, counted from 1.
        column: usize,
    },
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

/// Reads the roles; sorted, without duplicates.
pub(crate) fn read(body: &[u8]) -> Result<Vec<Role>, AnswerError> {
    // serde would accept an array in place of the object.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(AnswerError::NotAnObject);
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| AnswerError::Form { line: error.line(), column: error.column() })?;
    if answer.roles.len() > MAX_ROLES {
        return Err(AnswerError::TooManyRoles);
    }
    if let Some(at) = answer.roles.iter().position(|role| !Role::is_valid(role)) {
        return Err(AnswerError::Role(at + 1));
    }
    let roles: BTreeSet<String> = answer.roles.into_iter().collect();
    Ok(roles.into_iter().map(Role::new).collect())
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
