//! `GET /recordings`: a list of calls sorted by start time. The default is the calls that can be played, newest first.

use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    audit::{Action, Event},
    calls::{Call, Calls, Cursor, ListFilter, ListOrder, ListStart, TwilioRecording},
    clients::{
        aws::Aws,
        presign::{Presign, PresignError, Presigner},
        twilio::{DEFAULT_BASE_URL, media_url},
    },
    config::{ConfigError, Env},
    http::{
        self, ApiError, ErrorFormat, Query,
        access::{Access, Scope},
        invalid_parameter,
    },
    ids::{DispatchId, content_type},
    time::{DateInput, to_millis},
};

/// The lifetime of the listed URLs in seconds, the documented default.
const EXPIRES_IN: u64 = 3600;
const PARAMETERS: [&str; 14] = [
    "limit",
    "offset",
    "cursor",
    "order",
    "include_total",
    "status",
    "outcome",
    "phone",
    "interaction_id",
    "started_after",
    "started_before",
    "min_duration",
    "has_transcript",
    "has_recording",
];

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    calls: Calls,
    presign: Option<Presign>,
    twilio: String,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::for_recordings(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
            presign: Presign::from_env(env, &aws)?,
            twilio: env.optional("TWILIO_BASE_URL").unwrap_or(DEFAULT_BASE_URL).to_owned(),
        };
        tokio::join!(state.access.preload(), async {
            if let Some(presign) = &state.presign {
                presign.preload().await;
            }
        });
        Ok(state)
    }
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RecordingList))]
struct List {
    recordings: Vec<Row>,
    limit: usize,
    offset: u64,
    next_cursor: Option<String>,
    #[serde(flatten)]
    total: Option<Counted>,
}

/// The fields that `include_total` adds.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct Counted {
    /// `null` until the reconciler has counted the closed days.
    total: Option<u64>,
    /// When the closed days were last counted. The request itself counts the open days.
    total_as_of: String,
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ListedCall))]
struct Row {
    interaction_id: Option<String>,
    customer_name: Option<String>,
    phone: Option<String>,
    status: Option<String>,
    outcome: Option<String>,
    duration: Option<i64>,
    start_time: Option<String>,
    end_time: Option<String>,
    recording_url: Option<String>,
    expires_at: Option<String>,
    dispatch_id: Option<String>,
    source: Option<&'static str>,
    call_sid: Option<String>,
    has_transcript: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    recording_error: Option<String>,
    /// All recordings of the call. The first one is that of `recording_url`.
    recordings: Vec<Recorded>,
}

#[derive(Serialize)]
#[serde(tag = "source", rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ListedRecording))]
enum Recorded {
    LiveKit {
        recording_url: String,
        /// Path of the recording's audio below the base URL, which does not expire.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(nullable = false, format = "uri-reference"))]
        stable_url: Option<String>,
        expires_at: String,
        content_type: &'static str,
    },
    /// With `archived: true` the URL is that of the copy in the bucket, if that is not in Glacier. Otherwise it is Twilio's, which requires Twilio's credentials; it can also
    /// be sent to the transcript endpoint.
    Twilio {
        recording_url: Option<String>,
        sid: String,
        duration: Option<i64>,
        /// Whether the bucket has a copy.
        archived: bool,
        #[serde(flatten)]
        copy: Option<ListedCopy>,
    },
}

/// The copy of a Twilio recording.
#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct ListedCopy {
    /// Path of the recording's audio below the base URL, which does not expire.
    #[cfg_attr(feature = "openapi", schema(format = "uri-reference"))]
    stable_url: String,
    expires_at: String,
    content_type: String,
    size_bytes: i64,
    channels: u32,
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/recordings",
        operation_id = "listRecordings",
        tag = "Recordings",
        summary = "List calls",
        description = "Calls by start time, newest first. Calls without a recording are listed only with `has_recording=false`. Scope: `recordings:read`.",
        params(
            ("limit" = Option<u64>, Query, description = "Rows on a page.", minimum = 1, maximum = 100, example = 10),
            ("offset" = Option<u64>, Query, description = "Rows to skip, at most 100,000. Not together with `cursor`.", minimum = 0, maximum = 4294967295u64),
            ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page, with the same filters and order."),
            ("order" = Option<String>, Query, description = "`desc`, the default, is newest first; `asc` is oldest first.", pattern = "^(asc|desc)$"),
            ("include_total" = Option<bool>, Query, description = "Adds `total`. Not together with a filter other than `has_recording`."),
            ("status" = Option<String>, Query, description = "Exact match.", min_length = 1, max_length = 256),
            ("outcome" = Option<String>, Query, description = "Exact match.", min_length = 1, max_length = 256),
            ("phone" = Option<String>, Query, description = "A phone number with its country code. Only its digits are compared.", pattern = "[0-9]", max_length = 256, example = "+15103455686"),
            ("interaction_id" = Option<String>, Query, description = "Exact match.", min_length = 1, max_length = 256),
            ("started_after" = Option<String>, Query, description = "ISO 8601 date or date-time. A date covers its whole UTC day.", example = "2025-08-08"),
            ("started_before" = Option<String>, Query, description = "ISO 8601 date or date-time. A date covers its whole UTC day.", example = "2025-08-08"),
            ("min_duration" = Option<u64>, Query, description = "Minimum duration in seconds.", minimum = 0, maximum = 4294967295u64),
            ("has_transcript" = Option<bool>, Query, description = "With or without a stored transcript."),
            ("has_recording" = Option<bool>, Query, description = "`false`: the calls without a recording."),
        ),
        responses((status = 200, description = "A page of calls.", body = List)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "value", "list", "database", "signer"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        request.expect_tail("recordings")?;
        request.query.only(&PARAMETERS)?;
        let limit = request.query.integer("limit", 10, 1..=100)? as usize;
        let offset = request.query.integer("offset", 0, 0..=u64::from(u32::MAX))?;
        let filter = filter(&request.query)?;
        let order = match request.query.get("order") {
            None | Some("desc") => ListOrder::Newest,
            Some("asc") => ListOrder::Oldest,
            Some(other) => return Err(invalid_parameter("order", other, "desc or asc")),
        };
        let with_total = boolean(&request.query, "include_total")?.unwrap_or(false);
        if with_total && !filter.is_whole() {
            return Err(ApiError::bad_request(
                "invalid_parameter",
                "include_total counts whole lists; the only filter that it can be combined with is has_recording.",
            ));
        }
        let start = match request.query.get("cursor") {
            None => ListStart::Offset(offset),
            Some(_) if request.query.get("offset").is_some() => {
                return Err(ApiError::bad_request(
                    "invalid_parameter",
                    "Give either cursor or offset, not both.",
                ));
            }
            Some(text) => {
                let accepted = "the next_cursor of an earlier response for the same filters and order";
                let cursor = Cursor::decode(text, &filter, order);
                ListStart::After(cursor.ok_or_else(|| invalid_parameter("cursor", text, accepted))?)
            }
        };
        let presign = state.presign.as_ref().ok_or_else(http::s3_missing)?;
        let total = async {
            match with_total {
                true => state.calls.total(filter.missing).await.map(Some),
                false => Ok(None),
            }
        };
        let (page, total, presigner) = tokio::join!(
            state.calls.list(&filter, order, start, limit),
            total,
            presign.presigner(EXPIRES_IN)
        );
        let (page, total, presigner) = (page?, total?, presigner?);
        let total = total.map(|total| Counted {
            total: total.rows,
            total_as_of: to_millis(total.as_of),
        });
        let rows = page.calls.into_iter().map(|call| row(call, &presigner, &state.twilio));
        let recordings = rows.collect::<Result<Vec<_>, _>>()?;
        let event = Event::new(Action::List).with(request.query.names());
        let event = event.showing(recordings.len());
        let list = List {
            recordings,
            limit,
            offset,
            next_cursor: page.next.map(|cursor| cursor.encode(&filter, order)),
            total,
        };
        state.access.disclose(&request, event, (StatusCode::OK, list)).await
    })
    .await
}

fn filter(query: &Query) -> Result<ListFilter, ApiError> {
    let phone = query.text("phone")?;
    if let Some(phone) = &phone
        && !phone.bytes().any(|byte| byte.is_ascii_digit())
    {
        return Err(invalid_parameter("phone", phone, "a phone number"));
    }
    let min_duration = match query.get("min_duration") {
        None => None,
        Some(_) => Some(query.integer("min_duration", 0, 0..=u64::from(u32::MAX))? as i64),
    };
    Ok(ListFilter {
        missing: boolean(query, "has_recording")? == Some(false),
        status: query.text("status")?,
        outcome: query.text("outcome")?,
        phone,
        interaction_id: query.text("interaction_id")?,
        started_after: query.date("started_after")?.map(DateInput::start),
        started_before: query.date("started_before")?.map(DateInput::end),
        min_duration,
        has_transcript: boolean(query, "has_transcript")?,
    })
}

fn boolean(query: &Query, name: &'static str) -> Result<Option<bool>, ApiError> {
    match query.get(name) {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(other) => Err(invalid_parameter(name, other, "true or false")),
    }
}

fn recorded_by_twilio(
    recording: &TwilioRecording,
    presigner: &Presigner,
    twilio: &str,
) -> Result<Recorded, PresignError> {
    let account = recording.account_sid.as_deref();
    let at_twilio = || account.map(|account| media_url(twilio, account, &recording.sid));
    let copy = recording.readable_copy();
    Ok(Recorded::Twilio {
        recording_url: match copy {
            Some(copy) => Some(presigner.presign(&copy.key)?),
            None if recording.is_completed() => at_twilio(),
            None => None,
        },
        sid: recording.sid.clone(),
        duration: recording.duration,
        archived: recording.copied().is_some(),
        copy: copy.map(|copy| ListedCopy {
            stable_url: format!("/recordings/{}/audio", recording.sid),
            expires_at: to_millis(presigner.expiry.at()),
            content_type: copy.content_type.clone(),
            size_bytes: copy.size,
            channels: copy.channels,
        }),
    })
}

fn row(call: Call, presigner: &Presigner, twilio: &str) -> Result<Row, PresignError> {
    let mut recordings = Vec::with_capacity(1);
    let is_archived = call.is_archived();
    if let Some(key) = call.s3_key.as_ref().filter(|_| !is_archived) {
        recordings.push(Recorded::LiveKit {
            recording_url: presigner.presign(key)?,
            stable_url: DispatchId::parse(&call.dispatch_id).map(|id| format!("/recordings/{id}/audio")),
            expires_at: to_millis(presigner.expiry.at()),
            content_type: content_type(key),
        });
    }
    // Those that can be played come first.
    let (copied, at_twilio): (Vec<_>, Vec<_>) = call
        .twilio
        .iter()
        .filter(|recording| recording.is_playable())
        .partition(|recording| recording.readable_copy().is_some());
    for recording in copied.into_iter().chain(at_twilio) {
        recordings.push(recorded_by_twilio(recording, presigner, twilio)?);
    }
    let (source, recording_url, expires_at) = match recordings.first() {
        Some(Recorded::LiveKit {
            recording_url,
            expires_at,
            ..
        }) => (Some("livekit"), Some(recording_url.clone()), Some(expires_at.clone())),
        Some(Recorded::Twilio {
            recording_url, copy, ..
        }) => {
            let expires_at = copy.as_ref().map(|copy| copy.expires_at.clone());
            (Some("twilio"), recording_url.clone(), expires_at)
        }
        None => (is_archived.then_some("livekit"), None, None),
    };
    let time = |time: Option<Timestamp>| time.map(to_millis);
    Ok(Row {
        recording_url,
        expires_at,
        source,
        recordings,
        interaction_id: call.interaction_id,
        customer_name: call.customer_name,
        phone: call.phone,
        status: call.status,
        outcome: call.outcome,
        duration: call.duration,
        start_time: time(call.start_time),
        end_time: time(call.end_time),
        dispatch_id: Some(call.dispatch_id).filter(|id| !id.is_empty()),
        call_sid: call.call_sid,
        has_transcript: call.has_transcript,
        recording_error: call.recording_error,
    })
}
