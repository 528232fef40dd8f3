//! The calls table in DynamoDB: the index of all calls and recordings.
//!
//! Each thing that is reported has an item: a dispatch (its id as it is), an interaction (`interaction#ID`), an object of the bucket
//! (`object#KEY`), a LiveKit recording that failed without a file (`egress#ID`), a call that Twilio recorded (`twilio#CALL_SID`). What belongs to
//! a call, because it was said so or by phone number and time, has the call's item as its owner, and is copied into it: an item without an owner
//! is a row of the list.
//!
//! | attribute | meaning |
//! | --- | --- |
//! | `id` | partition key |
//! | `rev` | grows with each change, and is the condition of the next |
//! | `facts` | JSON: what was reported, with times; the owner; copies of what belongs to it |
//! | [`SHOWN`], `size`, `etag` | the row, made from `facts` |
//! | `list_order` with `list_day`, `list_phone`, `list_interaction` | keys of the indexes of lists `by-day`, `by-phone` and `by-interaction`: start time and id, within the UTC day, phone number or interaction. Calls without a recording have partitions of their own, `missing#…` |
//! | `near_number`, `near_time` | keys of the index `by-number`, by which recordings find their calls, and interactions their dispatches |
//!
//! Items whose id is `counts#` and a month, day or hour (or nothing) hold how many rows begin in each of its parts. They change in the transaction
//! that changes a row.

mod facts;
mod link;
mod list;
mod pair;
mod report;
mod store;

use std::{collections::BTreeMap, error::Error, fmt};

use aws_sdk_dynamodb::{Client, error::SdkError};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use facts::TwilioRecording;
pub use list::{CallPage, Cursor, Filter, ListError, Order, Start};
pub use store::SHOWN;

pub(crate) use facts::digits;
use facts::{Item, Object, Stamped, is_listable};
use store::{Items, call_from};

use crate::{
    aws::{Aws, causes},
    config::{ConfigError, Env},
    dispatch::{DispatchId, DispatchPattern, EgressFile},
    dynamodb::{get_text, text},
    egress::EgressObject,
    time::to_millis,
};

/// What is known of one call. Fields that nobody has reported are `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Call {
    /// The dispatch id. Of a recording whose dispatch nobody has reported it is made from the file's name, which leads to the same file; empty
    /// where there is not even that.
    pub dispatch_id: String,
    /// Key of the recording in the bucket.
    pub s3_key: Option<String>,
    /// Size of the recording in bytes; not in lists.
    pub size: Option<i64>,
    /// ETag of the recording, without quotes; not in lists.
    pub etag: Option<String>,
    /// Id of the interaction.
    pub interaction_id: Option<String>,
    /// Name of the customer called.
    pub customer_name: Option<String>,
    /// Number called, with `+`.
    pub phone: Option<String>,
    /// State of the interaction, for example `COMPLETED`.
    pub status: Option<String>,
    /// Result of the call, for example `PAYMENT_PROMISED`.
    pub outcome: Option<String>,
    /// Length in seconds.
    pub duration: Option<i64>,
    /// When the call began.
    pub start_time: Option<Timestamp>,
    /// When the call ended.
    pub end_time: Option<Timestamp>,
    /// Twilio's SID of the call.
    pub call_sid: Option<String>,
    /// Twilio's recordings of the call, in order of their beginning.
    pub twilio: Vec<TwilioRecording>,
    /// Why there is no recording, where that is known.
    pub recording_error: Option<String>,
    /// Whether a transcript is stored.
    pub has_transcript: bool,
    /// Id of its item in the table; empty for a call that was not read from there.
    pub item: String,
}

impl Call {
    /// Whether a dispatch or an interaction was reported; otherwise there is only a recording.
    pub fn is_reported(&self) -> bool {
        matches!(
            facts::kind(&self.item),
            facts::Kind::Dispatch | facts::Kind::Interaction
        )
    }

    /// Whether a dispatch was reported.
    pub fn has_dispatch(&self) -> bool {
        facts::kind(&self.item) == facts::Kind::Dispatch
    }

    /// Whether there is a recording to play.
    pub fn is_playable(&self) -> bool {
        self.s3_key.is_some() || self.twilio.iter().any(TwilioRecording::is_completed)
    }
}

/// Why the table could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the calls table did not answer: {0}")]
pub struct CallsError(String);

impl CallsError {
    fn bug(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }

    fn busy() -> Self {
        Self("others kept changing the same calls".to_owned())
    }
}

impl<E: Error + 'static, R: fmt::Debug + 'static> From<SdkError<E, R>> for CallsError {
    fn from(error: SdkError<E, R>) -> Self {
        Self(causes(&error))
    }
}

/// What somebody reports of an interaction: any of its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Interaction {
    /// The interaction's id.
    pub interaction_id: Option<String>,
    /// The dispatch that made the call.
    pub dispatch_id: Option<DispatchId>,
    /// Whether each of these fields has a value, and which; a field that is not here is not touched. Text, or for `duration` a number.
    pub fields: BTreeMap<Field, Option<Value>>,
    /// When this was so. Of two reports of a field the newer counts, in whatever order they arrive.
    pub at: Timestamp,
}

impl Interaction {
    /// The items that it is told of: the dispatch, else the interaction, comes first.
    fn seeds(&self) -> Vec<String> {
        let dispatch = self.dispatch_id.as_ref().map(DispatchId::to_string);
        dispatch
            .into_iter()
            .chain(self.interaction_id.as_deref().map(interaction_item))
            .collect()
    }

    fn tell(&self, items: &mut Items) {
        let seeds = self.seeds();
        let Some(target) = seeds.first() else { return };
        let stamped = |value: Option<Value>| Stamped {
            at: self.at,
            value: value.unwrap_or(Value::Null),
        };
        let own = &mut item(items, target).state.own;
        own.reported_at(self.at);
        if let Some(id) = &self.interaction_id {
            own.report("interaction_id", &stamped(Some(id.as_str().into())));
        }
        for (field, value) in &self.fields {
            own.report(field.name(), &stamped(value.clone()));
        }
        if let [dispatch, interaction] = &seeds[..] {
            item(items, interaction).state.own.belongs_to(dispatch, self.at);
        }
    }
}

/// The fields of a call that are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Field {
    CustomerName,
    Phone,
    Status,
    Outcome,
    Duration,
    StartTime,
    EndTime,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::CustomerName,
        Self::Phone,
        Self::Status,
        Self::Outcome,
        Self::Duration,
        Self::StartTime,
        Self::EndTime,
    ];

    /// The field's name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::CustomerName => "customer_name",
            Self::Phone => "phone",
            Self::Status => "status",
            Self::Outcome => "outcome",
            Self::Duration => "duration",
            Self::StartTime => "start_time",
            Self::EndTime => "end_time",
        }
    }
}

/// An object of the bucket, as S3 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Size in bytes.
    pub size: i64,
    /// ETag without quotes.
    pub etag: Option<String>,
}

/// What [`Calls::observe`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observed {
    /// The key is not that of a recording.
    NoRecording,
    /// A recording that can be used.
    Present,
    /// No such object, or an empty one.
    Absent,
}

impl Observed {
    fn of(usable: bool) -> Self {
        match usable {
            true => Self::Present,
            false => Self::Absent,
        }
    }
}

/// A LiveKit recording that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedEgress {
    /// LiveKit's id of it.
    pub egress_id: String,
    /// The key that its file would have had.
    pub key: Option<String>,
    /// The number called, digits only.
    pub phone: Option<String>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// What LiveKit says about it.
    pub reason: String,
    /// When LiveKit said so.
    pub at: Timestamp,
}

/// A recording of Twilio's that the table does not know as it is.
#[derive(Debug, Clone)]
pub struct TwilioNews {
    /// The call, or the recording itself when it is of no single call.
    pub call_sid: String,
    /// The recording.
    pub recording: TwilioRecording,
    /// The other party's number, if it is known; empty when there is none.
    pub phone: Option<String>,
    /// Whether it can be played now, and could not before.
    pub is_completion: bool,
}

/// What the reconciler keeps in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// Where it goes on.
    Checkpoint,
    /// What it found.
    Report,
}

impl Note {
    fn id(self) -> &'static str {
        match self {
            Self::Checkpoint => "reconciler#checkpoint",
            Self::Report => "reconciler#report",
        }
    }
}

/// The calls table.
pub struct Calls {
    client: Client,
    table: String,
}

fn object_id(key: &str) -> String {
    format!("object#{key}")
}

fn interaction_item(id: &str) -> String {
    format!("interaction#{id}")
}

fn twilio_id(call_sid: &str) -> String {
    format!("twilio#{call_sid}")
}

/// Whether that was news.
fn set_transcribed(items: &mut Items, id: &str, name: &str) -> bool {
    item(items, id).state.own.transcripts.insert(name.to_owned())
}

fn item<'a>(items: &'a mut Items, id: &str) -> &'a mut Item {
    items.entry(id.to_owned()).or_insert_with(|| Item::new(id))
}

impl Calls {
    /// Reads `CALLS_TABLE`.
    pub fn from_env(env: &Env, aws: &Aws) -> Result<Self, ConfigError> {
        Ok(Self {
            client: aws.dynamodb(),
            table: env.required("CALLS_TABLE")?.to_owned(),
        })
    }

    /// Reads one call.
    pub async fn get(&self, id: &DispatchId) -> Result<Option<Call>, CallsError> {
        let get = self.client.get_item().table_name(&self.table);
        let answer = get.key("id", text(id.as_str())).send().await?;
        Ok(answer.item.map(|item| call_from(&item)))
    }

    /// Takes down all that is known of a call, its recording included, whatever the recording's name says.
    pub async fn put(&self, call: &Call) -> Result<(), CallsError> {
        let Some(dispatch_id) = DispatchId::parse(&call.dispatch_id) else {
            return Err(CallsError::bug("a call needs a dispatch id"));
        };
        let (at, text) = (Timestamp::now(), |value: &Option<String>| {
            value.clone().map(Value::from)
        });
        let time = |time: Option<Timestamp>| time.map(|time| Value::from(to_millis(time)));
        let mut fields: BTreeMap<Field, Option<Value>> = [
            (Field::CustomerName, text(&call.customer_name)),
            (Field::Phone, text(&call.phone)),
            (Field::Status, text(&call.status)),
            (Field::Outcome, text(&call.outcome)),
            (Field::Duration, call.duration.map(Value::from)),
            (Field::StartTime, time(call.start_time)),
            (Field::EndTime, time(call.end_time)),
        ]
        .into();
        fields.retain(|_, value| value.is_some());
        let interaction = Interaction {
            interaction_id: call.interaction_id.clone(),
            dispatch_id: Some(dispatch_id),
            fields,
            at,
        };
        let object = call.s3_key.as_deref().map(object_id);
        let found = Object {
            usable: true,
            size: call.size,
            etag: call.etag.clone(),
            sequencer: None,
        };
        let seeds: Vec<String> = interaction.seeds().into_iter().chain(object.clone()).collect();
        let write = |items: &mut Items| {
            interaction.tell(items);
            if let Some(id) = &object {
                let own = &mut item(items, id).state.own;
                own.object = Some(found.clone());
                own.belongs_to(&call.dispatch_id, at);
            }
            true
        };
        self.update(&seeds, write).await.map(|_| ())
    }

    /// Takes down what is reported of an interaction. Without a dispatch id it needs an interaction's.
    pub async fn report(&self, reported: &Interaction) -> Result<(), CallsError> {
        let write = |items: &mut Items| {
            reported.tell(items);
            true
        };
        self.update(&reported.seeds(), write).await.map(|_| ())
    }

    /// Takes down whether an object of the bucket is there, which `look` finds out. `sequencer` is that of the S3 event which gave the occasion:
    /// one that is older than what was followed already changes nothing. Keys that are no recording's are left alone.
    ///
    /// `look` is asked after the item is read, and asked again when somebody else changed the item meanwhile: what is written was true later than
    /// anything that was written before.
    pub async fn observe<E: From<CallsError>, F: Future<Output = Result<Option<Found>, E>>>(
        &self,
        key: &str,
        sequencer: Option<&str>,
        look: impl Fn() -> F,
    ) -> Result<Observed, E> {
        if EgressFile::parse(key).is_none() {
            return Ok(Observed::NoRecording);
        }
        let id = object_id(key);
        for tries in 0..8 {
            if tries > 0 {
                store::pause(tries).await;
            }
            let before = self.load([id.as_str()]).await.map_err(E::from)?;
            let known = before.get(&id).and_then(|item| item.state.own.object.as_ref());
            let followed = known.and_then(|object| object.sequencer.clone());
            if let (Some(new), Some(followed)) = (sequencer, &followed)
                && !is_later(new, followed)
            {
                return Ok(Observed::of(known.is_some_and(|object| object.usable)));
            }
            let found = look().await?.filter(|found| found.size > 0);
            let observed = Observed::of(found.is_some());
            if found.is_none() && before.is_empty() && sequencer.is_none() {
                return Ok(observed);
            }
            let object = Object {
                usable: found.is_some(),
                size: found.as_ref().map(|found| found.size),
                etag: found.and_then(|found| found.etag),
                sequencer: sequencer.map(str::to_owned).or(followed),
            };
            let rev = before.get(&id).map(|item| item.rev);
            let write = |items: &mut Items| {
                if items.get(&id).map(|item| item.rev) != rev {
                    return false;
                }
                item(items, &id).state.own.object = Some(object.clone());
                true
            };
            if self.update(std::slice::from_ref(&id), write).await.map_err(E::from)? {
                return Ok(observed);
            }
        }
        Err(CallsError::busy().into())
    }

    /// Takes down the recordings that a search of the bucket found near a dispatch, `key` being its own, and the dispatch. What is known of them
    /// already stays: a dispatch that nobody has reported takes no recording from another call.
    pub async fn found(&self, id: &DispatchId, key: &str, objects: &[EgressObject]) -> Result<(), CallsError> {
        let seeds: Vec<String> = std::iter::once(id.as_str().to_owned())
            .chain(objects.iter().map(|object| object_id(&object.key)))
            .collect();
        let dispatched = id.pattern().map(|pattern| pattern.unix);
        let write = |items: &mut Items| {
            // An id that may have been made from the name of a file says nothing new about it.
            let made_up =
                |object: &EgressObject| dispatched == Some(object.unix) && items.contains_key(&object_id(&object.key));
            let is_taken = items
                .get(&object_id(key))
                .is_some_and(|item| item.state.owner.is_some());
            if !items.contains_key(id.as_str()) && (is_taken || objects.iter().any(made_up)) {
                return false;
            }
            item(items, id.as_str());
            for object in objects {
                let own = &mut item(items, &object_id(&object.key)).state.own;
                own.object.get_or_insert_with(|| Object {
                    usable: true,
                    size: Some(object.size),
                    etag: object.etag.clone(),
                    sequencer: None,
                });
            }
            true
        };
        self.update(&seeds, write).await.map(|_| ())
    }

    /// Takes down that LiveKit made no recording. Without a file name, and without number and time, there is nothing to take down (`false`).
    pub async fn egress_failed(&self, failed: &FailedEgress) -> Result<bool, CallsError> {
        let key = failed.key.as_deref().filter(|key| EgressFile::parse(key).is_some());
        let place = failed
            .phone
            .clone()
            .zip(failed.started.filter(|time| is_listable(*time)));
        let (id, place) = match (key, place) {
            (Some(key), _) => (object_id(key), None),
            (None, Some((phone, started))) => (
                format!("egress#{}", failed.egress_id),
                Some((phone, started.as_second())),
            ),
            (None, None) => return Ok(false),
        };
        let write = |items: &mut Items| {
            let own = &mut item(items, &id).state.own;
            own.fail(&failed.reason, failed.at);
            own.failed_at.clone_from(&place);
            true
        };
        self.update(std::slice::from_ref(&id), write).await
    }

    /// Takes down a recording of Twilio's. `call_sid` is the recording's own SID when it is of no single call. `phone` is the other party's number
    /// (empty: there is none), `dispatch` the call it belongs to, where they are known.
    pub async fn recorded_by_twilio(
        &self,
        call_sid: &str,
        recording: &TwilioRecording,
        phone: Option<&str>,
        dispatch: Option<&DispatchId>,
    ) -> Result<(), CallsError> {
        let id = twilio_id(call_sid);
        let phone = phone.map(digits);
        let mut recording = recording.clone();
        recording.start_time = recording.start_time.filter(|time| is_listable(*time));
        let write = |items: &mut Items| {
            let own = &mut item(items, &id).state.own;
            own.recorded_by_twilio(&recording, phone.as_deref());
            if let Some(dispatch) = dispatch {
                own.belongs_to(dispatch.as_str(), Timestamp::UNIX_EPOCH);
            }
            true
        };
        self.update(std::slice::from_ref(&id), write).await.map(|_| ())
    }

    /// What is taken down of these Twilio recordings of one call, and the call's number.
    pub async fn known_to_twilio(
        &self,
        call_sid: &str,
    ) -> Result<Option<(Option<String>, BTreeMap<String, TwilioRecording>)>, CallsError> {
        let id = twilio_id(call_sid);
        let mut items = self.load([id.as_str()]).await?;
        let twilio = items.remove(&id).and_then(|item| item.state.own.twilio);
        Ok(twilio.map(|call| (call.phone, call.recordings)))
    }

    /// Those of a page of the bucket's recordings that are not in the table as they are in the bucket.
    pub async fn unlike(&self, objects: &[EgressObject]) -> Result<Vec<String>, CallsError> {
        let ids: Vec<String> = objects.iter().map(|object| object_id(&object.key)).collect();
        let items = self.load(ids.iter().map(String::as_str)).await?;
        let is_known = |id: &str, object: &EgressObject| {
            let known = items.get(id).and_then(|item| item.state.own.object.as_ref());
            known.is_some_and(|known| known.usable && known.size == Some(object.size) && known.etag == object.etag)
        };
        let unknown = ids.iter().zip(objects).filter(|(id, object)| !is_known(id, object));
        Ok(unknown.map(|(_, object)| object.key.clone()).collect())
    }

    /// Those of Twilio's recordings, with their calls, of which the table does not know all, or not whether their call has a number.
    pub async fn new_to_twilio(
        &self,
        recordings: Vec<(String, TwilioRecording)>,
    ) -> Result<Vec<TwilioNews>, CallsError> {
        let ids: Vec<String> = recordings.iter().map(|(call_sid, _)| twilio_id(call_sid)).collect();
        let items = self.load(ids.iter().map(String::as_str)).await?;
        let news = ids.iter().zip(recordings).filter_map(|(id, (call_sid, recording))| {
            let call = items.get(id).and_then(|item| item.state.own.twilio.as_ref());
            let known = call.and_then(|call| call.recordings.get(&recording.sid));
            let phone = call.and_then(|call| call.phone.clone());
            (recording.is_news_to(known) || phone.is_none()).then(|| TwilioNews {
                is_completion: recording.is_completion_to(known),
                call_sid,
                recording,
                phone,
            })
        });
        Ok(news.collect())
    }

    /// Pairs anew what lies near a row, for what arrived at the same moment and did not see each other.
    pub async fn settle(&self, call: &Call) -> Result<(), CallsError> {
        let there = |items: &mut Items| items.contains_key(&call.item);
        self.update(std::slice::from_ref(&call.item), there).await.map(|_| ())
    }

    /// Reads a note. One that another version of the program wrote, and that can't be read any more, counts as none.
    pub async fn note<T: DeserializeOwned>(&self, note: Note) -> Result<Option<T>, CallsError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let item = get.key("id", text(note.id())).send().await?.item;
        let json = item.and_then(|item| get_text(&item, "note"));
        Ok(json.and_then(|json| {
            let read = serde_json::from_str(&json);
            read.inspect_err(|error| tracing::warn!(?note, %error, "an unreadable note"))
                .ok()
        }))
    }

    /// Writes a note, of at most some 400 kB.
    pub async fn set_note<T: Serialize>(&self, note: Note, value: &T) -> Result<(), CallsError> {
        let json = serde_json::to_string(value).map_err(CallsError::bug)?;
        let put = self.client.put_item().table_name(&self.table);
        put.item("id", text(note.id())).item("note", text(&json)).send().await?;
        Ok(())
    }

    /// Takes down that a transcript of the recording with this key is stored, under the name of this dispatch: of the dispatch, or of the object
    /// where nobody has reported the dispatch. What is not in the table stays out of it.
    pub async fn egress_transcribed(&self, id: &DispatchId, key: &str) -> Result<(), CallsError> {
        let seeds = [id.as_str().to_owned(), object_id(key)];
        let write = |items: &mut Items| {
            let known = seeds.iter().find(|item| items.contains_key(*item));
            known.is_some_and(|item| set_transcribed(items, item, id.as_str()))
        };
        self.update(&seeds, write).await.map(|_| ())
    }

    /// Takes down that a transcript of a recording of this call by Twilio is stored, whether or not Twilio has told of the recording yet.
    pub async fn twilio_transcribed(&self, call_sid: &str) -> Result<(), CallsError> {
        let id = twilio_id(call_sid);
        let write = |items: &mut Items| set_transcribed(items, &id, "");
        self.update(std::slice::from_ref(&id), write).await.map(|_| ())
    }

    /// Whether a recording of the bucket belongs to an interaction of which nobody knows the dispatch.
    pub async fn is_an_interactions(&self, key: &str) -> Result<bool, CallsError> {
        let id = object_id(key);
        let owner = self
            .load([id.as_str()])
            .await?
            .remove(&id)
            .and_then(|item| item.state.owner);
        Ok(owner.is_some_and(|owner| facts::kind(&owner) == facts::Kind::Interaction))
    }

    /// The dispatch times, in Unix seconds, of the known dispatches to this number from `first` to `last`, other than `dispatch` itself; and the key of
    /// a recording that is listed under the very id of `dispatch`, since its name has this number and time and nobody has reported its call.
    pub async fn dispatches_near(
        &self,
        dispatch: &DispatchPattern,
        first: i64,
        last: i64,
    ) -> Result<(Vec<i64>, Option<String>), CallsError> {
        let (mut times, mut own) = (Vec::new(), None);
        for (id, unix) in self.near(&dispatch.phone, first, last).await? {
            match facts::kind(&id) {
                facts::Kind::Dispatch if unix != dispatch.unix => times.push(unix),
                facts::Kind::Object if unix == dispatch.unix => own = own.or(Some(id)),
                _ => {}
            }
        }
        let Some(id) = own else { return Ok((times, None)) };
        let row = self.load([id.as_str()]).await?.remove(&id).and_then(|item| item.row());
        Ok((times, row.and_then(|(call, _)| call.s3_key)))
    }
}

/// The recording that a dispatch made, among `candidates` in order of their times, given the times of the number's other known dispatches.
pub fn recording_of<'a>(dispatched: i64, others: &[i64], candidates: &'a [EgressObject]) -> Option<&'a EgressObject> {
    let mut dispatches: Vec<i64> = others.iter().copied().chain([dispatched]).collect();
    dispatches.sort_unstable();
    dispatches.dedup();
    let own = dispatches.binary_search(&dispatched).ok()?;
    let paired = pair::pair(dispatches.len(), candidates.len(), |dispatch, candidate| {
        pair::fit(&dispatches, dispatch, candidates[candidate].unix)
    });
    let found = paired.iter().position(|dispatch| *dispatch == Some(own))?;
    Some(&candidates[found])
}

/// Whether one `sequencer` of S3 events for the same key is after another: hexadecimal, the shorter one filled up with zeros on its right.
fn is_later(one: &str, other: &str) -> bool {
    let length = one.len().max(other.len());
    let padded = |text: &str| format!("{:0<length$}", text.to_ascii_uppercase());
    padded(one) > padded(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequencers_compare_as_if_padded_with_zeros() {
        assert!(is_later("0055AED6DCD90281E6", "0055AED6DCD90281E5"));
        assert!(is_later("0055AED6DCD90281E500", "0055AED6DCD90281E4FF"));
        assert!(!is_later("0055AED6DCD90281E5", "0055AED6DCD90281E5"));
        assert!(!is_later("0055AED6DCD90281E5", "0055aed6dcd90281e500"));
        assert!(is_later("0055aed6dcd90281e501", "0055AED6DCD90281E5"));
    }
}
