//! S3's events: a recording appeared in the bucket, or was deleted.
//!
//! An event only says which object to ask S3 about: what `HeadObject` answers is indexed. So events may come twice, late or in any order.

use serde::Deserialize;
use shared::{
    calls::{Calls, Observed, ResolveError, index_object},
    clients::{aws::Aws, bucket::RecordingsBucket},
    config::{ConfigError, Env},
};

/// What every event needs, made once.
pub struct State {
    calls: Calls,
    bucket: RecordingsBucket,
}

impl State {
    /// Reads the environment.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        Ok(Self {
            calls: Calls::from_env(env, &aws)?,
            bucket: RecordingsBucket::from_env(env, &aws).ok_or(ConfigError::Missing("RECORDINGS_BUCKET"))?,
        })
    }
}

/// `Object Created` or `Object Deleted`, as EventBridge delivers it:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html>
#[derive(Debug, Deserialize)]
pub struct Event {
    detail: Detail,
}

#[derive(Debug, Deserialize)]
struct Detail {
    bucket: EventBucket,
    object: EventObject,
}

#[derive(Debug, Deserialize)]
struct EventBucket {
    name: String,
}

#[derive(Debug, Deserialize)]
struct EventObject {
    key: String,
    /// Tells which of two events for one key is the newer.
    sequencer: Option<String>,
}

/// Indexes one object as it is now. An error makes Lambda deliver the event again, and set it aside after two more tries.
pub async fn handle(state: &State, event: Event) -> Result<(), ResolveError> {
    let Detail { bucket, object } = event.detail;
    if bucket.name != state.bucket.name() {
        tracing::warn!("event of another bucket");
        return Ok(());
    }
    let sequencer = object.sequencer.as_deref();
    let mut observed = index_object(&state.calls, &state.bucket, &object.key, sequencer).await?;
    if observed == Observed::NoRecording {
        // EventBridge has keys as they are; S3's own notifications, which somebody may pass on, have them encoded as in forms.
        let spaced = object.key.replace('+', " ");
        let key = percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy();
        observed = index_object(&state.calls, &state.bucket, &key, sequencer).await?;
    }
    tracing::info!(?observed, "object indexed");
    Ok(())
}
