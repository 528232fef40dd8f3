//! Random calls, and random orders of the reports about them.

use super::*;

/// The calls, interactions and recordings of one history.
#[derive(Debug, Clone)]
pub(super) struct World {
    /// Phone and time.
    pub(super) dispatches: Vec<(usize, i64)>,
    pub(super) interactions: Vec<(usize, i64)>,
    pub(super) files: Vec<(usize, i64)>,
    pub(super) failures: Vec<(usize, i64)>,
    pub(super) calls: Vec<TwilioCall>,
    /// A file that can never be read.
    pub(super) unreadable: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct TwilioCall {
    pub(super) phone: Option<usize>,
    pub(super) time: i64,
    pub(super) dispatch: Option<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Reported {
        dispatch: Option<usize>,
        interaction: Option<usize>,
        field: usize,
        value: Option<u8>,
        at: i64,
    },
    /// The file with this content, of which there are a few, or without it.
    File(usize, Option<u8>),
    Failed(usize),
    Twilio(usize, bool),
    /// Somebody has what the file contains now transcribed.
    FileTranscribed(usize),
    TwilioTranscribed(usize),
    /// Somebody erases the call of the dispatch.
    Erased(usize),
    /// The file can no longer, or again, be read.
    Readable(usize, bool),
    /// The reconciler runs, while these sources deny access to their lists.
    Round {
        bucket_denied: bool,
        twilio_denied: bool,
    },
}

/// A change, the number of changes after which its event arrives, and how often the event arrives.
pub(super) type Step = (Change, usize, usize);

pub(super) fn world() -> impl Strategy<Value = World> {
    let place = || (0..2_usize, prop_oneof![0..40_i64, 0..700_i64]);
    let call = (
        proptest::option::of(0..2_usize),
        -70..720_i64,
        proptest::option::weighted(0.2, 0..4_usize),
    );
    let call = call.prop_map(|(phone, time, dispatch)| TwilioCall { phone, time, dispatch });
    (
        proptest::collection::vec(place(), 1..5),
        proptest::collection::vec(place(), 0..3),
        proptest::collection::vec(place(), 1..5),
        proptest::collection::vec(place(), 0..3),
        proptest::collection::vec(call, 0..4),
        proptest::option::weighted(0.3, 0..4_usize),
    )
        .prop_map(|(dispatches, interactions, files, failures, calls, unreadable)| World {
            dispatches,
            interactions,
            files,
            failures,
            calls,
            unreadable,
        })
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reported = (
        proptest::option::of(0..4_usize),
        proptest::option::of(0..3_usize),
        0..4_usize,
        proptest::option::weighted(0.9, 0..3_u8),
        0..9_i64,
    );
    let reported = reported.prop_map(|(dispatch, interaction, field, value, at)| Change::Reported {
        dispatch,
        interaction,
        field,
        value,
        at,
    });
    let change = prop_oneof![
        3 => reported,
        4 => (0..4_usize, proptest::option::weighted(0.75, 0..3_u8)).prop_map(|(file, content)| Change::File(file, content)),
        1 => (0..2_usize).prop_map(Change::Failed),
        2 => (0..3_usize, any::<bool>()).prop_map(|(call, completed)| Change::Twilio(call, completed)),
        2 => (0..4_usize).prop_map(Change::FileTranscribed),
        1 => (0..3_usize).prop_map(Change::TwilioTranscribed),
        1 => (0..4_usize).prop_map(Change::Erased),
        2 => (0..4_usize, any::<bool>()).prop_map(|(file, readable)| Change::Readable(file, readable)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(bucket_denied, twilio_denied)| Change::Round { bucket_denied, twilio_denied }),
    ];
    proptest::collection::vec((change, 0..6_usize, 0..3_usize), 1..24)
}

/// The world of a history, with ids and keys.
pub(super) struct Names {
    pub(super) world: World,
    pub(super) base: i64,
}

impl Names {
    pub(super) fn dispatch(&self, index: usize) -> (usize, i64, String) {
        let (phone, time) = self.world.dispatches[index % self.world.dispatches.len()];
        let time = self.base + time;
        (phone, time, format!("dispatch_{time}_{}", PHONES[phone]))
    }

    pub(super) fn interaction(&self, index: usize) -> Option<usize> {
        (!self.world.interactions.is_empty()).then(|| index % self.world.interactions.len())
    }

    pub(super) fn key(&self, index: usize) -> (usize, i64, String) {
        let (phone, time) = self.world.files[index % self.world.files.len()];
        let time = self.base + time;
        let day = day(time).strftime("%Y/%m/%d").to_string();
        let key = format!("egress-recordings/{day}/outbound-{}_{time}.mp4", PHONES[phone]);
        (phone, time, key)
    }
}

pub(super) fn day(unix: i64) -> Date {
    TimeZone::UTC.to_datetime(Timestamp::from_second(unix).unwrap()).date()
}

pub(super) fn call_sid(call: usize) -> String {
    format!("CA{call:032x}")
}

pub(super) fn recording_sid(call: usize) -> String {
    format!("RE{call:032x}")
}
