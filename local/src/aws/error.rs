//! The error of the services that store state in the data folder.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// The state of the local AWS could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the local AWS cannot {action} {}: {reason}", path.display())]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    reason: String,
}

impl Error {
    pub(super) fn new(action: &'static str, path: &Path, reason: impl fmt::Display) -> Self {
        Self {
            action,
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
