use super::*;

#[test]
fn mp3_and_mp4_recordings_are_read() {
    for (bytes, channels, seconds) in [(MONO, 1, 14.148_125), (DUAL, 2, 14.148_125)] {
        let measured = analyzed(&file(bytes), Channels::Separate);
        assert_eq!(measured.channels, channels);
        assert_eq!(measured.seconds, seconds);
        let (parts, analysis) = parts(file(bytes), plan(600.0, Channels::Mixed));
        assert_eq!(parts.len(), 1);
        assert_eq!(analysis.seconds, seconds);
        assert_eq!(analysis.corrupt_packets, 0);
    }
    let (parts, analysis) = parts(file(MP4), plan(600.0, Channels::Separate));
    assert_eq!((parts.len(), analysis.channels, analysis.corrupt_packets), (1, 1, 0));
    assert_eq!(analyzed(&file(MP4), Channels::Separate).seconds, analysis.seconds);
}

#[test]
fn an_mp3_of_variable_bit_rate_without_a_header_is_read_to_its_end() {
    // Empty frames, MPEG-2.5, 8 kHz, mono: some at 160 kbit/s, from which its length would be guessed, then many at 8 kbit/s.
    let frame = |rate: u8, length: usize| {
        let mut frame = vec![0_u8; length];
        frame[..4].copy_from_slice(&[0xff, 0xe3, rate << 4 | 0x08, 0xc0]);
        frame
    };
    let bytes = [frame(14, 1_440).repeat(30), frame(1, 72).repeat(970)].concat();
    assert_eq!(analyzed(&file(&bytes), Channels::Separate).seconds, 72.0);
    let (_, analysis) = parts(file(&bytes), plan(600.0, Channels::Mixed));
    assert_eq!(analysis.seconds, 72.0);
}

#[test]
fn telephone_wav_is_read() {
    // 8 kHz mu-law, as in RFC 3551: 0xff and 0x7f are silence, 0x80 and 0x00 the peaks.
    for format in [6_u16, 7] {
        let data: Vec<u8> = (0..16_000).map(|n| if n % 40 < 20 { 0x90 } else { 0x10 }).collect();
        let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0".to_vec();
        bytes.extend(format.to_le_bytes());
        bytes.extend([1, 0, 0x40, 0x1f, 0, 0, 0x40, 0x1f, 0, 0, 1, 0, 8, 0, 0, 0]);
        bytes.extend(b"fact\x04\0\0\0");
        bytes.extend(16_000_u32.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(16_000_u32.to_le_bytes());
        bytes.extend(data);
        let length = bytes.len() as u32 - 8;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        let (parts, analysis) = parts(file(&bytes), plan(600.0, Channels::Mixed));
        assert_eq!((parts.len(), analysis.seconds), (1, 2.0));
    }
}
