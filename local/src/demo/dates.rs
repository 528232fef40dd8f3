//! The dates of the demo. They are written as in the documentation, and most of them are shifted to the time at which the demo is created.

use jiff::Timestamp;

/// The time for which the demo's dates equal those in the code: some minutes after the newest call in the documentation.
pub const DOCUMENTED_TIME: Timestamp = Timestamp::constant(1_754_654_400, 0);

/// A date from the documentation, which is never shifted.
pub(super) fn fixed(text: &str) -> Timestamp {
    text.parse().expect("the demo's dates are RFC 3339")
}

/// Shifts a date so that it is as long before `time` as `text` is before [`DOCUMENTED_TIME`], in whole seconds.
pub(super) fn moved(text: &str, time: Timestamp) -> Timestamp {
    let seconds = time.as_second() - DOCUMENTED_TIME.as_second();
    fixed(text) + jiff::SignedDuration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_written_at_the_documented_time_and_move_with_it() {
        let text = "2025-08-08T11:44:39Z";
        assert_eq!(moved(text, DOCUMENTED_TIME), fixed(text));
        let time = "2026-01-31T12:00:00.5Z".parse().unwrap();
        assert_eq!(moved(text, time), fixed("2026-01-31T11:44:39Z"));
    }
}
