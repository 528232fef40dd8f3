//! `POST /webhooks/twilio/recording`: Twilio's `recordingStatusCallback`.
//!
//! The callback URL may contain `?dispatch_id=…`, which assigns the recording to that dispatch. Twilio signs the whole URL.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use lambda_http::{
    Body, Request, Response,
    http::{Method, StatusCode, header},
};
use serde_json::{Value, json};
use shared::{
    archive::CopyQueue,
    calls::{Calls, TwilioRecording},
    clients::{
        aws::Aws,
        twilio::{
            AccountSid, RecordingSid, RecordingStatus, Twilio, TwilioError,
            signature::{is_signed, is_signed_body, shifts_boundary, signed_forms},
        },
    },
    config::{ConfigError, Env},
    http::{self, ApiError, ApiRequest, invalid_parameter},
    ids::DispatchId,
    transcription::AutoTranscribe,
};
use tokio::time::Instant;

const PATH: &str = "/webhooks/twilio/recording";
/// The timeout for looking up the call's number. Twilio waits 15 s for the response to a callback.
const NUMBER_TIMEOUT: Duration = Duration::from_secs(3);

/// The parameters that are read.
const USED: [&str; 7] = [
    "AccountSid",
    "CallSid",
    "ErrorCode",
    "RecordingDuration",
    "RecordingSid",
    "RecordingStartTime",
    "RecordingStatus",
];

/// The used parameters of a callback.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[schema(as = TwilioCallback)]
#[allow(dead_code, non_snake_case)]
struct Callback {
    /// The configured account.
    AccountSid: String,
    RecordingSid: String,
    RecordingStatus: String,
    #[schema(nullable = false)]
    CallSid: Option<String>,
    /// Seconds.
    #[schema(nullable = false)]
    RecordingDuration: Option<String>,
    #[schema(nullable = false)]
    RecordingStartTime: Option<String>,
    #[schema(nullable = false)]
    ErrorCode: Option<String>,
}

/// The result of a callback.
#[cfg(feature = "openapi")]
#[derive(utoipa::ToSchema)]
#[schema(as = CallbackStored)]
#[allow(dead_code)]
struct Stored {
    /// `true`: the recording is stored.
    indexed: bool,
}

/// The state that is created once and used for every request.
pub struct State {
    /// The public URL of this API, without a trailing slash.
    public_url: Option<String>,
    twilio: Twilio,
    calls: Calls,
    /// Present if completed recordings are transcribed automatically.
    auto_transcribe: Option<AutoTranscribe>,
    /// Present if completed recordings are copied automatically.
    copies: Option<CopyQueue>,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let public_url = env
            .optional("PUBLIC_BASE_URL")
            .map(|url| url.trim_end_matches('/').to_owned());
        let state = Self {
            public_url,
            twilio: Twilio::from_env(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
            auto_transcribe: AutoTranscribe::from_env(env, &aws)?,
            copies: CopyQueue::automatic(env, &aws)?,
        };
        tokio::join!(state.twilio.preload(), state.calls.preload());
        Ok(state)
    }
}

/// Handles a request. Success is returned only after everything is stored. Whether Twilio retries a failed callback depends on connection
/// overrides in the callback URL (`#rc=…&rp=…`: <https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides>).
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        post,
        path = "/webhooks/twilio/recording",
        operation_id = "twilioCallback",
        tag = "Webhooks",
        summary = "Receive a recordingStatusCallback from Twilio",
        description = "Only for Twilio: the `recordingStatusCallback` of a call.",
        params(
            ("dispatch_id" = Option<String>, Query, description = "The dispatch that the recording belongs to. Without it the recording is paired by number and time.", pattern = "^[A-Za-z0-9_-]{1,128}$"),
        ),
        request_body(content = Callback, content_type = "application/x-www-form-urlencoded", description = "Twilio's form."),
        responses((status = 200, description = "Stored.", body = Stored)),
        security(("twilio_signature" = [])),
        extensions(("x-errors" = json!(["request", "callback", "missing", "value", "database", "queue"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond_leniently(request, |request| async move {
        request.expect_tail("recording")?;
        let parameters = verified(state, &request).await?;
        let reported = Reported::read(&request, &parameters)?;
        let account = state.twilio.account_sid().await.map_err(not_configured)?;
        if AccountSid::parse(&reported.account_sid).as_ref() != Some(&account) {
            let accepted = "the SID of the configured account";
            return Err(invalid_parameter("AccountSid", &reported.account_sid, accepted));
        }
        let known = state.calls.twilio_call(&reported.call_sid).await?;
        let recordings = known.as_ref().map(|(_, recordings)| recordings);
        let same = recordings.and_then(|known| known.get(&reported.recording.sid));
        // Nothing is queued of what was erased, nor stored.
        if same.is_none()
            && state
                .calls
                .is_erased_recording(&reported.sid, Some(&reported.call_sid))
                .await?
        {
            return Ok((StatusCode::OK, json!({"indexed": true})));
        }
        if reported.recording.completes(same)
            && let Some(auto_transcribe) = &state.auto_transcribe
        {
            // Before it is stored: a callback that comes again must not find that nothing is left to do.
            auto_transcribe.enqueue(reported.sid.clone()).await?;
        }
        // A callback that comes again, or after the reconciler, is copied as well, unless the copy has ended: copying twice does nothing.
        if reported.recording.is_completed()
            && same.is_none_or(|known| known.copy.is_none())
            && let Some(copies) = &state.copies
        {
            copies.enqueue(&reported.sid).await?;
        }
        let mut phone = known.and_then(|(phone, _)| phone);
        if phone.is_none() {
            // The number only helps to pair the recording with its call. If this fails, the reconciler looks it up later.
            let deadline = request.deadline.min(Instant::now() + NUMBER_TIMEOUT);
            match state.twilio.number_of(&reported.call_sid, deadline).await {
                Ok(number) => phone = Some(number.unwrap_or_default()),
                Err(error) => tracing::warn!(%error, "the call's number is not known"),
            }
        }
        state
            .calls
            .record_twilio_recording(
                &reported.call_sid,
                &reported.recording,
                phone.as_deref(),
                reported.dispatch_id.as_ref(),
            )
            .await?;
        Ok::<(StatusCode, Value), ApiError>((StatusCode::OK, json!({"indexed": true})))
    })
    .await
}

/// `GET /webhooks/twilio/recording`.
#[cfg(feature = "openapi")]
#[utoipa::path(
    get,
    path = "/webhooks/twilio/recording",
    operation_id = "twilioCallbackByGet",
    tag = "Webhooks",
    summary = "Receive a recordingStatusCallback from Twilio by GET",
    description = "Only for Twilio: the same with `recordingStatusCallbackMethod=GET`. The parameters of the form are in the query string.",
    params(
        ("dispatch_id" = Option<String>, Query, description = "The dispatch that the recording belongs to. Without it the recording is paired by number and time.", pattern = "^[A-Za-z0-9_-]{1,128}$"),
    ),
    responses((status = 200, description = "Stored.", body = Stored)),
    security(("twilio_signature" = [])),
    extensions(("x-errors" = json!(["request", "callback", "missing", "value", "database", "queue"]))),
)]
pub async fn by_get() {}

/// Verifies Twilio's signature and returns the parameters of the form, or of the query string of a `GET`.
async fn verified(state: &State, request: &ApiRequest) -> Result<Vec<(String, String)>, ApiError> {
    let public_url = state.public_url.as_ref().ok_or_else(|| {
        ApiError::not_found(
            "public_url_not_configured",
            "This deployment accepts no callbacks of Twilio: PUBLIC_BASE_URL, which verifying their signatures needs, is not configured.",
        )
    })?;
    let token = state.twilio.auth_token().await.map_err(not_configured)?;
    let query = match request.raw_query() {
        "" => String::new(),
        query => format!("?{query}"),
    };
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let signature = header("x-twilio-signature");
    let body = request.body()?;
    // With `recordingStatusCallbackMethod=GET` the parameters are a part of the URL, and the signature is that of the URL alone.
    let is_post = request.method() == Method::POST;
    let is_form = header(header::CONTENT_TYPE.as_str()).starts_with("application/x-www-form-urlencoded");
    let parameters: Vec<(String, String)> = match (is_post, is_form) {
        (false, _) => form_urlencoded::parse(request.raw_query().as_bytes())
            .into_owned()
            .collect(),
        (true, true) => form_urlencoded::parse(body).into_owned().collect(),
        (true, false) => Vec::new(),
    };
    // The callback URL at Twilio may be configured with or without a trailing slash.
    let is_genuine = |token: &str| {
        ["", "/"].into_iter().any(|slash| {
            let forms = signed_forms(&format!("{public_url}{PATH}{slash}{query}"));
            forms.iter().any(|url| match (is_post, is_form) {
                (false, _) => is_signed(signature, token, url, &[]),
                (true, true) => is_signed(signature, token, url, &parameters),
                (true, false) => is_signed_body(signature, token, url, body),
            })
        })
    };
    let mut genuine = is_genuine(&token);
    if !genuine && !signature.is_empty() {
        genuine = is_genuine(&state.twilio.new_auth_token().await.map_err(not_configured)?);
    }
    let form = if is_post { &parameters[..] } else { &[] };
    let cut = form.iter().find(|(name, value)| shifts_boundary(name, value, &USED));
    match (genuine, cut) {
        (true, None) => Ok(parameters),
        (true, Some((name, _))) => Err(invalid_parameter(
            "The name of a parameter",
            name,
            "a name that Twilio uses, because the signature does not cover where a name ends",
        )),
        (false, _) => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "invalid_signature",
            "X-Twilio-Signature is not this account's signature of this request to the configured public URL.",
        )),
    }
}

fn not_configured(error: TwilioError) -> ApiError {
    let answer = match error.is_transient() {
        true => ApiError::unavailable(error.code(), error.user_message()),
        // An anonymous request to a webhook that nobody configured is no fault of the deployment.
        false => ApiError::not_found(error.code(), error.user_message()),
    };
    answer.caused_by(error)
}

/// The content of a callback.
struct Reported {
    account_sid: String,
    call_sid: String,
    sid: RecordingSid,
    recording: TwilioRecording,
    dispatch_id: Option<DispatchId>,
}

impl Reported {
    fn read(request: &ApiRequest, parameters: &[(String, String)]) -> Result<Self, ApiError> {
        let given = |name: &str| {
            let found = parameters.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let missing = |name: &str| ApiError::bad_request("missing_parameter", format!("{name} is required."));
        let required = |name: &'static str| given(name).ok_or_else(|| missing(name));
        let sid = required("RecordingSid")?;
        let sid =
            RecordingSid::parse(sid).ok_or_else(|| invalid_parameter("RecordingSid", sid, "a recording's SID"))?;
        // A conference's recording may not belong to a single call. It is then indexed as a separate call.
        let call_sid = given("CallSid").unwrap_or(sid.as_str());
        let is_sid = |sid: &str| sid.len() <= 64 && sid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_sid(call_sid) {
            return Err(invalid_parameter("CallSid", call_sid, "a call's SID"));
        }
        let mut dispatches = request.query.all("dispatch_id");
        let dispatch = dispatches.next();
        if let Some(other) = dispatches.find(|other| Some(*other) != dispatch) {
            return Err(invalid_parameter("dispatch_id", other, "the same in all places"));
        }
        let dispatch_id = match dispatch {
            None => None,
            Some(text) => {
                Some(DispatchId::parse(text).ok_or_else(|| invalid_parameter("dispatch_id", text, "a dispatch id"))?)
            }
        };
        let start = given("RecordingStartTime").and_then(|text| {
            let written = rfc2822::parse(text).map(|time| time.timestamp()).ok();
            written.or_else(|| text.parse::<Timestamp>().ok())
        });
        let account_sid = required("AccountSid")?.to_owned();
        Ok(Self {
            recording: TwilioRecording {
                status: RecordingStatus::new(required("RecordingStatus")?.chars().take(32).collect::<String>()),
                sid: sid.to_string(),
                account_sid: Some(account_sid.clone()),
                duration: given("RecordingDuration")
                    .and_then(|text| text.parse().ok())
                    .filter(|seconds| *seconds >= 0),
                start_time: start,
                error_code: given("ErrorCode")
                    .and_then(|text| text.parse().ok())
                    .filter(|code| *code != 0),
                copy: None,
            },
            account_sid,
            call_sid: call_sid.to_owned(),
            sid,
            dispatch_id,
        })
    }
}
