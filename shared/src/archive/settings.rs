//! What the deployment wants to be copied.

use jiff::SignedDuration;

use crate::{
    clients::twilio::MediaFormat,
    config::{ConfigError, Env},
};

/// The maximum of `MOVE_AFTER_HOURS`: a year.
const LONGEST: i64 = 8760;

/// What becomes of a Twilio recording when it is completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveMode {
    /// It stays at Twilio. Recordings are copied on request only.
    Off,
    /// It is copied into the bucket and stays at Twilio, too.
    Copy,
    /// It is copied into the bucket, and deleted at Twilio some time later.
    Move,
}

/// The settings of the copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveSettings {
    /// What becomes of a completed recording.
    pub mode: ArchiveMode,
    /// The format of the copies.
    pub format: MediaFormat,
    /// How long a copied recording stays at Twilio with [`ArchiveMode::Move`].
    pub move_after: SignedDuration,
}

impl ArchiveSettings {
    /// Reads `ARCHIVE_TWILIO` (`off`), `ARCHIVE_FORMAT` (`wav`) and `MOVE_AFTER_HOURS` (24).
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let mode = match env.optional("ARCHIVE_TWILIO").unwrap_or("off") {
            "off" => ArchiveMode::Off,
            "copy" => ArchiveMode::Copy,
            "move" => ArchiveMode::Move,
            _ => {
                return Err(ConfigError::Invalid {
                    name: "ARCHIVE_TWILIO",
                    expected: "off, copy or move",
                });
            }
        };
        let format = match env.optional("ARCHIVE_FORMAT").unwrap_or("wav") {
            "wav" => MediaFormat::Wav,
            "mp3" => MediaFormat::Mp3,
            _ => {
                return Err(ConfigError::Invalid {
                    name: "ARCHIVE_FORMAT",
                    expected: "wav or mp3",
                });
            }
        };
        let hours = env.optional("MOVE_AFTER_HOURS").unwrap_or("24").parse().ok();
        let hours = hours.filter(|hours| (0..=LONGEST).contains(hours));
        Ok(Self {
            mode,
            format,
            move_after: SignedDuration::from_hours(hours.ok_or(ConfigError::Invalid {
                name: "MOVE_AFTER_HOURS",
                expected: "a number of hours from 0 to 8760",
            })?),
        })
    }
}
