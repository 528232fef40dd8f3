//! Creates, lists and revokes shares.

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, ReturnValue},
};
use jiff::Timestamp;

use super::{
    error::{SharesError, if_condition_met},
    model::Share,
    passcode::PasscodeHash,
    token::ShareId,
};
use crate::{
    clients::{
        aws::Aws,
        bucket::RecordingRef,
        dynamodb::{Item, get_number, get_text, number, text},
        twilio::RecordingSid,
    },
    config::{ConfigError, Env},
    ids::DispatchId,
    time::to_millis,
};

/// The sort key of a share.
pub(super) const SHARE: &str = "share";

/// The shares table.
pub struct Shares {
    pub(super) client: Client,
    pub(super) table: String,
}

impl Shares {
    /// Reads `SHARES_TABLE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            client: aws.dynamodb(),
            table: env.required("SHARES_TABLE")?.to_owned(),
        })
    }

    /// Stores a new share. Its id is random, so that no condition is needed, which would fail if the SDK retried a write whose response was lost.
    pub async fn create(&self, share: &Share) -> Result<(), SharesError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item_of(share)));
        put.send().await?;
        Ok(())
    }

    /// The share with this id, active or not.
    pub async fn get(&self, id: &ShareId) -> Result<Option<Share>, SharesError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(id, SHARE)));
        let item = get.consistent_read(true).send().await?.item;
        item.as_ref().map(share_of).transpose()
    }

    /// All shares of a call that are still stored, newest first. A share that was created a moment ago may be missing.
    pub async fn of_call(&self, dispatch: &DispatchId) -> Result<Vec<Share>, SharesError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-call")
            .key_condition_expression("dispatch_id = :dispatch")
            .expression_attribute_values(":dispatch", text(dispatch.as_str()))
            .scan_index_forward(false)
            .into_paginator()
            .items()
            .send();
        let mut shares = Vec::new();
        while let Some(item) = pages.next().await {
            shares.push(share_of(&item?)?);
        }
        Ok(shares)
    }

    /// Deletes all shares of a call with their openings, and returns how many shares there were.
    pub async fn erase(&self, call: &DispatchId) -> Result<u64, SharesError> {
        let shares = self.of_call(call).await?;
        for share in &shares {
            let mut pages = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression("id = :id")
                .expression_attribute_values(":id", text(share.id.as_str()))
                .consistent_read(true)
                .into_paginator()
                .items()
                .send();
            let mut items = Vec::new();
            while let Some(item) = pages.next().await {
                items.extend(get_text(&item?, "item"));
            }
            // The share itself last, so that an interrupted erasure finds it again.
            items.sort_by_key(|item| item == SHARE);
            for item in items {
                let delete = self.client.delete_item().table_name(&self.table);
                delete.set_key(Some(key(&share.id, &item))).send().await?;
            }
        }
        Ok(shares.len() as u64)
    }

    /// Revokes a share of this call, which takes effect with the next request; `None` if the call has no such share. A share that is revoked already
    /// keeps its time.
    pub async fn revoke(
        &self,
        dispatch: &DispatchId,
        id: &ShareId,
        now: Timestamp,
    ) -> Result<Option<Share>, SharesError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(id, SHARE)))
            .update_expression("SET revoked_at = if_not_exists(revoked_at, :now)")
            .condition_expression("dispatch_id = :dispatch")
            .expression_attribute_values(":now", text(&to_millis(now)))
            .expression_attribute_values(":dispatch", text(dispatch.as_str()))
            .return_values(ReturnValue::AllNew);
        let done = if_condition_met(update.send().await)?;
        done.and_then(|done| done.attributes).as_ref().map(share_of).transpose()
    }
}

/// The key of an item.
pub(super) fn key(id: &ShareId, item: &str) -> Item {
    Item::from([("id".to_owned(), text(id.as_str())), ("item".to_owned(), text(item))])
}

fn item_of(share: &Share) -> Item {
    let mut item = key(&share.id, SHARE);
    let mut set = |name: &str, value: Option<AttributeValue>| {
        if let Some(value) = value {
            item.insert(name.to_owned(), value);
        }
    };
    let seconds = |seconds: f64| AttributeValue::N(seconds.to_string());
    let time = |time: Timestamp| text(&to_millis(time));
    set("dispatch_id", Some(text(share.dispatch_id.as_str())));
    set("s3_key", Some(text(&share.recording.key)));
    set("etag", share.recording.etag.as_deref().map(text));
    let sid = share.recording.recording_sid.as_ref();
    set("recording_sid", sid.map(|sid| text(sid.as_str())));
    set("created_at", Some(time(share.created_at)));
    set("created_by", share.created_by.as_deref().map(text));
    set("ends_at", Some(time(share.expires_at)));
    set("from_seconds", share.from.map(seconds));
    set("to_seconds", share.to.map(seconds));
    set("with_transcript", Some(AttributeValue::Bool(share.with_transcript)));
    set("passcode_hash", share.passcode.as_ref().map(|hash| text(&hash.0)));
    set("note", share.note.as_deref().map(text));
    set("revoked_at", share.revoked_at.map(time));
    set("opened_count", Some(number(share.opened_count as i64)));
    set("last_opened_at", share.last_opened_at.map(time));
    set("expires_at_unix", Some(number(share.deleted_at())));
    item
}

/// Parses the item of a share.
pub(super) fn share_of(item: &Item) -> Result<Share, SharesError> {
    let missing = |name: &str| SharesError(format!("a share has no valid {name}"));
    let required = |name: &str| get_text(item, name).ok_or_else(|| missing(name));
    let seconds = |name: &str| item.get(name)?.as_n().ok()?.parse::<f64>().ok();
    let time = |name: &str| get_text(item, name)?.parse::<Timestamp>().ok();
    Ok(Share {
        id: ShareId::parse(&required("id")?).ok_or_else(|| missing("id"))?,
        dispatch_id: DispatchId::parse(&required("dispatch_id")?).ok_or_else(|| missing("dispatch_id"))?,
        recording: RecordingRef {
            key: required("s3_key")?,
            etag: get_text(item, "etag"),
            size: None,
            recording_sid: get_text(item, "recording_sid").and_then(|sid| RecordingSid::parse(&sid)),
        },
        created_at: time("created_at").ok_or_else(|| missing("created_at"))?,
        created_by: get_text(item, "created_by"),
        expires_at: time("ends_at").ok_or_else(|| missing("ends_at"))?,
        from: seconds("from_seconds"),
        to: seconds("to_seconds"),
        with_transcript: item.get("with_transcript").and_then(|value| value.as_bool().ok()) == Some(&true),
        passcode: get_text(item, "passcode_hash").map(PasscodeHash),
        note: get_text(item, "note"),
        revoked_at: time("revoked_at"),
        opened_count: get_number(item, "opened_count")
            .and_then(|count| count.try_into().ok())
            .unwrap_or_default(),
        last_opened_at: time("last_opened_at"),
    })
}
