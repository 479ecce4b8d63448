//! Whole messages: what an operator reads.

use super::{only, refusal, refusals};

#[test]
fn ten_mistakes_are_told_at_once() {
    let mistakes = refusals(
        r#"[server]
listen = "localhost:8080"
publik_url = "https://auth.example.com"
[tokens]
access_ttl_secs = 0
refresh_algorithm = "ES256"
[store]
url = "postgres://mint:hunter2@db/mint?sslmode=required"
[cookies]
refresh_name = "__Host-Refresh"
[cors]
allowed_origins = ["https://app.example.com",
                   "https://App.example.com:443/"]
[logs]
filter = "debug"
[[providers]]
id = "corp"
issuer = "https://idp.example.com"
redirect_uris = ["https://app.example.com/*"]
"#,
    );
    // Each with what its message must name besides the key, its value and its place.
    let expected = [
        ("server.listen = \"localhost:8080\" (mintgate.toml:2)", "127.0.0.1:8080"),
        ("server.publik_url (mintgate.toml:3)", "public_url?"),
        ("tokens.access_ttl_secs = 0 (mintgate.toml:5)", "86400"),
        ("tokens.refresh_algorithm = \"ES256\" (mintgate.toml:6)", "HS256, EdDSA, RS256"),
        (
            "store.url = \"postgres://mint:***@db/mint?sslmode=required\" (mintgate.toml:8)",
            "disable, prefer, require, verify-ca, verify-full",
        ),
        (
            "cookies.refresh_name = \"__Host-Refresh\" (mintgate.toml:10)",
            "cookies.refresh_path = \"/\"",
        ),
        (
            "cors.allowed_origins[1] = \"https://App.example.com:443/\" (mintgate.toml:13)",
            "\"https://app.example.com\"",
        ),
        ("logs (mintgate.toml:14)", "[log]?"),
        ("providers[0].client_id (mintgate.toml:16)", "client_id = \"mintgate\""),
        (
            "providers[0].redirect_uris[0] = \"https://app.example.com/*\" (mintgate.toml:19)",
            "RFC 9700",
        ),
    ];
    let headings: Vec<_> = mistakes.iter().map(|mistake| mistake.heading.as_str()).collect();
    assert_eq!(headings, expected.map(|(heading, _)| heading));
    for (mistake, (_, name)) in mistakes.iter().zip(expected) {
        assert!(mistake.body.contains(name), "{name}: {mistake}");
    }
}

#[test]
fn a_syntax_error_is_told_alone_with_its_place() {
    for (text, line, column) in [
        ("[server]\nworkers = = 2\nx = 1\n", 2, Some(11)),
        ("[server]\n[ops]\n[server]\n", 3, Some(2)),
        ("[log]\nfilter = \"é\"\nfilter = \"x\"", 3, Some(1)),
        ("[log]\nfilter = \"x", 2, None),
        ("[log", 1, None),
    ] {
        let mistake = refusal(text);
        let place = format!("(mintgate.toml:{line})");
        assert!(mistake.heading.ends_with(&place), "{mistake}");
        let numbers: Vec<_> = mistake
            .body
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse::<u32>().ok())
            .collect();
        assert_eq!(numbers[0], line, "{mistake}");
        assert!(column.is_none_or(|column| numbers[1] == column), "{mistake}");
    }
}

#[test]
fn no_provider_at_all_is_told_with_the_least_that_makes_one() {
    for text in ["", "providers = []"] {
        let mistake = refusal(text);
        assert_eq!(mistake.key(), "providers");
        let lines = mistake.body.lines().skip_while(|line| line.trim() != "[[providers]]");
        let lines: Vec<_> = lines.take_while(|line| line.starts_with("     ")).collect();
        let sample = lines.join("\n");
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "secret").unwrap();
        let path = secret.path().display().to_string();
        only(&sample.replace("/run/secrets/corp", &path));
    }
}
