//! Pages, proxies, limits, and the service as it runs.

use std::net::SocketAddr;

use mintgate_mock_idp::MockConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::rig::{Rig, Said};

const COOKIES: [&str; 4] =
    ["origin.cookies.chrome", "origin.cookies.firefox", "origin.cookies.safari", "origin.site"];
const PAGE: &str = "[\"http://127.0.0.1:3000\"]";

/// What `doctor` says of an installation whose pages are of this origin.
async fn of_pages_at(origin: &str) -> Said {
    let pages = format!("[\"{origin}\"]");
    let rig = Rig::start_with(MockConfig::default(), |text| text.replace(PAGE, &pages)).await;
    rig.doctor().await
}

/// The configuration of a service behind a proxy on the internet, with these lines besides.
fn on_the_internet(rig: &Rig, server: &str, more: &str) -> String {
    let own = format!("public_url = \"http://{}\"", rig.public);
    let text =
        rig.text.replace(&own, &format!("public_url = \"https://auth.example.com\"\n{server}"));
    let text = text.replace(PAGE, "[\"https://app.example.com\"]").replace("secure = false", "");
    format!("{more}\n{text}")
}

#[tokio::test]
async fn an_origin_that_is_not_allowed_is_found() {
    let rig = Rig::start().await;
    rig.doctor_of(&rig.text, &["--origin", "http://127.0.0.1:4000"])
        .await
        .must_only_find("origin.cors");
    let said = rig.doctor_of(&rig.text, &["--origin", "http://127.0.0.1:3000/some/page"]).await;
    assert_eq!((said.wrong(), said.cannot_be_told()), (vec![], vec![]), "{said:#?}");
    assert!(said.findings.iter().any(|finding| finding["subject"] == "http://127.0.0.1:3000"));
}

#[tokio::test]
async fn two_names_of_this_machine_are_found() {
    assert_eq!(of_pages_at("http://localhost:3000").await.wrong(), COOKIES);
}

#[tokio::test]
async fn a_page_on_another_site_under_lax_is_found_with_the_two_sites() {
    let said = of_pages_at("https://app.example.org").await;
    assert_eq!(said.wrong(), COOKIES);
    let sites = said.of("origin.site")[0]["what"].as_str().unwrap();
    assert!(sites.contains("https://example.org") && sites.contains("http://127.0.0.1"), "{sites}");
}

#[tokio::test]
async fn cookies_of_another_site_that_are_not_partitioned_are_found() {
    let rig = Rig::start().await;
    let text = on_the_internet(&rig, "trusted_proxies = [\"127.0.0.1/32\"]", "");
    let text = text.replace("app.example.com\"]", "app.example.org\"]");
    let none = text.replace("[cookies]", "[cookies]\nsame_site = \"None\"");
    let said = rig.doctor_of(&none, &[]).await;
    assert_eq!(
        said.wrong(),
        ["origin.cookies.chrome", "origin.cookies.safari", "origin.site"],
        "{said:#?}"
    );
    let partitioned = none.replace("[cookies]", "[cookies]\npartitioned = true");
    assert_eq!(rig.doctor_of(&partitioned, &[]).await.wrong(), Vec::<&str>::new());
}

#[tokio::test]
async fn cookies_that_safari_drops_over_http_are_found() {
    let rig = Rig::start().await;
    rig.doctor_with("secure = false", "").await.must_only_find("origin.cookies.safari");
}

#[tokio::test]
async fn a_service_that_runs_with_another_list_of_origins_is_found() {
    let rig = Rig::start().await;
    rig.doctor_with(PAGE, "[\"http://127.0.0.1:3001\"]").await.must_only_find("origin.preflight");
}

#[tokio::test]
async fn a_public_address_that_leads_elsewhere_is_found() {
    let rig = Rig::start().await;
    let own = format!("public_url = \"http://{}\"", rig.public);
    let other = format!("public_url = \"{}\"", rig.idp.issuer());
    rig.doctor_with(&own, &other).await.must_only_find("service.public_url");
    // Another installation's, as its issuer shows.
    let another = Rig::start().await;
    let other = format!("public_url = \"http://{}\"", another.public);
    let issuer = format!("[tokens]\nissuer = \"http://{}\"\n[ops]", rig.public);
    let text = rig.text.replace(&own, &other).replace("[ops]", &issuer);
    rig.doctor_of(&text, &[]).await.must_only_find("service.public_url");
}

#[tokio::test]
async fn a_public_address_that_cannot_be_reached_from_here_is_not_called_wrong() {
    let rig = Rig::start().await;
    let text = on_the_internet(&rig, "trusted_proxies = [\"127.0.0.1/32\"]", "");
    let text = text
        .replace("auth.example.com", "auth.example.invalid")
        .replace("app.example.com", "app.example.invalid");
    let said = rig.doctor_of(&text, &[]).await;
    assert_eq!(
        (said.wrong(), said.cannot_be_told()),
        (vec![], vec!["service.public_url"]),
        "{said:#?}"
    );
    assert_eq!(said.code, 0);
    let fix = said.of("service.public_url")[0]["fix"].as_str().unwrap();
    assert!(fix.contains("curl") && fix.contains("auth.example.invalid"), "{fix}");
}

#[tokio::test]
async fn a_service_that_does_not_run_is_not_called_wrong() {
    let mut rig = Rig::start().await;
    rig.stop();
    let said = rig.doctor().await;
    assert_eq!(said.cannot_be_told(), ["service.public_url", "service.ready"], "{said:#?}");
    assert_eq!(said.wrong(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_found_with_its_reason() {
    let rig = Rig::start().await;
    crate::store_and_keys::sqlite(
        &rig,
        "DELETE FROM __diesel_schema_migrations WHERE version = '0001'",
    );
    let said = rig.doctor().await;
    assert_eq!(said.wrong(), ["service.ready", "store.schema"], "{said:#?}");
    assert!(said.of("service.ready")[0]["what"].as_str().unwrap().contains("migrate"));
}

#[tokio::test]
async fn another_program_at_the_operations_address_is_found() {
    let rig = Rig::start().await;
    let ops = rig.ops.to_string();
    let other = rig.idp.address().to_string();
    rig.doctor_with(&format!("[ops]\nlisten = \"{ops}\""), &format!("[ops]\nlisten = \"{other}\""))
        .await
        .must_only_find("service.ready");
}

#[tokio::test]
async fn limits_that_are_off_are_found() {
    let rig = Rig::start().await;
    let off = "[limits]\nrefused_sign_ins_per_minute = 0\n[ops]";
    let said = rig.doctor_with("[ops]", off).await;
    said.must_only_find("limits.rates");
    assert!(said.out.contains("refused_sign_ins_per_minute"));
}

#[tokio::test]
async fn an_exemption_for_everybody_is_found() {
    let rig = Rig::start().await;
    let everybody = "[limits]\nexempt = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\n[ops]";
    rig.doctor_with("[ops]", everybody).await.must_only_find("limits.exempt");
}

#[tokio::test]
async fn headers_that_are_too_short_for_the_cookies_are_found() {
    let rig = Rig::start().await;
    let short = "[limits]\nmax_header_bytes = 8192\n[ops]";
    rig.doctor_with("[ops]", short).await.must_only_find("limits.header_bytes");
}

#[tokio::test]
async fn a_limit_of_open_files_that_is_too_low_is_found() {
    let mut rig = Rig::start().await;
    rig.stop();
    let command = rig.command(&rig.text, &["doctor", "--json"]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 300; exec \"$0\" \"$@\""]).arg(command.get_program());
    limited.args(command.get_args()).env_clear();
    let output = tokio::task::spawn_blocking(move || limited.output()).await.unwrap().unwrap();
    crate::rig::said(output).must_only_find("limits.descriptors");
}

#[tokio::test]
async fn everybody_as_a_trusted_proxy_is_found() {
    let rig = Rig::start().await;
    rig.doctor_with("workers = 1", "workers = 1\ntrusted_proxies = [\"::/0\"]")
        .await
        .must_only_find("proxy.trusted");
}

#[tokio::test]
async fn a_proxy_that_is_not_named_is_found() {
    let rig = Rig::start().await;
    rig.doctor_of(&on_the_internet(&rig, "", ""), &[]).await.must_only_find("proxy.trusted");
}

#[tokio::test]
async fn a_proxy_that_the_running_service_does_not_know_is_found() {
    let rig = Rig::start().await;
    let login = reqwest::Client::new().post(format!("http://{}/api/v1/auth/login", rig.public));
    let login =
        login.header("X-Forwarded-For", "198.51.100.7").header("Content-Type", "application/json");
    login.body("{\"provider\":\"corp\"}").send().await.unwrap();
    rig.doctor().await.must_only_find("proxy.unknown");
}

#[tokio::test]
async fn answers_that_are_too_large_for_a_proxy_are_found() {
    let rig = Rig::start().await;
    let roles: Vec<_> = (0..120).map(|n| format!("role-number-{n:03}")).collect();
    let more = format!("[roles]\ndefault = {roles:?}");
    let text = on_the_internet(&rig, "trusted_proxies = [\"127.0.0.1/32\"]", &more);
    rig.doctor_of(&text, &[]).await.must_only_find("config.answer_size");
}

/// What stands before the service.
#[derive(Clone, Copy)]
enum Front {
    /// Refuses requests with long heads, as a proxy with small buffers does.
    ShortHeads,
    /// Answers OPTIONS itself.
    OwnOptions,
    /// Adds a permission of its own to every answer.
    OwnPermission,
}

/// Forwards requests, one a connection.
struct Proxy {
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl Proxy {
    fn before(service: SocketAddr, front: Front, listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, service, front));
            }
        });
        Self { address, listening }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn forward(mut client: TcpStream, service: SocketAddr, front: Front) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let refusal = match front {
        Front::ShortHeads if head.len() > 6000 => Some("400 Bad Request"),
        Front::OwnOptions if head.starts_with(b"OPTIONS") => Some("204 No Content"),
        _ => None,
    };
    if let Some(status) = refusal {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        drop(client.write_all(answer.as_bytes()).await);
        return;
    }
    let head = String::from_utf8(head).unwrap().replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let mut server = TcpStream::connect(service).await.unwrap();
    server.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    drop(server.read_to_end(&mut answer).await);
    if matches!(front, Front::OwnPermission) {
        let first = answer.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
        let more = b"access-control-allow-origin: *\r\n";
        answer.splice(first..first, more.iter().copied());
    }
    drop(client.write_all(&answer).await);
}

async fn behind(front: Front) -> Said {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut rig = Rig::prepare(MockConfig::default(), None).await;
    let own = format!("public_url = \"http://{}\"", rig.public);
    rig.text = rig.text.replace(&own, &format!("public_url = \"http://{address}\""));
    rig.migrate();
    rig.serve().await;
    let proxy = Proxy::before(rig.public, front, listener);
    assert_eq!(proxy.address, address);
    rig.doctor().await
}

#[tokio::test]
async fn a_proxy_that_refuses_large_cookies_is_found() {
    behind(Front::ShortHeads).await.must_only_find("proxy.request_headers");
}

#[tokio::test]
async fn a_proxy_that_answers_preflights_itself_is_found() {
    behind(Front::OwnOptions).await.must_only_find("origin.preflight");
}

#[tokio::test]
async fn a_proxy_that_adds_a_second_permission_is_found() {
    behind(Front::OwnPermission).await.must_only_find("origin.preflight");
}
