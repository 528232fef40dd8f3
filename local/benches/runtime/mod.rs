//! Runs functions as they are deployed, each in a separate process with a small Runtime API on loopback.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderName, StatusCode},
    routing::{get, post},
};
use local::serve::{Reach, bind, serve};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A running function and its Runtime API.
pub(crate) struct Running {
    timeout: Duration,
    process: Child,
    asked: mpsc::UnboundedReceiver<Instant>,
    events: mpsc::UnboundedSender<Bytes>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

/// The response or the error that the function posted.
type Answer = std::result::Result<Bytes, Bytes>;

/// The Runtime API's side of the channels in [`Running`].
struct RuntimeApi {
    asked: mpsc::UnboundedSender<Instant>,
    events: Mutex<mpsc::UnboundedReceiver<Bytes>>,
    timeout: Duration,
    answers: mpsc::UnboundedSender<Answer>,
}

impl Running {
    /// Starts the process, waits until it requests its first event, and returns how long that took. `timeout` limits each invocation and is also
    /// the function's deadline.
    pub(crate) async fn start(
        binary: &Path,
        environment: &[(String, String)],
        timeout: Duration,
    ) -> Result<(Self, Duration)> {
        let listener = bind(0, Reach::Machine).await?;
        let address = format!("127.0.0.1:{}", listener.port());
        let (asked_sender, asked) = mpsc::unbounded_channel();
        let (events, event_receiver) = mpsc::unbounded_channel();
        let (answer_sender, answers) = mpsc::unbounded_channel();
        let api = RuntimeApi {
            asked: asked_sender,
            events: Mutex::new(event_receiver),
            timeout,
            answers: answer_sender,
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .route("/2018-06-01/runtime/init/error", post(failed))
            .with_state(Arc::new(api));
        let closed = events.clone();
        tokio::spawn(serve(listener, router, async move { closed.closed().await }));

        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "benchmark")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .env("AWS_LAMBDA_LOG_LEVEL", "INFO")
            .stdout(Stdio::null());
        let began = Instant::now();
        let mut running = Self {
            timeout,
            process: command.spawn()?,
            asked,
            events,
            answers,
        };
        let asked = running.next_asked().await?;
        Ok((running, asked - began))
    }

    async fn next_asked(&mut self) -> Result<Instant> {
        tokio::select! {
            asked = self.asked.recv() => asked.ok_or_else(|| "the Runtime API has stopped".into()),
            Some(answer) = self.answers.recv() => Err(format!("the function posted an unexpected response: {answer:?}").into()),
            () = tokio::time::sleep(self.timeout) => Err("the function did not request an event".into()),
        }
    }

    /// Sends an event, and waits until the function has responded with a success and requested the next event.
    pub(crate) async fn invoke(&mut self, event: &Bytes) -> Result<()> {
        self.events.send(event.clone())?;
        let posted = tokio::time::timeout(self.timeout, self.answers.recv()).await?;
        let body = posted
            .ok_or("the Runtime API has stopped")?
            .map_err(|error| format!("the function failed: {}", String::from_utf8_lossy(&error)))?;
        let answer: Value = serde_json::from_slice(&body)?;
        // Functions without a response return null.
        if !answer.is_null() && answer["statusCode"] != 200 && answer["batchItemFailures"] != json!([]) {
            return Err(format!("not a success: {}", String::from_utf8_lossy(&body)).into());
        }
        self.next_asked().await?;
        Ok(())
    }

    /// The peak resident memory in KiB.
    pub(crate) fn peak(&self) -> Result<u64> {
        let status = fs::read_to_string(self.proc("status")).map_err(not_linux)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        Ok(number.ok_or("no VmHWM in the process's status")?.parse()?)
    }

    /// A file of the process in `/proc`.
    pub(crate) fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.process.id()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The process may already have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn not_linux(error: io::Error) -> String {
    format!("the measurements of a process are read from /proc, which only Linux has: {error}")
}

async fn next(
    State(api): State<Arc<RuntimeApi>>,
) -> std::result::Result<([(HeaderName, String); 3], Bytes), StatusCode> {
    api.asked.send(Instant::now()).map_err(|_| StatusCode::GONE)?;
    let event = api.events.lock().await.recv().await.ok_or(StatusCode::GONE)?;
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + api.timeout;
    let headers = [
        (
            "lambda-runtime-aws-request-id",
            "00000000-0000-4000-8000-000000000000".to_owned(),
        ),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:benchmark".to_owned(),
        ),
    ];
    Ok((
        headers.map(|(name, value)| (HeaderName::from_static(name), value)),
        event,
    ))
}

async fn answered(State(api): State<Arc<RuntimeApi>>, body: Bytes) -> StatusCode {
    post_answer(&api, Ok(body))
}

async fn failed(State(api): State<Arc<RuntimeApi>>, body: Bytes) -> StatusCode {
    post_answer(&api, Err(body))
}

fn post_answer(api: &RuntimeApi, answer: Answer) -> StatusCode {
    match api.answers.send(answer) {
        Ok(()) => StatusCode::ACCEPTED,
        Err(_) => StatusCode::GONE,
    }
}

/// Builds a package's binary as `sam build` does and returns its path.
pub(crate) fn build(package: &str) -> Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--message-format=json-render-diagnostics",
            "-p",
            package,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{package} can't be built").into());
    }
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| Some(message["executable"].as_str()?.into()))
        .ok_or_else(|| format!("{package} has no binary").into())
}
