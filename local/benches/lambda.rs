//! Measures file size, start-up time, CPU time per warm request and memory of the functions. On Linux: `cargo bench --profile dev -p local
//! --bench lambda`. (`--profile dev` avoids building the benchmark itself and the local stack again.)
//!
//! The functions are built as they are deployed (with a separate `cargo build --release` each, so that features of other packages are not
//! unified) and run as processes with a small Runtime API on loopback, the embedded AWS and the demo data. A function that does nothing is
//! measured alongside: the results depend on the machine, but the ratio hardly does.

mod runtime;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::Bytes;
use jiff::Timestamp;
use local::stack::{Settings, Stack, demo_data};
use runtime::{Result, Running, build, not_linux};
use serde_json::Value;
use shared::{
    calls::{Call, Calls},
    clients::aws::Aws,
    config::Env,
};

/// How often each function is started, alternating with the others.
const STARTS: usize = 40;
/// The number of requests before the measured ones.
const WARM_UP: usize = 20;
/// The number of batches of warm requests. Disturbances show as a difference between the minimum and the median.
const BATCHES: usize = 10;
/// The timeout of each step of a function.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of rows on a page of a list.
const PAGE: u64 = 100;

/// A function and its measurements.
struct Measured {
    name: &'static str,
    /// Requests in a batch.
    requests: usize,
    binary: PathBuf,
    event: Bytes,
    /// Time from the start of the process to the first `/next`.
    starts: Vec<Duration>,
    /// CPU time of one warm request, user and system; one value for each batch.
    warm: Vec<Duration>,
    /// The peak resident memory in KiB.
    peak: u64,
}

impl Measured {
    fn build(name: &'static str, function: &str, event: &str, requests: usize) -> Result<Self> {
        let event = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../events/{event}.json"));
        Ok(Self {
            name,
            requests,
            binary: build(function)?,
            event: fs::read(event)?.into(),
            starts: Vec::new(),
            warm: Vec::new(),
            peak: 0,
        })
    }

    async fn start(&self, environment: &[(String, String)]) -> Result<(Running, Duration)> {
        Running::start(&self.binary, environment, TIMEOUT)
            .await
            .map_err(|error| format!("{}: {error}", self.name).into())
    }

    async fn measure_warm(&mut self, environment: &[(String, String)]) -> Result<()> {
        let (mut running, _) = self.start(environment).await?;
        for _ in 0..WARM_UP {
            running.invoke(&self.event).await?;
        }
        for _ in 0..BATCHES {
            let before = cpu(&running)?;
            for _ in 0..self.requests {
                running.invoke(&self.event).await?;
            }
            self.warm.push((cpu(&running)? - before) / self.requests as u32);
        }
        self.peak = running.peak()?;
        Ok(())
    }
}

fn with_query(event: &[u8], query: &str) -> Result<Bytes> {
    let mut event: Value = serde_json::from_slice(event)?;
    event["rawQueryString"] = query.into();
    event["queryStringParameters"] = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    Ok(event.to_string().into())
}

/// Adds more calls of one day to the index than fit on one page.
async fn load_calls(environment: &Env) -> Result<()> {
    let calls = Calls::from_env(environment, &Aws::from_env(environment)?)?;
    for number in 0..PAGE + 20 {
        let (unix, phone) = (1_760_000_000 + 600 * number / 10, 15_550_000_000 + number);
        let call = Call {
            dispatch_id: format!("dispatch_{unix}_{phone}"),
            s3_key: Some(format!("egress-recordings/2025/10/09/outbound-{phone}_{unix}.mp4")),
            size: Some(1),
            interaction_id: Some(format!("interaction_{number}")),
            customer_name: Some("Louis Smith".into()),
            phone: Some(format!("+{phone}")),
            status: Some("COMPLETED".into()),
            outcome: Some("PAYMENT_PROMISED".into()),
            duration: Some(180),
            start_time: Some(Timestamp::from_second(unix as i64)?),
            end_time: Some(Timestamp::from_second(unix as i64 + 180)?),
            ..Call::default()
        };
        demo_data::index_call(&calls, &call).await?;
    }
    Ok(())
}

/// The CPU time of all threads so far.
fn cpu(running: &Running) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(running.proc("task")).map_err(not_linux)? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().ok_or("an empty schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

fn minimum_and_median(mut values: Vec<Duration>) -> (f64, f64) {
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
        let (start, median_start) = minimum_and_median(function.starts);
        let (warm, median_warm) = minimum_and_median(function.warm);
        let of_bare = median_start / *bare_start.get_or_insert(median_start);
        let peak = function.peak as f64 * 1024.0 / 1e6;
        println!(
            "{:22} {file:6.1} {start:7.1} {median_start:6.1} {of_bare:6.1}x {warm:6.3} ms {median_warm:6.3} ms {peak:16.1}",
            function.name
        );
    }
    println!(
        "\nGoals for get-recording: start at most 3x of bare, warm CPU below 0.4 ms, resident below 20 MB; for a page of 100 below 5 ms."
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    // The transcript must exist before it is read.
    let mut functions = Vec::new();
    for (function, event, requests) in [
        ("bare-function", "get-recording", 200),
        ("get-recording", "get-recording", 200),
        ("list-recordings", "list-recordings", 50),
        ("list-twilio-recordings", "list-twilio-recordings", 10),
        ("transcribe-recording", "transcribe-recording", 50),
        ("get-transcript", "get-transcript", 50),
        ("transcription-worker", "transcription-worker", 50),
        ("index-recording", "index-recording", 50),
        ("livekit-webhook", "livekit-webhook", 50),
        ("twilio-callback", "twilio-callback", 50),
    ] {
        functions.push(Measured::build(function, function, event, requests)?);
    }
    let mut page = Measured::build("list, a page of 100", "list-recordings", "list-recordings", 20)?;
    page.event = with_query(&page.event, &format!("limit={PAGE}"))?;
    functions.push(page);
    let state = tempfile::tempdir()?;
    let mut settings = Settings::new(state.path().to_owned());
    settings.aws_only = true;
    settings.empty = false;
    settings.environment = vec![("RECORDINGS_AUTH".into(), "required".into())];
    let stack = Stack::start(settings).await?;
    load_calls(&stack.environment).await?;
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
