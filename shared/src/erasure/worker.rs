//! The worker of the queue of erasures.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{
    eraser::Eraser,
    error::ErasureError,
    model::{Erasure, ErasureId, Problem, Target, Traces},
    queue::ErasureQueue,
    receipt::{ReceiptSeed, receipt},
    run::{End, HELD_PAUSE, Run},
};
use crate::{
    clients::{
        aws::Aws,
        queue::{ErasureMessage, MAX_DELAY},
        secrets::Secret,
    },
    config::{ConfigError, Env},
    lifecycle::{OVERDUE, Versioned},
};

/// The pause before the second attempt, which doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest pause before the next attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// An erasure of what is past its time, of which something is left, ends after this time: that of the next day has taken over.
const TAKEN_OVER: SignedDuration = SignedDuration::from_hours(20);

/// The worker of the queue of erasures.
pub struct ErasureWorker {
    eraser: Eraser,
    queue: ErasureQueue,
    seed: Secret<ReceiptSeed>,
    /// The days that log lines are kept, which a receipt says.
    log_days: i64,
}

impl ErasureWorker {
    /// Reads the environment.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        let log_days = env.optional("LOG_RETENTION_DAYS").unwrap_or("30").parse();
        Ok(Self {
            eraser: Eraser::from_env(env, aws)?,
            queue: ErasureQueue::from_env(env, aws)?,
            seed: Secret::new(aws.secrets_manager(), env.required("RECEIPT_SECRET")?),
            log_days: log_days.map_err(|_| ConfigError::Invalid {
                name: "LOG_RETENTION_DAYS",
                expected: "a number of days",
            })?,
        })
    }

    /// Reads the secrets before the first message.
    pub async fn preload(&self) {
        tokio::join!(self.eraser.preload(), self.seed.preload());
    }

    /// Works on the erasure of a message. An error means that the message must be delivered again.
    pub async fn process(&self, message: &ErasureMessage, deadline: Instant) -> Result<(), ErasureError> {
        let Some(id) = ErasureId::parse(&message.erasure_id) else {
            return Err(ErasureError::Invalid("the message names no erasure".to_owned()));
        };
        let lifecycle = &self.queue.lifecycle;
        let Some(erasure) = lifecycle.read::<Erasure>(&id.item()).await? else {
            return Ok(());
        };
        let Some(target) = erasure.value.target.clone().filter(|_| !erasure.value.is_done()) else {
            return Ok(());
        };
        let mut run = Run::new(&self.eraser, &self.queue, erasure, deadline);
        run.erasure.value.problems.clear();
        let end = run.erase_target(&target).await;
        // Also those of an attempt that was interrupted.
        run.clear_traces().await?;
        match end? {
            End::Overtaken => Ok(()),
            End::OutOfTime => {
                run.queue.save(&mut run.erasure, Some(OVERDUE)).await?;
                self.queue.send(&id, Duration::ZERO).await
            }
            End::Complete if is_over(&run.erasure.value, &target) => self.finish(run.erasure).await,
            End::Complete => {
                let pause = pause(&run.erasure.value);
                run.erasure.value.attempts += 1;
                if self.queue.save(&mut run.erasure, Some(pause)).await? && pause <= MAX_DELAY {
                    self.queue.send(&id, pause).await?;
                }
                Ok(())
            }
        }
    }

    /// Stores the receipt in place of what was to be erased.
    async fn finish(&self, mut erasure: Versioned<Erasure>) -> Result<(), ErasureError> {
        let now = Timestamp::now();
        let seed = self.seed.get().await?;
        let done = &mut erasure.value;
        done.attempts += 1;
        done.receipt = Some(receipt(done, now, (self.log_days, self.eraser.audit.days()), &seed)?);
        done.completed_at = Some(now);
        done.target = None;
        done.reason = None;
        done.traces = Traces::default();
        tracing::info!(erasure_id = %done.id, calls = done.calls, "erasure done");
        self.queue.save(&mut erasure, None).await?;
        Ok(())
    }
}

/// Whether nothing is left to do.
fn is_over(erasure: &Erasure, target: &Target) -> bool {
    let is_taken_over = || Timestamp::now().duration_since(erasure.requested_at) > TAKEN_OVER;
    erasure.problems.is_empty() || matches!(target, Target::Expired { .. }) && is_taken_over()
}

/// The pause before the next attempt: until the first lock ends, a day if everything that is left is held, and otherwise growing.
fn pause(erasure: &Erasure) -> Duration {
    let growing = FIRST_PAUSE
        .saturating_mul(1 << erasure.attempts.min(10))
        .min(LONGEST_PAUSE);
    let now = Timestamp::now();
    let of_problem = |problem: &Problem| match (problem.kind, problem.until) {
        (None, _) => HELD_PAUSE,
        (Some(_), Some(until)) => until.duration_since(now).unsigned_abs().clamp(FIRST_PAUSE, HELD_PAUSE),
        (Some(_), None) => growing,
    };
    erasure.problems.iter().map(of_problem).min().unwrap_or(growing)
}
