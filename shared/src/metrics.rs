//! Figures of the operation, as one line per invocation in CloudWatch's embedded metric format. CloudWatch makes metrics of these lines, which
//! cost money while they have data, so nothing is written unless `METRICS_NAMESPACE` is set.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};

tokio::task_local! {
    static CURRENT: Figures;
}

/// What is counted. None has a dimension, because each combination of a metric and its dimensions is billed as a metric of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// HTTP requests that a function answered.
    Requests,
    /// Requests to Twilio; each attempt counts.
    TwilioCalls,
    /// Those that failed for a reason of Twilio, of the connection, or of the credentials.
    TwilioFailures,
    /// Requests to the transcription API; each attempt counts.
    WhisperCalls,
    /// Those that failed for a reason of the API, of the connection, or of the credentials.
    WhisperFailures,
    /// Seconds of audio that were paid for.
    TranscribedSeconds,
    /// US dollars that were paid for transcription.
    TranscriptionCost,
    /// Segments that were dropped from transcripts because the model invented them.
    DroppedSegments,
    /// Conditional writes to the index that lost against another writer, and are tried again.
    IndexConflicts,
    /// Objects and recordings that the reconciler could not index in its last round.
    NotIndexed,
    /// The part of the month's transcription budget that is used.
    BudgetUsed,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 11] = [
        Self::Requests,
        Self::TwilioCalls,
        Self::TwilioFailures,
        Self::WhisperCalls,
        Self::WhisperFailures,
        Self::TranscribedSeconds,
        Self::TranscriptionCost,
        Self::DroppedSegments,
        Self::IndexConflicts,
        Self::NotIndexed,
        Self::BudgetUsed,
    ];

    /// The metric's name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "Requests",
            Self::TwilioCalls => "TwilioCalls",
            Self::TwilioFailures => "TwilioFailures",
            Self::WhisperCalls => "WhisperCalls",
            Self::WhisperFailures => "WhisperFailures",
            Self::TranscribedSeconds => "TranscribedSeconds",
            Self::TranscriptionCost => "TranscriptionCost",
            Self::DroppedSegments => "DroppedSegments",
            Self::IndexConflicts => "IndexConflicts",
            Self::NotIndexed => "NotIndexed",
            Self::BudgetUsed => "BudgetUsed",
        }
    }

    /// One of CloudWatch's units. It has none for money.
    fn unit(self) -> &'static str {
        match self {
            Self::TranscribedSeconds => "Seconds",
            Self::TranscriptionCost => "None",
            Self::BudgetUsed => "Percent",
            _ => "Count",
        }
    }
}

/// The figures of one invocation. Clones share them.
#[derive(Debug, Clone, Default)]
struct Figures(Arc<Mutex<BTreeMap<Metric, f64>>>);

impl Figures {
    fn change(&self, metric: Metric, change: impl FnOnce(&mut f64)) {
        let mut figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(figures.entry(metric).or_default());
    }

    /// The line for CloudWatch; `None` if nothing was counted.
    fn line(&self, namespace: &str, at_millis: u128) -> Option<String> {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let figures: Vec<_> = figures.iter().filter(|(_, value)| value.is_finite()).collect();
        if figures.is_empty() {
            return None;
        }
        let metrics = figures
            .iter()
            .map(|(metric, _)| json!({"Name": metric.name(), "Unit": metric.unit()}));
        let directive = json!({
            "Namespace": namespace,
            "Dimensions": [[]],
            "Metrics": metrics.collect::<Vec<_>>(),
        });
        let mut root = Map::from_iter([(
            "_aws".to_owned(),
            json!({"Timestamp": at_millis as u64, "CloudWatchMetrics": [directive]}),
        )]);
        root.extend(
            figures
                .iter()
                .map(|(metric, value)| (metric.name().to_owned(), Value::from(**value))),
        );
        Some(Value::Object(root).to_string())
    }
}

/// Adds to a metric of the current invocation.
pub fn add(metric: Metric, value: f64) {
    // Without data a metric costs nothing.
    if value == 0.0 {
        return;
    }
    // Outside of an invocation, or without metrics, there is nothing to count for.
    let _ = CURRENT.try_with(|figures| figures.change(metric, |sum| *sum += value));
}

/// Adds one to a metric of the current invocation.
pub fn count(metric: Metric) {
    add(metric, 1.0);
}

/// Sets a metric of the current invocation that is a state and no sum.
pub fn set(metric: Metric, value: f64) {
    let _ = CURRENT.try_with(|figures| figures.change(metric, |last| *last = value));
}

/// A request to another service. It counts as failed unless [`Attempt::end`] says otherwise: also if it is given up before the service answered.
pub struct Attempt {
    failures: Option<Metric>,
}

impl Attempt {
    /// Counts a request in `calls`, and in `failures` if it fails.
    pub fn begin(calls: Metric, failures: Metric) -> Self {
        count(calls);
        Self {
            failures: Some(failures),
        }
    }

    /// Ends the request.
    pub fn end(mut self, has_failed: bool) {
        self.failures = self.failures.filter(|_| has_failed);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(failures) = self.failures {
            count(failures);
        }
    }
}

/// Writes the figures of invocations.
#[derive(Clone)]
pub struct Metrics {
    namespace: String,
    write: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Metrics {
    /// Writes lines for this namespace by calling `write`.
    pub fn new(namespace: &str, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            namespace: namespace.to_owned(),
            write: Arc::new(write),
        }
    }

    /// The metrics of a function, on stdout; `None` without a namespace.
    pub fn on_stdout(namespace: Option<&str>) -> Option<Self> {
        // CloudWatch reads only lines that are the JSON object itself, so the line does not go through the log.
        namespace.map(|namespace| Self::new(namespace, |line| println!("{line}")))
    }
}

/// Runs an invocation and writes its figures at its end. Without metrics nothing is collected.
pub fn counted<F: Future>(metrics: Option<&Metrics>, invocation: F) -> impl Future<Output = F::Output> {
    // On the heap, because a future that is moved through each of these would need the stack several times.
    let invocation = Box::pin(invocation);
    async move {
        let Some(metrics) = metrics else {
            return invocation.await;
        };
        let figures = Figures::default();
        let output = CURRENT.scope(figures.clone(), invocation).await;
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Some(line) = figures.line(&metrics.namespace, at.as_millis()) {
            (metrics.write)(&line);
        }
        output
    }
}
