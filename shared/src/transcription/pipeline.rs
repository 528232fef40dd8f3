//! What becomes of a recording:
//!
//! | what it is | what becomes of it |
//! | --- | --- |
//! | a short recording of one channel | streamed from where it is into the upload |
//! | a longer one | kept on disk and analyzed; sent as it is when it is under the API's limits and has no long silence |
//! | everything else: large, long, of two speakers, with long silence | decoded and sent in parts, see [`parts`](super::parts) |

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::{
    error::TranscribeError,
    media::{AudioFormat, Incoming, Origin, Spooled},
    source::RecordingSource,
};
use crate::{
    calls::Calls,
    clients::{
        aws::Aws,
        queue::{Queue, RecordingId},
        whisper::{Audio, Transcription, Whisper, WhisperError, WhisperOptions},
    },
    config::{ConfigError, Env},
    retry::{RetryBudget, backoff, with_budget, with_retries},
    split::{Analysis, Channels, LONGEST, Plan, SplitError, analyze},
    transcripts::{
        ClaimPolicy, ClaimResult, Failure, Lease, Speech, Transcript, TranscriptId, TranscriptState, Transcripts,
        TranscriptsError, Variant,
        usage::{Cost, Reserved, Usage},
    },
};

/// Tries of a download or of an upload that is not a part, the first included.
const ATTEMPTS: u32 = 3;
/// Retries of all parts of a recording together, within one invocation.
const RETRIES: u32 = 30;
/// A lease outlives its invocation by this, so that nobody takes over while the result is being written.
const LEASE_MARGIN: Duration = Duration::from_secs(2);
/// A recording of one channel up to this long is sent without having been looked through for silence: there is little to save.
const STREAMED: u64 = 120;
/// Seconds of long silence that a recording has to have for it to be sent in parts without, instead of as it is.
const WORTH_LEAVING_OUT: f64 = 10.0;
/// For the price of a recording whose length nobody knows, until it has been heard: speech is rarely packed tighter.
const LEAST_BYTES_PER_SECOND: f64 = 2000.0;
/// How long Twilio may take to have the media of a call that is over.
const MEDIA_LAG: Duration = Duration::from_secs(15 * 60);
/// Audio in one part.
const PART: Duration = Duration::from_secs(600);
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 20;

/// What it takes to transcribe.
pub struct Transcriber {
    /// The transcription API.
    pub whisper: Whisper,
    /// The table.
    pub transcripts: Transcripts,
    /// The queue.
    pub queue: Queue,
    /// What is spent, and the budget.
    pub usage: Usage,
    /// The index of calls, which shows what has a transcript.
    pub calls: Calls,
    pub(super) limits: PartLimits,
}

/// How recordings are sent in parts.
#[derive(Debug, Clone, Copy)]
pub struct PartLimits {
    /// The most audio in one part.
    pub length: Duration,
    /// Parts that are on their way at once.
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

/// How a try to transcribe under the lease ended.
#[derive(Debug)]
pub enum Outcome {
    /// With a transcript, new or stored (`true`).
    Completed(Box<Transcript>, bool),
    /// Someone else is at work, at most until then.
    Busy(Timestamp),
    /// It waits in the queue.
    Queued,
    /// Time ran out, perhaps after some parts (`true`); the lease is still held and must be given back.
    OutOfTime(Lease, bool),
    /// It failed, perhaps after some parts (`true`); the lease is still held and must be given back.
    Failed(Lease, Failure, bool),
}

/// What was heard, and what it took.
#[derive(Debug, Default)]
pub(super) struct Transcribed {
    pub(super) speech: Speech,
    pub(super) language: Option<String>,
    pub(super) audio_seconds: Option<f64>,
    pub(super) billed_seconds: u64,
    pub(super) dropped_segments: usize,
    pub(super) speakers: u8,
}

/// One try to transcribe.
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

    /// Whether the media may still be on its way to Twilio: the recording ended just now.
    fn is_recent(&self) -> bool {
        let length = Duration::from_secs(self.source.seconds.unwrap_or_default());
        let ended = self.source.created.map(|began| began + length);
        ended.is_some_and(|ended| Timestamp::now().duration_since(ended).unsigned_abs() < MEDIA_LAG)
    }

    /// Until when a call with so much audio may take: many times what is usual, so that one that hangs does not take all of an invocation.
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

    /// Reads the environment, for recordings that are cut with these limits.
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

    /// Reads the secrets ahead of the first request.
    pub async fn preload(&self) {
        self.whisper.preload().await;
    }

    /// Takes the lease and transcribes.
    pub async fn transcribe(
        &self,
        source: &RecordingSource<'_>,
        options: &WhisperOptions,
        policy: ClaimPolicy,
        deadline: Instant,
    ) -> Result<Outcome, TranscriptsError> {
        let id = TranscriptId::new(&source.recording, &Variant::of(options));
        let lease_end = Timestamp::now() + deadline.saturating_duration_since(Instant::now()) + LEASE_MARGIN;
        let lease = match self.transcripts.claim(&id, policy, lease_end).await? {
            ClaimResult::Granted(lease) => lease,
            ClaimResult::Refused(TranscriptState::Completed(transcript) | TranscriptState::Stale(transcript)) => {
                self.mark_in_index(source).await;
                return Ok(Outcome::Completed(transcript, true));
            }
            ClaimResult::Refused(TranscriptState::InProgress { until, .. }) => return Ok(Outcome::Busy(until)),
            ClaimResult::Refused(TranscriptState::Queued(_)) => return Ok(Outcome::Queued),
            // It ended between the refusal and its reading; the caller tries again.
            ClaimResult::Refused(TranscriptState::Failed(_) | TranscriptState::Absent) => {
                return Ok(Outcome::Busy(Timestamp::now()));
            }
        };
        let work = Work {
            source,
            options,
            deadline,
            retries: RetryBudget::new(RETRIES),
        };
        let (transcribed, added) = self.transcribe_audio(&lease, &work).await;
        let transcribed = match transcribed {
            Ok(transcribed) => transcribed,
            Err(error) => {
                tracing::warn!(%error, "not transcribed");
                return Ok(match error {
                    TranscribeError::LeaseLost => Outcome::Busy(Timestamp::now()),
                    error if error.is_timeout() => Outcome::OutOfTime(lease, added),
                    error => Outcome::Failed(lease, error.into(), added),
                });
            }
        };
        let model = work.model(self).to_owned();
        let transcript = Transcript {
            speech: transcribed.speech,
            language: transcribed.language,
            audio_seconds: transcribed.audio_seconds,
            billed_seconds: transcribed.billed_seconds,
            cost_usd: Cost::of(transcribed.billed_seconds as f64, self.whisper.price_per_minute(&model)).usd(),
            dropped_segments: transcribed.dropped_segments,
            speakers: transcribed.speakers,
            model,
            completed_at: Timestamp::now(),
            recording_duration: source.seconds,
            recording_created: source.created,
            call_sid: source.call_sid.clone(),
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match self.transcripts.complete(&lease, &transcript).await {
                Ok(true) => break,
                Ok(false) => {
                    tracing::warn!("the lease was lost; another transcript of this recording is stored");
                    break;
                }
                Err(error) if tries < ATTEMPTS => {
                    tracing::warn!(%error, "transcript not stored yet");
                    tokio::time::sleep(backoff(tries)).await;
                }
                // It is paid for: the caller gets it, though the next one will pay again.
                Err(error) => {
                    tracing::error!(%error, "transcript not stored");
                    return Ok(Outcome::Completed(Box::new(transcript), false));
                }
            }
        }
        self.mark_in_index(source).await;
        Ok(Outcome::Completed(Box::new(transcript), false))
    }

    /// Shows in the index that there is a transcript, which does not depend on it.
    async fn mark_in_index(&self, source: &RecordingSource<'_>) {
        let marked = match (&source.recording, &source.origin) {
            (RecordingId::Egress(id), Origin::Bucket { key, .. }) => self.calls.mark_egress_transcribed(id, key).await,
            (RecordingId::Egress(_), _) => Ok(()),
            (RecordingId::Twilio(sid), _) => {
                let call = source.call_sid.as_deref();
                self.calls.mark_twilio_transcribed(call.unwrap_or(sid.as_str())).await
            }
        };
        if let Err(error) = marked {
            tracing::warn!(%error, "the index does not show that the call has a transcript");
        }
    }

    /// The second value says whether parts were added to those stored.
    async fn transcribe_audio(&self, lease: &Lease, work: &Work<'_>) -> (Result<Transcribed, TranscribeError>, bool) {
        match self.transcribe_whole(work).await {
            Ok(Whole::Transcribed(transcribed)) => (Ok(transcribed), false),
            Ok(Whole::ForParts(file, channels)) => self.transcribe_in_parts(lease, work, file, channels).await,
            Err(error) => (Err(error), false),
        }
    }

    async fn transcribe_whole(&self, work: &Work<'_>) -> Result<Whole, TranscribeError> {
        let (source, deadline) = (work.source, work.deadline);
        let separate = source.channels > 1 && !work.options.mixed;
        let limits = self.whisper.limits(work.model(self));
        let too_long = |seconds| limits.longest.is_some_and(|limit| seconds > limit);
        // Whether the API may take the same recording decoded, or in smaller parts.
        let is_about_file = |error: &TranscribeError| match error {
            TranscribeError::Whisper(WhisperError::UnsupportedAudio(_)) => true,
            TranscribeError::Whisper(WhisperError::TooLarge | WhisperError::TooLong(_)) => {
                self.whisper.limits(work.model(self)) != limits
            }
            _ => false,
        };
        let mut refused = None;
        let short = source
            .seconds
            .filter(|seconds| *seconds <= STREAMED && !too_long(*seconds as f64));
        if let Some(seconds) = short.filter(|_| !separate) {
            let streamed = with_retries(ATTEMPTS, deadline, || self.stream(work, seconds as f64));
            match streamed.await {
                Ok(Some(transcribed)) => return Ok(Whole::Transcribed(transcribed)),
                Ok(None) => {}
                Err(error) if is_about_file(&error) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        let file = with_retries(ATTEMPTS, deadline, || async {
            let kept = async { Spooled::keep(source.origin.open(work.is_recent(), deadline).await?).await };
            timeout_at(deadline, kept)
                .await
                .unwrap_or(Err(TranscribeError::OutOfTime))
        });
        let file = file.await?;
        let known_too_long = source.seconds.is_some_and(|seconds| too_long(seconds as f64));
        let too_large = file.length > limits.bytes || known_too_long;
        let channels = if separate { Channels::Separate } else { Channels::Mixed };
        // Twilio says how many channels there are. What is in the bucket does not.
        let in_bucket = matches!(source.origin, Origin::Bucket { .. });
        if !in_bucket && (too_large || separate) {
            return Ok(Whole::ForParts(file, channels));
        }
        let analyzed = analyze_file(&file, channels, deadline).await?;
        let (decodable, was_refused) = (analyzed.is_ok(), refused.is_some());
        if let (Err(error), Some(refused)) = (&analyzed, refused) {
            tracing::info!(%error, "refused by the transcription API and not decodable here");
            return Err(refused);
        }
        let seconds = match analyzed {
            Ok(analysis) => {
                let two = separate && analysis.channels > 1 && !analysis.identical_channels;
                let silent = analysis.seconds - analysis.sent_seconds;
                if two {
                    return Ok(Whole::ForParts(file, Channels::Separate));
                }
                if too_large || silent > WORTH_LEAVING_OUT || too_long(analysis.seconds) || was_refused {
                    return Ok(Whole::ForParts(file, Channels::Mixed));
                }
                analysis.seconds
            }
            Err(error) if too_large => return Err(error.into()),
            // The API knows formats that are not known here.
            Err(error) => {
                tracing::info!(%error, "not looked through; sent as it is");
                let known = source.seconds.map(|seconds| seconds as f64);
                known.unwrap_or(file.length as f64 / LEAST_BYTES_PER_SECOND)
            }
        };
        let paid = self.pay(seconds, work, || {
            with_budget(&work.retries, ATTEMPTS, deadline, || self.send(work, &file, seconds))
        });
        match paid.await {
            Ok((heard, cost)) => Ok(Whole::Transcribed(Transcribed::of(heard, cost, seconds))),
            Err(error) if decodable && is_about_file(&error) => Ok(Whole::ForParts(file, Channels::Mixed)),
            Err(error) => Err(error),
        }
    }

    /// Streams the recording from where it is into the upload, once. `None` when its size is not known or over the limit.
    async fn stream(&self, work: &Work<'_>, seconds: f64) -> Result<Option<Transcribed>, TranscribeError> {
        let incoming = work.source.origin.open(work.is_recent(), work.deadline).await?;
        let most = self.whisper.limits(work.model(self)).bytes;
        let Some(length) = incoming.length.filter(|length| *length <= most) else {
            return Ok(None);
        };
        // An error of the download would look like one of the upload; it is kept here.
        let broken = Arc::new(Mutex::new(None));
        let Incoming { format, bytes, .. } = incoming;
        let audio = Audio {
            file_name: file_name(format),
            media_type: format.media_type,
            length,
            seconds,
            stream: noting(bytes, broken.clone()),
        };
        let paid = self.pay(seconds, work, || async {
            let heard = self
                .whisper
                .transcribe(audio, work.options, work.call_ends(seconds))
                .await;
            heard.map_err(
                |error| match broken.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    Some(download) => download,
                    None => TranscribeError::Whisper(error),
                },
            )
        });
        let (heard, cost) = paid.await?;
        Ok(Some(Transcribed::of(heard, cost, seconds)))
    }

    /// Sends a file of so many seconds as it is, once.
    pub(super) async fn send(
        &self,
        work: &Work<'_>,
        file: &Spooled,
        seconds: f64,
    ) -> Result<Transcription, TranscribeError> {
        let audio = Audio {
            file_name: file_name(file.format),
            media_type: file.format.media_type,
            length: file.length,
            seconds,
            stream: file.stream()?,
        };
        let heard = self
            .whisper
            .transcribe(audio, work.options, work.call_ends(seconds))
            .await;
        heard.map_err(TranscribeError::Whisper)
    }

    /// Makes a paid call of about so many seconds: counts its price first, and corrects it afterwards.
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
            Ok(heard) => {
                let cost = heard.duration.map_or(expected, |seconds| Cost::of(seconds, price));
                self.usage.settle(reservation, Some(cost)).await;
                Ok((heard, cost))
            }
            // The API may have done its work, and charged for it.
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

/// What splitting would make of a file. `None` when it can't be decoded here.
async fn analyze_file(
    file: &Spooled,
    channels: Channels,
    deadline: Instant,
) -> Result<Result<Analysis, SplitError>, TranscribeError> {
    let plan = Plan {
        longest: LONGEST,
        channels,
    };
    let handle = file.file.try_clone().map_err(TranscribeError::Disk)?;
    let extension = file.format.extension;
    let analyzing = spawn_blocking(move || analyze(handle, Some(extension), &plan));
    let analyzed = timeout_at(deadline, analyzing)
        .await
        .map_err(|_| TranscribeError::OutOfTime)?;
    match analyzed.map_err(|panic| TranscribeError::Disk(io::Error::other(panic)))? {
        Err(SplitError::Io(error)) => Err(TranscribeError::Disk(error)),
        analyzed => Ok(analyzed),
    }
}

/// What came of trying to send a recording whole.
enum Whole {
    Transcribed(Transcribed),
    /// It has to be sent in parts.
    ForParts(Spooled, Channels),
}

impl Transcribed {
    fn of(heard: Transcription, cost: Cost, seconds: f64) -> Self {
        let dropped_segments = heard.dropped.len();
        Self {
            speech: Speech {
                text: heard.text,
                segments: heard.segments,
                words: heard.words,
                dropped: heard.dropped,
            },
            language: heard.language,
            audio_seconds: heard.duration.or(Some(seconds)),
            billed_seconds: cost.seconds,
            dropped_segments,
            speakers: 0,
        }
    }
}

/// By its extension the API knows the format. The recording's own name could be a customer's number.
fn file_name(format: AudioFormat) -> String {
    format!("audio.{}", format.extension)
}

/// Notes the error that ends the download.
fn noting(
    download: impl Stream<Item = Result<Bytes, TranscribeError>> + Send + 'static,
    broken: Arc<Mutex<Option<TranscribeError>>>,
) -> impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static {
    download.map(move |chunk| {
        chunk.map_err(|error| {
            *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            io::Error::other("the download broke")
        })
    })
}

/// Seconds that a transcription is expected to take. The API hears some 20 seconds of speech in one; the parts of a long recording go side
/// by side, after it has been read.
pub fn estimated_seconds(recorded: Option<u64>) -> u64 {
    let recorded = recorded.unwrap_or_default();
    let part = PART.as_secs();
    match recorded <= part {
        true => 3 + recorded / 20,
        false => 3 + part / 20 + (recorded - part) / 200,
    }
}
