//! Copies Twilio's recordings into the bucket, and deletes them at Twilio afterwards if the deployment wants that.

mod archiver;
mod error;
mod queue;
mod settings;
mod transfer;
mod verify;

pub use archiver::{Archiver, Copied};
pub use error::CopyError;
pub use queue::CopyQueue;
pub use settings::{ArchiveMode, ArchiveSettings};
