//! Transcripts that are too large for one item of the table or for one response.

use jiff::Timestamp;
use shared::{
    clients::{
        twilio::RecordingSid,
        whisper::{WhisperOptions, Word},
    },
    transcripts::{
        AudioId, ClaimPolicy, ClaimResult, Lease, Speech, Transcript, TranscriptId, TranscriptState, Transcripts,
        Variant,
    },
};

use crate::stack::TestStack;

const SID: &str = "RE1234567890abcdef";

/// A transcript with words that compress badly, like names and numbers.
fn transcript(words: u64, seed: u64) -> Transcript {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        format!("{:016x}", state ^ (state >> 29))
    };
    let words: Vec<Word> = (0..words)
        .map(|n| Word {
            start: n as f64,
            end: n as f64 + 0.5,
            word: next(),
            channel: None,
        })
        .collect();
    let text: Vec<&str> = words.iter().map(|word| word.word.as_str()).collect();
    Transcript {
        speech: Speech {
            text: text.join(" "),
            words,
            ..Speech::default()
        },
        completed_at: "2025-08-08T12:00:00Z".parse().unwrap(),
        model: "whisper-1".into(),
        ..Transcript::default()
    }
}

async fn lease(table: &Transcripts, id: &TranscriptId) -> Lease {
    let policy = ClaimPolicy {
        queued: false,
        completed: true,
    };
    let until = Timestamp::now() + std::time::Duration::from_secs(60);
    match table.claim(id, policy, until).await.unwrap() {
        ClaimResult::Granted(lease) => lease,
        ClaimResult::Refused(known) => panic!("refused: {known:?}"),
    }
}

async fn items(stack: &TestStack) -> usize {
    let table = stack.stack.environment.optional("TRANSCRIPTS_TABLE").unwrap();
    let scan = stack.aws().dynamodb().scan().table_name(table).send();
    scan.await.unwrap().items().len()
}

fn transcript_id() -> TranscriptId {
    let audio = AudioId::Twilio(RecordingSid::parse(SID).unwrap());
    TranscriptId::new(&audio, &Variant::of(&WhisperOptions::default()))
}

#[tokio::test]
async fn a_transcript_of_many_items_is_read_completely_and_deleted_when_it_is_replaced() {
    let stack = TestStack::empty().await;
    let table = Transcripts::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let id = transcript_id();
    for (words, seed, more_than_one) in [(40_000, 1, true), (41_000, 2, true), (10, 3, false)] {
        let transcript = transcript(words, seed);
        let lease = lease(&table, &id).await;
        assert!(table.complete(&lease, &transcript).await.unwrap());
        // The SDK retries a write whose response was lost.
        assert!(table.complete(&lease, &transcript).await.unwrap());
        let TranscriptState::Completed(read) = table.get(&id).await.unwrap() else {
            panic!("not completed");
        };
        assert_eq!(*read, transcript);
        let first = items(&stack).await;
        assert_eq!(first > 1, more_than_one, "{first}");
    }
    assert_eq!(items(&stack).await, 1);
}

#[tokio::test]
async fn a_response_too_large_for_lambda_is_an_error_that_explains_how_to_get_the_text() {
    let stack = TestStack::empty().await;
    let table = Transcripts::from_env(&stack.stack.environment, &stack.aws()).unwrap();
    let id = transcript_id();
    let transcript = transcript(80_000, 4);
    let lease = lease(&table, &id).await;
    assert!(table.complete(&lease, &transcript).await.unwrap());
    let path = format!("/api/twilio/transcript/{SID}");
    let refused = stack.get(&format!("{path}?timestamps=word")).await;
    let sentence = refused.twilio_error(413, "answer_too_large");
    assert!(sentence.contains("format=text"), "{sentence}");
    let body = serde_json::json!({"recording_sid": SID, "timestamps": "word"});
    let refused = stack.post("/api/twilio/transcript/", &body).await;
    refused.twilio_error(413, "answer_too_large");
    let read = stack.get("/audit?action=read_transcript").await;
    assert_eq!(read.body["items"], serde_json::json!([]), "nothing was read");
    assert_eq!(
        stack.get(&path).await.body["transcript"],
        transcript.speech.text.as_str()
    );
}
