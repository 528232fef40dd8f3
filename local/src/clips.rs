//! The spoken clips of the demo, which the stand-in for Whisper recognizes.

/// A spoken text and recordings of it, made by `local/demo/make-clips`.
pub struct Clip {
    /// The files' name without extension.
    pub name: &'static str,
    /// One sentence (in a dialogue, one turn) per line.
    lines: &'static str,
    /// 8 kHz mono, like Twilio's recordings.
    pub mp3: &'static [u8],
    /// Whole seconds of `mp3`.
    pub mp3_seconds: u32,
    /// The same clip with a channel for each speaker.
    pub dual_mp3: Option<&'static [u8]>,
    /// AAC with `moov` at the end, as LiveKit egress writes it: the same speech with longer pauses, `mp4_seconds` long.
    pub mp4: Option<&'static [u8]>,
    /// Whole seconds of `mp4`.
    pub mp4_seconds: u32,
}

impl Clip {
    /// The sentences of the clip.
    pub fn sentences(&self) -> impl Iterator<Item = &'static str> {
        self.lines.lines()
    }

    /// The sentences, separated by spaces.
    pub fn transcript(&self) -> String {
        self.sentences().collect::<Vec<_>>().join(" ")
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
        }
    };
}

/// All clips.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_recording_has_the_documented_transcript() {
        assert_eq!(
            CLIPS[0].transcript(),
            "Hello, this is my response to the interview question. I have experience in software development and I'm excited \
             about this opportunity."
        );
    }
}
