//! Malicious files that consume time or memory, and cancellation.

use super::*;

/// The boxes of an MP4: name and content.
fn mp4_box(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], name, content].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// An MP4 with 16-bit samples and these sample tables.
fn mp4(stts: &[u32], sizes: &[u32], chunks: &[u32], edits: &[u32], data: &[u8]) -> Vec<u8> {
    let entry = {
        let fields = [
            &[0; 6][..],
            &[0, 1],
            &[0; 8],
            &[0, 1, 0, 16, 0, 0, 0, 0],
            &words(&[8_000 << 16]),
        ]
        .concat();
        mp4_box(b"sowt", &fields)
    };
    let table = [
        mp4_box(b"stsd", &[words(&[0, 1]), entry].concat()),
        mp4_box(b"stts", &words(stts)),
        mp4_box(b"stsc", &words(&[0, 1, 1, sizes[2] / (chunks.len() as u32 - 2), 1])),
        mp4_box(b"stsz", &words(sizes)),
        mp4_box(b"stco", &words(chunks)),
    ];
    let info = [
        mp4_box(b"smhd", &[0; 8]),
        mp4_box(b"dinf", &[]),
        mp4_box(b"stbl", &table.concat()),
    ];
    let media = [
        mp4_box(b"mdhd", &words(&[0, 0, 0, 8_000, 8_000, 0])),
        mp4_box(b"hdlr", &[&words(&[0, 0])[..], b"soun", &[0; 13]].concat()),
        mp4_box(b"minf", &info.concat()),
    ];
    let header = [words(&[7, 0, 0, 1, 0, 8_000]), vec![0; 60]].concat();
    let track = [
        mp4_box(b"tkhd", &header),
        mp4_box(b"edts", &mp4_box(b"elst", &words(edits))),
        mp4_box(b"mdia", &media.concat()),
    ];
    let movie = [
        mp4_box(b"mvhd", &[words(&[0, 0, 0, 8_000, 8_000]), vec![0; 80]].concat()),
        mp4_box(b"trak", &track.concat()),
    ];
    [
        mp4_box(b"ftyp", b"isom\0\0\0\0isom"),
        mp4_box(b"moov", &movie.concat()),
        mp4_box(b"mdat", data),
    ]
    .concat()
}

/// Checks that the file is rejected or processed quickly.
fn assert_bounded(name: &str, bytes: &[u8]) {
    match analyze(&recording(&file(bytes)), &plan(600.0, Channels::Mixed)) {
        Ok(analysis) => {
            let bound = 600_f64.max(bytes.len() as f64 / 8.0);
            assert!(analysis.seconds <= bound, "{name}: {analysis:?}");
        }
        Err(SplitError::Implausible | SplitError::Unsupported | SplitError::Empty) => {}
        Err(error) => panic!("{name}: {error:?}"),
    }
}

#[test]
fn sample_tables_that_multiply_a_few_bytes_do_not_burn_time() {
    let data = [0x55; 4_000];
    let all = u32::MAX;
    for (name, stts, sizes) in [
        (
            "samples without bytes",
            vec![0, 1, all, 160],
            [vec![0, 0, 20_000], vec![0; 20_000]].concat(),
        ),
        (
            "one size for four billion samples",
            vec![0, 1, all, 160],
            vec![0, 160, all],
        ),
        ("samples that last for days", vec![0, 1, 4_000, all], vec![0, 1, 4_000]),
        (
            "half hours between samples",
            vec![0, 1, 4_000, 14_400_000],
            vec![0, 1, 4_000],
        ),
        (
            "counts that overflow",
            [vec![0, 300], [all, 1].repeat(300)].concat(),
            vec![0, 160, 25],
        ),
        ("more entries than bytes", vec![0, all, 1, 160], vec![0, 160, 25]),
    ] {
        for edits in [
            &[0, 0][..],
            &[0, 1, all, all, 1],
            &[0, all, 1, 0, 1],
            &[0, 2, 40_000_000, all, 1, 1, 0, 1],
        ] {
            assert_bounded(name, &mp4(&stts, &sizes, &[0, 1, 600], edits, &data));
        }
    }
    let chunks = [vec![0, 10_000], vec![600; 10_000]].concat();
    assert_bounded(
        "chunks of the same bytes",
        &mp4(&[0, 1, all, 160], &[0, 4_000, all], &chunks, &[0, 0], &data),
    );
}

#[test]
fn a_plain_mp4_of_the_same_make_is_read() {
    let bytes = mp4(&[0, 1, 25, 160], &[0, 160, 25], &[0, 1, 600], &[0, 0], &[0x55; 4_000]);
    let analysis = analyze(&recording(&file(&bytes)), &plan(600.0, Channels::Mixed));
    assert!(
        analysis.as_ref().is_ok_and(|analysis| analysis.seconds > 0.4),
        "{analysis:?}"
    );
}

#[test]
fn more_time_than_a_file_of_this_size_can_hold_is_refused_unless_the_provider_promised_it() {
    // Digital silence in FLAC: 12 bytes for four seconds.
    let block = flac::encode(&vec![0; 8_000 * 700], 1_000).unwrap();
    let file = file(&block);
    let mut recording = recording(&file);
    let plan = plan(600.0, Channels::Mixed);
    assert!(matches!(analyze(&recording, &plan), Err(SplitError::Implausible)));
    recording.promised_seconds = Some(5_600.0);
    assert_eq!(analyze(&recording, &plan).unwrap().seconds, 5_600.0);
}

#[test]
fn a_cancelled_call_ends_before_the_next_packet() {
    let wav = wav(8_000, 2, &signal(8_000, 60.0, voice));
    let cancelled = AtomicBool::new(false);
    let recording = AudioFile {
        cancelled: &cancelled,
        ..recording(&wav)
    };
    let mut parts = 0;
    let result = split(&recording, &plan(2.0, Channels::Mixed), &mut |_| {
        parts += 1;
        cancelled.store(true, std::sync::atomic::Ordering::Relaxed);
        ControlFlow::Continue(())
    });
    assert!(matches!(result, Err(SplitError::Cancelled)));
    assert_eq!(parts, 1);
    assert!(matches!(
        analyze(&recording, &plan(2.0, Channels::Mixed)),
        Err(SplitError::Cancelled)
    ));
}

#[test]
fn a_long_file_of_which_little_is_left_is_not_taken_for_a_crafted_one() {
    let samples: Vec<u8> = (0..400_000).map(|n| (n % 251 + 1) as u8).collect();
    let whole = mp4(&[0, 1, 2_500, 80], &[0, 160, 2_500], &[0, 1, 600], &[0, 0], &samples);
    let file = file(&whole[..40_000]);
    let analysis = analyze(&recording(&file), &plan(600.0, Channels::Mixed)).unwrap();
    let coverage = analysis.coverage;
    assert!(
        (2.0..3.0).contains(&coverage.decoded_seconds) && !coverage.is_complete(),
        "{coverage:?}"
    );
}
