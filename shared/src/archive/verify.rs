//! Decodes a recording that was received, to know that it is whole.

use std::fs::File;

use tokio::time::Instant;

use super::error::CopyError;
use crate::{
    clients::twilio::TwilioError,
    split::{Analysis, Channels, SplitError},
    transcription::analyze_audio,
};

/// A greater difference to the length that Twilio states is an error.
const TOLERANCE: f64 = 0.02;
/// Up to this many seconds can be due to rounding.
const SLACK: f64 = 1.5;

/// Decodes the file, and compares its length with what Twilio states.
pub(super) async fn verify(
    file: File,
    extension: &'static str,
    stated_seconds: Option<u64>,
    deadline: Instant,
) -> Result<Analysis, CopyError> {
    let stated_seconds = stated_seconds.map(|seconds| seconds as f64);
    let analysis = match analyze_audio(file, extension, Channels::Mixed, stated_seconds, deadline).await {
        Ok(analysis) => analysis,
        Err(SplitError::Io(error)) => return Err(error.into()),
        Err(SplitError::Cancelled) => return Err(TwilioError::Timeout.into()),
        // What was received may be an error page or half of a file, so it is requested again.
        Err(error) => {
            return Err(CopyError::transient(
                "copy_not_audio",
                format!("{error}, so it was not stored"),
            ));
        }
    };
    let received = analysis.coverage.decoded_seconds;
    let differs = |stated: f64| (received - stated).abs() > SLACK.max(stated * TOLERANCE);
    match stated_seconds {
        Some(stated) if differs(stated) => Err(CopyError::transient(
            "copy_incomplete",
            format!("Twilio states {stated} s and sent {received:.1} s, so the copy was not stored"),
        )),
        _ if !analysis.coverage.is_complete() => Err(CopyError::transient(
            "copy_incomplete",
            format!("Only {received:.1} s of the recording can be decoded, so the copy was not stored"),
        )),
        _ => Ok(analysis),
    }
}
