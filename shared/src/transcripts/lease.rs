//! Leases. A process must hold the lease on a transcript to transcribe it; others see the state of the lease.
//!
//! A lease has an expiry time, which is compared on each read because DynamoDB's TTL deletion can lag by days, and a version that increases with
//! every lease. Later writes are conditional on the version, so a worker that lost its lease can't overwrite newer state.

use std::time::Duration;

use aws_sdk_dynamodb::{
    operation::update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    primitives::Blob,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;

use super::{
    encoding::{item_from_transcript, pack, unpack},
    error::{TranscriptsError, condition_met},
    model::{Failure, Progress, StoredPart, Transcript, TranscriptId, TranscriptState, overdue_before},
    table::Transcripts,
};
use crate::{
    clients::{
        aws::{cause, code},
        dynamodb::{get_number, get_text, number, text},
        queue::Job,
    },
    invocation,
};

/// The maximum size of the text in one item, in bytes. DynamoDB's limit for an item is 400 KB.
const MAX_TEXT_BYTES: usize = 350_000;
/// How long a stored part is kept for the next lease of its run: as long as SQS retains a message.
const PART_TTL: Duration = Duration::from_secs(14 * 24 * 3600);

/// The partition of the index `by-job` with all jobs that have not ended.
const OPEN_JOBS: &str = "open";
/// A job is sent again this often. One that ends five workers without a result would end every worker.
const MAX_SENT_AGAIN: i64 = 5;

/// A margin after the expiry of a lease, for the difference between clocks.
pub const LEASE_OVER: Duration = Duration::from_secs(5);

/// Which states a claim may replace, besides absent, failed and expired ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimPolicy {
    /// A queued job. Only the worker may claim it.
    pub queued: bool,
    /// A completed transcript, to transcribe the recording again.
    pub completed: bool,
}

/// The exclusive right to transcribe a recording until the lease expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    id: TranscriptId,
    version: i64,
    /// Identifies a run, which begins with the first lease after the last completion. Later leases of the same run reuse its parts.
    run: String,
    /// Whether the item still contains an earlier transcript.
    has_transcript: bool,
}

/// A job of which nothing has been noted for a while.
#[derive(Debug)]
pub struct QuietJob {
    id: TranscriptId,
    /// The job as it was queued last.
    pub job: Job,
    noted_at: i64,
}

/// The result of [`Transcripts::claim`].
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimResult {
    /// The caller holds the lease and must transcribe.
    Granted(Lease),
    /// The caller must not transcribe, because of this state.
    Refused(TranscriptState),
}

fn job_text(job: &Job) -> Result<String, TranscriptsError> {
    serde_json::to_string(job).map_err(|error| TranscriptsError(error.to_string()))
}

impl Lease {
    fn part_item(&self, channel: u8, index: u32) -> String {
        format!("{}#part#{}#{channel}#{index}", self.id.as_str(), self.run)
    }
}

/// Condition: the transcript is absent, failed, or neither completed nor leased.
const FREE: &str = "(attribute_not_exists(id) OR #state = :failed OR (#state <> :completed AND lease_until < :now))";
/// Condition: the writer still holds the lease.
const HELD: &str = "#version = :version AND #state = :in_progress";

impl Transcripts {
    /// The part that an earlier lease of the same run has stored, if any.
    pub async fn part(&self, lease: &Lease, channel: u8, index: u32) -> Result<Option<StoredPart>, TranscriptsError> {
        match self.bytes(lease.part_item(channel, index)).await? {
            Some(packed) => Ok(Some(unpack(&packed)?)),
            None => Ok(None),
        }
    }

    /// Stores a part for later leases of the same run.
    pub async fn put_part(
        &self,
        lease: &Lease,
        channel: u8,
        index: u32,
        part: &StoredPart,
    ) -> Result<(), TranscriptsError> {
        let expires = Timestamp::now() + PART_TTL;
        self.put_bytes(lease.part_item(channel, index), &pack(part)?, Some(expires))
            .await
    }

    /// Stores the progress. Returns `false` if the lease was lost.
    pub async fn save_progress(&self, lease: &Lease, progress: &Progress) -> Result<bool, TranscriptsError> {
        let progress = serde_json::to_string(progress).map_err(|error| TranscriptsError(error.to_string()))?;
        let write = self
            .update(&lease.id, "SET progress = :progress", HELD)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":progress", text(&progress))
            .expression_attribute_values(":in_progress", text("in_progress"))
            .expression_attribute_values(":version", number(lease.version));
        condition_met(write.send().await)
    }

    /// Claims the lease on `id` until `until`. The claim is refused if another process holds the lease, or if the transcript is queued or
    /// completed and `policy` does not allow replacing that state.
    pub async fn claim(
        &self,
        id: &TranscriptId,
        policy: ClaimPolicy,
        until: Timestamp,
    ) -> Result<ClaimResult, TranscriptsError> {
        let mut condition = format!("{FREE} OR lease_owner = :owner");
        if policy.queued {
            condition.push_str(" OR #state = :queued");
        }
        if policy.completed {
            condition.push_str(" OR #state = :completed");
        }
        let mut write = self.update(
            id,
            "SET #state = :in_progress, lease_until = :until, noted_at = :until, lease_owner = :owner, \
             run = if_not_exists(run, :owner) ADD #version :one",
            &condition,
        );
        if policy.queued {
            write = write.expression_attribute_values(":queued", text("queued"));
        }
        let answer = write
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":completed", text("completed"))
            .expression_attribute_values(":failed", text("failed"))
            .expression_attribute_values(":in_progress", text("in_progress"))
            // The SDK retries a write whose response was lost. The condition on the owner lets the retry succeed.
            .expression_attribute_values(":owner", text(&format!("{:032x}", fastrand::u128(..))))
            .expression_attribute_values(":until", number(until.as_millisecond()))
            .expression_attribute_values(":now", number(Timestamp::now().as_millisecond()))
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let item = answer.attributes.unwrap_or_default();
                let version = get_number(&item, "version");
                let version = version.ok_or_else(|| TranscriptsError("a lease has no version".into()))?;
                // Before any part is stored.
                self.note_begun(id, get_text(&item, "run").as_deref()).await?;
                Ok(ClaimResult::Granted(Lease {
                    id: id.clone(),
                    version,
                    run: get_text(&item, "run").unwrap_or_default(),
                    has_transcript: item.contains_key("completed_at"),
                }))
            }
            Err(error) => match error.into_service_error() {
                UpdateItemError::ConditionalCheckFailedException(refused) => {
                    Ok(ClaimResult::Refused(self.state_from(refused.item).await?))
                }
                other => Err(TranscriptsError(code(&other))),
            },
        }
    }

    /// Stores that the job of `id` is in the queue, for at most `valid`, unless a worker holds the lease, its message is not overdue, or it is
    /// completed and is not to be replaced.
    pub async fn queue(
        &self,
        id: &TranscriptId,
        valid: Duration,
        job: &Job,
        replace: bool,
    ) -> Result<(), TranscriptsError> {
        self.note_begun(id, None).await?;
        let now = Timestamp::now();
        let overdue = "attribute_not_exists(noted_at) OR noted_at < :overdue";
        let mut condition = format!("{FREE} OR (#state = :queued AND (queued_by <> :dispatch OR {overdue}))");
        if replace {
            condition.push_str(" OR #state IN (:completed, :queued)");
        }
        let write = self
            .update(
                id,
                "SET #state = :queued, lease_until = :until, noted_at = :now, queued_by = :dispatch, job = :job, job_list = :open \
                 REMOVE lease_owner, times_sent_again",
                &condition,
            )
            .expression_attribute_values(":job", text(&job_text(job)?))
            .expression_attribute_values(":open", text(OPEN_JOBS))
            .expression_attribute_values(":overdue", number(overdue_before(now)))
            .expression_attribute_values(":dispatch", text(job.dispatch()))
            .expression_attribute_values(":queued", text("queued"))
            .expression_attribute_values(":completed", text("completed"))
            .expression_attribute_values(":failed", text("failed"))
            .expression_attribute_values(":until", number((now + valid).as_millisecond()))
            .expression_attribute_values(":now", number(now.as_millisecond()));
        condition_met(write.send().await)?;
        Ok(())
    }

    /// Stores that the message of a queued job was received and sent again.
    pub async fn renew_queued(&self, id: &TranscriptId) -> Result<(), TranscriptsError> {
        let write = self
            .update(id, "SET noted_at = :now", "#state = :queued")
            .expression_attribute_values(":queued", text("queued"))
            .expression_attribute_values(":now", number(Timestamp::now().as_millisecond()));
        condition_met(write.send().await)?;
        Ok(())
    }

    /// Ends that `id` is queued for this dispatch, whose recording is another one by now. What was completed before is so again.
    pub async fn unqueue(&self, id: &TranscriptId, dispatch: &str) -> Result<(), TranscriptsError> {
        let queued = "#state = :queued AND queued_by = :dispatch";
        let restore = self
            .update(
                id,
                "SET #state = :completed REMOVE lease_until, queued_by, job, job_list",
                &format!("{queued} AND attribute_exists(completed_at)"),
            )
            .expression_attribute_values(":completed", text("completed"))
            .expression_attribute_values(":queued", text("queued"))
            .expression_attribute_values(":dispatch", text(dispatch));
        if condition_met(restore.send().await)? {
            return Ok(());
        }
        // The item stays, with the run whose parts may be stored, in a state that reads as absent.
        let end = self
            .update(
                id,
                "SET #state = :unqueued, lease_until = :over REMOVE queued_by, job, job_list",
                queued,
            )
            .expression_attribute_values(":unqueued", text("unqueued"))
            .expression_attribute_values(":over", number(0))
            .expression_attribute_values(":queued", text("queued"))
            .expression_attribute_values(":dispatch", text(dispatch));
        condition_met(end.send().await)?;
        Ok(())
    }

    /// Gives the lease back to the queue, where the job waits for at most `valid`.
    pub async fn requeue(&self, lease: &Lease, job: &Job, valid: Duration) -> Result<(), TranscriptsError> {
        let now = Timestamp::now();
        let write = self
            .update(
                &lease.id,
                "SET #state = :queued, lease_until = :until, noted_at = :now, job = :job, job_list = :open REMOVE lease_owner",
                HELD,
            )
            .expression_attribute_values(":job", text(&job_text(job)?))
            .expression_attribute_values(":open", text(OPEN_JOBS))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":queued", text("queued"))
            .expression_attribute_values(":until", number((now + valid).as_millisecond()))
            .expression_attribute_values(":now", number(now.as_millisecond()))
            .expression_attribute_values(":in_progress", text("in_progress"))
            .expression_attribute_values(":version", number(lease.version));
        condition_met(write.send().await)?;
        Ok(())
    }

    /// Releases the lease with a failure, so that the next request can retry immediately. An earlier transcript becomes the completed one again.
    pub async fn fail(&self, lease: &Lease, failure: &Failure) -> Result<(), TranscriptsError> {
        let write = self
            .update(
                &lease.id,
                "SET #state = :failed, code = :code, message = :message, retryable = :retryable, failed_request = :request \
                 REMOVE lease_owner, lease_until, job, job_list",
                HELD,
            )
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(
                ":failed",
                text(if lease.has_transcript { "completed" } else { "failed" }),
            )
            .expression_attribute_values(":code", text(&failure.code))
            .expression_attribute_values(":message", text(&failure.message))
            // For those who look for the failure in the log.
            .expression_attribute_values(":request", text(&invocation::request_id().unwrap_or_default()))
            .expression_attribute_values(":retryable", AttributeValue::Bool(failure.retryable))
            .expression_attribute_values(":in_progress", text("in_progress"))
            .expression_attribute_values(":version", number(lease.version));
        condition_met(write.send().await)?;
        Ok(())
    }

    /// The jobs of which nothing was noted since they became overdue, at most `limit`: their messages may be lost, or the worker that held their
    /// lease was killed and its lease check is lost.
    pub async fn quiet_jobs(&self, now: Timestamp, limit: i32) -> Result<Vec<QuietJob>, TranscriptsError> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by-job")
            .key_condition_expression("job_list = :open AND noted_at < :overdue")
            .expression_attribute_values(":open", text(OPEN_JOBS))
            .expression_attribute_values(":overdue", number(overdue_before(now)))
            .limit(limit);
        let items = query.send().await?.items.unwrap_or_default();
        let jobs = items.iter().filter_map(|item| {
            Some(QuietJob {
                id: TranscriptId::from_key(get_text(item, "id")?),
                job: serde_json::from_str(&get_text(item, "job")?).ok()?,
                noted_at: get_number(item, "noted_at")?,
            })
        });
        Ok(jobs.collect())
    }

    /// Stores that a quiet job was sent again. After the fifth time without a result the job is given up.
    pub async fn note_sent_again(&self, quiet: &QuietJob, now: Timestamp) -> Result<(), TranscriptsError> {
        let update = |expression: &str, condition: &str| {
            let update = self.client.update_item().table_name(&self.table);
            update
                .key("id", text(quiet.id.as_str()))
                .update_expression(expression)
                .condition_expression(condition)
                .expression_attribute_values(":open", text(OPEN_JOBS))
        };
        let note = update(
            "SET noted_at = :now ADD times_sent_again :one",
            "job_list = :open AND noted_at = :noted",
        )
        .expression_attribute_values(":now", number(now.as_millisecond()))
        .expression_attribute_values(":one", number(1))
        .expression_attribute_values(":noted", number(quiet.noted_at))
        .return_values(ReturnValue::UpdatedNew);
        let noted = note.send().await;
        let sent = noted.as_ref().ok().and_then(|answer| answer.attributes.as_ref());
        let sent = sent.and_then(|attributes| get_number(attributes, "times_sent_again"));
        if condition_met(noted)? && sent.unwrap_or_default() >= MAX_SENT_AGAIN {
            // It then reads as interrupted, and the next request starts it again.
            let end = update("SET lease_until = :over REMOVE job, job_list", "job_list = :open");
            condition_met(end.expression_attribute_values(":over", number(0)).send().await)?;
        }
        Ok(())
    }

    fn update(&self, id: &TranscriptId, update: &str, condition: &str) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key("id", text(id.as_str()))
            .update_expression(update)
            .condition_expression(condition)
            .expression_attribute_names("#state", "state")
    }

    /// Stores the transcript. Returns `false` if the lease was lost; the result of the other process is kept then.
    pub async fn complete(&self, lease: &Lease, transcript: &Transcript) -> Result<bool, TranscriptsError> {
        let mut item = item_from_transcript(transcript)?;
        item.insert("id".into(), text(lease.id.as_str()));
        item.insert("state".into(), text("completed"));
        item.insert("version".into(), number(lease.version));
        let speech = pack(&transcript.speech)?;
        let text_items = match speech.len() <= MAX_TEXT_BYTES {
            true => 0,
            false => speech.chunks(MAX_TEXT_BYTES).len(),
        };
        if text_items == 0 {
            item.insert("speech".into(), AttributeValue::B(Blob::new(speech)));
        } else {
            let pieces = speech.chunks(MAX_TEXT_BYTES);
            item.insert("text_items".into(), number(text_items as i64));
            item.insert("text_version".into(), number(lease.version));
            let writes = pieces
                .enumerate()
                .map(|(n, piece)| self.put_bytes(lease.id.text_item(lease.version, n as i64), piece, None));
            futures_util::future::try_join_all(writes).await?;
        }
        let write = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(lease.version))
            .return_values(ReturnValue::AllOld);
        match write.send().await {
            Ok(answer) => {
                let replaced = answer.attributes.unwrap_or_default();
                let version = get_number(&replaced, "text_version").unwrap_or_default();
                let count = get_number(&replaced, "text_items").unwrap_or_default();
                // If the SDK retried a write whose response was lost, the replaced item is the one just written.
                if version != lease.version {
                    self.delete_text(&lease.id, version, count).await;
                }
                Ok(true)
            }
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|service| service.is_conditional_check_failed_exception()) =>
            {
                self.delete_text(&lease.id, lease.version, text_items as i64).await;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the additional text items of a replaced transcript.
    async fn delete_text(&self, id: &TranscriptId, version: i64, count: i64) {
        for n in 0..count {
            let item = self.client.delete_item().table_name(&self.table);
            if let Err(error) = item.key("id", text(&id.text_item(version, n))).send().await {
                tracing::warn!(
                    error = cause(&error),
                    "the text of a replaced transcript could not be deleted"
                );
            }
        }
    }
}
