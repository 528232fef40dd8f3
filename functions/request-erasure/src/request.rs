//! The body of `POST /erasures`.

use jiff::Timestamp;
use serde::Deserialize;
use shared::{
    clients::twilio::RecordingSid,
    erasure::Target,
    http::{self, ApiError, invalid_parameter},
    ids::{DispatchId, digits},
    phones::Phones,
    time::DateInput,
};

/// The longest reason.
const MAX_REASON: usize = 500;
/// The digits of a phone number.
const DIGITS: std::ops::RangeInclusive<usize> = 5..=20;

/// The calls to erase: exactly one of `phone`, `interaction_id`, `dispatch_id` and `recording_sid`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct NewErasure {
    /// All calls of this number. It is compared in E.164, however it is written; without a country code that of `DefaultCountry` is assumed.
    #[cfg_attr(feature = "openapi", schema(nullable = false, example = "+15103455686"))]
    phone: Option<String>,
    /// The call of this interaction.
    #[cfg_attr(feature = "openapi", schema(nullable = false, min_length = 1, max_length = 256))]
    interaction_id: Option<String>,
    /// The call with this dispatch id.
    #[cfg_attr(feature = "openapi", schema(nullable = false, pattern = "^[A-Za-z0-9_-]{1,128}$"))]
    dispatch_id: Option<String>,
    /// The call that this recording by Twilio is of.
    #[cfg_attr(feature = "openapi", schema(nullable = false, pattern = "^RE[0-9A-Fa-f]{16,32}$"))]
    recording_sid: Option<String>,
    /// Only calls that began before this date or date-time, for a phone number. A date stands for its begin in UTC.
    #[cfg_attr(feature = "openapi", schema(nullable = false, example = "2026-01-01"))]
    before: Option<String>,
    /// Why, at most 500 characters. It is deleted when the erasure is done.
    #[cfg_attr(feature = "openapi", schema(nullable = false, max_length = 500))]
    reason: Option<String>,
    /// Only say what would be erased.
    #[serde(default)]
    dry_run: bool,
}

/// A valid request.
pub(crate) struct Wanted {
    pub(crate) target: Target,
    pub(crate) before: Option<Timestamp>,
    pub(crate) reason: Option<String>,
    pub(crate) dry_run: bool,
}

/// The erasure of one call.
pub(crate) fn of_call(id: DispatchId) -> Wanted {
    Wanted {
        target: Target::Call(id),
        before: None,
        reason: None,
        dry_run: false,
    }
}

impl NewErasure {
    /// Checks the values.
    pub(crate) fn checked(self, phones: &Phones, now: Timestamp) -> Result<Wanted, ApiError> {
        let target = match (self.phone, self.interaction_id, self.dispatch_id, self.recording_sid) {
            (Some(phone), None, None, None) => Target::Phone(number(phones, &phone)?),
            (None, Some(id), None, None) if (1..=256).contains(&id.len()) => Target::Interaction(id),
            (None, Some(id), None, None) => {
                return Err(invalid_parameter("interaction_id", &id, "1 to 256 bytes of text"));
            }
            (None, None, Some(id), None) => Target::Call(DispatchId::parse(&id).ok_or_else(http::invalid_dispatch_id)?),
            (None, None, None, Some(sid)) => {
                let sid = RecordingSid::parse(&sid).ok_or_else(http::invalid_recording_sid)?;
                Target::Call(DispatchId::parse(sid.as_str()).ok_or_else(http::invalid_recording_sid)?)
            }
            _ => {
                return Err(ApiError::bad_request(
                    "missing_parameter",
                    "Give exactly one of phone, interaction_id, dispatch_id and recording_sid.",
                ));
            }
        };
        let before = match self.before {
            None => None,
            Some(_) if !matches!(target, Target::Phone(_)) => {
                return Err(ApiError::bad_request(
                    "invalid_parameter",
                    "before can be given together with phone only, because the others name one call.",
                ));
            }
            Some(text) => {
                let date = DateInput::parse(&text).map(DateInput::start);
                let accepted = "an ISO 8601 date or date-time that is not in the future";
                let date = date.filter(|date| *date <= now);
                Some(date.ok_or_else(|| invalid_parameter("before", &text, accepted))?)
            }
        };
        let reason = self.reason.filter(|reason| !reason.is_empty());
        if let Some(reason) = reason.as_ref().filter(|reason| reason.chars().count() > MAX_REASON) {
            return Err(invalid_parameter("reason", reason, "at most 500 characters"));
        }
        Ok(Wanted {
            target,
            before,
            reason,
            dry_run: self.dry_run,
        })
    }
}

/// The numbers that Twilio reports for callers who withhold theirs (`ANONYMOUS`, `RESTRICTED`, `BLOCKED`, `UNKNOWN` and `UNAVAILABLE` on a
/// keypad). They name nobody.
const PLACEHOLDERS: [&str; 5] = ["266696687", "7378742883", "2562533", "8656696", "86282452253"];

/// The digits of a phone number in E.164.
fn number(phones: &Phones, text: &str) -> Result<String, ApiError> {
    let is_plain = |character: char| character.is_ascii_digit() || " +-().\u{a0}/".contains(character);
    let digits = digits(&phones.e164(text));
    if PLACEHOLDERS.contains(&digits.as_str()) {
        let accepted = "the number of a caller: Twilio reports this one for everybody who withholds theirs, so name the calls by their ids";
        return Err(invalid_parameter("phone", text, accepted));
    }
    match DIGITS.contains(&digits.len()) && text.chars().all(is_plain) {
        true => Ok(digits),
        false => Err(invalid_parameter(
            "phone",
            text,
            "a phone number with its country code, such as +15103455686",
        )),
    }
}
