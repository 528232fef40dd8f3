//! Transcripts of version 0.1, which are stored under the dispatch id of the request.
//!
//! Such an item does not contain the object that was transcribed: the dispatch may have been paired with the recording of a redial at that time,
//! and the object may have been overwritten since. The transcript is returned for the call's current recording only if both conditions hold:
//!
//! - the dispatch id contains time and number, and this recording is the only one of the number in the bucket that can belong to the dispatch;
//! - the object was last modified at least [`LONGEST_READ`] before the transcript was completed, and it still has the resolved ETag.
//!
//! The transcript is then copied to the recording's id and marked in the index, so that this check is made only once. Otherwise the item is
//! neither changed nor returned.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    calls::{CallRecording, NEIGHBOURHOOD, ResolveError, Resolver},
    ids::DispatchId,
    transcripts::{
        AudioId, ClaimPolicy, ClaimResult, Transcript, TranscriptId, TranscriptState, Transcripts, TranscriptsError,
        Variant,
    },
};

/// The maximum time between reading the audio and completing its transcript: one invocation of the worker.
const LONGEST_READ: Duration = Duration::from_secs(15 * 60);
/// The duration of the lease for copying a transcript.
const COPYING: Duration = Duration::from_secs(10);

/// Looking up a transcript of version 0.1 failed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// A request to the index or the bucket failed.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A request to the transcripts table failed.
    #[error(transparent)]
    Transcripts(#[from] TranscriptsError),
}

/// The state of the first of these variants that is not absent; see [`transcript_state`].
pub async fn first_transcript_state(
    resolver: &Resolver,
    transcripts: &Transcripts,
    dispatch: &DispatchId,
    found: &CallRecording,
    variants: &[Variant],
) -> Result<TranscriptState, AdoptError> {
    for variant in variants {
        let state = transcript_state(resolver, transcripts, dispatch, found, variant).await?;
        if state != TranscriptState::Absent {
            return Ok(state);
        }
    }
    Ok(TranscriptState::Absent)
}

/// The state of the transcript of a call's recording, including transcripts of version 0.1.
pub async fn transcript_state(
    resolver: &Resolver,
    transcripts: &Transcripts,
    dispatch: &DispatchId,
    found: &CallRecording,
    variant: &Variant,
) -> Result<TranscriptState, AdoptError> {
    let id = TranscriptId::new(&AudioId::Object(found.recording.clone()), variant);
    let known = transcripts.get(&id).await?;
    // Version 0.1 transcribed only LiveKit's recordings under a dispatch id.
    if known != TranscriptState::Absent || found.recording.recording_sid.is_some() {
        return Ok(known);
    }
    let old = transcripts.get(&TranscriptId::of_dispatch(dispatch, variant)).await?;
    let Some(old) = old.stored() else { return Ok(known) };
    if !is_certain(resolver, dispatch, found, old).await? {
        return Ok(known);
    }
    let policy = ClaimPolicy {
        queued: false,
        completed: false,
    };
    if let ClaimResult::Granted(lease) = transcripts.claim(&id, policy, Timestamp::now() + COPYING).await? {
        transcripts.complete(&lease, old).await?;
    }
    let marked = resolver.calls.mark_object_transcribed(&found.recording).await;
    marked.map_err(ResolveError::from)?;
    Ok(transcripts.get(&id).await?)
}

async fn is_certain(
    resolver: &Resolver,
    dispatch: &DispatchId,
    found: &CallRecording,
    transcript: &Transcript,
) -> Result<bool, ResolveError> {
    let Some(pattern) = dispatch.pattern() else {
        return Ok(false);
    };
    let Some(info) = resolver.bucket.head(&found.recording.key).await? else {
        return Ok(false);
    };
    let is_older = |modified: Timestamp| modified + LONGEST_READ <= transcript.completed_at;
    if info.etag != found.recording.etag || !info.modified.is_some_and(is_older) {
        return Ok(false);
    }
    let candidates = resolver.bucket.recordings_near(&pattern, NEIGHBOURHOOD).await?;
    Ok(matches!(&candidates[..], [only] if only.key == found.recording.key))
}
