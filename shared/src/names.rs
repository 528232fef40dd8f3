//! Parses the names of recordings: configurable patterns extract the phone number, the time and the direction of a call.

use std::fmt::Write;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use crate::{
    config::{ConfigError, Env},
    ids::{media_type, parse_unix},
};

/// The default of `RECORDING_NAME_PATTERNS`: the documented name first, then the names that LiveKit's file name templates produce for the rooms
/// `outbound-{phone}`, `inbound-{phone}` and `call-_{phone}_…`.
pub const DEFAULT_PATTERNS: &str = "outbound-{phone}_{unix}, {direction}-{phone}_{unix}, {direction}-{phone}-{time}, \
     {direction}-{phone}_{time}, {direction}-{phone}-{utc}, {direction}-{phone}_{utc}, call-_{phone}_{any}-{time}, \
     call-_{phone}_{any}_{time}, call-_{phone}_{any}-{utc}, call-_{phone}_{any}_{utc}, call-_{phone}_{any}_{unix}, {phone}-{time}";

/// The regular expression of each placeholder.
const PLACEHOLDERS: [(&str, &str); 6] = [
    ("{phone}", r"\+?(?<phone>[0-9]{1,20})"),
    ("{unix}", r"(?<unix>[0-9]{1,13})"),
    ("{time}", r"(?<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{6})"),
    ("{utc}", r"(?<utc>[0-9]{14}(?:[0-9]{3})?)"),
    ("{direction}", r"(?<direction>inbound|outbound)"),
    ("{any}", r"[^/]+?"),
];

/// The direction of a call, seen from the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The customer called.
    Inbound,
    /// The agent called the customer.
    Outbound,
}

/// The values found in the name of a recording. Each of them may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingName {
    /// The customer's phone number, digits only, no `+`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// When the recording began, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix: Option<i64>,
    /// The direction of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
}

/// Why an object of the bucket is not indexed as a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ignored {
    /// The file's extension is not that of an audio file.
    NotAudio,
    /// It is an audio file whose name matches no pattern, and `INDEX_UNMATCHED_AUDIO` is `false`.
    UnmatchedName,
    /// The file is empty.
    Empty,
}

impl Ignored {
    /// The reason as a sentence.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotAudio => "The name has no extension of an audio file.",
            Self::UnmatchedName => "The name matches no pattern of RECORDING_NAME_PATTERNS.",
            Self::Empty => "The file is empty.",
        }
    }

    /// The reason as a stable code for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAudio => "not_audio",
            Self::UnmatchedName => "unmatched_name",
            Self::Empty => "empty_file",
        }
    }
}

impl RecordingName {
    /// Parses the last segment of a key as `outbound-{phone}_{unix}.{extension}`; `None` if it has another form.
    pub fn documented(key: &str) -> Option<Self> {
        let name = key.rsplit('/').next()?;
        media_type(name)?;
        let (stem, _) = name.rsplit_once('.')?;
        let (phone, unix) = stem.strip_prefix("outbound-")?.split_once('_')?;
        let is_phone = (1..=20).contains(&phone.len()) && phone.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self {
            phone: is_phone.then(|| phone.to_owned()).filter(|_| unix.len() <= 13)?.into(),
            unix: Some(seconds(unix)?),
            direction: Some(Direction::Outbound),
        })
    }

    /// The phone number and the time, if the name has both.
    pub fn place(&self) -> Option<(String, i64)> {
        self.phone.clone().zip(self.unix)
    }
}

/// The name patterns of a deployment.
#[derive(Debug, Clone)]
pub struct RecordingNames {
    patterns: Vec<Pattern>,
    /// Whether audio files whose names match no pattern are indexed as well.
    unmatched: bool,
}

#[derive(Debug, Clone)]
struct Pattern {
    regex: Regex,
    /// The direction written literally in the pattern, such as `outbound-{phone}`.
    direction: Option<Direction>,
}

impl RecordingNames {
    /// Reads `RECORDING_NAME_PATTERNS` and `INDEX_UNMATCHED_AUDIO` (`true` when absent).
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let patterns = env.optional("RECORDING_NAME_PATTERNS").unwrap_or(DEFAULT_PATTERNS);
        let unmatched = match env.optional("INDEX_UNMATCHED_AUDIO").unwrap_or("true") {
            "true" => true,
            "false" => false,
            _ => {
                return Err(ConfigError::Invalid {
                    name: "INDEX_UNMATCHED_AUDIO",
                    expected: "true or false",
                });
            }
        };
        Self::new(patterns, unmatched).ok_or(ConfigError::Invalid {
            name: "RECORDING_NAME_PATTERNS",
            expected: "names without extension, separated by commas, made of text and {phone}, {unix}, {time}, {utc}, {direction}, {any}, \
                       each of them once at most except {any}",
        })
    }

    /// Parses patterns separated by commas or white space; `None` if one of them is invalid.
    pub fn new(patterns: &str, unmatched: bool) -> Option<Self> {
        let patterns = patterns.split([',', ' ', '\n']).filter(|pattern| !pattern.is_empty());
        let patterns = patterns.map(Pattern::new).collect::<Option<Vec<Pattern>>>()?;
        Some(Self { patterns, unmatched }).filter(|names| !names.patterns.is_empty())
    }

    /// The values found in a key, or why its object is not indexed.
    pub fn read(&self, key: &str) -> Result<RecordingName, Ignored> {
        let Some((stem, _)) = key.rsplit_once('.').filter(|_| media_type(key).is_some()) else {
            return Err(Ignored::NotAudio);
        };
        let name = self.patterns.iter().find_map(|pattern| pattern.read(stem));
        name.or(self.unmatched.then(RecordingName::default))
            .ok_or(Ignored::UnmatchedName)
    }
}

impl Pattern {
    fn new(text: &str) -> Option<Self> {
        let mut regex = String::from("(?:^|/)");
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some((placeholder, expression)) = PLACEHOLDERS.iter().find(|(name, _)| rest.starts_with(name)) {
                regex.push_str(expression);
                rest = &rest[placeholder.len()..];
            } else if matches!(first, '{' | '}') {
                return None;
            } else {
                write!(regex, "{}", regex_lite::escape(&first.to_string())).ok()?;
                rest = &rest[first.len_utf8()..];
            }
        }
        regex.push('$');
        Some(Self {
            regex: Regex::new(&regex).ok()?,
            direction: direction(text),
        })
    }

    /// Matches a key without its extension; `None` if it does not match.
    fn read(&self, stem: &str) -> Option<RecordingName> {
        let found = self.regex.captures(stem)?;
        let text = |name: &str| found.name(name).map(|found| found.as_str());
        let unix = match (text("unix"), text("time"), text("utc")) {
            (Some(unix), ..) => Some(seconds(unix)?),
            (_, Some(time), _) => Some(civil_seconds("%Y-%m-%dT%H%M%S", time)?),
            (.., Some(time)) => Some(civil_seconds("%Y%m%d%H%M%S", &time[..14])?),
            _ => None,
        };
        Some(RecordingName {
            phone: text("phone").map(str::to_owned),
            unix,
            direction: text("direction").and_then(direction).or(self.direction),
        })
    }
}

fn direction(text: &str) -> Option<Direction> {
    match (text.contains("inbound"), text.contains("outbound")) {
        (true, false) => Some(Direction::Inbound),
        (false, true) => Some(Direction::Outbound),
        _ => None,
    }
}

/// Unix seconds from a number of seconds or, if it has 13 digits, of milliseconds.
fn seconds(text: &str) -> Option<i64> {
    match text.len() {
        13 => parse_unix(&text[..10]),
        _ => parse_unix(text),
    }
}

fn civil_seconds(format: &str, text: &str) -> Option<i64> {
    let time = DateTime::strptime(format, text).ok()?;
    let time: Timestamp = TimeZone::UTC.to_timestamp(time).ok()?;
    parse_unix(&time.as_second().to_string())
}

/// The phone number in the name of a LiveKit room or participant: `outbound-{phone}`, `inbound-{phone}`, `call-_{phone}_…`, `sip_{phone}`.
pub fn number_of_room(name: &str) -> Option<String> {
    let prefixes = ["outbound-", "inbound-", "call-_", "sip_"];
    let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let rest = rest.strip_prefix('+').unwrap_or(rest);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let ends = rest[digits..]
        .chars()
        .next()
        .is_none_or(|next| matches!(next, '_' | '-' | '@'));
    ((5..=20).contains(&digits) && ends).then(|| rest[..digits].to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn defaults() -> RecordingNames {
        RecordingNames::new(DEFAULT_PATTERNS, true).unwrap()
    }

    fn name(phone: &str, unix: i64, direction: Option<Direction>) -> RecordingName {
        RecordingName {
            phone: Some(phone.into()),
            unix: Some(unix),
            direction,
        }
    }

    #[test]
    fn the_documented_name_is_parsed_alike_with_and_without_patterns() {
        let expected = name("15103455686", 1_754_653_479, Some(Direction::Outbound));
        for extension in ["mp4", "mp3", "ogg", "MP4"] {
            let key = format!("egress-recordings/2025/08/08/outbound-15103455686_1754653479.{extension}");
            assert_eq!(defaults().read(&key), Ok(expected.clone()));
            assert_eq!(RecordingName::documented(&key), Some(expected.clone()));
        }
        for key in ["outbound-15103455686_x.mp4", "xoutbound-1_1.mp4", "outbound-1_1_2.mp4"] {
            assert_eq!(RecordingName::documented(key), None, "{key}");
            assert_eq!(defaults().read(key), Ok(RecordingName::default()), "{key}");
        }
        for key in [
            "outbound-15103455686_1754653479.json",
            "outbound-1_1",
            "EG_abc.json",
            "",
        ] {
            assert_eq!(RecordingName::documented(key), None, "{key}");
            assert_eq!(defaults().read(key), Err(Ignored::NotAudio), "{key}");
        }
    }

    #[test]
    fn names_from_livekit_templates_contain_phone_and_time() {
        let (outbound, inbound) = (Some(Direction::Outbound), Some(Direction::Inbound));
        for (key, direction) in [
            ("outbound-15103455686-2025-08-08T114439.ogg", outbound),
            ("x/outbound-+15103455686-2025-08-08T114439.ogg", outbound),
            ("outbound-15103455686_20250808114439789.mp4", outbound),
            ("outbound-15103455686_1754653479123.mp4", outbound),
            ("inbound-15103455686_1754653479.mp3", inbound),
            ("inbound-+15103455686-20250808114439.mp4", inbound),
            ("call-_+15103455686_Ab3dEf-2025-08-08T114439.mp4", None),
            ("call-_15103455686_Ab3d_Ef_1754653479.mp4", None),
            ("+15103455686-2025-08-08T114439.mp4", None),
        ] {
            let key = format!("egress-recordings/{key}");
            assert_eq!(
                defaults().read(&key),
                Ok(name("15103455686", 1_754_653_479, direction)),
                "{key}"
            );
        }
    }

    #[test]
    fn a_deployment_can_configure_patterns_that_include_folders() {
        let names = RecordingNames::new("{direction}/{any}/{phone}.{unix}, in_{phone}", false).unwrap();
        let key = "egress-recordings/inbound/team-a/15103455686.1754653479.wav";
        assert_eq!(
            names.read(key),
            Ok(name("15103455686", 1_754_653_479, Some(Direction::Inbound)))
        );
        let partial = names.read("egress-recordings/in_15103455686.wav").unwrap();
        assert_eq!((partial.phone.as_deref(), partial.unix), (Some("15103455686"), None));
        let documented = "egress-recordings/2025/08/08/outbound-15103455686_1754653479.mp4";
        assert_eq!(names.read(documented), Err(Ignored::UnmatchedName));
    }

    #[test]
    fn an_invalid_pattern_is_rejected() {
        for bad in ["", "{number}", "a{", "{phone}_{phone}", "}"] {
            assert!(RecordingNames::new(bad, true).is_none(), "{bad}");
        }
    }

    #[test]
    fn invalid_times_match_no_pattern() {
        for key in [
            "outbound-15103455686-2025-13-08T114439.ogg",
            "outbound-15103455686_99999999999999999.ogg",
            "outbound-15103455686_999999999999.ogg",
        ] {
            assert_eq!(defaults().read(key), Ok(RecordingName::default()), "{key}");
        }
    }

    #[test]
    fn a_phone_number_is_read_from_room_and_participant_names() {
        for room in [
            "outbound-15103455686",
            "inbound-+15103455686",
            "call-_+15103455686_xYz",
            "sip_+15103455686",
        ] {
            assert_eq!(number_of_room(room).as_deref(), Some("15103455686"), "{room}");
        }
        for room in [
            "support",
            "outbound-",
            "outbound-12",
            "call-_anonymous_x",
            "outbound-15103455686x",
        ] {
            assert_eq!(number_of_room(room), None, "{room}");
        }
    }

    proptest! {
        #[test]
        fn the_parsers_never_panic(text in ".*") {
            let key = format!("{text}.mp4");
            let _ = (RecordingName::documented(&key), defaults().read(&key), number_of_room(&text));
        }
    }
}
