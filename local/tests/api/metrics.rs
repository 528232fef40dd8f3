//! The figures of the operation: one line per invocation in CloudWatch's embedded metric format.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lambda_http::{Context, RequestExt};
use local::{
    stack::functions::Functions,
    standins::{twilio, whisper},
};
use reqwest::Client;
use serde_json::{Value, json};
use shared::metrics::{Metric, Metrics, counted};

use crate::{
    logs::{self, log_of_this_thread},
    stack::TestStack,
    worker::{SID, mono, recording, talk},
};

/// CloudWatch's units.
const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn metrics(&self) -> Metrics {
        let lines = self.0.clone();
        Metrics::new("call-recordings/test", move |line| {
            logs::check_figures(line);
            lines.lock().unwrap().push(line.to_owned());
        })
    }

    async fn stack(&self, budget: &str) -> TestStack {
        TestStack::with(|settings| {
            settings.metrics = Some(self.metrics());
            settings.environment.push(("MONTHLY_BUDGET_USD".into(), budget.into()));
        })
        .await
    }

    /// The lines since the last call, each checked against the specification.
    fn take(&self) -> Vec<Value> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        lines.iter().map(|line| checked(line)).collect()
    }
}

/// Checks a line against the specification of the embedded metric format, and returns it.
fn checked(line: &str) -> Value {
    assert!(!line.contains('\n') && line.len() < 1024 * 1024);
    let root: Value = serde_json::from_str(line).unwrap();
    let members = root.as_object().unwrap();
    let metadata = root["_aws"].as_object().expect("_aws is at the root");
    assert_eq!(metadata.keys().collect::<Vec<_>>(), ["CloudWatchMetrics", "Timestamp"]);
    let now = jiff::Timestamp::now().as_millisecond();
    assert!(
        (0..60_000).contains(&(now - root["_aws"]["Timestamp"].as_i64().unwrap())),
        "{line}"
    );
    let directives = root["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    assert_eq!(directives.len(), 1);
    for name in ["function", "request_id"] {
        assert!(members[name].as_str().is_some_and(|text| !text.is_empty()), "{line}");
    }
    let mut named = BTreeSet::from(["_aws", "function", "request_id"]);
    for directive in directives {
        assert!((1..=1024).contains(&directive["Namespace"].as_str().unwrap().len()));
        let sets = directive["Dimensions"].as_array().expect("an array of sets");
        assert!(!sets.is_empty());
        for name in sets.iter().flat_map(|set| set.as_array().expect("a set is an array")) {
            assert!(members[name.as_str().unwrap()].is_string());
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        for metric in metrics {
            let name = metric["Name"].as_str().unwrap();
            assert!(UNITS.contains(&metric["Unit"].as_str().unwrap()), "{metric}");
            assert!(members[name].is_number(), "{name}");
            assert!(Metric::ALL.iter().any(|known| known.name() == name), "{name}");
            assert!(named.insert(name), "{name} is there once");
        }
    }
    assert!(members.keys().all(|name| named.contains(name.as_str())), "{line}");
    root
}

/// The sum of a metric in these lines.
fn sum(lines: &[Value], metric: Metric) -> f64 {
    lines.iter().filter_map(|line| line[metric.name()].as_f64()).sum()
}

#[tokio::test]
async fn an_invocation_writes_one_line_with_what_it_did() {
    let lines = Lines::default();
    let stack = lines.stack("1").await;
    stack.stack.twilio.add(twilio::Recording {
        duration: Some(20),
        ..recording(SID, mono(&talk(20.0, 3)))
    });
    let answer = stack.get("/recordings").await;
    let listed = lines.take();
    assert_eq!((listed.len(), sum(&listed, Metric::Requests)), (1, 1.0));
    assert_eq!(listed[0].as_object().unwrap().len(), 4, "{listed:?}");
    assert_eq!(listed[0]["function"], "list-recordings");
    assert_eq!(
        listed[0]["request_id"].as_str().unwrap(),
        answer.headers["apigw-requestid"]
    );

    let answer = stack
        .post("/api/twilio/transcript/", &json!({"recording_sid": SID}))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let transcribed = lines.take();
    assert_eq!(transcribed.len(), 1);
    let cost = answer.body["cost_usd"].as_f64().unwrap();
    for (metric, expected) in [
        (Metric::WhisperCalls, 1.0),
        (Metric::WhisperFailures, 0.0),
        (Metric::TwilioFailures, 0.0),
        (
            Metric::TranscribedSeconds,
            answer.body["billed_seconds"].as_f64().unwrap(),
        ),
        (Metric::TranscriptionCost, cost),
    ] {
        assert_eq!(sum(&transcribed, metric), expected, "{metric:?}");
    }
    assert!(sum(&transcribed, Metric::TwilioCalls) >= 2.0);
    // The price is reserved before the call.
    let used = sum(&transcribed, Metric::BudgetUsed);
    assert!(used > 0.0 && used < 1.0, "{used}");
}

#[tokio::test]
async fn each_attempt_that_fails_counts_and_has_a_line_and_what_is_wrong_with_one_request_does_not() {
    let log = log_of_this_thread();
    let failed = || -> Vec<String> {
        let text = log.text();
        let failed = text.lines().filter(|line| line.contains("an attempt failed"));
        failed.map(str::to_owned).collect()
    };
    let lines = Lines::default();
    let stack = lines.stack("").await;
    stack.stack.twilio.add(twilio::Recording {
        duration: Some(5),
        ..recording(SID, mono(&talk(5.0, 3)))
    });
    let overloaded = whisper::Fault::Status {
        status: 503,
        headers: vec![("retry-after-ms".into(), "0".into())],
        body: String::new(),
    };
    stack.stack.whisper.fault(overloaded, Some(2));
    stack
        .post("/api/twilio/transcript/", &json!({"recording_sid": SID}))
        .await;
    let done = lines.take();
    assert_eq!(
        (sum(&done, Metric::WhisperCalls), sum(&done, Metric::WhisperFailures)),
        (3.0, 2.0)
    );
    let written = failed();
    assert_eq!(written.len(), 2, "{written:?}");
    for line in &written {
        assert!(
            line.contains(r#"service="Whisper" status=503 code="whisper_unavailable""#),
            "{line}"
        );
    }

    let corrupted = whisper::Fault::Status {
        status: 400,
        headers: vec![],
        body: r#"{"error":{"message":"Audio file might be corrupted or unsupported"}}"#.into(),
    };
    stack.stack.whisper.fault(corrupted, Some(1));
    let again = json!({"recording_sid": SID, "force": true});
    stack.post("/api/twilio/transcript/", &again).await;
    let done = lines.take();
    assert!(sum(&done, Metric::WhisperCalls) >= 1.0);
    assert_eq!(sum(&done, Metric::WhisperFailures), 0.0);

    // A model that the caller made up.
    let no_model = whisper::Fault::Status {
        status: 404,
        headers: vec![],
        body: r#"{"error":{"message":"The model does not exist","code":"model_not_found"}}"#.into(),
    };
    stack.stack.whisper.fault(no_model, Some(2));
    let own = json!({"recording_sid": SID, "force": true, "model": "whisper-9"});
    assert_eq!(stack.post("/api/twilio/transcript/", &own).await.status, 400);
    let done = lines.take();
    assert_eq!(
        (sum(&done, Metric::WhisperCalls), sum(&done, Metric::WhisperFailures)),
        (1.0, 0.0)
    );
    // The model of the deployment.
    assert_eq!(stack.post("/api/twilio/transcript/", &again).await.status, 500);
    assert_eq!(sum(&lines.take(), Metric::WhisperFailures), 1.0);
    assert_eq!(failed().len(), 3);

    let missing = json!({"recording_sid": "RE00000000000000000000000000000000"});
    stack.post("/api/twilio/transcript/", &missing).await;
    let done = lines.take();
    assert!(sum(&done, Metric::TwilioCalls) >= 1.0);
    assert_eq!(sum(&done, Metric::TwilioFailures), 0.0);
    assert_eq!(failed().len(), 3);
}

#[tokio::test]
async fn an_answer_of_twilio_that_breaks_or_stalls_is_a_failed_attempt() {
    let log = log_of_this_thread();
    let lines = Lines::default();
    let stack = lines.stack("").await;
    stack.stack.twilio.add(twilio::Recording {
        duration: Some(5),
        ..recording(SID, mono(&talk(5.0, 3)))
    });
    stack.stack.twilio.fault(".mp3", twilio::Fault::Truncate, Some(1));
    let body = json!({"recording_sid": SID});
    assert_eq!(stack.post("/api/twilio/transcript/", &body).await.status, 200);
    let broken = lines.take();
    assert_eq!(sum(&broken, Metric::TwilioFailures), 1.0);

    let functions = Functions::from_env(&stack.stack.environment).await.unwrap();
    let metrics = lines.metrics();
    stack.stack.twilio.fault("Recordings.json", twilio::Fault::Stall, None);
    let list = include_str!("../../../events/list-twilio-recordings.json");
    let mut context = Context::default();
    // A second and a half are for the response.
    let deadline = SystemTime::now() + Duration::from_millis(2500);
    context.deadline = deadline.duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let request = lambda_http::request::from_str(list)
        .unwrap()
        .with_lambda_context(context);
    let listed = functions.invoke("list-twilio-recordings", request);
    let listed = counted(Some(&metrics), "list-twilio-recordings", "r1", listed).await;
    assert!(listed.unwrap().status().is_server_error());
    assert_eq!(sum(&lines.take(), Metric::TwilioFailures), 1.0);

    stack.stack.twilio.add(twilio::Recording {
        duration: Some(5),
        ..recording("RE00000000000000ab", mono(&talk(5.0, 3)))
    });
    stack.stack.twilio.fault(".mp3", twilio::Fault::Stall, None);
    let job = json!({"recording_sid": "RE00000000000000ab"}).to_string();
    let event = json!({"Records": [{"messageId": "message-1", "body": job}]});
    // Five seconds are for storing the result.
    let deadline = SystemTime::now() + Duration::from_secs(7);
    let done = functions.deliver("transcription-worker", event, deadline);
    let done = counted(Some(&metrics), "transcription-worker", "r2", done).await;
    assert_eq!(done.unwrap().unwrap(), json!({"batchItemFailures": []}));
    assert_eq!(sum(&lines.take(), Metric::TwilioFailures), 1.0);

    let text = log.text();
    let failed: Vec<_> = text.lines().filter(|line| line.contains("an attempt failed")).collect();
    let codes = ["twilio_unavailable", "given_up", "twilio_timeout"];
    assert_eq!(failed.len(), codes.len(), "{failed:?}");
    for (line, code) in failed.iter().zip(codes) {
        assert!(line.contains(&format!(r#"service="Twilio" code="{code}""#)), "{line}");
    }
}

#[tokio::test]
async fn the_reconciler_writes_what_is_not_indexed_and_the_used_budget() {
    let lines = Lines::default();
    let stack = lines.stack("0.01").await;
    let url = format!(
        "{}/2015-03-31/functions/reconcile-recordings/invocations",
        stack.stack.aws_url
    );
    let done = Client::new().post(url).send().await.unwrap();
    assert_eq!(done.json::<Value>().await.unwrap(), json!({"finished": true}));
    let lines = lines.take();
    let round = lines.iter().find(|line| line["NotIndexed"].is_number()).unwrap();
    assert_eq!(
        (round["NotIndexed"].as_f64(), round["BudgetUsed"].as_f64()),
        (Some(0.0), Some(0.0))
    );
}
