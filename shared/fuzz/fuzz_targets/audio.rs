//! Any bytes are split or refused.

#![no_main]

use std::{
    io::Write,
    ops::ControlFlow,
    panic,
    sync::{Once, atomic::AtomicBool},
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use split::{AudioFile, Channels, Plan, split};

static NEVER: AtomicBool = AtomicBool::new(false);
static QUIET: Once = Once::new();

fuzz_target!(|data: &[u8]| {
    // libFuzzer's hook aborts on every panic, also on those of decoders, which the splitter catches. Others still end the run.
    QUIET.call_once(|| panic::set_hook(Box::new(|_| {})));
    let Some((choice, data)) = data.split_last() else {
        return;
    };
    let mut file = tempfile::tempfile_in("/dev/shm").expect("a file in memory");
    file.write_all(data).expect("room in memory");
    let recording = AudioFile {
        file: &file,
        extension: [None, Some("mp3"), Some("ogg"), Some("mp4")][usize::from(choice >> 1 & 3)],
        promised_seconds: None,
        cancelled: &NEVER,
    };
    let plan = Plan {
        longest: Duration::from_secs(20),
        longest_span: None,
        channels: if choice & 1 == 0 {
            Channels::Mixed
        } else {
            Channels::Separate
        },
    };
    let mut sent = 0.0;
    let mut parts = 0;
    let analysis = split(&recording, &plan, &mut |part| {
        assert!(part.seconds > 0.0 && part.seconds <= 20.0);
        assert!(part.start < part.end && part.audio.starts_with(b"fLaC"));
        assert!(part.recording_time(0.0) >= part.start && part.recording_time(part.seconds) <= part.end + 1e-6);
        sent += part.seconds;
        parts += 1;
        ControlFlow::Continue(())
    });
    if let Ok(analysis) = analysis {
        assert_eq!(analysis.parts, parts);
        assert!((analysis.sent_seconds - sent).abs() < 1e-3);
        assert!(analysis.seconds <= 600_f64.max(data.len() as f64 / 8.0) + 1e-6);
        assert!(analysis.coverage.decoded_seconds <= analysis.seconds + 1e-6);
    }
});
