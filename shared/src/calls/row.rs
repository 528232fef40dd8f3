//! Derives the row of the list from an item and its members.

use jiff::Timestamp;

use super::{
    item::{CallItem, ListKind, ListPosition, is_listable, order},
    item_id::{self, ItemKind},
    model::Call,
};
use crate::ids::{DispatchId, DispatchPattern};

/// Why a recording that exists can't be played.
const ARCHIVED: &str = "The recording is archived in S3 Glacier and must be restored before it can be played.";

impl CallItem {
    /// The item's row and its position in a list. `None` if the item has an owner.
    pub(super) fn row(&self) -> Option<(Call, Option<ListPosition>)> {
        if self.state.owner.is_some() {
            return None;
        }
        let fields = self.fields();
        let text = |name: &str| Some(fields.get(name)?.value.as_str()?.to_owned());
        let time = |name: &str| text(name)?.parse::<Timestamp>().ok();
        let pattern = DispatchId::parse(&self.id).and_then(|id| id.pattern());
        let mut call = Call {
            dispatch_id: self.id.clone(),
            interaction_id: text("interaction_id"),
            customer_name: text("customer_name"),
            phone: text("phone"),
            status: text("status"),
            outcome: text("outcome"),
            duration: fields.get("duration").and_then(|field| field.value.as_i64()),
            start_time: time("start_time"),
            end_time: time("end_time"),
            ..Call::default()
        };
        let mut began = pattern.as_ref().map(|pattern| pattern.unix);
        let (mut number, mut failure) = (pattern.map(|pattern| pattern.phone), None);
        let (mut has_transcript, mut twilio_transcribed, mut archived) = (false, false, false);
        for (id, observations) in self.observations() {
            let name = item_id::name(id);
            call.hold = call.hold.or_else(|| observations.hold.clone());
            call.retain_until = call.retain_until.or(observations.retain_until);
            failure = failure.or(observations.failure.as_ref().and_then(|failure| failure.value.as_str()));
            if let Some(object) = &observations.object {
                let (phone, unix) = observations.recorded_at(name);
                if object.usable {
                    call.s3_key = Some(name.to_owned());
                    call.size = object.size;
                    call.etag.clone_from(&object.etag);
                    archived = object.archived;
                    has_transcript = observations.has_transcript();
                    began = unix.or(began);
                } else {
                    failure = failure.or(Some("The recording was deleted."));
                }
                let named = phone.clone().zip(unix);
                let named = named.map(|(phone, unix)| DispatchPattern { unix, phone }.to_string());
                if object.usable {
                    call.recording_id.clone_from(&named);
                }
                if let Some(named) = named {
                    let is_unnamed = call.dispatch_id.contains('#');
                    if self.kind() != ItemKind::Dispatch && (object.usable || is_unnamed) {
                        call.dispatch_id = named;
                    }
                }
                began = began.or(unix);
                number = number.or(phone);
            } else if observations.egress_at.is_some() {
                let (phone, unix) = observations.recorded_at(name);
                began = began.or(unix);
                number = number.or(phone);
            }
            if let Some(twilio) = &observations.twilio {
                twilio_transcribed |= observations.has_transcript();
                if name.starts_with("CA") {
                    call.call_sid.get_or_insert_with(|| name.to_owned());
                }
                call.twilio.extend(twilio.with_copies());
                number = number.or_else(|| twilio.phone.clone().filter(|phone| !phone.is_empty()));
            }
        }
        if call.dispatch_id.contains('#') {
            call.dispatch_id.clear();
        }
        call.has_transcript = has_transcript || twilio_transcribed;
        call.twilio
            .sort_by_key(|recording| (recording.start_time, recording.sid.clone()));
        let playing = call.twilio.iter().find(|recording| recording.is_playable());
        call.duration = call.duration.or(playing.and_then(|recording| recording.duration));
        let from_twilio = || {
            playing
                .or(call.twilio.first())
                .and_then(|recording| recording.start_time)
        };
        let start = call.start_time;
        let start = start.or_else(|| began.and_then(|unix| Timestamp::from_second(unix).ok()));
        call.start_time = start.or_else(from_twilio).filter(|start| is_listable(*start));
        call.phone = call.phone.or_else(|| number.map(|digits| format!("+{digits}")));
        let list = match call.is_playable() {
            true => ListKind::Playable,
            false => ListKind::Missing,
        };
        if list == ListKind::Missing {
            call.recording_error = failure
                .map(str::to_owned)
                .or_else(|| Some(call.twilio.first()?.missing_reason()));
        }
        if archived {
            call.recording_error = Some(ARCHIVED.to_owned());
        }
        let reported = self
            .observations()
            .filter_map(|(_, observations)| observations.reported)
            .min();
        let listed_at = call.start_time.or(reported.filter(|at| is_listable(*at)));
        let place = listed_at.filter(|_| !self.is_gone()).map(|start| ListPosition {
            list,
            order: order(start, &self.id),
        });
        Some((call, place))
    }
}
