//! Samples to a FLAC file.

use bytes::Bytes;
use flacenc::{
    bitsink::ByteSink,
    component::{BitRepr, Stream, StreamInfo},
    config, encode_fixed_size_frame,
    error::Verify,
    source::{Context, Fill, FrameBuf},
};

use super::SplitError;

/// Samples in one FLAC frame.
const BLOCK: usize = 4096;

/// Mono 16-bit FLAC. One frame at a time: the encoder's own loop holds the frames of the whole file, many times its size.
pub(super) fn encode(samples: &[i16], rate: u32) -> Result<Bytes, SplitError> {
    let mut config = config::Encoder::default();
    // It would make files a fifth smaller and take half as long again.
    config.subframe_coding.use_lpc = false;
    let config = config.into_verified().map_err(|_| SplitError::Encoding)?;
    let mut info = StreamInfo::new(rate as usize, 1, 16).map_err(|_| SplitError::Encoding)?;
    let mut block = FrameBuf::with_size(1, BLOCK).map_err(|_| SplitError::Encoding)?;
    let mut context = Context::new(16, 1);
    let mut frames = ByteSink::new();
    let mut bytes = Vec::with_capacity(2 * BLOCK);
    for (number, samples) in samples.chunks(BLOCK).enumerate() {
        bytes.clear();
        bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        (&mut block, &mut context)
            .fill_le_bytes(&bytes, 2)
            .map_err(|_| SplitError::Encoding)?;
        let frame = encode_fixed_size_frame(&config, &block, number, &info).map_err(|_| SplitError::Encoding)?;
        info.update_frame_info(&frame);
        frame.write(&mut frames).map_err(|_| SplitError::Encoding)?;
    }
    info.set_block_sizes(BLOCK, BLOCK).map_err(|_| SplitError::Encoding)?;
    info.set_md5_digest(&context.md5_digest());
    let mut file = ByteSink::new();
    Stream::with_stream_info(info)
        .write(&mut file)
        .map_err(|_| SplitError::Encoding)?;
    let mut file = file.into_inner();
    file.extend_from_slice(frames.as_slice());
    Ok(file.into())
}
