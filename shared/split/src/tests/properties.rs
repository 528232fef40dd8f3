use proptest::prelude::*;

use super::*;

/// Intervals of noise and silence in milliseconds.
fn stretches() -> impl Strategy<Value = Vec<(bool, u32)>> {
    prop::collection::vec((any::<bool>(), 1_u32..5_000), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_sample_is_lost_or_sent_twice(stretches in stretches(), longest in 2_000_u64..12_000, piece in 1_usize..5_000) {
        let mut state = 7_u32;
        let mut recording = Vec::new();
        for (loud, milliseconds) in stretches {
            for _ in 0..milliseconds * 16 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 16) as i16;
                recording.push(if loud { noise / 8 } else { noise / 8_192 });
            }
        }
        let mut cutter = Cutter::new(0, 16_000, Duration::from_millis(longest), true);
        let longest = longest as usize * 16;
        let mut parts = Vec::new();
        for samples in recording.chunks(piece) {
            cutter.push(samples).unwrap();
            parts.extend(cutter.parts());
        }
        cutter.finish().unwrap();
        parts.extend(cutter.parts());

        let mut reached = 0;
        let mut left_out = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            prop_assert_eq!(part.index as usize, index);
            let samples = samples_of(part);
            prop_assert!(samples.len() <= longest);
            prop_assert_eq!(part.seconds, samples.len() as f64 / 16_000.0);
            prop_assert_eq!(part.spans.spans[0].sent, 0);
            let mut sent = 0;
            for span in &part.spans.spans {
                prop_assert!(span.recorded >= reached, "twice");
                left_out.push(reached as usize..span.recorded as usize);
                let (from, length) = (span.recorded as usize, span.length as usize);
                prop_assert!(samples[sent..span.sent as usize].iter().all(|sample| *sample == 0), "a gap is silent");
                prop_assert!(samples[span.sent as usize..][..length] == recording[from..from + length]);
                sent = (span.sent + span.length) as usize;
                reached = span.recorded + span.length;
            }
            prop_assert_eq!(sent, samples.len());
        }
        left_out.push(reached as usize..recording.len());
        for lost in left_out {
            // Except samples in the same frame of 20 ms as silence.
            let loud = recording[lost.clone()].iter().filter(|sample| sample.unsigned_abs() > 8).count();
            prop_assert!(loud == 0, "{loud} of {lost:?}");
        }
    }

    #[test]
    fn recording_time_is_monotone_and_inside_the_spans(
        lengths in prop::collection::vec((1_u64..100_000, 0_u64..10_000, 0_u64..1_000_000), 1..8),
        times in prop::collection::vec(-1.0..60.0_f64, 2..50),
    ) {
        let mut spans: Vec<Span> = Vec::new();
        for (length, gap, left_out) in lengths {
            let (sent, recorded) = spans.last().map_or((0, 0), |last| (last.sent + last.length, last.recorded + last.length));
            spans.push(Span { sent: sent + if sent > 0 { gap } else { 0 }, recorded: recorded + left_out, length });
        }
        let all = Spans { spans: spans.clone(), rate: 16_000 };
        let mut times = times;
        times.sort_by(f64::total_cmp);
        let mapped: Vec<_> = times.iter().map(|time| all.recording_time(*time)).collect();
        prop_assert!(mapped.is_sorted(), "{mapped:?}");
        for time in mapped {
            let sample = time * 16_000.0;
            let inside = |span: &Span| (span.recorded as f64 - 0.01..=(span.recorded + span.length) as f64 + 0.01).contains(&sample);
            prop_assert!(spans.iter().any(inside));
        }
        for span in &spans {
            let middle = span.length as f64 / 2.0;
            let time = all.recording_time((span.sent as f64 + middle) / 16_000.0);
            prop_assert!((time * 16_000.0 - (span.recorded as f64 + middle)).abs() < 0.01);
        }
    }
}
