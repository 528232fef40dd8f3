//! `GET /reports/queues`: how many messages wait in each queue, and how many failed for good.

use lambda_http::{Body, Request, Response, http::StatusCode};
use serde::Serialize;
use shared::{
    clients::{
        aws::Aws,
        queue::{QueueError, QueueLength, QueueLengths},
    },
    config::{ConfigError, Env},
    http::{
        self, ErrorFormat,
        access::{Access, Scope},
    },
};

/// A queue's name in the report, and the variables with its URL and that of its dead-letter queue. The reconciler's rounds come from a schedule,
/// without a queue.
const QUEUES: [(&str, Option<&str>, &str); 6] = [
    (
        "transcription",
        Some("TRANSCRIPTION_QUEUE_URL"),
        "TRANSCRIPTION_DEAD_LETTERS_URL",
    ),
    ("archive", Some("ARCHIVE_QUEUE_URL"), "ARCHIVE_DEAD_LETTERS_URL"),
    ("erasures", Some("ERASURE_QUEUE_URL"), "ERASURE_DEAD_LETTERS_URL"),
    (
        "object_events",
        Some("OBJECT_EVENTS_QUEUE_URL"),
        "OBJECT_EVENTS_DEAD_LETTERS_URL",
    ),
    (
        "interaction_events",
        Some("INTERACTION_EVENTS_QUEUE_URL"),
        "INTERACTION_EVENTS_DEAD_LETTERS_URL",
    ),
    ("reconciler_rounds", None, "EVENT_DEAD_LETTERS_URL"),
];

/// The state that is created once and used for every request.
pub struct State {
    access: Access,
    lengths: QueueLengths,
    queues: Vec<DeployedQueue>,
}

struct DeployedQueue {
    name: &'static str,
    url: Option<String>,
    dead_letters_url: String,
}

impl State {
    /// Reads the environment and fetches the secret.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let aws = Aws::from_env(env)?;
        let deployed = |(name, url, dead_letters): (_, Option<&'static str>, _)| {
            // Without a bucket there are no events of objects.
            Some(DeployedQueue {
                name,
                url: url.and_then(|url| env.optional(url)).map(str::to_owned),
                dead_letters_url: env.optional(dead_letters)?.to_owned(),
            })
        };
        let state = Self {
            access: Access::required(env, &aws)?,
            lengths: QueueLengths::new(&aws),
            queues: QUEUES.into_iter().filter_map(deployed).collect(),
        };
        state.access.preload().await;
        Ok(state)
    }
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QueueReport))]
struct Report {
    queues: Vec<QueueState>,
}

#[derive(Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
struct QueueState {
    /// `transcription`, `archive` (copies of Twilio's recordings), `erasures`, `object_events` (files in the bucket), `interaction_events`, or `reconciler_rounds`, which has only dead letters.
    name: &'static str,
    /// Messages that wait to be processed.
    waiting: u64,
    /// Messages that will be processed later: retries, calls that have not ended, and lease checks of jobs, which have nothing to do if the job is done.
    delayed: u64,
    /// Messages that are being processed.
    in_progress: u64,
    /// Messages that failed too often. Nothing processes them until somebody redrives them.
    dead_letters: u64,
}

/// Handles a request.
#[cfg_attr(
    feature = "openapi",
    utoipa::path(
        get,
        path = "/reports/queues",
        operation_id = "getQueues",
        tag = "Reports",
        summary = "Get the lengths of the queues",
        description = "How many messages wait in each queue, and how many failed for good. SQS counts approximately. Scope: `recordings:read`.",
        responses((status = 200, description = "The queues.", body = Report)),
        security(("api_key" = []), ("api_key_in_query" = [])),
        extensions(("x-errors" = json!(["request", "key", "queue"]))),
    )
)]
pub async fn handle(state: &State, request: Request) -> Response<Body> {
    http::respond(ErrorFormat::Recordings, request, |request| async move {
        state.access.check(&request, Scope::RecordingsRead).await?;
        request.query.only(&[])?;
        let queues = state.queues.iter().map(|queue| state_of(&state.lengths, queue));
        let queues = futures_util::future::try_join_all(queues).await?;
        Ok((StatusCode::OK, Report { queues }))
    })
    .await
}

async fn state_of(lengths: &QueueLengths, queue: &DeployedQueue) -> Result<QueueState, QueueError> {
    let length = async {
        match &queue.url {
            Some(url) => lengths.of(url).await,
            None => Ok(QueueLength::default()),
        }
    };
    let (length, dead) = tokio::try_join!(length, lengths.of(&queue.dead_letters_url))?;
    Ok(QueueState {
        name: queue.name,
        waiting: length.waiting,
        delayed: length.delayed,
        in_progress: length.in_progress,
        dead_letters: dead.waiting + dead.delayed + dead.in_progress,
    })
}
