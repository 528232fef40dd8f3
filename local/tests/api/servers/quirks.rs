//! Answers that are almost OpenAI's: words in other places, times in other units or missing, numbers that no recording has, endless errors.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{Response, StatusCode},
};
use local::stack::TwilioAccount;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    post, said,
    server::{Behaviour, Server},
    stack_with,
};
use crate::{
    stack::{TestStack, serve},
    worker::{SID, STATUS},
};

/// The answer with each segment changed.
fn with_segments(mut answer: Value, change: impl Fn(usize, &mut Value)) -> Value {
    for (index, segment) in answer["segments"].as_array_mut().unwrap().iter_mut().enumerate() {
        change(index, segment);
    }
    answer
}

#[tokio::test]
async fn whisper_cpp_nests_words_in_segments_under_its_own_path() {
    let server = Server::start(Behaviour {
        answer: |_, mut answer| {
            let words = answer["words"].take();
            let nested = with_segments(answer, |_, segment| {
                let within = |word: &&Value| {
                    let start = word["start"].as_f64().unwrap();
                    start >= segment["start"].as_f64().unwrap() - 0.01 && start < segment["end"].as_f64().unwrap()
                };
                let token = |word: &Value| {
                    json!({"word": format!(" {}", word["word"].as_str().unwrap()), "start": word["start"], "end": word["end"], "probability": 0.9})
                };
                let words: Vec<Value> = words.as_array().unwrap().iter().filter(within).map(token).collect();
                segment["words"] = words.into();
                segment["compression_ratio"] = Value::Null;
            });
            (200, nested.to_string())
        },
        ..Behaviour::default()
    })
    .await;
    let stack = stack_with(&server, "/inference", &[], 20.0).await;
    let answer = post(&stack, json!({})).await;
    assert_eq!(answer.body["transcript"], said(20.0), "{}", answer.body);
    let words: Vec<&str> = answer.body["words"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word["word"].as_str().unwrap())
        .collect();
    assert_eq!(words.join(" "), said(20.0));
    assert_eq!(server.received()[0].path_and_query, "/inference");
}

#[tokio::test]
async fn no_word_is_lost_to_missing_texts_and_times_or_to_numbers_that_are_none() {
    let behaviours: [fn(&super::Received, Value) -> super::Reply; 5] = [
        |_, answer| {
            let mut answer = answer;
            answer.as_object_mut().unwrap().remove("text");
            (200, answer.to_string())
        },
        |_, answer| {
            let answer = with_segments(answer, |_, segment| segment["end"] = Value::Null);
            (200, answer.to_string())
        },
        |_, answer| {
            let answer = with_segments(answer, |index, segment| match index % 2 {
                0 => segment["end"] = json!(0),
                _ => segment["start"] = json!("x"),
            });
            (200, answer.to_string())
        },
        |_, answer| {
            let text = answer.to_string();
            (200, text.replacen("\"duration\":", "\"duration\":NaN,\"length\":", 1))
        },
        |_, answer| {
            let nanoseconds = |value: &Value| json!((value.as_f64().unwrap() * 1e9) as u64);
            let mut answer = with_segments(answer, |_, segment| {
                (segment["start"], segment["end"]) = (nanoseconds(&segment["start"]), nanoseconds(&segment["end"]));
            });
            answer["words"] = Value::Null;
            (200, answer.to_string())
        },
    ];
    for (index, answer) in behaviours.into_iter().enumerate() {
        let server = Server::start(Behaviour {
            answer,
            ..Behaviour::default()
        })
        .await;
        let stack = stack_with(&server, "/v1", &[], 20.0).await;
        let answer = post(&stack, json!({})).await;
        assert_eq!(answer.body["transcript"], said(20.0), "{index}: {}", answer.body);
        let segments = answer.body["segments"].as_array().unwrap();
        for segment in segments {
            let (start, end) = (segment["start"].as_f64().unwrap(), segment["end"].as_f64().unwrap());
            // The audio is 34 s long.
            assert!(end > start && end < 35.0, "{index}: {segment}");
        }
    }
}

#[tokio::test]
async fn a_duration_that_no_recording_has_is_not_billed() {
    for duration in ["45e9", "1e18", "-5", "\"1e300\"", "0"] {
        let body = format!(r#"{{"text":"Hi","duration":{duration}}}"#);
        let url = serve(Router::new().fallback(move |request: Request| {
            let body = body.clone();
            async move {
                let _ = to_bytes(request.into_body(), usize::MAX).await;
                body
            }
        }))
        .await;
        let stack = TestStack::with(|settings| {
            settings.whisper = Some(local::stack::TranscriptionApi {
                api_key: String::new(),
                base_url: url,
            });
            settings.environment.push(("MONTHLY_BUDGET_USD".into(), "1".into()));
        })
        .await;
        stack.stack.twilio.add(local::standins::twilio::Recording {
            duration: Some(20),
            ..crate::worker::recording(SID, crate::worker::mono(&crate::worker::talk(20.0, 3)))
        });
        let answer = post(&stack, json!({})).await;
        // The audio is 34 s long, although Twilio states 20.
        assert_eq!(answer.body["billed_seconds"], 34, "{duration}: {}", answer.body);
        let usage = stack.get("/api/twilio/usage/").await;
        assert_eq!(usage.body["cost_usd"], 0.0034, "{duration}: {}", usage.body);
    }
}

#[tokio::test]
async fn what_is_dropped_can_be_shown_and_captions_are_valid() {
    let server = Server::start(Behaviour {
        answer: |_, mut answer| {
            let text = answer["text"].as_str().unwrap().to_owned();
            let invented = json!({"start": 21.0, "end": 24.0, "text": " Thanks for watching.", "no_speech_prob": 0.9, "avg_logprob": -1.4});
            answer["text"] = format!("{text} Thanks for watching.").into();
            answer["segments"].as_array_mut().unwrap().push(invented);
            let answer = with_segments(answer, |index, segment| {
                if index == 0 {
                    segment["end"] = segment["start"].clone();
                }
            });
            (200, answer.to_string())
        },
        ..Behaviour::default()
    })
    .await;
    let stack = stack_with(&server, "/v1", &[], 20.0).await;
    let posted = post(&stack, json!({})).await;
    assert_eq!(
        (&posted.body["transcript"], &posted.body["dropped_segments"]),
        (&json!(said(20.0)), &json!(1))
    );
    assert_eq!(posted.body.get("dropped"), None);
    let shown = stack.get(&format!("{STATUS}?include=dropped")).await;
    assert_eq!(
        shown.body["dropped"],
        json!([{"start": 21.0, "end": 24.0, "text": "Thanks for watching.", "reason": "silence"}])
    );
    let wrong = stack.get(&format!("{STATUS}?include=everything")).await;
    wrong.twilio_error(400, "invalid_parameter");
    let captions = stack.request(Method::GET, &format!("{STATUS}?format=srt"));
    let captions = captions.header("X-API-Key", local::demo::API_KEY).send().await.unwrap();
    let captions = captions.text().await.unwrap();
    for line in captions.lines().filter(|line| line.contains("-->")) {
        let (start, end) = line.split_once(" --> ").unwrap();
        assert!(start < end, "{line}");
    }
}

/// A server whose error never ends, and the number of bytes that were taken from it.
async fn endless(status: u16) -> (String, Arc<AtomicUsize>) {
    let taken: Arc<AtomicUsize> = Arc::default();
    let count = taken.clone();
    let url = serve(Router::new().fallback(move |request: Request| {
        let count = count.clone();
        async move {
            let _ = to_bytes(request.into_body(), usize::MAX).await;
            let body = Body::from_stream(futures_util::stream::unfold(count, |count| async move {
                count.fetch_add(1 << 16, Ordering::Relaxed);
                Some((Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1 << 16])), count))
            }));
            let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            response.body(body).unwrap()
        }
    }))
    .await;
    (url, taken)
}

#[tokio::test]
async fn an_endless_error_is_read_up_to_64_kilobytes_and_never_logged() {
    let log = crate::logs::log_of_this_thread();
    let (url, taken) = endless(400).await;
    let stack = TestStack::with(|settings| {
        settings.whisper = Some(local::stack::TranscriptionApi {
            api_key: String::new(),
            base_url: url.clone(),
        });
    })
    .await;
    stack.stack.twilio.add(local::standins::twilio::Recording {
        duration: Some(20),
        ..crate::worker::recording(SID, crate::worker::mono(&crate::worker::talk(20.0, 3)))
    });
    post(&stack, json!({})).await.twilio_error(500, "whisper_error");
    // What the kernel's buffers take comes on top.
    assert!(taken.load(Ordering::Relaxed) < 16 << 20);

    let (url, taken) = endless(400).await;
    let stack = TestStack::with(|settings| {
        settings.twilio = Some(TwilioAccount {
            account_sid: local::demo::ACCOUNT_SID.into(),
            auth_token: "token".into(),
            base_url: url,
        });
    })
    .await;
    let failed = tokio::time::timeout(Duration::from_secs(60), stack.get("/api/twilio/recordings/"));
    failed.await.unwrap().twilio_error(500, "twilio_error");
    assert!(taken.load(Ordering::Relaxed) < 16 << 20);
    assert!(!log.text().contains("xxxx"));
}
