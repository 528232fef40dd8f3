//! Encodes samples as a FLAC file.

use bytes::Bytes;
use flacenc::{
    bitsink::ByteSink,
    component::{BitRepr, Stream, StreamInfo},
    config, encode_fixed_size_frame,
    error::Verify,
    source::{Fill, FrameBuf},
};

use super::SplitError;

/// Samples in one FLAC frame.
const BLOCK: usize = 4096;

/// Encodes mono 16-bit FLAC, one frame at a time, because the encoder's own loop holds the frames of the whole file in memory, many times its
/// size.
pub(super) fn encode(samples: &[i16], rate: u32) -> Result<Bytes, SplitError> {
    let mut config = config::Encoder::default();
    // LPC would make files a fifth smaller and take 50 % more time.
    config.subframe_coding.use_lpc = false;
    // Higher orders take a sixth more time and are hardly ever chosen for speech.
    config.subframe_coding.fixed.max_order = 2;
    let config = config.into_verified().map_err(|_| SplitError::Encoding)?;
    let mut info = StreamInfo::new(rate as usize, 1, 16).map_err(|_| SplitError::Encoding)?;
    let mut block = FrameBuf::with_size(1, BLOCK).map_err(|_| SplitError::Encoding)?;
    let mut frames = ByteSink::new();
    let mut wide = Vec::with_capacity(BLOCK);
    for (number, samples) in samples.chunks(BLOCK).enumerate() {
        wide.clear();
        wide.extend(samples.iter().copied().map(i32::from));
        block.fill_interleaved(&wide).map_err(|_| SplitError::Encoding)?;
        let frame = encode_fixed_size_frame(&config, &block, number, &info).map_err(|_| SplitError::Encoding)?;
        info.update_frame_info(&frame);
        frame.write(&mut frames).map_err(|_| SplitError::Encoding)?;
    }
    info.set_block_sizes(BLOCK, BLOCK).map_err(|_| SplitError::Encoding)?;
    info.set_total_samples(samples.len());
    // Without an MD5 digest decoders only check the frames' checksums; computing one takes a tenth of the time.
    let mut file = ByteSink::new();
    Stream::with_stream_info(info)
        .write(&mut file)
        .map_err(|_| SplitError::Encoding)?;
    let mut file = file.into_inner();
    file.extend_from_slice(frames.as_slice());
    Ok(file.into())
}
