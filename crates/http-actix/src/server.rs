//! The two listeners, on sockets that are bound already.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpServer, middleware};

use crate::operations::{Operations, operations_routes};
use crate::{AppState, envelope, routes};

/// How long requests in flight may take to finish once the server is asked to stop, in seconds.
const DRAIN_SECS: u64 = 10;
/// Longer than the idle timeout of common load balancers (60 s), so that they close first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// A function that adds routes to the public listener, besides its own.
pub type MoreRoutes = Arc<dyn Fn(&mut ServiceConfig) + Send + Sync>;

/// Serves the public routes, and `more_routes` before them.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve_public(
    state: AppState,
    more_routes: MoreRoutes,
    listener: TcpListener,
) -> io::Result<Server> {
    let (workers, request_timeout) = (state.workers, state.limits.request_timeout);
    let state = Data::new(state);
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .wrap(middleware::from_fn(envelope::envelope))
            .configure(|config| more_routes(config))
            .configure(routes)
    })
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(request_timeout)
    .shutdown_timeout(DRAIN_SECS)
    .disable_signals();
    if workers > 0 {
        server = server.workers(workers);
    }
    Ok(server.listen(listener)?.run())
}

/// Serves the routes of the operations listener, on one thread.
///
/// # Errors
/// If the socket cannot be used.
pub fn serve_operations(
    operations: Arc<dyn Operations>,
    listener: TcpListener,
) -> io::Result<Server> {
    let app = move || {
        let operations = Arc::clone(&operations);
        App::new().configure(|config| operations_routes(operations, config))
    };
    let server = HttpServer::new(app).workers(1).shutdown_timeout(1).disable_signals();
    Ok(server.listen(listener)?.run())
}
