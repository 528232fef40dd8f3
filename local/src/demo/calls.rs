//! The calls of the voice operation and the objects of the bucket.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::dates::{fixed, moved};
use crate::clips::{CLIPS, Clip};

const PAYMENT: &Clip = &CLIPS[1];
const APPOINTMENT: &Clip = &CLIPS[2];
const CALLBACK: &Clip = &CLIPS[3];
const VOICEMAIL: &Clip = &CLIPS[4];

/// A call of the voice operation, and its egress file if it has one.
#[derive(Clone)]
pub struct DemoCall {
    /// The business's id for the interaction.
    pub interaction_id: String,
    /// The customer's name.
    pub customer_name: &'static str,
    /// The phone number in E.164 format.
    pub phone: &'static str,
    /// `COMPLETED`, `IN_PROGRESS`, `FAILED` or `NO_ANSWER`.
    pub status: &'static str,
    /// The outcome, if it is known.
    pub outcome: Option<&'static str>,
    /// The length of a completed call in seconds.
    pub duration: Option<u32>,
    /// When the call was dispatched.
    pub start_time: Timestamp,
    /// When the call ended; `None` while it is in progress.
    pub end_time: Option<Timestamp>,
    /// `dispatch_{unix seconds}_{phone without +}`
    pub dispatch_id: String,
    /// Key of the recording in the bucket, and its audio: the clip's `dual_mp3` for a key that ends in `.mp3`, otherwise its `mp4`.
    pub recording: Option<(String, &'static Clip)>,
}

/// An object of the bucket that is not in the index.
#[derive(Clone)]
pub struct DemoObject {
    /// The object's key.
    pub key: String,
    /// The object's content type.
    pub content_type: &'static str,
    /// The object's content.
    pub bytes: &'static [u8],
    /// The dispatch id whose recording it is; `None` for a LiveKit manifest.
    pub dispatch_id: Option<String>,
}

/// Start, seconds until the recording began, name, phone, and result. The first call is the one in the documentation.
const CALLS: [(&str, i64, &str, &str, Outcome); 31] = [
    ("2025-08-08T11:44:39Z", 0, "Louis Smith", "+15103455686", Promised),
    ("2025-08-08T11:42:10Z", 0, "Maria Gonzalez", "+14155550101", InProgress),
    ("2025-08-08T11:31:02Z", 3, "Aisha Khan", "+12125550117", Appointed),
    ("2025-08-08T10:05:47Z", 4, "Peter Novak", "+13035550164", CallBack),
    ("2025-08-08T09:15:00Z", 2, "Louis Smith", "+15103455686", Voicemail),
    ("2025-08-08T09:00:21Z", 0, "Grace Lee", "+12065550139", NoAnswer),
    ("2025-08-07T23:59:56Z", 7, "Tom Becker", "+13125550158", Appointed),
    ("2025-08-07T18:20:33Z", 3, "Nora Jensen", "+16175550122", Promised),
    ("2025-08-07T16:41:09Z", 5, "Samuel Okafor", "+14045550173", CallBack),
    ("2025-08-07T15:02:18Z", 0, "Ivy Chen", "+12135550186", Failed),
    ("2025-08-07T14:12:44Z", 3, "Paul Martin", "+1510345568", Voicemail),
    ("2025-08-06T20:30:05Z", 2, "Helen Fischer", "+17025550149", Appointed),
    ("2025-08-06T13:55:51Z", 4, "Diego Ramirez", "+16025550131", Promised),
    ("2025-08-06T11:08:26Z", 3, "Olivia Brown", "+12145550107", CallBack),
    ("2025-08-05T22:47:13Z", 6, "Yuki Tanaka", "+18085550195", Voicemail),
    ("2025-08-05T17:36:40Z", 0, "Marcus Reed", "+13055550128", NoAnswer),
    ("2025-08-05T09:21:59Z", 3, "Elena Petrova", "+19175550166", Appointed),
    ("2025-08-04T19:04:07Z", 2, "Ben Carter", "+16145550143", Promised),
    ("2025-08-04T12:00:00Z", 5, "Fatima Ali", "+17135550119", CallBack),
    ("2025-08-03T16:17:18Z", 3, "Lucas Moreau", "+15045550152", Voicemail),
    ("2025-08-02T10:44:32Z", 4, "Priya Nair", "+14085550178", Appointed),
    ("2025-08-01T21:13:20Z", 3, "George Walsh", "+12165550136", Promised),
    ("2025-08-01T08:30:45Z", 0, "Hanna Virtanen", "+15125550184", Failed),
    ("2025-07-31T15:59:03Z", 2, "Andre Costa", "+14075550125", CallBack),
    ("2025-07-29T13:26:54Z", 3, "Chloe Dubois", "+15055550161", Voicemail),
    ("2025-07-25T18:08:11Z", 4, "Owen Hughes", "+18015550147", Appointed),
    ("2025-07-18T11:39:28Z", 3, "Sofia Rossi", "+16195550113", Promised),
    ("2025-07-10T14:50:36Z", 6, "Jack Turner", "+19195550190", CallBack),
    ("2025-06-27T16:22:42Z", 2, "Mei Wong", "+17185550155", Voicemail),
    ("2025-06-12T09:47:15Z", 3, "Karl Schmidt", "+14145550104", Appointed),
    ("2025-05-30T20:55:37Z", 5, "Rosa Delgado", "+12105550171", Promised),
];

#[derive(Clone, Copy)]
enum Outcome {
    Promised,
    Appointed,
    CallBack,
    Voicemail,
    InProgress,
    Failed,
    NoAnswer,
}
use Outcome::{Appointed, CallBack, Failed, InProgress, NoAnswer, Promised, Voicemail};

impl DemoCall {
    /// The recording's media type and content.
    pub fn audio(&self) -> Option<(&'static str, &'static [u8])> {
        let (key, clip) = self.recording.as_ref()?;
        match key.ends_with(STEREO) {
            true => Some(("audio/mpeg", clip.dual_mp3?)),
            false => Some(("audio/mp4", clip.mp4?)),
        }
    }
}

/// The extension of recordings with a channel for each speaker.
const STEREO: &str = ".mp3";
const MONO: &str = ".mp4";
/// The call whose recording has a channel for each speaker.
const STEREO_CALL: usize = 2;

/// `egress-recordings/{day}/outbound-{phone}_{unix}{extension}`; the UTC day and the seconds are those of the start of the recording.
fn s3_key(phone: &str, began: Timestamp, extension: &str) -> String {
    let day = began.to_zoned(TimeZone::UTC).strftime("%Y/%m/%d").to_string();
    format!(
        "egress-recordings/{day}/outbound-{}_{}{extension}",
        phone.trim_start_matches('+'),
        began.as_second()
    )
}

fn dispatch_id(phone: &str, start: Timestamp) -> String {
    format!("dispatch_{}_{}", start.as_second(), phone.trim_start_matches('+'))
}

/// The calls, newest first. The documented call has its documented date; the others are in the months before `time`.
pub fn calls(time: Timestamp) -> Vec<DemoCall> {
    let mut calls: Vec<DemoCall> = CALLS
        .iter()
        .enumerate()
        .map(|(index, (start, delay, name, phone, result))| {
            let start = match index {
                0 => fixed(start),
                _ => moved(start, time),
            };
            call(index, start, *delay, name, phone, *result)
        })
        .collect();
    calls.sort_by_key(|call| std::cmp::Reverse(call.start_time));
    calls
}

fn call(
    index: usize,
    start_time: Timestamp,
    delay: i64,
    customer_name: &'static str,
    phone: &'static str,
    result: Outcome,
) -> DemoCall {
    let (status, outcome, clip) = match result {
        Promised => ("COMPLETED", Some("PAYMENT_PROMISED"), Some(PAYMENT)),
        Appointed => ("COMPLETED", Some("APPOINTMENT_CONFIRMED"), Some(APPOINTMENT)),
        CallBack => ("COMPLETED", Some("CALLBACK_REQUESTED"), Some(CALLBACK)),
        Voicemail => ("COMPLETED", Some("VOICEMAIL"), Some(VOICEMAIL)),
        InProgress => ("IN_PROGRESS", None, None),
        Failed => ("FAILED", Some("CALL_FAILED"), None),
        NoAnswer => ("NO_ANSWER", Some("NO_ANSWER"), None),
    };
    let extension = if index == STEREO_CALL { STEREO } else { MONO };
    let duration = clip.map(|clip| match extension {
        STEREO => clip.mp3_seconds,
        _ => clip.mp4_seconds,
    });
    let lasted = i64::from(duration.unwrap_or(25));
    let interaction_id = if index == 0 {
        "test_interaction_louis_001".into()
    } else {
        format!("demo_interaction_{index:03}")
    };
    DemoCall {
        interaction_id,
        customer_name,
        phone,
        status,
        outcome,
        duration,
        start_time,
        end_time: (status != "IN_PROGRESS").then(|| start_time + SignedDuration::from_secs(lasted)),
        dispatch_id: dispatch_id(phone, start_time),
        recording: clip.map(|clip| {
            let began = start_time + SignedDuration::from_secs(delay);
            (s3_key(phone, began, extension), clip)
        }),
    }
}

/// Two recordings that are not in the index and can be found by their keys (the second one began after midnight, in the next day's folder), and
/// a LiveKit manifest, which is not a recording.
pub fn unindexed_objects() -> Vec<DemoObject> {
    let recording = |start: &str, delay, phone, clip: &'static Clip| DemoObject {
        key: s3_key(phone, fixed(start) + SignedDuration::from_secs(delay), MONO),
        content_type: "video/mp4",
        bytes: clip.mp4.unwrap_or_default(),
        dispatch_id: Some(dispatch_id(phone, fixed(start))),
    };
    vec![
        recording("2025-08-06T15:20:10Z", 4, "+14155550123", CALLBACK),
        recording("2025-08-05T23:59:57Z", 6, "+12125550142", APPOINTMENT),
        DemoObject {
            key: "egress-recordings/2025/08/08/EG_demo1754653479.json".into(),
            content_type: "application/json",
            bytes: br#"{"egress_id":"EG_demo1754653479","room_name":"outbound-15103455686","files":[]}"#,
            dispatch_id: None,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::DOCUMENTED_TIME;

    #[test]
    fn the_documented_call_is_the_newest_at_the_documented_time() {
        let calls = calls(DOCUMENTED_TIME);
        assert!(calls.is_sorted_by(|newer, older| newer.start_time > older.start_time));
        let first = &calls[0];
        assert_eq!(first.dispatch_id, "dispatch_1754653479_15103455686");
        let (key, clip) = first.recording.as_ref().unwrap();
        assert_eq!(key, "egress-recordings/2025/08/08/outbound-15103455686_1754653479.mp4");
        assert_eq!((first.duration, clip.mp4_seconds), (Some(180), 180));
        assert_eq!(first.end_time, Some(fixed("2025-08-08T11:47:39Z")));
        assert!(
            calls
                .iter()
                .all(|call| call.recording.is_some() == call.audio().is_some())
        );
        let stereo = calls.iter().filter_map(DemoCall::audio);
        assert_eq!(stereo.filter(|(media_type, _)| *media_type == "audio/mpeg").count(), 1);
    }

    #[test]
    fn one_unindexed_recording_began_after_midnight() {
        let objects = unindexed_objects();
        assert_eq!(
            objects[1].dispatch_id.as_deref(),
            Some("dispatch_1754438397_12125550142")
        );
        assert_eq!(
            objects[1].key,
            "egress-recordings/2025/08/06/outbound-12125550142_1754438403.mp4"
        );
    }

    #[test]
    fn all_calls_but_the_documented_one_move_with_the_time() {
        let later = DOCUMENTED_TIME + SignedDuration::from_hours(24 * 400);
        let calls = calls(later);
        assert!(calls.is_sorted_by(|newer, older| newer.start_time > older.start_time));
        let (last, others) = calls.split_last().unwrap();
        assert_eq!(last.dispatch_id, "dispatch_1754653479_15103455686");
        let recent = others
            .iter()
            .filter(|call| later.duration_since(call.start_time).as_hours() < 30 * 24);
        assert_eq!((others.len(), recent.count()), (30, 27));
    }
}
