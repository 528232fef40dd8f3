//! `GET /recordings`: the calls that can be played, newest first.

use jiff::Timestamp;
use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    auth::{Access, Scope},
    aws::Aws,
    calls::{Call, Calls, Cursor, Start},
    config::{ConfigError, Env},
    http::{self, ApiError, Family, invalid_parameter},
    playback::{Playback, PlaybackError, Presigner},
    time::to_millis,
};

/// Life of the listed URLs in seconds: the document's default.
const EXPIRES_IN: u64 = 3600;

/// What every request needs, made once.
pub struct State {
    access: Access,
    calls: Calls,
    playback: Option<Playback>,
}

impl State {
    /// Reads the environment and fetches the secrets.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let state = Self {
            access: Access::for_recordings(env, &aws)?,
            calls: Calls::from_env(env, &aws)?,
            playback: Playback::from_env(env, &aws),
        };
        tokio::join!(state.access.preload(), async {
            if let Some(playback) = &state.playback {
                playback.preload().await;
            }
        });
        Ok(state)
    }
}

#[derive(Serialize)]
struct List {
    recordings: Vec<Row>,
    limit: usize,
    offset: u64,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct Row {
    interaction_id: Option<String>,
    customer_name: Option<String>,
    phone: Option<String>,
    status: Option<String>,
    outcome: Option<String>,
    duration: Option<i64>,
    start_time: Option<String>,
    end_time: Option<String>,
    recording_url: String,
    expires_at: String,
    dispatch_id: String,
    has_transcript: bool,
}

/// Answers one request.
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(Family::Recordings, request, |call| async move {
        state.access.check(&call, Scope::RecordingsRead).await?;
        call.expect_tail("recordings")?;
        call.query.only(&["limit", "offset", "cursor"])?;
        let limit = call.query.integer("limit", 10, 1..=100)? as usize;
        let offset = call.query.integer("offset", 0, 0..=u64::from(u32::MAX))?;
        let start = match call.query.get("cursor") {
            None => Start::Offset(offset),
            Some(_) if call.query.get("offset").is_some() => {
                return Err(ApiError::bad_request(
                    "invalid_parameter",
                    "Give either cursor or offset, not both.",
                ));
            }
            Some(text) => {
                let cursor = Cursor::parse(text);
                Start::After(
                    cursor.ok_or_else(|| invalid_parameter("cursor", text, "the next_cursor of an earlier answer"))?,
                )
            }
        };
        let playback = state.playback.as_ref().ok_or_else(http::s3_missing)?;
        let (page, presigner) = tokio::join!(state.calls.list(start, limit), playback.presigner(EXPIRES_IN));
        let (page, presigner) = (page?, presigner?);
        let rows = page.calls.into_iter().filter_map(|call| row(call, &presigner));
        let recordings = rows.collect::<Result<_, _>>()?;
        let next_cursor = page.next.map(|cursor| cursor.encode());
        Ok((
            StatusCode::OK,
            List {
                recordings,
                limit,
                offset,
                next_cursor,
            },
        ))
    })
    .await
}

/// `None` for a call without a recording, which the list's index never holds.
fn row(call: Call, presigner: &Presigner) -> Option<Result<Row, PlaybackError>> {
    let recording_url = match presigner.play(call.s3_key.as_ref()?) {
        Ok(url) => url,
        Err(error) => return Some(Err(error)),
    };
    let time = |time: Option<Timestamp>| time.map(to_millis);
    Some(Ok(Row {
        recording_url,
        expires_at: to_millis(presigner.expiry.at()),
        interaction_id: call.interaction_id,
        customer_name: call.customer_name,
        phone: call.phone,
        status: call.status,
        outcome: call.outcome,
        duration: call.duration,
        start_time: time(call.start_time),
        end_time: time(call.end_time),
        dispatch_id: call.dispatch_id,
        has_transcript: call.has_transcript,
    }))
}
