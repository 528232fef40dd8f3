//! Listening on this machine: a port that `localhost` reaches whatever it resolves to, and a server that stops in bounded time.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// How long [`serve`] waits, once asked to stop, for requests in flight.
pub const GRACE: Duration = Duration::from_secs(10);

/// Who can reach a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Programs on this machine.
    Machine,
    /// Also containers (as `host.docker.internal`) and the machine's networks.
    Network,
}

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens there.
    #[error("port {0} is already taken by another program: stop that program, or choose another port (see --help)")]
    Taken(u16),
    /// The system refused, for instance because ports below 1024 need privileges.
    #[error("port {0} cannot be opened: {1}; choose another port (see --help)")]
    Refused(u16, #[source] io::Error),
}

/// One port on IPv4 and, where the machine has it, on the IPv6 loopback, so that `localhost` cannot lead elsewhere.
#[derive(Debug)]
pub struct Listener {
    v4: TcpListener,
    v6: Option<TcpListener>,
    address: SocketAddr,
}

impl Listener {
    /// The port listened on: the one asked for, or the one the system chose for 0.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://localhost:PORT`, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port())
    }
}

/// Opens `port`; 0 lets the system choose a free one.
pub async fn bind(port: u16, reach: Reach) -> Result<Listener, BindError> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(port),
        _ => BindError::Refused(port, error),
    };
    let ip = match reach {
        Reach::Machine => Ipv4Addr::LOCALHOST,
        Reach::Network => Ipv4Addr::UNSPECIFIED,
    };
    let mut attempts_left = 100;
    loop {
        let v4 = TcpListener::bind((ip, port)).await.map_err(refused)?;
        let address = v4.local_addr().map_err(refused)?;
        let v6 = match TcpListener::bind((Ipv6Addr::LOCALHOST, address.port())).await {
            Ok(listener) => Some(listener),
            // The system chose a port that is free on IPv4 only, where `localhost` may reach a stranger: have it choose again.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port == 0 && attempts_left > 0 => {
                attempts_left -= 1;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(BindError::Taken(address.port())),
            Err(_) => None,
        };
        return Ok(Listener { v4, v6, address });
    }
}

impl axum::serve::Listener for Listener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let Some(v6) = &mut self.v6 else {
            return axum::serve::Listener::accept(&mut self.v4).await;
        };
        tokio::select! {
            accepted = axum::serve::Listener::accept(&mut self.v4) => accepted,
            accepted = axum::serve::Listener::accept(v6) => accepted,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Serves `router` until `shutdown` is done, then answers the requests in flight, for at most [`GRACE`]: an idle or stuck connection cannot hold the
/// program. Takes a [`Listener`] or a plain `TcpListener`.
pub async fn serve<L>(listener: L, router: Router, shutdown: impl Future<Output = ()> + Send + 'static)
where
    L: axum::serve::Listener<Io = TcpStream, Addr = SocketAddr>,
{
    serve_with_grace(listener, router, shutdown, GRACE).await;
}

async fn serve_with_grace<L>(
    listener: L,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) where
    L: axum::serve::Listener<Io = TcpStream, Addr = SocketAddr>,
{
    let (stopping, stopped) = oneshot::channel();
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        let _ = stopping.send(());
    });
    let patience = async {
        let _ = stopped.await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        _ = server.into_future() => {}
        () = patience => tracing::warn!("some requests were still unanswered after {} s and were dropped", grace.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_what_to_do() {
        let taken = bind(0, Reach::Network).await.unwrap();
        let error = bind(taken.port(), Reach::Machine).await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("port {}", taken.port())) && error.contains("choose another port"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_port_taken_only_where_localhost_may_lead_is_taken() {
        let Ok(stranger) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else {
            return;
        };
        let port = stranger.local_addr().unwrap().port();
        assert!(matches!(bind(port, Reach::Machine).await, Err(BindError::Taken(taken)) if taken == port));
    }

    #[tokio::test]
    async fn stopping_answers_the_request_in_flight_and_drops_idle_connections() {
        let (arrived, go, stop) = (
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
        );
        let (handler_arrived, handler_go, stopping) = (arrived.clone(), go.clone(), stop.clone());
        let router = Router::new().route("/idle", get(async || "idle")).route(
            "/slow",
            get(async move || {
                handler_arrived.notify_one();
                handler_go.notified().await;
                "answered"
            }),
        );
        let listener = bind(0, Reach::Machine).await.unwrap();
        let url = listener.url();
        let server = tokio::spawn(serve(listener, router, async move { stopping.notified().await }));

        let idle = reqwest::Client::new();
        assert_eq!(
            idle.get(format!("{url}/idle"))
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap(),
            "idle"
        );
        let slow = tokio::spawn(reqwest::get(format!("{url}/slow")));
        arrived.notified().await;
        stop.notify_one();
        tokio::task::yield_now().await;
        go.notify_one();
        assert_eq!(slow.await.unwrap().unwrap().text().await.unwrap(), "answered");
        server.await.unwrap();
        assert!(reqwest::get(format!("{url}/idle")).await.is_err());
    }

    #[tokio::test]
    async fn a_request_that_is_never_answered_cannot_keep_the_server_from_stopping() {
        let (arrived, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (handler_arrived, stopping) = (arrived.clone(), stop.clone());
        let hang = async move || {
            handler_arrived.notify_one();
            std::future::pending::<()>().await;
        };
        let listener = bind(0, Reach::Machine).await.unwrap();
        let url = listener.url();
        let router = Router::new().route("/", get(hang));
        let shutdown = async move { stopping.notified().await };
        let server = tokio::spawn(serve_with_grace(listener, router, shutdown, Duration::ZERO));
        let request = tokio::spawn(reqwest::get(url));
        arrived.notified().await;
        stop.notify_one();
        server.await.unwrap();
        request.abort();
    }
}
