//! The capabilities of a server: the initial assumptions, and what is learned from its responses.
//!
//! Compatible servers support different parts of OpenAI's API. A rejected request costs nothing, so the first request uses all features, and
//! each rejection removes one of them permanently. The result is cached per model as long as the Lambda environment exists.

use super::{
    error_body::{ErrorBody, Parameter},
    format::Format,
    model::{documented_format, documented_longest},
    settings::WhisperSettings,
};

/// The default maximum size of an uploaded audio file in bytes. OpenAI's limit of 26,214,400 applies to the whole request body.
pub const MAX_AUDIO_BYTES: u64 = 25_690_112;
/// The smallest limits that are learned. Smaller parts would not help with a server that rejects even these.
const LEAST_BYTES: u64 = 256 * 1024;
const LEAST_SECONDS: f64 = 10.0;

/// The capabilities of a server for one model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Capabilities {
    pub(super) format: Format,
    /// Whether responses have timestamps.
    pub(super) times: bool,
    /// Whether `chunking_strategy` is sent.
    pub(super) chunking: bool,
    /// Parameters that are not sent.
    omitted: Vec<Parameter>,
    longest: Option<f64>,
    bytes: u64,
}

/// The limits of one upload, and whether its response has timestamps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Whether responses have timestamps.
    pub times: bool,
    /// The maximum length in seconds; `None` if only the size is limited.
    pub longest: Option<f64>,
    /// The maximum size in bytes.
    pub bytes: u64,
}

impl Limits {
    /// A length in seconds that is always within the limits, because FLAC at 16 kHz is never larger than its samples.
    pub fn longest_part(&self) -> f64 {
        let by_size = (self.bytes.saturating_sub(16_384) as f64) / 32_000.0;
        self.longest.map_or(by_size, |longest| longest.min(by_size))
    }
}

/// The properties of a rejected request from which capabilities are learned.
pub(super) struct Sent<'a> {
    pub(super) capabilities: &'a Capabilities,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
}

impl Capabilities {
    /// The initial assumptions for a model.
    pub(super) fn new(settings: &WhisperSettings, model: &str) -> Self {
        let format = settings.format.unwrap_or_else(|| documented_format(model));
        Self {
            format,
            times: matches!(format, Format::Words | Format::Segments | Format::Diarized),
            chunking: format == Format::Diarized,
            omitted: Vec::new(),
            longest: settings.max_seconds.or_else(|| documented_longest(model)),
            bytes: settings.max_bytes.unwrap_or(MAX_AUDIO_BYTES),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            times: self.times,
            longest: self.longest,
            bytes: self.bytes,
        }
    }

    /// Whether the parameter is sent.
    pub(super) fn takes(&self, parameter: Parameter) -> bool {
        !self.omitted.contains(&parameter)
    }

    /// Updates the capabilities after a parameter was rejected. `false` if there is no alternative.
    pub(super) fn refuse(&mut self, sent: &Capabilities, parameter: Parameter) -> bool {
        match parameter {
            Parameter::ResponseFormat | Parameter::TimestampGranularities => {
                // A concurrent request may have learned this already.
                if self.format != sent.format {
                    return true;
                }
                let Some(next) = self.format.next(parameter) else {
                    return false;
                };
                self.format = next;
                self.times = next == Format::Segments;
                true
            }
            // Diarization models require this parameter. If the server rejects it, it is not sent any more.
            Parameter::ChunkingStrategy => {
                if self.omitted.contains(&parameter) {
                    return sent.chunking;
                }
                if sent.chunking {
                    self.omitted.push(parameter);
                }
                self.chunking = !sent.chunking;
                true
            }
            Parameter::Language | Parameter::Prompt | Parameter::Temperature | Parameter::KnownSpeakers => {
                if !sent.takes(parameter) {
                    return false;
                }
                if self.takes(parameter) {
                    self.omitted.push(parameter);
                }
                true
            }
        }
    }

    /// Lowers the maximum size. `false` if smaller parts would not help.
    pub(super) fn refuse_size(&mut self, sent: &Sent<'_>, body: &ErrorBody) -> bool {
        if self.bytes < sent.bytes {
            return true;
        }
        let limit = match body.bytes_named() {
            // The server's message is not plausible.
            Some(named) if named >= sent.bytes => return false,
            Some(named) => named,
            None => sent.bytes / 2,
        };
        // Leaves room for the other fields, because most servers limit the whole body.
        let limit = limit.saturating_sub(limit / 50);
        if limit < LEAST_BYTES {
            return false;
        }
        self.bytes = limit;
        true
    }

    /// Lowers the maximum length. `false` if smaller parts would not help.
    pub(super) fn refuse_length(&mut self, sent: &Sent<'_>, body: &ErrorBody) -> bool {
        if self.longest.is_some_and(|longest| longest < sent.seconds) {
            return true;
        }
        let named = body.seconds_named();
        // The message may also contain the audio's length.
        let below = named
            .iter()
            .copied()
            .filter(|named| *named >= LEAST_SECONDS && *named < sent.seconds * 0.98);
        let limit = match below.reduce(f64::min) {
            Some(limit) => limit,
            None if !named.is_empty() => return false,
            None => sent.seconds / 2.0,
        };
        if limit < LEAST_SECONDS {
            return false;
        }
        self.longest = Some(limit);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fullest() -> Capabilities {
        Capabilities::new(&WhisperSettings::default(), "whisper-1")
    }

    fn body(message: &str) -> ErrorBody {
        ErrorBody::read(
            serde_json::json!({"error": {"message": message}})
                .to_string()
                .as_bytes(),
        )
    }

    #[test]
    fn formats_become_plainer_and_learning_ends() {
        let mut learned = fullest();
        let mut formats = vec![learned.format];
        let mut refused = Parameter::TimestampGranularities;
        while {
            let sent = learned.clone();
            learned.refuse(&sent, refused)
        } {
            formats.push(learned.format);
            refused = Parameter::ResponseFormat;
        }
        assert_eq!(formats, [Format::Words, Format::Segments, Format::Json, Format::Text]);
        assert!(!learned.limits().times);
    }

    #[test]
    fn side_by_side_refusals_of_one_format_take_one_step() {
        let mut learned = fullest();
        let sent = learned.clone();
        assert!(learned.refuse(&sent, Parameter::ResponseFormat));
        assert!(learned.refuse(&sent, Parameter::ResponseFormat));
        assert_eq!(learned.format, Format::Json);
    }

    #[test]
    fn a_parameter_is_left_out_once_and_then_no_longer_blamed() {
        let mut learned = fullest();
        let sent = learned.clone();
        assert!(learned.refuse(&sent, Parameter::Temperature));
        assert!(!learned.takes(Parameter::Temperature) && learned.takes(Parameter::Prompt));
        let sent = learned.clone();
        assert!(!learned.refuse(&sent, Parameter::Temperature));

        let sent = learned.clone();
        assert!(learned.refuse(&sent, Parameter::ChunkingStrategy) && learned.chunking);
        let sent = learned.clone();
        assert!(learned.refuse(&sent, Parameter::ChunkingStrategy) && !learned.chunking);
        let sent = learned.clone();
        assert!(!learned.refuse(&sent, Parameter::ChunkingStrategy));
    }

    #[test]
    fn limits_are_those_that_the_server_names_or_half_of_what_it_refused() {
        let sent = fullest();
        for (message, seconds, longest) in [
            ("Maximum clip duration (30s) exceeded.", 45.0, Some(30.0)),
            (
                "audio duration 1830.530612 seconds is longer than 1400 seconds which is the maximum for this model",
                1830.0,
                Some(1400.0),
            ),
            ("The audio is too long", 600.0, Some(300.0)),
            ("audio is longer than 1400 seconds", 15.0, None),
            ("The audio is too long", 12.0, None),
        ] {
            let mut learned = sent.clone();
            let sent = Sent {
                capabilities: &sent,
                bytes: 1_000_000,
                seconds,
            };
            assert_eq!(
                learned.refuse_length(&sent, &body(message)),
                longest.is_some(),
                "{message}"
            );
            assert_eq!(learned.longest, longest, "{message}");
        }
        for (message, bytes, limit) in [
            (
                "413: Maximum content size limit (10485760) exceeded",
                20_000_000,
                10_276_045,
            ),
            ("Maximum file size is 10 MB", 20_000_000, 9_800_000),
            ("Request Entity Too Large", 20_000_000, 9_800_000),
            (
                "413: Maximum content size limit (26214400) exceeded",
                100_000,
                MAX_AUDIO_BYTES,
            ),
            ("Request Entity Too Large", 100_000, MAX_AUDIO_BYTES),
        ] {
            let mut learned = sent.clone();
            let sent = Sent {
                capabilities: &sent,
                bytes,
                seconds: 60.0,
            };
            learned.refuse_size(&sent, &body(message));
            assert_eq!(learned.bytes, limit, "{message}");
        }
    }
}
