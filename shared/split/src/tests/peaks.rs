use super::*;

#[test]
fn peaks_outline_each_channel_at_any_length() {
    for (seconds, points) in [
        (0.5, 50..=50),
        (7.3, 730..=730),
        (60.0, 512..=1024),
        (1_000.0, 512..=1024),
    ] {
        let loud = |t: f64| (seconds * 0.4..seconds * 0.6).contains(&t);
        let left = signal(8_000, seconds, |t| {
            if loud(t) { 0.5 * (TAU * 440.0 * t).sin() } else { 0.0 }
        });
        let right = signal(8_000, seconds, |t| 0.1 * (TAU * 300.0 * t).sin());
        let peaks = analyzed(&wav(8_000, 2, &interleaved(&left, &right)), Channels::Mixed).peaks;
        assert_eq!(peaks.channels.len(), 2);
        for (channel, value) in [(0, 128), (1, 26)] {
            let channel = &peaks.channels[channel];
            assert!(points.contains(&channel.len()), "{seconds} s: {}", channel.len());
            let covered = channel.len() as f64 * peaks.seconds_per_point;
            assert!(
                covered >= seconds - 1e-6 && covered - seconds < peaks.seconds_per_point,
                "{covered} for {seconds}"
            );
            assert!(
                channel[channel.len() / 2].abs_diff(value) <= 1,
                "{seconds} s: {}",
                channel[channel.len() / 2]
            );
        }
        assert_eq!((peaks.channels[0][0], peaks.channels[0].last()), (0, Some(&0)));
    }
}
