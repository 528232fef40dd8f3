//! Transcribes a recording under a lease, for a request or for the worker. This module does not depend on HTTP.

mod adopt;
mod enqueue;
mod error;
mod media;
mod parts;
mod pipeline;
mod source;
mod speakers;
mod vocabulary;
mod voices;
mod waveform;
mod whole;
mod work;

pub use adopt::{AdoptError, first_transcript_state, transcript_state};
pub use enqueue::{AutoTranscribe, EnqueueError, LostJobs, QUEUED_VALID, enqueue};
pub use error::OVERWRITTEN;
pub use media::Origin;
pub use pipeline::{PipelineOutcome, estimated_seconds};
pub use source::{RecordingSource, not_ready};
pub use speakers::{SpeakerNames, turns};
pub use vocabulary::{MAX_PROMPT, Vocabulary};
pub use waveform::waveform;
pub(crate) use whole::analyze_audio;
pub use work::{PartLimits, Transcriber};
