//! Which way a recording's audio takes to the transcription API.
//!
//! | the file | what becomes of it |
//! | --- | --- |
//! | within the API's limits: one channel, decoded to its end, at most two minutes or without long silence | sent as it is |
//! | within the limits, but damaged | sent as it is; in parts where the API does not decode more of it |
//! | within the limits, but not decodable here | sent as it is; the codec is named where the API refuses it |
//! | large, long, of two speakers, with long silence, of a format that changes on the way, or with a header that contradicts the bytes | decoded and sent in parts, see [`parts`](super::parts) |
//! | large and not decodable, or claiming more audio than its bytes can hold | refused |

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::time::{Instant, timeout_at};

use super::{
    error::TranscribeError,
    media::Spooled,
    voices,
    work::{Transcribed, Transcriber, Work, coverage, peaks},
};
use crate::{
    clients::whisper::{Limits, WhisperError},
    panics::blocking,
    retry::{with_budget, with_retries},
    split::{Analysis, AudioFile, Channels, LONGEST, Plan, SplitError, analyze},
    transcripts::{Coverage, Lease, Peaks, Speech},
};

/// Attempts of a download or of an upload that is not a part, the first included.
const ATTEMPTS: u32 = 3;
/// A recording of one channel up to this many seconds is sent with its silence: there is little to save.
const SHORT: u64 = 120;
/// Seconds of long silence from which a recording is sent in parts without it.
const WORTH_LEAVING_OUT: f64 = 10.0;
/// The price of a recording of unknown length is estimated with this: speech is rarely compressed more.
const LEAST_BYTES_PER_SECOND: f64 = 2000.0;
/// Less than this many seconds are refused by the API, which has a message of its own for them.
const SHORTEST: f64 = 0.1;
/// A server's duration may be rounded to whole seconds.
const ROUNDING: f64 = 1.0;

/// Cancels the blocking work of a request when the request ends, whatever the reason.
pub(super) struct CancelOnDrop(Arc<AtomicBool>);

impl CancelOnDrop {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

enum Route {
    Whole(Whole),
    Parts(Channels),
}

/// A file to send as it is.
struct Whole {
    seconds: f64,
    coverage: Option<Coverage>,
    peaks: Option<Peaks>,
    problem: Option<Problem>,
}

/// Why a file may be refused although the API takes its container.
enum Problem {
    /// Packets are damaged, so that not all of it was decoded here.
    Damage,
    /// There is no decoder here for this codec.
    Codec(String),
}

impl Transcriber {
    /// Downloads the recording and transcribes it whole or in parts. The second value says whether parts were added to those stored.
    pub(super) async fn transcribe_audio(
        &self,
        lease: &Lease,
        work: &Work<'_>,
    ) -> (Result<Transcribed, TranscribeError>, bool) {
        let prepared = async {
            let file = self.download(work).await?;
            let route = self.route(work, &file).await?;
            Ok((file, route))
        };
        let (file, route) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return (Err(error), false),
        };
        let whole = match route {
            Route::Parts(channels) => return self.transcribe_in_parts(lease, work, file, channels).await,
            Route::Whole(whole) => whole,
        };
        let limits = self.whisper.limits(work.model(self));
        let transcribed = self.transcribe_whole(work, &file, &whole).await;
        match (whole.problem, transcribed) {
            (Some(Problem::Damage), Ok(None) | Err(TranscribeError::Whisper(WhisperError::UnsupportedAudio(_)))) => {
                self.transcribe_in_parts(lease, work, file, Channels::Mixed).await
            }
            // The API may take the same recording decoded, or in smaller parts.
            (None, Err(error)) if whole.coverage.is_some() && self.is_about_file(&error, work, &limits) => {
                self.transcribe_in_parts(lease, work, file, Channels::Mixed).await
            }
            (Some(Problem::Codec(codec)), Err(TranscribeError::Whisper(WhisperError::UnsupportedAudio(_)))) => {
                (Err(TranscribeError::UnsupportedCodec(codec)), false)
            }
            (_, Ok(transcribed)) => (transcribed.ok_or(TranscribeError::NotAudio), false),
            (_, Err(error)) => (Err(error), false),
        }
    }

    /// Whether an error is about the file, and not about its words: its format, or a limit that was not known before.
    fn is_about_file(&self, error: &TranscribeError, work: &Work<'_>, limits: &Limits) -> bool {
        match error {
            TranscribeError::Whisper(WhisperError::UnsupportedAudio(_)) => true,
            TranscribeError::Whisper(WhisperError::TooLarge | WhisperError::TooLong(_)) => {
                self.whisper.limits(work.model(self)) != *limits
            }
            _ => false,
        }
    }

    async fn download(&self, work: &Work<'_>) -> Result<Spooled, TranscribeError> {
        let deadline = work.deadline;
        with_retries(ATTEMPTS, deadline, || async {
            let kept = async { Spooled::keep(work.source.origin.open(work.is_recent(), deadline).await?).await };
            timeout_at(deadline, kept)
                .await
                .unwrap_or(Err(TranscribeError::OutOfTime))
        })
        .await
    }

    async fn route(&self, work: &Work<'_>, file: &Spooled) -> Result<Route, TranscribeError> {
        let source = work.source;
        let separate = source.channels > 1 && !work.options.mixed;
        let channels = if separate { Channels::Separate } else { Channels::Mixed };
        let limits = self.whisper.limits(work.model(self));
        let too_long = |seconds| limits.longest.is_some_and(|limit| seconds > limit);
        let known_too_long = source.seconds.is_some_and(|seconds| too_long(seconds as f64));
        let fits = file.length <= limits.bytes && file.format.is_accepted() && !known_too_long;
        let analysis = match analyze_file(file, channels, work.promised_seconds(), work.deadline).await {
            Ok(analysis) => analysis,
            Err(error @ (TranscribeError::NotAudio | TranscribeError::UnsupportedCodec(_))) if fits => {
                tracing::info!(%error, "sent as it is");
                let known = source.seconds.map(|seconds| seconds as f64);
                return Ok(Route::Whole(Whole {
                    seconds: known.unwrap_or(file.length as f64 / LEAST_BYTES_PER_SECOND),
                    coverage: None,
                    peaks: None,
                    problem: match error {
                        TranscribeError::UnsupportedCodec(codec) => Some(Problem::Codec(codec)),
                        _ => None,
                    },
                }));
            }
            Err(error) => return Err(error),
        };
        if separate && analysis.channels > 1 && !analysis.identical_channels {
            return Ok(Route::Parts(Channels::Separate));
        }
        let damaged = !analysis.coverage.is_complete() && analysis.corrupt_packets > 0;
        let short = source.seconds.is_some_and(|seconds| seconds <= SHORT) && !separate;
        let silent = analysis.seconds - analysis.sent_seconds;
        let is_irregular = analysis.format_changes > 0 || file.has_wrong_header()?;
        let in_parts = !fits
            || too_long(analysis.seconds)
            || (is_irregular && analysis.seconds >= SHORTEST)
            || (silent > WORTH_LEAVING_OUT && !short && !damaged);
        if in_parts {
            return Ok(Route::Parts(Channels::Mixed));
        }
        Ok(Route::Whole(Whole {
            seconds: analysis.seconds,
            coverage: Some(coverage(&analysis)),
            peaks: Some(peaks(&analysis)),
            problem: damaged.then_some(Problem::Damage),
        }))
    }

    /// Sends a file as it is. `None` when it is damaged and the API decoded less of it than was decoded here.
    async fn transcribe_whole(
        &self,
        work: &Work<'_>,
        file: &Spooled,
        whole: &Whole,
    ) -> Result<Option<Transcribed>, TranscribeError> {
        let seconds = whole.seconds;
        let (transcription, cost) = self
            .pay(seconds, work, || {
                with_budget(&work.retries, ATTEMPTS, work.deadline, || {
                    self.send(work, file, seconds, &[])
                })
            })
            .await?;
        let by_api = transcription.duration;
        if let (Some(Problem::Damage), Some(by_api), Some(coverage)) = (&whole.problem, by_api, whole.coverage)
            && by_api + ROUNDING < coverage.decoded_seconds
        {
            return Ok(None);
        }
        let coverage = match (whole.coverage, by_api, work.promised_seconds()) {
            (Some(coverage), by_api, _) => Some(coverage.with(by_api.filter(|_| whole.problem.is_some()))),
            (None, Some(decoded_seconds), Some(promised)) => Some(Coverage {
                decoded_seconds,
                expected_seconds: Some((promised - ROUNDING).max(0.0)),
            }),
            (None, ..) => None,
        };
        let dropped_segments = transcription.dropped.len();
        let mut segments = transcription.segments;
        let voices = match work.options.mixed {
            true => {
                voices::forget(&mut segments);
                0
            }
            false => voices::name_all(&mut segments),
        };
        Ok(Some(Transcribed {
            speech: Speech {
                text: transcription.text,
                segments,
                words: transcription.words,
                dropped: transcription.dropped,
            },
            language: transcription.language,
            audio_seconds: by_api.or(Some(seconds)),
            billed_seconds: cost.seconds,
            dropped_segments,
            speakers: voices.try_into().unwrap_or(u8::MAX),
            coverage,
            peaks: whole.peaks.clone(),
        }))
    }
}

/// The analysis of a file: its length, its channels, and the parts that splitting would make.
pub(super) async fn analyze_file(
    file: &Spooled,
    channels: Channels,
    promised_seconds: Option<f64>,
    deadline: Instant,
) -> Result<Analysis, TranscribeError> {
    let handle = file.file.try_clone().map_err(TranscribeError::Disk)?;
    Ok(analyze_audio(handle, file.format.extension, channels, promised_seconds, deadline).await?)
}

/// The analysis of audio. If it does not end before `deadline`, it is cancelled.
pub(crate) async fn analyze_audio(
    file: File,
    extension: &'static str,
    channels: Channels,
    promised_seconds: Option<f64>,
    deadline: Instant,
) -> Result<Analysis, SplitError> {
    let plan = Plan {
        longest: LONGEST,
        longest_span: None,
        channels,
    };
    let cancel = CancelOnDrop::new();
    let cancelled = cancel.flag();
    let analyzing = blocking(move || {
        let recording = AudioFile {
            file: &file,
            extension: Some(extension),
            promised_seconds,
            cancelled: &cancelled,
        };
        analyze(&recording, &plan)
    });
    let analyzed = timeout_at(deadline, analyzing).await;
    let analyzed = analyzed.map_err(|_| SplitError::Cancelled)?;
    analyzed.map_err(|panicked| SplitError::Io(panicked.into()))?
}
