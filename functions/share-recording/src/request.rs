//! The body of a request to share a recording.

use serde::Deserialize;
use shared::http::{ApiError, invalid_parameter};

/// The longest recording that can be shared in part, in seconds: 48 hours.
const LAST_SECOND: f64 = 172_800.0;
const MAX_NOTE: usize = 500;

/// A request to share a recording.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewShare {
    /// Seconds until the share ends. The deployment's `ShareMaxSeconds` (30 days by default) is the maximum.
    #[cfg_attr(
        feature = "openapi",
        schema(
            minimum = 1,
            maximum = 31_536_000,
            required = true,
            nullable = false,
            example = 604_800
        )
    )]
    expires_in: Option<u64>,
    /// Where the shared stretch begins, in seconds of the recording.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 172_800))]
    from: Option<f64>,
    /// Where the shared stretch ends, in seconds of the recording.
    #[cfg_attr(feature = "openapi", schema(minimum = 0, maximum = 172_800))]
    to: Option<f64>,
    /// Whether the page shows the transcript, too.
    with_transcript: Option<bool>,
    /// A passcode that the page asks for, with 4 to 64 characters.
    #[cfg_attr(feature = "openapi", schema(min_length = 4, max_length = 64))]
    passcode: Option<String>,
    /// A note for those who list the shares. The page does not show it.
    #[cfg_attr(feature = "openapi", schema(max_length = 500))]
    note: Option<String>,
}

/// A valid request.
pub(crate) struct WantedShare {
    pub(crate) expires_in: u64,
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
    pub(crate) with_transcript: bool,
    pub(crate) passcode: Option<String>,
    pub(crate) note: Option<String>,
}

impl NewShare {
    /// Checks the values.
    pub(crate) fn checked(self, max_seconds: u64) -> Result<WantedShare, ApiError> {
        let accepted = format!("a whole number of seconds from 1 to {max_seconds}");
        let expires_in = self.expires_in.ok_or_else(|| {
            ApiError::bad_request("missing_parameter", format!("expires_in is required: {accepted}."))
        })?;
        if !(1..=max_seconds).contains(&expires_in) {
            return Err(invalid_parameter("expires_in", &expires_in.to_string(), &accepted));
        }
        // DynamoDB's numbers are not as small as those of JSON.
        let milliseconds = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
        let (from, to) = (self.from.map(milliseconds), self.to.map(milliseconds));
        for (name, value) in [("from", from), ("to", to)] {
            if let Some(value) = value.filter(|value| !(0.0..=LAST_SECOND).contains(value)) {
                let accepted = format!("a number of seconds from 0 to {LAST_SECOND}");
                return Err(invalid_parameter(name, &value.to_string(), &accepted));
            }
        }
        if let Some(to) = to.filter(|to| *to <= from.unwrap_or_default()) {
            let accepted = format!("greater than from ({})", from.unwrap_or_default());
            return Err(invalid_parameter("to", &to.to_string(), &accepted));
        }
        if self
            .passcode
            .as_ref()
            .is_some_and(|passcode| !(4..=64).contains(&passcode.chars().count()))
        {
            // The value is a secret, so it is not repeated.
            let message = "passcode must have 4 to 64 characters.";
            return Err(ApiError::bad_request("invalid_parameter", message));
        }
        if self.note.as_ref().is_some_and(|note| note.chars().count() > MAX_NOTE) {
            let message = format!("note must have at most {MAX_NOTE} characters.");
            return Err(ApiError::bad_request("invalid_parameter", message));
        }
        Ok(WantedShare {
            expires_in,
            from,
            to,
            with_transcript: self.with_transcript.unwrap_or_default(),
            passcode: self.passcode,
            note: self.note.filter(|note| !note.is_empty()),
        })
    }
}
