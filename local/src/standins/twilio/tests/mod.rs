//! Tests of the stand-in for Twilio over HTTP.

mod faults;
mod list;
mod media;

use reqwest::Client;
use serde_json::Value;

use super::*;
use crate::clips::CLIPS;

const ACCOUNT: &str = "AC1234567890abcdef";

async fn start(recordings: impl IntoIterator<Item = Recording>) -> (Twilio, String) {
    let twilio = Twilio::new(ACCOUNT, "token");
    recordings.into_iter().for_each(|recording| twilio.add(recording));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, twilio.router()).into_future());
    (twilio, base)
}

/// One client for each test thread, because building a client takes longer than most tests.
fn client() -> Client {
    let build = || {
        Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap()
    };
    thread_local!(static CLIENT: std::cell::OnceCell<Client> = const { std::cell::OnceCell::new() });
    CLIENT.with(|client| client.get_or_init(build).clone())
}

async fn get(url: &str) -> reqwest::Response {
    client()
        .get(url)
        .basic_auth(ACCOUNT, Some("token"))
        .send()
        .await
        .unwrap()
}

async fn get_json(url: &str) -> (u16, Value) {
    let response = get(url).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

fn url(base: &str, resource: &str) -> String {
    format!("{base}/2010-04-01/Accounts/{ACCOUNT}/{resource}")
}

fn recording(sid: &str, date: &str, media: Media) -> Recording {
    Recording {
        sid: sid.into(),
        date_created: date.parse().unwrap(),
        media,
        ..Recording::default()
    }
}

fn sids(page: &Value) -> Vec<&str> {
    page["recordings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["sid"].as_str().unwrap())
        .collect()
}
