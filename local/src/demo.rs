//! The demo: spoken clips, the Twilio account's recordings and the calls with their egress files, as plain values. The documents' own examples
//! are among them, field by field.

use std::sync::OnceLock;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::twilio::{Media, Recording};
use crate::whisper::{Fingerprint, audio};

/// The documents' Twilio account.
pub const ACCOUNT_SID: &str = "AC1234567890abcdef";
/// Its token at the stand-in Twilio.
pub const AUTH_TOKEN: &str = "demo_twilio_auth_token";
/// The documents' key for our own API.
pub const API_KEY: &str = "your_api_key_here";
/// The key of the stand-in Whisper.
pub const WHISPER_API_KEY: &str = "demo_whisper_api_key";
/// LiveKit key whose webhooks are accepted.
pub const LIVEKIT_API_KEY: &str = "demo_livekit_key";
/// The secret that belongs to [`LIVEKIT_API_KEY`].
pub const LIVEKIT_API_SECRET: &str = "demo_livekit_api_secret_of_32_bytes";

/// A spoken text and recordings of it, made by `local/demo/make-clips`.
pub struct Clip {
    /// The files' name without extension.
    pub name: &'static str,
    /// One sentence (in a dialogue, one turn) a line.
    lines: &'static str,
    /// 8 kHz mono, as Twilio's.
    pub mp3: &'static [u8],
    /// Whole seconds of `mp3`.
    pub mp3_seconds: u32,
    /// The same with a channel for each speaker.
    pub dual_mp3: Option<&'static [u8]>,
    /// AAC with `moov` at the end, as LiveKit egress writes it: the same speech, and then silence up to `mp4_seconds`.
    pub mp4: Option<&'static [u8]>,
    /// Whole seconds of `mp4`.
    pub mp4_seconds: u32,
    voices: OnceLock<Vec<Voice>>,
}

/// What can be heard of a clip.
pub(crate) struct Voice {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) sentences: Vec<&'static str>,
}

impl Voice {
    /// One channel of a file, or all channels mixed.
    fn of(file: &'static [u8], channel: Option<usize>, sentences: impl Iterator<Item = &'static str>) -> Self {
        let mut fingerprint = Fingerprint::default();
        audio::decode(std::io::Cursor::new(file), |rate, channels, samples| match channel {
            None => fingerprint.push(rate, channels, samples),
            Some(channel) => {
                let own: Vec<f32> = samples.iter().skip(channel).step_by(channels).copied().collect();
                fingerprint.push(rate, 1, &own);
            }
        })
        .expect("a committed clip can be decoded");
        Self {
            fingerprint,
            sentences: sentences.collect(),
        }
    }
}

impl Clip {
    /// What is said, sentence by sentence.
    pub fn sentences(&self) -> impl Iterator<Item = &'static str> {
        self.lines.lines()
    }

    /// What is said: the sentences, a space between them.
    pub fn transcript(&self) -> String {
        self.sentences().collect::<Vec<_>>().join(" ")
    }

    /// All of it, and each of the two speakers, who take turns, where they have channels of their own.
    pub(crate) fn voices(&self) -> &[Voice] {
        self.voices.get_or_init(|| {
            let speaker = |channel| {
                let turns = self.sentences().skip(channel).step_by(2);
                self.dual_mp3.map(|file| Voice::of(file, Some(channel), turns))
            };
            let all = Voice::of(self.mp3, None, self.sentences());
            [Some(all), speaker(0), speaker(1)].into_iter().flatten().collect()
        })
    }
}

macro_rules! clip {
    ($name:literal, $mp3_seconds:literal, dual: $dual:expr, mp4: $mp4:expr) => {
        Clip {
            name: $name,
            lines: include_str!(concat!("../demo/clips/", $name, ".txt")),
            mp3: include_bytes!(concat!("../demo/clips/", $name, ".mp3")),
            mp3_seconds: $mp3_seconds,
            dual_mp3: $dual,
            mp4: match $mp4 {
                Some((bytes, _)) => Some(bytes),
                None => None,
            },
            mp4_seconds: match $mp4 {
                Some((_, seconds)) => seconds,
                None => 0,
            },
            voices: OnceLock::new(),
        }
    };
}

/// Every clip there is.
pub static CLIPS: [Clip; 5] = [
    clip!("interview-answer", 45, dual: None, mp4: None::<(&[u8], u32)>),
    clip!("payment-promise", 33, dual: None, mp4: Some((include_bytes!("../demo/clips/payment-promise.mp4"), 180))),
    clip!(
        "appointment",
        14,
        dual: Some(include_bytes!("../demo/clips/appointment.dual.mp3")),
        mp4: Some((include_bytes!("../demo/clips/appointment.mp4"), 64))
    ),
    clip!("callback-request", 10, dual: None, mp4: Some((include_bytes!("../demo/clips/callback-request.mp4"), 37))),
    clip!("voicemail", 14, dual: None, mp4: Some((include_bytes!("../demo/clips/voicemail.mp4"), 18))),
];

const INTERVIEW: &Clip = &CLIPS[0];
const PAYMENT: &Clip = &CLIPS[1];
const APPOINTMENT: &Clip = &CLIPS[2];
const CALLBACK: &Clip = &CLIPS[3];
const VOICEMAIL: &Clip = &CLIPS[4];

fn at(text: &str) -> Timestamp {
    text.parse().expect("the demo's dates are RFC 3339")
}

/// 32 hex digits, always the same for the same seed.
fn hex32(seed: &str) -> String {
    Sha256::digest(seed)[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What a demo recording at Twilio is like.
enum Sound {
    Of(&'static Clip),
    /// Listed as completed, but its media answers with this status.
    Unreachable(u16),
    /// Kept in the customer's own storage.
    External(&'static Clip),
    /// Ciphertext that only the customer can read.
    Encrypted,
    /// No sound yet, or none any more.
    Not(&'static str),
}
use Sound::{Encrypted, External, Not, Of, Unreachable};

/// `RE1234567890abcdef` of the document is not in here.
const RECORDINGS: [(&str, &str, Sound); 31] = [
    ("2025-08-08T11:58:20Z", "OutboundAPI", Not("in-progress")),
    ("2025-08-08T11:52:03Z", "StartCallRecordingAPI", Not("paused")),
    ("2025-08-08T11:49:45Z", "OutboundAPI", Not("processing")),
    ("2025-08-08T11:44:41Z", "OutboundAPI", Of(PAYMENT)),
    ("2025-08-07T16:05:12Z", "DialVerb", Of(APPOINTMENT)),
    ("2025-08-07T09:30:00Z", "OutboundAPI", Not("absent")),
    ("2025-07-21T13:14:15Z", "OutboundAPI", Of(CALLBACK)),
    ("2025-07-04T18:40:59Z", "Trunking", Not("deleted")),
    ("2025-06-30T23:59:59Z", "OutboundAPI", Of(VOICEMAIL)),
    ("2025-06-30T08:00:00Z", "OutboundAPI", External(CALLBACK)),
    ("2025-05-12T10:10:10Z", "OutboundAPI", Encrypted),
    ("2025-03-03T15:45:00Z", "StartConferenceRecordingAPI", Of(APPOINTMENT)),
    ("2025-01-09T12:00:00Z", "OutboundAPI", Unreachable(410)),
    ("2024-03-28T17:22:31Z", "OutboundAPI", Of(VOICEMAIL)),
    ("2024-03-15T11:11:11Z", "RecordVerb", Not("stopped")),
    ("2024-03-01T00:00:00Z", "OutboundAPI", Of(CALLBACK)),
    ("2024-02-29T23:30:00Z", "DialVerb", Of(APPOINTMENT)),
    ("2024-02-14T09:05:44Z", "RecordVerb", Not("absent")),
    ("2024-02-01T14:00:27Z", "OutboundAPI", Of(PAYMENT)),
    ("2024-01-31T23:59:58Z", "OutboundAPI", Of(VOICEMAIL)),
    ("2024-01-31T08:15:00Z", "OutboundAPI", Not("processing")),
    ("2024-01-24T10:20:30Z", "RecordVerb", Unreachable(404)),
    ("2024-01-18T16:48:02Z", "OutboundAPI", Of(CALLBACK)),
    ("2024-01-15T10:42:10Z", "RecordVerb", Not("in-progress")),
    ("2024-01-12T13:37:00Z", "RecordVerb", Of(INTERVIEW)),
    ("2024-01-08T07:59:59Z", "StartCallRecordingAPI", Not("paused")),
    ("2024-01-01T00:00:00Z", "OutboundAPI", Of(VOICEMAIL)),
    ("2023-12-31T23:59:59Z", "DialVerb", Of(APPOINTMENT)),
    ("2023-12-22T12:12:12Z", "RecordVerb", Not("stopped")),
    ("2023-12-11T19:03:40Z", "OutboundAPI", Not("deleted")),
    ("2023-12-01T06:30:00Z", "OutboundAPI", External(VOICEMAIL)),
];

/// The recordings of the Twilio account: all seven statuses, media that cannot be reached, is kept elsewhere or is encrypted,
/// one and two channels, dates from December 2023 to August 2025.
pub fn twilio_recordings() -> Vec<Recording> {
    let documented = Recording {
        sid: "RE1234567890abcdef".into(),
        call_sid: "CA1234567890abcdef".into(),
        source: "RecordVerb".into(),
        duration: Some(45),
        date_created: at("2024-01-15T10:30:00Z"),
        date_updated: at("2024-01-15T10:30:30Z"),
        start_time: at("2024-01-15T10:30:00Z"),
        price: Some("0.0025".into()),
        track: Some("both".into()),
        media: Media::mp3(INTERVIEW.mp3),
        ..Recording::default()
    };
    RECORDINGS
        .iter()
        .map(|(created, source, sound)| recording(created, source, sound))
        .chain([documented])
        .collect()
}

fn recording(created: &str, source: &str, sound: &Sound) -> Recording {
    let sid = format!("RE{}", hex32(created));
    let start = at(created);
    let mut recording = Recording {
        call_sid: format!("CA{}", hex32(&sid)),
        conference_sid: source.contains("Conference").then(|| format!("CF{}", hex32(&sid))),
        source: source.into(),
        date_created: start,
        start_time: start,
        ..Recording::default()
    };
    match sound {
        Of(clip) => {
            recording.duration = Some(clip.mp3_seconds);
            recording.channels = if clip.dual_mp3.is_some() { 2 } else { 1 };
            recording.media = Media::Mp3 {
                mono: clip.mp3.into(),
                dual: clip.dual_mp3.map(Into::into),
            };
        }
        Unreachable(status) => {
            recording.duration = Some(21);
            recording.media = Media::Status(*status);
        }
        External(clip) => {
            recording.duration = Some(clip.mp3_seconds);
            recording.external_media_url = Some(format!(
                "https://customer-recordings.s3.amazonaws.com/{ACCOUNT_SID}/{sid}.wav"
            ));
        }
        Encrypted => {
            recording.duration = Some(28);
            recording.media = Media::mp3(
                (0..128)
                    .flat_map(|block| Sha256::digest(format!("{sid}{block}")))
                    .collect::<Vec<u8>>(),
            );
            recording.encryption_details = Some(json!({
                "encryption_public_key_sid": format!("CR{}", hex32("public key")),
                "encryption_cek": "ZGVtbyBjb250ZW50IGVuY3J5cHRpb24ga2V5LCBlbmNyeXB0ZWQ=",
                "encryption_iv": "ZGVtbyB2ZWN0b3I=",
            }));
        }
        Not(status) => {
            recording.status = (*status).into();
            recording.error_code = (*status == "absent").then_some(16101);
            if *status == "deleted" || *status == "absent" {
                recording.duration = Some(if *status == "deleted" { 17 } else { 0 });
            } else {
                recording.duration = None;
            }
            recording.price = None;
            recording.price_unit = None;
        }
    }
    let seconds = SignedDuration::from_secs(i64::from(recording.duration.unwrap_or(0)));
    recording.date_updated = start + seconds + SignedDuration::from_secs(3);
    recording.sid = sid;
    recording
}

/// A call of the voice operation, and its egress file if it has one.
#[derive(Clone)]
pub struct DemoCall {
    /// The business's own id of the conversation.
    pub interaction_id: String,
    /// Who was called.
    pub customer_name: &'static str,
    /// E.164.
    pub phone: &'static str,
    /// `COMPLETED`, `IN_PROGRESS`, `FAILED` or `NO_ANSWER`.
    pub status: &'static str,
    /// How it went; none while that is not known.
    pub outcome: Option<&'static str>,
    /// Seconds, of a completed call.
    pub duration: Option<u32>,
    /// When it was dispatched.
    pub start_time: Timestamp,
    /// None while it is in progress.
    pub end_time: Option<Timestamp>,
    /// `dispatch_{unix seconds}_{phone without +}`
    pub dispatch_id: String,
    /// Where the recording is in the bucket, and its sound (the clip's `mp4`).
    pub recording: Option<(String, &'static Clip)>,
}

/// An object of the bucket that no call in the index points to.
#[derive(Clone)]
pub struct DemoObject {
    /// Its key.
    pub key: String,
    /// Its content type.
    pub content_type: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
    /// The dispatch it can be found for; none for a LiveKit manifest.
    pub dispatch_id: Option<String>,
}

/// Start, seconds until recording began, name, phone, and how it went.
const CALLS: [(&str, i64, &str, &str, Went); 31] = [
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
enum Went {
    Promised,
    Appointed,
    CallBack,
    Voicemail,
    InProgress,
    Failed,
    NoAnswer,
}
use Went::{Appointed, CallBack, Failed, InProgress, NoAnswer, Promised, Voicemail};

/// `egress-recordings/{day}/outbound-{phone}_{unix}.mp4`; both the day (UTC) and the seconds are those when recording began.
fn s3_key(phone: &str, began: Timestamp) -> String {
    let day = began.to_zoned(TimeZone::UTC).strftime("%Y/%m/%d").to_string();
    format!(
        "egress-recordings/{day}/outbound-{}_{}.mp4",
        phone.trim_start_matches('+'),
        began.as_second()
    )
}

fn dispatch_id(phone: &str, start: Timestamp) -> String {
    format!("dispatch_{}_{}", start.as_second(), phone.trim_start_matches('+'))
}

/// The calls, newest first; the first one is the document's.
pub fn calls() -> Vec<DemoCall> {
    CALLS
        .iter()
        .enumerate()
        .map(|(index, (start, delay, name, phone, went))| call(index, start, *delay, name, phone, *went))
        .collect()
}

fn call(
    index: usize,
    start: &str,
    delay: i64,
    customer_name: &'static str,
    phone: &'static str,
    went: Went,
) -> DemoCall {
    let start_time = at(start);
    let (status, outcome, clip) = match went {
        Promised => ("COMPLETED", Some("PAYMENT_PROMISED"), Some(PAYMENT)),
        Appointed => ("COMPLETED", Some("APPOINTMENT_CONFIRMED"), Some(APPOINTMENT)),
        CallBack => ("COMPLETED", Some("CALLBACK_REQUESTED"), Some(CALLBACK)),
        Voicemail => ("COMPLETED", Some("VOICEMAIL"), Some(VOICEMAIL)),
        InProgress => ("IN_PROGRESS", None, None),
        Failed => ("FAILED", Some("CALL_FAILED"), None),
        NoAnswer => ("NO_ANSWER", Some("NO_ANSWER"), None),
    };
    let duration = clip.map(|clip| clip.mp4_seconds);
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
        recording: clip.map(|clip| (s3_key(phone, start_time + SignedDuration::from_secs(delay)), clip)),
    }
}

/// Two recordings that no index knows, to be found by the pattern of their keys (the second began after midnight, in the next day's folder),
/// and a LiveKit manifest, which is no recording.
pub fn unindexed_objects() -> Vec<DemoObject> {
    let recording = |start: &str, delay, phone, clip: &'static Clip| DemoObject {
        key: s3_key(phone, at(start) + SignedDuration::from_secs(delay)),
        content_type: "video/mp4",
        bytes: clip.mp4.unwrap_or_default(),
        dispatch_id: Some(dispatch_id(phone, at(start))),
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn clips_last_as_long_as_their_rows_say() {
        for clip in &CLIPS {
            let seconds = |bytes: &'static [u8]| {
                audio::decode(std::io::Cursor::new(bytes), |_, _, _| {})
                    .unwrap()
                    .seconds()
            };
            assert!(
                (seconds(clip.mp3) - f64::from(clip.mp3_seconds)).abs() < 0.5,
                "{} {}",
                clip.name,
                seconds(clip.mp3)
            );
            if let Some(mp4) = clip.mp4 {
                assert!(
                    (seconds(mp4) - f64::from(clip.mp4_seconds)).abs() < 0.5,
                    "{} {}",
                    clip.name,
                    seconds(mp4)
                );
            }
        }
    }

    #[test]
    fn the_documented_sentence_is_what_the_documented_recording_says() {
        assert_eq!(
            INTERVIEW.transcript(),
            "Hello, this is my response to the interview question. I have experience in software development and I'm excited \
             about this opportunity."
        );
    }

    #[test]
    fn recordings_have_every_status_and_their_own_sids() {
        let recordings = twilio_recordings();
        let statuses: BTreeSet<_> = recordings.iter().map(|recording| recording.status.as_str()).collect();
        let all = [
            "absent",
            "completed",
            "deleted",
            "in-progress",
            "paused",
            "processing",
            "stopped",
        ];
        assert_eq!(statuses, BTreeSet::from(all));
        let sids: BTreeSet<_> = recordings.iter().map(|recording| &recording.sid).collect();
        assert_eq!(sids.len(), recordings.len());
        assert!(sids.iter().all(|sid| sid.len() == 34 || *sid == "RE1234567890abcdef"));
        // The documents list 20 completed ones, and theirs is to be among them.
        assert!(
            recordings
                .iter()
                .filter(|recording| recording.status == "completed")
                .count()
                <= 20
        );
    }

    #[test]
    fn the_documented_call_is_the_newest() {
        let calls = calls();
        assert!(calls.is_sorted_by(|newer, older| newer.start_time > older.start_time));
        let first = &calls[0];
        assert_eq!(first.dispatch_id, "dispatch_1754653479_15103455686");
        let (key, clip) = first.recording.as_ref().unwrap();
        assert_eq!(key, "egress-recordings/2025/08/08/outbound-15103455686_1754653479.mp4");
        assert_eq!((first.duration, clip.mp4_seconds), (Some(180), 180));
        assert_eq!(first.end_time, Some(at("2025-08-08T11:47:39Z")));
        assert!(
            calls
                .iter()
                .filter_map(|call| call.recording.as_ref())
                .all(|(_, clip)| clip.mp4.is_some())
        );
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
}
