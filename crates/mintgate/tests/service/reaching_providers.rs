//! Providers behind forward proxies, with certificates of a private authority, at internal addresses.

use crate::common::{Options, Store, TestService, assert_error, log, sign_in};
use mintgate_mock_idp::{Faults, MockConfig};
use mintgate_testkit::forward_proxy::ForwardProxy;
use mintgate_testkit::tls::{Certificates, Entrance};
use reqwest::StatusCode;
use serde_json::json;

const ISSUER: &str = "https://idp.example.com";
const CREDENTIALS: &str = "mint:hunter2-of-the-proxy";

/// A provider in a network that only a proxy reaches, with a certificate of a private authority.
struct Far {
    service: TestService,
    proxy: ForwardProxy,
    _entrance: Entrance,
}

impl Far {
    /// `lines` configures the provider, with `PROXY` and `AUTHORITY` in place of the address of the proxy
    /// and the file with the authority's certificate.
    async fn away(lines: &str) -> Self {
        let certificates = Certificates::made_for("idp.example.com");
        let entrance = Entrance::open(Some(&certificates)).await;
        let proxy =
            ForwardProxy::start(CREDENTIALS, [("idp.example.com:443", entrance.address)]).await;
        let authority = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&authority, &certificates.authority).unwrap();
        let lines = lines
            .replace("PROXY", &proxy.address.to_string())
            .replace("AUTHORITY", authority.path().to_str().unwrap());
        let mock = MockConfig { issuer: Some(ISSUER.to_owned()), ..MockConfig::default() };
        let options = Options { provider: lines.leak(), mock, ..Options::default() };
        let service = TestService::start_with(Store::Sqlite, options).await;
        entrance.lead_to(service.idp().address());
        Self { service, proxy, _entrance: entrance }
    }

    async fn sign_in(&self) -> reqwest::Response {
        self.service.login(&self.service.code()).await
    }
}

#[tokio::test]
async fn a_provider_behind_a_proxy_with_a_certificate_of_a_private_authority_signs_people_in() {
    let lines = format!("proxy = \"http://{CREDENTIALS}@PROXY\"\nca_file = \"AUTHORITY\"");
    let far = Far::away(&lines).await;
    let answer = far.sign_in().await;
    assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.text().await);
    let asked = far.proxy.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|a| a == "CONNECT idp.example.com:443"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn an_authority_that_is_not_configured_is_not_trusted() {
    let far = Far::away(&format!("proxy = \"http://{CREDENTIALS}@PROXY\"")).await;
    let answer = far.sign_in().await;
    assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "PROVIDER_UNAVAILABLE").await;
    assert_eq!(far.service.idp().control().stats().discovery, 0);
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_down_is_named_in_the_log_without_its_password() {
    log::keep();
    let [down] = mintgate_testkit::free_addresses();
    for proxy in ["wrong:hunter3-of-the-proxy@PROXY".to_owned(), format!("{CREDENTIALS}@{down}")] {
        let far = Far::away(&format!("proxy = \"http://{proxy}\"\nca_file = \"AUTHORITY\"")).await;
        let answer = far.sign_in().await;
        assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "PROVIDER_UNAVAILABLE").await;
        let address = if proxy.contains("PROXY") { far.proxy.address } else { down };
        assert!(log::text().contains(&format!("http://{address}")));
        assert!(far.proxy.asked().is_empty());
    }
    let text = log::text();
    for secret in ["hunter2-of-the-proxy", "hunter3-of-the-proxy"] {
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn plain_http_goes_through_a_proxy_too() {
    let proxy = ForwardProxy::start(CREDENTIALS, []).await;
    let with = async |credentials| {
        let lines = format!("proxy = \"http://{credentials}@{}\"", proxy.address);
        let options = Options { provider: lines.leak(), ..Options::default() };
        TestService::start_with(Store::Sqlite, options).await
    };
    let refused = with("mint:wrong").await;
    let answer = refused.login(&refused.code()).await;
    assert_error(answer, StatusCode::SERVICE_UNAVAILABLE, "PROVIDER_UNAVAILABLE").await;
    assert!(proxy.asked().is_empty());

    let service = with(CREDENTIALS).await;
    let answer = service.login(&service.code()).await;
    assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.text().await);
    let asked = proxy.asked();
    let discovery = format!("GET {}/.well-known/openid-configuration", service.idp().issuer());
    assert!(asked.contains(&discovery), "{asked:?}");
}

#[tokio::test]
async fn a_proxy_is_not_asked_for_what_is_in_a_private_network() {
    for endpoint in
        ["https://10.0.0.1/token", "https://169.254.169.254/token", "https://metadata/token"]
    {
        let lines = format!("proxy = \"http://{CREDENTIALS}@PROXY\"\nca_file = \"AUTHORITY\"");
        let far = Far::away(&lines).await;
        let merge = json!({ "token_endpoint": endpoint }).as_object().unwrap().clone();
        let faults = Faults { discovery_merge: merge, ..Faults::default() };
        far.service.idp().control().set_faults(faults);
        let answer = far.sign_in().await;
        assert_error(answer, StatusCode::BAD_GATEWAY, "PROVIDER_ERROR").await;
        let asked = far.proxy.asked();
        assert!(
            asked.iter().all(|asked| asked.contains("idp.example.com")),
            "{endpoint}: {asked:?}"
        );
    }
}

#[tokio::test]
async fn an_internal_address_is_for_mintgate_and_the_public_one_for_browsers() {
    let entrance = Entrance::open(None).await;
    let lines =
        format!("internal_url = \"http://localhost:{}\"\nuserinfo = true", entrance.address.port());
    let issuer = "https://id.example.com/realms/staff";
    let mock = MockConfig { issuer: Some(issuer.to_owned()), ..MockConfig::default() };
    let options = Options { provider: lines.leak(), mock, ..Options::default() };
    let service = TestService::start_with(Store::Sqlite, options).await;
    entrance.lead_to(service.idp().address());
    let answer = service.login(&service.idp().control().issue_code(sign_in("alice"))).await;
    assert_eq!(answer.status(), StatusCode::OK, "{:?}", answer.text().await);
    let stats = service.idp().control().stats();
    assert_eq!((stats.discovery, stats.jwks, stats.token, stats.userinfo), (1, 1, 1, 1));
    let begun = service.begin_login("corp").await;
    assert!(begun.authorization_url.starts_with(issuer), "{}", begun.authorization_url);
}
