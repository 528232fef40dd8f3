//! The stand-in's state and the endpoint.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, Method, Response, StatusCode, header},
    routing::post,
};
use shared::panics::blocking;
use tokio::sync::watch;

use super::{
    error::Refusal,
    fault::Fault,
    form::{Form, drain, read_form},
    log::Logged,
    recognition::transcribe,
};

struct Inner {
    api_key: String,
    log: watch::Sender<Vec<Logged>>,
    faults: Mutex<Vec<(Fault, Option<usize>)>>,
    hallucinates: AtomicBool,
}

/// The stand-in. Clones share one state.
#[derive(Clone)]
pub struct Whisper {
    inner: Arc<Inner>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Whisper {
    /// A stand-in that accepts this bearer token.
    pub fn new(api_key: impl Into<String>) -> Self {
        let (log, faults, hallucinates) = Default::default();
        Whisper {
            inner: Arc::new(Inner {
                api_key: api_key.into(),
                log,
                faults,
                hallucinates,
            }),
        }
    }

    /// The router of the API, to be served at the root of a host. Its base URL ends in `/v1`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/audio/transcriptions", post(handle))
            .method_not_allowed_fallback(unknown_url)
            .fallback(unknown_url)
            .layer(DefaultBodyLimit::disable())
            .with_state(self.clone())
    }

    /// All transcription requests so far, oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.inner.log.borrow().clone()
    }

    /// The number of transcription requests so far.
    pub fn calls(&self) -> usize {
        self.inner.log.borrow().len()
    }

    /// Waits until [`Self::calls`] is at least `calls`.
    pub async fn wait_for_calls(&self, calls: usize) {
        // It fails only without a sender, and `self` holds that.
        let _ = self.inner.log.subscribe().wait_for(|log| log.len() >= calls).await;
    }

    /// The billed seconds of all successful responses so far.
    pub fn billed_seconds(&self) -> u64 {
        self.inner.log.borrow().iter().map(Logged::billed_seconds).sum()
    }

    /// Sets whether text is hallucinated in silences of 5 s or more, like Whisper does: segments of "Thank you for watching." with a
    /// `no_speech_prob` of 0.9 and an `avg_logprob` of -1.4. The default is `false`.
    pub fn hallucinate_in_silence(&self, hallucinates: bool) {
        self.inner.hallucinates.store(hallucinates, Ordering::Relaxed);
    }

    /// Injects a fault `times` times or (`None`) until [`Self::clear_faults`]. Of several applicable faults the first injected one is used.
    pub fn fault(&self, fault: Fault, times: Option<usize>) {
        lock(&self.inner.faults).push((fault, times));
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        lock(&self.inner.faults).clear();
    }

    /// The fault for this call. With a text, only faults that depend on the text apply; without, only the others.
    fn take_fault(&self, call: usize, text: Option<&str>) -> Option<Fault> {
        let mut faults = lock(&self.inner.faults);
        faults
            .iter_mut()
            .filter(|(_, times)| *times != Some(0))
            .find_map(|(fault, times)| {
                let applicable = fault.applicable(call, text)?.clone();
                if text.is_some() && fault.applicable(call, None).is_some() {
                    return None;
                }
                if let Some(times) = times {
                    *times -= 1;
                }
                Some(applicable)
            })
    }

    /// Changes the log entry of this call, counted from 1.
    fn update_log(&self, call: usize, update: impl FnOnce(&mut Logged)) {
        self.inner.log.send_modify(|log| update(&mut log[call - 1]));
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
}

async fn handle(State(whisper): State<Whisper>, request: Request) -> Response<Body> {
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
    let transcribed = match authorization.and(read) {
        Ok(()) => blocking(move || {
            let hallucinates = worker.inner.hallucinates.load(Ordering::Relaxed);
            let log_seconds = |seconds| worker.update_log(call, |logged| logged.seconds = Some(seconds));
            transcribe(form, hallucinates, log_seconds)
        })
        .await
        .unwrap_or_else(|_| Err(Refusal::undecodable())),
        Err(refusal) => Err(refusal),
    };
    let text = transcribed.as_ref().ok().map(|transcribed| transcribed.text.clone());
    let fault = fault.or_else(|| whisper.take_fault(call, Some(text.as_deref()?)));
    whisper.update_log(call, |logged| logged.text = text);
    let intended = transcribed.map_or_else(|refusal| refusal.response(), |transcribed| transcribed.response);
    let mut response = match fault {
        None => intended,
        Some(Fault::Gate(gate)) => {
            // A closed semaphore lets all requests continue.
            if let Ok(permit) = gate.acquire().await {
                permit.forget();
            }
            intended
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
        // The body fails before the headers are written, so that nothing is sent.
        Some(Fault::Cut) => {
            let broken = futures_util::stream::iter([Err::<bytes::Bytes, _>(std::io::Error::other("cut by a fault"))]);
            return Response::new(Body::from_stream(broken));
        }
        // `applicable` never returns `OnCall` or `OnWord`.
        Some(Fault::Hang | Fault::OnCall(..) | Fault::OnWord(..)) => return std::future::pending().await,
    };
    whisper.update_log(call, |logged| logged.status = Some(response.status().as_u16()));
    if let Ok(id) = format!("req_standin_{call}").parse() {
        response.headers_mut().insert("x-request-id", id);
    }
    response
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
