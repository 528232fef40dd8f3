//! The functions, in this process.

use std::{error::Error, time::SystemTime};

use get_completeness as completeness;
use get_daily_report as daily_report;
use get_docs as docs;
use get_egress_transcript as egress_transcript;
use get_recording as get;
use get_transcript as transcript;
use get_usage as usage;
use index_interaction;
use index_recording as index;
use lambda_http::{Body, Request, Response};
use list_recordings as list;
use list_twilio_recordings as list_twilio;
use livekit_webhook as livekit;
use reconcile_recordings as reconcile;
use record_interaction as interaction;
use serde_json::Value;
use shared::{
    config::{ConfigError, Env},
    http::request_id,
    invocation::on_behalf_of,
    metrics::{Metrics, counted},
};
use transcribe_recording as transcribe;
use transcription_worker as worker;
use twilio_callback as callback;

use crate::aws::function_access_key;

/// The result of a function for events.
pub type Delivered = Result<Value, Box<dyn Error + Send + Sync>>;

/// The environment of a function: with its own access key, which has only its permissions.
pub(super) fn own_environment(env: &Env, function: &str) -> Env {
    let access_key = function_access_key(function);
    let own = env.iter().map(|(name, value)| match name {
        "AWS_ACCESS_KEY_ID" => (name, access_key.as_str()),
        _ => (name, value),
    });
    own.collect()
}

/// The states of all functions.
pub struct Functions {
    /// This function is deployed only with a bucket.
    archive_recording: Option<archive_recording::State>,
    console: console::State,
    erase_recording: erase_recording::State,
    hold_recording: hold_recording::State,
    request_erasure: request_erasure::State,
    draw_waveform: draw_waveform::State,
    get_audit: get_audit::State,
    get_completeness: completeness::State,
    get_daily_report: daily_report::State,
    get_docs: docs::State,
    get_egress_transcript: egress_transcript::State,
    get_queues: get_queues::State,
    get_recording: get::State,
    get_transcript: transcript::State,
    get_usage: usage::State,
    index_interaction: index_interaction::State,
    /// This function is deployed only with a bucket.
    index_recording: Option<index::State>,
    list_recordings: list::State,
    list_twilio_recordings: list_twilio::State,
    livekit_webhook: livekit::State,
    reconcile_recordings: reconcile::State,
    open_share: open_share::State,
    request_archive: request_archive::State,
    record_interaction: interaction::State,
    share_recording: share_recording::State,
    transcribe_egress: transcribe_egress::State,
    transcribe_recording: transcribe::State,
    transcription_worker: worker::State,
    twilio_callback: callback::State,
    metrics: Option<Metrics>,
}

impl Functions {
    /// Starts all functions with these variables, each with an access key of its own.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let of = |function: &str| own_environment(env, function);
        Ok(Self {
            archive_recording: match env.optional("RECORDINGS_BUCKET") {
                Some(_) => Some(archive_recording::State::from_env(&of("archive-recording")).await?),
                None => None,
            },
            console: console::State::from_env(&of("console")).await?,
            erase_recording: erase_recording::State::from_env(&of("erase-recording")).await?,
            hold_recording: hold_recording::State::from_env(&of("hold-recording")).await?,
            request_erasure: request_erasure::State::from_env(&of("request-erasure")).await?,
            draw_waveform: draw_waveform::State::from_env(&of("draw-waveform")).await?,
            get_audit: get_audit::State::from_env(&of("get-audit")).await?,
            get_completeness: completeness::State::from_env(&of("get-completeness")).await?,
            get_daily_report: daily_report::State::from_env(&of("get-daily-report")).await?,
            get_docs: docs::State::from_env(&of("get-docs")).await?,
            get_egress_transcript: egress_transcript::State::from_env(&of("get-egress-transcript")).await?,
            get_queues: get_queues::State::from_env(&of("get-queues")).await?,
            get_recording: get::State::from_env(&of("get-recording")).await?,
            get_transcript: transcript::State::from_env(&of("get-transcript")).await?,
            get_usage: usage::State::from_env(&of("get-usage")).await?,
            index_interaction: index_interaction::State::from_env(&of("index-interaction")).await?,
            index_recording: match env.optional("RECORDINGS_BUCKET") {
                Some(_) => Some(index::State::from_env(&of("index-recording")).await?),
                None => None,
            },
            list_recordings: list::State::from_env(&of("list-recordings")).await?,
            list_twilio_recordings: list_twilio::State::from_env(&of("list-twilio-recordings")).await?,
            livekit_webhook: livekit::State::from_env(&of("livekit-webhook")).await?,
            reconcile_recordings: reconcile::State::from_env(&of("reconcile-recordings")).await?,
            open_share: open_share::State::from_env(&of("open-share")).await?,
            request_archive: request_archive::State::from_env(&of("request-archive")).await?,
            record_interaction: interaction::State::from_env(&of("record-interaction")).await?,
            share_recording: share_recording::State::from_env(&of("share-recording")).await?,
            transcribe_egress: transcribe_egress::State::from_env(&of("transcribe-egress")).await?,
            transcribe_recording: transcribe::State::from_env(&of("transcribe-recording")).await?,
            transcription_worker: worker::State::from_env(&of("transcription-worker")).await?,
            twilio_callback: callback::State::from_env(&of("twilio-callback")).await?,
            metrics: Metrics::on_stdout(env.optional("METRICS_NAMESPACE")),
        })
    }

    /// The same with these metrics instead of lines on stdout.
    pub(super) fn with_metrics(mut self, metrics: Option<Metrics>) -> Self {
        self.metrics = metrics.or(self.metrics);
        self
    }

    /// Invokes a function by the name of its crate; `None` if there is no such function.
    pub async fn invoke(&self, function: &str, request: Request) -> Option<Response<Body>> {
        let id = request_id(&request);
        counted(self.metrics.as_ref(), function, &id, self.answer(function, request)).await
    }

    /// Delivers an event of a queue or a schedule to its function; `None` if there is no such function. The response of a queue's function lists
    /// the messages that must be delivered again.
    pub async fn deliver(&self, function: &str, event: Value, deadline: SystemTime) -> Option<Delivered> {
        let invocation_id = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let done = on_behalf_of(&invocation_id, None, self.process(function, event, deadline));
        counted(self.metrics.as_ref(), function, &invocation_id, done).await
    }

    async fn answer(&self, function: &str, request: Request) -> Option<Response<Body>> {
        Some(match function {
            "console" => console::handle(&self.console, request).await,
            "draw-waveform" => draw_waveform::handle(&self.draw_waveform, request).await,
            "get-audit" => get_audit::handle(&self.get_audit, request).await,
            "get-completeness" => completeness::handle(&self.get_completeness, request).await,
            "get-daily-report" => daily_report::handle(&self.get_daily_report, request).await,
            "get-docs" => docs::handle(&self.get_docs, request).await,
            "get-egress-transcript" => egress_transcript::handle(&self.get_egress_transcript, request).await,
            "get-queues" => get_queues::handle(&self.get_queues, request).await,
            "get-recording" => get::handle(&self.get_recording, request).await,
            "get-transcript" => transcript::handle(&self.get_transcript, request).await,
            "get-usage" => usage::handle(&self.get_usage, request).await,
            "list-recordings" => list::handle(&self.list_recordings, request).await,
            "list-twilio-recordings" => list_twilio::handle(&self.list_twilio_recordings, request).await,
            "livekit-webhook" => livekit::handle(&self.livekit_webhook, request).await,
            "hold-recording" => hold_recording::handle(&self.hold_recording, request).await,
            "request-erasure" => request_erasure::handle(&self.request_erasure, request).await,
            "request-archive" => request_archive::handle(&self.request_archive, request).await,
            "open-share" => open_share::handle(&self.open_share, request).await,
            "share-recording" => share_recording::handle(&self.share_recording, request).await,
            "record-interaction" => interaction::handle(&self.record_interaction, request).await,
            "transcribe-egress" => transcribe_egress::handle(&self.transcribe_egress, request).await,
            "transcribe-recording" => transcribe::handle(&self.transcribe_recording, request).await,
            "twilio-callback" => callback::handle(&self.twilio_callback, request).await,
            _ => return None,
        })
    }

    async fn process(&self, function: &str, event: Value, deadline: SystemTime) -> Option<Delivered> {
        Some(match function {
            "archive-recording" => match serde_json::from_value(event) {
                Ok(batch) => {
                    let done = archive_recording::handle(self.archive_recording.as_ref()?, batch, deadline).await;
                    serde_json::to_value(done).map_err(Into::into)
                }
                Err(error) => Err(error.into()),
            },
            "erase-recording" => match serde_json::from_value(event) {
                Ok(batch) => {
                    let done = erase_recording::handle(&self.erase_recording, batch, deadline).await;
                    serde_json::to_value(done).map_err(Into::into)
                }
                Err(error) => Err(error.into()),
            },
            "index-recording" => match serde_json::from_value(event) {
                Ok(batch) => {
                    let done = index::handle(self.index_recording.as_ref()?, batch, deadline).await;
                    serde_json::to_value(done).map_err(Into::into)
                }
                Err(error) => Err(error.into()),
            },
            "reconcile-recordings" => match reconcile::handle(&self.reconcile_recordings, deadline).await {
                Ok(outcome) => serde_json::to_value(outcome).map_err(Into::into),
                Err(error) => Err(error.into()),
            },
            "index-interaction" => match serde_json::from_value(event) {
                Ok(batch) => {
                    let done = index_interaction::handle(&self.index_interaction, batch, deadline).await;
                    serde_json::to_value(done).map_err(Into::into)
                }
                Err(error) => Err(error.into()),
            },
            "transcription-worker" => match serde_json::from_value(event) {
                Ok(event) => serde_json::to_value(worker::handle(&self.transcription_worker, event, deadline).await)
                    .map_err(Into::into),
                Err(error) => Err(error.into()),
            },
            _ => return None,
        })
    }
}
