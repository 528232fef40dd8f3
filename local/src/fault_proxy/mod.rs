//! A proxy between the functions and every upstream, which answers like the upstream or with a fault: late, broken, refused or without end.
//!
//! All upstreams are behind one port, as they are in the local stack. The proxy tells them apart by the path (Twilio, Whisper) and by the service
//! in the target or the signature (AWS). A presigned URL is a person's download and passes unchanged.

mod answer;
mod fault;
mod refusal;
mod request;
mod upstream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{
    Router,
    body::Body,
    http::{self, Method, Response},
    serve::Listener as _,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use lambda_http::tower::ServiceExt;
use shared::config::Env;
use tokio::{io::BufReader, net::TcpStream, task::JoinSet};

pub use fault::{Fault, Kind, Moment};
pub use upstream::{Asked, Upstream};

use crate::{
    serve::{BindError, Listener, Reach, bind},
    stack::Stack,
};

/// Decides which fault a request meets.
type Decide = Box<dyn FnMut(&Asked) -> Option<Fault> + Send>;

/// A request to an upstream in the log.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What was asked.
    pub asked: Asked,
    /// The fault that it met.
    pub fault: Option<Fault>,
    /// The `x-request-id` of the answer, by which the stand-in Whisper numbers its requests.
    pub answer_id: Option<String>,
    /// Whether the whole answer of the upstream was sent.
    pub delivered: bool,
}

/// The proxy. Clones share their state.
#[derive(Clone)]
pub struct FaultProxy(Arc<Inner>);

struct Inner {
    upstreams: Router,
    decide: Mutex<Option<Decide>>,
    log: Mutex<Vec<Exchange>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FaultProxy {
    /// A proxy without faults for this router of all upstreams.
    pub fn new(upstreams: Router) -> Self {
        Self(Arc::new(Inner {
            upstreams,
            decide: Mutex::default(),
            log: Mutex::default(),
        }))
    }

    /// Serves a proxy without faults for the upstreams of a stack, until the runtime ends. Also returns the environment of functions that reach
    /// them only through it.
    pub async fn before(stack: &Stack) -> Result<(Self, Env), BindError> {
        let upstreams = Router::new()
            .route_service("/2010-04-01/{*rest}", stack.twilio.router().into_service::<Body>())
            .route_service("/v1/{*rest}", stack.whisper.router().into_service::<Body>())
            .fallback_service(stack.aws.router());
        let proxy = Self::new(upstreams);
        let listener = bind(0, Reach::Machine).await?;
        let url = listener.url();
        tokio::spawn(proxy.clone().serve(listener));
        let whisper = format!("{url}/v1");
        let through = [
            ("AWS_ENDPOINT_URL", url.as_str()),
            ("TWILIO_BASE_URL", &url),
            ("WHISPER_BASE_URL", &whisper),
        ];
        Ok((proxy, stack.environment.iter().chain(through).collect()))
    }

    /// From now on asks `decide` about each request.
    pub fn inject(&self, decide: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) {
        *lock(&self.0.decide) = Some(Box::new(decide));
    }

    /// From now on there are no faults. Answers that are being sent with one are still sent with it.
    pub fn clear(&self) {
        *lock(&self.0.decide) = None;
    }

    /// Takes the log. Requests in progress are not in it yet.
    pub fn take_log(&self) -> Vec<Exchange> {
        std::mem::take(&mut lock(&self.0.log))
    }

    /// Serves the proxy until this future is dropped.
    pub async fn serve(self, mut listener: Listener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                (stream, _) = listener.accept() => {
                    let proxy = self.clone();
                    connections.spawn(async move { proxy.connection(stream).await });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn connection(&self, stream: TcpStream) {
        // A delayed packet would look like a slow upstream.
        let _ = stream.set_nodelay(true);
        let mut stream = BufReader::new(stream);
        while let Ok(Some(request)) = request::read(&mut stream).await {
            if !self.exchange(stream.get_mut(), request).await {
                break;
            }
        }
    }

    /// Answers a request. Returns whether the connection can be used again.
    async fn exchange(&self, stream: &mut TcpStream, request: request::Whole) -> bool {
        let asked = upstream::asked(&request.parts);
        let fault = asked.as_ref().and_then(|asked| lock(&self.0.decide).as_mut()?(asked));
        let is_head = request.parts.method == Method::HEAD;
        let upstream = asked.as_ref().map(|asked| asked.upstream);
        let (response, complete) = self.response(upstream, fault, request).await;
        let answer_id = response.as_ref().and_then(|(parts, _)| {
            let id = parts.headers.get("x-request-id")?;
            id.to_str().ok().map(str::to_owned)
        });
        let is_sent = match response {
            Some((parts, body)) => answer::send(stream, &parts, &body, is_head, fault.map(|fault| fault.kind)).await,
            None => {
                answer::reset(stream);
                false
            }
        };
        if let Some(asked) = asked {
            let delivered = is_sent && complete;
            lock(&self.0.log).push(Exchange {
                asked,
                fault,
                answer_id,
                delivered,
            });
        }
        is_sent
    }

    /// The response, and whether it is the upstream's own. `None` if there is none, because the connection breaks.
    async fn response(
        &self,
        upstream: Option<Upstream>,
        fault: Option<Fault>,
        request: request::Whole,
    ) -> (Option<(http::response::Parts, Bytes)>, bool) {
        let Some((upstream, fault)) = upstream.zip(fault) else {
            return (self.forward(request).await, true);
        };
        let refusal = match fault.kind {
            Kind::Throttled { retry_after } => Some(refusal::throttled(upstream, retry_after)),
            Kind::ServerError => Some(refusal::server_error(upstream)),
            Kind::Denied => Some(refusal::denied(upstream)),
            Kind::Reset if fault.moment == Moment::Before => return (None, false),
            Kind::Latency(time) if fault.moment == Moment::Before => {
                tokio::time::sleep(time).await;
                None
            }
            _ => None,
        };
        let own = match fault.moment {
            Moment::Before if refusal.is_some() => None,
            _ => self.forward(request).await,
        };
        if let (Kind::Latency(time), Moment::After) = (fault.kind, fault.moment) {
            tokio::time::sleep(time).await;
        }
        match refusal {
            Some(refusal) => (whole(refusal).await, false),
            None => (own, matches!(fault.kind, Kind::Latency(_))),
        }
    }

    async fn forward(&self, request: request::Whole) -> Option<(http::response::Parts, Bytes)> {
        let request = http::Request::from_parts(request.parts, Body::from(request.body));
        let response = self.0.upstreams.clone().oneshot(request).await;
        whole(response.unwrap_or_else(|never| match never {})).await
    }
}

/// The response with its whole body; `None` if the body breaks off, as a fault of a stand-in does.
async fn whole(response: Response<Body>) -> Option<(http::response::Parts, Bytes)> {
    let (parts, body) = response.into_parts();
    Some((parts, body.collect().await.ok()?.to_bytes()))
}

#[cfg(test)]
mod tests;
