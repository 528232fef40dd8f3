//! S3's events: a recording appeared in the bucket, or was deleted.
//!
//! An event is only the occasion to look: what the bucket says then is what the index gets. So events may come twice, late or in any order.

use serde::Deserialize;
use shared::{clients::{aws::Aws, bucket::Egress}, calls::{Calls, Observed, resolve::{ResolveError, observe}}, config::{ConfigError, Env}};

/// What every event needs, made once.
pub struct State {
    calls: Calls,
    egress: Egress,
}

impl State {
    /// Reads the environment.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        Ok(Self {
            calls: Calls::from_env(env, &aws)?,
            egress: Egress::from_env(env, &aws).ok_or(ConfigError::Missing("RECORDINGS_BUCKET"))?,
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
    bucket: Bucket,
    object: Object,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Object {
    key: String,
    /// Tells which of two events for one key is the newer.
    sequencer: Option<String>,
}

/// Takes down what became of one object. An error makes Lambda deliver the event again, and set it aside after two more tries.
pub async fn handle(state: &State, event: Event) -> Result<(), ResolveError> {
    let Detail { bucket, object } = event.detail;
    if bucket.name != state.egress.bucket() {
        tracing::warn!("event of another bucket");
        return Ok(());
    }
    let sequencer = object.sequencer.as_deref();
    let mut observed = observe(&state.calls, &state.egress, &object.key, sequencer).await?;
    if observed == Observed::NoRecording {
        // EventBridge has keys as they are; S3's own notifications, which somebody may pass on, have them encoded as in forms.
        let spaced = object.key.replace('+', " ");
        let key = percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy();
        observed = observe(&state.calls, &state.egress, &key, sequencer).await?;
    }
    tracing::info!(?observed, "object looked at");
    Ok(())
}
