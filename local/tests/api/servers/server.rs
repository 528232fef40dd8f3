//! A transcription server that refuses and answers as one of the compatible servers does. Words come from the stand-in Whisper behind it.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{Response, StatusCode, header},
};
use local::standins::whisper::Whisper;
use serde_json::{Value, json};

use crate::stack::serve;

/// A request as the server received it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path_and_query: String,
    pub(crate) authorization: Option<String>,
    pub(crate) api_key: Option<String>,
    /// The form's fields without the file.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) file_name: String,
    pub(crate) bytes: usize,
    /// Whether the request was refused.
    pub(crate) refused: bool,
}

impl Received {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn asks_for_words(&self) -> bool {
        self.fields
            .iter()
            .any(|(name, value)| name == "timestamp_granularities[]" && value == "word")
    }
}

/// An answer of a server: the status and the body.
pub(crate) type Reply = (u16, String);

/// What a server refuses and how it answers.
#[derive(Clone)]
pub(crate) struct Behaviour {
    /// Refuses a request before the audio is transcribed.
    pub(crate) refuse: fn(&Received) -> Option<Reply>,
    /// Changes the stand-in's `verbose_json`, or refuses the audio because of its length.
    pub(crate) answer: fn(&Received, Value) -> Reply,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            refuse: |_| None,
            answer: |_, answer| (200, answer.to_string()),
        }
    }
}

/// A running server.
pub(crate) struct Server {
    /// The root of its host.
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Server {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let words = format!(
            "{}/v1/audio/transcriptions",
            serve(Whisper::new("words").router()).await
        );
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let log = received.clone();
        let handle = move |request: Request| {
            let (behaviour, words, log) = (behaviour.clone(), words.clone(), log.clone());
            async move {
                let (mut received, audio) = read(request).await;
                let reply = match (behaviour.refuse)(&received) {
                    Some(refusal) => refusal,
                    None => match transcribe(&words, &received.file_name, audio).await {
                        Ok(answer) => (behaviour.answer)(&received, answer),
                        Err(refusal) => refusal,
                    },
                };
                received.refused = reply.0 != 200 || reply.1.contains("\"error\"");
                log.lock().unwrap().push(received);
                let response = Response::builder().status(StatusCode::from_u16(reply.0).unwrap());
                response
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(Body::from(reply.1))
                    .unwrap()
            }
        };
        Self {
            url: serve(Router::new().fallback(handle)).await,
            received,
        }
    }

    /// The requests since the last call.
    pub(crate) fn received(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

/// Reads the form. The boundary and the fields are taken from the bytes as they are sent.
async fn read(request: Request) -> (Received, Vec<u8>) {
    let boundary = format!(
        "--{}",
        header(&request, "content-type")
            .unwrap()
            .split_once("boundary=")
            .unwrap()
            .1
    );
    let (authorization, api_key) = (header(&request, "authorization"), header(&request, "api-key"));
    let path_and_query = request.uri().to_string();
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let mut parts = Vec::new();
    let mut rest = &body[..];
    while let Some(end) = find(rest, boundary.as_bytes()) {
        parts.push(&rest[..end]);
        rest = &rest[end + boundary.len()..];
    }
    let (mut fields, mut file_name, mut audio) = (Vec::new(), String::new(), Vec::new());
    for part in parts.into_iter().skip(1) {
        let head = find(part, b"\r\n\r\n").unwrap();
        let (head, content) = (
            String::from_utf8(part[..head].to_vec()).unwrap(),
            &part[head + 4..part.len() - 2],
        );
        let quoted = |name: &str| {
            let (_, rest) = head.split_once(&format!("{name}=\""))?;
            Some(rest.split('"').next().unwrap().to_owned())
        };
        match quoted(" filename") {
            Some(name) => (file_name, audio) = (name, content.to_vec()),
            None => fields.push((quoted(" name").unwrap(), String::from_utf8(content.to_vec()).unwrap())),
        }
    }
    let received = Received {
        path_and_query,
        authorization,
        api_key,
        fields,
        file_name,
        bytes: audio.len(),
        refused: false,
    };
    (received, audio)
}

fn header(request: &Request, name: &str) -> Option<String> {
    let value = request.headers().get(name)?;
    Some(value.to_str().unwrap().to_owned())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The words with all their times.
async fn transcribe(url: &str, file_name: &str, audio: Vec<u8>) -> Result<Value, Reply> {
    let file = reqwest::multipart::Part::bytes(audio).file_name(file_name.to_owned());
    let form = reqwest::multipart::Form::new()
        .text("model", "whisper-1")
        .text("response_format", "verbose_json")
        .text("timestamp_granularities[]", "segment")
        .text("timestamp_granularities[]", "word")
        .part("file", file);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client
        .post(url)
        .bearer_auth("words")
        .multipart(form)
        .send()
        .await
        .unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    match status.is_success() {
        true => Ok(serde_json::from_str(&text).unwrap()),
        false => Err((status.as_u16(), text)),
    }
}

/// The text alone.
pub(crate) fn text_alone(answer: &Value) -> Value {
    json!({"text": answer["text"]})
}
