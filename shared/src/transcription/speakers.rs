//! The names of speakers and their turns.

use crate::{clients::whisper::Segment, config::Env};

/// The names of the speakers, by channel.
#[derive(Debug, Clone)]
pub struct SpeakerNames(Vec<String>);

impl SpeakerNames {
    /// Reads `SPEAKER_NAMES`, separated by commas (default `agent,customer`).
    pub fn from_env(env: &Env) -> Self {
        let names = env.optional("SPEAKER_NAMES").unwrap_or("agent,customer").split(',');
        Self(names.map(|name| name.trim().to_owned()).collect())
    }

    /// The name of a segment's speaker: of its voice or its channel.
    pub fn of_segment(&self, segment: &Segment) -> Option<String> {
        let of_channel = || segment.channel.map(|channel| self.of(channel));
        segment.speaker.clone().or_else(of_channel)
    }

    /// The name of a channel, counted from 0.
    pub fn of(&self, channel: u8) -> String {
        let name = self.0.get(usize::from(channel)).filter(|name| !name.is_empty());
        name.cloned().unwrap_or_else(|| format!("channel_{}", channel + 1))
    }
}

/// Joins consecutive segments of the same speaker.
pub fn turns(segments: &[Segment]) -> Vec<Segment> {
    let mut turns: Vec<Segment> = Vec::new();
    for segment in segments.iter().filter(|segment| !segment.text.is_empty()) {
        match turns.last_mut() {
            Some(turn) if (turn.channel, &turn.speaker) == (segment.channel, &segment.speaker) => {
                turn.end = turn.end.max(segment.end);
                turn.text.push(' ');
                turn.text.push_str(&segment.text);
            }
            // It says something of a sentence, not of a whole turn.
            _ => turns.push(Segment {
                unsure: false,
                ..segment.clone()
            }),
        }
    }
    turns
}
