//! The values that hold where nothing is written, and the contract's own example.

use std::path::Path;
use std::time::Duration;

use mintgate_domain::model::{LostAnswer, NewerToken, ProfileClaims, Role};
use mintgate_domain::{Admission, NonceRule, Requirement};
use mintgate_identity_openid::GuardConfig;

use super::{good, openid, with_provider};
use crate::reference::EXAMPLE;
use crate::{Algorithm, LogFormat, SameSite, Settings, StoreUrl};

#[test]
fn the_defaults_are_the_contracts() {
    let Settings {
        server,
        ops,
        store,
        tokens,
        keys,
        refresh,
        cookies,
        cors,
        login,
        users,
        roles,
        limits,
        log,
        providers,
        ..
    } = good("");
    assert_eq!(users.admission, Admission::Open);
    assert_eq!(users.profile, ProfileClaims::default());
    assert_eq!(server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(server.public_url.as_str(), "http://127.0.0.1:8080/");
    assert!(server.trusted_proxies.is_empty());
    assert_eq!(server.workers, 0);
    assert_eq!(ops.listen.to_string(), "127.0.0.1:9464");
    assert!(matches!(&store.url, StoreUrl::Sqlite(path) if path == Path::new("mintgate.db")));
    assert_eq!(store.pool_size, 10);
    assert_eq!(store.connect_timeout, Duration::from_secs(2));
    assert_eq!(store.statement_timeout, Duration::from_secs(5));
    assert_eq!(store.keep_ended, Duration::from_hours(30 * 24));
    assert_eq!(store.cleanup_interval, Duration::from_mins(1));
    assert_eq!(tokens.issuer, "http://127.0.0.1:8080");
    assert_eq!(tokens.audience, ["http://127.0.0.1:8080"]);
    assert_eq!(tokens.algorithm, Algorithm::Es256);
    assert_eq!(tokens.refresh_algorithm, Algorithm::Hs256);
    assert_eq!(tokens.access_ttl, Duration::from_hours(1));
    assert_eq!(tokens.refresh_ttl, Duration::from_hours(30 * 24));
    assert_eq!(tokens.session_ttl, Duration::from_hours(90 * 24));
    assert!(!tokens.body_delivery);
    assert!(tokens.extra_claims.is_empty());
    assert_eq!(keys.dir, Path::new("keys"));
    assert!(keys.access_key.is_none() && keys.refresh_key.is_none());
    assert!(keys.encryption_key.is_none());
    assert_eq!(keys.publish_ahead, Duration::from_mins(10));
    assert_eq!(keys.rotate_every, Some(Duration::from_hours(90 * 24)));
    assert_eq!(keys.reload, Duration::from_secs(10));
    assert_eq!(refresh.grace, Duration::from_secs(30));
    assert_eq!((refresh.grace_replays, refresh.lost_answer), (10, LostAnswer::UntilUsed));
    assert_eq!(refresh.newer_token, NewerToken::Follow);
    assert_eq!(cookies.access_name, "Auth-Access-Token");
    assert_eq!(cookies.refresh_name, "Auth-Refresh-Token");
    assert_eq!(cookies.same_site, SameSite::Lax);
    assert_eq!(cookies.domain, None);
    assert!(!cookies.partitioned && cookies.secure);
    assert_eq!(cookies.refresh_path, "/api/v1/auth/refresh");
    assert!(cors.allowed_origins.is_empty());
    assert_eq!(login.ttl, Duration::from_mins(10));
    assert_eq!(roles.default, [Role::new("user")]);
    assert!(roles.rules.is_empty() && roles.lookup.is_none() && !roles.at_refresh);
    assert_eq!(limits.max_connections, 4096);
    assert_eq!(limits.max_in_flight, 1024);
    assert_eq!((limits.max_sign_ins, limits.max_slow_bodies), (2048, 2048));
    assert_eq!(limits.max_revocation_streams, 256);
    assert_eq!((limits.rate.logins_per_minute, limits.rate.sign_ins_per_minute), (600, 600));
    assert_eq!(limits.rate.refused_sign_ins_per_minute, 60);
    assert_eq!(limits.rate.provider_sign_ins_per_minute, 6000);
    assert_eq!(limits.rate.refused_refreshes_per_minute, 600);
    assert_eq!(limits.rate.refused_logout_tokens_per_minute, 600);
    assert_eq!(limits.rate.session_refreshes_per_minute, 600);
    assert_eq!(limits.rate.refused_admin_tokens_per_minute, 60);
    assert!(limits.rate.exempt.is_empty() && !limits.rate.shared);
    assert_eq!(limits.request_timeout, Duration::from_secs(10));
    assert_eq!(limits.max_header_bytes, 16_384);
    assert_eq!(log.format, LogFormat::Json);
    assert_eq!(log.filter, "info,actix_server=warn,actix_http=off");
    let [corp] = providers.as_slice() else { panic!("one provider") };
    assert!(openid(corp).client_secret.is_none());
    assert_eq!(corp.policy.login.scopes, ["openid", "profile", "email"]);
    assert_eq!(
        (corp.preset.name, corp.policy.login.display_name.as_str()),
        ("oidc", "OpenID Connect")
    );
    assert_eq!((corp.policy.pkce, corp.policy.nonce), (Requirement::Auto, NonceRule::Auto));
    assert_eq!(openid(corp).id_token_algorithms, corp.preset.id_token_algorithms);
    assert!(!openid(corp).userinfo && !openid(corp).network.allow_private_network);
    assert!(corp.policy.login.parameters.is_empty() && corp.policy.recheck.is_none());
    assert_eq!(corp.guard, GuardConfig::default());
    assert_eq!(openid(corp).network.connect_timeout, Duration::from_secs(2));
    assert_eq!(openid(corp).network.timeout, Duration::from_secs(5));
}

#[test]
fn the_contracts_example_loads() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("corp");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:8080"
public_url = "https://auth.example.com"
trusted_proxies = []
[ops]
listen = "127.0.0.1:9464"
[store]
url = "sqlite://mintgate.db"
[tokens]
issuer = "https://auth.example.com"
audience = ["https://api.example.com"]
algorithm = "ES256"
access_ttl_secs = 3600
refresh_ttl_secs = 2592000
session_ttl_secs = 7776000
[keys]
dir = "keys"
[refresh]
grace_secs = 30
[cookies]
same_site = "Lax"
[cors]
allowed_origins = ["https://app.example.com"]
[roles]
default = ["user"]
[[roles.rules]]
provider = "corp"
claim = "groups"
in = ["admins"]
grant = ["admin"]
[[providers]]
id = "corp"
preset = "oidc"
issuer = "https://idp.example.com"
client_id = "mintgate"
client_secret_file = "{}"
redirect_uris = ["https://app.example.com/callback"]
scopes = ["openid", "profile", "email"]
pkce = "auto"
nonce = "auto"
"#,
        secret.display()
    );
    let settings = Settings::from_toml(&text).unwrap();
    assert_eq!(settings.tokens.audience, ["https://api.example.com"]);
    assert_eq!(settings.roles.rules[0].grant[0].as_str(), "admin");
    let secret = openid(&settings.providers[0]).client_secret.as_ref().unwrap();
    assert_eq!(secret.expose(), "hunter2");
}

#[test]
fn the_references_example_loads() {
    let text = EXAMPLE.replace("client_secret_file", "client_secret");
    assert_eq!(text.lines().count(), 10);
    let settings = Settings::from_toml(&text).unwrap();
    assert_eq!(settings.tokens.issuer, "https://auth.example.com");
}

#[test]
fn issuers_are_kept_character_for_character() {
    let settings = good("[server]\npublic_url = \"https://Auth.example.com/\"");
    assert_eq!(settings.tokens.issuer, "https://Auth.example.com/");
    let text = with_provider("").replace("https://idp.example.com", "https://idp.example.com/x/");
    assert_eq!(
        openid(&Settings::from_toml(&text).unwrap().providers[0]).issuer,
        "https://idp.example.com/x/"
    );
}

#[test]
fn without_a_path_the_default_file_may_be_absent_but_a_named_one_may_not() {
    // The directory tests run in has no mintgate.toml; only the missing provider is told.
    let mistakes = |path| super::mistakes(&Settings::load(path, []).unwrap_err());
    let keys: Vec<_> = mistakes(None).iter().map(|mistake| mistake.key().to_owned()).collect();
    assert_eq!(keys, ["providers"]);
    let [named] = mistakes(Some(Path::new("/nonexistent/m.toml"))).try_into().unwrap();
    assert!(named.heading.ends_with("(/nonexistent/m.toml)"), "{named}");
}
