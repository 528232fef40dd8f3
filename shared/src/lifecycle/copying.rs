//! The state of the copy of a Twilio recording, and the call that the recording belongs to.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use jiff::Timestamp;

use super::{
    error::LifecycleError,
    table::{DueList, Lifecycle},
};
use crate::clients::{
    bucket::Uploading,
    dynamodb::{Item, get_text, number, text},
    twilio::RecordingSid,
};

/// After this time without a sign of its message a copy is sent to the queue again. It is longer than the maximum delay of SQS and an invocation.
const OVERDUE: Duration = Duration::from_secs(40 * 60);

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

fn id_of(sid: &str) -> String {
    format!("recording#{sid}")
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
    /// that, or if it is copied and waits to be deleted at Twilio.
    pub async fn begin_copying(&self, sid: &RecordingSid) -> Result<bool, LifecycleError> {
        let due = Timestamp::now() + OVERDUE;
        let begin = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&id_of(sid.as_str())))
            .update_expression("SET due_list = :list, due_at = :at")
            .condition_expression("attribute_not_exists(due_list)")
            .expression_attribute_values(":list", text(DueList::Copy.name()))
            .expression_attribute_values(":at", number(due.as_millisecond()));
        match begin.send().await {
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

    /// Stores that a message to copy the recording was sent or received.
    pub async fn note_copying(&self, sid: &RecordingSid) -> Result<(), LifecycleError> {
        let due = Timestamp::now() + OVERDUE;
        self.make_due(sid, DueList::Copy, due).await
    }

    /// Stores that the recording is due in this list.
    pub async fn make_due(&self, sid: &RecordingSid, list: DueList, at: Timestamp) -> Result<(), LifecycleError> {
        let values = [(":list", text(list.name())), (":at", number(at.as_millisecond()))];
        let update = "SET due_list = :list, due_at = :at";
        self.change(&id_of(sid.as_str()), update, values).await
    }

    /// Stores the multipart upload of the copy.
    pub async fn put_upload(&self, sid: &RecordingSid, upload: &Uploading) -> Result<(), LifecycleError> {
        let values = [(":key", text(&upload.key)), (":id", text(&upload.id))];
        let update = "SET upload_key = :key, upload_id = :id";
        self.change(&id_of(sid.as_str()), update, values).await
    }

    /// Ends the copy: it is done or has failed, and nothing is due any more.
    pub async fn end_copy(&self, sid: &RecordingSid) -> Result<(), LifecycleError> {
        let update = "REMOVE due_list, due_at, upload_key, upload_id, reason";
        self.change(&id_of(sid.as_str()), update, []).await
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
