//! What a request did, and who sent it.

use super::action::Action;
use crate::clients::twilio::RecordingSid;

/// The most names of parameters that an item has. No route accepts more.
const MAX_PARAMETERS: usize = 20;

/// What a request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The action.
    pub action: Action,
    /// The call or its recording, by an id by which the index finds it, or an interaction.
    pub(super) subject: Option<String>,
    /// The call, if the subject is its recording.
    pub(super) call: Option<String>,
    pub(super) recording_sid: Option<String>,
    pub(super) share_id: Option<String>,
    pub(super) erasure_id: Option<String>,
    pub(super) parameters: Vec<String>,
    pub(super) rows: Option<usize>,
}

impl Event {
    /// An action that is not about one call.
    pub fn new(action: Action) -> Self {
        Self {
            action,
            subject: None,
            call: None,
            recording_sid: None,
            share_id: None,
            erasure_id: None,
            parameters: Vec::new(),
            rows: None,
        }
    }

    /// What it is about: a call, by its dispatch id or Twilio's SID, a recording, by its SID or the number and time of its name, or an interaction, by
    /// the id of its item in the index. The index must know it, so that its erasure finds the item.
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The call that has the recording now, as the item shows it. The item is found by what it is about, which must be given before.
    pub fn of_call(mut self, id: impl Into<String>) -> Self {
        self.call = Some(id.into()).filter(|id| self.subject.as_ref() != Some(id));
        self
    }

    /// The Twilio recording, if it is known.
    pub fn of_recording(mut self, sid: Option<&RecordingSid>) -> Self {
        self.recording_sid = sid.map(|sid| sid.as_str().to_owned());
        self
    }

    /// The share.
    pub fn of_share(mut self, id: impl Into<String>) -> Self {
        self.share_id = Some(id.into());
        self
    }

    /// The erasure.
    pub fn of_erasure(mut self, id: impl Into<String>) -> Self {
        self.erasure_id = Some(id.into());
        self
    }

    /// The names of the filters or fields that the request had. Values are never stored.
    pub fn with<'a>(mut self, parameters: impl IntoIterator<Item = &'a str>) -> Self {
        self.parameters = parameters.into_iter().take(MAX_PARAMETERS).map(str::to_owned).collect();
        self
    }

    /// How many rows the response has.
    pub fn showing(mut self, rows: usize) -> Self {
        self.rows = Some(rows);
        self
    }
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The holder of the API key with this id.
    Key(String),
    /// The holder of the API key with this id, in a session of the console.
    Console(String),
    /// Someone with the link of the share with this id.
    Share(String),
    /// Someone without a key, where `RECORDINGS_AUTH` is `open`.
    Anyone,
}

impl Actor {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Console(_) => "console",
            Self::Share(_) => "share",
            Self::Anyone => "anyone",
        }
    }

    pub(super) fn key_id(&self) -> Option<&str> {
        match self {
            Self::Key(id) | Self::Console(id) => Some(id),
            Self::Share(_) | Self::Anyone => None,
        }
    }

    pub(super) fn share_id(&self) -> Option<&str> {
        match self {
            Self::Share(id) => Some(id),
            _ => None,
        }
    }
}

/// Where a request came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who sent it.
    pub actor: Actor,
    /// Its id, which its response and its log line have.
    pub request_id: String,
    /// The client's IP address.
    pub address: Option<String>,
}
