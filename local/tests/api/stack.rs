//! A stack of its own for each test.

use std::{future::Future, sync::mpsc};

use axum::Router;
use local::{
    demo,
    serve::Reach,
    stack::{Settings, Stack},
};
use reqwest::{Client, Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;
use shared::{aws::Aws, calls::Calls};
use tempfile::TempDir;

/// A running stack and a client for its API.
pub(crate) struct TestStack {
    pub(crate) stack: Stack,
    client: Client,
    // Removed with the test.
    _dir: TempDir,
}

/// What the API answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl TestStack {
    /// An empty stack: no calls, no recordings.
    pub(crate) async fn empty() -> Self {
        Self::with(|_| {}).await
    }

    /// The stack that `cargo run` starts, demo data included.
    pub(crate) async fn demo() -> Self {
        Self::with(|settings| settings.empty = false).await
    }

    /// A stack with settings of the test's own.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let mut settings = Settings::for_tests(dir.path().to_owned());
        change(&mut settings);
        let stack = Stack::start(settings).await.expect("the stack starts");
        let client = Client::builder().no_proxy().build().expect("a client");
        Self {
            stack,
            client,
            _dir: dir,
        }
    }

    /// A stack whose functions have these variables besides the usual ones.
    pub(crate) async fn with_environment<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self::with(|settings| {
            settings
                .environment
                .extend(variables.map(|(name, value)| (name.into(), value.into())))
        })
        .await
    }

    /// A request to the API; `path` begins with `/` and may have a query.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let api = self.stack.api_url.as_ref().expect("the API is running");
        self.client.request(method, format!("{api}{path}"))
    }

    /// `GET` with the demo's key.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path).header("X-API-Key", demo::API_KEY)).await
    }

    /// `POST` of JSON with the demo's key.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(
            self.request(Method::POST, path)
                .header("X-API-Key", demo::API_KEY)
                .json(body),
        )
        .await
    }

    /// AWS clients as the functions have them.
    pub(crate) fn aws(&self) -> Aws {
        Aws::from_env(&self.stack.environment).expect("the stack's environment is complete")
    }

    /// The calls table as the functions have it.
    pub(crate) fn calls(&self) -> Calls {
        Calls::from_env(&self.stack.environment, &self.aws()).expect("the stack's environment is complete")
    }
}

/// Sends a request and reads the JSON that it is answered with.
pub(crate) fn answer(request: RequestBuilder) -> impl Future<Output = Answer> {
    async move {
        let response = request.send().await.expect("the API answers");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
        Answer { status, headers, body }
    }
}

impl Answer {
    /// Checks that this is the error with this status and code, in the shape of `/api/twilio`, and returns its text.
    #[track_caller]
    pub(crate) fn twilio_error(&self, status: u16, code: &str) -> &str {
        self.error(status, code, "error")
    }

    /// Checks that this is the error with this status and code, in the shape of `/recordings`, and returns its text.
    #[track_caller]
    pub(crate) fn recordings_error(&self, status: u16, code: &str) -> &str {
        self.error(status, code, "detail")
    }

    #[track_caller]
    fn error(&self, status: u16, code: &str, field: &str) -> &str {
        assert_eq!(
            (self.status.as_u16(), self.body["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
        assert!(
            self.body["request_id"].as_str().is_some_and(|id| !id.is_empty()),
            "{}",
            self.body
        );
        assert_eq!(self.headers["content-type"], "application/json");
        self.body[field]
            .as_str()
            .unwrap_or_else(|| panic!("no {field}: {}", self.body))
    }
}

/// Serves a router on a port of its own until the test's runtime ends, and says where: `http://localhost:PORT`.
pub(crate) async fn serve(router: Router) -> String {
    let listener = local::serve::bind(0, Reach::Machine).await.expect("a free port");
    let url = listener.url();
    tokio::spawn(local::serve::serve(listener, router, std::future::pending()));
    url
}

/// Stops the clock of the test's runtime: sockets go on working, but time passes only by [`tokio::time::advance`]. Until it is dropped.
pub(crate) struct StoppedClock {
    _blocks: mpsc::Sender<()>,
}

impl StoppedClock {
    pub(crate) fn new() -> Self {
        tokio::time::pause();
        // A paused clock jumps to the next timer whenever the runtime waits, even for a socket, but not while a blocking task runs.
        let (blocks, released) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || released.recv());
        Self { _blocks: blocks }
    }
}
