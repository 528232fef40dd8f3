//! Servers other than OpenAI's: what each of them refuses is learned from its answers, and the words arrive all the same.

mod limits;
mod quirks;
mod server;
mod voices;

use local::{
    clips,
    stack::TranscriptionApi,
    standins::twilio::{Media, Recording},
};
use serde_json::{Value, json};
use server::{Behaviour, Received, Reply, Server, text_alone};

use crate::{
    stack::{Answer, TestStack},
    worker::{SID, mono, recording, talk},
};

/// A stack that uses the server, with a recording of test tones of this many seconds.
async fn stack_with(server: &Server, base: &str, variables: &[(&str, &str)], seconds: f64) -> TestStack {
    let stack = TestStack::with(|settings| {
        settings.whisper = Some(TranscriptionApi {
            api_key: "key".into(),
            base_url: format!("{}{base}", server.url),
        });
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        settings.environment.extend(variables);
    })
    .await;
    stack.stack.twilio.add(Recording {
        duration: Some(seconds as u32),
        ..recording(SID, mono(&talk(seconds, 3)))
    });
    stack
}

async fn post(stack: &TestStack, options: Value) -> Answer {
    let mut body = json!({"recording_sid": SID, "timestamps": "word", "force": true});
    body.as_object_mut()
        .unwrap()
        .extend(options.as_object().unwrap().clone());
    stack.post("/api/twilio/transcript/", &body).await
}

fn said(seconds: f64) -> String {
    talk(seconds, 3).text()
}

fn refused(received: &[Received]) -> Vec<bool> {
    received.iter().map(|request| request.refused).collect()
}

/// vLLM: the text alone, an error at the top level of the body.
fn vllm(received: &Received) -> Option<Reply> {
    let format = received.field("response_format").unwrap();
    let message = "Currently only support response_format `text` or `json`";
    let error = json!({"object": "error", "message": message, "type": "BadRequestError", "param": null, "code": 400});
    (!matches!(format, "text" | "json")).then(|| (400, error.to_string()))
}

#[tokio::test]
async fn vllm_is_asked_for_json_after_it_refused_verbose_json_and_the_lesson_is_kept() {
    let server = Server::start(Behaviour {
        refuse: vllm,
        answer: |_, answer| (200, text_alone(&answer).to_string()),
    })
    .await;
    let stack = stack_with(&server, "/v1", &[("WHISPER_MODEL", "openai/whisper-large-v3")], 20.0).await;
    for requests in [vec![true, false], vec![false]] {
        let answer = post(&stack, json!({})).await;
        assert_eq!(answer.body["transcript"], said(20.0), "{}", answer.body);
        let received = server.received();
        assert_eq!(refused(&received), requests);
        assert_eq!(received.last().unwrap().field("response_format"), Some("json"));
    }
}

#[tokio::test]
async fn litellm_wraps_the_refusal_as_500_and_is_understood() {
    let server = Server::start(Behaviour {
        refuse: |received| {
            vllm(received).map(|_| {
                let message = "litellm.BadRequestError: Hosted_vllmException - Currently only support response_format `text` or `json`. \
                               Received Model Group=whisper\nAvailable Model Group Fallbacks=None LiteLLM Retried: 1 times";
                let error = json!({"error": {"message": message, "type": "None", "param": "None", "code": "500"}});
                (500, error.to_string())
            })
        },
        answer: |_, answer| (200, text_alone(&answer).to_string()),
    })
    .await;
    let stack = stack_with(&server, "", &[("WHISPER_MODEL", "whisper")], 20.0).await;
    let answer = post(&stack, json!({})).await;
    assert_eq!(answer.body["transcript"], said(20.0), "{}", answer.body);
    assert_eq!(refused(&server.received()), [true, false]);
}

#[tokio::test]
async fn groq_models_without_word_times_give_segments() {
    let server = Server::start(Behaviour {
        refuse: |received| {
            let message = "`timestamp_granularities[]` not supported by this model";
            let error = json!({"error": {"message": message, "type": "invalid_request_error"}});
            received.asks_for_words().then(|| (400, error.to_string()))
        },
        answer: |_, mut answer| {
            answer["words"] = Value::Null;
            (200, answer.to_string())
        },
    })
    .await;
    let stack = stack_with(&server, "/openai/v1", &[("WHISPER_MODEL", "whisper-large-v3")], 20.0).await;
    let answer = post(&stack, json!({})).await;
    assert_eq!(answer.body["transcript"], said(20.0), "{}", answer.body);
    assert!(!answer.body["segments"].as_array().unwrap().is_empty());
    assert_eq!(answer.body["words"], json!([]));
    let received = server.received();
    assert_eq!(refused(&received), [true, false]);
    assert_eq!(received[1].field("response_format"), Some("verbose_json"));
    assert_eq!(received[1].path_and_query, "/openai/v1/audio/transcriptions");
}

#[tokio::test]
async fn speaches_names_without_whisper_give_words_and_unknown_fields_are_left_out() {
    let server = Server::start(Behaviour {
        refuse: |received| {
            let detail = json!([{"type": "extra_forbidden", "loc": ["body", "temperature"], "msg": "Extra inputs are not permitted", "input": "0"}]);
            received
                .field("temperature")
                .map(|_| (422, json!({"detail": detail}).to_string()))
        },
        ..Behaviour::default()
    })
    .await;
    let stack = stack_with(
        &server,
        "/v1",
        &[("WHISPER_MODEL", "Systran/faster-distil-large-v3")],
        20.0,
    )
    .await;
    let answer = post(&stack, json!({})).await;
    assert_eq!(answer.body["transcript"], said(20.0), "{}", answer.body);
    assert!(!answer.body["words"].as_array().unwrap().is_empty());
    assert_eq!(refused(&server.received()), [true, false]);
}

#[tokio::test]
async fn azure_is_called_with_its_query_and_its_header() {
    let server = Server::start(Behaviour {
        refuse: |received| {
            let error = json!({"error": {"code": "404", "message": "Resource not found"}});
            let path = "/openai/deployments/whisper/audio/transcriptions?api-version=2024-06-01";
            let known = received.path_and_query == path && received.api_key.as_deref() == Some("azure-key");
            (!known).then(|| (404, error.to_string()))
        },
        ..Behaviour::default()
    })
    .await;
    let base = "/openai/deployments/whisper?api-version=2024-06-01";
    let stack = stack_with(&server, base, &[("WHISPER_SECRET", "azure")], 20.0).await;
    stack
        .put_secret("azure", r#"{"api_key":"azure-key","header":"api-key"}"#)
        .await;
    let answer = post(&stack, json!({})).await;
    assert_eq!(answer.body["transcript"], said(20.0), "{}", answer.body);
    assert_eq!(server.received()[0].authorization, None);
}

#[tokio::test]
async fn a_refused_language_is_left_out_and_never_blamed_on_the_audio() {
    let server = Server::start(Behaviour {
        refuse: |received| {
            let error = json!({"error": {"message": "Unsupported language: 'sw'. Language parameter must be one of ['de', 'en'].", "type": "BadRequestError", "param": null, "code": 400}});
            received.field("language").map(|_| (400, error.to_string()))
        },
        ..Behaviour::default()
    })
    .await;
    let stack = stack_with(&server, "/v1", &[], 20.0).await;
    let answer = post(&stack, json!({"language": "sw"})).await;
    assert_eq!(
        (&answer.body["transcript"], &answer.body["language"]),
        (&json!(said(20.0)), &json!("english")),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn an_error_that_no_other_request_avoids_contains_the_servers_sentence_without_the_prompt() {
    let server = Server::start(Behaviour {
        refuse: |_| {
            let error = json!({"error": {"message": "The hamster in the wheel is asleep.", "param": "wheel"}});
            Some((400, error.to_string()))
        },
        ..Behaviour::default()
    })
    .await;
    let stack = stack_with(&server, "/v1", &[], 20.0).await;
    let log = crate::logs::log_of_this_thread();
    let failed = post(&stack, json!({})).await;
    failed.twilio_error(500, "whisper_error");
    let sentence = "The hamster in the wheel is asleep";
    assert!(failed.body["details"].as_str().unwrap().contains(sentence));
    let log = log.text();
    assert!(log.contains("answered HTTP 400") && !log.contains("hamster"), "{log}");

    let failed = post(&stack, json!({"prompt": "Mr. Hamster, hamster wheels"})).await;
    failed.twilio_error(500, "whisper_error");
    assert!(!failed.body.to_string().contains("hamster"), "{}", failed.body);
}

#[tokio::test]
async fn a_base_url_or_setting_that_can_not_be_used_is_an_error_at_the_start() {
    let dir = tempfile::TempDir::new().unwrap();
    for (name, value) in [
        ("WHISPER_BASE_URL", "api.openai.com/v1"),
        ("WHISPER_BASE_URL", "https://user@api.openai.com/v1"),
        ("WHISPER_RESPONSE_FORMAT", "srt"),
        ("WHISPER_MAX_SECONDS", "soon"),
    ] {
        let mut settings = local::stack::Settings::new(dir.path().to_owned());
        settings.environment.push((name.into(), value.into()));
        let Err(error) = local::stack::Stack::start(settings).await else {
            panic!("started with {name}={value}");
        };
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn demo_recordings_are_transcribed_when_mp3_is_refused_with_status_200() {
    let server = Server::start(Behaviour {
        refuse: |received| {
            let error = json!({"error": {"message": "Invalid or unsupported audio file.", "type": "BadRequestError", "param": null, "code": 400}});
            received.file_name.ends_with(".mp3").then(|| (200, error.to_string()))
        },
        ..Behaviour::default()
    })
    .await;
    let stack = stack_with(&server, "/v1", &[], 20.0).await;
    stack.stack.twilio.add(Recording {
        sid: SID.into(),
        media: Media::mp3(clips::CLIPS[3].mp3),
        ..Recording::default()
    });
    let answer = post(&stack, json!({})).await;
    assert_eq!(
        answer.body["transcript"],
        clips::CLIPS[3].transcript(),
        "{}",
        answer.body
    );
    let names: Vec<_> = server.received().into_iter().map(|request| request.file_name).collect();
    assert_eq!(names.first().map(String::as_str), Some("audio.mp3"));
    assert!(names[1..].iter().all(|name| name == "audio.flac"), "{names:?}");
}
