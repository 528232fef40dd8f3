//! Transcribes a long recording in parts: it is cut while it is read, the parts are transcribed concurrently, each part is stored, and the
//! results are joined by time.
//!
//! Each part is stored immediately after it is transcribed. A worker that continues the job cuts the recording again, which yields the same
//! parts, and pays only for the parts that are not stored.

use std::{
    collections::BTreeMap,
    io::{self, Seek, Write},
    ops::ControlFlow,
    sync::OnceLock,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    error::TranscribeError,
    media::{AudioFormat, Spooled},
    speakers::turns,
    voices,
    whole::CancelOnDrop,
    work::{Transcribed, Transcriber, Work, coverage, peaks},
};
use crate::{
    clients::whisper::{Dropped, KnownSpeaker, Segment, Transcription, WhisperError, Word},
    panics::blocking,
    retry::with_budget,
    split::{Analysis, AudioFile, Channels, Part, Plan, SplitError, split},
    transcripts::{Lease, Progress, Speech, StoredPart},
};

/// How often a recording is cut, at most, for an API that is found to take less each time.
const CUTS: u32 = 5;
/// The maximum number of attempts for a part.
const ATTEMPTS: u32 = 5;
const FLAC: AudioFormat = AudioFormat {
    extension: "flac",
    media_type: "audio/flac",
};

/// A part whose audio is in a file on disk; `part.audio` is empty.
struct CutPart {
    part: Part,
    file: Spooled,
}

impl CutPart {
    fn keep(part: Part) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&part.audio)?;
        file.rewind()?;
        let length = part.audio.len() as u64;
        Ok(Self {
            part: Part {
                audio: bytes::Bytes::new(),
                ..part
            },
            file: Spooled {
                file,
                length,
                format: FLAC,
            },
        })
    }
}

/// A transcribed part, and whether it was added to the stored parts.
struct TranscribedPart {
    channel: u8,
    index: u32,
    stored: StoredPart,
    added: bool,
}

impl Transcriber {
    /// Transcribes a file on disk part by part, and again in smaller parts when the API is found to take less at once. The second value says
    /// whether at least one part was added to those stored.
    pub(super) async fn transcribe_in_parts(
        &self,
        lease: &Lease,
        work: &Work<'_>,
        file: Spooled,
        channels: Channels,
    ) -> (Result<Transcribed, TranscribeError>, bool) {
        let mut any_added = false;
        for _ in 0..CUTS {
            let again = match file.try_clone() {
                Ok(again) => again,
                Err(error) => return (Err(TranscribeError::Disk(error)), any_added),
            };
            let (result, added) = self.transcribe_parts(lease, work, again, channels).await;
            any_added |= added;
            if !matches!(result, Err(TranscribeError::LimitsLearned)) {
                return (result, any_added);
            }
        }
        (Err(TranscribeError::LimitsLearned), any_added)
    }

    /// The parts that the API is known to take by now.
    fn plan(&self, work: &Work<'_>, channels: Channels) -> Plan {
        let limits = self.whisper.limits(work.model(self));
        Plan {
            longest: Duration::from_secs_f64(limits.longest_part()).min(self.limits.length),
            longest_span: (channels == Channels::Separate && !limits.times).then_some(TURN),
            channels,
        }
    }

    async fn transcribe_parts(
        &self,
        lease: &Lease,
        work: &Work<'_>,
        file: Spooled,
        channels: Channels,
    ) -> (Result<Transcribed, TranscribeError>, bool) {
        let plan = self.plan(work, channels);
        let (cut, mut parts) = mpsc::channel(1);
        let cancel = CancelOnDrop::new();
        let (cancelled, promised_seconds) = (cancel.flag(), work.promised_seconds());
        let splitting = blocking(move || {
            let recording = AudioFile {
                file: &file.file,
                extension: Some(file.format.extension),
                promised_seconds,
                cancelled: &cancelled,
            };
            cut_parts(&recording, &plan, &cut)
        });

        let mut progress = Progress {
            parts_done: 0,
            parts_total: 0,
            seconds_done: 0.0,
            seconds_total: work.source.seconds.map(|seconds| match channels {
                Channels::Mixed => seconds as f64,
                Channels::Separate => (seconds * u64::from(work.source.channels)) as f64,
            }),
        };
        // The voices of the first part, if voices are told apart. Later parts wait for them.
        let tells_voices_apart = channels == Channels::Mixed && work.tells_voices_apart(self);
        let voices = tells_voices_apart.then(OnceLock::new);
        let mut running = FuturesUnordered::new();
        let mut transcribed: Vec<TranscribedPart> = Vec::new();
        let (mut failure, mut all_cut) = (None, false);
        loop {
            let cutting = !all_cut && failure.is_none();
            let may_begin = progress.parts_total == 0 || voices.as_ref().is_none_or(|voices| voices.get().is_some());
            tokio::select! {
                part = parts.recv(), if cutting && may_begin && running.len() < self.limits.at_once => match part {
                    Some(Ok(part)) => {
                        progress.parts_total += 1;
                        running.push(self.transcribe_part(lease, work, &plan, part, voices.as_ref()));
                    }
                    Some(Err(error)) => failure = Some(TranscribeError::Disk(error)),
                    None => all_cut = true,
                },
                () = sleep_until(work.deadline), if cutting => failure = Some(TranscribeError::OutOfTime),
                Some(part) = running.next(), if !running.is_empty() => match part {
                    Ok(part) => {
                        progress.parts_done += 1;
                        progress.seconds_done += part.stored.end - part.stored.start;
                        transcribed.push(part);
                        if let Err(error) = self.save_progress_or_stop(lease, &progress).await {
                            failure = failure.or(Some(error));
                        }
                    }
                    // Parts in progress are finished and stored; no new part is begun.
                    Err(error) => failure = failure.or(Some(error)),
                },
                else => break,
            }
        }
        let added = transcribed.iter().any(|part| part.added);
        if let Some(failure) = failure {
            return (Err(failure), added);
        }
        let analysis = match splitting.await {
            Ok(Ok(analysis)) => analysis,
            Ok(Err(error)) => return (Err(error.into()), added),
            Err(panicked) => return (Err(TranscribeError::Disk(panicked.into())), added),
        };
        (Ok(joined(transcribed, &analysis, channels)), added)
    }

    async fn save_progress_or_stop(&self, lease: &Lease, progress: &Progress) -> Result<(), TranscribeError> {
        match self.transcripts.save_progress(lease, progress).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(TranscribeError::LeaseLost),
            Err(error) => {
                tracing::warn!(%error, "progress not noted");
                Ok(())
            }
        }
    }

    async fn transcribe_part(
        &self,
        lease: &Lease,
        work: &Work<'_>,
        plan: &Plan,
        cut: CutPart,
        voices: Option<&OnceLock<Vec<KnownSpeaker>>>,
    ) -> Result<TranscribedPart, TranscribeError> {
        let CutPart { part, file } = cut;
        let known_voices = voices.and_then(OnceLock::get).map(Vec::as_slice).unwrap_or_default();
        let known = self.transcripts.part(lease, part.channel, part.index).await;
        let known = known.map_err(TranscribeError::Table)?;
        let done = |stored, added| TranscribedPart {
            channel: part.channel,
            index: part.index,
            stored,
            added,
        };
        if let Some(stored) = known
            && (stored.start, stored.end) == (part.start, part.end)
        {
            if let (Some(voices), 0) = (voices, part.index) {
                let _ = voices.set(voices::references(&stored, &part, &file).await);
            }
            return Ok(done(stored, false));
        }
        if Instant::now() + time_for(part.seconds) > work.deadline {
            return Err(TranscribeError::OutOfTime);
        }
        let takes_parts = || {
            let known = self.plan(work, plan.channels);
            known.longest >= plan.longest && known.longest_span == plan.longest_span
        };
        let paid = self.pay(part.seconds, work, || {
            with_budget(&work.retries, ATTEMPTS, work.deadline, || async {
                match takes_parts() {
                    true => self.send(work, &file, part.seconds, known_voices).await,
                    false => Err(TranscribeError::LimitsLearned),
                }
            })
        });
        let (transcription, cost) = match paid.await {
            Err(TranscribeError::Whisper(WhisperError::TooShort)) => Default::default(),
            Err(TranscribeError::Whisper(WhisperError::TooLarge | WhisperError::TooLong(_))) if !takes_parts() => {
                return Err(TranscribeError::LimitsLearned);
            }
            paid => paid?,
        };
        // The server accepted the format, but its response has no timestamps: the order of the turns would be lost.
        if part.end - part.start > TURN.as_secs_f64() && !takes_parts() && transcription.is_without_times() {
            return Err(TranscribeError::LimitsLearned);
        }
        let mut stored = StoredPart {
            start: part.start,
            end: part.end,
            billed_seconds: cost.seconds,
            language: transcription.language.clone(),
            dropped_segments: transcription.dropped.len(),
            speech: placed(transcription, &part),
        };
        let segments = &mut stored.speech.segments;
        match (voices, part.index) {
            (None, _) => voices::forget(segments),
            (Some(voices), 0) => {
                voices::name_all(segments);
                let _ = voices.set(voices::references(&stored, &part, &file).await);
            }
            (Some(_), _) => voices::mark_unknown(segments, known_voices),
        }
        // The part is paid for, so its text is used in the transcript even if it can't be stored.
        let kept = self
            .transcripts
            .put_part(lease, part.channel, part.index, &stored)
            .await;
        if let Err(error) = &kept {
            tracing::error!(%error, "part not stored");
        }
        Ok(done(stored, kept.is_ok()))
    }
}

/// The maximum stretch of the recording in a part if the model returns no timestamps and the channels are separate. Only the position of a part is then known, and
/// short parts preserve the order of a conversation.
const TURN: Duration = Duration::from_secs(30);

/// The time that the API usually takes for this many seconds. A part is not begun if less time is left.
fn time_for(seconds: f64) -> Duration {
    Duration::from_secs_f64(3.0 + seconds / 20.0)
}

fn cut_parts(
    recording: &AudioFile<'_>,
    plan: &Plan,
    cut: &mpsc::Sender<io::Result<CutPart>>,
) -> Result<Analysis, SplitError> {
    split(recording, plan, &mut |part| {
        let kept = CutPart::keep(part);
        let failed = kept.is_err();
        match cut.blocking_send(kept) {
            Ok(()) if !failed => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    })
}

/// The text of a part, with timestamps relative to the start of the recording.
fn placed(transcription: Transcription, part: &Part) -> Speech {
    // Rounded to milliseconds, because further digits are noise.
    let at = |seconds| (part.recording_time(seconds) * 1000.0).round() / 1000.0;
    let mut speech = Speech {
        text: transcription.text,
        segments: transcription.segments,
        words: transcription.words,
        dropped: transcription.dropped,
    };
    for segment in &mut speech.segments {
        (segment.start, segment.end) = (at(segment.start), at(segment.end));
    }
    for word in &mut speech.words {
        (word.start, word.end) = (at(word.start), at(word.end));
    }
    for dropped in &mut speech.dropped {
        (dropped.start, dropped.end) = (at(dropped.start), at(dropped.end));
    }
    if speech.segments.is_empty() && !speech.text.is_empty() {
        speech.segments.push(Segment {
            start: part.start,
            end: part.end,
            text: speech.text.clone(),
            channel: None,
            speaker: None,
            unsure: false,
        });
    }
    speech
}

/// Joins all parts to one transcript: the parts of each channel in order, and the segments of the channels by time.
fn joined(mut parts: Vec<TranscribedPart>, analysis: &Analysis, channels: Channels) -> Transcribed {
    parts.sort_by_key(|part| (part.channel, part.index));
    let are_separate = channels == Channels::Separate && analysis.channels > 1 && !analysis.identical_channels;
    let speakers = if are_separate { analysis.channels } else { 0 };
    let mut joined = Transcribed {
        audio_seconds: Some(analysis.seconds),
        speakers,
        coverage: Some(coverage(analysis)),
        peaks: Some(peaks(analysis)),
        ..Transcribed::default()
    };
    if !are_separate {
        joined.speakers = voices::number_unknown(parts.iter_mut().map(|part| &mut part.stored));
    }
    let mut texts: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for part in parts {
        let channel = (speakers > 0).then_some(part.channel);
        let stored = part.stored;
        joined.billed_seconds = joined.billed_seconds.saturating_add(stored.billed_seconds);
        joined.dropped_segments += stored.dropped_segments;
        joined.language = joined.language.or(stored.language);
        if !stored.speech.text.is_empty() {
            texts.entry(part.channel).or_default().push(stored.speech.text);
        }
        let segments = stored.speech.segments.into_iter();
        joined
            .speech
            .segments
            .extend(segments.map(|segment| Segment { channel, ..segment }));
        let words = stored.speech.words.into_iter();
        joined.speech.words.extend(words.map(|word| Word { channel, ..word }));
        let dropped = stored.speech.dropped.into_iter();
        joined
            .speech
            .dropped
            .extend(dropped.map(|dropped| Dropped { channel, ..dropped }));
    }
    // The sort is stable: segments with the same start stay in the order of their channels.
    joined.speech.segments.sort_by(|a, b| a.start.total_cmp(&b.start));
    joined.speech.words.sort_by(|a, b| a.start.total_cmp(&b.start));
    joined.speech.dropped.sort_by(|a, b| a.start.total_cmp(&b.start));
    joined.speech.text = match speakers {
        0 => texts.into_values().flatten().collect::<Vec<_>>().join(" "),
        _ => {
            let turns = turns(&joined.speech.segments);
            turns.into_iter().map(|turn| turn.text).collect::<Vec<_>>().join("\n")
        }
    };
    joined
}
