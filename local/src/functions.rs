//! The functions, in this process.

use get_recording as get;
use lambda_http::{Body, Request, Response};
use list_recordings as list;
use list_twilio_recordings as list_twilio;
use shared::config::{ConfigError, Env};
use transcribe_recording as transcribe;

/// Every function's state, made from one environment.
pub struct Functions {
    get_recording: get::State,
    list_recordings: list::State,
    list_twilio_recordings: list_twilio::State,
    transcribe_recording: transcribe::State,
}

impl Functions {
    /// Starts every function with these variables.
    pub async fn from_env(env: &Env) -> Result<Self, ConfigError> {
        Ok(Self {
            get_recording: get::State::from_env(env).await?,
            list_recordings: list::State::from_env(env).await?,
            list_twilio_recordings: list_twilio::State::from_env(env).await?,
            transcribe_recording: transcribe::State::from_env(env).await?,
        })
    }

    /// Invokes a function by the name of its crate; `None` when there is none of that name.
    pub async fn invoke(&self, function: &str, request: Request) -> Option<Response<Body>> {
        Some(match function {
            "get-recording" => get::handle(&self.get_recording, request).await,
            "list-recordings" => list::handle(&self.list_recordings, request).await,
            "list-twilio-recordings" => list_twilio::handle(&self.list_twilio_recordings, request).await,
            "transcribe-recording" => transcribe::handle(&self.transcribe_recording, request).await,
            _ => return None,
        })
    }
}
