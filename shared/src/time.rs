//! Formats dates for responses and parses the dates that callers send.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp, civil, fmt::temporal, tz::TimeZone};

/// `2024-01-15T10:30:00Z`, the format of the Twilio endpoints.
pub fn to_seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}

/// `2025-08-08T12:44:39.000Z`, the format of the recordings endpoints.
pub fn to_millis(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Serializes in the format of [`to_millis`]: `#[serde(with = "millis")]`.
pub mod millis {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes [`to_millis`](super::to_millis).
    pub fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::to_millis(*time))
    }

    /// Reads RFC 3339 with any precision.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }

    /// The same for a time that may be missing.
    pub mod option {
        use jiff::Timestamp;
        use serde::{Deserialize, Deserializer, Serializer};

        /// Writes [`to_millis`](super::super::to_millis), or null.
        pub fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => super::serialize(time, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads RFC 3339 with any precision, or null.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
            Option::deserialize(deserializer)
        }
    }
}

/// The UTC day, `2025-08-08`.
pub fn utc_day(time: Timestamp) -> civil::Date {
    TimeZone::UTC.to_datetime(time).date()
}

/// A date parameter: a moment or a whole day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateInput {
    /// A whole UTC day.
    Day(civil::Date),
    /// An exact moment.
    Moment(Timestamp),
}

impl DateInput {
    /// Parses an ISO 8601 date or date-time; without a zone it is UTC. A space before the offset is read as `+`, because an unescaped `+` in a
    /// query string decodes to a space.
    pub fn parse(text: &str) -> Option<Self> {
        static PARSER: temporal::DateTimeParser = temporal::DateTimeParser::new();
        let text = &*with_plus(text);
        let in_range = |date: civil::Date| (1..=9998).contains(&date.year()).then_some(date);
        if text.len() == "2024-01-15".len() {
            return PARSER.parse_date(text).ok().and_then(in_range).map(Self::Day);
        }
        let moment = PARSER.parse_timestamp(text).ok().or_else(|| {
            let local = PARSER.parse_datetime(text).ok()?;
            // parse_datetime ignores a zone. Text with a zone that parse_timestamp rejected is therefore rejected here as well.
            let zoneless = !text.ends_with(['z', 'Z', ']']) && !text.get(10..)?.contains(['+', '-']);
            zoneless.then(|| TimeZone::UTC.to_timestamp(local).ok())?
        })?;
        in_range(utc_day(moment)).map(|_| Self::Moment(moment))
    }

    /// The first moment that counts as on or after this date.
    pub fn start(self) -> Timestamp {
        match self {
            Self::Day(date) => midnight(date),
            Self::Moment(moment) => moment,
        }
    }

    /// The first moment after this date: the end of a whole day, or the moment itself.
    pub fn end(self) -> Timestamp {
        match self {
            Self::Day(date) => midnight(date) + SignedDuration::from_hours(24),
            Self::Moment(moment) => moment,
        }
    }
}

/// Restores the `+` of an offset, which decodes to a space when it is not escaped in a query string.
pub fn with_plus(text: &str) -> Cow<'_, str> {
    match text.rsplit_once(' ') {
        Some((moment, offset)) if moment.contains(['T', 't', ' ']) && !offset.is_empty() => {
            format!("{moment}+{offset}").into()
        }
        _ => text.into(),
    }
}

fn midnight(date: civil::Date) -> Timestamp {
    TimeZone::UTC
        .to_timestamp(date.at(0, 0, 0, 0))
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_covers_the_whole_utc_day_at_both_ends() {
        let day = DateInput::parse("2024-01-31").unwrap();
        assert_eq!(to_seconds(day.start()), "2024-01-31T00:00:00Z");
        assert_eq!(to_seconds(day.end()), "2024-02-01T00:00:00Z");
    }

    #[test]
    fn a_date_time_is_exact_and_without_a_zone_it_is_utc() {
        for text in [
            "2024-01-15T10:30:00Z",
            "2024-01-15T10:30:00",
            "2024-01-15 10:30:00",
            "2024-01-15T10:30",
            "2024-01-15T12:30:00+02:00",
            "2024-01-15T12:30:00 02:00",
        ] {
            let moment = DateInput::parse(text).unwrap_or_else(|| panic!("{text} is not parsed"));
            assert_eq!(to_seconds(moment.start()), "2024-01-15T10:30:00Z", "{text}");
            assert_eq!(moment.start(), moment.end());
        }
    }

    #[test]
    fn invalid_dates_are_rejected() {
        for text in [
            "",
            "yesterday",
            "2024-13-01",
            "2024-02-30",
            "2024-1-1",
            "20240115",
            "2024-01-15T25:00:00Z",
            "2024-01-15T10:30:00+99:00",
            "-009999-01-01",
            "9999-12-31",
        ] {
            assert_eq!(DateInput::parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_printed_in_the_documented_formats() {
        let time: Timestamp = "2025-08-08T12:44:39Z".parse().unwrap();
        let later = time + SignedDuration::from_millis(999);
        assert_eq!(to_seconds(later), "2025-08-08T12:44:39Z", "never in the future");
        assert_eq!(to_seconds(time), "2025-08-08T12:44:39Z");
        assert_eq!(to_millis(time), "2025-08-08T12:44:39.000Z");
    }
}
