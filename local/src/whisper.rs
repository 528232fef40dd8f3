//! A stand-in for OpenAI's transcription endpoint, `POST /v1/audio/transcriptions`. It checks what the real one checks and decodes the audio
//! for real, but understands only the language of [`tones`] and otherwise knows the words of the clips it is given: silence is an empty text,
//! and anything else it refuses with a 400 whose code is `standin_unknown_audio`. Wire format and errors: OpenAI's.

pub(crate) mod audio;
mod ears;
mod fingerprint;
pub mod tones;

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::Seek as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use axum::routing::post;
use futures_util::StreamExt as _;
use http_body_util::{LengthLimitError, Limited};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{Semaphore, watch};

use crate::demo::Clip;
use audio::Decoded;
use ears::{Ears, Recognized};
pub(crate) use fingerprint::Fingerprint;

/// The largest request body in bytes, all multipart framing included (OpenAI's limit, 25 MiB).
pub const MAX_BODY_BYTES: u64 = 26_214_400;

const MODELS: [&str; 5] = [
    "whisper-1",
    "gpt-4o-transcribe",
    "gpt-4o-mini-transcribe",
    "gpt-4o-mini-transcribe-2025-12-15",
    "gpt-transcribe",
];
/// File name extensions, and the containers each may hold.
const EXTENSIONS: [(&str, &str); 9] = [
    ("flac", "flac"),
    ("m4a", "isomp4"),
    ("mp3", "mp3"),
    ("mp4", "isomp4"),
    ("mpeg", "mp3"),
    ("mpga", "mp3"),
    ("ogg", "ogg"),
    ("wav", "wave"),
    ("webm", "matroska"),
];
const MINIMUM_SECONDS: f64 = 0.1;
const GPT_4O_MAXIMUM_SECONDS: f64 = 1400.0;
/// Segments of tones are no longer than this many seconds.
const SEGMENT_SECONDS: f64 = 30.0;
/// What the real Whisper is known to hear in long silence.
const INVENTED: &str = "Thank you for watching.";

/// What the log keeps of a transcription request, whatever it was answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logged {
    /// The uploaded file's name.
    pub file_name: Option<String>,
    /// The uploaded file's content type.
    pub content_type: Option<String>,
    /// Bytes of the file, without multipart framing; 0 when the body was too large to be read.
    pub file_bytes: u64,
    /// All other fields in their order.
    pub fields: Vec<(String, String)>,
    /// Whether it had the right key.
    pub authorized: bool,
    /// The SHA-256 of the file, in hex; `None` without a whole file.
    pub sha256: Option<String>,
    /// The length of the audio; `None` while it has not been listened to, or could not be.
    pub seconds: Option<f64>,
    /// What was understood, whatever became of the answer; `None` like `seconds`, and when the request was refused.
    pub text: Option<String>,
    /// The status of the answer; `None` while there is none, which it stays when the client goes away or the connection is cut.
    pub status: Option<u16>,
}

impl Logged {
    /// What a success costs: its whole seconds, the last one begun included.
    pub fn billed_seconds(&self) -> u64 {
        let paid = self.seconds.filter(|_| self.status == Some(200));
        paid.unwrap_or_default().ceil() as u64
    }
}

/// A misbehaviour to order with [`Whisper::fault`]. All of them come after the request has been read, logged and listened to.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer in place of the right one.
    Status {
        /// HTTP status.
        status: u16,
        /// Further headers, such as `retry-after`.
        headers: Vec<(String, String)>,
        /// The body, sent as JSON whatever it is.
        body: String,
    },
    /// Never answer.
    Hang,
    /// Take a permit first, then answer right: `add_permits(1)` lets one request go on.
    Gate(Arc<Semaphore>),
    /// Break the connection in place of an answer.
    Cut,
    /// Only for this call, counted from 1 as [`Whisper::calls`] does.
    OnCall(usize, Box<Fault>),
    /// Only where this word is heard, a word of [`tones`] or of a clip.
    OnWord(String, Box<Fault>),
}

impl Fault {
    /// What strikes this call; `None` of a text when it has not been listened to.
    fn strike(&self, call: usize, text: Option<&str>) -> Option<&Fault> {
        match self {
            Fault::OnCall(only, fault) => fault.strike(call, text).filter(|_| *only == call),
            Fault::OnWord(only, fault) => {
                text?.split(' ').find(|word| bare(word) == only)?;
                fault.strike(call, text)
            }
            fault => Some(fault),
        }
    }
}

struct Inner {
    api_key: String,
    clips: &'static [Clip],
    log: watch::Sender<Vec<Logged>>,
    faults: Mutex<Vec<(Fault, Option<usize>)>>,
    invents: AtomicBool,
}

/// The stand-in. Clones share one state.
#[derive(Clone)]
pub struct Whisper {
    inner: Arc<Inner>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error as OpenAI words it.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    message: String,
    kind: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl Refusal {
    fn bad_request(param: Option<&'static str>, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Refusal {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            kind: "invalid_request_error",
            param,
            code,
        }
    }

    fn too_large(bytes: u64) -> Self {
        let message = format!("Maximum content size limit ({MAX_BODY_BYTES}) exceeded ({bytes} bytes read)");
        Refusal {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            message,
            kind: "server_error",
            param: None,
            code: None,
        }
    }

    fn undecodable() -> Self {
        Refusal::bad_request(
            Some("file"),
            Some("invalid_value"),
            "Audio file might be corrupted or unsupported",
        )
    }

    fn response(&self) -> Response<Body> {
        let error = json!({ "message": self.message, "type": self.kind, "param": self.param, "code": self.code });
        respond(self.status, "application/json", json!({ "error": error }).to_string())
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        let message = format!("The stand-in could not keep the upload in a temporary file: {error}");
        Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            message,
            kind: "server_error",
            param: None,
            code: None,
        }
    }
}

impl From<MultipartError> for Refusal {
    fn from(error: MultipartError) -> Self {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if inner.is::<LengthLimitError>() {
                return Refusal::too_large(MAX_BODY_BYTES + 1);
            }
            cause = inner.source();
        }
        Refusal::bad_request(
            None,
            None,
            format!("Could not parse multipart form: {}", error.body_text()),
        )
    }
}

/// The form of a request; the file lies on disk, so that memory does not grow with it.
#[derive(Default)]
struct Form {
    file: Option<std::fs::File>,
    logged: Logged,
}

impl Whisper {
    /// Accepts this bearer token and knows these clips.
    pub fn new(api_key: impl Into<String>, clips: &'static [Clip]) -> Self {
        let (log, faults, invents) = Default::default();
        Whisper {
            inner: Arc::new(Inner {
                api_key: api_key.into(),
                clips,
                log,
                faults,
                invents,
            }),
        }
    }

    /// The API, to be served at the root of a host: its base URL ends in `/v1`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/audio/transcriptions", post(transcribe))
            .method_not_allowed_fallback(unknown_url)
            .fallback(unknown_url)
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    /// Every transcription request that has been read so far, oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.inner.log.borrow().clone()
    }

    /// How many transcription requests have been read so far.
    pub fn calls(&self) -> usize {
        self.inner.log.borrow().len()
    }

    /// Waits until [`Self::calls`] is at least `calls`.
    pub async fn wait_for_calls(&self, calls: usize) {
        // It fails only without a sender, and `self` holds that.
        let _ = self.inner.log.subscribe().wait_for(|log| log.len() >= calls).await;
    }

    /// What all successful answers cost so far, in seconds of audio.
    pub fn billed_seconds(&self) -> u64 {
        self.inner.log.borrow().iter().map(Logged::billed_seconds).sum()
    }

    /// Whether it invents text in silence of 5 s or more, as the real one does: segments of "Thank you for watching." with a `no_speech_prob` of
    /// 0.9 and an `avg_logprob` of -1.4. Off at first.
    pub fn invent_in_silence(&self, invents: bool) {
        self.inner.invents.store(invents, Ordering::Relaxed);
    }

    /// Misbehaves `times` times or (`None`) until [`Self::clear_faults`]. The fault ordered first wins.
    pub fn fault(&self, fault: Fault, times: Option<usize>) {
        lock(&self.inner.faults).push((fault, times));
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        lock(&self.inner.faults).clear();
    }

    /// The fault that strikes this call. Those that need the text strike when there is one, the others when there is none.
    fn take_fault(&self, call: usize, text: Option<&str>) -> Option<Fault> {
        let mut faults = lock(&self.inner.faults);
        faults
            .iter_mut()
            .filter(|(_, times)| *times != Some(0))
            .find_map(|(fault, times)| {
                let strike = fault.strike(call, text)?.clone();
                if text.is_some() && fault.strike(call, None).is_some() {
                    return None;
                }
                if let Some(times) = times {
                    *times -= 1;
                }
                Some(strike)
            })
    }

    /// Writes to the log's entry of this call, counted from 1.
    fn note(&self, call: usize, note: impl FnOnce(&mut Logged)) {
        self.inner.log.send_modify(|log| note(&mut log[call - 1]));
    }

    fn authorize(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let unauthorized = |code, message: String| Refusal {
            status: StatusCode::UNAUTHORIZED,
            message,
            kind: "invalid_request_error",
            param: None,
            code,
        };
        let sent = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match sent {
            Some(key) if key == self.inner.api_key => Ok(()),
            Some(key) => {
                let start: String = key.chars().take(3).collect();
                let message = format!("Incorrect API key provided: {start}***. The stand-in accepts only the key it was started with.");
                Err(unauthorized(Some("invalid_api_key"), message))
            }
            None => Err(unauthorized(
                None,
                "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth \
                 (i.e. Authorization: Bearer YOUR_KEY)."
                    .into(),
            )),
        }
    }

    fn transcribe(&self, call: usize, form: Form) -> Result<Answer, Refusal> {
        let options = Options::parse(&form.logged.fields)?;
        let missing = || {
            Refusal::bad_request(
                Some("file"),
                Some("missing_required_parameter"),
                "Missing required parameter: 'file'.",
            )
        };
        let file = form.file.ok_or_else(missing)?;
        let extension = form
            .logged
            .file_name
            .as_deref()
            .and_then(|name| name.rsplit_once('.'))
            .map(|(_, extension)| extension.to_lowercase());
        let Some((_, container)) = EXTENSIONS.iter().find(|(known, _)| extension.as_deref() == Some(known)) else {
            let known = EXTENSIONS.map(|(known, _)| format!("'{known}'")).join(", ");
            return Err(Refusal::bad_request(
                Some("file"),
                None,
                format!("Invalid file format. Supported formats: [{known}]"),
            ));
        };
        let mut fingerprint = Fingerprint::default();
        let mut ears = Ears::default();
        let decoded = audio::decode(file, |rate, channels, samples| {
            fingerprint.push(rate, channels, samples);
            ears.push(rate, channels, samples);
        })
        .map_err(|audio::Undecodable| Refusal::undecodable())?;
        self.note(call, |logged| logged.seconds = Some(decoded.seconds()));
        if decoded.format != *container {
            let message = "This model does not support the format you provided.";
            return Err(Refusal::bad_request(
                Some("messages"),
                Some("unsupported_format"),
                message,
            ));
        }
        let seconds = decoded.seconds();
        if seconds < MINIMUM_SECONDS {
            let message = "Audio file is too short. Minimum audio length is 0.1 seconds.";
            return Err(Refusal::bad_request(Some("file"), Some("audio_too_short"), message));
        }
        if options.model.starts_with("gpt-4o") && seconds > GPT_4O_MAXIMUM_SECONDS {
            let message = format!(
                "audio duration {seconds:.6} seconds is longer than {GPT_4O_MAXIMUM_SECONDS} seconds which is the maximum for this model"
            );
            return Err(Refusal::bad_request(None, Some("invalid_value"), message));
        }
        let sentences = self.recognise(&fingerprint, ears.finish())?;
        Ok(Answer {
            text: text(&sentences),
            response: options.answer(&decoded, &sentences),
        })
    }

    /// The sentences of the clip or the tones that were heard, with their times in the audio; none for silence.
    fn recognise(&self, fingerprint: &Fingerprint, heard: Recognized) -> Result<Vec<Sentence>, Refusal> {
        if fingerprint.is_silence() || heard.tones {
            let mut sentences = sentences(&heard.words);
            if self.inner.invents.load(Ordering::Relaxed) {
                sentences.extend(heard.silences.iter().map(|(start, end)| Sentence {
                    invented: true,
                    ..Sentence::spread(INVENTED, *start, *end)
                }));
                sentences.sort_by(|one, other| one.start.total_cmp(&other.start));
            }
            return Ok(sentences);
        }
        let mut voices = self.inner.clips.iter().flat_map(Clip::voices);
        let Some(voice) = voices.find(|voice| voice.fingerprint.matches(fingerprint)) else {
            let message = "The stand-in Whisper knows only the words of the demo's own clips, and this is none of them. Set OPENAI_API_KEY \
                           (and WHISPER_BASE_URL for a compatible server) to transcribe other audio.";
            return Err(Refusal::bad_request(
                Some("file"),
                Some("standin_unknown_audio"),
                message,
            ));
        };
        let spans = fingerprint.sentences(voice.sentences.len());
        Ok(std::iter::zip(&voice.sentences, spans)
            .map(|(text, (start, end))| Sentence::spread(text, start, end))
            .collect())
    }
}

struct Answer {
    /// What the response says, in whatever format.
    text: String,
    response: Response<Body>,
}

struct Sentence {
    text: String,
    start: f64,
    end: f64,
    words: Vec<Word>,
    invented: bool,
}

struct Word {
    /// Without punctuation.
    word: String,
    start: f64,
    end: f64,
}

impl Sentence {
    /// One whose time is shared out to its words by their letters.
    fn spread(text: &str, start: f64, end: f64) -> Self {
        let letters = |word: &str| word.chars().count() as f64;
        let per_letter = (end - start) / text.split(' ').map(letters).sum::<f64>();
        let mut at = start;
        let timed = |word: &str| {
            let start = at;
            at = (start + letters(word) * per_letter).min(end);
            Word {
                word: bare(word).to_owned(),
                start,
                end: at,
            }
        };
        Sentence {
            text: text.to_owned(),
            words: text.split(' ').map(timed).collect(),
            start,
            end,
            invented: false,
        }
    }
}

/// A word without the punctuation after it.
fn bare(word: &str) -> &str {
    word.trim_end_matches([',', '.', '?'])
}

fn text(sentences: &[Sentence]) -> String {
    let texts: Vec<&str> = sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    texts.join(" ")
}

/// The words that were heard as sentences, which end at pauses and where they get long.
fn sentences(words: &[tones::Word]) -> Vec<Sentence> {
    let mut sentences: Vec<Sentence> = Vec::new();
    for tones::Word { word, start, end } in words {
        let timed = Word {
            word: (*word).to_owned(),
            start: *start,
            end: *end,
        };
        match sentences.last_mut() {
            Some(last) if start - last.end < tones::SENTENCE_PAUSE && end - last.start <= SEGMENT_SECONDS => {
                last.end = *end;
                last.text.push(' ');
                last.text.push_str(word);
                last.words.push(timed);
            }
            _ => sentences.push(Sentence {
                text: timed.word.clone(),
                start: *start,
                end: *end,
                words: vec![timed],
                invented: false,
            }),
        }
    }
    sentences
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Json,
    Text,
    Srt,
    Vtt,
    VerboseJson,
}

struct Options {
    model: String,
    format: Format,
    temperature: f64,
    segments: bool,
    words: bool,
}

impl Options {
    fn parse(fields: &[(String, String)]) -> Result<Self, Refusal> {
        let invalid = |param, message: String| Refusal::bad_request(Some(param), Some("invalid_value"), message);
        let mut model = None;
        let mut format = Format::Json;
        let mut temperature = 0.0;
        let (mut segments, mut words) = (false, false);
        for (name, value) in fields {
            match name.as_str() {
                "model" => model = Some(value.clone()),
                "language" => {
                    if !matches!(value.as_bytes(), [b'a'..=b'z', b'a'..=b'z']) {
                        let message = format!(
                            "Invalid language '{value}'. Language parameter must be specified in ISO-639-1 format."
                        );
                        return Err(Refusal::bad_request(
                            Some("language"),
                            Some("invalid_language_format"),
                            message,
                        ));
                    }
                }
                "prompt" => {}
                "response_format" => {
                    format = match value.as_str() {
                        "json" => Format::Json,
                        "text" => Format::Text,
                        "srt" => Format::Srt,
                        "vtt" => Format::Vtt,
                        "verbose_json" => Format::VerboseJson,
                        _ => {
                            let message = format!(
                                "Invalid response_format '{value}': json, text, srt, verbose_json or vtt is expected."
                            );
                            return Err(invalid("response_format", message));
                        }
                    }
                }
                "temperature" => {
                    temperature = value
                        .parse()
                        .ok()
                        .filter(|value| (0.0..=1.0).contains(value))
                        .ok_or_else(|| {
                            invalid(
                                "temperature",
                                format!("Invalid temperature '{value}': a number from 0 to 1 is expected."),
                            )
                        })?;
                }
                "timestamp_granularities[]" => match value.as_str() {
                    "segment" => segments = true,
                    "word" => words = true,
                    _ => {
                        let message = format!("Invalid timestamp granularity '{value}': word or segment is expected.");
                        return Err(invalid("timestamp_granularities", message));
                    }
                },
                _ => {
                    return Err(Refusal::bad_request(
                        None,
                        None,
                        format!("Unrecognized request argument supplied: {name}"),
                    ));
                }
            }
        }
        let missing = || {
            Refusal::bad_request(
                Some("model"),
                Some("missing_required_parameter"),
                "Missing required parameter: 'model'.",
            )
        };
        let model = model.ok_or_else(missing)?;
        if !MODELS.contains(&model.as_str()) {
            let message = format!("The model `{model}` does not exist or you do not have access to it.");
            let refusal = Refusal::bad_request(None, Some("model_not_found"), message);
            return Err(Refusal {
                status: StatusCode::NOT_FOUND,
                ..refusal
            });
        }
        if model != "whisper-1" && !matches!(format, Format::Json | Format::Text) {
            let message =
                format!("This response_format is not compatible with model '{model}'. Use 'json' or 'text' instead.");
            return Err(Refusal::bad_request(
                Some("response_format"),
                Some("unsupported_value"),
                message,
            ));
        }
        if (segments || words) && format != Format::VerboseJson {
            let message = "timestamp_granularities need response_format verbose_json.";
            return Err(invalid("timestamp_granularities", message.into()));
        }
        Ok(Options {
            model,
            format,
            temperature,
            segments: segments || !words,
            words,
        })
    }

    fn answer(&self, decoded: &Decoded, sentences: &[Sentence]) -> Response<Body> {
        let text = text(sentences);
        let seconds = decoded.seconds();
        let usage = if self.model.starts_with("gpt-") {
            let (input, output) = (
                (seconds * 10.0).ceil() as u64,
                text.split_whitespace().count() as u64 * 4 / 3,
            );
            json!({
                "type": "tokens",
                "input_tokens": input,
                "input_token_details": { "text_tokens": 0, "audio_tokens": input },
                "output_tokens": output,
                "total_tokens": input + output,
            })
        } else {
            json!({ "type": "duration", "seconds": seconds.round() as u64 })
        };
        match self.format {
            Format::Json => respond(
                StatusCode::OK,
                "application/json",
                json!({ "text": text, "usage": usage }).to_string(),
            ),
            Format::Text => respond(StatusCode::OK, "text/plain; charset=utf-8", text + "\n"),
            Format::Srt => respond(StatusCode::OK, "text/plain; charset=utf-8", subtitles(sentences, ',')),
            Format::Vtt => respond(
                StatusCode::OK,
                "text/plain; charset=utf-8",
                format!("WEBVTT\n\n{}", subtitles(sentences, '.')),
            ),
            Format::VerboseJson => {
                let mut body = json!({ "task": "transcribe", "language": "english", "duration": seconds, "text": text, "usage": usage });
                if self.segments {
                    body["segments"] = sentences
                        .iter()
                        .enumerate()
                        .map(|(id, sentence)| self.segment(id, sentence))
                        .collect();
                }
                if self.words {
                    let words = sentences.iter().flat_map(|sentence| &sentence.words);
                    body["words"] = words
                        .map(|word| json!({ "word": word.word, "start": word.start, "end": word.end }))
                        .collect();
                }
                respond(StatusCode::OK, "application/json", body.to_string())
            }
        }
    }

    fn segment(&self, id: usize, sentence: &Sentence) -> Value {
        json!({
            "id": id,
            "seek": 0,
            "start": sentence.start,
            "end": sentence.end,
            "text": format!(" {}", sentence.text),
            "tokens": [],
            "temperature": self.temperature,
            "avg_logprob": if sentence.invented { -1.4 } else { -0.2 },
            "compression_ratio": 1.2,
            "no_speech_prob": if sentence.invented { 0.9 } else { 0.01 },
        })
    }
}

/// SubRip with a comma, WebVTT (whose cues need no number) with a point before the milliseconds.
fn subtitles(sentences: &[Sentence], point: char) -> String {
    let time = |seconds: f64| {
        let ms = (seconds * 1000.0).round() as u64;
        let (hours, minutes, whole) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        format!("{hours:02}:{minutes:02}:{whole:02}{point}{:03}", ms % 1000)
    };
    let mut text = String::new();
    for (at, sentence) in sentences.iter().enumerate() {
        if point == ',' {
            let _ = writeln!(text, "{}", at + 1);
        }
        let _ = writeln!(
            text,
            "{} --> {}\n{}\n",
            time(sentence.start),
            time(sentence.end),
            sentence.text
        );
    }
    text
}

async fn transcribe(State(whisper): State<Whisper>, request: Request) -> Response<Body> {
    let authorization = whisper.authorize(request.headers());
    let mut form = Form::default();
    form.logged.authorized = authorization.is_ok();
    let read = read_form(request, &mut form).await;
    let mut call = 0;
    whisper.inner.log.send_modify(|log| {
        log.push(form.logged.clone());
        call = log.len();
    });
    let fault = whisper.take_fault(call, None);
    let worker = whisper.clone();
    let answer = match authorization.and(read) {
        Ok(()) => tokio::task::spawn_blocking(move || worker.transcribe(call, form))
            .await
            .unwrap_or_else(|_| Err(Refusal::undecodable())),
        Err(refusal) => Err(refusal),
    };
    let text = answer.as_ref().ok().map(|answer| answer.text.clone());
    let fault = fault.or_else(|| whisper.take_fault(call, Some(text.as_deref()?)));
    whisper.note(call, |logged| logged.text = text);
    let right = answer.map_or_else(|refusal| refusal.response(), |answer| answer.response);
    let mut response = match fault {
        None => right,
        Some(Fault::Gate(gate)) => {
            // A closed semaphore lets everybody through.
            if let Ok(permit) = gate.acquire().await {
                permit.forget();
            }
            right
        }
        Some(Fault::Status { status, headers, body }) => {
            let mut response = Response::builder()
                .status(status)
                .header(header::CONTENT_TYPE, "application/json");
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response
                .body(Body::from(body))
                .expect("a fault's status and headers are valid HTTP")
        }
        // A body that breaks before the head is out: nothing is sent.
        Some(Fault::Cut) => {
            let broken = futures_util::stream::iter([Err::<bytes::Bytes, _>(std::io::Error::other("cut by a fault"))]);
            return Response::new(Body::from_stream(broken));
        }
        // A strike is never one of the last two.
        Some(Fault::Hang | Fault::OnCall(..) | Fault::OnWord(..)) => return std::future::pending().await,
    };
    whisper.note(call, |logged| logged.status = Some(response.status().as_u16()));
    if let Ok(id) = format!("req_standin_{call}").parse() {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// Reads the whole body, too, when it is refused: a client still writing would otherwise see a broken connection in place of the answer.
async fn read_form(request: Request, form: &mut Form) -> Result<(), Refusal> {
    let length = request.body().size_hint().exact();
    if let Some(bytes) = length.filter(|bytes| *bytes > MAX_BODY_BYTES) {
        drain(request.into_body()).await;
        return Err(Refusal::too_large(bytes));
    }
    let request = request.map(|body| Body::new(Limited::new(body, MAX_BODY_BYTES as usize)));
    let mut multipart = Multipart::from_request(request, &()).await.map_err(|rejection| {
        Refusal::bad_request(
            None,
            None,
            format!("Could not parse multipart form: {}", rejection.body_text()),
        )
    })?;
    while let Some(mut field) = multipart.next_field().await? {
        let name = field.name().unwrap_or_default().to_owned();
        if name != "file" {
            let value = field.text().await?;
            form.logged.fields.push((name, value));
            continue;
        }
        form.logged.file_name = field.file_name().map(str::to_owned);
        form.logged.content_type = field.content_type().map(str::to_owned);
        let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
        let mut hash = Sha256::new();
        while let Some(chunk) = field.chunk().await? {
            form.logged.file_bytes += chunk.len() as u64;
            hash.update(&chunk);
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        let mut file = file.into_std().await;
        file.rewind()?;
        let digest = hash.finalize();
        form.logged.sha256 = Some(digest.iter().map(|byte| format!("{byte:02x}")).collect());
        form.file = Some(file);
    }
    Ok(())
}

async fn drain(body: Body) {
    let mut chunks = body.into_data_stream();
    while let Some(Ok(_)) = chunks.next().await {}
}

async fn unknown_url(method: Method, request: Request) -> Response<Body> {
    let message = format!("Invalid URL ({method} {})", request.uri().path());
    let refusal = Refusal::bad_request(None, None, message);
    drain(request.into_body()).await;
    Refusal {
        status: StatusCode::NOT_FOUND,
        ..refusal
    }
    .response()
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use reqwest::Client;
    use reqwest::multipart::{Form, Part};

    use super::*;
    use crate::demo::CLIPS;

    async fn start() -> (Whisper, String) {
        let whisper = Whisper::new("key", &CLIPS);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/audio/transcriptions", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, whisper.router()).into_future());
        (whisper, url)
    }

    fn form(name: &str, file: impl Into<Vec<u8>>, fields: &[(&'static str, &str)]) -> Form {
        let form = Form::new().part(
            "file",
            Part::bytes(file.into())
                .file_name(name.to_owned())
                .mime_str("audio/x-test")
                .unwrap(),
        );
        fields
            .iter()
            .fold(form, |form, (name, value)| form.text(*name, (*value).to_owned()))
    }

    /// One for each test: a test is a thread, and building a client takes longer than most of them.
    fn client() -> Client {
        thread_local!(static CLIENT: std::cell::OnceCell<Client> = const { std::cell::OnceCell::new() });
        CLIENT.with(|client| {
            client
                .get_or_init(|| Client::builder().no_proxy().build().unwrap())
                .clone()
        })
    }

    async fn post(url: &str, form: Form) -> reqwest::Response {
        client()
            .post(url)
            .bearer_auth("key")
            .multipart(form)
            .send()
            .await
            .unwrap()
    }

    async fn post_json(url: &str, form: Form) -> (u16, Value) {
        let response = post(url, form).await;
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// 16-bit mono at 8 kHz, made of `data`.
    fn wav(data: &[u8]) -> Vec<u8> {
        [&tones::wav_header(8000, 1, data.len() as u32), data].concat()
    }

    fn pcm(samples: impl IntoIterator<Item = i16>) -> Vec<u8> {
        samples.into_iter().flat_map(i16::to_le_bytes).collect()
    }

    #[tokio::test]
    async fn a_clip_is_recognised_in_every_container() {
        let (whisper, url) = start().await;
        for clip in &CLIPS {
            let mut samples = Vec::new();
            audio::decode(Cursor::new(clip.mp3), |_, _, more| samples.extend_from_slice(more)).unwrap();
            let wav = wav(&pcm(samples.into_iter().map(|sample| (sample * 32767.0) as i16)));
            let files = [
                ("a.mp3", Some(clip.mp3)),
                ("a.mpga", clip.dual_mp3),
                ("a.MP4", clip.mp4),
                ("a.m4a", clip.mp4),
                ("a.wav", Some(&wav)),
            ];
            for (name, bytes) in files.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))) {
                let (status, body) = post_json(&url, form(name, bytes, &[("model", "whisper-1")])).await;
                assert_eq!((status, &body["text"]), (200, &json!(clip.transcript())), "{name}");
            }
        }
        let first = &whisper.requests()[0];
        assert_eq!(first.file_name.as_deref(), Some("a.mp3"));
        assert_eq!(first.content_type.as_deref(), Some("audio/x-test"));
        assert_eq!(first.file_bytes, CLIPS[0].mp3.len() as u64);
        assert_eq!(first.fields, [("model".to_owned(), "whisper-1".to_owned())]);
        assert!(first.authorized);
    }

    #[tokio::test]
    async fn verbose_json_tells_the_decoded_duration_and_a_segment_for_each_sentence() {
        let (_, url) = start().await;
        let fields = [
            ("model", "whisper-1"),
            ("response_format", "verbose_json"),
            ("language", "en"),
            ("temperature", "0.2"),
            ("timestamp_granularities[]", "segment"),
            ("timestamp_granularities[]", "word"),
        ];
        let (status, body) = post_json(&url, form("a.mp4", CLIPS[1].mp4.unwrap(), &fields)).await;
        assert_eq!(
            (status, &body["language"], &body["usage"]["seconds"]),
            (200, &json!("english"), &json!(180))
        );
        let duration = body["duration"].as_f64().unwrap();
        assert!((duration - 180.0).abs() < 0.2, "{duration}");
        let segments = body["segments"].as_array().unwrap();
        assert_eq!(segments.len(), CLIPS[1].sentences().count());
        let mut at = 0.0;
        for segment in segments {
            let (start, end) = (segment["start"].as_f64().unwrap(), segment["end"].as_f64().unwrap());
            assert!(at <= start && start < end && end < duration, "{segment}");
            at = end;
        }
        assert_eq!(
            body["words"].as_array().unwrap().len(),
            CLIPS[1].transcript().split(' ').count()
        );
    }

    #[tokio::test]
    async fn text_and_subtitles_are_plain() {
        let (_, url) = start().await;
        let plain = async |format: &str| {
            let fields = [("model", "whisper-1"), ("response_format", format)];
            post(&url, form("a.mp3", CLIPS[0].mp3, &fields))
                .await
                .text()
                .await
                .unwrap()
        };
        assert_eq!(plain("text").await, CLIPS[0].transcript() + "\n");
        let srt = plain("srt").await;
        assert!(
            srt.starts_with("1\n00:00:00,") && srt.contains("\n\n2\n00:00:20,"),
            "{srt}"
        );
        let vtt = plain("vtt").await;
        assert!(
            vtt.starts_with("WEBVTT\n\n00:00:00.") && vtt.contains("\n\n00:00:20."),
            "{vtt}"
        );
    }

    #[tokio::test]
    async fn silence_has_no_words_and_other_sound_is_refused() {
        let (_, url) = start().await;
        let whisper = [("model", "whisper-1")];
        let (status, body) = post_json(&url, form("a.wav", wav(&[0; 32_000]), &whisper)).await;
        assert_eq!((status, &body["text"]), (200, &json!("")));
        let tone = wav(&pcm((0..16_000).map(|at| if at / 10 % 2 == 0 { 8000 } else { -8000 })));
        let half = &CLIPS[0].mp3[..CLIPS[0].mp3.len() / 2];
        for (name, unknown) in [("a.wav", tone.as_slice()), ("a.mp3", half)] {
            let (status, body) = post_json(&url, form(name, unknown, &whisper)).await;
            assert_eq!((status, &body["error"]["code"]), (400, &json!("standin_unknown_audio")));
        }
    }

    fn spoken(wav: tones::Wav, fields: &[(&'static str, &str)]) -> Form {
        form("a.wav", wav.bytes(), fields)
    }

    const VERBOSE: [(&str, &str); 4] = [
        ("model", "whisper-1"),
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "segment"),
        ("timestamp_granularities[]", "word"),
    ];

    #[tokio::test]
    async fn tones_are_words_in_segments_that_end_at_pauses() {
        let (whisper, url) = start().await;
        let said = [(0.5, "river"), (0.8, "castle"), (1.5, "lemon"), (1.8, "amber")];
        let script = tones::Script::new(2.5, said);
        let (status, body) = post_json(&url, spoken(tones::Wav::new(16_000, [script.clone()]), &VERBOSE)).await;
        assert_eq!((status, &body["text"]), (200, &json!("river castle lemon amber")));
        let segments = body["segments"].as_array().unwrap();
        assert_eq!(segments.len(), 2);
        assert_eq!(segments[1]["text"], " lemon amber");
        let about = |value: &Value, seconds: f64| (value.as_f64().unwrap() - seconds).abs() < 0.01;
        assert!(
            about(&segments[1]["start"], 1.5) && about(&segments[1]["end"], 2.0),
            "{body}"
        );
        let words = body["words"].as_array().unwrap();
        for (heard, spoken) in words.iter().zip(script.words()) {
            assert_eq!(heard["word"], spoken.word);
            assert!(
                about(&heard["start"], spoken.start) && about(&heard["end"], spoken.end),
                "{heard}"
            );
        }
        let logged = &whisper.requests()[0];
        assert_eq!((logged.seconds, logged.status), (Some(2.5), Some(200)));
        assert_eq!(logged.text.as_deref(), Some("river castle lemon amber"));
    }

    #[tokio::test]
    async fn a_segment_of_tones_is_at_most_half_a_minute() {
        let (_, url) = start().await;
        let script = tones::Script::new(70.0, (0..200).map(|at| (f64::from(at) * 0.35, "river")));
        let (_, body) = post_json(&url, spoken(tones::Wav::new(8000, [script]), &VERBOSE)).await;
        let segments = body["segments"].as_array().unwrap();
        let lengths = segments
            .iter()
            .map(|segment| segment["end"].as_f64().unwrap() - segment["start"].as_f64().unwrap());
        assert!(
            segments.len() == 3 && lengths.into_iter().all(|length| length <= 30.0),
            "{segments:?}"
        );
    }

    #[tokio::test]
    async fn text_is_invented_in_long_silence_when_ordered() {
        let (whisper, url) = start().await;
        let talk = || tones::Wav::new(8000, [tones::Script::new(12.0, [(1.0, "river"), (11.0, "castle")])]);
        let (_, body) = post_json(&url, spoken(talk(), &VERBOSE)).await;
        assert_eq!(body["text"], "river castle");
        whisper.invent_in_silence(true);
        let (_, body) = post_json(&url, spoken(talk(), &VERBOSE)).await;
        assert_eq!(body["text"], "river Thank you for watching. castle");
        let segment = &body["segments"][1];
        assert_eq!(
            (&segment["no_speech_prob"], &segment["avg_logprob"]),
            (&json!(0.9), &json!(-1.4))
        );
        assert_eq!(body["segments"][0]["no_speech_prob"], 0.01);
        let (_, body) = post_json(&url, form("a.wav", wav(&[0; 96_000]), &VERBOSE)).await;
        assert_eq!(body["text"], INVENTED);
    }

    #[tokio::test]
    async fn only_successes_are_billed_and_the_same_file_is_known_again() {
        let (whisper, url) = start().await;
        let talk = |seed| spoken(tones::Wav::new(8000, [tones::Script::spoken(4.2, seed)]), &VERBOSE);
        let busy = Fault::Status {
            status: 503,
            headers: Vec::new(),
            body: "{}".into(),
        };
        whisper.fault(busy, Some(1));
        for (seed, status) in [(1, 503), (1, 200), (2, 200), (1, 200)] {
            assert_eq!(post(&url, talk(seed)).await.status(), status);
        }
        assert_eq!(post(&url, form("a.wav", vec![0; 10], &VERBOSE)).await.status(), 400);
        assert_eq!(whisper.billed_seconds(), 15);
        let log = whisper.requests();
        let billed: Vec<u64> = log.iter().map(Logged::billed_seconds).collect();
        assert_eq!(billed, [0, 5, 5, 5, 0]);
        assert_eq!(
            log[0].text.as_deref(),
            Some(tones::Script::spoken(4.2, 1).text().as_str())
        );
        assert!(log[0].sha256.is_some() && log[1].sha256 == log[3].sha256 && log[1].sha256 != log[2].sha256);
        assert_eq!((log[4].seconds, &log[4].text), (None, &None));
    }

    #[tokio::test]
    async fn faults_can_strike_one_call_or_one_word() {
        let (whisper, url) = start().await;
        let say = |word| {
            spoken(
                tones::Wav::new(8000, [tones::Script::new(1.0, [(0.2, word)])]),
                &VERBOSE,
            )
        };
        let status = |status| {
            Box::new(Fault::Status {
                status,
                headers: Vec::new(),
                body: "{}".into(),
            })
        };
        whisper.fault(Fault::OnWord("river".into(), status(500)), Some(2));
        whisper.fault(Fault::OnCall(2, status(429)), None);
        let mut answers = Vec::new();
        for word in ["river", "river", "lemon", "river", "river"] {
            answers.push(post(&url, say(word)).await.status().as_u16());
        }
        assert_eq!(answers, [500, 429, 200, 500, 200]);

        let gate = Arc::new(Semaphore::new(0));
        whisper.clear_faults();
        whisper.fault(Fault::OnWord("lemon".into(), Box::new(Fault::Gate(gate.clone()))), None);
        let held = tokio::spawn({
            let (url, upload) = (url.clone(), say("lemon"));
            async move { post(&url, upload).await.status() }
        });
        whisper.wait_for_calls(6).await;
        assert_eq!(post(&url, say("river")).await.status(), 200);
        assert!(!held.is_finished() && whisper.requests()[5].status.is_none());
        gate.add_permits(1);
        assert_eq!(held.await.unwrap(), 200);
    }

    #[tokio::test]
    async fn a_cut_connection_gives_no_answer() {
        let (whisper, url) = start().await;
        whisper.fault(Fault::Cut, Some(1));
        let upload = || form("a.mp3", CLIPS[4].mp3, &[("model", "whisper-1")]);
        let request = client().post(&url).bearer_auth("key").multipart(upload());
        let error = request.send().await.unwrap_err();
        assert!(error.is_request(), "{error:?}");
        assert_eq!((whisper.calls(), whisper.billed_seconds()), (1, 0));
        assert_eq!(post(&url, upload()).await.status(), 200);
    }

    #[tokio::test]
    async fn a_missing_or_wrong_key_is_refused() {
        let (whisper, url) = start().await;
        let client = client();
        let upload = || form("a.mp3", CLIPS[0].mp3, &[("model", "whisper-1")]);
        for (request, code) in [
            (client.post(&url), Value::Null),
            (client.post(&url).bearer_auth("sk-wrong"), json!("invalid_api_key")),
        ] {
            let response = request.multipart(upload()).send().await.unwrap();
            assert_eq!(response.status(), 401);
            let error = response.json::<Value>().await.unwrap()["error"].take();
            assert_eq!(
                (&error["type"], &error["code"]),
                (&json!("invalid_request_error"), &code)
            );
            assert!(!error["message"].as_str().unwrap().contains("wrong"));
        }
        assert!(whisper.requests().iter().all(|request| !request.authorized));
    }

    #[tokio::test]
    async fn fields_are_checked_like_the_real_ones() {
        let (_, url) = start().await;
        for (fields, status, param) in [
            (vec![], 400, "model"),
            (vec![("model", "whisper-9")], 404, ""),
            (vec![("model", "whisper-1"), ("langauge", "en")], 400, ""),
            (vec![("model", "whisper-1"), ("language", "english")], 400, "language"),
            (vec![("model", "whisper-1"), ("temperature", "1.5")], 400, "temperature"),
            (
                vec![("model", "whisper-1"), ("response_format", "xml")],
                400,
                "response_format",
            ),
            (
                vec![("model", "whisper-1"), ("timestamp_granularities[]", "word")],
                400,
                "timestamp_granularities",
            ),
            (
                vec![("model", "gpt-4o-transcribe"), ("response_format", "verbose_json")],
                400,
                "response_format",
            ),
        ] {
            let (answered, body) = post_json(&url, form("a.mp3", CLIPS[4].mp3, &fields)).await;
            assert_eq!(
                (answered, body["error"]["param"].as_str().unwrap_or_default()),
                (status, param),
                "{fields:?} {body}"
            );
        }
        let no_file = Form::new().text("model", "whisper-1");
        assert_eq!(post_json(&url, no_file).await.1["error"]["param"], "file");
        let (status, body) = post_json(&url, form("a.mp3", CLIPS[4].mp3, &[("model", "gpt-4o-transcribe")])).await;
        assert_eq!((status, &body["usage"]["type"]), (200, &json!("tokens")));
        let (status, body) = post_json(&url.replace("audio/transcriptions", "models"), Form::new()).await;
        assert_eq!((status, &body["error"]["type"]), (404, &json!("invalid_request_error")));
    }

    #[tokio::test]
    async fn files_that_are_not_what_they_say_are_refused() {
        let (_, url) = start().await;
        let short = wav(&pcm([100; 700]));
        let junk: Vec<u8> = (0..50_000_u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for (name, bytes, code, message) in [
            (
                "a.txt",
                CLIPS[4].mp3,
                Value::Null,
                "Invalid file format. Supported formats: ['flac', 'm4a', 'mp3'",
            ),
            ("mp3", CLIPS[4].mp3, Value::Null, "Invalid file format."),
            (
                "a.wav",
                CLIPS[4].mp3,
                json!("unsupported_format"),
                "This model does not support the format you provided.",
            ),
            (
                "a.mp3",
                CLIPS[4].mp4.unwrap(),
                json!("unsupported_format"),
                "This model does not support",
            ),
            (
                "a.mp3",
                &junk,
                json!("invalid_value"),
                "Audio file might be corrupted or unsupported",
            ),
            (
                "a.mp3",
                b"",
                json!("invalid_value"),
                "Audio file might be corrupted or unsupported",
            ),
            (
                "a.wav",
                &short,
                json!("audio_too_short"),
                "Audio file is too short. Minimum audio length is 0.1 seconds.",
            ),
        ] {
            let (status, body) = post_json(&url, form(name, bytes, &[("model", "whisper-1")])).await;
            assert_eq!((status, &body["error"]["code"]), (400, &code), "{name} {body}");
            assert!(
                body["error"]["message"].as_str().unwrap().starts_with(message),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn the_cap_is_on_the_whole_body() {
        let (whisper, url) = start().await;
        let upload = |bytes: usize| form("a.wav", vec![0; bytes], &[("model", "whisper-1")]);
        let (status, body) = post_json(&url, upload(MAX_BODY_BYTES as usize)).await;
        assert_eq!(status, 413);
        assert_eq!(
            (&body["error"]["type"], &body["error"]["code"]),
            (&json!("server_error"), &Value::Null)
        );
        // 1 KB leaves room for the multipart framing: the file is read, and is no wav.
        let (status, body) = post_json(&url, upload(MAX_BODY_BYTES as usize - 1024)).await;
        assert_eq!((status, &body["error"]["code"]), (400, &json!("invalid_value")));
        assert_eq!(whisper.requests()[1].file_bytes, MAX_BODY_BYTES - 1024);
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0; 1 << 20])).take(26);
        let part = Part::stream(reqwest::Body::wrap_stream(chunks)).file_name("a.wav");
        assert_eq!(
            post(&url, Form::new().text("model", "whisper-1").part("file", part))
                .await
                .status(),
            413
        );
    }

    #[tokio::test]
    async fn only_the_gpt_4o_models_have_a_longest_duration() {
        let (_, url) = start().await;
        let silence = wav(&vec![0; 16_000 * 1401]);
        let (status, body) = post_json(
            &url,
            form("a.wav", silence.as_slice(), &[("model", "gpt-4o-mini-transcribe")]),
        )
        .await;
        let message =
            "audio duration 1401.000000 seconds is longer than 1400 seconds which is the maximum for this model";
        assert_eq!(
            (status, &body["error"]["message"], &body["error"]["code"]),
            (400, &json!(message), &json!("invalid_value"))
        );
        assert_eq!(
            post(&url, form("a.wav", silence, &[("model", "whisper-1")]))
                .await
                .status(),
            200
        );
    }

    #[tokio::test]
    async fn faults_come_after_the_request_was_read() {
        let (whisper, url) = start().await;
        let upload = || form("a.mp3", CLIPS[4].mp3, &[("model", "whisper-1")]);
        let headers = vec![("retry-after".to_owned(), "3".to_owned())];
        whisper.fault(
            Fault::Status {
                status: 429,
                headers,
                body: "{}".into(),
            },
            Some(1),
        );
        let limited = post(&url, upload()).await;
        assert_eq!(
            (limited.status().as_u16(), &limited.headers()["retry-after"]),
            (429, &"3".parse().unwrap())
        );
        assert_eq!(whisper.requests()[0].file_bytes, CLIPS[4].mp3.len() as u64);

        let gate = Arc::new(Semaphore::new(0));
        whisper.fault(Fault::Gate(gate.clone()), Some(1));
        let held = tokio::spawn({
            let (url, upload) = (url.clone(), upload());
            async move { post(&url, upload).await.status() }
        });
        whisper.wait_for_calls(2).await;
        assert_eq!(post(&url, upload()).await.status(), 200);
        assert!(!held.is_finished());
        gate.add_permits(1);
        assert_eq!(held.await.unwrap(), 200);

        whisper.fault(Fault::Hang, None);
        let hanging = tokio::spawn({
            let (url, upload) = (url.clone(), upload());
            async move { post(&url, upload).await.status() }
        });
        whisper.wait_for_calls(4).await;
        whisper.clear_faults();
        assert_eq!(post(&url, upload()).await.status(), 200);
        assert!(!hanging.is_finished());
        assert_eq!(whisper.calls(), 5);
        hanging.abort();
    }
}
