//! `mintgate dev`: everything in one process, on loopback, with nothing to set up.

mod page;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use mintgate_domain::TokenHash;
use mintgate_mock_idp::{MockClient, MockConfig, MockIdp};

use crate::app::{self, Application};
use crate::settings::Settings;
use page::DevPage;

/// The id of the mock provider in the configuration.
const PROVIDER: &str = "mock";
/// The token of the console, which everybody may know: it is served on loopback alone.
const CONSOLE_TOKEN: &str = "dev";

/// The addresses and the directory of the development setup.
#[derive(Debug, Clone, clap::Args)]
pub struct DevOptions {
    /// Address of the service and its sign-in page.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Address of metrics and health.
    #[arg(long, default_value = "127.0.0.1:9464")]
    pub ops_listen: SocketAddr,
    /// Address of the built-in identity provider.
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub idp_listen: SocketAddr,
    /// Directory for the database and the keys.
    #[arg(long, default_value = ".mintgate")]
    pub dir: PathBuf,
}

/// Runs the development setup until it is asked to stop.
///
/// # Errors
/// If a port is taken, an address is not loopback, or the directory cannot be used.
pub async fn run(options: &DevOptions) -> anyhow::Result<()> {
    for (flag, address) in [
        ("--listen", options.listen),
        ("--ops-listen", options.ops_listen),
        ("--idp-listen", options.idp_listen),
    ] {
        anyhow::ensure!(
            address.ip().is_loopback(),
            "{flag} {address}: `mintgate dev` runs on loopback only; use `mintgate serve` for anything else"
        );
    }
    std::fs::create_dir_all(&options.dir)
        .with_context(|| format!("cannot make the directory {}", options.dir.display()))?;

    let redirect_uri = format!("http://{}/callback", options.listen);
    let mut provider =
        MockConfig { listen: options.idp_listen, control: false, ..MockConfig::default() };
    for client in &mut provider.clients {
        client.redirect_uris = vec![redirect_uri.clone()];
    }
    let client = provider.clients.first().context("the built-in provider has no client")?.clone();
    let idp = MockIdp::start(provider).await.with_context(|| {
        format!("cannot listen on {} (try another --idp-listen)", options.idp_listen)
    })?;

    let settings = settings(options, &idp, &client, &redirect_uri)?;
    let _last_lines = mintgate_log_writer::start(&settings.log.filter, settings.log.format, None)?;
    app::migrate(&settings.store).await?;
    let page = DevPage::new(&settings);
    let application = Application::builder(settings).more_routes(move |config| page.routes(config));
    let application = application.build().await?;
    banner(options, &idp, &client.id, &redirect_uri);
    application.run_until(app::stop_signal()?).await?;
    idp.stop().await;
    Ok(())
}

fn settings(
    options: &DevOptions,
    idp: &MockIdp,
    client: &MockClient,
    redirect_uri: &str,
) -> anyhow::Result<Settings> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let path = |name: &str| options.dir.join(name).display().to_string();
    let text = format!(
        r#"
        [server]
        listen = {listen}
        [ops]
        listen = {ops}
        [store]
        url = {store}
        [keys]
        dir = {keys}
        [cookies]
        hint = true
        [tokens.extra_claims]
        email = "email"
        name = "name"
        [users]
        profile = ["name", "preferred_username", "email"]
        [[admin.tokens]]
        name = "{CONSOLE_TOKEN}"
        hash = "{hash}"
        scope = "write"
        [log]
        format = "pretty"
        filter = "warn,mintgate=info"
        [[roles.rules]]
        provider = "{PROVIDER}"
        claim = "groups"
        in = ["admins"]
        grant = ["admin"]
        [[providers]]
        id = "{PROVIDER}"
        issuer = {issuer}
        client_id = {client_id}
        client_secret = {client_secret}
        redirect_uris = [{redirect_uri}]
        "#,
        hash = TokenHash::of(CONSOLE_TOKEN).to_hex(),
        listen = quoted(&options.listen.to_string()),
        ops = quoted(&options.ops_listen.to_string()),
        store = quoted(&format!("sqlite://{}", path("mintgate.db"))),
        keys = quoted(&path("keys")),
        issuer = quoted(idp.issuer()),
        client_id = quoted(&client.id),
        client_secret = quoted(client.secret.as_deref().unwrap_or_default()),
        redirect_uri = quoted(redirect_uri),
    );
    Ok(Settings::from_toml(&text)?)
}

fn banner(options: &DevOptions, idp: &MockIdp, client_id: &str, redirect_uri: &str) {
    let (page, ops, issuer) = (options.listen, options.ops_listen, idp.issuer());
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", redirect_uri)
        .append_pair("scope", "openid profile email")
        .append_pair("prompt", "none")
        .append_pair("login_hint", "alice")
        .finish();
    // The service runs as well where nobody reads this.
    let _ = writeln!(
        std::io::stdout(),
        r#"
  Mintgate, for development: a built-in provider without passwords, loopback only, not for production.

  Sign in with a browser:   http://{page}/
  Console, token `{CONSOLE_TOKEN}`:     http://{ops}/
  Metrics and health:       http://{ops}/metrics  http://{ops}/health/ready
  Keys and database:        {dir}

  Or sign in with one line:

  CODE=$(curl -sS -o /dev/null -w '%{{redirect_url}}' '{issuer}/authorize?{query}' | sed 's/.*[?&]code=\([^&]*\).*/\1/') && curl -sS http://{page}/api/v1/auth/token -H 'Content-Type: application/json' -d '{{"authCode":"'"$CODE"'","provider":"{PROVIDER}","redirectUri":"{redirect_uri}"}}'

  Stop with Ctrl-C.
"#,
        dir = options.dir.display(),
    );
}
