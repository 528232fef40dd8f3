//! What people, providers and other systems do, each call in an order of its own.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{EncodingKey, Header, encode};
use local::{
    demo,
    stack::account,
    standins::twilio::{Media, Recording},
};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::{
    ledger::{Ledger, Record},
    system::{Result, System},
};

/// Something that is done with a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Interaction,
    InteractionEvent,
    Upload,
    Webhook,
    Callback,
    TranscribeEgress,
    TranscribeTwilio,
    Copy,
    Share,
    Play,
    List,
    Waveform,
    Hold,
    Erase,
}

/// Sends requests as a client of the API.
pub(crate) struct Actor {
    pub(crate) system: Arc<System>,
    client: Client,
    random: fastrand::Rng,
}

/// The status and the body of an answer; `None` without an answer.
type Answer = Option<(u16, Value)>;

impl Actor {
    pub(crate) fn new(system: Arc<System>, seed: u64) -> Result<Self> {
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(40)).build()?;
        Ok(Self {
            system,
            client,
            random: fastrand::Rng::with_seed(seed),
        })
    }

    fn ledger(&self) -> &Ledger {
        &self.system.ledger
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.system.api));
        request.header("X-API-Key", demo::API_KEY)
    }

    async fn answer(&self, what: &str, request: RequestBuilder) -> Answer {
        let answer = match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                response
                    .text()
                    .await
                    .ok()
                    .map(|body| (status, serde_json::from_str(&body).unwrap_or(Value::Null)))
            }
            Err(_) => None,
        };
        let status = answer
            .as_ref()
            .map_or("none".to_owned(), |(status, _)| status.to_string());
        self.ledger().count(format!("{what} {status}"));
        answer
    }

    /// `GET`, for the checker.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let response = self.request(Method::GET, path).send().await.ok()?;
        let status = response.status().as_u16();
        Some((
            status,
            serde_json::from_str(&response.text().await.ok()?).unwrap_or(Value::Null),
        ))
    }

    /// The bytes behind a URL.
    pub(crate) async fn fetch(&self, url: &str) -> Option<Vec<u8>> {
        let response = self.client.get(url).send().await.ok()?;
        let is_ok = response.status().is_success();
        response
            .bytes()
            .await
            .ok()
            .filter(|_| is_ok)
            .map(|bytes| bytes.to_vec())
    }

    /// Makes calls until the traffic is over.
    pub(crate) async fn make_calls(mut self) {
        while !self.is_over() {
            let number = self.ledger().begin();
            let (has_egress, has_twilio) = match self.random.u8(0..3) {
                0 => (true, false),
                1 => (false, true),
                _ => (true, true),
            };
            let mut actions = vec![Action::Interaction, Action::InteractionEvent, Action::List];
            if has_egress {
                self.act(number, Action::Upload).await;
                actions.extend([
                    Action::Webhook,
                    Action::TranscribeEgress,
                    Action::Play,
                    Action::Share,
                    Action::Waveform,
                ]);
            }
            if has_twilio {
                self.has_twilio(number);
                actions.extend([Action::Callback, Action::TranscribeTwilio, Action::Copy]);
            }
            self.random.shuffle(&mut actions);
            // Not everything happens to every call.
            actions.retain(|_| self.random.u8(0..4) > 0);
            match self.random.u8(0..6) {
                0 => actions.push(Action::Erase),
                1 => actions.push(Action::Hold),
                _ => {}
            }
            for action in actions {
                if self.is_over() {
                    return;
                }
                self.act(number, action).await;
                tokio::time::sleep(Duration::from_millis(self.random.u64(0..100))).await;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.system.is_over.load(Ordering::Relaxed)
    }

    fn has_twilio(&self, number: u64) {
        let call = self.ledger().get(number);
        let twilio = &self.system.stack.twilio;
        twilio.add_call(call.call_sid(), format!("+{}", call.phone()));
        let sound = call.sound(true);
        twilio.add(Recording {
            sid: call.sid(),
            call_sid: call.call_sid(),
            duration: Some((sound.length() / 16_000) as u32),
            start_time: call.began,
            date_created: call.began,
            date_updated: call.began,
            media: Media::Tones(sound),
            ..Recording::default()
        });
        self.ledger().change(number, |call| call.has_twilio = true);
    }

    async fn act(&mut self, number: u64, action: Action) {
        let call = self.ledger().get(number);
        let dispatch = call.dispatch();
        match action {
            Action::Interaction => self.report(&call).await,
            Action::InteractionEvent => self.report_by_event(&call).await,
            Action::Upload => self.upload(&call).await,
            Action::Webhook => self.livekit(&call).await,
            Action::Callback => self.callback(&call).await,
            Action::TranscribeEgress => {
                let body = json!({});
                let (path, status) = (
                    format!("/recordings/{dispatch}/transcript"),
                    format!("/recordings/{dispatch}/transcript"),
                );
                self.transcribe(number, &path, &body, status).await;
            }
            Action::TranscribeTwilio => {
                let body = json!({"recording_sid": call.sid()});
                let status = format!("/api/twilio/transcript/{}", call.sid());
                self.transcribe(number, "/api/twilio/transcript", &body, status).await;
            }
            Action::Copy => {
                let path = format!("/recordings/{}/archive", call.sid());
                let answer = self
                    .answer("copy", self.request(Method::POST, &path).json(&json!({})))
                    .await;
                if answer.is_some_and(|(status, _)| status < 300) {
                    self.ledger().change(number, |call| call.is_copy_accepted = true);
                }
            }
            Action::Share => {
                let path = format!("/recordings/{dispatch}/shares");
                let asked = self.request(Method::POST, &path).json(&json!({"expires_in": 86_400}));
                if let Some((201, body)) = self.answer("share", asked).await {
                    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                    let share = (text("id"), text("token"));
                    let opened = self.client.get(format!("{}/s/{}", self.system.api, share.1));
                    self.answer("open share", opened).await;
                    self.ledger().change(number, |call| call.shares.push(share));
                }
            }
            Action::Play => {
                let path = format!("/recordings/{dispatch}");
                if let Some((200, body)) = self.answer("play", self.request(Method::GET, &path)).await {
                    let url = body["download_url"].as_str().unwrap_or_default();
                    let is_whole = self.fetch(url).await == Some(call.sound(false).bytes());
                    self.ledger()
                        .count(if is_whole { "downloads" } else { "WRONG DOWNLOADS" });
                }
            }
            Action::List => {
                let path = match self.random.bool() {
                    true => "/recordings?limit=20&include_total=true".to_owned(),
                    false => format!("/recordings?phone={}", call.phone()),
                };
                self.answer("list", self.request(Method::GET, &path)).await;
                self.answer(
                    "list twilio",
                    self.request(Method::GET, "/api/twilio/recordings?limit=2"),
                )
                .await;
            }
            Action::Waveform => {
                let path = format!("/recordings/{dispatch}/waveform");
                self.answer("waveform", self.request(Method::POST, &path).json(&json!({})))
                    .await;
            }
            Action::Hold => {
                let id = if call.is_uploaded { dispatch } else { call.sid() };
                let body = json!({"hold": {"reason": "soak"}});
                let asked = self.request(Method::PATCH, &format!("/recordings/{id}")).json(&body);
                if let Some((200, _)) = self.answer("hold", asked).await {
                    self.ledger().change(number, |call| call.is_held = true);
                }
            }
            Action::Erase => {
                if !self.is_all_known(&call).await {
                    self.ledger().count("erasures that were not tried");
                    return;
                }
                self.ledger().change(number, |call| call.is_erasure_tried = true);
                let body = json!({"phone": format!("+{}", call.phone())});
                let answer = self
                    .answer("erase", self.request(Method::POST, "/erasures").json(&body))
                    .await;
                if let Some((200..300, body)) = answer {
                    let id = body["erasure_id"].as_str().map(str::to_owned);
                    self.ledger().change(number, |call| call.erasure = id);
                }
            }
        }
    }

    /// Waits until the index has everything that was reported of a call. An erasure is of what is known when it is asked for.
    async fn is_all_known(&self, call: &Record) -> bool {
        if call.has_twilio && !call.is_called_back || !call.is_status_known {
            return false;
        }
        for _ in 0..40 {
            let mut rows = Vec::new();
            for has_recording in [true, false] {
                let path = format!("/recordings?phone=%2B{}&has_recording={has_recording}", call.phone());
                if let Some((200, body)) = self.get(&path).await {
                    rows.extend(body["recordings"].as_array().cloned().unwrap_or_default());
                }
            }
            let sources = |source: &str| {
                let mut listed = rows
                    .iter()
                    .flat_map(|row| row["recordings"].as_array().into_iter().flatten());
                listed.any(|it| it["source"] == source)
            };
            let has_status = |status: &String| rows.iter().any(|row| row["status"] == **status);
            let is_known = call.status.as_ref().is_none_or(has_status)
                && (!call.is_uploaded || sources("livekit"))
                && (!call.has_twilio || sources("twilio"));
            if is_known {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        false
    }

    async fn report(&mut self, call: &Record) {
        let status = format!("S{}", self.random.u32(..));
        let body = json!({
            "interaction_id": call.interaction(), "phone": format!("+{}", call.phone()), "start_time": call.began.to_string(), "status": status,
        });
        self.ledger().change(call.number, |call| {
            call.is_status_known = false;
        });
        let answer = self
            .answer("interaction", self.request(Method::POST, "/interactions").json(&body))
            .await;
        if answer.is_some_and(|(status, _)| status < 300) {
            self.ledger().change(call.number, |call| {
                call.status = Some(status);
                call.is_status_known = true;
            });
        }
    }

    /// Another system's event, which EventBridge has sent to the queue.
    async fn report_by_event(&mut self, call: &Record) {
        let status = format!("E{}", self.random.u32(..));
        let now = jiff::Timestamp::now().to_string();
        let detail = json!({"interaction_id": call.interaction(), "phone": format!("+{}", call.phone()), "start_time": call.began.to_string(), "status": status});
        let event = json!({"version": "0", "id": "1", "detail-type": "interaction.updated", "source": "crm", "time": now, "detail": detail});
        if self.send("InteractionEventsQueue", &event).await.is_ok() {
            self.ledger().count("interaction events");
            self.ledger().change(call.number, |call| {
                call.status = Some(status);
                call.is_status_known = true;
            });
        }
    }

    async fn send(&self, queue: &str, message: &Value) -> Result<()> {
        let queue = self.system.queues.iter().find(|(_, source)| source.queue == queue);
        let (url, _) = queue.ok_or("no such queue")?;
        let send = self
            .system
            .aws()?
            .sqs()
            .send_message()
            .queue_url(url)
            .message_body(message.to_string());
        send.send().await?;
        Ok(())
    }

    /// LiveKit writes its file, of which S3 sends an event.
    async fn upload(&self, call: &Record) {
        let Ok(aws) = self.system.aws() else { return };
        let s3 = aws_sdk_s3::Client::from_conf(aws.s3_config());
        let put = s3
            .put_object()
            .bucket(account::BUCKET)
            .key(call.key())
            .body(call.sound(false).bytes().into());
        if put.send().await.is_ok() {
            self.ledger().count("uploads");
            self.ledger().change(call.number, |call| call.is_uploaded = true);
            let event = json!({"version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3", "time": call.began.to_string(), "detail": {
                "bucket": {"name": account::BUCKET}, "object": {"key": call.key(), "size": 5, "sequencer": "00617F08299329D189"}, "reason": "PutObject",
            }});
            // An event that is lost is found by the reconciler.
            let _ = self.send("ObjectEventsQueue", &event).await;
        }
    }

    async fn livekit(&self, call: &Record) {
        let began = call.began.as_second();
        let body = json!({"event": "egress_ended", "createdAt": began.to_string(), "egressInfo": {
            "egressId": format!("EG_{}", call.number), "roomName": format!("outbound-{}", call.phone()), "status": "EGRESS_COMPLETE",
            "startedAt": format!("{began}000000000"), "fileResults": [{"filename": call.key(), "size": "5"}],
        }})
        .to_string();
        let hash = BASE64_STANDARD.encode(Sha256::digest(&body));
        let claims = json!({"iss": demo::LIVEKIT_API_KEY, "exp": 4_102_444_800_u64, "sha256": hash});
        let key = EncodingKey::from_secret(demo::LIVEKIT_API_SECRET.as_bytes());
        let Ok(token) = encode(&Header::default(), &claims, &key) else {
            return;
        };
        let request = self
            .request(Method::POST, "/webhooks/livekit")
            .header("authorization", token);
        self.answer(
            "livekit",
            request.header("content-type", "application/webhook+json").body(body),
        )
        .await;
    }

    async fn callback(&self, call: &Record) {
        let start = call.began.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
        let mut parameters = [
            ("AccountSid", demo::ACCOUNT_SID.to_owned()),
            ("CallSid", call.call_sid()),
            ("RecordingSid", call.sid()),
            ("RecordingStatus", "completed".to_owned()),
            ("RecordingStartTime", start),
        ];
        parameters.sort();
        let path = "/webhooks/twilio/recording";
        let text: String = parameters
            .iter()
            .map(|(name, value)| format!("{name}{value}"))
            .collect();
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(demo::AUTH_TOKEN.as_bytes()) else {
            return;
        };
        mac.update(format!("http://localhost:8000{path}{text}").as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let request = self.request(Method::POST, path).header("x-twilio-signature", signature);
        let answer = self.answer("callback", request.form(&parameters)).await;
        if answer.is_some_and(|(status, _)| status < 300) {
            self.ledger().change(call.number, |call| call.is_called_back = true);
        }
    }

    async fn transcribe(&mut self, number: u64, path: &str, body: &Value, status_path: String) {
        let mut request = self.request(Method::POST, path).json(body);
        if self.random.bool() {
            request = request.header("Prefer", "respond-async");
        }
        let answer = self.answer("transcribe", request).await;
        let is_accepted = answer.is_some_and(|(status, _)| status < 300);
        self.ledger().change(number, |call| {
            let known = call.transcripts.entry(status_path).or_default();
            *known |= is_accepted;
        });
    }
}
