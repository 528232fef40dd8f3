//! What one attempt to transcribe has, and its paid calls.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    error::TranscribeError,
    media::{AudioFormat, Spooled},
    source::RecordingSource,
};
use crate::{
    calls::Calls,
    clients::{
        aws::Aws,
        queue::Queue,
        whisper::{Audio, KnownSpeaker, Transcription, Whisper, WhisperError, WhisperOptions},
    },
    config::{ConfigError, Env},
    metrics::{self, Metric},
    retry::RetryBudget,
    split::Analysis,
    transcripts::{
        Coverage, Peaks, Speech, Transcripts,
        usage::{Cost, Reserved, Usage},
    },
};

/// How long after a call's end its media may still be missing at Twilio.
const MEDIA_LAG: Duration = Duration::from_secs(15 * 60);
/// The default maximum length of a part.
pub(super) const PART: Duration = Duration::from_secs(600);
/// The default maximum number of concurrent parts.
const PARTS_AT_ONCE: usize = 20;

/// The clients and tables for transcribing.
pub struct Transcriber {
    /// The transcription API.
    pub whisper: Whisper,
    /// The transcripts table.
    pub transcripts: Transcripts,
    /// The transcription queue.
    pub queue: Queue,
    /// The usage counters and the monthly budget.
    pub usage: Usage,
    /// The index of calls, in which transcribed recordings are marked.
    pub calls: Calls,
    pub(super) limits: PartLimits,
}

/// The limits for splitting recordings into parts.
#[derive(Debug, Clone, Copy)]
pub struct PartLimits {
    /// The maximum length of a part.
    pub length: Duration,
    /// The maximum number of concurrent parts.
    pub at_once: usize,
}

impl Default for PartLimits {
    fn default() -> Self {
        Self {
            length: PART,
            at_once: PARTS_AT_ONCE,
        }
    }
}

/// What was transcribed, and what it took.
#[derive(Debug, Default)]
pub(super) struct Transcribed {
    pub(super) speech: Speech,
    pub(super) language: Option<String>,
    pub(super) audio_seconds: Option<f64>,
    pub(super) billed_seconds: u64,
    pub(super) dropped_segments: usize,
    pub(super) speakers: u8,
    pub(super) coverage: Option<Coverage>,
    pub(super) peaks: Option<Peaks>,
}

/// How much of the recording an analysis decoded, to the hundredth of a second.
pub(super) fn coverage(analysis: &Analysis) -> Coverage {
    let round = |seconds: f64| (seconds * 100.0).round() / 100.0;
    Coverage {
        decoded_seconds: round(analysis.coverage.decoded_seconds),
        expected_seconds: analysis.coverage.expected_seconds.map(round),
    }
}

/// The outline of the waveform that an analysis found.
pub(super) fn peaks(analysis: &Analysis) -> Peaks {
    Peaks {
        seconds_per_point: analysis.peaks.seconds_per_point,
        channels: analysis.peaks.channels.clone(),
    }
}

/// The inputs of one attempt to transcribe.
pub(super) struct Work<'a> {
    pub(super) source: &'a RecordingSource<'a>,
    pub(super) options: &'a WhisperOptions,
    pub(super) deadline: Instant,
    pub(super) retries: RetryBudget,
}

impl Work<'_> {
    pub(super) fn model<'a>(&'a self, transcriber: &'a Transcriber) -> &'a str {
        self.options.model.as_deref().unwrap_or(transcriber.whisper.model())
    }

    /// Whether voices on one channel are told apart.
    pub(super) fn tells_voices_apart(&self, transcriber: &Transcriber) -> bool {
        !self.options.mixed && transcriber.whisper.is_diarizing(self.model(transcriber))
    }

    /// Whether the recording has just ended, so that Twilio may not have its media yet.
    pub(super) fn is_recent(&self) -> bool {
        let length = Duration::from_secs(self.source.seconds.unwrap_or_default());
        let ended = self.source.created.map(|began| began + length);
        ended.is_some_and(|ended| Timestamp::now().duration_since(ended).unsigned_abs() < MEDIA_LAG)
    }

    /// The length that Twilio states for the recording. What an interaction reports is the length of the call, which may be longer.
    pub(super) fn promised_seconds(&self) -> Option<f64> {
        let stated = self.source.audio.is_of_twilio();
        self.source.seconds.filter(|_| stated).map(|seconds| seconds as f64)
    }

    /// The deadline of an API call with this many seconds of audio. It is many times the usual duration, so that a call that hangs does not use
    /// up the whole invocation.
    fn call_ends(&self, seconds: f64) -> Instant {
        let longest = Duration::from_secs_f64(60.0 + seconds / 2.0);
        self.deadline.min(Instant::now() + longest)
    }
}

impl Transcriber {
    /// Reads the environment.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Self::new(env, aws, PartLimits::default())
    }

    /// The same with these limits for splitting recordings into parts.
    pub fn new(env: &Env, aws: &Aws, limits: PartLimits) -> Result<Self, ConfigError> {
        Ok(Self {
            whisper: Whisper::from_env(env, aws)?,
            transcripts: Transcripts::from_env(env, aws)?,
            queue: Queue::from_env(env, aws)?,
            usage: Usage::from_env(env, aws)?,
            calls: Calls::from_env(env, aws)?,
            limits,
        })
    }

    /// Reads the secrets before the first request.
    pub async fn preload(&self) {
        self.whisper.preload().await;
    }

    /// Uploads a file of this many seconds once, without retrying.
    pub(super) async fn send(
        &self,
        work: &Work<'_>,
        file: &Spooled,
        seconds: f64,
        known: &[KnownSpeaker],
    ) -> Result<Transcription, TranscribeError> {
        let audio = Audio {
            file_name: file_name(file.format),
            media_type: file.format.media_type,
            length: file.length,
            seconds,
            stream: file.stream()?,
        };
        let transcribed = self
            .whisper
            .transcribe(audio, work.options, known, work.call_ends(seconds))
            .await;
        transcribed.map_err(TranscribeError::Whisper)
    }

    /// Makes a paid call for about this many seconds: reserves its price first, and corrects the price afterwards.
    pub(super) async fn pay<F: Future<Output = Result<Transcription, TranscribeError>>>(
        &self,
        seconds: f64,
        work: &Work<'_>,
        call: impl FnOnce() -> F,
    ) -> Result<(Transcription, Cost), TranscribeError> {
        let price = self.whisper.price_per_minute(work.model(self));
        let expected = Cost::of(seconds, price);
        let reservation = match self.usage.reserve(expected).await.map_err(TranscribeError::Table)? {
            Reserved::Granted(reservation) => reservation,
            Reserved::OverBudget => return Err(TranscribeError::OverBudget),
        };
        match call().await {
            Ok(transcription) => {
                let cost = transcription
                    .duration
                    .map_or(expected, |seconds| Cost::of(seconds, price));
                self.usage.settle(reservation, Some(cost)).await;
                metrics::add(Metric::DroppedSegments, transcription.dropped.len() as f64);
                Ok((transcription, cost))
            }
            // The API may have transcribed the audio and charged for it.
            Err(error @ TranscribeError::Whisper(WhisperError::Timeout | WhisperError::Unexpected(_))) => {
                self.usage.settle(reservation, Some(expected)).await;
                Err(error)
            }
            Err(error) => {
                self.usage.settle(reservation, None).await;
                Err(error)
            }
        }
    }
}

/// The file name of the upload. The API detects the format by the extension. The recording's own name may contain a customer's number.
fn file_name(format: AudioFormat) -> String {
    format!("audio.{}", format.extension)
}
