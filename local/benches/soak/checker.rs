//! Accounts for every accepted request.

use std::{collections::BTreeMap, sync::Arc};

use aws_sdk_dynamodb::types::AttributeValue;
use local::{fault_proxy::Exchange, stack::account};
use serde_json::Value;
use shared::erasure::verify;

use crate::{
    ledger::Record,
    system::{Result, System},
    traffic::Actor,
};

/// What is not as it was accepted, one line each.
pub(crate) struct Checker {
    pub(crate) system: Arc<System>,
    pub(crate) actor: Actor,
    pub(crate) wrong: Vec<String>,
    pub(crate) checked: BTreeMap<&'static str, usize>,
}

impl Checker {
    pub(crate) fn new(system: Arc<System>) -> Result<Self> {
        Ok(Self {
            actor: Actor::new(system.clone(), 0)?,
            system,
            wrong: Vec::new(),
            checked: BTreeMap::new(),
        })
    }

    fn check(&mut self, what: &'static str, call: &Record, is_right: bool, found: &dyn std::fmt::Debug) {
        *self.checked.entry(what).or_default() += 1;
        if !is_right {
            self.wrong.push(format!("call {}: {what}: {found:?}", call.number));
        }
    }

    /// Checks all calls.
    pub(crate) async fn check_all(&mut self) -> Result<()> {
        for call in self.system.ledger.all() {
            match (&call.erasure, call.is_erasure_tried) {
                (Some(id), _) => self.check_erased(&call, &id.clone()).await,
                // The outcome of the request is not known, so that either is right.
                (None, true) => {}
                (None, false) => self.check_kept(&call).await,
            }
        }
        self.check_nothing_else().await
    }

    async fn rows(&self, query: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        for has_recording in [true, false] {
            let path = format!("/recordings?limit=100&{query}&has_recording={has_recording}");
            if let Some((200, body)) = self.actor.get(&path).await {
                rows.extend(body["recordings"].as_array().cloned().unwrap_or_default());
            }
        }
        rows
    }

    async fn check_kept(&mut self, call: &Record) {
        let rows = self.rows(&format!("phone=%2B{}", call.phone())).await;
        if call.status.is_some() || call.is_uploaded || call.is_called_back {
            self.check("the call is one row", call, rows.len() == 1, &rows);
        }
        let row = rows.first().cloned().unwrap_or_default();
        if let Some(status) = &call.status {
            let is_status = row["status"] == **status;
            // A report without an answer may have been stored, and then counts by its time.
            let is_right = row["interaction_id"] == call.interaction() && (is_status || !call.is_status_known);
            self.check(
                "the interaction",
                call,
                is_right,
                &(status, &row["status"], &row["interaction_id"]),
            );
        }
        if call.is_uploaded {
            let answer = self.actor.get(&format!("/recordings/{}", call.dispatch())).await;
            let url = answer
                .as_ref()
                .and_then(|(_, body)| body["download_url"].as_str())
                .unwrap_or_default();
            let is_whole = self.actor.fetch(url).await == Some(call.sound(false).bytes());
            self.check("the file of LiveKit plays", call, is_whole, &answer);
        }
        if call.is_held {
            let id = if call.is_uploaded { call.dispatch() } else { call.sid() };
            let answer = self.actor.get(&format!("/recordings/{id}")).await;
            // A call without a recording in the bucket does not show its hold here.
            let is_held = answer
                .as_ref()
                .is_some_and(|(status, body)| *status != 200 || body["call"]["hold"].is_object());
            self.check("the hold", call, is_held, &answer);
        }
        if call.is_called_back || call.is_copy_accepted {
            let mut listed = row["recordings"].as_array().into_iter().flatten();
            let is_listed = listed.any(|it| it["sid"] == call.sid());
            self.check("Twilio's recording is listed", call, is_listed, &row);
            let answer = self.actor.get(&format!("/recordings/{}", call.sid())).await;
            let is_right = match &answer {
                Some((200, body)) => {
                    let url = body["download_url"].as_str().unwrap_or_default();
                    self.actor.fetch(url).await == Some(call.sound(true).bytes())
                }
                Some((409, body)) => {
                    body["archiving"] == false
                        && body["detail"]
                            .as_str()
                            .is_some_and(|it| it.contains("could not be copied"))
                }
                _ => false,
            };
            self.check(
                "the copy is the recording, or has failed with a reason",
                call,
                is_right,
                &answer,
            );
        }
        for (path, is_accepted) in &call.transcripts {
            let answer = self.actor.get(path).await;
            let words = call.words(path.contains("/twilio/"));
            let is_right = match &answer {
                Some((200, body)) if body["status"] == "completed" => body["transcript"] == words,
                Some((200, body)) if body["status"] == "failed" => body["code"].is_string(),
                // A request that was not accepted may have left nothing, or a job that was not accepted.
                Some((404, _)) => !is_accepted,
                Some((_, body)) => !is_accepted && body["code"].is_string(),
                _ => false,
            };
            let is_failed = answer.as_ref().is_some_and(|(_, body)| body["status"] == "failed");
            self.check(
                "the transcript has every word once, or has failed with a reason",
                call,
                is_right,
                &answer,
            );
            self.system.ledger.count(if is_failed {
                "transcripts that failed"
            } else {
                "transcripts"
            });
        }
        for (id, token) in &call.shares {
            let path = format!("/recordings/{}/shares/{id}", call.dispatch());
            let share = self.actor.get(&path).await;
            let page = self.actor.fetch(&format!("{}/s/{token}", self.system.api)).await;
            let is_right = share.as_ref().is_some_and(|(status, _)| *status == 200) && page.is_some();
            self.check("the share opens", call, is_right, &share);
        }
    }

    async fn check_erased(&mut self, call: &Record, id: &str) {
        let answer = self.actor.get(&format!("/erasures/{id}")).await;
        let body = answer.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
        let is_done = body["status"] == "done" && verify(&body.to_string(), None).is_ok();
        self.check("the erasure is done and its receipt verifies", call, is_done, &answer);
        let rows = self.rows(&format!("phone=%2B{}", call.phone())).await;
        self.check("an erased call is not listed", call, rows.is_empty(), &rows);
        for path in [
            format!("/recordings/{}", call.dispatch()),
            format!("/recordings/{}", call.sid()),
        ] {
            let answer = self.actor.get(&path).await;
            let is_gone = answer.as_ref().is_some_and(|(status, _)| [404, 410].contains(status));
            self.check("an erased recording is gone", call, is_gone, &answer);
        }
        for path in call.transcripts.keys() {
            let answer = self.actor.get(path).await;
            let is_gone = answer.as_ref().is_some_and(|(status, _)| [404, 410].contains(status));
            self.check("an erased transcript is gone", call, is_gone, &answer);
        }
        for (_, token) in &call.shares {
            let page = self.actor.fetch(&format!("{}/s/{token}", self.system.api)).await;
            self.check("a share of an erased call is gone", call, page.is_none(), &token);
        }
    }

    /// Every item and every object is of something that was sent, and nothing of an erased call is left.
    async fn check_nothing_else(&mut self) -> Result<()> {
        let calls = self.system.ledger.all();
        let aws = self.system.aws()?;
        let s3 = aws_sdk_s3::Client::from_conf(aws.s3_config());
        let mut pages = s3.list_objects_v2().bucket(account::BUCKET).into_paginator().send();
        while let Some(page) = pages.next().await {
            for key in page?.contents().iter().filter_map(|object| object.key()) {
                let owner = calls.iter().find(|call| call.key() == key || call.copy_key() == key);
                *self.checked.entry("objects").or_default() += 1;
                match owner {
                    None => self.wrong.push(format!("{key} was sent by nobody")),
                    Some(call) if call.erasure.is_some() => self.wrong.push(format!("{key} was erased")),
                    Some(call) if call.key() == key && !call.is_uploaded => {
                        self.wrong.push(format!("{key} was not uploaded"))
                    }
                    Some(call) if call.copy_key() == key && !call.has_twilio => {
                        self.wrong.push(format!("{key} is of no recording"))
                    }
                    Some(_) => {}
                }
            }
        }
        let dynamodb = aws.dynamodb();
        for table in [account::CALLS_TABLE, account::TRANSCRIPTS_TABLE, account::SHARES_TABLE] {
            let mut items = dynamodb.scan().table_name(table).into_paginator().items().send();
            while let Some(item) = items.next().await {
                let item = item?;
                *self.checked.entry("items").or_default() += 1;
                let text: String = item
                    .values()
                    .filter_map(|value| value.as_s().ok())
                    .map(|text| format!("{text}\n"))
                    .collect();
                let id = item
                    .get("id")
                    .and_then(|id: &AttributeValue| id.as_s().ok())
                    .cloned()
                    .unwrap_or_default();
                for call in calls.iter().filter(|call| call.is_named_in(&text)) {
                    if call.erasure.is_some() {
                        self.wrong
                            .push(format!("call {}: erased, and left in {table}: {id}", call.number));
                    }
                }
                let is_call = ["dispatch_", "interaction#", "object#", "twilio#"]
                    .iter()
                    .any(|start| id.starts_with(start));
                if is_call && table == account::CALLS_TABLE && !calls.iter().any(|call| call.is_named_in(&text)) {
                    self.wrong.push(format!("{table}: {id} was sent by nobody"));
                }
            }
        }
        Ok(())
    }

    /// No file was paid for more often than its invocations were interrupted, and once more.
    pub(crate) fn check_payments(&mut self, log: &[Exchange]) -> (usize, usize) {
        let requests = self.system.stack.whisper.requests();
        let mut delivered: BTreeMap<String, usize> = BTreeMap::new();
        let mut paid = 0;
        for exchange in log {
            let call = exchange
                .answer_id
                .as_ref()
                .and_then(|id| id.strip_prefix("req_standin_")?.parse::<usize>().ok());
            let Some(request) = call.and_then(|call| requests.get(call - 1)) else {
                continue;
            };
            if request.status == Some(200) {
                paid += 1;
            }
            if let (Some(200), Some(text), true, None) =
                (request.status, &request.text, exchange.delivered, exchange.fault)
            {
                *delivered.entry(text.clone()).or_default() += 1;
            }
        }
        let mut extra = 0;
        for call in self.system.ledger.all() {
            for is_twilio in [false, true] {
                let times = delivered.get(&call.words(is_twilio)).copied().unwrap_or_default();
                extra += times.saturating_sub(1);
                let is_right = times <= 1 + call.interruptions;
                self.check(
                    "paid once, and once more for each interruption",
                    &call,
                    is_right,
                    &(times, call.interruptions),
                );
            }
        }
        (paid, extra)
    }
}
