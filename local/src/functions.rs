//! The functions, in this process.

use std::time::SystemTime;

use get_egress_transcript as egress_transcript;
use get_recording as get;
use get_transcript as transcript;
use get_usage as usage;
use lambda_http::{Body, Request, Response};
use list_recordings as list;
use list_twilio_recordings as list_twilio;
use serde_json::Value;
use shared::config::{ConfigError, Env};
use transcribe_recording as transcribe;
use transcription_worker as worker;

/// Every function's state, made from one environment.
pub struct Functions {
    get_egress_transcript: egress_transcript::State,
    get_recording: get::State,
    get_transcript: transcript::State,
    get_usage: usage::State,
    list_recordings: list::State,
    list_twilio_recordings: list_twilio::State,
    transcribe_egress: transcribe_egress::State,
    transcribe_recording: transcribe::State,
    transcription_worker: worker::State,
}

impl Functions {
    /// Starts every function with these variables.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        Ok(Self {
            get_egress_transcript: egress_transcript::State::from_env(env).await?,
            get_recording: get::State::from_env(env).await?,
            get_transcript: transcript::State::from_env(env).await?,
            get_usage: usage::State::from_env(env).await?,
            list_recordings: list::State::from_env(env).await?,
            list_twilio_recordings: list_twilio::State::from_env(env).await?,
            transcribe_egress: transcribe_egress::State::from_env(env).await?,
            transcribe_recording: transcribe::State::from_env(env).await?,
            transcription_worker: worker::State::from_env(env).await?,
        })
    }

    /// Invokes a function by the name of its crate; `None` when there is none of that name.
    pub async fn invoke(&self, function: &str, request: Request) -> Option<Response<Body>> {
        Some(match function {
            "get-egress-transcript" => egress_transcript::handle(&self.get_egress_transcript, request).await,
            "get-recording" => get::handle(&self.get_recording, request).await,
            "get-transcript" => transcript::handle(&self.get_transcript, request).await,
            "get-usage" => usage::handle(&self.get_usage, request).await,
            "list-recordings" => list::handle(&self.list_recordings, request).await,
            "list-twilio-recordings" => list_twilio::handle(&self.list_twilio_recordings, request).await,
            "transcribe-egress" => transcribe_egress::handle(&self.transcribe_egress, request).await,
            "transcribe-recording" => transcribe::handle(&self.transcribe_recording, request).await,
            _ => return None,
        })
    }

    /// Gives an event of a queue to its function; `None` when there is none of that name. The answer says which messages have to be
    /// delivered again.
    pub async fn deliver(
        &self,
        function: &str,
        event: Value,
        deadline: SystemTime,
    ) -> Option<serde_json::Result<Value>> {
        Some(match function {
            "transcription-worker" => match serde_json::from_value(event) {
                Ok(event) => serde_json::to_value(worker::handle(&self.transcription_worker, event, deadline).await),
                Err(error) => Err(error),
            },
            _ => return None,
        })
    }
}
