//! Servers that take only short clips or small files, and settings that say so beforehand.

use local::standins::tones::{Script, Wav};
use serde_json::json;

use super::{
    post, refused, said,
    server::{Behaviour, Server, text_alone},
    stack_with, vllm,
};
use crate::worker::{SID, recording};

/// vLLM with a clip limit of 30 seconds.
fn short_clips() -> Behaviour {
    Behaviour {
        answer: |_, answer| match answer["duration"].as_f64() {
            Some(seconds) if seconds > 30.0 => {
                let message = "Maximum clip duration (30s) exceeded.";
                let error = json!({"object": "error", "message": message, "type": "BadRequestError", "param": null, "code": 400});
                (400, error.to_string())
            }
            _ => (200, answer.to_string()),
        },
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn a_server_that_takes_only_short_clips_gets_short_parts_and_no_word_is_missing() {
    let server = Server::start(short_clips()).await;
    let stack = stack_with(&server, "/v1", &[], 100.0).await;
    let answer = post(&stack, json!({})).await;
    assert_eq!(answer.body["transcript"], said(100.0), "{}", answer.body);
    let received = server.received();
    assert!(received[0].refused && received[1..].iter().all(|request| !request.refused));
    assert!(received.len() >= 5, "{}", received.len());

    // The next recording is cut at once.
    let answer = post(&stack, json!({})).await;
    assert_eq!(answer.body["transcript"], said(100.0));
    assert!(server.received().iter().all(|request| !request.refused));
}

#[tokio::test]
async fn a_proxy_that_takes_only_small_files_gets_small_parts() {
    let server = Server::start(Behaviour {
        refuse: |received| {
            let page = "<html><head><title>413 Request Entity Too Large</title></head></html>";
            (received.bytes > 700_000).then(|| (413, page.to_owned()))
        },
        ..Behaviour::default()
    })
    .await;
    // 1.6 MB of WAV.
    let stack = stack_with(&server, "/v1", &[], 100.0).await;
    let answer = post(&stack, json!({})).await;
    assert_eq!(answer.body["transcript"], said(100.0), "{}", answer.body);
    let received = server.received();
    assert!(received[0].refused && !received.last().unwrap().refused);
}

#[tokio::test]
async fn settings_say_what_the_server_takes_so_that_nothing_is_refused() {
    let mut behaviour = short_clips();
    behaviour.refuse = vllm;
    let server = Server::start(behaviour).await;
    let variables = [
        ("WHISPER_RESPONSE_FORMAT", "json"),
        ("WHISPER_MAX_SECONDS", "30"),
        ("WHISPER_MAX_BYTES", "1000000"),
        ("WHISPER_PRICE_PER_MINUTE", "0.06"),
    ];
    let stack = stack_with(&server, "/v1", &variables, 100.0).await;
    let estimate = stack
        .post(
            "/api/twilio/transcript/",
            &json!({"recording_sid": SID, "dry_run": true}),
        )
        .await;
    assert_eq!(estimate.body["cost_usd"], 0.1, "{}", estimate.body);
    let answer = post(&stack, json!({})).await;
    assert_eq!(answer.body["transcript"], said(100.0), "{}", answer.body);
    let received = server.received();
    assert!(!refused(&received).contains(&true));
    assert!(
        received
            .iter()
            .all(|request| request.field("response_format") == Some("json") && request.bytes < 1_000_000)
    );
    let (billed, cost) = (&answer.body["billed_seconds"], &answer.body["cost_usd"]);
    let expected = billed.as_f64().unwrap() / 1000.0;
    assert!((cost.as_f64().unwrap() - expected).abs() < 1e-9, "{billed} {cost}");
}

#[tokio::test]
async fn turns_keep_their_order_on_a_server_that_turns_out_to_give_no_times() {
    let refuse_then_json: [Behaviour; 2] = [
        Behaviour {
            refuse: vllm,
            answer: |_, answer| (200, text_alone(&answer).to_string()),
        },
        // Takes every format and answers with the text alone.
        Behaviour {
            answer: |_, answer| (200, text_alone(&answer).to_string()),
            ..Behaviour::default()
        },
    ];
    for behaviour in refuse_then_json {
        let server = Server::start(behaviour).await;
        let stack = stack_with(&server, "/v1", &[], 20.0).await;
        let [agent, customer] = [
            Script::new(120.0, [(1.0, "river"), (100.0, "castle")]),
            Script::new(120.0, [(50.0, "lemon")]),
        ];
        let wav = Wav::new(8000, [agent, customer]);
        stack.stack.twilio.add(local::standins::twilio::Recording {
            duration: Some(120),
            ..recording(SID, wav)
        });
        let answer = post(&stack, json!({})).await;
        let turns = answer.body["turns"]
            .as_array()
            .unwrap_or_else(|| panic!("{}", answer.body));
        let turns: Vec<_> = turns
            .iter()
            .map(|turn| (turn["speaker"].as_str().unwrap(), turn["text"].as_str().unwrap()))
            .collect();
        assert_eq!(turns, [("agent", "river"), ("customer", "lemon"), ("agent", "castle")]);
    }
}
