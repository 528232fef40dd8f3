use super::*;

#[test]
fn channels_are_cut_on_their_own() {
    let left = signal(8_000, 40.0, |t| if t < 20.0 { voice(t) } else { 0.0 });
    let right = signal(8_000, 40.0, |t| if t > 18.0 { voice(1.1 * t) } else { 0.0 });
    let recording = wav(8_000, 2, &interleaved(&left, &right));
    let measured = analyzed(&recording, Channels::Separate);
    assert_eq!(
        (measured.seconds, measured.channels, measured.identical_channels),
        (40.0, 2, false)
    );
    let (separate, analysis) = parts(recording.try_clone().unwrap(), plan(15.0, Channels::Separate));
    assert_eq!((analysis.channels, analysis.identical_channels), (2, false));
    for channel in [0, 1] {
        let own: Vec<_> = separate.iter().filter(|part| part.channel == channel).collect();
        assert!(own.iter().enumerate().all(|(n, part)| part.index as usize == n));
        let (start, end) = (own[0].start, own[own.len() - 1].end);
        let expected = [(0.0, 20.3), (17.7, 40.0)][channel as usize];
        assert!((start - expected.0).abs() < 0.03 && (end - expected.1).abs() < 0.03);
    }
    let (mixed, _) = parts(recording, plan(600.0, Channels::Mixed));
    assert_eq!((mixed[0].channel, mixed[0].start, mixed[0].end), (0, 0.0, 40.0));
}

#[test]
fn identical_channels_are_sent_once() {
    let left = signal(8_000, 20.0, voice);
    // Small differences, as caused by a codec.
    let right: Vec<_> = left
        .iter()
        .enumerate()
        .map(|(n, s)| s + 0.004 * (n as f64).sin())
        .collect();
    for right in [&left, &right] {
        let recording = wav(8_000, 2, &interleaved(&left, right));
        assert!(analyzed(&recording, Channels::Separate).identical_channels);
        let (parts, analysis) = parts(recording, plan(600.0, Channels::Separate));
        assert!(analysis.identical_channels);
        assert_eq!((parts.len(), parts[0].channel), (1, 0));
    }
}

#[test]
fn one_differing_word_makes_channels_differ() {
    let left = signal(8_000, 20.0, voice);
    for at in [0.0, 10.2, 19.7] {
        let right = signal(8_000, 20.0, |t| {
            voice(t)
                + if (at..at + 0.3).contains(&t) {
                    0.2 * (TAU * 500.0 * t).sin()
                } else {
                    0.0
                }
        });
        let recording = wav(8_000, 2, &interleaved(&left, &right));
        let measured = analyzed(&recording, Channels::Separate);
        assert!(!measured.identical_channels, "{at}");
        assert_eq!(measured.seconds, 20.0);
    }
}

#[test]
fn a_mono_file_has_one_channel_when_channels_are_separate() {
    let recording = wav(8_000, 1, &signal(8_000, 5.0, voice));
    let (parts, analysis) = parts(recording, plan(600.0, Channels::Separate));
    assert_eq!(
        (parts.len(), analysis.channels, analysis.identical_channels),
        (1, 1, false)
    );
}
