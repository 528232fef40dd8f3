//! A stack whose functions reach their upstreams only through the fault proxy. Nothing is delivered to functions by itself: tests do that.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use local::{
    demo,
    fault_proxy::{Exchange, Fault, FaultProxy, Upstream},
    gateway::Gateway,
    stack::functions::Functions,
    template::TEMPLATE,
};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::{
    contract,
    stack::{TestStack, serve},
};

/// The time that an invocation for a request has.
pub(super) const TIME: Duration = Duration::from_secs(8);
/// What a loaded machine may add to it. Whoever does not look at the time at all takes longer: an endless answer, say, has no end.
pub(super) const TOLERANCE: Duration = Duration::from_secs(20);

/// The stack, the proxy, and the functions behind an API of their own.
pub(super) struct Lane {
    pub(super) stack: TestStack,
    pub(super) proxy: FaultProxy,
    pub(super) functions: Arc<Functions>,
    api: String,
    client: Client,
}

/// An answer of the API, or of a function for events.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// The HTTP status.
    pub(super) status: u16,
    pub(super) body: String,
    /// How long it took.
    pub(super) took: Duration,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// Whether the function ran out of time.
    pub(super) fn is_too_slow(&self) -> bool {
        self.json()["code"] == "timeout"
    }

    pub(super) fn is_success(&self) -> bool {
        self.status < 400
    }
}

impl Lane {
    /// Starts a stack. With `during_start` the functions meet this fault while they start.
    pub(super) async fn start(during_start: Option<(Upstream, Fault)>) -> Self {
        let stack = TestStack::with(|settings| {
            settings.aws_only = true;
            let variables = [("RECORDINGS_AUTH", "required"), ("ARCHIVE_TWILIO", "copy")];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            settings.environment.extend(variables);
        })
        .await;
        let (proxy, environment) = FaultProxy::before(&stack.stack).await.unwrap();
        if let Some((upstream, fault)) = during_start {
            proxy.inject(move |asked| (asked.upstream == upstream).then_some(fault));
        }
        let functions = Arc::new(Functions::from_env(&environment).await.unwrap());
        proxy.clear();
        let invoked = functions.clone();
        let api = Gateway::from_template(TEMPLATE)
            .unwrap()
            .with_deadline(TIME)
            .router(move |function, request| {
                let functions = invoked.clone();
                async move { functions.invoke(&function, request).await.expect("the function exists") }
            });
        Self {
            api: serve(contract::validated(api)).await,
            client: Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            proxy,
            functions,
            stack,
        }
    }

    /// A request to the API with the demo's key.
    pub(super) fn request(&self, method: &Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method.clone(), format!("{}{path}", self.api));
        request.header("X-API-Key", demo::API_KEY)
    }

    /// Sends a request.
    pub(super) async fn send(&self, request: RequestBuilder) -> Reply {
        let began = Instant::now();
        let response = request.send().await.expect("the API answers");
        let status = response.status().as_u16();
        let body = response.text().await.expect("a body");
        Reply {
            status,
            body,
            took: began.elapsed(),
        }
    }

    /// Sends a request that must succeed, again if a loaded machine was too slow for it.
    pub(super) async fn must(&self, method: Method, path: &str, body: &Value) -> Value {
        let mut reply;
        loop {
            let request = self.request(&method, path);
            let request = if body.is_null() { request } else { request.json(body) };
            reply = self.send(request).await;
            if !reply.is_too_slow() {
                break;
            }
        }
        assert!(reply.is_success(), "{method} {path}: {reply:?}");
        reply.json()
    }

    /// The messages in all queues.
    pub(super) async fn messages(&self) -> i64 {
        use shared::clients::queue::QueueLengths;
        let lengths = QueueLengths::new(&self.stack.aws());
        let mut messages = 0;
        for name in ["TRANSCRIPTION", "ARCHIVE", "ERASURE"] {
            let variable = format!("{name}_QUEUE_URL");
            let url = self
                .stack
                .stack
                .environment
                .iter()
                .find(|(known, _)| *known == variable);
            let length = lengths.of(url.expect("a queue").1).await.unwrap();
            messages += (length.waiting + length.delayed + length.in_progress) as i64;
        }
        messages
    }

    /// All requests to this upstream, or the one with this number, meet the fault.
    pub(super) fn inject(&self, upstream: Upstream, only: Option<usize>, fault: Fault) {
        let mut number = 0;
        self.proxy.inject(move |asked| {
            if asked.upstream != upstream {
                return None;
            }
            number += 1;
            only.is_none_or(|only| only == number - 1).then_some(fault)
        });
    }

    /// The files whose transcripts were paid for, with how often, and how many of these answers reached the function.
    pub(super) fn paid(&self, log: &[Exchange], first_call: usize) -> Vec<(String, usize, usize)> {
        let requests = self.stack.stack.whisper.requests();
        let mut paid: Vec<(String, usize, usize)> = Vec::new();
        for (number, request) in requests.iter().enumerate().skip(first_call) {
            let (Some(sha), Some(200)) = (&request.sha256, request.status) else {
                continue;
            };
            let id = format!("req_standin_{}", number + 1);
            let is_delivered = log
                .iter()
                .any(|it| it.delivered && it.answer_id.as_deref() == Some(&id));
            match paid.iter_mut().find(|(known, ..)| known == sha) {
                Some((_, times, delivered)) => {
                    *times += 1;
                    *delivered += usize::from(is_delivered);
                }
                None => paid.push((sha.clone(), 1, usize::from(is_delivered))),
            }
        }
        paid
    }
}
