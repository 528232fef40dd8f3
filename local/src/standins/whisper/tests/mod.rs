//! Tests of the stand-in for Whisper over HTTP.

mod faults;
mod requests;
mod transcripts;

use reqwest::{
    Client,
    multipart::{Form, Part},
};
use serde_json::{Value, json};

use super::*;
use crate::{clips::CLIPS, standins::tones};

async fn start() -> (Whisper, String) {
    let whisper = Whisper::new("key");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/audio/transcriptions", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, whisper.router()).into_future());
    (whisper, url)
}

fn form(name: &str, file: impl Into<Vec<u8>>, fields: &[(&'static str, &str)]) -> Form {
    let form = Form::new().part(
        "file",
        Part::bytes(file.into())
            .file_name(name.to_owned())
            .mime_str("audio/x-test")
            .unwrap(),
    );
    fields
        .iter()
        .fold(form, |form, (name, value)| form.text(*name, (*value).to_owned()))
}

/// One client for each test thread, because building a client takes longer than most tests.
fn client() -> Client {
    thread_local!(static CLIENT: std::cell::OnceCell<Client> = const { std::cell::OnceCell::new() });
    CLIENT.with(|client| {
        client
            .get_or_init(|| Client::builder().no_proxy().build().unwrap())
            .clone()
    })
}

async fn post(url: &str, form: Form) -> reqwest::Response {
    client()
        .post(url)
        .bearer_auth("key")
        .multipart(form)
        .send()
        .await
        .unwrap()
}

async fn post_json(url: &str, form: Form) -> (u16, Value) {
    let response = post(url, form).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

/// A 16-bit mono wav file at 8 kHz with these samples.
fn wav(data: &[u8]) -> Vec<u8> {
    [&tones::wav_header(8000, 1, data.len() as u32), data].concat()
}

fn pcm(samples: impl IntoIterator<Item = i16>) -> Vec<u8> {
    samples.into_iter().flat_map(i16::to_le_bytes).collect()
}

fn spoken(wav: tones::Wav, fields: &[(&'static str, &str)]) -> Form {
    form("a.wav", wav.bytes(), fields)
}

const VERBOSE: [(&str, &str); 4] = [
    ("model", "whisper-1"),
    ("response_format", "verbose_json"),
    ("timestamp_granularities[]", "segment"),
    ("timestamp_granularities[]", "word"),
];
