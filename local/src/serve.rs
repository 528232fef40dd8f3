//! HTTP servers on this machine: a port for `localhost` on IPv4 and IPv6, and shutdown in bounded time.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// How long [`serve`] waits for requests in flight during shutdown.
pub const GRACE: Duration = Duration::from_secs(10);

/// Who can reach a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only programs on this machine.
    Machine,
    /// Also containers (as `host.docker.internal`) and the machine's networks.
    Network,
}

/// Why a port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens on the port.
    #[error("port {0} is already taken by another program: stop that program, or choose another port (see --help)")]
    Taken(u16),
    /// The operating system refused, for example because ports below 1024 need privileges.
    #[error("port {0} cannot be opened: {1}; choose another port (see --help)")]
    Refused(u16, #[source] io::Error),
}

/// A port on IPv4 and, if available, on the IPv6 loopback address, so that `localhost` always reaches this program.
#[derive(Debug)]
pub struct Listener {
    v4: TcpListener,
    v6: Option<TcpListener>,
    address: SocketAddr,
}

impl Listener {
    /// The port: the requested one, or the one that the system chose for 0.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://localhost:PORT`, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port())
    }
}

/// A port that is reserved for this program and does not accept connections yet.
pub struct ReservedPort {
    v4: TcpSocket,
    v6: Option<TcpSocket>,
    address: SocketAddr,
}

/// Connections that wait until they are accepted, as in the standard library.
const BACKLOG: u32 = 128;

/// Reserves `port`; with 0 the system chooses a free one.
pub fn reserve(port: u16, reach: Reach) -> Result<ReservedPort, BindError> {
    let refused = |error: io::Error| bind_error(port, error);
    let ip = match reach {
        Reach::Machine => Ipv4Addr::LOCALHOST,
        Reach::Network => Ipv4Addr::UNSPECIFIED,
    };
    let mut attempts_left = 100;
    loop {
        let v4 = socket(SocketAddr::from((ip, port))).map_err(refused)?;
        let address = v4.local_addr().map_err(refused)?;
        let v6 = match socket(SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()))) {
            Ok(socket) => Some(socket),
            // The chosen port is free on IPv4 only, so `localhost` may reach another program; choose again.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port == 0 && attempts_left > 0 => {
                attempts_left -= 1;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(BindError::Taken(address.port())),
            Err(_) => None,
        };
        return Ok(ReservedPort { v4, v6, address });
    }
}

/// Opens `port` at once; with 0 the system chooses a free one.
pub async fn bind(port: u16, reach: Reach) -> Result<Listener, BindError> {
    reserve(port, reach)?.open()
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // As the standard library does: connections of an earlier run may still be closing. On Windows this would allow another program to take
    // the port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn bind_error(port: u16, error: io::Error) -> BindError {
    match error.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken(port),
        _ => BindError::Refused(port, error),
    }
}

impl ReservedPort {
    /// `http://localhost:PORT`, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.address.port())
    }

    /// Accepts connections from now on.
    pub fn open(self) -> Result<Listener, BindError> {
        let refused = |error: io::Error| bind_error(self.address.port(), error);
        Ok(Listener {
            v4: self.v4.listen(BACKLOG).map_err(refused)?,
            v6: self
                .v6
                .map(|socket| socket.listen(BACKLOG))
                .transpose()
                .map_err(refused)?,
            address: self.address,
        })
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

/// Serves `router` until `shutdown` completes, and then completes the requests in flight for at most [`GRACE`], so that an idle or stuck
/// connection does not block the shutdown. Accepts a [`Listener`] or a plain `TcpListener`.
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
    let timeout = async {
        let _ = stopped.await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        _ = server.into_future() => {}
        () = timeout => tracing::warn!("some requests were still unanswered after {} s and were dropped", grace.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn the_error_for_a_port_in_use_names_it_and_a_solution() {
        let taken = bind(0, Reach::Network).await.unwrap();
        let error = bind(taken.port(), Reach::Machine).await.unwrap_err().to_string();
        assert!(
            error.contains(&format!("port {}", taken.port())) && error.contains("choose another port"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_reserved_port_refuses_connections_until_it_is_opened() {
        let reserved = reserve(0, Reach::Machine).unwrap();
        let address = reserved.address;
        assert!(TcpStream::connect(address).await.is_err());
        let listener = reserved.open().unwrap();
        TcpStream::connect(address).await.unwrap();
        assert!(matches!(
            reserve(listener.port(), Reach::Machine),
            Err(BindError::Taken(_))
        ));
    }

    #[tokio::test]
    async fn a_port_in_use_only_on_ipv6_loopback_is_in_use() {
        let Ok(stranger) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await else {
            return;
        };
        let port = stranger.local_addr().unwrap().port();
        assert!(matches!(bind(port, Reach::Machine).await, Err(BindError::Taken(taken)) if taken == port));
    }

    #[tokio::test]
    async fn stopping_completes_requests_in_flight_and_closes_idle_connections() {
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
    async fn a_request_that_hangs_does_not_block_the_shutdown() {
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
