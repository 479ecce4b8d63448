//! The running server. It has a thread and a runtime of its own, so that any runtime can start it, and
//! so that it ends with its handle even if requests hang.

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::rt::System;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpServer};
use tokio::sync::oneshot;
use url::Url;

use crate::dialect::Traits;
use crate::shared::Shared;
use crate::{Control, MockConfig, authorize, control, discovery, end_session, token, userinfo};

/// The URLs of the endpoints; with the dialect of Entra, those of the issuer's tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urls {
    /// The URL of the discovery document; absent if the dialect has no discovery.
    pub discovery: Option<String>,
    /// The URL of the authorization endpoint.
    pub authorize: String,
    /// The URL of the token endpoint.
    pub token: String,
    /// The URL of the userinfo endpoint, or of `/user` in GitHub's API.
    pub userinfo: Option<String>,
    /// The URL of the JWKS; absent if the dialect has no ID tokens.
    pub jwks: Option<String>,
}

impl Urls {
    fn new(shared: &Shared) -> Self {
        let traits = shared.traits();
        let url = |path| shared.url(path, shared.home_tenant());
        Self {
            discovery: traits.discovery.map(url),
            authorize: url(traits.authorize),
            token: url(traits.token),
            userinfo: traits.userinfo.map(url),
            jwks: traits.jwks.map(url),
        }
    }
}

/// A running provider; dropping it stops it.
#[derive(Debug)]
pub struct MockIdp {
    issuer: String,
    urls: Urls,
    address: SocketAddr,
    control: Control,
    server: ServerHandle,
    ended: oneshot::Receiver<()>,
}

impl MockIdp {
    /// Starts a provider, which listens when this function returns.
    ///
    /// # Errors
    /// If it cannot listen on the address, if the issuer is not a URL, or if a client key cannot be read.
    pub async fn start(config: MockConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen)?;
        let address = listener.local_addr()?;
        let issuer = config
            .issuer
            .clone()
            .unwrap_or_else(|| format!("http://{address}{}", config.dialect.traits().issuer_path));
        let url = Url::parse(&issuer).map_err(io::Error::other)?;
        let (origin, path) = (url.origin().ascii_serialization(), url.path().to_owned());
        for key in &config.client_keys {
            key.verifier().map_err(|error| {
                io::Error::other(format!("the key of client {}: {error}", key.client_id))
            })?;
        }

        let (report, started) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("mock-idp".into()).spawn(move || {
            let shared = Arc::new(Shared::new(config, issuer, origin));
            System::new().block_on(async {
                match serve(&shared, &path, listener) {
                    Ok(server) => {
                        let _ = report.send(Ok((shared, server.handle())));
                        // Fails only if a worker thread died, which every request notices.
                        let _ = server.await;
                    }
                    Err(error) => drop(report.send(Err(error))),
                }
            });
            let _ = end.send(());
        })?;
        let (shared, server) = started.await.map_err(io::Error::other)??;
        let issuer = shared.issuer.clone();
        let urls = Urls::new(&shared);
        Ok(Self { issuer, urls, address, control: Control::new(shared), server, ended })
    }

    /// The issuer identifier of the provider.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The URLs of the endpoints, for dialects without discovery.
    pub fn urls(&self) -> &Urls {
        &self.urls
    }

    /// The address that the provider listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handle that sets faults, issues codes and tokens, and rotates keys.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Stops the provider without waiting for requests in flight; returns when the port is free.
    pub async fn stop(mut self) {
        self.server.stop(false).await;
        let _ = (&mut self.ended).await;
    }
}

impl Drop for MockIdp {
    fn drop(&mut self) {
        // The call sends the command; the future would only wait for the end.
        drop(self.server.stop(false));
    }
}

fn serve(shared: &Arc<Shared>, issuer_path: &str, listener: TcpListener) -> io::Result<Server> {
    let shared = Data::from(Arc::clone(shared));
    let prefix = issuer_path.trim_end_matches('/').to_owned();
    let server = HttpServer::new(move || {
        let app = App::new().app_data(shared.clone());
        let app = if shared.config.control {
            let control = Data::new(Control::new(Arc::clone(&shared)));
            app.service(web::scope("/control").app_data(control).configure(control::routes))
        } else {
            app
        };
        app.configure(|config| routes(config, shared.traits(), &prefix))
    });
    // A client on a busy machine may open a connection long before it says something.
    let server = server.workers(1).client_request_timeout(Duration::from_mins(1));
    Ok(server.disable_signals().listen(listener)?.run())
}

fn routes(config: &mut ServiceConfig, traits: &Traits, prefix: &str) {
    let served = |path: &str| match path.strip_prefix('~') {
        Some(path) => format!("{prefix}{path}"),
        None => path.to_owned(),
    };
    if let Some(path) = traits.discovery {
        config.route(&served(path), web::get().to(discovery::discovery));
    }
    if let Some(path) = traits.jwks {
        config.route(&served(path), web::get().to(discovery::jwks));
    }
    if let Some(path) = traits.userinfo {
        config.route(&served(path), web::get().to(userinfo::userinfo));
        config.route(&served(path), web::post().to(userinfo::userinfo));
    }
    if let Some(path) = traits.end_session {
        config.route(&served(path), web::get().to(end_session::sign_out));
    }
    // AD FS is asked with and without the slash at the end.
    let both = |path: &'static str| BTreeSet::from([path, path.trim_end_matches('/')]);
    for path in both(traits.authorize) {
        config.route(&served(path), web::get().to(authorize::ask));
        config.route(&served(path), web::post().to(authorize::choose));
    }
    for path in both(traits.token) {
        config.route(&served(path), web::post().to(token::token));
    }
    (traits.more_routes)(config);
}
