//! The recordings of the Twilio account.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    credentials::ACCOUNT_SID,
    dates::{fixed, moved},
};
use crate::{
    clips::{CLIPS, Clip},
    standins::twilio::{Media, Recording},
};

const INTERVIEW: &Clip = &CLIPS[0];
const PAYMENT: &Clip = &CLIPS[1];
const APPOINTMENT: &Clip = &CLIPS[2];
const CALLBACK: &Clip = &CLIPS[3];
const VOICEMAIL: &Clip = &CLIPS[4];

/// 32 hex digits that depend only on the seed.
fn hex32(seed: &str) -> String {
    Sha256::digest(seed)[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The audio of a demo recording at Twilio.
enum Audio {
    Spoken(&'static Clip),
    /// The recording is listed as completed, but requests for its media return this status.
    Unreachable(u16),
    /// The media is in external storage.
    External(&'static Clip),
    /// The media is encrypted with a key that only the customer has.
    Encrypted,
    /// The recording is not completed or is deleted, with this status.
    Unavailable(&'static str),
}
use Audio::{Encrypted, External, Spoken, Unavailable, Unreachable};

/// The dates of recordings from this year on are shifted to the time of the demo.
const MOVED_SINCE: &str = "2025";

/// All recordings except the documented `RE1234567890abcdef`. A SID is derived from the date that is written here, so that it does not change
/// when the date is shifted.
const RECORDINGS: [(&str, &str, Audio); 31] = [
    ("2025-08-08T11:58:20Z", "OutboundAPI", Unavailable("in-progress")),
    ("2025-08-08T11:52:03Z", "StartCallRecordingAPI", Unavailable("paused")),
    ("2025-08-08T11:49:45Z", "OutboundAPI", Unavailable("processing")),
    ("2025-08-08T11:44:41Z", "OutboundAPI", Spoken(PAYMENT)),
    ("2025-08-07T16:05:12Z", "DialVerb", Spoken(APPOINTMENT)),
    ("2025-08-07T09:30:00Z", "OutboundAPI", Unavailable("absent")),
    ("2025-07-21T13:14:15Z", "OutboundAPI", Spoken(CALLBACK)),
    ("2025-07-04T18:40:59Z", "Trunking", Unavailable("deleted")),
    ("2025-06-30T23:59:59Z", "OutboundAPI", Spoken(VOICEMAIL)),
    ("2025-06-30T08:00:00Z", "OutboundAPI", External(CALLBACK)),
    ("2025-05-12T10:10:10Z", "OutboundAPI", Encrypted),
    (
        "2025-03-03T15:45:00Z",
        "StartConferenceRecordingAPI",
        Spoken(APPOINTMENT),
    ),
    ("2025-01-09T12:00:00Z", "OutboundAPI", Unreachable(410)),
    ("2024-03-28T17:22:31Z", "OutboundAPI", Spoken(VOICEMAIL)),
    ("2024-03-15T11:11:11Z", "RecordVerb", Unavailable("stopped")),
    ("2024-03-01T00:00:00Z", "OutboundAPI", Spoken(CALLBACK)),
    ("2024-02-29T23:30:00Z", "DialVerb", Spoken(APPOINTMENT)),
    ("2024-02-14T09:05:44Z", "RecordVerb", Unavailable("absent")),
    ("2024-02-01T14:00:27Z", "OutboundAPI", Spoken(PAYMENT)),
    ("2024-01-31T23:59:58Z", "OutboundAPI", Spoken(VOICEMAIL)),
    ("2024-01-31T08:15:00Z", "OutboundAPI", Unavailable("processing")),
    ("2024-01-24T10:20:30Z", "RecordVerb", Unreachable(404)),
    ("2024-01-18T16:48:02Z", "OutboundAPI", Spoken(CALLBACK)),
    ("2024-01-15T10:42:10Z", "RecordVerb", Unavailable("in-progress")),
    ("2024-01-12T13:37:00Z", "RecordVerb", Spoken(INTERVIEW)),
    ("2024-01-08T07:59:59Z", "StartCallRecordingAPI", Unavailable("paused")),
    ("2024-01-01T00:00:00Z", "OutboundAPI", Spoken(VOICEMAIL)),
    ("2023-12-31T23:59:59Z", "DialVerb", Spoken(APPOINTMENT)),
    ("2023-12-22T12:12:12Z", "RecordVerb", Unavailable("stopped")),
    ("2023-12-11T19:03:40Z", "OutboundAPI", Unavailable("deleted")),
    ("2023-12-01T06:30:00Z", "OutboundAPI", External(VOICEMAIL)),
];

/// The recordings of the Twilio account, with all seven statuses, media that is not available, in external storage or encrypted, and one or two
/// channels. The newest ones are in the months before `time`; those up to 2024 have fixed dates.
pub fn twilio_recordings(time: Timestamp) -> Vec<Recording> {
    let documented = Recording {
        sid: "RE1234567890abcdef".into(),
        call_sid: "CA1234567890abcdef".into(),
        source: "RecordVerb".into(),
        duration: Some(45),
        date_created: fixed("2024-01-15T10:30:00Z"),
        date_updated: fixed("2024-01-15T10:30:30Z"),
        start_time: fixed("2024-01-15T10:30:00Z"),
        price: Some("0.0025".into()),
        track: Some("both".into()),
        media: Media::mp3(INTERVIEW.mp3),
        ..Recording::default()
    };
    RECORDINGS
        .iter()
        .map(|(created, source, audio)| recording(created, time, source, audio))
        .chain([documented])
        .collect()
}

fn recording(created: &str, time: Timestamp, source: &str, audio: &Audio) -> Recording {
    let sid = format!("RE{}", hex32(created));
    let start = match created < MOVED_SINCE {
        true => fixed(created),
        false => moved(created, time),
    };
    let mut recording = Recording {
        call_sid: format!("CA{}", hex32(&sid)),
        conference_sid: source.contains("Conference").then(|| format!("CF{}", hex32(&sid))),
        source: source.into(),
        date_created: start,
        start_time: start,
        ..Recording::default()
    };
    match audio {
        Spoken(clip) => {
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
        Unavailable(status) => {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::demo::DOCUMENTED_TIME;

    #[test]
    fn recordings_have_every_status_and_their_own_sids() {
        let recordings = twilio_recordings(DOCUMENTED_TIME);
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
        // The documented request lists 20 completed recordings, which must include the documented one.
        assert!(
            recordings
                .iter()
                .filter(|recording| recording.status == "completed")
                .count()
                <= 20
        );
    }

    #[test]
    fn sids_stay_the_same_when_dates_move() {
        let later = DOCUMENTED_TIME + SignedDuration::from_hours(1000);
        let pairs = std::iter::zip(twilio_recordings(DOCUMENTED_TIME), twilio_recordings(later));
        let (mut moved, mut fixed) = (0, 0);
        for (before, after) in pairs {
            assert_eq!(before.sid, after.sid);
            match after.date_created.duration_since(before.date_created).as_hours() {
                0 => fixed += 1,
                hours => moved += usize::from(hours == 1000),
            }
        }
        assert_eq!((moved, fixed), (13, 19));
    }
}
