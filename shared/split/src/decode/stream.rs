//! The track that is being read, and its clock.

use symphonia::core::{
    codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3},
    packet::Packet,
};

use super::{
    adapt::Format,
    codec::Codec,
    open::{self, Clock, Track},
};

/// The track that is being read: the file's, or one link of a chained file.
pub(super) struct Stream {
    pub(super) track: Track,
    pub(super) codec: Codec,
    /// The timestamp of its first sample; known with the first packet.
    pub(super) origin: Option<i64>,
    /// Where it starts in the recording, in frames.
    pub(super) base: u64,
    /// What MPEG frames have in common until the format changes.
    pub(super) header: Option<[u8; 3]>,
    /// The latest timestamp at which a packet ends.
    pub(super) reached: i64,
    pub(super) format: Option<Format>,
}

impl Stream {
    pub(super) fn new(track: Track, codec: Codec, base: u64) -> Self {
        Self {
            origin: track.origin,
            track,
            codec,
            base,
            header: None,
            reached: 0,
            format: None,
        }
    }

    /// Seconds of one tick of the track's clock.
    pub(super) fn tick(&self) -> f64 {
        let rate = self.format.map_or(1, |format| format.rate);
        self.track.time_base.map_or(1.0 / f64::from(rate), open::seconds)
    }

    /// Notes when the recording starts. The encoder's delay comes before it.
    pub(super) fn set_origin(&mut self, first: &Packet) {
        let pts = first.pts.get();
        let delay = (self.codec.pre_skip() / self.tick()).round() as i64;
        self.origin.get_or_insert(match pts {
            // The container has taken the delay into account.
            ..0 => 0,
            0.. => pts.saturating_add(delay),
        });
    }

    /// Whether the packet is a lost block of the file, which reads as zeros. Some decoders would take it for silence of another length; in PCM and
    /// ADPCM it is silence.
    pub(super) fn is_lost(&self, packet: &Packet) -> bool {
        packet.data.len() > 8 && !self.codec.is_pcm() && is_blank(packet)
    }

    /// Whether the packet may be of what a truncated file lacks.
    pub(super) fn may_be_missing(&self, packet: &Packet) -> bool {
        self.track.truncated && is_blank(packet)
    }

    /// When the packet starts, in seconds of the stream; negative before its start.
    pub(super) fn start_of(&self, packet: &Packet) -> f64 {
        packet.pts.get().saturating_sub(self.origin.unwrap_or(0)) as f64 * self.tick()
    }

    /// What the container promises, in seconds.
    pub(super) fn promised(&self) -> Option<f64> {
        let origin = self.origin.unwrap_or(0) as f64;
        let reached = Some(self.reached as f64).filter(|_| self.track.clock != Clock::Counted);
        let end = self.track.end.into_iter().chain(reached).max_by(f64::total_cmp)?;
        let promised = (end - origin) * self.tick();
        (promised > 0.0).then_some(promised)
    }

    /// Version, layer, rate and whether it is mono, of an MPEG frame.
    pub(super) fn mpeg_header(&self, packet: &Packet) -> Option<[u8; 3]> {
        if ![CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3].contains(&self.track.parameters.codec)
            || self.track.clock != Clock::Counted
        {
            return None;
        }
        match packet.data[..] {
            [0xff, second, third, fourth, ..] => Some([second & 0xfe, third & 0x0c, u8::from(fourth >> 6 == 3)]),
            _ => None,
        }
    }
}

fn is_blank(packet: &Packet) -> bool {
    packet.data.iter().all(|byte| *byte == 0)
}
