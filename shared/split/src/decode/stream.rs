//! The current track and its timestamps.

use symphonia::core::{
    codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3},
    packet::Packet,
};

use super::{
    adapt::Format,
    codec::Codec,
    open::{self, Clock, Track},
};

/// The current track: that of the file, or of one stream of a chained file.
pub(super) struct Stream {
    pub(super) track: Track,
    pub(super) codec: Codec,
    /// The timestamp of its first sample; set with the first packet.
    pub(super) origin: Option<i64>,
    /// Its start in the recording in frames.
    pub(super) base: u64,
    /// The common header fields of MPEG frames until the format changes.
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

    /// The length of a tick of the track's timestamps in seconds.
    pub(super) fn tick(&self) -> f64 {
        let rate = self.format.map_or(1, |format| format.rate);
        self.track.time_base.map_or(1.0 / f64::from(rate), open::seconds)
    }

    /// Sets the start of the recording, which is after the encoder's delay.
    pub(super) fn set_origin(&mut self, first: &Packet) {
        let pts = first.pts.get();
        let delay = (self.codec.pre_skip() / self.tick()).round() as i64;
        self.origin.get_or_insert(match pts {
            // The container's timestamps already exclude the delay.
            ..0 => 0,
            0.. => pts.saturating_add(delay),
        });
    }

    /// Whether the packet is a lost block of the file, which contains only zeros. Some decoders would decode it as silence of another length; in
    /// PCM and ADPCM it is silence.
    pub(super) fn is_lost(&self, packet: &Packet) -> bool {
        packet.data.len() > 8 && !self.codec.is_pcm() && is_blank(packet)
    }

    /// Whether the packet may be in the missing part of a truncated file.
    pub(super) fn may_be_missing(&self, packet: &Packet) -> bool {
        self.track.truncated && is_blank(packet)
    }

    /// The packet's start in seconds of the stream; negative before the start of the recording.
    pub(super) fn start_of(&self, packet: &Packet) -> f64 {
        packet.pts.get().saturating_sub(self.origin.unwrap_or(0)) as f64 * self.tick()
    }

    /// The length according to the container in seconds.
    pub(super) fn promised(&self) -> Option<f64> {
        let origin = self.origin.unwrap_or(0) as f64;
        let reached = Some(self.reached as f64).filter(|_| self.track.clock != Clock::Counted);
        let end = self.track.end.into_iter().chain(reached).max_by(f64::total_cmp)?;
        let promised = (end - origin) * self.tick();
        (promised > 0.0).then_some(promised)
    }

    /// Version, layer, rate and mono flag of an MPEG frame.
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
