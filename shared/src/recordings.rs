//! The recording of a call over LiveKit: by the index, else by its name in the bucket; and what the bucket has, taken down in the index.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    aws::Aws,
    calls::{Calls, CallsError, Observed, recording_of},
    config::{ConfigError, Env},
    dispatch::DispatchId,
    egress::{Egress, EgressError, NEIGHBOURHOOD},
};

/// How long a request waits for what it found to be written to the index.
const WRITE_BACK: Duration = Duration::from_secs(3);

/// The index of calls and the bucket.
pub struct Recordings {
    /// The index.
    pub calls: Calls,
    /// The bucket.
    pub egress: Egress,
}

/// Why a recording could not be looked for, or not be taken down.
#[derive(Debug, thiserror::Error)]
pub enum RecordingsError {
    /// The index did not answer.
    #[error(transparent)]
    Calls(#[from] CallsError),
    /// The bucket did not answer.
    #[error(transparent)]
    Egress(#[from] EgressError),
}

impl Recordings {
    /// Reads `CALLS_TABLE`, and what [`Egress::from_env`] reads. `None` without a bucket.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Option<Self>, ConfigError> {
        let Some(egress) = Egress::from_env(env, aws) else {
            return Ok(None);
        };
        let calls = Calls::from_env(env, aws)?;
        Ok(Some(Self { calls, egress }))
    }

    /// The key of the call's recording: from the table, else by its name in the bucket, which is then written to the table.
    pub async fn find(&self, id: &DispatchId) -> Result<Option<String>, RecordingsError> {
        let known = self.calls.get(id).await?;
        let is_known = known.is_some();
        if let Some(key) = known.and_then(|call| call.s3_key) {
            return Ok(Some(key));
        }
        let Some(dispatch) = id.pattern() else { return Ok(None) };
        let (first, last) = (dispatch.unix - NEIGHBOURHOOD, dispatch.unix + NEIGHBOURHOOD);
        let (others, listed_as_this) = self.calls.dispatches_near(&dispatch, first, last).await?;
        if let (Some(key), false) = (listed_as_this, is_known) {
            return Ok(Some(key));
        }
        let candidates = self.egress.candidates(&dispatch).await?;
        let Some(found) = recording_of(dispatch.unix, &others, &candidates) else {
            return Ok(None);
        };
        // Such a call is told apart from this one by what is known of both.
        if is_known && self.calls.is_an_interactions(&found.key).await? {
            return Ok(None);
        }
        // The answer does not depend on it, nor waits for it long: the next request would find the recording again.
        match timeout(WRITE_BACK, self.calls.found(id, &found.key, &candidates)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "recording found but not written to the index"),
            Err(_) => tracing::warn!("recording found but not written to the index in time"),
        }
        Ok(Some(found.key.clone()))
    }
}

/// Looks whether an object is there, and takes it down in the index; see [`Calls::observe`].
pub async fn observe(
    calls: &Calls,
    egress: &Egress,
    key: &str,
    sequencer: Option<&str>,
) -> Result<Observed, RecordingsError> {
    match key.starts_with(egress.prefix()) {
        true => {
            let look = || async { Ok::<_, RecordingsError>(egress.head(key).await?) };
            calls.observe(key, sequencer, look).await
        }
        false => Ok(Observed::NoRecording),
    }
}
