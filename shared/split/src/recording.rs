//! The file to split.

use std::{fs::File, sync::atomic::AtomicBool};

/// A recording file and what its caller knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Recording<'a> {
    /// The file. Its position is moved.
    pub file: &'a File,
    /// Extension of its name, without a dot: a hint to its format.
    pub extension: Option<&'a str>,
    /// Length by the provider's account, which may be rounded to whole seconds.
    pub promised_seconds: Option<f64>,
    /// Set to true from another thread, it ends the call within a packet with [`SplitError::Cancelled`](crate::SplitError::Cancelled).
    pub cancelled: &'a AtomicBool,
}
