//! The stack that each test starts for itself.

use std::{io, sync::mpsc, time::Duration};

use axum::Router;
use local::{
    aws::Permissions,
    demo,
    serve::Reach,
    stack::{Settings, Stack, account},
};
use reqwest::{Client, Method, RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;
use shared::{calls::Calls, clients::aws::Aws, metrics::Metrics, panics::blocking};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{contract, logs};

/// A running stack and a client for its API.
pub(crate) struct TestStack {
    pub(crate) stack: Stack,
    client: Client,
    // Deleted when the test ends.
    _dir: TempDir,
}

/// A response of the API.
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

    /// A stack with settings changed by the test.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        logs::watch();
        let dir = TempDir::new().expect("a temporary directory");
        let mut settings = Settings::new(dir.path().to_owned());
        settings.around_api = Some(contract::validated);
        settings.metrics = Some(Metrics::new("call-recordings/test", logs::check_figures));
        // Tests sign Twilio's callbacks for it.
        let public_url = "http://localhost:8000".to_owned();
        settings.environment.push(("PUBLIC_BASE_URL".into(), public_url));
        // Tests send more requests than one client.
        for name in [
            "KEY_REQUESTS_PER_MINUTE",
            "KEY_PAID_REQUESTS_PER_MINUTE",
            "ADDRESS_REQUESTS_PER_MINUTE",
        ] {
            settings.environment.push((name.into(), "1000000".into()));
        }
        change(&mut settings);
        let stack = Stack::start(settings).await.expect("the stack starts");
        let client = Client::builder().no_proxy().build().expect("a client");
        Self {
            stack,
            client,
            _dir: dir,
        }
    }

    /// A stack whose functions have these additional environment variables.
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

    /// `GET` without a key.
    pub(crate) async fn get_without_key(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// `GET` of an absolute URL, a presigned one for instance.
    pub(crate) fn fetch(&self, url: &str) -> RequestBuilder {
        self.client.get(url)
    }

    /// `GET` with the demo's key of exactly these bytes, which HTTP clients would encode or normalize.
    pub(crate) async fn get_raw(&self, target: &[u8]) -> (u16, Value) {
        let api = self.stack.api_url.as_ref().expect("the API is running");
        let address = api.trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).await.expect("the API listens");
        let head = format!(
            " HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {}\r\nConnection: close\r\n\r\n",
            demo::API_KEY
        );
        let request = [b"GET ", target, head.as_bytes()].concat();
        connection.write_all(&request).await.expect("the API reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.expect("the API answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).expect("a status line");
        (
            status.parse().expect("a status"),
            serde_json::from_str(body).unwrap_or(Value::Null),
        )
    }

    /// Writes a recording directly to the embedded S3's storage, without a request.
    pub(crate) fn put_object(&self, key: &str, bytes: &[u8]) {
        let path = self._dir.path().join("s3").join(account::BUCKET).join(key);
        std::fs::create_dir_all(path.parent().expect("a key in the bucket")).expect("a folder");
        std::fs::write(path, bytes).expect("an object");
    }

    /// Removes a recording directly from the embedded S3's storage, without a request.
    pub(crate) fn remove_object(&self, key: &str) {
        let removed = std::fs::remove_file(self._dir.path().join("s3").join(account::BUCKET).join(key));
        assert!(removed.is_ok() || removed.is_err_and(|error| error.kind() == io::ErrorKind::NotFound));
    }

    /// Creates or updates a secret. A new one is known at once to functions that remember that it is missing.
    pub(crate) async fn put_secret(&self, name: &str, text: &str) {
        let client = self.aws().secrets_manager();
        let created = client.create_secret().name(name).secret_string(text).send().await;
        match created {
            Ok(_) => pass(Duration::from_secs(31)).await,
            Err(_) => {
                let put = client.put_secret_value().secret_id(name).secret_string(text);
                put.send().await.expect("the secret is written");
            }
        }
    }

    /// The text of a secret.
    pub(crate) async fn secret(&self, name: &str) -> String {
        let client = self.aws().secrets_manager();
        let stored = client.get_secret_value().secret_id(name).send().await;
        let text = stored.expect("the secret is read").secret_string;
        text.expect("the secret is a text")
    }

    /// AWS clients with the functions' configuration.
    pub(crate) fn aws(&self) -> Aws {
        Aws::from_env(&self.stack.environment).expect("the stack's environment is complete")
    }

    /// The calls table with the functions' configuration.
    pub(crate) fn calls(&self) -> Calls {
        Calls::from_env(&self.stack.environment, &self.aws()).expect("the stack's environment is complete")
    }
}

impl Drop for TestStack {
    /// No function may have made a request that its policy does not allow, even if the test did not see its error, nor have logged what the log must
    /// not contain.
    fn drop(&mut self) {
        let denied = self.stack.aws.permissions().map(Permissions::denied);
        if !std::thread::panicking() {
            assert_eq!(denied.unwrap_or_default(), Vec::<String>::new());
            assert_eq!(logs::faults(), Vec::<String>::new());
        }
    }
}

/// Advances the time for the functions and their caches immediately.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Sends a request and reads the JSON response.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("the API answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
    Answer { status, headers, body }
}

impl Answer {
    /// Checks that this is an error with this status and code in the format of `/api/twilio`, and returns its message.
    #[track_caller]
    pub(crate) fn twilio_error(&self, status: u16, code: &str) -> &str {
        self.error(status, code, "error")
    }

    /// Checks that this is an error with this status and code in the format of `/recordings`, and returns its message.
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

/// Serves a router on a free port until the test's runtime ends. Returns its URL, `http://localhost:PORT`.
pub(crate) async fn serve(router: Router) -> String {
    let listener = local::serve::bind(0, Reach::Machine).await.expect("a free port");
    let url = listener.url();
    tokio::spawn(local::serve::serve(listener, router, std::future::pending()));
    url
}

/// Stops the clock of the test's runtime: sockets still work, but time advances only through [`tokio::time::advance`]. If the test needs real
/// time afterwards, it must drop this and call [`tokio::time::resume`].
pub(crate) struct StoppedClock {
    _blocks: mpsc::Sender<()>,
}

impl StoppedClock {
    pub(crate) fn new() -> Self {
        tokio::time::pause();
        // A paused clock jumps to the next timer whenever the runtime is idle, even while it waits for a socket, but not while a blocking task
        // runs.
        let (blocks, released) = mpsc::channel::<()>();
        drop(blocking(move || released.recv()));
        Self { _blocks: blocks }
    }
}
