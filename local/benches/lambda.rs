//! What the functions cost: file size, start, CPU per warm request, memory. On Linux: `cargo bench --profile dev -p local --bench lambda`.
//! (`--profile dev` is for the benchmark itself and the local stack, which need not be built once more.)
//!
//! The functions are built as they are deployed (one `cargo build --release` each, so that no features come in from elsewhere) and run as
//! processes against a small Runtime API on loopback, with the embedded AWS and the demo data behind them. A function that does nothing is
//! measured alongside: figures move with the machine, the ratio hardly does.

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
use local::{
    serve::{Reach, bind, serve},
    stack::{Settings, Stack},
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

/// How often each function is started, in turn with the others.
const STARTS: usize = 40;
/// Requests before those that are measured.
const WARM_UP: usize = 20;
/// Batches of warm requests, so that a disturbance shows as the distance between the least and the median.
const BATCHES: usize = 10;
/// How long a function may take for anything.
const PATIENCE: Duration = Duration::from_secs(30);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What is measured of a function.
struct Measured {
    name: &'static str,
    /// Requests in a batch.
    requests: usize,
    binary: PathBuf,
    event: Bytes,
    /// Process to first `/next`.
    starts: Vec<Duration>,
    /// CPU of one warm request, user and system; one value for each batch.
    warm: Vec<Duration>,
    /// The most memory that was ever resident, in KiB.
    peak: u64,
}

impl Measured {
    fn build(name: &'static str, event: &str, requests: usize) -> Result<Self> {
        let event = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../events/{event}.json"));
        Ok(Self {
            name,
            requests,
            binary: build(name)?,
            event: fs::read(event)?.into(),
            starts: Vec::new(),
            warm: Vec::new(),
            peak: 0,
        })
    }

    async fn start(&self, environment: &[(String, String)]) -> Result<(Running, Duration)> {
        Running::start(&self.binary, environment)
            .await
            .map_err(|error| format!("{}: {error}", self.name).into())
    }

    async fn measure_warm(&mut self, environment: &[(String, String)]) -> Result<()> {
        let (mut running, _) = self.start(environment).await?;
        for _ in 0..WARM_UP {
            running.invoke(&self.event).await?;
        }
        for _ in 0..BATCHES {
            let before = running.cpu()?;
            for _ in 0..self.requests {
                running.invoke(&self.event).await?;
            }
            self.warm.push((running.cpu()? - before) / self.requests as u32);
        }
        self.peak = running.peak()?;
        Ok(())
    }
}

/// A function in its process, at its Runtime API.
struct Running {
    process: Child,
    asked: mpsc::UnboundedReceiver<Instant>,
    events: mpsc::UnboundedSender<Bytes>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

/// What the function posted: an answer, or an error.
type Answer = std::result::Result<Bytes, Bytes>;

/// The function's side of the channels in [`Running`].
struct RuntimeApi {
    asked: mpsc::UnboundedSender<Instant>,
    events: Mutex<mpsc::UnboundedReceiver<Bytes>>,
    answers: mpsc::UnboundedSender<Answer>,
}

impl Running {
    /// Starts the process; returns when it has asked for its first event, and how long that took.
    async fn start(binary: &Path, environment: &[(String, String)]) -> Result<(Self, Duration)> {
        let listener = bind(0, Reach::Machine).await?;
        let address = format!("127.0.0.1:{}", listener.port());
        let (asked_sender, asked) = mpsc::unbounded_channel();
        let (events, event_receiver) = mpsc::unbounded_channel();
        let (answer_sender, answers) = mpsc::unbounded_channel();
        let api = RuntimeApi {
            asked: asked_sender,
            events: Mutex::new(event_receiver),
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
        let begun = Instant::now();
        let mut running = Self {
            process: command.spawn()?,
            asked,
            events,
            answers,
        };
        let asked = running.next_asked().await?;
        Ok((running, asked - begun))
    }

    async fn next_asked(&mut self) -> Result<Instant> {
        tokio::select! {
            asked = self.asked.recv() => asked.ok_or_else(|| "the Runtime API has stopped".into()),
            Some(answer) = self.answers.recv() => Err(format!("the function posted out of turn: {answer:?}").into()),
            () = tokio::time::sleep(PATIENCE) => Err("the function did not ask for an event".into()),
        }
    }

    /// Has the function answer the event with a success and ask for the next.
    async fn invoke(&mut self, event: &Bytes) -> Result<()> {
        self.events.send(event.clone())?;
        let posted = tokio::time::timeout(PATIENCE, self.answers.recv()).await?;
        let body = posted
            .ok_or("the Runtime API has stopped")?
            .map_err(|error| format!("the function failed: {}", String::from_utf8_lossy(&error)))?;
        let answer: Value = serde_json::from_slice(&body)?;
        if answer["statusCode"] != 200 && answer["batchItemFailures"] != json!([]) {
            return Err(format!("not a success: {}", String::from_utf8_lossy(&body)).into());
        }
        self.next_asked().await?;
        Ok(())
    }

    /// The CPU time of all threads so far.
    fn cpu(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(self.proc("task")).map_err(not_linux)? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().ok_or("an empty schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The most memory that was ever resident, in KiB.
    fn peak(&self) -> Result<u64> {
        let status = fs::read_to_string(self.proc("status")).map_err(not_linux)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        Ok(number.ok_or("no VmHWM in the process's status")?.parse()?)
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.process.id()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A process that has ended by itself is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn not_linux(error: io::Error) -> String {
    format!("the figures of a process are read from /proc, which only Linux has: {error}")
}

async fn next(
    State(api): State<Arc<RuntimeApi>>,
) -> std::result::Result<([(HeaderName, String); 3], Bytes), StatusCode> {
    api.asked.send(Instant::now()).map_err(|_| StatusCode::GONE)?;
    let event = api.events.lock().await.recv().await.ok_or(StatusCode::GONE)?;
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + PATIENCE;
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

/// Builds a package's binary as `sam build` does and returns where it is.
fn build(package: &str) -> Result<PathBuf> {
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

fn least_and_median(mut values: Vec<Duration>) -> (f64, f64) {
    values.sort();
    let milliseconds = |value: Duration| value.as_secs_f64() * 1000.0;
    (milliseconds(values[0]), milliseconds(values[values.len() / 2]))
}

fn print(functions: Vec<Measured>) -> Result<()> {
    println!("\n                         file   start to first /next    CPU of a warm request   resident");
    println!("                           MB   least median of bare     least  median             peak MB");
    let mut bare_start = None;
    for function in functions {
        let file = fs::metadata(&function.binary)?.len() as f64 / 1e6;
        let (start, median_start) = least_and_median(function.starts);
        let (warm, median_warm) = least_and_median(function.warm);
        let of_bare = median_start / *bare_start.get_or_insert(median_start);
        let peak = function.peak as f64 * 1024.0 / 1e6;
        println!(
            "{:22} {file:6.1} {start:7.1} {median_start:6.1} {of_bare:6.1}x {warm:6.3} ms {median_warm:6.3} ms {peak:16.1}",
            function.name
        );
    }
    println!("\nGoals for get-recording: start at most 3x of bare, warm CPU below 0.4 ms, resident below 20 MB.");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    // A transcript is read only after it was made.
    let mut functions = Vec::new();
    for (name, event, requests) in [
        ("bare-function", "get-recording", 200),
        ("get-recording", "get-recording", 200),
        ("list-recordings", "list-recordings", 50),
        ("list-twilio-recordings", "list-twilio-recordings", 10),
        ("transcribe-recording", "transcribe-recording", 50),
        ("get-transcript", "get-transcript", 50),
        ("transcription-worker", "transcription-worker", 50),
    ] {
        functions.push(Measured::build(name, event, requests)?);
    }
    let state = tempfile::tempdir()?;
    let mut settings = Settings::for_tests(state.path().to_owned());
    settings.aws_only = true;
    settings.empty = false;
    settings.environment = vec![("RECORDINGS_AUTH".into(), "required".into())];
    let stack = Stack::start(settings).await?;
    let environment: Vec<(String, String)> = stack
        .environment
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for _ in 0..STARTS {
        for function in &mut functions {
            let (_, start) = function.start(&environment).await?;
            function.starts.push(start);
        }
    }
    for function in &mut functions {
        function.measure_warm(&environment).await?;
    }
    stack.stop().await?;
    print(functions)
}
