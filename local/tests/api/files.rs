//! Recordings as recorders really leave them: every container and codec, damage, headers that lie, and files made to do harm.

use local::{
    demo,
    standins::tones::{Script, Wav},
    standins::twilio::{Media, Recording},
    standins::whisper::Fault,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    stack::{Answer, TestStack},
    worker::assert_transcript,
};

const TRANSCRIPT: &str = "/api/twilio/transcript/";
const SID: &str = "RE1234567890abcdef";

macro_rules! fixture {
    ($name:literal) => {
        &include_bytes!(concat!("../../../shared/split/fixtures/", $name))[..]
    };
}

/// A stack with a recording of these bytes, of which Twilio says that it lasts so many seconds.
async fn with_file(bytes: Vec<u8>, channels: u8, seconds: u32) -> TestStack {
    let stack = TestStack::empty().await;
    stack.stack.twilio.add(Recording {
        sid: SID.into(),
        channels,
        duration: Some(seconds),
        media: match channels {
            2 => Media::Mp3 {
                mono: bytes.clone().into(),
                dual: Some(bytes.into()),
            },
            _ => Media::mp3(bytes),
        },
        ..Recording::default()
    });
    stack
}

/// Whatever is uploaded is answered with these words: the fixtures contain tones, which are no words.
fn says(text: &str) -> Fault {
    Fault::Status {
        status: 200,
        headers: vec![],
        body: json!({ "text": text }).to_string(),
    }
}

async fn post(stack: &TestStack) -> Answer {
    stack
        .post(TRANSCRIPT, &json!({"recording_sid": SID, "timestamps": "segment"}))
        .await
}

fn uploaded_seconds(stack: &TestStack) -> f64 {
    let requests = stack.stack.whisper.requests();
    requests.iter().filter_map(|request| request.seconds).sum()
}

#[track_caller]
fn assert_complete(body: &Value) {
    assert_eq!(body["status"], "completed", "{body}");
    assert_eq!((body.get("incomplete"), body.get("coverage")), (None, None), "{body}");
}

#[tokio::test]
async fn an_mp3_that_changes_to_stereo_on_the_way_is_transcribed_to_its_end() {
    let bytes = [fixture!("mono16.mp3"), fixture!("stereo16.mp3")].concat();
    let stack = with_file(bytes, 1, 6).await;
    stack.stack.whisper.fault(says("both halves"), None);
    let body = post(&stack).await.body;
    assert_complete(&body);
    assert_eq!(body["transcript"], "both halves");
    let seconds = uploaded_seconds(&stack);
    assert!((5.5..6.6).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_wav_whose_recorder_never_wrote_its_sizes_is_transcribed_to_its_end() {
    let script = Script::spoken(20.0, 31);
    for (riff, data) in [
        (0, 0),
        (0xffff_ffff, 0xffff_ffff),
        (0x7fff_ffff, 0x7fff_ffff_u32),
        (36, 0),
    ] {
        let mut bytes = Wav::new(8000, [script.clone()]).bytes();
        bytes[4..8].copy_from_slice(&u32::to_le_bytes(riff));
        bytes[40..44].copy_from_slice(&u32::to_le_bytes(data));
        let stack = with_file(bytes, 1, 20).await;
        let answer = stack
            .post(TRANSCRIPT, &json!({"recording_sid": SID, "timestamps": "word"}))
            .await;
        assert_complete(&answer.body);
        assert_transcript(&script, &answer.body);
    }
}

#[tokio::test]
async fn an_ogg_opus_recording_of_two_speakers_has_turns() {
    for bytes in [
        fixture!("opus.ogg"),
        fixture!("opus.webm"),
        fixture!("opus.mp4"),
        fixture!("ima.wav"),
    ] {
        let stack = with_file(bytes.to_vec(), 2, 3).await;
        stack.stack.whisper.fault(says("hello"), None);
        let body = post(&stack).await.body;
        assert_complete(&body);
        let turns = body["turns"].as_array().unwrap();
        let speakers: Vec<_> = turns.iter().map(|turn| turn["speaker"].as_str().unwrap()).collect();
        assert_eq!((speakers, stack.stack.whisper.calls()), (vec!["agent", "customer"], 2));
    }
}

#[tokio::test]
async fn a_file_of_one_channel_is_sent_as_it_is_where_the_api_takes_its_container() {
    for (bytes, sent_as) in [
        (fixture!("opus.mono.ogg"), "audio.ogg"),
        (fixture!("mono8.mp3"), "audio.mp3"),
        (fixture!("aac.adts.aac"), "audio.flac"),
        (fixture!("mulaw.au"), "audio.flac"),
    ] {
        let stack = with_file(bytes.to_vec(), 1, 3).await;
        stack.stack.whisper.fault(says("hello"), None);
        assert_complete(&post(&stack).await.body);
        assert_eq!(stack.stack.whisper.requests()[0].file_name.as_deref(), Some(sent_as));
    }
}

#[tokio::test]
async fn a_recording_that_is_shorter_than_promised_is_reported_as_incomplete_in_every_format() {
    let stack = with_file(fixture!("mono16.mp3").to_vec(), 1, 60).await;
    stack.stack.whisper.fault(says("the beginning"), None);
    let body = post(&stack).await.body;
    assert_eq!(
        (&body["status"], &body["incomplete"]),
        (&json!("completed"), &json!(true))
    );
    let coverage = &body["coverage"];
    let decoded = coverage["decoded_seconds"].as_f64().unwrap();
    assert!((2.8..3.3).contains(&decoded), "{coverage}");
    assert_eq!(coverage["expected_seconds"], 59.0);
    let stored = stack.get(&format!("{TRANSCRIPT}{SID}")).await.body;
    assert_eq!((&stored["incomplete"], &stored["coverage"]), (&json!(true), coverage));
    for format in ["text", "srt", "vtt"] {
        let reply = stack
            .request(Method::GET, &format!("{TRANSCRIPT}{SID}?format={format}"))
            .header("X-API-Key", demo::API_KEY)
            .send()
            .await
            .unwrap();
        let header = reply.headers()["x-transcript-coverage"].to_str().unwrap();
        assert_eq!(
            header,
            format!("incomplete; decoded_seconds={decoded}; expected_seconds=59")
        );
    }
}

#[tokio::test]
async fn a_codec_without_a_decoder_is_sent_as_it_is_and_named_when_the_api_refuses_it() {
    let refused = with_file(fixture!("gsm.wav").to_vec(), 1, 3).await;
    let answer = post(&refused).await;
    answer.twilio_error(500, "audio_unsupported");
    assert_eq!(
        answer.body["details"],
        "Transcription failed: The recording's codec cannot be decoded: GSM 06.10"
    );
    assert_eq!(refused.stack.whisper.calls(), 1);

    let accepted = with_file(fixture!("gsm.wav").to_vec(), 1, 3).await;
    accepted.stack.whisper.fault(says("hello"), None);
    assert_eq!(post(&accepted).await.body["transcript"], "hello");
}

#[tokio::test]
async fn a_file_made_to_burn_time_is_refused_within_its_request() {
    let stack = with_file(fixture!("hostile.mp4").to_vec(), 1, 3).await;
    let answer = post(&stack).await;
    answer.twilio_error(500, "audio_unsupported");
}
