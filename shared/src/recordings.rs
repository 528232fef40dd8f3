//! The recording of a call over LiveKit: by the index, else by its name in the bucket.

use crate::{
    aws::Aws,
    calls::{Calls, CallsError},
    config::{ConfigError, Env},
    dispatch::{DispatchId, DispatchPattern},
    egress::{EARLIEST, Egress, EgressError, EgressObject, LATEST},
};

/// The index of calls and the bucket.
pub struct Recordings {
    /// The index.
    pub calls: Calls,
    /// The bucket.
    pub egress: Egress,
}

/// Why a call's recording could not be looked for.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
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

    /// Notes that the call has a transcript. The transcript does not depend on it.
    pub async fn note_transcript(&self, id: &DispatchId) {
        if let Err(error) = self.calls.set_transcribed(id).await {
            tracing::warn!(%error, "the index does not show that the call has a transcript");
        }
    }

    /// The key of the call's recording: from the table, else by its name in the bucket, which is then written to the table.
    pub async fn find(&self, id: &DispatchId) -> Result<Option<String>, FindError> {
        let known = self.calls.get(id).await?;
        if let Some(key) = known.as_ref().and_then(|call| call.s3_key.clone()) {
            return Ok(Some(key));
        }
        let Some(dispatch) = id.pattern() else { return Ok(None) };
        let candidates = self.egress.candidates(&dispatch).await?;
        if candidates.is_empty() {
            return Ok(None);
        }
        // An earlier call to the number can only be nearer to a recording that began before this dispatch.
        let (first, last) = (dispatch.unix + 2 * EARLIEST, dispatch.unix + LATEST - EARLIEST);
        let others = self.calls.dispatches_near(&dispatch, first, last).await?;
        let Some(found) = candidates
            .into_iter()
            .find(|candidate| is_of(candidate, &dispatch, &others))
        else {
            return Ok(None);
        };
        // The answer does not depend on it: the next request would find the recording again.
        if let Err(error) = self.calls.link_recording(id, known, &found).await {
            tracing::warn!(%error, "recording found but not written to the index");
        }
        Ok(Some(found.key))
    }
}

/// Whether no other known dispatch of the number explains the recording better, which is: lies nearer to its beginning.
/// Of two equally near ones the earlier explains it better, since recording begins after the dispatch.
fn is_of(recording: &EgressObject, dispatch: &DispatchPattern, others: &[i64]) -> bool {
    let nearness = |unix: i64| (recording.unix.abs_diff(unix), unix);
    !others
        .iter()
        .any(|other| recording.unix >= other + EARLIEST && nearness(*other) < nearness(dispatch.unix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ours(recording: i64, others: &[i64]) -> bool {
        let dispatch = DispatchPattern {
            unix: 1000,
            phone: "1".into(),
        };
        is_of(
            &EgressObject {
                key: String::new(),
                size: 1,
                etag: None,
                unix: recording,
            },
            &dispatch,
            others,
        )
    }

    #[test]
    fn a_recording_belongs_to_the_nearest_known_dispatch() {
        assert!(is_ours(1002, &[]));
        assert!(is_ours(1002, &[1005]), "the later dispatch is farther from it");
        assert!(!is_ours(1122, &[1120]), "the later dispatch is nearer");
        assert!(is_ours(1100, &[1120]), "the later dispatch is too late for it");
        assert!(!is_ours(996, &[995]), "the earlier dispatch is nearer");
        assert!(is_ours(1001, &[995]));
        assert!(
            is_ours(1002, &[1004]) && !is_ours(998, &[996]),
            "equally near: the earlier dispatch"
        );
    }
}
