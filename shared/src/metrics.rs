//! Figures of the operation, as one line per invocation in CloudWatch's embedded metric format. CloudWatch makes metrics of these lines, which
//! cost money while they have data, so nothing is written unless `METRICS_NAMESPACE` is set.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{
    collections::BTreeMap,
    io::{self, Write},
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
    fn line(&self, namespace: &str, at_millis: u128, origin: &[(&'static str, String)]) -> Option<String> {
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
            origin
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.as_str().into())),
        );
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
        namespace.map(|namespace| {
            Self::new(namespace, |line| {
                // A panic of `println!` while another one unwinds would end the process.
                let _ = writeln!(io::stdout(), "{line}");
            })
        })
    }
}

/// Runs an invocation of a function and writes its figures at its end, also if it panics or is given up. The line has the id of its request and the
/// function's name. Without metrics nothing is collected.
pub fn counted<'a, F: Future>(
    metrics: Option<&'a Metrics>,
    function: &str,
    request_id: &str,
    invocation: F,
) -> impl Future<Output = F::Output> + use<'a, F> {
    let figures = metrics.map(|metrics| WrittenOnDrop {
        metrics,
        figures: Figures::default(),
        origin: [("function", function.to_owned()), ("request_id", request_id.to_owned())],
    });
    // On the heap, because a future that is moved through each of these would need the stack several times.
    let invocation = Box::pin(invocation);
    async move {
        match &figures {
            Some(written) => CURRENT.scope(written.figures.clone(), invocation).await,
            None => invocation.await,
        }
    }
}

/// The figures of an invocation, which are written when it has ended, however it ended.
struct WrittenOnDrop<'a> {
    metrics: &'a Metrics,
    figures: Figures,
    /// Members of the line that are no metrics.
    origin: [(&'static str, String); 2],
}

impl Drop for WrittenOnDrop<'_> {
    fn drop(&mut self) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Some(line) = self.figures.line(&self.metrics.namespace, at.as_millis(), &self.origin) {
            (self.metrics.write)(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panics::caught;

    #[tokio::test]
    async fn an_invocation_that_panics_or_is_given_up_writes_its_figures() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = lines.clone();
        let metrics = Metrics::new("test", move |line| written.lock().unwrap().push(line.to_owned()));
        let panicking = async {
            count(Metric::Requests);
            panic!("planted");
        };
        let panicked: Result<(), _> = caught(counted(Some(&metrics), "console", "r1", panicking)).await;
        assert!(panicked.is_err());
        let endless = async {
            count(Metric::Requests);
            std::future::pending::<()>().await;
        };
        let endless = counted(Some(&metrics), "console", "r2", endless);
        tokio::time::timeout(std::time::Duration::ZERO, endless)
            .await
            .unwrap_err();
        let lines = lines.lock().unwrap();
        for (line, id) in lines.iter().zip(["r1", "r2"]) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                (&line["request_id"], &line["function"], &line["Requests"]),
                (&json!(id), &json!("console"), &json!(1.0))
            );
        }
        assert_eq!(lines.len(), 2);
    }
}
