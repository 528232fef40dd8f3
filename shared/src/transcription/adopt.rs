//! Transcripts of version 0.1, which are stored under the dispatch id that they were asked for with.
//!
//! Such an item does not say which object was read: the dispatch may have had the recording of its redial at that time, and the object may have
//! been overwritten since. It is served for the recording that the call has now only if that is certain:
//!
//! - the dispatch id is of the pattern, and this recording is the only one of the number in the bucket that could be this dispatch's;
//! - S3 says that the object was last written at least [`LONGEST_READ`] before the transcript was completed, and its ETag is the one resolved.
//!
//! Then the transcript is copied to the recording's own id, and marked in the index, so that this is examined once. In every other case the item
//! is left alone and not served.

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

/// From the reading of the audio to the completion of its transcript, at most: an invocation of the worker.
const LONGEST_READ: Duration = Duration::from_secs(15 * 60);
/// How long copying may take.
const COPYING: Duration = Duration::from_secs(10);

/// Why it is not known whether there is a transcript of version 0.1.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The index or the bucket did not answer.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The table did not answer.
    #[error(transparent)]
    Transcripts(#[from] TranscriptsError),
}

/// The state of the transcript of a call's recording, which may be one of version 0.1.
pub async fn transcript_state(
    resolver: &Resolver,
    transcripts: &Transcripts,
    dispatch: &DispatchId,
    found: &CallRecording,
    variant: &Variant,
) -> Result<TranscriptState, AdoptError> {
    let id = TranscriptId::new(&AudioId::Object(found.recording.clone()), variant);
    let known = transcripts.get(&id).await?;
    if known != TranscriptState::Absent {
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
