//! How long the deployment keeps calls.

use jiff::{SignedDuration, Timestamp};

use super::model::{Erasure, ErasureId, Target};
use crate::{
    config::{ConfigError, Env},
    time::utc_day,
};

/// The maximum of both settings: a hundred years.
const LONGEST: i64 = 36_500;

/// The retention times of the deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// The days after which a call is erased; `None`: never.
    pub days: Option<i64>,
    /// The days after which its transcripts are erased; `None`: with the call.
    pub transcript_days: Option<i64>,
}

impl Retention {
    /// Reads `RETENTION_DAYS` and `TRANSCRIPT_RETENTION_DAYS`. Without them nothing is ever erased.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let days = |name: &'static str| match env.optional(name) {
            None => Ok(None),
            Some(text) => match text.parse().ok().filter(|days| (1..=LONGEST).contains(days)) {
                Some(days) => Ok(Some(days)),
                None => Err(ConfigError::Invalid {
                    name,
                    expected: "a number of days from 1 to 36500, or empty",
                }),
            },
        };
        let retention = Self {
            days: days("RETENTION_DAYS")?,
            transcript_days: days("TRANSCRIPT_RETENTION_DAYS")?,
        };
        match (retention.days, retention.transcript_days) {
            (Some(calls), Some(transcripts)) if transcripts > calls => Err(ConfigError::Invalid {
                name: "TRANSCRIPT_RETENTION_DAYS",
                expected: "at most RETENTION_DAYS, because a transcript belongs to its recording",
            }),
            _ => Ok(retention),
        }
    }

    /// The erasure of what is past its time now. There is one on each day.
    pub fn erasure(&self, now: Timestamp) -> Erasure {
        let before = |days: i64| now.saturating_sub(SignedDuration::from_hours(days * 24)).unwrap_or(now);
        let target = Target::Expired {
            calls_before: self.days.map(before),
            transcripts_before: self.transcript_days.map(before),
        };
        Erasure::new(ErasureId::of_retention(utc_day(now)), target, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_setting_nothing_is_past_its_time_and_invalid_settings_are_rejected() {
        let of = |pairs: &[(&str, &str)]| Retention::from_env(&pairs.iter().copied().collect());
        assert_eq!(of(&[]).unwrap(), Retention::default());
        assert_eq!(of(&[("RETENTION_DAYS", "")]).unwrap(), Retention::default());
        let both = [("RETENTION_DAYS", "90"), ("TRANSCRIPT_RETENTION_DAYS", "30")];
        assert_eq!(of(&both).unwrap().transcript_days, Some(30));
        for bad in ["0", "-1", "x", "1.5", "36501"] {
            assert!(of(&[("RETENTION_DAYS", bad)]).is_err(), "{bad}");
        }
        assert!(of(&[("RETENTION_DAYS", "30"), ("TRANSCRIPT_RETENTION_DAYS", "31")]).is_err());
    }
}
