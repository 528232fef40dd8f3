//! Measures time and memory of a transcription by the length of the recording. On Linux: `cargo bench --profile dev -p local --bench
//! transcription`.
//!
//! The worker is built as it is deployed and run as a process with a small Runtime API, the embedded AWS, the stand-in for Twilio, and a server
//! in place of Whisper that reads the upload and responds after a delay, as OpenAI does. Decoding alone, and splitting (decoding, resampling,
//! cutting and encoding), are also measured separately with the same recording; the rest of the total time is spent on the download, the uploads
//! and the responses. Where ffmpeg is installed, it encodes the same recording as FLAC, one stream for each channel, on one thread as splitting does;
//! it neither looks for pauses nor cuts.

mod runtime;

use std::{
    fs::File,
    io::{self, Seek, Write},
    ops::ControlFlow,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, atomic::AtomicBool},
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
use shared::split::{self, Channels, LONGEST, Plan, split};
use symphonia::core::{formats::FormatOptions, formats::probe::Hint, io::MediaSourceStream, meta::MetadataOptions};
use tokio::sync::watch;

/// The timeout of the worker.
const TIMEOUT: Duration = Duration::from_secs(900);
/// The delay of the stand-in for Whisper after each upload, which is the time that OpenAI takes for a part of ten minutes.
const RESPONSE_DELAY: Duration = Duration::from_secs(30);
const LENGTHS: [(&str, u32); 4] = [("1 min", 60), ("10 min", 600), ("1 h", 3600), ("3 h", 10_800)];

/// The observations of the stand-in: the duration of each request, from its first byte to the response, and the maximum number of concurrent
/// requests.
#[derive(Default)]
struct Observed {
    took: Vec<Duration>,
    running: usize,
    at_once: usize,
}

type SharedObserved = Arc<Mutex<Observed>>;

async fn transcribe(State(seen): State<SharedObserved>, body: Body) -> Json<Value> {
    let began = Instant::now();
    {
        let mut seen = seen.lock().expect("nobody panics");
        seen.running += 1;
        seen.at_once = seen.at_once.max(seen.running);
    }
    let mut chunks = body.into_data_stream();
    while let Some(Ok(_)) = chunks.next().await {}
    tokio::time::sleep(RESPONSE_DELAY).await;
    let mut seen = seen.lock().expect("nobody panics");
    seen.running -= 1;
    seen.took.push(Instant::now().duration_since(began));
    // With times, as whisper-1 returns them: without times, parts of two channels would be 30 s long.
    Json(json!({"text": "words", "segments": [{"start": 0.0, "end": 1.0, "text": "words"}]}))
}

/// The seconds for only reading and decoding the whole file.
fn decode(mut file: File) -> Result<f64> {
    let began = Instant::now();
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
    Ok(Instant::now().duration_since(began).as_secs_f64())
}

/// The seconds in which ffmpeg encodes each channel as FLAC; `None` without ffmpeg.
fn with_ffmpeg(recording: &Path, channels: u32) -> Result<Option<f64>> {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-v", "error", "-y", "-threads", "1", "-i"])
        .arg(recording);
    let encode = ["-threads", "1", "-c:a", "flac", "-f", "flac", "/dev/null"];
    match channels {
        1 => command.args(encode),
        _ => {
            let split = ["-filter_complex", "[0:a]channelsplit[left][right]"];
            let left = command.args(split).args(["-map", "[left]"]).args(encode);
            left.args(["-map", "[right]"]).args(encode)
        }
    };
    let began = Instant::now();
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(Some(Instant::now().duration_since(began).as_secs_f64())),
        Ok(status) => Err(format!("ffmpeg: {status}").into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let worker = build("transcription-worker")?;
    let seen = SharedObserved::default();
    let listener = bind(0, Reach::Machine).await?;
    let whisper = listener.url();
    let router = Router::new()
        .route("/v1/audio/transcriptions", post(transcribe))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(seen.clone());
    let (stop, mut stopped) = watch::channel(false);
    let server = tokio::spawn(serve(listener, router, async move {
        // An error means that the benchmark has ended, which stops the server as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }));
    let state = tempfile::tempdir()?;
    let mut settings = Settings::new(state.path().to_owned());
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
        "\nlength  channels  uploads  at once   decode    split   ffmpeg   whole  slowest upload  whole / (decode + slowest)  peak memory"
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
        let mut named = tempfile::NamedTempFile::new()?;
        wav.write(&mut named)?;
        named.flush()?;
        let file = named.reopen()?;
        let by_ffmpeg = with_ffmpeg(named.path(), channels)?.map_or("-".to_owned(), |seconds| format!("{seconds:.2}s"));
        let decoding = decode(file.try_clone()?)?;
        let plan = Plan {
            longest: LONGEST,
            longest_span: None,
            channels: if channels == 1 {
                Channels::Mixed
            } else {
                Channels::Separate
            },
        };
        let began = Instant::now();
        let recording = split::AudioFile {
            file: &file,
            extension: Some("wav"),
            promised_seconds: None,
            cancelled: &AtomicBool::new(false),
        };
        split(&recording, &plan, &mut |_| ControlFlow::Continue(()))?;
        let splitting = Instant::now().duration_since(began).as_secs_f64();
        drop((file, named));

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
        *seen.lock().expect("nobody panics") = Observed::default();
        let (mut running, _) = Running::start(&worker, &environment, TIMEOUT).await?;
        let event = json!({"Records": [{"messageId": "1", "body": json!({"recording_sid": sid}).to_string()}]});
        let began = Instant::now();
        running.invoke(&event.to_string().into()).await?;
        let whole = Instant::now().duration_since(began).as_secs_f64();
        let peak = running.peak()? as f64 * 1024.0 / 1e6;
        drop(running);
        let seen = seen.lock().expect("nobody panics");
        let slowest = seen.took.iter().max().copied().unwrap_or_default().as_secs_f64();
        println!(
            "{length:7} {channels:8} {:8} {:8} {decoding:7.2}s {splitting:7.2}s {by_ffmpeg:>8} {whole:6.1}s {slowest:14.1}s {:26.2} {peak:9.0} MB",
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
