//! The log of the whole test run: every line that a function writes in any test is checked, at every level, in the format of a deployment.

use std::{
    cell::RefCell,
    io::{self, Write},
    sync::{Arc, Mutex, Once, PoisonError},
};

use local::demo;
use serde_json::Value;
use shared::{
    invocation::{OnBehalf, on_behalf_of},
    log,
};
use tracing_subscriber::{
    EnvFilter, Layer, filter::LevelFilter, filter::filter_fn, fmt, layer::SubscriberExt, registry,
    util::SubscriberInitExt,
};

/// A part of every word that a test plants where keys, numbers and words of customers are.
pub(crate) const PLANTED: &str = "planted";

/// What no line may contain: the planted words, the keys and tokens of the demo, URLs that are keys, and the numbers and names of its customers.
const SECRETS: [&str; 15] = [
    PLANTED,
    demo::API_KEY,
    demo::AUTH_TOKEN,
    demo::WHISPER_API_KEY,
    demo::LIVEKIT_API_SECRET,
    demo::SHARE_TOKEN,
    "local-secret",
    "local-signer",
    "X-Amz-",
    "egress-recordings/2",
    "1510345",
    "4155550",
    "2125550",
    "Ada Byrne",
    "Lovell",
];

/// Lines that functions write before their first request.
const AT_START: [&str; 3] = [
    "secret not available during INIT",
    "an entry of the API keys secret",
    "using the last known value",
];

/// Faulty lines with the name of the thread that wrote them, which is the name of its test.
static FAULTS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Checks every line from here on.
pub(crate) fn watch() {
    // One subscriber for all threads: with one per thread, tracing could permanently disable a callsite that another test reaches first.
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        // A deployed line does not say which crate wrote it.
        let written_by = |is_function: bool| {
            filter_fn(move |metadata| {
                let is_local = metadata.target().split("::").next() == Some("local");
                log::is_written(metadata, LevelFilter::TRACE) && (metadata.is_span() || is_local != is_function)
            })
        };
        let of_functions = log::json_layer().with_writer(|| Checked { is_function: true });
        let of_local = log::json_layer().with_writer(|| Checked { is_function: false });
        let ours = "info,s3s=off,s3s_fs=off,shared=trace,local=trace";
        let functions =
            "get_recording=trace,list_recordings=trace,list_twilio_recordings=trace,transcribe_recording=trace";
        let text = fmt::layer()
            .with_writer(|| LOG.with_borrow(Log::clone))
            .with_ansi(false);
        registry()
            .with(of_functions.with_filter(written_by(true)))
            .with(of_local.with_filter(written_by(false)))
            .with(text.with_filter(EnvFilter::new(format!("{ours},{functions}"))))
            .init();
    });
}

/// Runs a handler that a test calls itself as one invocation.
pub(crate) fn invoked<F: Future>(handler: F) -> OnBehalf<F> {
    on_behalf_of("invocation-of-a-test", None, handler)
}

/// Lines of this test, and of threads that belong to none, that contain what they must not, or belong to no request.
pub(crate) fn faults() -> Vec<String> {
    let here = std::thread::current().name().unwrap_or_default().to_owned();
    let faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
    let own = faults
        .iter()
        .filter(|(thread, _)| *thread == here || !thread.contains("::"));
    own.map(|(_, fault)| fault.clone()).collect()
}

/// Keeps the lines of this thread from here on, as they are in a deployment, for [`kept_lines`].
pub(crate) fn keep_lines() {
    watch();
    LINES.set(Some(Vec::new()));
}

/// The lines that were kept since the last call.
pub(crate) fn kept_lines() -> Vec<Value> {
    LINES.with_borrow_mut(|lines| lines.as_mut().map(std::mem::take).unwrap_or_default())
}

fn keep(line: Value) {
    LINES.with_borrow_mut(|lines| {
        if let Some(lines) = lines {
            lines.push(line);
        }
    });
}

/// Receives each line as a whole.
struct Checked {
    is_function: bool,
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let fields: Value = serde_json::from_str(&line).expect("a line is a JSON object");
        let is_at_start = AT_START.into_iter().any(|words| line.contains(words));
        let has_request = is_id(&fields["span"]["request_id"]) && fields["fields"].get("request_id").is_none();
        check(&line, !self.is_function || is_at_start || has_request);
        keep(fields);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Checks a line of metrics.
pub(crate) fn check_figures(line: &str) {
    let mut line: Value = serde_json::from_str(line).expect("a line is a JSON object");
    // A time has the digits of every number at some time.
    line["_aws"]["Timestamp"].take();
    check(
        &line.to_string(),
        is_id(&line["request_id"]) && is_id(&line["function"]),
    );
}

fn is_id(value: &Value) -> bool {
    value.as_str().is_some_and(|id| !id.is_empty())
}

fn check(line: &str, has_request: bool) {
    let secret = SECRETS.into_iter().find(|secret| line.contains(secret));
    if secret.is_some() || !has_request {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        let what = secret.map_or("no request".to_owned(), |secret| format!("{secret:?}"));
        let mut faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push((thread, format!("{what}: {line}")));
    }
}

/// Captures the log of this thread from here on, in the format of `cargo run` and with all levels of our own crates. A test's stack runs on the
/// test's thread.
pub(crate) fn log_of_this_thread() -> Log {
    watch();
    let log = Log(Some(Arc::default()));
    LOG.set(log.clone());
    log
}

thread_local! {
    static LOG: RefCell<Log> = const { RefCell::new(Log(None)) };
    static LINES: RefCell<Option<Vec<Value>>> = const { RefCell::new(None) };
}

/// The log of one test; without a buffer, the log is discarded.
#[derive(Clone)]
pub(crate) struct Log(Option<Arc<Mutex<Vec<u8>>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        let bytes = self
            .0
            .as_ref()
            .map(|log| log.lock().expect("no test panicked here").clone());
        String::from_utf8(bytes.unwrap_or_default()).expect("a log is text")
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(log) = &self.0 {
            log.lock().expect("no test panicked here").extend(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
