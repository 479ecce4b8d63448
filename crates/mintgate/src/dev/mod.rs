//! `mintgate dev`: everything in one process, on loopback, with nothing to set up.

mod apps;
mod page;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use mintgate_domain::TokenHash;
use mintgate_mock_idp::{MockClient, MockConfig, MockIdp};

use crate::app::Application;
use crate::settings::{Configuration, Settings};
use crate::{commands, signals};
use apps::Apps;
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
    /// Origin of your own page, for example http://localhost:5173; may be repeated.
    #[arg(long = "app", value_name = "ORIGIN", value_parser = apps::origin)]
    pub apps: Vec<url::Url>,
}

/// Runs the development setup until it is asked to stop, with the configuration file at `config` and the
/// environment over its own configuration.
///
/// # Errors
/// If a port is taken, an address is not loopback, the directory cannot be used, or the configuration has
/// mistakes.
pub async fn run(options: &DevOptions, config: Option<&Path>) -> anyhow::Result<()> {
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
    anyhow::ensure!(
        options.idp_listen.port() != 0,
        "--idp-listen {}: the configuration names this address, so it needs a port",
        options.idp_listen
    );
    let apps = Apps::new(&options.apps, options.listen)?;
    std::fs::create_dir_all(&options.dir)
        .with_context(|| format!("cannot make the directory {}", options.dir.display()))?;

    let mut provider =
        MockConfig { listen: options.idp_listen, control: false, ..MockConfig::default() };
    let client = provider.clients.first().context("the built-in provider has no client")?.clone();
    let settings = settings(options, &apps, &client, config)?;
    let redirect_uris = redirect_uris(&settings);
    for client in &mut provider.clients {
        client.redirect_uris.clone_from(&redirect_uris);
    }
    let idp = MockIdp::start(provider).await.with_context(|| {
        format!("cannot listen on {} (try another --idp-listen)", options.idp_listen)
    })?;

    let _last_lines = mintgate_log_writer::start(&settings.log.filter, settings.log.format, None)?;
    commands::migrate(&settings.store).await?;
    let page = DevPage::new(&settings);
    let application = Application::builder(settings).more_routes(move |config| page.routes(config));
    let application = application.build().await?;
    banner(options, &apps, &idp, &client.id);
    let (stop, at_once) = signals::stop_signals()?;
    application.run_until(stop, at_once).await?;
    idp.stop().await;
    Ok(())
}

/// The configuration: the one of this module, with the file and the environment over it.
fn settings(
    options: &DevOptions,
    apps: &Apps,
    client: &MockClient,
    config: Option<&Path>,
) -> anyhow::Result<Settings> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let path = |name: &str| options.dir.join(name).display().to_string();
    let text = format!(
        r#"
        [server]
        listen = {listen}
        public_url = {public_url}
        [ops]
        listen = {ops}
        [store]
        url = {store}
        [keys]
        dir = {keys}
        [cors]
        allowed_origins = {origins:?}
        [cookies]
        hint = true
        secure = {secure}
        [tokens.extra_claims]
        email = "email"
        name = "name"
        [pages]
        hosted = true
        name = "Mintgate"
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
        redirect_uris = {redirect_uris:?}
        "#,
        hash = TokenHash::of(CONSOLE_TOKEN).to_hex(),
        listen = quoted(&options.listen.to_string()),
        public_url = quoted(apps.public_url()),
        origins = apps.origins(),
        // Safari keeps no Secure cookie of a page over http.
        secure = apps.origins().is_empty(),
        ops = quoted(&options.ops_listen.to_string()),
        store = quoted(&format!("sqlite://{}", path("mintgate.db"))),
        keys = quoted(&path("keys")),
        issuer = quoted(&format!("http://{}", options.idp_listen)),
        client_id = quoted(&client.id),
        client_secret = quoted(client.secret.as_deref().unwrap_or_default()),
        redirect_uris = apps.redirect_uris(),
    );
    let defaults = ("the defaults of mintgate dev", text.as_str());
    let settings = Configuration::load_over(defaults, config, std::env::vars_os())?.settings()?;
    for (key, set, flag, address) in [
        ("server.listen", settings.server.listen, "--listen", options.listen),
        ("ops.listen", settings.ops.listen, "--ops-listen", options.ops_listen),
    ] {
        anyhow::ensure!(
            set == address,
            "{key} is {set} in the configuration: with `mintgate dev` write {flag} {set} instead"
        );
    }
    Ok(settings)
}

/// Where the built-in provider may send browsers: all that the configuration says, and the callback of logins
/// that begin with a link.
fn redirect_uris(settings: &Settings) -> Vec<String> {
    let public_url = settings.server.public_url.as_str().trim_end_matches('/');
    let configured =
        settings.providers.iter().filter(|provider| provider.policy.id.as_str() == PROVIDER);
    configured
        .flat_map(|provider| provider.policy.redirect_uris.iter().map(ToString::to_string))
        .chain([format!("{public_url}/api/v1/auth/callback/{PROVIDER}")])
        .collect()
}

fn banner(options: &DevOptions, apps: &Apps, idp: &MockIdp, client_id: &str) {
    let (page, ops, issuer) = (apps.public_url(), options.ops_listen, idp.issuer());
    let redirect_uri = apps.own_redirect_uri();
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", &redirect_uri)
        .append_pair("scope", "openid profile email")
        .append_pair("prompt", "none")
        .append_pair("login_hint", "alice")
        .finish();
    // The service runs as well where nobody reads this.
    let _ = writeln!(
        std::io::stdout(),
        r#"
  Mintgate, for development: a built-in provider without passwords, loopback only, not for production.

  Sign in with a browser:   {page}/
  The hosted pages:         {page}/login  {page}/account
  Console, token `{CONSOLE_TOKEN}`:     http://{ops}/
  Metrics and health:       http://{ops}/metrics  http://{ops}/health/ready
  Keys and database:        {dir}

  Or sign in with one line:

  CODE=$(curl -sS -o /dev/null -w '%{{redirect_url}}' '{issuer}/authorize?{query}' | sed 's/.*[?&]code=\([^&]*\).*/\1/') && curl -sS {page}/api/v1/auth/token -H 'Content-Type: application/json' -d '{{"authCode":"'"$CODE"'","provider":"{PROVIDER}","redirectUri":"{redirect_uri}"}}'
{lines}
  Stop with Ctrl-C.
"#,
        dir = options.dir.display(),
        lines = apps.lines(PROVIDER),
    );
}
