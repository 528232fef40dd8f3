use super::*;

#[test]
fn a_truncated_file_gives_the_audio_that_is_there() {
    let (whole, _) = parts(file(MONO), plan(600.0, Channels::Mixed));
    let (half, analysis) = parts(file(&MONO[..MONO.len() / 2]), plan(600.0, Channels::Mixed));
    assert!((analysis.seconds - 7.2).abs() < 0.3, "{}", analysis.seconds);
    let (whole, half) = (samples_of(&whole[0]), samples_of(&half[0]));
    assert_eq!(whole[..40_000], half[..40_000]);

    let recording = wav(8_000, 1, &signal(8_000, 10.0, voice));
    recording.set_len(44 + 2 * 8_000 * 4).unwrap();
    let (_, analysis) = parts(recording, plan(600.0, Channels::Mixed));
    assert!((analysis.seconds - 4.0).abs() < 0.2, "{}", analysis.seconds);
}

#[test]
fn damage_in_the_middle_is_skipped_and_times_after_it_hold() {
    let (whole, _) = parts(file(MONO), plan(600.0, Channels::Mixed));
    let mut damaged = MONO.to_vec();
    // Overwrites the side information and main data of some of the 288-byte frames, but not their headers.
    let first = 10 + usize::from(MONO[8]) * 128 + usize::from(MONO[9]);
    for frame in 100..110 {
        let at = first + frame * 288;
        assert_eq!(damaged[at..at + 2], [0xff, 0xe3]);
        damaged[at + 4..at + 64].fill(0x7f);
    }
    let (parts, analysis) = parts(file(&damaged), plan(600.0, Channels::Mixed));
    assert!(
        (1..=12).contains(&analysis.corrupt_packets),
        "{}",
        analysis.corrupt_packets
    );
    let (whole, damaged) = (samples_of(&whole[0]), samples_of(&parts[0]));
    assert_eq!(analysis.seconds, 14.148_125);
    let tails = whole.iter().rev().zip(damaged.iter().rev()).take(20_000);
    let differ = tails.filter(|(whole, damaged)| whole.abs_diff(**damaged) > 50).count();
    assert_eq!(differ, 0);
}

#[test]
fn a_file_that_is_not_audio_is_refused() {
    let refused = |bytes: &[u8]| {
        let plan = plan(600.0, Channels::Separate);
        split(&recording(&file(bytes)), &plan, &mut |_| panic!("a part")).unwrap_err()
    };
    assert!(matches!(refused(b""), SplitError::Empty));
    assert!(matches!(
        refused(b"<?xml version=\"1.0\"?><Error/>"),
        SplitError::Unsupported
    ));
    assert!(matches!(refused(&[0x55; 100_000]), SplitError::Unsupported));
    assert!(matches!(refused(&MP4[..MP4.len() / 2]), SplitError::Unsupported));
    assert!(matches!(
        analyze(&recording(&file(b"")), &plan(600.0, Channels::Separate)),
        Err(SplitError::Empty)
    ));

    let header = wav(8_000, 1, &[]);
    let plan = plan(600.0, Channels::Mixed);
    assert!(matches!(
        split(&recording(&header), &plan, &mut |_| panic!("a part")),
        Err(SplitError::Empty)
    ));
}

#[test]
fn a_receiver_that_stops_in_the_silence_of_damage_gets_a_coverage() {
    let mut damaged = matrix::named("opus.mp4").to_vec();
    let length = damaged.len();
    damaged[length / 50..length * 9 / 10].fill(0);
    let file = file(&damaged);
    let decoded = decode(&recording(&file), &mut |block| {
        // Silence is passed in blocks of a second, packets are shorter.
        Ok(match block.samples.len() {
            0..16_000 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        })
    });
    let Coverage { decoded_seconds, .. } = decoded.unwrap().coverage;
    assert!((0.0..0.7).contains(&decoded_seconds), "{decoded_seconds}");
}
