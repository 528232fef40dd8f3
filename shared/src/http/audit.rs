//! Writes into the audit what a request does.

use super::{access::Access, error::ApiError, request::ApiRequest};
use crate::{
    audit::{Action, Actor, Event, Origin},
    calls::CallRecording,
    ids::DispatchId,
};

/// An action on the recording of a call. `requested` is the id of the request.
pub fn about_recording(action: Action, found: &CallRecording, requested: &DispatchId) -> Event {
    Event::new(action)
        .about(found.subject(requested))
        .of_recording(found.recording.recording_sid.as_ref())
}

impl Access {
    /// Writes what a request that was checked does. The request may disclose, change or pay for something only after this returns `Ok`. A request that
    /// begins again, because its recording was overwritten meanwhile, has its item already.
    pub async fn audit(&self, request: &ApiRequest, event: Event) -> Result<(), ApiError> {
        if request.is_audited() {
            return Ok(());
        }
        let actor = match request.key_id() {
            Some(id) if request.is_session() => Actor::Console(id.to_owned()),
            Some(id) => Actor::Key(id.to_owned()),
            None => Actor::Anyone,
        };
        self.audit.write(&event, &request.origin(actor)).await?;
        request.set_audited();
        Ok(())
    }
}

impl ApiRequest {
    /// Where the request came from.
    pub fn origin(&self, actor: Actor) -> Origin {
        Origin {
            actor,
            request_id: self.request_id(),
            address: self.client_address().map(str::to_owned),
        }
    }
}
