use super::*;

#[test]
fn resampling_does_not_drift() {
    for rate in [8_000_u32, 44_100] {
        let mut resampler = Resampler::new(rate, 16_000).unwrap();
        let mut out = Vec::new();
        for _ in 0..30 {
            let mut second = vec![0.0; rate as usize];
            second[rate as usize / 2] = 0.9;
            resampler.push(&second, &mut out).unwrap();
        }
        resampler.finish(&mut out).unwrap();
        assert_eq!(out.len(), 30 * 16_000);
        for (n, second) in out.chunks(16_000).enumerate() {
            let peak = (0..16_000)
                .max_by(|one, other| second[*one].total_cmp(&second[*other]))
                .unwrap();
            let exact = (rate / 2) as f64 * 16_000.0 / f64::from(rate);
            assert!((peak as f64 - exact).abs() <= 1.0, "{rate} Hz, second {n}: {peak}");
        }
    }
}

#[test]
fn the_longest_part_of_noise_is_under_the_limit_of_the_api() {
    let mut state = 1_u32;
    let noise: Vec<i16> = (0..16_000 * 20)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16
        })
        .collect();
    let bytes = flac::encode(&noise, 16_000).unwrap().len() as f64;
    assert!(bytes / 20.0 * LONGEST.as_secs_f64() < 24.5 * 1024.0 * 1024.0);
}

#[test]
fn flac_of_any_length_decodes_to_the_same_samples() {
    for length in [1, 2, 15, 16, 17, 31, 33, 100, 4_095, 4_096, 4_097, 8_193, 12_288] {
        let samples: Vec<i16> = (0..length).map(|n| (n * 7_919 % 60_013 - 30_000) as i16).collect();
        let spans = Spans {
            spans: Vec::new(),
            rate: 16_000,
        };
        let audio = flac::encode(&samples, 16_000).unwrap();
        let part = Part {
            index: 0,
            channel: 0,
            start: 0.0,
            end: 0.0,
            audio,
            seconds: 0.0,
            spans,
        };
        assert_eq!(samples_of(&part), samples, "{length}");
    }
}
