use super::*;

#[test]
fn a_click_is_found_at_its_time_in_the_recording() {
    let clicks = [0.5, 4.25, 11.125, 16.5, 16.9, 28.75];
    let value = |t: f64| {
        if clicks.iter().any(|click| (t - click).abs() < 0.0003) {
            0.95
        } else if (5.0..10.0).contains(&t) || (20.0..27.5).contains(&t) {
            0.0
        } else {
            voice(t)
        }
    };
    for (rate, longest) in [
        (8_000, 3.7),
        (8_000, 600.0),
        (11_025, 5.0),
        (16_000, 2.0),
        (16_000, 13.0),
        (44_100, 10.0),
    ] {
        let (parts, analysis) = parts(wav(rate, 1, &signal(rate, 30.0, value)), plan(longest, Channels::Mixed));
        assert!((analysis.seconds - 30.0).abs() < 0.001);
        let mut found: Vec<f64> = Vec::new();
        for part in &parts {
            assert!(part.seconds <= longest);
            let (samples, part_rate) = decoded(part);
            assert_eq!(part_rate, rate.min(16_000));
            for (n, sample) in samples.into_iter().enumerate() {
                let at = part.recording_time(n as f64 / f64::from(part_rate));
                if sample.unsigned_abs() > 15_000 && found.last().is_none_or(|last| at - last > 0.1) {
                    found.push(at);
                }
            }
        }
        assert_eq!(found.len(), clicks.len(), "{rate} Hz, {longest} s: {found:?}");
        for (found, click) in found.iter().zip(clicks) {
            assert!(
                (found - click).abs() < 0.002,
                "{rate} Hz, {longest} s: {found} for {click}"
            );
        }
    }
}

#[test]
fn silence_has_no_parts() {
    let faint = |t: f64| 0.0005 * (TAU * 50.0 * t).sin();
    for value in [&(|_| 0.0) as &dyn Fn(f64) -> f64, &faint] {
        for seconds in [0.5, 2.0, 30.0] {
            let (parts, analysis) = parts(
                wav(8_000, 1, &signal(8_000, seconds, value)),
                plan(10.0, Channels::Mixed),
            );
            assert!(parts.is_empty());
            assert_eq!((analysis.seconds, analysis.sent_seconds), (seconds, 0.0));
        }
    }
}

#[test]
fn long_silence_is_not_sent_at_the_start_in_the_middle_and_at_the_end() {
    let speech = |t: f64| (30.0..35.0).contains(&t) || (60.0..65.0).contains(&t);
    let samples = signal(8_000, 100.0, |t| if speech(t) { voice(t) } else { 0.0 });
    let (parts, analysis) = parts(wav(8_000, 1, &samples), plan(600.0, Channels::Mixed));
    let [part] = &parts[..] else { panic!("{}", parts.len()) };
    // Each side of each silence keeps 0.3 s, and half a second replaces the silence in the middle.
    assert!((part.start - 29.7).abs() < 0.03, "{}", part.start);
    assert!((part.end - 65.3).abs() < 0.03, "{}", part.end);
    assert!((part.seconds - (0.3 + 5.0 + 0.3 + 0.5 + 0.3 + 5.0 + 0.3)).abs() < 0.08);
    for (sent, recorded) in [(0.3, 30.0), (5.65, 35.3), (6.05, 59.7), (6.4, 60.0), (7.4, 61.0)] {
        let time = part.recording_time(sent);
        assert!((time - recorded).abs() < 0.05, "{time} for {recorded}");
    }
    assert_eq!(analysis.sent_seconds, part.seconds);
}

#[test]
fn speech_that_is_faint_and_pauses_that_are_short_are_sent() {
    // -45 dBFS, with pauses of 1.5 s.
    let samples = signal(8_000, 30.0, |t| {
        if t % 3.0 < 1.5 {
            0.008 * (TAU * 300.0 * t).sin()
        } else {
            0.0
        }
    });
    let (parts, _) = parts(wav(8_000, 1, &samples), plan(600.0, Channels::Mixed));
    assert_eq!((parts[0].start, parts[0].end, parts[0].seconds), (0.0, 30.0, 30.0));
}

#[test]
fn the_cut_is_in_the_pause() {
    let pauses = [17.0, 35.0, 52.3];
    let samples = signal(8_000, 60.0, |t| {
        let pause = pauses.iter().any(|pause| (0.0..0.4).contains(&(t - pause)));
        if pause { 0.0 } else { voice(t) + 0.2 }
    });
    let (parts, _) = parts(wav(8_000, 1, &samples), plan(20.0, Channels::Mixed));
    let starts: Vec<_> = parts.iter().map(|part| part.start).collect();
    assert_eq!(starts.len(), 4);
    for (start, pause) in starts[1..].iter().zip(pauses) {
        assert!((pause + 0.1..=pause + 0.3).contains(start), "{start} for {pause}");
    }
    for two in parts.windows(2) {
        assert_eq!(two[0].end, two[1].start);
    }
}

#[test]
fn a_cut_in_skipped_silence_sends_none_of_it() {
    let samples = signal(8_000, 40.0, |t| if (15.0..22.0).contains(&t) { 0.0 } else { voice(t) });
    let (parts, _) = parts(wav(8_000, 1, &samples), plan(20.0, Channels::Mixed));
    assert!((parts[0].end - 15.3).abs() < 0.03 && (parts[1].start - 21.7).abs() < 0.03);
    for part in &parts[..2] {
        assert!(
            (part.seconds - (part.end - part.start)).abs() < 1e-9,
            "there is no gap inside"
        );
    }
}

#[test]
fn the_same_file_gives_the_same_parts() {
    let once = || {
        let (parts, _) = parts(file(DUAL), plan(3.0, Channels::Separate));
        let of = |part: Part| (part.index, part.channel, part.spans, part.audio);
        parts.into_iter().map(of).collect::<Vec<_>>()
    };
    let first = once();
    assert!(first.len() > 4);
    assert!(first == once());
}

#[test]
fn splitting_stops_when_the_receiver_stops() {
    let recording = wav(8_000, 1, &signal(8_000, 60.0, voice));
    let mut seen = 0;
    let analysis = split(&super::recording(&recording), &plan(10.0, Channels::Mixed), &mut |_| {
        seen += 1;
        if seen == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert_eq!((seen, analysis.parts), (2, 2));
    assert!(analysis.seconds < 30.0);
}
