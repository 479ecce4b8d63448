//! What an answer must be.

use std::collections::BTreeSet;

use mintgate_domain::model::Role;
use serde::Deserialize;

/// Nobody has more roles; every one of them is in every token.
const MAX_ROLES: usize = 100;

/// The part of an answer that means something; other members are passed over.
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

/// Reads the roles; sorted, without duplicates. What is wrong is said without a word of the answer:
/// it goes into a log, and the answer may hold anything.
pub(crate) fn read(body: &[u8]) -> Result<Vec<Role>, String> {
    // An array would be read as the members of an object in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err("is not a JSON object".to_owned());
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("is not of the form {{\"roles\": [\"…\"]}} (line {line}, column {column})")
    })?;
    if answer.roles.len() > MAX_ROLES {
        return Err(format!("has more than {MAX_ROLES} roles"));
    }
    if let Some(at) = answer.roles.iter().position(|role| !Role::is_valid(role)) {
        return Err(format!(
            "has a role, number {}, that is not 1 to {} visible ASCII characters without spaces and \
             commas",
            at + 1,
            Role::MAX_BYTES
        ));
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
            assert!(!error.contains("s3cr") && !error.contains('\n'), "{body}: {error}");
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
        assert_eq!(read(body(101).as_bytes()).unwrap_err(), "has more than 100 roles");
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
