//! The rules, each at its edge.

use std::time::Duration;

use mintgate_domain::OnLookupFailure;
use mintgate_domain::model::LostAnswer;

use super::{PROVIDER, good, mistakes, refusal, refused_for, with_provider};
use crate::{SameSite, Settings, Warning};

/// Checks the mistake of each text beside a provider; see [`refused_for`].
fn refused_with(cases: &[(&str, &str)]) {
    refused_for(cases.iter().map(|(text, reason)| (with_provider(text), *reason)));
}

/// Checks the mistake of each provider whose lines of the same keys are replaced.
fn provider_refused_with(cases: &[(&str, &str)]) {
    refused_for(cases.iter().map(|(lines, reason)| (provider(lines), *reason)));
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
        ("[server]\nlisten = \"0.0.0.0:8080\"", "server.public_url: This key is required"),
        (
            "[server]\npublic_url = \"http://auth.example.com\"",
            "server.public_url: Plain http is for this machine",
        ),
        (
            "[server]\npublic_url = \"http://localhost.example.com\"",
            "server.public_url: Plain http is for this machine",
        ),
        (
            "[server]\npublic_url = \"https://example.com/auth/\"",
            "server.public_url: write \"https://example.com/auth\"",
        ),
        (
            "[server]\npublic_url = \"https://example.com/a/../auth\"",
            "server.public_url: write \"https://example.com/auth\"",
        ),
        (
            "[server]\npublic_url = \"https://example.com//auth\"",
            "server.public_url: single slashes",
        ),
        (
            "[server]\npublic_url = \"https://example.com/%61uth\"",
            "server.public_url: single slashes",
        ),
        (
            "[server]\npublic_url = \"https://example.com/auth\"\n\
             [cookies]\nrefresh_path = \"/api/v1/auth/refresh\"",
            "cookies.refresh_path: write \"/auth/api/v1/auth/refresh\"",
        ),
        (
            "[server]\npublic_url = \"https://auth.example.com?\"",
            "server.public_url: write \"https://auth.example.com\"",
        ),
        (
            "[server]\npublic_url = \"https://auth.example.com#\"",
            "server.public_url: A fragment cannot stand here",
        ),
        (
            "[server]\npublic_url = \"https://@auth.example.com\"",
            "server.public_url: A user or password",
        ),
        (
            "[server]\npublic_url = \"https:auth.example.com\"",
            "server.public_url: not a web address",
        ),
        (
            "[server]\npublic_url = \"https://auth.example.com \"",
            "server.public_url: cannot hold the character ' '",
        ),
        (
            "[server]\npublic_url = \"https://aüth.example.com\"",
            "server.public_url: cannot hold the character 'ü'",
        ),
        (
            "[server]\npublic_url = \"ftp://auth.example.com\"",
            "server.public_url: not a web address",
        ),
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
        (
            "[ops]\nlisten = \"127.0.0.1:8080\"",
            "ops.listen: server.listen has this address already",
        ),
        ("[ops]\nlisten = \"0.0.0.0:8080\"", "ops.listen: server.listen has this address already"),
        ("[server]\nlisten = \"127.0.0.1:9464\"", "ops.listen: \"127.0.0.1:9464\" (default)"),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.1\"]",
            "server.trusted_proxies[0]: write \"10.0.0.1/32\"",
        ),
        (
            "[server]\ntrusted_proxies = [\"10.0.0.1/8\"]",
            "server.trusted_proxies[0]: write \"10.0.0.0/8\"",
        ),
        ("[server]\ntrusted_proxies = [\"proxy\"]", "server.trusted_proxies[0]: \"proxy\""),
        (
            "[server]\ntrusted_proxies = \"10.0.0.0/8\"",
            "server.trusted_proxies: This must be a list.",
        ),
        ("[limits]\nmax_header_bytes = 1023", "limits.max_header_bytes: from 1024 to 65536"),
        ("[limits]\nmax_header_bytes = 65537", "limits.max_header_bytes: from 1024 to 65536"),
        ("[limits]\nmax_in_flight = -1", "limits.max_in_flight: from 1 to"),
        ("[limits]\nmax_sign_ins = 0", "limits.max_sign_ins: from 1 to"),
        ("[limits]\nmax_slow_bodies = 0", "limits.max_slow_bodies: from 1 to"),
        ("[limits]\nmax_revocation_streams = 0", "limits.max_revocation_streams: from 1 to"),
        (
            "[limits]\nrequest_timeout_ms = 10.5",
            "limits.request_timeout_ms: This must be a whole number.",
        ),
        (
            "[limits]\nrequest_timeout_ms = \"10\"",
            "limits.request_timeout_ms: This must be a whole number.",
        ),
        ("[limits]\nmax_in_flight = 99999999999999999999", "limits.max_in_flight: whole number"),
        ("[log]\nformat = \"jsn\"", "log.format: did you mean \"json\"?"),
        ("[log]\nfilter = \"mintgate=loud\"", "log.filter: This is not a filter"),
        ("[log]\nfilter = \"\"", "log.filter: This is empty."),
        ("server = 5", "server: This is not a table."),
        ("[roles]\nrules = 5", "roles.rules: write [[roles.rules]]"),
    ]);
    good("[server]\nlisten = \"127.0.0.1:0\"\n[ops]\nlisten = \"127.0.0.1:0\"");
    good("[log]\nfilter = \"mintgate=debug,info\"");
    good("[limits]\nmax_header_bytes = 0x10000");
}

#[test]
fn store_urls_are_checked() {
    refused_with(&[
        ("[store]\nurl = \"mysql://x\"", "store.url: not the address of a store"),
        ("[store]\nurl = \"sqlite:x.db\"", "store.url: not the address of a store"),
        ("[store]\nurl = \"sqlite://\"", "store.url: path of the database file is missing"),
        ("[store]\nurl = \"sqlite://:memory:\"", "store.url: forgets every session"),
        ("[store]\nurl = \"sqlite://x.db?mode=ro\"", "store.url: takes no options"),
        ("[store]\nurl = \"postgres:///db\"", "store.url: The host is missing"),
        ("[store]\nurl = \"postgres://h:port/db\"", "store.url: The port is not a number"),
        ("[store]\nurl = \"postgres://h/db?sslmode=verify\"", "store.url: There is no sslmode"),
        ("[store]\nurl = \"postgres://h/db?sslmode=requir\"", "store.url: did you mean require?"),
        ("[store]\npool_size = 0", "store.pool_size: from 1 to 1000"),
        ("[store]\npool_size = 1001", "store.pool_size: from 1 to 1000"),
        ("[store]\nurl_file = \"/nonexistent\"", "store.url_file: \"/nonexistent\""),
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
        ("[tokens]\naccess_ttl_secs = 86401", "tokens.access_ttl_secs: from 1 to 86400"),
        ("[tokens]\nrefresh_ttl_secs = 3599", "tokens.refresh_ttl_secs: refresh_ttl_secs = 3599"),
        (
            "[tokens]\nsession_ttl_secs = 2591999",
            "tokens.session_ttl_secs: session_ttl_secs = 2591999",
        ),
        ("[tokens]\nalgorithm = \"es256\"", "tokens.algorithm: did you mean \"ES256\"?"),
        ("[tokens]\nalgorithm = \"none\"", "tokens.algorithm: write one of ES256"),
        ("[tokens]\nrefresh_algorithm = \"PS256\"", "tokens.refresh_algorithm: fresh randomness"),
        ("[tokens]\naudience = []", "tokens.audience: This list must not be empty."),
        ("[tokens]\naudience = [\"a\", \"\"]", "tokens.audience[1]: This is empty."),
        ("[tokens]\nissuer = \"https://a.test?x\"", "tokens.issuer: An issuer has no query"),
        (
            "[tokens.extra_claims]\nroles = \"x\"",
            "tokens.extra_claims.roles: \"x\" (mintgate.toml:2)",
        ),
        ("[tokens.extra_claims]\nclient_id = \"x\"", "tokens.extra_claims.client_id: is not free"),
        ("[tokens]\nformer_ids_claim = \"sub\"", "tokens.former_ids_claim: is not free"),
        (
            "[tokens]\nformer_ids_claim = \"old\"\n[tokens.extra_claims]\nold = \"x\"",
            "tokens.former_ids_claim: copied from the provider",
        ),
        ("[tokens.extra_claims]\nx = 1", "tokens.extra_claims.x: the path of a claim"),
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
        ("[refresh]\ngrace_secs = 301", "refresh.grace_secs: from 0 to 300"),
        ("[refresh]\ngrace_replays = 1001", "refresh.grace_replays: from 0 to 1000"),
        (
            "[refresh]\nlost_answer = \"until-used\"",
            "refresh.lost_answer: did you mean \"until_used\"?",
        ),
        ("[keys]\ndir = \"\"", "keys.dir: This is empty."),
        ("[keys]\npublish_ahead_secs = 86401", "keys.publish_ahead_secs: from 0 to 86400"),
        ("[keys]\nrotate_after_days = 3651", "keys.rotate_after_days: from 0 to 3650"),
        ("[keys]\nreload_secs = 0", "keys.reload_secs: from 1 to 300"),
        ("[keys]\nreload_secs = 301", "keys.reload_secs: from 1 to 300"),
        ("[store]\nkeep_ended_days = 3651", "store.keep_ended_days: from 0 to 3650"),
        ("[store]\ncleanup_interval_secs = 0", "store.cleanup_interval_secs: from 1 to 86400"),
        ("[store]\ncleanup_interval_secs = 86401", "store.cleanup_interval_secs: from 1 to 86400"),
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
fn former_encryption_keys_are_each_a_key_and_go_with_a_current_one() {
    let (a, b) = ("0f".repeat(32), "1f".repeat(32));
    let former = |text: &str| format!("former_encryption_keys = \"{text}\"");
    let current = format!("[keys]\nencryption_key = \"{a}\"\n");
    assert_eq!(good(&current).keys.former_encryption_keys.len(), 0);
    let settings = good(&format!("{current}{}", former(&format!("{b} {a}\\n"))));
    assert_eq!(settings.keys.former_encryption_keys.len(), 2);
    let mistake = refusal(&with_provider(&format!("{current}{}", former(&format!("{b} none")))));
    assert_eq!(mistake.heading, "keys.former_encryption_keys = \"***\" (mintgate.toml:3)");
    let mistake = refusal(&with_provider(&format!("[keys]\n{}", former(&b))));
    assert_eq!(mistake.heading, "keys.former_encryption_keys = \"***\" (mintgate.toml:2)");
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
        let mistake = refusal(&with_provider(&format!("[keys]\nencryption_key = \"{text}\"")));
        assert_eq!(mistake.heading, "keys.encryption_key = \"***\" (mintgate.toml:2)");
        assert!(mistake.body.contains("openssl rand -base64 32"), "{mistake}");
    }
    refused_with(&[
        ("[keys]\nencryption_key = \"\"", "keys.encryption_key: This is empty."),
        (
            "[keys]\nencryption_key_file = \"/nonexistent\"",
            "keys.encryption_key_file: The file cannot be read",
        ),
        ("[keys]\nencryption_key = 5", "keys.encryption_key: This must be a text."),
    ]);
}

#[test]
fn cookies_that_browsers_would_drop_are_refused() {
    let cases = [
        (
            "[cookies]\nrefresh_name = \"__host-R\"",
            "cookies.refresh_name: with a Path other than /",
        ),
        (
            "[cookies]\ndomain = \"example.com\"\naccess_name = \"__Host-A\"",
            "cookies.access_name: with a Domain",
        ),
        (
            "[cookies]\nrefresh_name = \"auth-access-token\"",
            "cookies.refresh_name: Both cookies have this name",
        ),
        (
            "[cookies]\nhint = true\naccess_name = \"auth-session\"",
            "cookies.access_name: The readable cookie has this name",
        ),
        (
            "[cookies]\nhint = true\nhint_domain = \"other.example\"",
            "cookies.hint_domain: Browsers refuse this domain",
        ),
        ("[cookies]\naccess_name = \"a b\"", "cookies.access_name: cannot be a cookie's name"),
        ("[cookies]\naccess_name = \"\"", "cookies.access_name: cannot be a cookie's name"),
        ("[cookies]\nsecure = false", "cookies.secure: travel in clear"),
        ("[cookies]\nsame_site = \"none\"", "cookies.same_site: did you mean \"None\"?"),
        ("[cookies]\ndomain = \"com\"", "cookies.domain: belongs to everybody"),
        ("[cookies]\ndomain = \".example.com\"", "cookies.domain: write \"example.com\""),
        ("[cookies]\ndomain = \"other.com\"", "cookies.domain: Browsers refuse this domain"),
        ("[cookies]\ndomain = \"h.example.com\"", "cookies.domain: Browsers refuse this domain"),
        ("[cookies]\ndomain = \"ample.com\"", "cookies.domain: Browsers refuse this domain"),
        ("[cookies]\ndomain = \"10.0.0.1\"", "cookies.domain: an IP address"),
        (
            "[cookies]\nrefresh_path = \"/api/v1/auth/refresh/\"",
            "cookies.refresh_path: would not send this cookie",
        ),
        (
            "[cookies]\nrefresh_path = \"/api/v1/auth/ref\"",
            "cookies.refresh_path: would not send this cookie",
        ),
        ("[cookies]\nrefresh_path = \"api\"", "cookies.refresh_path: cannot be a cookie's path"),
        ("[cookies]\nrefresh_path = \"/;x\"", "cookies.refresh_path: cannot be a cookie's path"),
    ];
    refused_for(cases.map(|(text, reason)| (with_provider(&public(text)), reason)));
    refused_with(&[
        ("[cookies]\nsecure = false\nsame_site = \"None\"", "cookies.same_site: SameSite=None"),
        ("[cookies]\nsecure = false\npartitioned = true", "cookies.partitioned: Partitioned"),
        (
            "[cookies]\nsecure = false\naccess_name = \"__Secure-A\"",
            "cookies.access_name: without Secure",
        ),
        (
            "[cookies]\ndomain = \"example.com\"",
            "cookies.domain: Browsers refuse this domain from 127.0.0.1",
        ),
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
    let origins = [
        ("*", "cors.allowed_origins[0]: wildcard"),
        ("https://app.*.example.com", "cors.allowed_origins[0]: wildcard"),
        ("https://*.*.example.com", "cors.allowed_origins[0]: not a domain name"),
        ("https://*", "cors.allowed_origins[0]: wildcard"),
        ("http://*.example.com", "cors.allowed_origins[0]: wildcard"),
        ("https://*example.com", "cors.allowed_origins[0]: wildcard"),
        ("https://*.com", "cors.allowed_origins[0]: top-level"),
        ("https://*.co.uk", "cors.allowed_origins[0]: public suffix"),
        ("https://*.vercel.app", "cors.allowed_origins[0]: public suffix"),
        ("https://*.github.io:8443", "cors.allowed_origins[0]: public suffix"),
        ("https://*.127.0.0.1", "cors.allowed_origins[0]: IP address"),
        ("https://*.Example.com", "cors.allowed_origins[0]: write \"*.example.com\""),
        ("https://*.example.com/", "cors.allowed_origins[0]: write"),
        ("htps://app.example.com", "cors.allowed_origins[0]: https://"),
        ("file://localhost", "cors.allowed_origins[0]: https://"),
        ("capacitor://localhost/", "cors.allowed_origins[0]: write \"capacitor://localhost\""),
        ("capacitor://", "cors.allowed_origins[0]: write \"capacitor://localhost\""),
        ("capacitor://Local", "cors.allowed_origins[0]: write \"capacitor://localhost\""),
        ("null", "cors.allowed_origins[0]: sandboxed"),
        ("https://app.example.com/", "cors.allowed_origins[0]: write \"https://app.example.com\""),
        (
            "https://app.example.com:443",
            "cors.allowed_origins[0]: write \"https://app.example.com\"",
        ),
        ("https://APP.example.com", "cors.allowed_origins[0]: write \"https://app.example.com\""),
        ("http://app.example.com", "cors.allowed_origins[0]: write https://"),
        ("app.example.com", "cors.allowed_origins[0]: not a URL"),
    ];
    let cors = |origin| with_provider(&format!("[cors]\nallowed_origins = [\"{origin}\"]"));
    refused_for(origins.map(|(origin, reason)| (cors(origin), reason)));
    for origin in [
        "https://app.example.com:8443",
        "http://localhost:5173",
        "https://*.example.com",
        "https://*.preview.example.co.uk:8443",
        "https://*.team.vercel.app",
        "capacitor://localhost",
        "tauri://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    ] {
        good(&format!("[cors]\nallowed_origins = [\"{origin}\"]"));
    }
}

#[test]
fn pages_whose_cookies_are_not_sent_are_warned_of() {
    let warned = |public_url: &str, origin: &str, more: &str| {
        let text = format!(
            "[server]\npublic_url = \"{public_url}\"\n[cors]\nallowed_origins = [\"{origin}\"]\n\
             [cookies]\n{more}"
        );
        Settings::from_toml(&with_provider(&text)).unwrap().warnings()
    };
    let (own, none) = ("https://auth.example.com", "same_site = \"None\"");
    for (public_url, same_site) in [
        (own, "https://app.example.com"),
        (own, "https://example.com:8443"),
        (own, "https://*.preview.example.com"),
        ("http://localhost:8080", "http://localhost:5173"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:5173"),
    ] {
        assert_eq!(warned(public_url, same_site, ""), [], "{same_site}");
    }
    for other in [
        "https://app.example.org",
        "https://*.example.org",
        "http://localhost:5173",
        "capacitor://localhost",
    ] {
        let origin = other.to_owned();
        let lax = Warning::OtherSite { origin: origin.clone(), same_site: SameSite::Lax };
        // Logins return to exact addresses of the web.
        let is_page = !other.contains('*') && other.starts_with("http");
        let returns = Warning::ReturnsToOtherSite { origin: origin.clone() };
        let and_returns = |warning: Option<Warning>| {
            let returns = is_page.then(|| returns.clone());
            warning.into_iter().chain(returns).collect::<Vec<_>>()
        };
        assert_eq!(warned(own, other, ""), and_returns(Some(lax)));
        let partly = Warning::NotPartitioned { origin };
        assert_eq!(warned(own, other, none), and_returns(Some(partly)));
        let partitioned = format!("{none}\npartitioned = true");
        assert_eq!(warned(own, other, &partitioned), and_returns(None));
        let elsewhere = format!("{partitioned}\n[pages]\nreturn_origins = [\"{own}\"]");
        assert_eq!(warned(own, other, &elsewhere), []);
    }
    // Two people's pages below a public suffix are two sites.
    assert_eq!(warned("https://a.vercel.app", "https://b.vercel.app", "").len(), 2);
    let (origin, host) = ("http://localhost:5173".to_owned(), "localhost".to_owned());
    let loopback = Warning::LoopbackNames { origin, host };
    assert_eq!(warned("http://127.0.0.1:8080", "http://localhost:5173", ""), [loopback]);
}

#[test]
fn role_rules_have_one_condition_and_a_known_provider() {
    let rule = |lines: &str| format!("[[roles.rules]]\nclaim = \"groups\"\n{lines}");
    let rules = [
        ("grant = [\"a\"]", "roles.rules[0].equals: add one condition"),
        (
            "equals = \"x\"\ndomain = \"x.test\"\ngrant = [\"a\"]",
            "roles.rules[0].domain: this one has several",
        ),
        ("equals = \"x\"", "roles.rules[0].grant: This key is required"),
        ("equals = \"x\"\ngrant = []", "roles.rules[0].grant: must not be empty"),
        ("equals = \"x\"\ngrant = [\"a b\"]", "roles.rules[0].grant[0]: without spaces and commas"),
        (
            "matches = \"(\"\ngrant = [\"a\"]",
            "roles.rules[0].matches: not a regular expression: unclosed group",
        ),
        (
            "provider = \"crop\"\nequals = \"x\"\ngrant = [\"a\"]",
            "roles.rules[0].provider: did you mean \"corp\"?",
        ),
        ("equals = \"x\"\ngrant = [\"a\"]\nwhen = 1", "roles.rules[0].when: There is no such key"),
    ];
    refused_for(rules.map(|(lines, reason)| (with_provider(&rule(lines)), reason)));
    refused_with(&[(
        "[roles]\ndefault = [\"a,b\"]",
        "roles.default[0]: without spaces and commas",
    )]);
    good("[roles]\ndefault = []");
}

#[test]
fn logins_and_role_lookups_keep_their_bounds() {
    let lookup = |lines: &str| {
        format!("[roles.lookup]\nurl = \"https://users.example.com/roles?app=1\"\n{lines}")
    };
    refused_with(&[
        ("[login]\nttl_secs = 0", "login.ttl_secs: from 1 to 3600"),
        ("[login]\nttl_secs = 3601", "login.ttl_secs: from 1 to 3600"),
        ("[roles]\nat_refresh = \"evalute\"", "roles.at_refresh: did you mean \"evaluate\"?"),
        (
            "[roles.lookup]\nurl = \"http://users.example.com\"",
            "roles.lookup.url: Plain http is for this machine",
        ),
        (
            "[roles.lookup]\nurl = \"https://a:b@users.example.com\"",
            "roles.lookup.url: A user or password",
        ),
        ("[roles.lookup]\ncache_secs = 5", "roles.lookup.cache_secs: 5 (mintgate.toml:2)"),
        (
            "[roles.lookup]\ntoken = \"t\"",
            "roles.lookup.token: add url = \"https://users.example.com/roles\"",
        ),
        ("[roles]\nlookup = 5", "roles.lookup: write [roles.lookup] on a line of its own"),
        ("[roles.lookup]\nurll = \"x\"", "roles.lookup.urll: There is no such key"),
        (&lookup("token = \"Bearer x\""), "roles.lookup.token: without Bearer in front"),
        (&lookup("token = \"\""), "roles.lookup.token: This is empty."),
        (&lookup("timeout_ms = 0"), "roles.lookup.timeout_ms: from 1 to 30000"),
        (&lookup("cache_secs = 86401"), "roles.lookup.cache_secs: from 0 to 86400"),
        (&lookup("on_failure = \"refused\""), "roles.lookup.on_failure: did you mean \"refuse\"?"),
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
        ("id = \"Corp\"", "providers[0].id: lower-case letters"),
        ("id = \"\"", "providers[0].id: lower-case letters"),
        ("preset = \"gogle\"", "providers[0].preset: did you mean \"google\"?"),
        ("preset = \"oidcc\"", "providers[0].preset: did you mean \"oidc\"?"),
        ("display_name = \" \"", "providers[0].display_name: 1 to 64"),
        ("issuer = \"http://idp.example.com\"", "providers[0].issuer: write https://"),
        ("issuer = \"https://idp.example.com#x\"", "providers[0].issuer: A fragment"),
        ("client_id = \"\"", "providers[0].client_id: 1 to 255"),
        ("redirect_uris = []", "providers[0].redirect_uris: []"),
        ("redirect_uris = [\"https://a.test/#\"]", "providers[0].redirect_uris[0]: no fragment"),
        ("redirect_uris = [\"https://a.test/*\"]", "providers[0].redirect_uris[0]: without *"),
        (
            "redirect_uris = [\"https://*.a.example.com/*\"]",
            "providers[0].redirect_uris[0]: without *",
        ),
        ("redirect_uris = [\"http://*.a.test/cb\"]", "providers[0].redirect_uris[0]: without *"),
        (
            "redirect_uris = [\"https://*.pages.dev/cb\"]",
            "providers[0].redirect_uris[0]: public suffix",
        ),
        (
            "redirect_uris = [\"https://*.example.com/cb#\"]",
            "providers[0].redirect_uris[0]: no fragment",
        ),
        (
            "redirect_uris = [\"https://a.test\", \"http://a.test\"]",
            "providers[0].redirect_uris[1]: plain http",
        ),
        (
            "redirect_uris = [\"myapp:/callback\"]",
            "providers[0].redirect_uris[0]: com.example.app:/callback",
        ),
        ("redirect_uris = [\"/callback\"]", "providers[0].redirect_uris[0]: not a URL"),
        (
            "redirect_uris = [\"javascript:alert(1)\"]",
            "providers[0].redirect_uris[0]: com.example.app:/callback",
        ),
        ("scopes = [\"email\"]", "providers[0].scopes: add \"openid\""),
        ("scopes = [\"openid email\"]", "providers[0].scopes[0]: an element of its own"),
        ("pkce = \"always\"", "providers[0].pkce: auto, required"),
        ("id_token_algs = []", "providers[0].id_token_algs: must not be empty"),
        ("id_token_algs = [\"None\"]", "providers[0].id_token_algs[0]: proves nothing"),
        ("id_token_algs = [\"RS257\"]", "providers[0].id_token_algs[0]: did you mean \"RS256\"?"),
        ("id_token_algs = [\"HS256\"]", "providers[0].id_token_algs: there is none"),
        (
            "id_token_algs = [\"HS256\", \"RS256\"]\nclient_secret = \"x\"",
            "providers[0].id_token_algs: passed off",
        ),
        (
            "connect_timeout_ms = 30001\ntimeout_ms = 40000",
            "providers[0].connect_timeout_ms: from 1 to 30000",
        ),
        ("connect_timeout_ms = 6000", "providers[0].connect_timeout_ms: write at most 5000"),
        ("max_concurrent = 0", "providers[0].max_concurrent: from 1 to 10000"),
        ("circuit_failures = 0", "providers[0].circuit_failures: from 1 to 1000"),
        ("circuit_open_secs = 3601", "providers[0].circuit_open_secs: from 1 to 3600"),
        (
            "authorization_params = [\"prompt\"]",
            "providers[0].authorization_params[0]: write \"name=value\"",
        ),
        (
            "authorization_params = [\"state=x\"]",
            "providers[0].authorization_params[0]: Mintgate sets state itself",
        ),
        (
            "authorization_params = [\"a=b\", \"code_challenge_method=plain\"]",
            "providers[0].authorization_params[1]: Mintgate sets code_challenge_method itself",
        ),
        ("issuer = \"https://0.0.0.0\"", "providers[0].issuer: at an address a server can have"),
        ("redirect_uri = \"x\"", "providers[0].redirect_uri: did you mean redirect_uris"),
        ("public_url = \"x\"", "providers[0].public_url: move it to [server]"),
    ]);
    for lines in [
        "redirect_uris = [\"com.example.app:/callback\", \"http://127.0.0.1:4000/cb\"]",
        "redirect_uris = [\"http://127.0.0.1/cb\", \"https://*.preview.example.com/cb\"]",
        "id_token_algs = [\"HS256\"]\nclient_secret = \"x\"",
        "issuer = \"http://localhost:8081\"",
    ] {
        Settings::from_toml(&provider(lines)).unwrap();
    }
    let twice = refusal(&format!("{PROVIDER}{PROVIDER}"));
    assert_eq!(twice.heading, "providers[1].id = \"corp\" (mintgate.toml:9)");
}

#[test]
fn a_file_over_a_mebibyte_is_refused() {
    let text = with_provider(&"# a long comment\n".repeat(65_536));
    let mistakes = mistakes(&super::load(&text, &[]).unwrap_err());
    assert!(mistakes[0].body.contains("1 MiB"), "{mistakes:?}");
}
