//! The waveform of a recording that is not transcribed, for a player.

use tokio::time::{Instant, timeout_at};

use super::{error::TranscribeError, media::Spooled, source::RecordingSource, whole::analyze_file, work::peaks};
use crate::{
    clients::bucket::BucketError,
    retry::with_retries,
    split::Channels,
    transcripts::{Failure, Peaks, Transcripts},
};

/// Attempts to download the recording.
const ATTEMPTS: u32 = 3;

/// The waveform of a recording: the stored one, or else one that is decoded now and stored.
pub async fn waveform(
    transcripts: &Transcripts,
    source: &RecordingSource<'_>,
    deadline: Instant,
) -> Result<Peaks, Failure> {
    let stored = transcripts.waveform(&source.audio).await;
    if let Some(stored) = stored.map_err(TranscribeError::Table)? {
        return Ok(stored);
    }
    let drawn = draw(source, deadline).await?;
    if let Err(error) = transcripts.put_waveform(&source.audio, &drawn).await {
        tracing::warn!(%error, "the waveform is not stored; the next request decodes the recording again");
    }
    Ok(drawn)
}

async fn draw(source: &RecordingSource<'_>, deadline: Instant) -> Result<Peaks, TranscribeError> {
    let file = with_retries(ATTEMPTS, deadline, || async {
        let kept = async { Spooled::keep(source.origin.open(false, deadline).await?).await };
        timeout_at(deadline, kept)
            .await
            // The bucket is slow: decoding has not even begun.
            .unwrap_or_else(|_| {
                Err(TranscribeError::Bucket(BucketError::Unavailable(
                    "the download took too long".into(),
                )))
            })
    })
    .await?;
    let analysis = analyze_file(&file, Channels::Separate, None, deadline).await?;
    Ok(peaks(&analysis))
}
