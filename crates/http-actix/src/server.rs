//! The two listeners, on sockets that are bound already.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request, Response};
use actix_service::{
    IntoServiceFactory as _, Service, ServiceFactory as _, ServiceFactoryExt as _, fn_factory,
    fn_service, map_config,
};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Server, ServiceResponse};
use actix_web::rt::net::TcpStream;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, Error, middleware};
use mintgate_tls::Served;

use crate::admin::{AdminApi, History, ShownCertificate, admin_routes};
use crate::connections::{Connections, end_idle};
use crate::console::console_routes;
use crate::current::CurrentState;
use crate::operations::{Operations, operations_routes};
use crate::stream::Connection;
use crate::transport::{self, Protocol, Transport};
use crate::{envelope, http2, public_api};

/// How long requests in flight may take to finish once the server is asked to stop, in seconds. Less than
/// a body may take to arrive, so that clients that send none do not hold up the end beyond ten seconds.
const DRAIN_SECS: u64 = 9;
/// Longer than the idle timeout of common load balancers (60 s), so that they close first.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a connection that ends may take to send the rest of its answer.
pub(crate) const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How many more connections than allowed are accepted: one that is too many makes room for itself.
const SPARE_CONNECTIONS: usize = 64;
/// How often it is looked for heads that do not arrive, while one may take to do so.
const CHECKS_OF_HEADS: u32 = 8;
/// How many connections the operations listener has.
const OPERATIONS_CONNECTIONS: usize = 64;
/// How long a handshake may take there.
const OPERATIONS_HANDSHAKE: Duration = Duration::from_secs(5);

/// A function that adds routes to the public listener, besides its own.
pub type MoreRoutes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// Serves the public routes, and `more_routes` before them, over TLS if there is a certificate. The number of
/// workers and the limits on connections are those of the first state.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve_public(
    current: Arc<CurrentState>,
    more_routes: MoreRoutes,
    listener: TcpListener,
    certificate: Option<Arc<Served>>,
) -> io::Result<Server> {
    let state = current.load();
    let workers = match state.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers,
    };
    let open = Arc::default();
    let accepted = state.limits.max_connections.saturating_add(SPARE_CONNECTIONS);
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(accepted.div_ceil(workers))
        .shutdown_timeout(DRAIN_SECS)
        .disable_signals();
    // What `HttpServer` does as well, with a stream of our own.
    let server = server.listen("public", listener, move || {
        let connections = Rc::new(Connections::new(Arc::clone(&state), Arc::clone(&open)));
        actix_web::rt::spawn(end_unfinished_heads(Rc::clone(&connections)));
        actix_web::rt::spawn(end_idle(Rc::clone(&connections)));
        // One for each version of HTTP.
        let app = || {
            let (current, more_routes) = (Data::from(Arc::clone(&current)), more_routes.clone());
            let app = App::new()
                .app_data(current)
                .wrap(middleware::from_fn(envelope::envelope))
                .configure(|config| more_routes(config))
                .configure(|config| public_api::routes(&state, config));
            let app = app.into_factory().map_err(|error: Error| error.error_response());
            map_config(app, |()| AppConfig::default())
        };
        // Its signal of a stop is not used: it gives up what has arrived and was not read yet.
        let http1 = HttpService::build()
            .keep_alive(KEEP_ALIVE)
            // `end_unfinished_heads` sees to all heads, and not to the first one alone.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(Rc::clone(connection.link()));
            })
            .h1(app());
        let http2 = certificate.clone().map(|certificate| (app(), certificate));
        fn_factory(move || {
            let connections = Rc::clone(&connections);
            let http1 = http1.new_service(());
            let http2 = http2
                .as_ref()
                .map(|(app, certificate)| (app.new_service(()), Arc::clone(certificate)));
            async move {
                let tls = match http2 {
                    None => None,
                    Some((http2, certificate)) => Some(Tls { certificate, http2: http2.await? }),
                };
                let http1 = http1.await?;
                let worker = Rc::new(Worker { connections, http1, tls });
                Ok::<_, ()>(fn_service(move |stream| {
                    let worker = Rc::clone(&worker);
                    async move { worker.serve(stream).await }
                }))
            }
        })
    })?;
    Ok(server.run())
}

/// What one thread serves connections with.
struct Worker<H1, H2> {
    connections: Rc<Connections>,
    http1: H1,
    tls: Option<Tls<H2>>,
}

struct Tls<H2> {
    certificate: Arc<Served>,
    http2: H2,
}

impl<H1, H2> Worker<H1, H2>
where
    H1: Service<(Connection, Option<SocketAddr>), Response = (), Error = DispatchError>,
    H2: Service<Request, Response = ServiceResponse<BoxBody>>,
    H2::Error: Into<Response<BoxBody>> + 'static,
    H2::Future: 'static,
{
    /// Serves a connection to its end. What it waits for from the handshake of TLS to the end of the first
    /// head comes within the time that one head may take.
    async fn serve(&self, stream: TcpStream) -> Result<(), DispatchError> {
        let peer = stream.peer_addr().ok();
        let admitted = self.connections.admit().ok_or(io::ErrorKind::ConnectionRefused);
        let admitted = admitted.map_err(|error| DispatchError::Io(error.into()))?;
        let Some(tls) = &self.tls else {
            let connection = Connection::new(Transport::Plain(stream), admitted);
            return self.http1.call((connection, peer)).await;
        };
        let pair = tls.certificate.pair();
        let shaken = transport::handshake(stream, &pair, admitted.link.ended()).await;
        match shaken.map_err(DispatchError::Io)? {
            (transport, Protocol::Http1) => {
                self.http1.call((Connection::new(transport, admitted), peer)).await
            }
            (transport, Protocol::Http2) => {
                http2::serve(&tls.http2, transport, admitted, peer).await
            }
        }
    }
}

/// Refuses the requests whose heads do not arrive in time.
async fn end_unfinished_heads(connections: Rc<Connections>) {
    let period = connections.state.limits.request_timeout / CHECKS_OF_HEADS;
    let mut checks = tokio::time::interval(period.max(Duration::from_millis(1)));
    loop {
        checks.tick().await;
        connections.end_unfinished_heads(CHECKS_OF_HEADS + 1);
    }
}

/// Serves the routes of the operations listener, on one thread, with the admin API if there is one, over TLS if
/// there is a certificate.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve_operations(
    operations: Arc<dyn Operations>,
    admin: Option<Arc<AdminApi>>,
    listener: TcpListener,
    certificate: Option<Arc<Served>>,
) -> io::Result<Server> {
    let server = Server::build()
        .workers(1)
        .max_concurrent_connections(OPERATIONS_CONNECTIONS)
        .shutdown_timeout(1)
        .disable_signals();
    // Called once, as there is one worker.
    let server = server.listen("operations", listener, move || {
        let (operations, admin) = (Arc::clone(&operations), admin.clone());
        let app = App::new().configure(|config| {
            operations_routes(operations, config);
            if let Some(admin) = admin {
                let history = Arc::<History>::default();
                let (clock, counts) = (Arc::clone(&admin.clock), Arc::clone(&admin.counts));
                let kept = Arc::clone(&history);
                actix_web::rt::spawn(kept.run(clock, counts));
                admin_routes(admin, history, config);
                console_routes(config);
            }
        });
        let app = app.into_factory().map_err(|error: Error| error.error_response());
        let certificate = certificate.clone();
        let of_connections = certificate.clone();
        let http1 = HttpService::build()
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            .on_connect_ext(move |transport: &Transport, data| {
                let client = transport.client().cloned();
                if let Some((client, served)) = client.zip(of_connections.clone()) {
                    data.insert(ShownCertificate { client, served });
                }
            })
            .h1(map_config(app, |()| AppConfig::default()));
        fn_factory(move || {
            let (http1, certificate) = (http1.new_service(()), certificate.clone());
            async move {
                let http1 = Rc::new(http1.await?);
                Ok::<_, ()>(fn_service(move |stream: TcpStream| {
                    let (http1, certificate) = (Rc::clone(&http1), certificate.clone());
                    async move {
                        let peer = stream.peer_addr().ok();
                        let transport = match certificate {
                            None => Transport::Plain(stream),
                            Some(certificate) => {
                                let late = tokio::time::sleep(OPERATIONS_HANDSHAKE);
                                let pair = certificate.pair();
                                let shaken = transport::handshake(stream, &pair, late).await;
                                shaken.map_err(DispatchError::Io)?.0
                            }
                        };
                        http1.call((transport, peer)).await
                    }
                }))
            }
        })
    })?;
    Ok(server.run())
}
