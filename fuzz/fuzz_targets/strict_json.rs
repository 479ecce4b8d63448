//! Request bodies, providers' answers and the parts of tokens are all read by this reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mintgate_strict_json::{Limits, Value, parse_object};

const LIMITS: Limits = Limits { bytes: 4096, depth: 16 };

fuzz_target!(|text: &[u8]| {
    let Ok(members) = parse_object(text, LIMITS) else { return };
    assert!(text.len() <= LIMITS.bytes);
    let value = Value::Object(members.clone());
    assert!(depth(&value) <= LIMITS.depth);
    // What one reader accepts, another understands alike: no name comes twice.
    assert_eq!(serde_json::from_slice::<Value>(text).unwrap(), value);
});

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
