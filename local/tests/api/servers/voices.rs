//! Models that tell the voices on one channel apart.

use super::*;

const MODEL: &str = "gpt-4o-transcribe-diarize";

/// `diarized_json` of two voices that take turns. They are labelled with the names of the known speakers if the request has some, the first voice of
/// a part being the second one that is known; and otherwise with letters.
fn diarized(received: &Received, answer: Value) -> Reply {
    let known: Vec<&str> = received
        .fields
        .iter()
        .filter(|(name, _)| name == "known_speaker_names[]")
        .map(|(_, value)| value.as_str())
        .collect();
    let labels = match known[..] {
        [_, second, ..] => [second, "A"],
        _ => ["B", "A"],
    };
    let segments = answer["segments"].as_array().unwrap().iter().enumerate();
    let segments: Vec<Value> = segments
        .map(|(index, segment)| {
            json!({
                "type": "transcript.text.segment", "id": format!("seg_{index:03}"), "start": segment["start"], "end": segment["end"],
                "text": segment["text"], "speaker": labels[index % 2],
            })
        })
        .collect();
    let body =
        json!({"task": "transcribe", "duration": answer["duration"], "text": answer["text"], "segments": segments});
    (200, body.to_string())
}

fn refuse_prompts(received: &Received) -> Option<Reply> {
    let message = "Prompt is not supported for diarization models";
    let error =
        json!({"error": {"message": message, "type": "invalid_request_error", "param": "prompt", "code": null}});
    received.field("prompt").map(|_| (400, error.to_string()))
}

fn speakers(turns: &Value) -> Vec<&str> {
    turns
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| turn["speaker"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_recording_with_one_channel_has_turns_of_its_voices_in_the_order_of_their_first_words() {
    let server = Server::start(Behaviour {
        refuse: refuse_prompts,
        answer: diarized,
    })
    .await;
    let variables = [("WHISPER_MODEL", MODEL), ("TRANSCRIPTION_PROMPT", "Acme")];
    let stack = stack_with(&server, "/v1", &variables, 20.0).await;
    let answer = post(&stack, json!({"timestamps": "segment"})).await;
    assert_eq!(answer.body["transcript"], said(20.0), "{}", answer.body);
    let received = server.received();
    assert_eq!(refused(&received), [true, false], "the model takes no prompt");
    assert_eq!(received[1].field("response_format"), Some("diarized_json"));
    assert_eq!(received[1].field("chunking_strategy"), Some("auto"));
    assert_eq!(received[1].field("known_speaker_names[]"), None);
    let turns = speakers(&answer.body["turns"]);
    assert_eq!(turns[..2], ["speaker_1", "speaker_2"]);
    let words: Vec<&str> = answer.body["turns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| turn["text"].as_str().unwrap())
        .collect();
    assert_eq!(words.join(" "), said(20.0));
    let path = format!("/api/twilio/transcript/{SID}");
    let text = stack.request(reqwest::Method::GET, &format!("{path}?format=vtt"));
    let text = text
        .header("X-API-Key", local::demo::API_KEY)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        text.contains("<v speaker_1>") && text.contains("<v speaker_2>"),
        "{text}"
    );

    let mixed = post(&stack, json!({"speakers": false, "timestamps": "segment"})).await;
    assert_eq!(mixed.body["turns"], Value::Null, "{}", mixed.body);
    assert!(!mixed.body.to_string().contains("speaker_1"), "{}", mixed.body);
}

#[tokio::test]
async fn voices_keep_their_names_across_parts_by_references_and_unknown_ones_get_new_names() {
    let server = Server::start(Behaviour {
        refuse: |_| None,
        answer: diarized,
    })
    .await;
    let variables = [("WHISPER_MODEL", MODEL), ("WHISPER_MAX_SECONDS", "40")];
    let stack = stack_with(&server, "/v1", &variables, 100.0).await;
    let answer = post(&stack, json!({"timestamps": "segment"})).await;
    assert_eq!(answer.body["transcript"], said(100.0), "{}", answer.body);
    let received = server.received();
    assert!(received.len() >= 3, "{} parts", received.len());
    assert_eq!(received[0].field("known_speaker_names[]"), None);
    for later in &received[1..] {
        let fields = |name: &str| {
            later
                .fields
                .iter()
                .filter(|(field, _)| field == name)
                .map(|(_, value)| value.clone())
                .collect::<Vec<_>>()
        };
        let mut names = fields("known_speaker_names[]");
        names.sort();
        assert_eq!(names, ["speaker_1", "speaker_2"]);
        for reference in fields("known_speaker_references[]") {
            assert!(
                reference.starts_with("data:audio/flac;base64,ZkxhQ"),
                "{}",
                &reference[..60]
            );
        }
    }
    let mut all = speakers(&answer.body["segments"]);
    all.sort_unstable();
    all.dedup();
    // Each later part has one voice that is known and one that is not.
    let expected: Vec<String> = (1..=received.len() + 1)
        .map(|number| format!("speaker_{number}"))
        .collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_server_that_refuses_references_gets_none() {
    let server = Server::start(Behaviour {
        refuse: |received| {
            let error = json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "known_speaker_names"], "msg": "Extra inputs are not permitted"}]});
            received.field("known_speaker_names[]").map(|_| (422, error.to_string()))
        },
        answer: diarized,
    })
    .await;
    let variables = [
        ("WHISPER_MODEL", "local"),
        ("WHISPER_RESPONSE_FORMAT", "diarized_json"),
        ("WHISPER_MAX_SECONDS", "40"),
    ];
    let stack = stack_with(&server, "/v1", &variables, 100.0).await;
    let answer = post(&stack, json!({})).await;
    assert_eq!(answer.body["transcript"], said(100.0), "{}", answer.body);
    assert!(
        answer.body["turns"].as_array().is_some_and(|turns| turns.len() > 2),
        "{}",
        answer.body
    );
}
