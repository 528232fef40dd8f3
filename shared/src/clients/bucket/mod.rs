//! The S3 bucket that LiveKit egress writes recordings to, and into which Twilio's recordings are copied.

mod erase;
mod objects;
mod upload;

pub use erase::{Locked, ObjectVersion};
pub(super) use objects::requester_pays;
pub use objects::{BucketError, KeyPage, ListedRecording, ObjectInfo, RecordingObject, RecordingRef, RecordingsBucket};
pub(crate) use upload::checksum_text;
pub use upload::{Completed, CopiedObject, PART_BYTES, UploadedPart, Uploading};
