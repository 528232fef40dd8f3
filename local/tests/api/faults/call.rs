//! A call of its own for each case.

use jiff::{SignedDuration, Timestamp};
use local::{
    demo,
    standins::{
        tones::{Script, Wav},
        twilio::{Media, Recording},
    },
};

use super::lane::Lane;

/// The ids of a call, and its sound.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) began: Timestamp,
}

impl Call {
    pub(super) fn new(number: u64) -> Self {
        let began = Timestamp::now() - SignedDuration::from_hours(3);
        let began = Timestamp::from_second(began.as_second()).unwrap();
        Self { number, began }
    }

    pub(super) fn phone(&self) -> String {
        (15_550_100_000 + self.number).to_string()
    }

    pub(super) fn dispatch(&self) -> String {
        format!("dispatch_{}_{}", self.began.as_second(), self.phone())
    }

    pub(super) fn key(&self) -> String {
        let day = self.began.strftime("%Y/%m/%d");
        format!(
            "egress-recordings/{day}/outbound-{}_{}.wav",
            self.phone(),
            self.began.as_second() + 2
        )
    }

    pub(super) fn sid(&self) -> String {
        format!("RE{:032x}", 0xfa00_0000 + self.number)
    }

    pub(super) fn call_sid(&self) -> String {
        format!("CA{:032x}", 0xfa00_0000 + self.number)
    }

    pub(super) fn interaction(&self) -> String {
        format!("i-faults-{}-", self.number)
    }

    /// What names the call in items and keys.
    pub(super) fn names(&self) -> [String; 4] {
        [self.phone(), self.sid(), self.call_sid(), self.interaction()]
    }

    /// A text without what names the call, without its time and without random ids.
    pub(super) fn anonymous(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, stands_for) in [
            (self.sid(), "SID"),
            (self.call_sid(), "CALL"),
            (self.phone(), "PHONE"),
            (self.interaction(), "INTERACTION"),
            ((self.began.as_second() + 2).to_string(), "LATER"),
            (self.began.as_second().to_string(), "BEGAN"),
            (self.began.strftime("%Y/%m/%d").to_string(), "DAY"),
        ] {
            text = text.replace(&name, stands_for);
        }
        let mut plain = String::new();
        for word in text.split_inclusive(|it: char| !it.is_ascii_alphanumeric()) {
            let bare = word.trim_end_matches(|it: char| !it.is_ascii_alphanumeric());
            match bare.len() >= 10 && bare.chars().any(|it| it.is_ascii_digit()) {
                true => plain.push_str(&word.replace(bare, "#")),
                false => plain.push_str(word),
            }
        }
        plain
    }

    pub(super) fn script(&self) -> Script {
        Script::spoken(3.0, self.number)
    }

    /// Writes LiveKit's recording, without an event.
    pub(super) fn egress(&self, lane: &Lane) {
        lane.stack
            .put_object(&self.key(), &Wav::new(16_000, [self.script()]).bytes());
    }

    /// Twilio has a recording of the call.
    pub(super) fn twilio(&self, lane: &Lane) {
        let twilio = &lane.stack.stack.twilio;
        twilio.add_call(self.call_sid(), format!("+{}", self.phone()));
        twilio.add(Recording {
            sid: self.sid(),
            call_sid: self.call_sid(),
            duration: Some(3),
            start_time: self.began,
            date_created: self.began,
            date_updated: self.began,
            media: Media::Tones(Wav::new(8_000, [self.script()])),
            ..Recording::default()
        });
    }

    /// The parameters of Twilio's callback.
    pub(super) fn callback(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AccountSid", demo::ACCOUNT_SID.to_owned()),
            ("CallSid", self.call_sid()),
            ("RecordingSid", self.sid()),
            ("RecordingStatus", "completed".to_owned()),
            (
                "RecordingStartTime",
                self.began.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string(),
            ),
        ]
    }
}
