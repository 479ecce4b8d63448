//! Whole messages: what an operator reads.

use super::refusal;

#[test]
fn ten_mistakes_are_told_at_once() {
    let message = refusal(
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
    assert_eq!(
        message,
        r#"There are 10 mistakes in the configuration:

1. server.listen = "localhost:8080" (mintgate.toml:2)
   This is not an IP address with a port.
   Fix: write for example "127.0.0.1:8080", "0.0.0.0:8080" or "[::]:8080".

2. server.publik_url (mintgate.toml:3)
   There is no such key.
   Fix: did you mean public_url?

3. tokens.access_ttl_secs = 0 (mintgate.toml:5)
   This must be from 1 to 86400.
   Fix: write a number in that range.

4. tokens.refresh_algorithm = "ES256" (mintgate.toml:6)
   ES256 signs with fresh randomness, and a repeated refresh must be answered with the same bytes.
   Fix: write one of HS256, EdDSA, RS256.

5. store.url = "postgres://mint:***@db/mint?sslmode=required" (mintgate.toml:8)
   There is no sslmode "required".
   Fix: did you mean require? sslmode is one of disable, prefer, require, verify-ca, verify-full.

6. cookies.refresh_name = "__Host-Refresh" (mintgate.toml:10)
   Browsers drop a __Host- cookie with a Path other than / (here /api/v1/auth/refresh).
   Fix: write __Secure- instead, or set cookies.refresh_path = "/".

7. cors.allowed_origins[1] = "https://App.example.com:443/" (mintgate.toml:13)
   Browsers send origins in one spelling, and this is another.
   Fix: write "https://app.example.com".

8. logs (mintgate.toml:14)
   There is no such section.
   Fix: did you mean [log]?

9. providers[0].client_id (mintgate.toml:16)
   This key is required, and it is not set.
   Fix: add client_id = "mintgate".

10. providers[0].redirect_uris[0] = "https://app.example.com/*" (mintgate.toml:19)
   Redirect URIs are compared character for character (RFC 9700 §2.1).
   Fix: list each redirect URI without *."#
    );
}

#[test]
fn a_syntax_error_is_told_alone_with_its_place() {
    for (text, place) in [
        (
            "[server]\nworkers = = 2\nx = 1\n",
            "(mintgate.toml:2)\n   Line 2, column 11, is not TOML: ",
        ),
        ("[server]\n[ops]\n[server]\n", "Line 3, column 2, is not TOML: duplicate key."),
        ("[log]\nfilter = \"é\"\nfilter = \"x\"", "Line 3, column 1, is not TOML: duplicate key."),
        ("[log]\nfilter = \"x", "Line 2, column "),
        ("[log", "Line 1, column "),
    ] {
        let message = refusal(text);
        assert!(message.contains(place), "{message}");
        assert!(
            message.starts_with(
                "There is 1 mistake in the configuration:\n\n1. configuration file (mintgate.toml:"
            ),
            "{message}"
        );
        assert!(
            message.contains("\n   Fix: correct that line; texts stand in double quotes"),
            "{message}"
        );
    }
}

#[test]
fn no_provider_at_all_is_told_with_the_least_that_makes_one() {
    let message = r#"There is 1 mistake in the configuration:

1. providers (not set)
   This key is required, and it is not set.
   Fix: add at least this
      [[providers]]
      id = "corp"
      issuer = "https://idp.example.com"
      client_id = "mintgate"
      client_secret_file = "/run/secrets/corp"
      redirect_uris = ["https://app.example.com/callback"]
   with your provider's values."#;
    assert_eq!(refusal(""), message);
    assert_eq!(refusal("providers = []"), message);
}
