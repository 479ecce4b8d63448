//! How providers are reached: proxies, certificate authorities, internal addresses.

use mintgate_identity_openid::Network;
use url::Url;

use super::{EC_CERTIFICATE, PROVIDER, load, mistakes, one, only, openid, quoted, refusal};
use crate::Settings;

const ISSUER: &str = "issuer = \"https://idp.example.com\"";

fn network(settings: &Settings) -> &Network {
    &openid(&settings.providers[0]).network
}

fn proxy_for(settings: &Settings, url: &str) -> Option<String> {
    let url = Url::parse(url).unwrap();
    network(settings).proxies.proxy_for(&url).map(ToString::to_string)
}

#[test]
fn the_environments_proxies_apply_where_the_provider_has_none_of_its_own() {
    let environment = [
        ("HTTPS_PROXY", "http://user:hunter2@outer.example.com:3128"),
        ("HTTP_PROXY", "http://plain.example.com"),
        ("NO_PROXY", "inner.example.com"),
    ];
    let settings = load(PROVIDER, &environment).unwrap();
    let at = |url| proxy_for(&settings, url);
    assert_eq!(at("https://idp.example.com").unwrap(), "http://outer.example.com:3128");
    assert_eq!(at("http://idp.example.com").unwrap(), "http://plain.example.com:80");
    assert_eq!(at("https://inner.example.com"), None);
    assert!(!settings.print().contains("hunter2") && !format!("{settings:?}").contains("hunter2"));

    let own = format!("{PROVIDER}proxy = \"http://user:hunter2@own.example.com:8\"\n");
    let settings = load(&own, &environment).unwrap();
    for url in ["https://idp.example.com", "http://idp.example.com", "https://inner.example.com"] {
        assert_eq!(proxy_for(&settings, url).unwrap(), "http://own.example.com:8");
    }
    assert!(!settings.print().contains("hunter2") && !format!("{settings:?}").contains("hunter2"));

    let none = load(&format!("{PROVIDER}proxy = \"\"\n"), &environment).unwrap();
    assert_eq!(proxy_for(&none, "https://idp.example.com"), None);
    assert!(none.print().contains("proxy = \"\""), "{}", none.print());
    let none = [environment[0], ("MINTGATE__PROVIDERS__CORP__PROXY", "")];
    assert_eq!(proxy_for(&load(PROVIDER, &none).unwrap(), "https://idp.example.com"), None);
}

#[test]
fn what_is_no_proxy_is_refused_at_its_place() {
    let text = one("corp", &format!("{ISSUER}\nproxy = \"socks5://user:hunter2@x\""));
    let mistake = refusal(&text);
    assert!(mistake.heading.starts_with("providers[0].proxy"), "{mistake}");
    assert!(!mistake.to_string().contains("hunter2"), "{mistake}");
    let refused = load(PROVIDER, &[("HTTPS_PROXY", "socks5://user:hunter2@x")]).unwrap_err();
    let [mistake] = mistakes(&refused).try_into().unwrap();
    assert!(mistake.body.contains("HTTPS_PROXY") && !mistake.to_string().contains("hunter2"));
    // A provider with a proxy of its own does not need the environment's.
    let own = format!("{PROVIDER}proxy = \"\"\n");
    assert!(load(&own, &[("HTTPS_PROXY", "socks5://x")]).is_ok());
}

#[test]
fn a_file_of_certificates_is_read_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let text = one("corp", &format!("{ISSUER}\nca_file = {}", quoted(file.to_str().unwrap())));
    let refused = || {
        let mistake = refusal(&text);
        assert!(mistake.heading.starts_with("providers[0].ca_file"), "{mistake}");
    };
    refused();
    let damaged = EC_CERTIFICATE.replace("MIIB", "MIIC");
    for content in ["", "no certificate", &damaged] {
        std::fs::write(&file, content).unwrap();
        refused();
    }
    std::fs::write(&file, format!("# our own\n{EC_CERTIFICATE}{EC_CERTIFICATE}")).unwrap();
    only(&text);
}

#[test]
fn an_internal_address_is_an_origin() {
    let with = |url: &str| one("corp", &format!("{ISSUER}\ninternal_url = {}", quoted(url)));
    for url in ["http://keycloak:8080", "http://10.1.2.3/", "https://keycloak.internal"] {
        let provider = only(&with(url));
        assert_eq!(openid(&provider).network.internal_url, Some(Url::parse(url).unwrap()));
    }
    for url in ["keycloak:8080", "http://k:8080/auth", "http://u@k", "http://k?x", "ftp://k", ""] {
        let mistake = refusal(&with(url));
        assert!(mistake.heading.starts_with("providers[0].internal_url"), "{mistake}");
    }
}
