//! Time and memory of a transcription against the length of the recording. On Linux:
//! `cargo bench --profile dev -p local --bench transcription`.
//!
//! The worker is built as it is deployed and run as a process at a small Runtime API, with the embedded AWS, the stand-in Twilio, and in place
//! of Whisper a server that reads the upload and answers after a while, as the real one does. Decoding alone, and splitting (which is decoding,
//! resampling, cutting and encoding), are measured by themselves, on the same machine and recording; what is left of the whole is the download,
//! the uploads and the answers.

mod runtime;

use std::{
    fs::File,
    io::{Seek, Write},
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Json, Router, body::Body, extract::State, routing::post};
use futures_util::StreamExt;
use local::{
    demo,
    serve::{Reach, bind, serve},
    stack::{Settings, Stack, TranscriptionApi},
    standins::{
        tones::{Script, Wav},
        twilio::{Media, Recording},
    },
};
use runtime::{Result, Running, build};
use serde_json::{Value, json};
use shared::split::{Channels, LONGEST, Plan, split};
use symphonia::core::{formats::FormatOptions, formats::probe::Hint, io::MediaSourceStream, meta::MetadataOptions};
use tokio::sync::watch;

/// How long the worker may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// How long the stand-in for Whisper takes for each upload once it has it: what the real one takes for a part of ten minutes.
const ANSWER_TIME: Duration = Duration::from_secs(30);
const LENGTHS: [(&str, u32); 4] = [("1 min", 60), ("10 min", 600), ("1 h", 3600), ("3 h", 10_800)];

/// What the stand-in saw: how long each request took, from its first byte to its answer, and how many there were at once at most.
#[derive(Default)]
struct Seen {
    took: Vec<Duration>,
    running: usize,
    at_once: usize,
}

type Shared = Arc<Mutex<Seen>>;

async fn transcribe(State(seen): State<Shared>, body: Body) -> Json<Value> {
    let begun = Instant::now();
    {
        let mut seen = seen.lock().expect("nobody panics");
        seen.running += 1;
        seen.at_once = seen.at_once.max(seen.running);
    }
    let mut chunks = body.into_data_stream();
    while let Some(Ok(_)) = chunks.next().await {}
    tokio::time::sleep(ANSWER_TIME).await;
    let mut seen = seen.lock().expect("nobody panics");
    seen.running -= 1;
    seen.took.push(begun.elapsed());
    Json(json!({"text": "words"}))
}

/// Seconds to read and decode the whole file, and nothing else.
fn decode(mut file: File) -> Result<f64> {
    let begun = Instant::now();
    file.rewind()?;
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let mut format = symphonia::default::get_probe().probe(
        &Hint::new(),
        stream,
        FormatOptions::default(),
        MetadataOptions::default(),
    )?;
    let track = format.tracks().first().ok_or("no track")?;
    let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
    let mut decoder =
        symphonia::default::get_codecs().make_audio_decoder(parameters.ok_or("no audio")?, &Default::default())?;
    let mut samples: Vec<f32> = Vec::new();
    while let Some(packet) = format.next_packet()? {
        decoder.decode(&packet)?.copy_to_vec_interleaved(&mut samples);
    }
    Ok(begun.elapsed().as_secs_f64())
}

#[tokio::main]
async fn main() -> Result<()> {
    let worker = build("transcription-worker")?;
    let seen = Shared::default();
    let listener = bind(0, Reach::Machine).await?;
    let whisper = listener.url();
    let router = Router::new()
        .route("/v1/audio/transcriptions", post(transcribe))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(seen.clone());
    let (stop, mut stopped) = watch::channel(false);
    let server = tokio::spawn(serve(listener, router, async move {
        // An error means that the benchmark has ended, which stops it too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }));
    let state = tempfile::tempdir()?;
    let mut settings = Settings::for_tests(state.path().to_owned());
    settings.aws_only = true;
    settings.whisper = Some(TranscriptionApi {
        api_key: "benchmark".into(),
        base_url: format!("{whisper}/v1"),
    });
    let stack = Stack::start(settings).await?;
    let environment: Vec<(String, String)> = stack
        .environment
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();

    println!(
        "\nlength  channels  uploads  at once   decode    split   whole  slowest upload  whole / (decode + slowest)  peak memory"
    );
    for (channels, (length, seconds)) in [1, 2]
        .into_iter()
        .flat_map(|channels| LENGTHS.map(|row| (channels, row)))
    {
        let scripts: Vec<Script> = match channels {
            1 => vec![Script::spoken(f64::from(seconds), 1)],
            _ => Script::dialogue(f64::from(seconds), 1).into(),
        };
        let wav = Wav::new(8000, scripts);
        let mut file = tempfile::tempfile()?;
        wav.write(&mut file)?;
        file.flush()?;
        let decoding = decode(file.try_clone()?)?;
        let plan = Plan {
            longest: LONGEST,
            channels: if channels == 1 {
                Channels::Mixed
            } else {
                Channels::Separate
            },
        };
        let begun = Instant::now();
        split(
            file.try_clone()?,
            Some("wav"),
            &plan,
            &mut |_| ControlFlow::Continue(()),
        )?;
        let splitting = begun.elapsed().as_secs_f64();
        drop(file);

        let sid = format!("RE{:032x}", channels * 100_000 + seconds);
        let row = demo::twilio_recordings(demo::DOCUMENTED_TIME)
            .into_iter()
            .next()
            .ok_or("no demo recording")?;
        stack.twilio.add(Recording {
            sid: sid.clone(),
            status: "completed".into(),
            duration: Some(seconds),
            channels: channels as u8,
            media: Media::Tones(wav),
            ..row
        });
        *seen.lock().expect("nobody panics") = Seen::default();
        let (mut running, _) = Running::start(&worker, &environment, PATIENCE).await?;
        let event = json!({"Records": [{"messageId": "1", "body": json!({"recording_sid": sid}).to_string()}]});
        let begun = Instant::now();
        running.invoke(&event.to_string().into()).await?;
        let whole = begun.elapsed().as_secs_f64();
        let peak = running.peak()? as f64 * 1024.0 / 1e6;
        drop(running);
        let seen = seen.lock().expect("nobody panics");
        let slowest = seen.took.iter().max().copied().unwrap_or_default().as_secs_f64();
        println!(
            "{length:7} {channels:8} {:8} {:8} {decoding:7.2}s {splitting:7.2}s {whole:6.1}s {slowest:14.1}s {:26.2} {peak:9.0} MB",
            seen.took.len(),
            seen.at_once,
            whole / (decoding + slowest),
        );
    }
    stop.send_replace(true);
    server.await?;
    stack.stop().await?;
    Ok(())
}
