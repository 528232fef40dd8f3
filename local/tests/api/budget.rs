//! Usage counters and the monthly budget.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use local::{
    demo,
    stack::account,
    standins::{
        tones::{Script, Wav},
        twilio::{Media, Recording},
        whisper::Fault,
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{
    config::{ConfigError, Env},
    http::access,
    metrics::Metrics,
};

use crate::{
    stack::{TestStack, answer},
    worker::{SID, STATUS, Worker, job, mono, recording, talk, transcript, uploads},
};

const TRANSCRIPT: &str = "/api/twilio/transcript/";
const USAGE: &str = "/api/twilio/usage";
const EGRESS: &str = "/recordings/dispatch_1754653479_15103455686/transcript";

async fn with_budget(usd: &str) -> TestStack {
    TestStack::with_environment([("MONTHLY_BUDGET_USD", usd)]).await
}

/// A recording whose metadata has its real length. Ten seconds cost a tenth of a cent.
fn measured(sid: &str, seconds: u32) -> Recording {
    Recording {
        sid: sid.into(),
        duration: Some(seconds),
        media: Media::Tones(mono(&Script::spoken(f64::from(seconds), 1))),
        ..Recording::default()
    }
}

async fn usage(stack: &TestStack) -> Value {
    let answer = stack.get(USAGE).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn refusal() -> Fault {
    Fault::Status {
        status: 400,
        headers: vec![],
        body: r#"{"error":{"message":"Audio file might be corrupted or unsupported"}}"#.into(),
    }
}

#[tokio::test]
async fn over_the_budget_nothing_is_paid_and_both_formats_report_it() {
    let stack = TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("MONTHLY_BUDGET_USD".into(), "0.004".into()));
    })
    .await;
    let body = json!({"recording_sid": "RE1234567890abcdef"});
    let refused = stack.post(TRANSCRIPT, &body).await;
    let error = refused.twilio_error(402, "budget_exceeded");
    assert_eq!(error, "Monthly transcription budget exceeded");
    let details = refused.body["details"].as_str().unwrap();
    assert!(details.contains("$0.0045") && details.contains("$0.0040"), "{details}");
    let refused = stack.post(EGRESS, &json!({})).await;
    let detail = refused.recordings_error(402, "budget_exceeded");
    assert!(
        detail.starts_with("Monthly transcription budget exceeded. "),
        "{detail}"
    );
    // A job for the queue is rejected as well, rather than accepted and failed later.
    let request = stack
        .request(Method::POST, TRANSCRIPT)
        .header("Prefer", "respond-async");
    let refused = answer(request.header("X-API-Key", demo::API_KEY).json(&body)).await;
    refused.twilio_error(402, "budget_exceeded");

    assert_eq!(stack.stack.whisper.calls(), 0);
    let media = stack
        .stack
        .twilio
        .requests()
        .into_iter()
        .filter(|request| request.path.ends_with(".mp3"));
    assert_eq!(media.count(), 0);
    stack
        .get("/api/twilio/transcript/RE1234567890abcdef")
        .await
        .twilio_error(404, "transcript_not_found");
    assert_eq!(usage(&stack).await["cost_usd"], 0.0);
}

#[tokio::test]
async fn a_budget_can_be_used_completely_and_stored_transcripts_stay_free() {
    let stack = with_budget("0.002").await;
    let (first, second, third) = ("RE0000000000000001", "RE0000000000000002", "RE0000000000000003");
    for sid in [first, second, third] {
        stack.stack.twilio.add(measured(sid, 10));
    }
    let post = async |sid: &str| stack.post(TRANSCRIPT, &json!({ "recording_sid": sid })).await;
    assert_eq!(usage(&stack).await["budget_left_usd"], 0.002);
    assert_eq!(post(first).await.status, 200);
    assert_eq!(usage(&stack).await["budget_left_usd"], 0.001);
    assert_eq!(post(second).await.status, 200);
    let month = usage(&stack).await;
    assert_eq!(
        (&month["budget_usd"], &month["budget_left_usd"]),
        (&json!(0.002), &json!(0.0))
    );
    post(third).await.twilio_error(402, "budget_exceeded");
    let stored = post(first).await;
    assert_eq!((stored.status.as_u16(), &stored.body["cached"]), (200, &json!(true)));
    assert_eq!(stack.stack.whisper.billed_seconds(), 20);
}

#[tokio::test]
async fn the_parts_of_a_job_stop_at_the_budget_and_are_reused_when_it_is_raised() {
    let script = talk(40.0, 2);
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(recording(SID, mono(&script)));
    let poor = Worker::with_environment(&stack, 5.0, 2, [("MONTHLY_BUDGET_USD", "0.002")]).await;
    poor.deliver(&job()).await;
    let failed = stack.get(STATUS).await.body;
    assert_eq!(
        (&failed["status"], &failed["code"], &failed["retryable"]),
        (&json!("failed"), &json!("budget_exceeded"), &json!(false))
    );
    assert_eq!(poor.sent_work().len(), 0);
    let spent = stack.stack.whisper.billed_seconds();
    assert!((10..=20).contains(&spent), "{spent} s of 20");
    assert_eq!(usage(&stack).await["cost_usd"], spent as f64 / 1e4);

    let rich = Worker::with_environment(&stack, 5.0, 2, [("MONTHLY_BUDGET_USD", "1")]).await;
    rich.deliver(&job()).await;
    let body = transcript(&stack).await.body;
    assert_eq!(body["transcript"], script.text());
    assert!(
        uploads(&stack).iter().all(|(_, times)| *times == 1),
        "no part is paid for twice"
    );
    assert_eq!(body["billed_seconds"], stack.stack.whisper.billed_seconds());
    assert_eq!(usage(&stack).await["cost_usd"], body["cost_usd"]);
}

#[tokio::test]
async fn fifty_jobs_at_once_never_spend_more_than_the_budget() {
    let stack = with_budget("0.00105").await;
    let sids: Vec<String> = (0..50).map(|n| format!("RE{n:016}")).collect();
    for sid in &sids {
        stack.stack.twilio.add(measured(sid, 1));
    }
    let answers = join_all(sids.iter().map(async |sid| {
        let answer = stack.post(TRANSCRIPT, &json!({ "recording_sid": sid })).await;
        if answer.status != 200 {
            answer.twilio_error(402, "budget_exceeded");
        }
        answer.status == 200
    }));
    let paid = answers.await.into_iter().filter(|paid| *paid).count();
    assert_eq!((paid, stack.stack.whisper.billed_seconds()), (10, 10));
    let month = usage(&stack).await;
    assert_eq!((&month["cost_usd"], &month["paid_calls"]), (&json!(0.001), &json!(10)));
}

#[tokio::test]
async fn a_call_that_fails_costs_nothing() {
    let stack = with_budget("0.001").await;
    stack.stack.twilio.add(measured(SID, 10));
    // Each request uploads the file and, after the refusal, the decoded audio.
    stack.stack.whisper.fault(refusal(), Some(4));
    for _ in 0..2 {
        stack
            .post(TRANSCRIPT, &job())
            .await
            .twilio_error(500, "audio_unsupported");
        let month = usage(&stack).await;
        assert_eq!(
            (
                &month["cost_usd"],
                &month["minutes"],
                &month["paid_calls"],
                &month["budget_left_usd"]
            ),
            (&json!(0.0), &json!(0.0), &json!(0), &json!(0.001))
        );
    }
    assert_eq!(stack.post(TRANSCRIPT, &job()).await.status, 200);
    assert_eq!(usage(&stack).await["budget_left_usd"], 0.0);
}

#[tokio::test]
async fn usage_counts_the_duration_that_the_api_returns() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(Recording {
        duration: Some(60),
        ..measured(SID, 10)
    });
    let body = stack.post(TRANSCRIPT, &job()).await.body;
    assert_eq!(
        (&body["billed_seconds"], &body["cost_usd"]),
        (&json!(10), &json!(0.001))
    );
    assert_eq!(usage(&stack).await["cost_usd"], 0.001);
}

#[tokio::test]
async fn usage_counts_paid_and_avoided_minutes_with_and_without_a_trailing_slash() {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(measured(SID, 30));
    let nothing = usage(&stack).await;
    let month = jiff::Timestamp::now().strftime("%Y-%m").to_string();
    assert_eq!(
        nothing,
        json!({
            "month": month,
            "minutes": 0.0,
            "cost_usd": 0.0,
            "paid_calls": 0,
            "answered_from_store": 0,
            "minutes_avoided": 0.0,
            "cost_avoided_usd": 0.0,
            "budget_usd": null,
            "budget_left_usd": null,
        })
    );
    for cached in [false, true, true, true] {
        let answer = stack.post(TRANSCRIPT, &job()).await;
        assert_eq!((answer.status.as_u16(), &answer.body["cached"]), (200, &json!(cached)));
    }
    // A GET costs nothing and counts as no avoided request.
    stack.get(STATUS).await;
    let expected = json!({
        "month": month,
        "minutes": 0.5,
        "cost_usd": 0.003,
        "paid_calls": 1,
        "answered_from_store": 3,
        "minutes_avoided": 1.5,
        "cost_avoided_usd": 0.009,
        "budget_usd": null,
        "budget_left_usd": null,
    });
    for path in [USAGE, &format!("{USAGE}/")] {
        assert_eq!(stack.get(path).await.body, expected, "{path}");
        stack.get_without_key(path).await.twilio_error(401, "unauthorized");
        stack
            .get(&format!("{path}?month=2025-01"))
            .await
            .twilio_error(400, "unknown_parameter");
    }
    let forced = json!({"recording_sid": SID, "force": true});
    assert_eq!(stack.post(TRANSCRIPT, &forced).await.body["cached"], false);
    let month = usage(&stack).await;
    assert_eq!((&month["cost_usd"], &month["paid_calls"]), (&json!(0.006), &json!(2)));
}

#[tokio::test]
async fn usage_requires_a_key_with_the_transcribe_scope() {
    let stack = TestStack::empty().await;
    let keys = [("reads", "twilio:read"), ("pays", "twilio:transcribe")]
        .map(|(key, scope)| json!({"id": key, "sha256": access::hash_key(key), "scopes": [scope], "expires_at": null}));
    stack
        .put_secret(account::API_KEYS_SECRET, &json!({ "keys": keys }).to_string())
        .await;
    for path in [USAGE, &format!("{USAGE}/")] {
        let get = async |key: &str| answer(stack.request(Method::GET, path).header("X-API-Key", key)).await;
        get("reads").await.twilio_error(403, "forbidden");
        assert_eq!(get("pays").await.status, 200);
    }
}

#[tokio::test]
async fn a_dry_run_estimates_the_price_and_does_nothing_else() {
    let stack = with_budget("0.01").await;
    let both = Script::dialogue(30.0, 3);
    let two = "REfedcba9876543210";
    stack.stack.twilio.add(measured(SID, 30));
    stack.stack.twilio.add(Recording {
        duration: Some(30),
        ..recording(two, Wav::new(8000, both))
    });
    let estimate = async |body: Value| {
        let answer = stack.post(TRANSCRIPT, &body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["status"]),
            (200, &json!("estimate"))
        );
        answer.body
    };
    let asked = json!({"recording_sid": SID, "dry_run": true});
    let mut expected = json!({
        "recording_sid": SID,
        "status": "estimate",
        "cached": false,
        "model": "whisper-1",
        "audio_seconds": 30,
        "billed_seconds": 30,
        "cost_usd": 0.003,
        "budget_left_usd": 0.01,
    });
    let first = estimate(asked.clone()).await;
    expected["timestamp"] = first["timestamp"].clone();
    assert_eq!(first, expected);
    let mini = estimate(json!({"recording_sid": SID, "dry_run": true, "model": "gpt-4o-mini-transcribe"})).await;
    assert_eq!(
        (&mini["model"], &mini["cost_usd"]),
        (&json!("gpt-4o-mini-transcribe"), &json!(0.0015))
    );
    // The estimate assumes that both speakers talk all the time.
    let separate = estimate(json!({"recording_sid": two, "dry_run": true})).await;
    assert_eq!(
        (&separate["billed_seconds"], &separate["cost_usd"]),
        (&json!(60), &json!(0.006))
    );
    let mixed = estimate(json!({"recording_sid": two, "dry_run": true, "speakers": false})).await;
    assert_eq!(
        (&mixed["billed_seconds"], &mixed["cost_usd"]),
        (&json!(30), &json!(0.003))
    );

    assert_eq!(stack.stack.whisper.calls(), 0);
    assert!(
        stack
            .stack
            .twilio
            .requests()
            .iter()
            .all(|request| request.path.ends_with(".json"))
    );
    stack.get(STATUS).await.twilio_error(404, "transcript_not_found");
    assert_eq!(usage(&stack).await["budget_left_usd"], 0.01);

    assert_eq!(stack.post(TRANSCRIPT, &job()).await.status, 200);
    let stored = estimate(asked).await;
    assert_eq!(
        (
            &stored["cached"],
            &stored["billed_seconds"],
            &stored["cost_usd"],
            &stored["budget_left_usd"]
        ),
        (&json!(true), &json!(0), &json!(0.0), &json!(0.007))
    );
    assert_eq!(
        usage(&stack).await["answered_from_store"],
        0,
        "an estimate does not count as an avoided request"
    );
    let again = estimate(json!({"recording_sid": SID, "dry_run": true, "force": true})).await;
    assert_eq!((&again["cached"], &again["cost_usd"]), (&json!(false), &json!(0.003)));
}

#[tokio::test]
async fn a_dry_run_of_a_livekit_recording_has_its_format_and_works_above_the_budget() {
    let stack = TestStack::with(|settings| {
        settings.empty = false;
        settings.environment.push(("MONTHLY_BUDGET_USD".into(), "0".into()));
    })
    .await;
    let body = stack.post(EGRESS, &json!({"dry_run": true})).await.body;
    assert_eq!(
        (
            &body["dispatch_id"],
            &body["status"],
            &body["audio_seconds"],
            &body["budget_left_usd"]
        ),
        (
            &json!("dispatch_1754653479_15103455686"),
            &json!("estimate"),
            &json!(180),
            &json!(0.0)
        )
    );
    assert_eq!(stack.stack.whisper.calls(), 0);
    stack
        .post(EGRESS, &json!({}))
        .await
        .recordings_error(402, "budget_exceeded");
}

#[tokio::test]
async fn a_budget_of_zero_counts_as_used_so_that_its_alarm_fires() {
    let figures = Arc::new(Mutex::new(Vec::<String>::new()));
    let written = figures.clone();
    let stack = TestStack::with(|settings| {
        let write = move |line: &str| written.lock().unwrap().push(line.to_owned());
        settings.metrics = Some(Metrics::new("call-recordings/test", write));
        settings.environment.push(("MONTHLY_BUDGET_USD".into(), "0".into()));
    })
    .await;
    // The reconciler reads it every hour, in the same way.
    usage(&stack).await;
    let figures = figures.lock().unwrap();
    assert!(
        figures.iter().any(|line| line.contains(r#""BudgetUsed":100.0"#)),
        "{figures:?}"
    );
}

#[tokio::test]
async fn an_invalid_budget_prevents_every_function_that_uses_it_from_starting() {
    let stack = TestStack::empty().await;
    for value in ["abc", "-1", "NaN", "inf", "12,50", "$5", "1e10"] {
        let variables = stack.stack.environment.iter().chain([("MONTHLY_BUDGET_USD", value)]);
        let env = Env::from_iter(variables);
        let errors: [Option<ConfigError>; 5] = [
            get_usage::State::from_env(&env).await.err(),
            list_twilio_recordings::State::from_env(&env).await.err(),
            transcribe_egress::State::from_env(&env).await.err(),
            transcribe_recording::State::from_env(&env).await.err(),
            transcription_worker::State::from_env(&env).await.err(),
        ];
        for error in errors {
            let error = error.unwrap_or_else(|| panic!("{value} is accepted")).to_string();
            assert!(
                error.starts_with("the environment variable MONTHLY_BUDGET_USD must be an amount of US dollars"),
                "{error}"
            );
        }
    }
    for value in ["0", "12", "12.50", ""] {
        let env = Env::from_iter(stack.stack.environment.iter().chain([("MONTHLY_BUDGET_USD", value)]));
        assert!(get_usage::State::from_env(&env).await.is_ok(), "{value}");
    }
}
