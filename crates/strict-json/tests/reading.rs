//! What is read, what is refused, and how.

use mintgate_strict_json::{
    Error, Limits, MAX_DEPTH, Position, Value, parse, parse_array, parse_object,
};
use proptest::prelude::*;
use serde_json::json;

const LIMITS: Limits = Limits { bytes: 1024 * 1024, depth: 32 };

fn at(line: usize, column: usize) -> Position {
    Position { line, column }
}

#[test]
fn every_kind_of_value_is_read() {
    let text = r#" {"a":[null,true,-1,1.5,"x"],"b":{"c":18446744073709551615,"":{}}} "#;
    let expected = json!({"a": [null, true, -1, 1.5, "x"], "b": {"c": 18_446_744_073_709_551_615_u64, "": {}}});
    assert_eq!(parse(text.as_bytes(), LIMITS), Ok(expected));
    assert_eq!(parse_array(b"[1]", LIMITS), Ok(vec![json!(1)]));
    assert_eq!(parse(b"7", LIMITS), Ok(json!(7)));
}

#[test]
fn anything_but_one_json_value_is_a_syntax_error() {
    for text in [
        &b""[..],
        b"{",
        b"{} {}",
        b"{}x",
        b"{'a':1}",
        br#"{"a":1,}"#,
        br#"{"a":1e999}"#,
        br#"{"a":NaN}"#,
        br#"{"a":"\ud800"}"#,
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\n\"}",
    ] {
        assert!(matches!(parse(text, LIMITS), Err(Error::Syntax(_))), "{text:?}");
    }
    assert_eq!(parse(b"{\n  \"a\": tru }", LIMITS), Err(Error::Syntax(at(2, 11))));
}

#[test]
fn a_member_name_given_twice_is_refused_at_any_depth() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"x":{"a":1,"b":2,"a":3}}"#,
        r#"{"x":[{"a":1,"b":{"c":1,"c":1}}]}"#,
        r#"{"":1,"":1}"#,
    ] {
        let result = parse_object(text.as_bytes(), LIMITS);
        assert!(matches!(result, Err(Error::DuplicateName(_))), "{text}");
    }
    assert_eq!(parse(br#"{"a":1,"a":1}"#, LIMITS), Err(Error::DuplicateName(at(1, 10))));
    assert!(parse(br#"[{"a":1},{"a":1},{"A":{"a":1}}]"#, LIMITS).is_ok());
}

#[test]
fn nesting_is_bounded_by_the_caller_and_by_the_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let is_too_deep = |depth: usize, limit: usize| {
        let limits = Limits { depth: limit, ..LIMITS };
        matches!(parse(nested(depth).as_bytes(), limits), Err(Error::TooDeep(_)))
    };
    assert!(!is_too_deep(32, 32) && is_too_deep(33, 32) && is_too_deep(100_000, 32));
    assert!(!is_too_deep(MAX_DEPTH, MAX_DEPTH) && is_too_deep(MAX_DEPTH + 1, usize::MAX));
    assert!(is_too_deep(1, 0));
    assert_eq!(parse(b"7", Limits { depth: 0, ..LIMITS }), Ok(json!(7)));
}

#[test]
fn a_text_that_is_too_long_is_not_read() {
    let limits = Limits { bytes: 4, ..LIMITS };
    assert!(parse(b"[11]", limits).is_ok());
    assert_eq!(parse(b"[111]", limits), Err(Error::TooLong(4)));
    assert_eq!(parse(b"no JSON", limits), Err(Error::TooLong(4)));
}

#[test]
fn another_value_than_the_one_asked_for_is_told_from_bad_json() {
    for text in ["null", "[]", "\"text\"", "1", "true"] {
        assert_eq!(parse_object(text.as_bytes(), LIMITS), Err(Error::NotAnObject), "{text}");
    }
    for text in ["null", "{}", "\"text\"", "1"] {
        assert_eq!(parse_array(text.as_bytes(), LIMITS), Err(Error::NotAnArray), "{text}");
    }
}

#[test]
fn an_error_quotes_nothing_of_the_text() {
    for text in [r#"{"secret":1,"secret":1}"#, r#"{"secret":secret}"#, r#"["secret"#, "secret"] {
        let error = parse_object(text.as_bytes(), LIMITS).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map("[a-d]{0,2}", inner, 0..8)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Every object of `value` once more, with one of its members repeated.
fn with_a_repeated_name(value: &Value) -> Vec<String> {
    match value {
        Value::Array(elements) => elements
            .iter()
            .flat_map(with_a_repeated_name)
            .map(|element| format!("[0,{element}]"))
            .collect(),
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| {
                let name = Value::from(name.as_str());
                let mut texts = vec![format!("{{{name}:{value},\"other\":1,{name}:null}}")];
                let nested = with_a_repeated_name(value);
                texts.extend(nested.into_iter().map(|value| format!("{{{name}:{value}}}")));
                texts
            })
            .collect(),
        _ => Vec::new(),
    }
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_back(value in any_value()) {
        prop_assert_eq!(parse(value.to_string().as_bytes(), LIMITS), Ok(value));
    }

    #[test]
    fn a_repeated_name_is_found_wherever_it_is(value in any_value()) {
        for text in with_a_repeated_name(&value) {
            let result = parse(text.as_bytes(), LIMITS);
            prop_assert!(matches!(result, Err(Error::DuplicateName(_))), "{}: {:?}", text, result);
        }
    }

    #[test]
    fn what_is_read_is_what_serde_json_reads(text in r#"[\[\]{}",:0-9a-c.e\\ \n-]{0,24}"#) {
        if let Ok(value) = parse(text.as_bytes(), LIMITS) {
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse(&bytes, LIMITS);
    }
}
