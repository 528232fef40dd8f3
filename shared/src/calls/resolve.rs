//! Finds the recording of a call, in the index or else by its name in the bucket, and writes objects of the bucket to the index.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    error::CallsError,
    item_id::{self, ItemKind},
    model::Call,
    observations::{CopyFailure, TwilioCopy, TwilioRecording},
    pairing::{NEIGHBOURHOOD, fit, pair},
    record::{Observed, RecordingKey},
    table::Calls,
};
use crate::{
    clients::{
        aws::Aws,
        bucket::{BucketError, RecordingObject, RecordingRef, RecordingsBucket},
        twilio::{RecordingSid, is_call_sid},
    },
    config::{ConfigError, Env},
    ids::{DispatchId, DispatchPattern},
    limits::{LimitExceeded, RequestLimit},
};

/// How long a request waits for writing a found recording to the index.
const WRITE_BACK: Duration = Duration::from_secs(3);

/// The index of calls and the bucket.
pub struct Resolver {
    /// The index.
    pub calls: Calls,
    /// The bucket.
    pub bucket: RecordingsBucket,
}

/// A call and its recording.
#[derive(Debug, Clone)]
pub struct CallRecording {
    /// What the index knows of the call; `None` where only the recording is known.
    pub call: Option<Call>,
    /// The recording.
    pub recording: RecordingRef,
    /// Whether it must be restored from an archive before it can be read.
    pub is_archived: bool,
    /// What is known of it if it is the copy of a Twilio recording.
    pub copy: Option<TwilioCopy>,
    /// See [`Call::recording_id`].
    recording_id: Option<String>,
}

/// A Twilio recording of which the bucket has no copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotCopied {
    /// The recording.
    pub sid: RecordingSid,
    /// Whether it is being copied, or waits for that.
    pub is_copying: bool,
    /// Why it could not be copied.
    pub failure: Option<CopyFailure>,
}

impl CallRecording {
    /// The id under which the audit has what is done with the recording: Twilio's SID, or the number and time in the recording's name. It stays the
    /// same when the recording is paired with another call, and is found by every id of the call that has the recording.
    pub fn subject(&self, requested: &DispatchId) -> String {
        let sid = self.recording.recording_sid.as_ref().map(ToString::to_string);
        sid.or_else(|| self.recording_id.clone())
            .unwrap_or_else(|| self.call_id(requested))
    }

    /// The call's dispatch id, or else Twilio's SID. `requested` is the id of the request.
    pub fn call_id(&self, requested: &DispatchId) -> String {
        let call = self.call.as_ref();
        let dispatch = call.map(|call| call.dispatch_id.clone()).filter(|id| !id.is_empty());
        let sid = || call.and_then(|call| call.call_sid.clone());
        dispatch.or_else(sid).unwrap_or_else(|| requested.to_string())
    }

    /// The copy of a Twilio recording of this call.
    fn of_copy(call: &Call, recording: &TwilioRecording) -> Option<Self> {
        let copy = recording.copied()?;
        Some(Self {
            call: Some(call.clone()),
            recording: RecordingRef {
                key: copy.key.clone(),
                etag: copy.etag.clone(),
                size: Some(copy.size),
                recording_sid: RecordingSid::parse(&recording.sid),
            },
            is_archived: copy.in_glacier,
            copy: Some(copy.clone()),
            recording_id: None,
        })
    }

    fn of(call: Call) -> Option<Self> {
        let recording = RecordingRef {
            key: call.s3_key.clone()?,
            etag: call.etag.clone(),
            size: call.size,
            recording_sid: None,
        };
        Some(Self {
            copy: None,
            is_archived: call.is_archived(),
            recording_id: call.recording_id.clone(),
            call: Some(call),
            recording,
        })
    }
}

/// Where a recording is searched by its name if the index does not know its call.
#[derive(Clone, Copy)]
pub enum Search<'a> {
    /// Among the recordings that are in the index.
    Index,
    /// In the bucket.
    Bucket,
    /// In the bucket, if this limit allows it.
    BucketWithin(RequestLimit<'a>),
}

/// Why a recording could not be searched for, or not be indexed.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A request to the calls table failed.
    #[error(transparent)]
    Calls(#[from] CallsError),
    /// A request to the bucket failed.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// Twilio has the recording, and the bucket has no copy of it.
    #[error("the recording is not in the bucket but at Twilio")]
    NotCopied(NotCopied),
    /// The bucket is not searched for the caller again so soon.
    #[error(transparent)]
    TooManySearches(#[from] LimitExceeded),
}

impl Resolver {
    /// Reads `CALLS_TABLE` and the variables of [`RecordingsBucket::from_env`]. `None` if no bucket is configured.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Option<Self>, ConfigError> {
        let Some(bucket) = RecordingsBucket::from_env(env, aws)? else {
            return Ok(None);
        };
        let calls = Calls::from_env(env, aws)?;
        Ok(Some(Self { calls, bucket }))
    }

    /// The recording of a call, which is named by its dispatch id or its SID at Twilio, or the recording with this SID at Twilio: LiveKit's, or
    /// else the copy of Twilio's. A recording that is not in the table is searched by its name in the bucket, and then written to the table.
    pub async fn find(&self, id: &DispatchId, search: Search<'_>) -> Result<Option<CallRecording>, ResolveError> {
        if let Some(sid) = RecordingSid::parse(id.as_str()) {
            let Some(found) = self.calls.twilio_recording(&sid).await? else {
                return Ok(None);
            };
            let is_copying = found.copying.is_copying;
            return copied(&found.call, &found.recording, is_copying);
        }
        if is_call_sid(id.as_str()) {
            let Some(call) = self.calls.call_of_twilio(id.as_str()).await? else {
                return Ok(None);
            };
            return match CallRecording::of(call.clone()) {
                Some(found) => Ok(Some(found)),
                None => self.copy_of(&call).await,
            };
        }
        let known = self.calls.get(id).await?;
        let livekit = known.clone().and_then(CallRecording::of);
        if let Some(found) = livekit.or_else(|| known.as_ref().and_then(first_copy)) {
            return Ok(Some(found));
        }
        match (self.search(id, known.clone(), search).await?, known) {
            (Some(found), _) => Ok(Some(found)),
            (None, Some(call)) => self.copy_of(&call).await,
            (None, None) => Ok(None),
        }
    }

    /// The copy of the first of a call's Twilio recordings that has one.
    async fn copy_of(&self, call: &Call) -> Result<Option<CallRecording>, ResolveError> {
        let completed = call.twilio.iter().find(|recording| recording.is_completed());
        let sid = completed.and_then(|recording| RecordingSid::parse(&recording.sid));
        match (first_copy(call), completed, sid) {
            (None, Some(recording), Some(sid)) => {
                let state = self.calls.lifecycle.copy_state(&sid).await.map_err(CallsError::from)?;
                copied(call, recording, state.is_copying)
            }
            (found, ..) => Ok(found),
        }
    }

    /// Searches the recording of a dispatch by its name in the bucket.
    async fn search(
        &self,
        id: &DispatchId,
        known: Option<Call>,
        search: Search<'_>,
    ) -> Result<Option<CallRecording>, ResolveError> {
        let is_indexed = known.is_some();
        let Some(dispatch) = id.pattern() else { return Ok(None) };
        let (first, last) = (dispatch.unix - NEIGHBOURHOOD, dispatch.unix + NEIGHBOURHOOD);
        let (others, recordings) = self.calls.near_dispatch(&dispatch, first, last).await?;
        if !is_indexed {
            let listed = self.calls.listed_at(dispatch.unix, &recordings).await?;
            if let Some(found) = listed.and_then(CallRecording::of) {
                return Ok(Some(found));
            }
        }
        if let Search::BucketWithin(limit) = search {
            limit.take()?;
        }
        let candidates = match search {
            Search::Index => self.calls.indexed(&recordings).await?,
            Search::Bucket | Search::BucketWithin(..) => self.bucket.recordings_near(&dispatch, NEIGHBOURHOOD).await?,
        };
        let Some(found) = recording_of(dispatch.unix, &others, &candidates) else {
            return Ok(None);
        };
        // It is being erased, or was written again after that.
        if self
            .calls
            .has_erased(&[id.as_str(), &item_id::object(&found.key)])
            .await?
        {
            return Ok(None);
        }
        // The recording belongs to another call, which is known only by its interaction.
        if is_indexed && self.calls.belongs_to_interaction(&found.key).await? {
            return Ok(None);
        }
        // The response does not depend on this write, so it waits only briefly: the next request would find the recording again.
        match timeout(WRITE_BACK, self.calls.index_search_results(id, &found.key, &candidates)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "recording found but not written to the index"),
            Err(_) => tracing::warn!("recording found but not written to the index in time"),
        }
        let named = DispatchPattern {
            unix: found.unix,
            phone: dispatch.phone,
        };
        Ok(Some(CallRecording {
            copy: None,
            is_archived: found.is_archived,
            call: known,
            recording: RecordingRef {
                key: found.key.clone(),
                etag: found.etag.clone(),
                size: Some(found.size),
                recording_sid: None,
            },
            recording_id: Some(named.to_string()),
        }))
    }

    /// The call's recording with its ETag, by which its transcript is stored: S3 says it where the index does not.
    pub async fn find_version(
        &self,
        id: &DispatchId,
        search: Search<'_>,
    ) -> Result<Option<CallRecording>, ResolveError> {
        let Some(mut found) = self.find(id, search).await? else {
            return Ok(None);
        };
        if found.recording.etag.is_none() {
            let Some(info) = self.bucket.head(&found.recording.key).await? else {
                return Ok(None);
            };
            index_object(&self.calls, &self.bucket, &found.recording.key, None).await?;
            found.is_archived = info.is_archived;
            found.recording.etag = info.etag;
        }
        Ok(Some(found))
    }

    /// Writes to the index what S3 says now of a recording that turned out to be overwritten, and finds the call's recording again.
    pub async fn find_overwritten(
        &self,
        id: &DispatchId,
        overwritten: &RecordingRef,
    ) -> Result<Option<CallRecording>, ResolveError> {
        index_object(&self.calls, &self.bucket, &overwritten.key, None).await?;
        self.find_version(id, Search::Bucket).await
    }
}

/// The copy of this recording of a call. `is_copying` was read before the recording.
fn copied(call: &Call, recording: &TwilioRecording, is_copying: bool) -> Result<Option<CallRecording>, ResolveError> {
    match (
        CallRecording::of_copy(call, recording),
        RecordingSid::parse(&recording.sid),
    ) {
        (None, Some(sid)) if recording.is_completed() => Err(ResolveError::NotCopied(NotCopied {
            sid,
            is_copying,
            failure: recording.copy_failure().cloned(),
        })),
        (found, _) => Ok(found),
    }
}

/// The copy of the first of a call's Twilio recordings that has one.
fn first_copy(call: &Call) -> Option<CallRecording> {
    let mut recordings = call.twilio.iter();
    recordings.find_map(|recording| CallRecording::of_copy(call, recording))
}

/// Asks S3 whether an object exists and writes the result to the index; see [`Calls::observe`].
pub async fn index_object(
    calls: &Calls,
    bucket: &RecordingsBucket,
    key: &str,
    sequencer: Option<&str>,
) -> Result<Observed, ResolveError> {
    index_egress(calls, bucket, key, sequencer, None).await
}

/// The same for the file of a LiveKit recording whose webhook supplied the phone number (empty if unknown) and the Unix time.
pub async fn index_egress(
    calls: &Calls,
    bucket: &RecordingsBucket,
    key: &str,
    sequencer: Option<&str>,
    egress_at: Option<(String, i64)>,
) -> Result<Observed, ResolveError> {
    if let Some((call_sid, sid)) = bucket.copy_of(key) {
        let found = bucket.head(key).await?;
        calls.observe_copy(&call_sid, &sid, key, found.as_ref()).await?;
        return Ok(match found {
            Some(_) => Observed::Present,
            None => Observed::Absent,
        });
    }
    if !key.starts_with(bucket.prefix()) {
        return Ok(Observed::OutsidePrefix);
    }
    let name = match bucket.name_of(key) {
        Ok(name) => name,
        Err(ignored) => return Ok(Observed::Ignored(ignored)),
    };
    let recording = RecordingKey {
        key: key.to_owned(),
        name,
        egress_at,
    };
    let head = || async { Ok::<_, ResolveError>(bucket.head(key).await?) };
    calls.observe(&recording, sequencer, head).await
}

impl ResolveError {
    /// Whether the table or the bucket did not answer at all, so that other requests would probably fail, too.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Calls(error) => error.is_outage(),
            Self::Bucket(error) => error.is_outage(),
            Self::NotCopied(_) | Self::TooManySearches(_) => false,
        }
    }
}

impl Calls {
    /// Whether a recording of the bucket belongs to an interaction without a known dispatch.
    async fn belongs_to_interaction(&self, key: &str) -> Result<bool, CallsError> {
        let id = item_id::object(key);
        let owner = self
            .load([id.as_str()])
            .await?
            .remove(&id)
            .and_then(|item| item.state.owner);
        Ok(owner.is_some_and(|owner| ItemKind::of(&owner) == ItemKind::Interaction))
    }

    /// What the index has of this number from `first` to `last`: the dispatch times, in Unix seconds, of the known dispatches other than
    /// `dispatch` itself, and the recordings with their times, in the order of these.
    async fn near_dispatch(
        &self,
        dispatch: &DispatchPattern,
        first: i64,
        last: i64,
    ) -> Result<(Vec<i64>, Vec<(i64, String)>), CallsError> {
        let (mut times, mut recordings) = (Vec::new(), Vec::new());
        for (id, unix) in self.near(&dispatch.phone, first, last).await? {
            match ItemKind::of(&id) {
                ItemKind::Dispatch if unix != dispatch.unix => times.push(unix),
                ItemKind::Object => recordings.push((unix, id)),
                _ => {}
            }
        }
        recordings.sort_unstable();
        Ok((times, recordings))
    }

    /// The row of the recording with this time, which is listed under the very id of a dispatch, since its name has this number and time and nobody
    /// has reported its call.
    async fn listed_at(&self, unix: i64, recordings: &[(i64, String)]) -> Result<Option<Call>, CallsError> {
        let Some((_, id)) = recordings.iter().find(|(time, _)| *time == unix) else {
            return Ok(None);
        };
        let row = self.load([id.as_str()]).await?.remove(id).and_then(|item| item.row());
        Ok(row.map(|(call, _)| call))
    }

    /// These recordings as the index knows them, without those that were deleted.
    async fn indexed(&self, recordings: &[(i64, String)]) -> Result<Vec<RecordingObject>, CallsError> {
        let mut items = self.load(recordings.iter().map(|(_, id)| id.as_str())).await?;
        let objects = recordings.iter().filter_map(|(unix, id)| {
            let object = items.remove(id)?.state.own.object.filter(|object| object.usable)?;
            Some(RecordingObject {
                key: item_id::name(id).to_owned(),
                size: object.size.unwrap_or_default(),
                etag: object.etag,
                unix: *unix,
                is_archived: object.archived,
            })
        });
        Ok(objects.collect())
    }
}

/// The recording of a dispatch among `candidates`, which are ordered by time. `others` are the times of the number's other known dispatches.
fn recording_of<'a>(dispatched: i64, others: &[i64], candidates: &'a [RecordingObject]) -> Option<&'a RecordingObject> {
    let mut dispatches: Vec<i64> = others.iter().copied().chain([dispatched]).collect();
    dispatches.sort_unstable();
    dispatches.dedup();
    let own = dispatches.binary_search(&dispatched).ok()?;
    let paired = pair(dispatches.len(), candidates.len(), |dispatch, candidate| {
        fit(&dispatches, dispatch, candidates[candidate].unix)
    });
    let found = paired.iter().position(|dispatch| *dispatch == Some(own))?;
    Some(&candidates[found])
}
