//! The state of the copy of a Twilio recording, and the call that the recording belongs to.

use aws_sdk_dynamodb::{error::SdkError, operation::update_item::UpdateItemError};
use jiff::Timestamp;

use super::{
    error::LifecycleError,
    table::{DueList, Lifecycle, OVERDUE},
};
use crate::clients::{
    bucket::Uploading,
    dynamodb::{Item, get_text, number, text},
    twilio::RecordingSid,
};

/// What the table has of a Twilio recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyState {
    /// The SID of its call, or its own if it does not belong to a single call; `None` if nobody has reported the recording yet.
    pub call_sid: Option<String>,
    /// Whether it is being copied, or waits for that.
    pub is_copying: bool,
    /// The multipart upload that an interrupted worker began.
    pub upload: Option<Uploading>,
}

/// A recording whose next step is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueCopy {
    /// The recording.
    pub sid: RecordingSid,
    /// Why the step failed the last time.
    pub reason: Option<String>,
}

pub(super) fn id_of(sid: &str) -> String {
    format!("recording#{sid}")
}

/// Whether the condition of a change was met.
fn is_met<T>(result: Result<T, SdkError<UpdateItemError>>) -> Result<bool, LifecycleError> {
    match result {
        Ok(_) => Ok(true),
        Err(error)
            if error
                .as_service_error()
                .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

impl CopyState {
    fn of(item: &Item) -> Self {
        Self {
            call_sid: get_text(item, "call_sid"),
            is_copying: get_text(item, "due_list").as_deref() == Some(DueList::Copy.name()),
            upload: get_text(item, "upload_key")
                .zip(get_text(item, "upload_id"))
                .map(|(key, id)| Uploading { key, id }),
        }
    }
}

impl Lifecycle {
    /// Stores which call a recording belongs to.
    pub async fn put_call_of(&self, recording_sid: &str, call_sid: &str) -> Result<(), LifecycleError> {
        let values = [(":call", text(call_sid))];
        self.change(&id_of(recording_sid), "SET call_sid = :call", values).await
    }

    /// What is known of a recording.
    pub async fn copy_state(&self, sid: &RecordingSid) -> Result<CopyState, LifecycleError> {
        let item = self.get(&id_of(sid.as_str())).await?;
        Ok(item.map(|item| CopyState::of(&item)).unwrap_or_default())
    }

    /// Stores why a step failed, and when it is due again.
    pub async fn postpone(
        &self,
        sid: &RecordingSid,
        list: DueList,
        at: Timestamp,
        reason: &str,
    ) -> Result<(), LifecycleError> {
        let values = [
            (":list", text(list.name())),
            (":at", number(at.as_millisecond())),
            (":reason", text(reason)),
        ];
        let update = "SET due_list = :list, due_at = :at, reason = :reason";
        self.change(&id_of(sid.as_str()), update, values).await
    }

    /// Stores that a message to copy the recording is sent now. Returns `false` if the recording is being copied or waits for
    /// that and its message is not overdue, or if it is copied and waits to be deleted at Twilio.
    pub async fn begin_copying(&self, sid: &RecordingSid) -> Result<bool, LifecycleError> {
        let due = Timestamp::now() + OVERDUE;
        let begin = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&id_of(sid.as_str())))
            .update_expression("SET due_list = :list, due_at = :at")
            // The SDK retries a write whose response was lost, and then finds what it has written.
            .condition_expression(
                "attribute_not_exists(due_list) OR (due_list = :list AND (due_at = :at OR due_at <= :now))",
            )
            .expression_attribute_values(":now", number(Timestamp::now().as_millisecond()))
            .expression_attribute_values(":list", text(DueList::Copy.name()))
            .expression_attribute_values(":at", number(due.as_millisecond()));
        is_met(begin.send().await)
    }

    /// Stores that a message to copy the recording was sent or received.
    pub async fn note_copying(&self, sid: &RecordingSid) -> Result<(), LifecycleError> {
        let due = Timestamp::now() + OVERDUE;
        self.make_due(sid, DueList::Copy, due).await
    }

    /// Stores that the recording is due in this list.
    pub async fn make_due(&self, sid: &RecordingSid, list: DueList, at: Timestamp) -> Result<(), LifecycleError> {
        self.due_again(&id_of(sid.as_str()), list, at).await
    }

    /// Stores the multipart upload of the copy in place of the one that is known. Returns `false` if another worker has stored one meanwhile.
    pub async fn put_upload(
        &self,
        sid: &RecordingSid,
        upload: &Uploading,
        known: Option<&Uploading>,
    ) -> Result<bool, LifecycleError> {
        let put = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&id_of(sid.as_str())))
            .update_expression("SET upload_key = :key, upload_id = :id")
            .expression_attribute_values(":key", text(&upload.key))
            .expression_attribute_values(":id", text(&upload.id));
        let put = match known {
            // The same as in `begin_copying`.
            None => put.condition_expression("attribute_not_exists(upload_id) OR upload_id = :id"),
            Some(known) => put
                .condition_expression("upload_id = :known OR upload_id = :id")
                .expression_attribute_values(":known", text(&known.id)),
        };
        is_met(put.send().await)
    }

    /// Ends the copy: it is done or has failed, and nothing is due any more.
    pub async fn end_copy(&self, sid: &RecordingSid) -> Result<(), LifecycleError> {
        let update = "REMOVE due_list, due_at, upload_key, upload_id, reason";
        self.change(&id_of(sid.as_str()), update, []).await
    }

    /// Forgets a recording that was erased, or that nobody knows.
    pub async fn forget_recording(&self, sid: &RecordingSid) -> Result<(), LifecycleError> {
        self.delete(&id_of(sid.as_str())).await
    }

    /// The recordings of a list whose next step is due, at most `limit`.
    pub async fn due_copies(&self, list: DueList, now: Timestamp, limit: i32) -> Result<Vec<DueCopy>, LifecycleError> {
        let due = self.due(list, now, limit).await?;
        let copies = due.iter().filter_map(|item| {
            Some(DueCopy {
                sid: RecordingSid::parse(get_text(item, "id")?.strip_prefix("recording#")?)?,
                reason: get_text(item, "reason"),
            })
        });
        Ok(copies.collect())
    }
}
