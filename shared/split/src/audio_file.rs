//! The file to split.

use std::{fs::File, sync::atomic::AtomicBool};

/// A recording file and its known metadata.
#[derive(Clone, Copy, Debug)]
pub struct AudioFile<'a> {
    /// The file. Its position is changed.
    pub file: &'a File,
    /// The extension of its name without a dot, as a hint to its format.
    pub extension: Option<&'a str>,
    /// The length according to the provider, which may be rounded to whole seconds.
    pub promised_seconds: Option<f64>,
    /// If another thread sets this to true, the call ends within one packet with [`SplitError::Cancelled`](crate::SplitError::Cancelled).
    pub cancelled: &'a AtomicBool,
}
