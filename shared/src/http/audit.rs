//! Writes into the audit what a request does.

use lambda_http::http::Method;

use super::{access::Access, error::ApiError, reply::Reply, request::ApiRequest, response::within_limit};
use crate::{
    audit::{Action, Actor, Event, Origin},
    calls::CallRecording,
    ids::DispatchId,
};

/// An action on the recording of a call. `requested` is the id of the request.
pub fn about_recording(action: Action, found: &CallRecording, requested: &DispatchId) -> Event {
    Event::new(action)
        .about(found.subject(requested))
        .of_call(found.call_id(requested))
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

    /// Writes what a read does whose response is ready, and returns the response. One that is too large is not sent and discloses nothing. Of the
    /// response to a `HEAD` only the headers are sent, which disclose something only if they lead to a recording.
    pub async fn disclose(
        &self,
        request: &ApiRequest,
        event: Event,
        reply: impl Into<Reply>,
    ) -> Result<Reply, ApiError> {
        let reply = within_limit(reply.into())?;
        if *request.method() != Method::HEAD || reply.has_location() {
            self.audit(request, event).await?;
        }
        Ok(reply)
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
