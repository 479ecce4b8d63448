//! The rules, each at its edge.

use std::time::Duration;

use mintgate_domain::OnLookupFailure;
use mintgate_domain::model::LostAnswer;

use super::{PROVIDER, good, refusal, with_provider};
use crate::Settings;

/// Each text is refused with exactly one mistake, which holds the words.
fn refused_with(cases: &[(&str, &str)]) {
    for (text, words) in cases {
        let message = refusal(&with_provider(text));
        assert!(message.contains(words), "{text}\n{message}");
        assert!(message.starts_with("There is 1 mistake"), "{text}\n{message}");
    }
}

/// The same for a provider's lines, put in place of the lines of the same key.
fn provider_refused_with(cases: &[(&str, &str)]) {
    for (lines, words) in cases {
        let message = refusal(&provider(lines));
        assert!(message.contains(words), "{lines}\n{message}");
        assert!(message.starts_with("There is 1 mistake"), "{lines}\n{message}");
    }
}

fn provider(lines: &str) -> String {
    let replaced = |line: &&str| {
        let key = line.split(" =").next().unwrap_or_default();
        key.is_empty() || !lines.lines().any(|l| l.starts_with(&format!("{key} =")))
    };
    let kept: Vec<&str> = PROVIDER.lines().filter(replaced).collect();
    format!("{}\n{lines}\n", kept.join("\n"))
}

const PUBLIC: &str = "[server]\npublic_url = \"https://auth.example.com\"\n";

fn public(text: &str) -> String {
    format!("{PUBLIC}{text}")
}

#[test]
fn the_public_url_is_required_off_loopback_and_is_https_there() {
    refused_with(&[
        (
            "[server]\nlisten = \"0.0.0.0:8080\"",
            "server.public_url (mintgate.toml:1)\n   This key is required",
        ),
        ("[server]\npublic_url = \"http://auth.example.com\"", "Plain http is for this machine"),
        (
            "[server]\npublic_url = \"http://localhost.example.com\"",
            "Plain http is for this machine",
        ),
        (
            "[server]\npublic_url = \"https://auth.example.com/x\"",
            "write \"https://auth.example.com\"",
        ),
        ("[server]\npublic_url = \"https://auth.example.com?\"", "scheme, host and port alone"),
        ("[server]\npublic_url = \"https://auth.example.com#\"", "A fragment cannot stand here"),
        ("[server]\npublic_url = \"https://@auth.example.com\"", "A user or password"),
        ("[server]\npublic_url = \"https:auth.example.com\"", "not a web address"),
        ("[server]\npublic_url = \"https://auth.example.com \"", "cannot hold the character ' '"),
        ("[server]\npublic_url = \"https://aüth.example.com\"", "cannot hold the character 'ü'"),
        ("[server]\npublic_url = \"ftp://auth.example.com\"", "not a web address"),
    ]);
    for url in
        ["http://localhost:3000", "http://127.0.0.2", "http://[::1]:1", "https://a.test:8443"]
    {
        good(&format!("[server]\npublic_url = \"{url}\""));
    }
    good("[server]\nlisten = \"[::1]:8080\"");
}

#[test]
fn listeners_proxies_limits_and_logs_keep_their_bounds() {
    refused_with(&[
        ("[ops]\nlisten = \"127.0.0.1:8080\"", "server.listen has this address already"),
        ("[ops]\nlisten = \"0.0.0.0:8080\"", "server.listen has this address already"),
        ("[server]\nlisten = \"127.0.0.1:9464\"", "ops.listen = \"127.0.0.1:9464\" (default)"),
        ("[server]\ntrusted_proxies = [\"10.0.0.1\"]", "write \"10.0.0.1/32\""),
        ("[server]\ntrusted_proxies = [\"10.0.0.1/8\"]", "write \"10.0.0.0/8\""),
        ("[server]\ntrusted_proxies = [\"proxy\"]", "server.trusted_proxies[0] = \"proxy\""),
        ("[server]\ntrusted_proxies = \"10.0.0.0/8\"", "This must be a list."),
        ("[limits]\nmax_header_bytes = 1023", "from 1024 to 65536"),
        ("[limits]\nmax_header_bytes = 65537", "from 1024 to 65536"),
        ("[limits]\nmax_in_flight = -1", "from 1 to"),
        ("[limits]\nmax_sign_ins = 0", "from 1 to"),
        ("[limits]\nmax_slow_bodies = 0", "from 1 to"),
        ("[limits]\nrequest_timeout_ms = 10.5", "This must be a whole number."),
        ("[limits]\nrequest_timeout_ms = \"10\"", "without quotes"),
        ("[limits]\nmax_in_flight = 99999999999999999999", "whole number"),
        ("[log]\nformat = \"jsn\"", "did you mean \"json\"?"),
        ("[log]\nfilter = \"mintgate=loud\"", "This is not a filter"),
        ("[log]\nfilter = \"\"", "This is empty."),
        ("server = 5", "This is not a table."),
        ("[roles]\nrules = 5", "write [[roles.rules]]"),
    ]);
    good("[server]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"");
    good("[log]\nfilter = \"mintgate=debug,info\"");
    good("[limits]\nmax_header_bytes = 0x10000");
}

#[test]
fn store_urls_are_checked() {
    refused_with(&[
        ("[store]\nurl = \"mysql://x\"", "not the address of a store"),
        ("[store]\nurl = \"sqlite:x.db\"", "not the address of a store"),
        ("[store]\nurl = \"sqlite://\"", "path of the database file is missing"),
        ("[store]\nurl = \"sqlite://:memory:\"", "forgets every session"),
        ("[store]\nurl = \"sqlite://x.db?mode=ro\"", "takes no options"),
        ("[store]\nurl = \"postgres:///db\"", "The host is missing"),
        ("[store]\nurl = \"postgres://h:port/db\"", "The port is not a number"),
        ("[store]\nurl = \"postgres://h/db?sslmode=verify\"", "There is no sslmode"),
        ("[store]\nurl = \"postgres://h/db?sslmode=requir\"", "did you mean require?"),
        ("[store]\npool_size = 0", "from 1 to 1000"),
        ("[store]\npool_size = 1001", "from 1 to 1000"),
        ("[store]\nurl_file = \"/nonexistent\"", "store.url_file = \"/nonexistent\""),
    ]);
    for url in [
        "sqlite:///var/lib/mintgate.db",
        "postgresql://u:p@[::1]:5432/db?sslmode=verify-full",
        "postgres://a:1,b:2/db",
        "postgres:///db?host=/run/postgresql",
    ] {
        good(&format!("[store]\nurl = \"{url}\""));
    }
}

#[test]
fn token_lives_and_algorithms_are_checked() {
    refused_with(&[
        ("[tokens]\naccess_ttl_secs = 86401", "from 1 to 86400"),
        ("[tokens]\nrefresh_ttl_secs = 3599", "refresh_ttl_secs = 3599"),
        ("[tokens]\nsession_ttl_secs = 2591999", "session_ttl_secs = 2591999"),
        ("[tokens]\nalgorithm = \"es256\"", "did you mean \"ES256\"?"),
        ("[tokens]\nalgorithm = \"none\"", "write one of ES256"),
        ("[tokens]\nrefresh_algorithm = \"PS256\"", "fresh randomness"),
        ("[tokens]\naudience = []", "This list must not be empty."),
        ("[tokens]\naudience = [\"a\", \"\"]", "tokens.audience[1]"),
        ("[tokens]\nissuer = \"https://a.test?x\"", "An issuer has no query"),
        (
            "[tokens.extra_claims]\nroles = \"x\"",
            "tokens.extra_claims.roles = \"x\" (mintgate.toml:2)",
        ),
        ("[tokens.extra_claims]\nclient_id = \"x\"", "is not free"),
        ("[tokens.extra_claims]\nx = 1", "the path of a claim"),
    ]);
    good("[tokens]\naccess_ttl_secs = 86400\nrefresh_ttl_secs = 86400\nsession_ttl_secs = 86400");
}

/// 32 bytes, in each of the spellings.
const ENCRYPTION_KEYS: [&str; 4] = [
    "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=",
    "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA",
    "__79_Pv6-fj39vX08_Lx8O_u7ezr6uno5-bl5OPi4eA",
    "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0",
];

#[test]
fn keys_refreshes_and_clean_up_keep_their_bounds() {
    refused_with(&[
        ("[refresh]\ngrace_secs = 301", "from 0 to 300"),
        ("[refresh]\ngrace_replays = 1001", "from 0 to 1000"),
        ("[refresh]\nlost_answer = \"until-used\"", "did you mean \"until_used\"?"),
        ("[keys]\ndir = \"\"", "This is empty."),
        ("[keys]\npublish_ahead_secs = 86401", "from 0 to 86400"),
        ("[keys]\nrotate_after_days = 3651", "from 0 to 3650"),
        ("[keys]\nreload_secs = 0", "from 1 to 300"),
        ("[keys]\nreload_secs = 301", "from 1 to 300"),
        ("[store]\nkeep_ended_days = 3651", "from 0 to 3650"),
        ("[store]\ncleanup_interval_secs = 0", "from 1 to 86400"),
        ("[store]\ncleanup_interval_secs = 86401", "from 1 to 86400"),
    ]);
    let Settings { keys, refresh, store, .. } = good(
        "[keys]\npublish_ahead_secs = 0\nrotate_after_days = 0\nreload_secs = 300\n\
         [refresh]\ngrace_secs = 0\ngrace_replays = 1000\nlost_answer = \"until_used\"\n\
         [store]\nkeep_ended_days = 1\ncleanup_interval_secs = 1",
    );
    assert_eq!(keys.publish_ahead, Duration::ZERO);
    assert_eq!(keys.rotate_every, None);
    assert_eq!(keys.reload, Duration::from_mins(5));
    assert_eq!((refresh.grace_replays, refresh.lost_answer), (1000, LostAnswer::UntilUsed));
    assert_eq!(store.keep_ended, Duration::from_hours(24));
    assert_eq!(store.cleanup_interval, Duration::from_secs(1));
}

#[test]
fn an_encryption_key_is_32_bytes_and_never_silently_none() {
    for text in ENCRYPTION_KEYS {
        let settings = good(&format!("[keys]\nencryption_key = \"{text}\""));
        assert!(settings.keys.encryption_key.is_some(), "{text}");
    }
    let first = ENCRYPTION_KEYS[0];
    let hex = ENCRYPTION_KEYS[3];
    for text in [
        &first[4..],
        &format!("AAAA{first}"),
        &hex[2..],
        &format!("{hex}00"),
        "correct horse battery staple, 32",
    ] {
        let message = refusal(&with_provider(&format!("[keys]\nencryption_key = \"{text}\"")));
        assert_eq!(
            message,
            "There is 1 mistake in the configuration:\n\n\
             1. keys.encryption_key = \"***\" (mintgate.toml:2)\n   \
             This is not a key of 32 bytes.\n   \
             Fix: write 32 random bytes in base64, base64url or hex, for example what \
             `openssl rand -base64 32` prints."
        );
    }
    refused_with(&[
        ("[keys]\nencryption_key = \"\"", "This is empty."),
        ("[keys]\nencryption_key_file = \"/nonexistent\"", "The file cannot be read"),
        ("[keys]\nencryption_key = 5", "This must be a text."),
    ]);
}

#[test]
fn cookies_that_browsers_would_drop_are_refused() {
    let cases = [
        ("[cookies]\nrefresh_name = \"__host-R\"", "with a Path other than /"),
        ("[cookies]\ndomain = \"example.com\"\naccess_name = \"__Host-A\"", "with a Domain"),
        ("[cookies]\nrefresh_name = \"auth-access-token\"", "Both cookies have this name"),
        ("[cookies]\naccess_name = \"a b\"", "cannot be a cookie's name"),
        ("[cookies]\naccess_name = \"\"", "cannot be a cookie's name"),
        ("[cookies]\nsecure = false", "travel in clear"),
        ("[cookies]\nsame_site = \"none\"", "did you mean \"None\"?"),
        ("[cookies]\ndomain = \"com\"", "belongs to everybody"),
        ("[cookies]\ndomain = \".example.com\"", "write \"example.com\""),
        ("[cookies]\ndomain = \"other.com\"", "Browsers refuse this domain"),
        ("[cookies]\ndomain = \"h.example.com\"", "Browsers refuse this domain"),
        ("[cookies]\ndomain = \"ample.com\"", "Browsers refuse this domain"),
        ("[cookies]\ndomain = \"10.0.0.1\"", "an IP address"),
        ("[cookies]\nrefresh_path = \"/api/v1/auth/refresh/\"", "would not send this cookie"),
        ("[cookies]\nrefresh_path = \"/api/v1/auth/ref\"", "would not send this cookie"),
        ("[cookies]\nrefresh_path = \"api\"", "cannot be a cookie's path"),
        ("[cookies]\nrefresh_path = \"/;x\"", "cannot be a cookie's path"),
    ];
    for (text, words) in cases {
        refused_with(&[(&public(text), words)]);
    }
    refused_with(&[
        ("[cookies]\nsecure = false\nsame_site = \"None\"", "SameSite=None"),
        ("[cookies]\nsecure = false\npartitioned = true", "Partitioned"),
        ("[cookies]\nsecure = false\naccess_name = \"__Secure-A\"", "without Secure"),
        ("[cookies]\ndomain = \"example.com\"", "Browsers refuse this domain from 127.0.0.1"),
    ]);
    good("[cookies]\nsecure = false");
    for text in [
        "[cookies]\naccess_name = \"__Host-A\"\nrefresh_name = \"__Secure-R\"",
        "[cookies]\nrefresh_name = \"__Host-R\"\nrefresh_path = \"/\"",
        "[cookies]\ndomain = \"Example.com\"\naccess_name = \"__Secure-A\"",
        "[cookies]\nsame_site = \"None\"\npartitioned = true",
        "[cookies]\nrefresh_path = \"/api/\"",
    ] {
        good(&public(text));
    }
}

#[test]
fn origins_are_exact() {
    for (origin, words) in [
        ("*", "wildcard"),
        ("https://*.example.com", "wildcard"),
        ("null", "sandboxed"),
        ("https://app.example.com/", "write \"https://app.example.com\""),
        ("https://app.example.com:443", "write \"https://app.example.com\""),
        ("https://APP.example.com", "write \"https://app.example.com\""),
        ("http://app.example.com", "write https://"),
        ("app.example.com", "not a URL"),
    ] {
        refused_with(&[(&format!("[cors]\nallowed_origins = [\"{origin}\"]"), words)]);
    }
    good("[cors]\nallowed_origins = [\"https://app.example.com:8443\", \"http://localhost:5173\"]");
}

#[test]
fn role_rules_have_one_condition_and_a_known_provider() {
    let rule = |lines: &str| format!("[[roles.rules]]\nclaim = \"groups\"\n{lines}");
    for (lines, words) in [
        ("grant = [\"a\"]", "add one condition"),
        ("equals = \"x\"\ndomain = \"x.test\"\ngrant = [\"a\"]", "this one has several"),
        ("equals = \"x\"", "roles.rules[0].grant (mintgate.toml:1)\n   This key is required"),
        ("equals = \"x\"\ngrant = []", "must not be empty"),
        ("equals = \"x\"\ngrant = [\"a b\"]", "without spaces and commas"),
        ("matches = \"(\"\ngrant = [\"a\"]", "not a regular expression: unclosed group"),
        ("provider = \"crop\"\nequals = \"x\"\ngrant = [\"a\"]", "did you mean \"corp\"?"),
        ("equals = \"x\"\ngrant = [\"a\"]\nwhen = 1", "There is no such key"),
    ] {
        refused_with(&[(&rule(lines), words)]);
    }
    refused_with(&[("[roles]\ndefault = [\"a,b\"]", "roles.default[0]")]);
    good("[roles]\ndefault = []");
}

#[test]
fn logins_and_role_lookups_keep_their_bounds() {
    let lookup = |lines: &str| {
        format!("[roles.lookup]\nurl = \"https://users.example.com/roles?app=1\"\n{lines}")
    };
    refused_with(&[
        ("[login]\nttl_secs = 0", "from 1 to 3600"),
        ("[login]\nttl_secs = 3601", "from 1 to 3600"),
        ("[roles]\nat_refresh = \"evalute\"", "did you mean \"evaluate\"?"),
        ("[roles.lookup]\nurl = \"http://users.example.com\"", "Plain http is for this machine"),
        ("[roles.lookup]\nurl = \"https://a:b@users.example.com\"", "A user or password"),
        ("[roles.lookup]\ncache_secs = 5", "roles.lookup.cache_secs = 5 (mintgate.toml:2)"),
        ("[roles.lookup]\ntoken = \"t\"", "add url = \"https://users.example.com/roles\""),
        ("[roles]\nlookup = 5", "write [roles.lookup] on a line of its own"),
        ("[roles.lookup]\nurll = \"x\"", "roles.lookup.urll (mintgate.toml:2)"),
        (&lookup("token = \"Bearer x\""), "without Bearer in front"),
        (&lookup("token = \"\""), "This is empty."),
        (&lookup("timeout_ms = 0"), "from 1 to 30000"),
        (&lookup("cache_secs = 86401"), "from 0 to 86400"),
        (&lookup("on_failure = \"refused\""), "did you mean \"refuse\"?"),
    ]);
    let roles = good("").roles;
    assert!(!roles.at_refresh && roles.lookup.is_none());
    let roles = good(&format!("[roles]\nat_refresh = \"evaluate\"\n{}", lookup(""))).roles;
    assert!(roles.at_refresh);
    let asked = roles.lookup.unwrap();
    assert_eq!(asked.url.as_str(), "https://users.example.com/roles?app=1");
    assert!(asked.token.is_none());
    assert_eq!((asked.timeout, asked.cache), (Duration::from_secs(2), Duration::from_mins(1)));
    assert_eq!(asked.on_failure, OnLookupFailure::Refuse);
    let open = lookup("token = \"t\"\non_failure = \"ignore\"\ncache_secs = 0");
    let asked = good(&open).roles.lookup.unwrap();
    assert_eq!(asked.token.unwrap().expose(), "t");
    assert_eq!((asked.cache, asked.on_failure), (Duration::ZERO, OnLookupFailure::Ignore));
    good("[roles.lookup]\nurl = \"http://[::1]:9/roles\"");
}

#[test]
fn providers_are_checked() {
    provider_refused_with(&[
        ("id = \"Corp\"", "lower-case letters"),
        ("id = \"\"", "lower-case letters"),
        ("preset = \"gogle\"", "did you mean \"google\"?"),
        ("preset = \"oidcc\"", "did you mean \"oidc\"?"),
        ("display_name = \" \"", "1 to 64"),
        ("issuer = \"http://idp.example.com\"", "write https://"),
        ("issuer = \"https://idp.example.com#x\"", "A fragment"),
        ("client_id = \"\"", "1 to 255"),
        ("redirect_uris = []", "providers[0].redirect_uris = []"),
        ("redirect_uris = [\"https://a.test/#\"]", "no fragment"),
        ("redirect_uris = [\"https://a.test/*\"]", "without *"),
        (
            "redirect_uris = [\"https://a.test\", \"http://a.test\"]",
            "providers[0].redirect_uris[1]",
        ),
        ("redirect_uris = [\"myapp:/callback\"]", "com.example.app:/callback"),
        ("redirect_uris = [\"/callback\"]", "not a URL"),
        ("redirect_uris = [\"javascript:alert(1)\"]", "RFC 8252"),
        ("scopes = [\"email\"]", "add \"openid\""),
        ("scopes = [\"openid email\"]", "an element of its own"),
        ("pkce = \"always\"", "auto, required"),
        ("id_token_algs = []", "must not be empty"),
        ("id_token_algs = [\"None\"]", "proves nothing"),
        ("id_token_algs = [\"RS257\"]", "did you mean \"RS256\"?"),
        ("id_token_algs = [\"HS256\"]", "there is none"),
        ("id_token_algs = [\"HS256\", \"RS256\"]\nclient_secret = \"x\"", "passed off"),
        ("connect_timeout_ms = 30001\ntimeout_ms = 40000", "from 1 to 30000"),
        ("connect_timeout_ms = 6000", "write at most 5000"),
        ("max_concurrent = 0", "from 1 to 10000"),
        ("circuit_failures = 0", "from 1 to 1000"),
        ("circuit_open_secs = 3601", "from 1 to 3600"),
        ("authorization_params = [\"prompt\"]", "write \"name=value\""),
        ("authorization_params = [\"state=x\"]", "Mintgate sets state itself"),
        ("authorization_params = [\"a=b\", \"code_challenge_method=plain\"]", "params[1] ="),
        ("issuer = \"https://0.0.0.0\"", "at an address a server can have"),
        ("redirect_uri = \"x\"", "did you mean redirect_uris"),
        ("public_url = \"x\"", "move it to [server]"),
    ]);
    for lines in [
        "redirect_uris = [\"com.example.app:/callback\", \"http://127.0.0.1:4000/cb\"]",
        "id_token_algs = [\"HS256\"]\nclient_secret = \"x\"",
        "issuer = \"http://localhost:8081\"",
    ] {
        Settings::from_toml(&provider(lines)).unwrap();
    }
    let twice = refusal(&format!("{PROVIDER}{PROVIDER}"));
    assert!(twice.contains("providers[1].id = \"corp\" (mintgate.toml:9)"), "{twice}");
}

#[test]
fn a_file_over_a_mebibyte_is_refused() {
    let text = with_provider(&"# a long comment\n".repeat(65_536));
    let error = super::load(&text, &[]).unwrap_err().to_string();
    assert!(error.contains("The file is larger than 1 MiB."), "{error}");
}
