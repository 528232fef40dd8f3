//! `GET /api/twilio/recordings/`: the account's recordings, with filters, and whether the audio of each can be fetched.

mod query;

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, stream};
use lambda_http::{Body, Request, Response, http::StatusCode};
use query::{Position, RecordingFilter};
use serde::Serialize;
use shared::{
    audit::{Action, Event},
    clients::{
        aws::Aws,
        twilio::{AccountSid, Recording, RecordingStatus, StatusGroup, Twilio, TwilioError},
    },
    config::{ConfigError, Env},
    http::{
        self, ApiError, ErrorFormat,
        access::{Access, Scope},
    },
    time::to_seconds,
};
use tokio::time::{Instant, timeout_at};

/// The page size for requests to Twilio when filters exclude some of the recordings.
const FILTERED_PAGE_SIZE: u64 = 200;
/// The part of a request's time that is reserved for checking the media, but at most half of what is left.
const PROBE_BUDGET: Duration = Duration::from_secs(8);
/// Media checks that run concurrently. Twilio limits an account's concurrency, and each new TLS connection costs CPU time.
const CONCURRENT_PROBES: usize = 16;

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    twilio: Twilio,
    usage: get_usage::State,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::required(env, &aws)?,
            twilio: Twilio::from_env(env, &aws)?,
            usage: get_usage::State::new(env, &aws)?,
        };
        tokio::join!(state.access.preload(), state.twilio.preload());
        Ok(state)
    }
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TwilioRecordingList))]
struct List {
    total_recordings: usize,
    query_parameters: QueryParameters,
    recordings: Vec<Row>,
    summary: Summary,
    next_page_token: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct QueryParameters {
    limit: String,
    status: Option<String>,
    date_created_after: Option<String>,
    date_created_before: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TwilioRecording))]
struct Row {
    sid: String,
    account_sid: String,
    call_sid: Option<String>,
    duration: Option<u64>,
    status: RecordingStatus,
    channels: Option<u32>,
    source: Option<String>,
    error_code: Option<i64>,
    uri: String,
    media_location: Option<String>,
    media_url: String,
    media_accessible: bool,
    media_status_code: Option<u16>,
    date_created: Option<String>,
    date_updated: Option<String>,
    start_time: Option<String>,
    price: Option<String>,
    price_unit: Option<String>,
    track: Option<String>,
}

#[derive(Serialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TwilioSummary))]
struct Summary {
    completed: usize,
    in_progress: usize,
    failed: usize,
    accessible_media: usize,
    inaccessible_media: usize,
}

/// Handles a request. The route `GET /api/twilio/{proxy+}` also matches `/api/twilio/usage/` with a trailing slash, which cannot have its own
/// route in template.yaml.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/api/twilio/recordings",
        operation_id = "listTwilioRecordings",
        tag = "Twilio",
        summary = "List Twilio recordings",
        description = "The recordings of the Twilio account, and whether the audio of each can be fetched. Scope: `twilio:read`.",
        params(
            ("limit" = Option<u64>, Query, description = "Rows.", minimum = 1, maximum = 100, example = 50),
            ("status" = Option<String>, Query, description = "`in-progress` includes paused, stopped and processing; `failed` includes absent.", pattern = "^(completed|in-progress|failed|paused|stopped|processing|absent|deleted)$", example = "completed"),
            ("date_created_after" = Option<String>, Query, description = "ISO 8601 date or date-time. A date covers its whole UTC day.", example = "2024-01-15"),
            ("date_created_before" = Option<String>, Query, description = "ISO 8601 date or date-time. A date covers its whole UTC day.", example = "2024-01-15"),
            ("page_token" = Option<String>, Query, description = "`next_page_token` of the previous response, with the same `status` and dates."),
        ),
        responses((status = 200, description = "A page of recordings.", body = List)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "audit", "value", "page_token", "twilio"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    if http::tail(&request) == Some("usage") {
        return get_usage::handle(&state.usage, request).await;
    }
    http::respond(ErrorFormat::Twilio, request, |request| async move {
        state.access.check(&request, Scope::TwilioRead).await?;
        request.expect_tail("recordings")?;
        request.query.only(&[
            "limit",
            "status",
            "date_created_after",
            "date_created_before",
            "page_token",
        ])?;
        let limit = request.query.integer("limit", 50, 1..=100)?;
        let filter = RecordingFilter::parse(&request.query)?;
        let start = filter.start(&request.query)?;
        let account = state.twilio.account_sid().await.map_err(upstream)?;

        let left = request.deadline.saturating_duration_since(Instant::now());
        let paging_ends = request.deadline - PROBE_BUDGET.min(left / 2);
        let (found, next) = collect(&state.twilio, &filter, start, limit, paging_ends).await?;
        let probes_end = request.deadline.min(Instant::now() + PROBE_BUDGET);
        let recordings: Vec<Row> = stream::iter(
            found
                .into_iter()
                .map(|recording| row(&state.twilio, &account, recording, probes_end)),
        )
        .buffered(CONCURRENT_PROBES)
        .collect()
        .await;

        let event = Event::new(Action::ListTwilioRecordings).with(request.query.names());
        let event = event.showing(recordings.len());
        let [status, date_created_after, date_created_before] = filter.given().clone();
        let list = List {
            total_recordings: recordings.len(),
            query_parameters: QueryParameters {
                limit: limit.to_string(),
                status,
                date_created_after,
                date_created_before,
            },
            summary: Summary::of(&recordings),
            recordings,
            next_page_token: next.map(|position| filter.token(&position)),
        };
        state.access.disclose(&request, event, (StatusCode::OK, list)).await
    })
    .await
}

/// Reads Twilio's pages until `limit` recordings match, the last page is read, or the deadline passes. Returns the position of the next page, if
/// there may be one.
async fn collect(
    twilio: &Twilio,
    filter: &RecordingFilter,
    start: Option<Position>,
    limit: u64,
    deadline: Instant,
) -> Result<(Vec<Recording>, Option<Position>), ApiError> {
    let from_token = start.is_some();
    let mut position = start.unwrap_or_else(|| {
        let page_size = if filter.is_selective() {
            FILTERED_PAGE_SIZE
        } else {
            limit
        };
        Position {
            page: filter.first_page(page_size),
            after: None,
        }
    });
    let mut found = Vec::new();
    let mut read = HashSet::new();
    loop {
        let page = match timeout_at(deadline, twilio.list(&position.page, deadline))
            .await
            .unwrap_or(Err(TwilioError::Timeout))
        {
            Ok(page) => page,
            // The pages read so far are a valid response, even if nothing matched, and the token names the next page.
            Err(error) if error.is_transient() && !read.is_empty() => {
                tracing::warn!(%error, "Twilio's list was not read completely");
                return Ok((found, Some(position)));
            }
            Err(TwilioError::Rejected { status: 400, .. }) if from_token && read.is_empty() => {
                return Err(query::expired_token());
            }
            Err(error) => return Err(upstream(error)),
        };
        read.insert(position.page.as_str().to_owned());
        if page.next.as_ref().is_some_and(|next| read.contains(next.as_str())) {
            return Err(upstream(TwilioError::Unexpected(
                "next_page_uri leads to a page that was already read".into(),
            )));
        }
        let mut rows = page.recordings.into_iter().peekable();
        if let Some(after) = &position.after {
            // New recordings shift older ones to later pages, so the row may be on the next page.
            if !rows.by_ref().any(|row| row.sid == *after) {
                let Some(next) = page.next else {
                    return Err(query::expired_token());
                };
                position.page = next;
                continue;
            }
            position.after = None;
        }
        while let Some(row) = rows.next() {
            if !filter.matches(&row) {
                continue;
            }
            let sid = row.sid.clone();
            found.push(row);
            if found.len() as u64 == limit {
                let rest = rows.peek().is_some();
                let next = if rest {
                    Some(Position {
                        after: Some(sid),
                        ..position
                    })
                } else {
                    page.next.map(Position::beginning_of)
                };
                return Ok((found, next));
            }
        }
        match page.next {
            None => return Ok((found, None)),
            Some(next) => position = Position::beginning_of(next),
        }
        if Instant::now() >= deadline {
            return Ok((found, Some(position)));
        }
    }
}

async fn row(twilio: &Twilio, account: &AccountSid, recording: Recording, deadline: Instant) -> Row {
    let status_code = match twilio.probe_media(account, &recording.sid, deadline).await {
        Ok(status) => Some(status),
        Err(error) => {
            tracing::warn!(%error, "no response to the media check");
            None
        }
    };
    let media_location = twilio.external_media(&recording).map(str::to_owned);
    Row {
        media_url: twilio.media_url(account, &recording.sid),
        uri: recording
            .uri
            .unwrap_or_else(|| format!("/2010-04-01/Accounts/{account}/Recordings/{}.json", recording.sid)),
        account_sid: recording.account_sid.unwrap_or_else(|| account.to_string()),
        sid: recording.sid,
        call_sid: recording.call_sid,
        duration: recording.duration,
        status: recording.status,
        channels: recording.channels,
        source: recording.source,
        error_code: recording.error_code,
        media_location,
        media_accessible: status_code.is_some_and(|status| (200..300).contains(&status)),
        media_status_code: status_code,
        date_created: recording.date_created.map(to_seconds),
        date_updated: recording.date_updated.map(to_seconds),
        start_time: recording.start_time.map(to_seconds),
        price: recording.price,
        price_unit: recording.price_unit,
        track: recording.track,
    }
}

impl Summary {
    fn of(rows: &[Row]) -> Self {
        let mut summary = Self::default();
        for row in rows {
            match row.status.group() {
                StatusGroup::Completed => summary.completed += 1,
                StatusGroup::InProgress => summary.in_progress += 1,
                StatusGroup::Failed => summary.failed += 1,
            }
            if row.media_accessible {
                summary.accessible_media += 1;
            } else {
                summary.inaccessible_media += 1;
            }
        }
        summary
    }
}

/// The documented status for all errors of Twilio is 500; `code` distinguishes them.
fn upstream(error: TwilioError) -> ApiError {
    // Twilio has no such list if it does not know the configured account.
    let (code, sentence) = match error {
        TwilioError::NotFound => ("twilio_unauthorized", "Twilio does not know the configured account"),
        _ => (error.code(), error.user_message()),
    };
    let answer = ApiError::internal(code, format!("Failed to list recordings: {sentence}"));
    answer
        .transient(error.is_transient(), error.retry_after())
        .caused_by(error)
}
