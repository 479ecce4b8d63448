//! The running server. It has a thread and a runtime of its own, so that it can be started from
//! any runtime and be gone, hung requests and all, as soon as its handle is.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use actix_web::dev::{Server, ServerHandle};
use actix_web::rt::System;
use actix_web::web::{self, Data};
use actix_web::{App, HttpServer};
use tokio::sync::oneshot;
use url::Url;

use crate::state::Shared;
use crate::{Control, MockConfig, authorize, control, discovery, token, userinfo};

/// A running provider; dropping it stops it.
#[derive(Debug)]
pub struct MockIdp {
    issuer: String,
    address: SocketAddr,
    control: Control,
    server: ServerHandle,
    ended: oneshot::Receiver<()>,
}

impl MockIdp {
    /// Starts a provider. It listens when this returns.
    ///
    /// # Errors
    /// If the address cannot be listened on, or the issuer is no URL.
    pub async fn start(config: MockConfig) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen)?;
        let address = listener.local_addr()?;
        let issuer = config.issuer.clone().unwrap_or_else(|| format!("http://{address}"));
        let path = Url::parse(&issuer).map_err(io::Error::other)?.path().to_owned();

        let (report, started) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name("mock-idp".into()).spawn(move || {
            let shared = Arc::new(Shared::new(config, issuer));
            System::new().block_on(async {
                match serve(&shared, &path, listener) {
                    Ok(server) => {
                        let _ = report.send(Ok((shared, server.handle())));
                        // Fails only if a worker thread died, and then everybody sees it.
                        let _ = server.await;
                    }
                    Err(error) => drop(report.send(Err(error))),
                }
            });
            let _ = end.send(());
        })?;
        let (shared, server) = started.await.map_err(io::Error::other)??;
        let issuer = shared.issuer.clone();
        Ok(Self { issuer, address, control: Control::new(shared), server, ended })
    }

    /// Its issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What makes it misbehave.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Stops it at once, requests in flight included, and waits until its port is free.
    pub async fn stop(mut self) {
        self.server.stop(false).await;
        let _ = (&mut self.ended).await;
    }
}

impl Drop for MockIdp {
    fn drop(&mut self) {
        // The command is sent by the call; the future would only wait for its end.
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
        app.service(
            web::scope(&prefix)
                .route("/.well-known/openid-configuration", web::get().to(discovery::discovery))
                .route("/jwks", web::get().to(discovery::jwks))
                .route("/authorize", web::get().to(authorize::ask))
                .route("/authorize", web::post().to(authorize::choose))
                .route("/token", web::post().to(token::token))
                .route("/userinfo", web::get().to(userinfo::userinfo))
                .route("/userinfo", web::post().to(userinfo::userinfo)),
        )
    });
    Ok(server.workers(1).disable_signals().listen(listener)?.run())
}
