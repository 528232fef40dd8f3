//! Holds, retention times and the erasure of calls: what changes all items of a call at once.

use aws_sdk_dynamodb::types::{ConditionCheck, Delete, TransactWriteItem};
use jiff::Timestamp;

use super::{
    error::CallsError,
    item::{CallItem, Items, ListPosition},
    item_id::{self, ItemKind},
    model::Call,
    observations::{Hold, TwilioRecording},
    store::Commit,
    table::Calls,
};
use crate::{
    clients::{
        bucket::RecordingRef,
        dynamodb::{number, pause, text},
        twilio::{RecordingSid, is_call_sid},
    },
    ids::{DispatchId, DispatchPattern},
};

/// Attempts while other writers keep changing the call.
const TRIES: u32 = 12;

/// A change of how long a call is kept. `None` leaves a value as it is, `Some(None)` removes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeepChange {
    /// The hold.
    pub hold: Option<Option<Hold>>,
    /// The time until which the call is kept.
    pub retain_until: Option<Option<Timestamp>>,
}

/// Why a call's hold or time was not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// A request to the table failed.
    #[error(transparent)]
    Calls(#[from] CallsError),
    /// The call is being erased.
    #[error("the call is being erased")]
    BeingErased,
}

/// Everything that the index knows of one call, for erasing it.
#[derive(Debug, Clone)]
pub struct CallContents {
    /// The row.
    pub call: Call,
    /// The objects of the bucket, each in all versions that have a transcript, and its last known one.
    pub objects: Vec<(String, Vec<RecordingRef>)>,
    /// Twilio's recordings with their copies.
    pub recordings: Vec<TwilioRecording>,
    /// The ids under which the call can be requested.
    pub ids: Vec<DispatchId>,
    /// Everything by which the audit can have the call, now or before it was paired with others.
    pub audited: Vec<String>,
    items: Items,
}

impl CallContents {
    fn of(root: &str, items: Items) -> Option<Self> {
        let (call, _) = items.get(root)?.row()?;
        let mut contents = Self {
            call: Call {
                item: root.to_owned(),
                ..call
            },
            objects: Vec::new(),
            recordings: Vec::new(),
            ids: Vec::new(),
            audited: Vec::new(),
            items: Items::new(),
        };
        for item in items.values() {
            let own = &item.state.own;
            match item.kind() {
                ItemKind::Dispatch => contents.ids.extend(DispatchId::parse(&item.id)),
                ItemKind::Object => {
                    let last = own.object.as_ref().and_then(|object| object.etag.clone());
                    let mut etags: Vec<Option<String>> = own.transcribed.iter().cloned().map(Some).collect();
                    if !etags.contains(&last) {
                        etags.push(last);
                    }
                    let version = |etag: Option<String>| RecordingRef {
                        key: item.name().to_owned(),
                        etag: etag.filter(|etag| !etag.is_empty()),
                        size: None,
                        recording_sid: None,
                    };
                    let versions = etags.into_iter().map(version).collect();
                    contents.objects.push((item.name().to_owned(), versions));
                }
                ItemKind::Twilio => {
                    contents
                        .recordings
                        .extend(own.twilio.iter().flat_map(|call| call.with_copies()));
                    contents.ids.extend(DispatchId::parse(item.name()));
                    // A recording that was transcribed before Twilio reported it.
                    let reported: Vec<String> = contents.recordings.iter().map(|it| it.sid.clone()).collect();
                    let unknown = own.transcribed.iter().filter(|sid| !reported.contains(sid));
                    contents.recordings.extend(unknown.map(|sid| TwilioRecording {
                        sid: sid.clone(),
                        ..TwilioRecording::default()
                    }));
                }
                ItemKind::Interaction | ItemKind::Egress => {}
            }
        }
        let sids = contents
            .recordings
            .iter()
            .filter_map(|recording| DispatchId::parse(&recording.sid));
        contents.ids.extend(sids);
        contents.ids.extend(DispatchId::parse(&contents.call.dispatch_id));
        contents.ids.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        contents.ids.dedup();
        let ids = contents.ids.iter().map(|id| id.as_str().to_owned());
        // What is done with a recording has the number and time in its name, whichever dispatch it was paired with.
        let objects = items.values().filter(|item| item.kind() == ItemKind::Object);
        let derived = objects
            .filter_map(|item| item.near())
            .map(|(phone, unix)| DispatchPattern { unix, phone }.to_string());
        let interactions = items.values().filter(|item| item.kind() == ItemKind::Interaction);
        let interactions = interactions.map(|item| item.name().to_owned());
        let interactions = interactions.chain(contents.call.interaction_id.clone());
        let mut audited: Vec<String> = ids
            .chain(derived)
            .chain(interactions.map(|id| item_id::interaction(&id)))
            .collect();
        audited.sort_unstable();
        audited.dedup();
        contents.audited = audited;
        contents.items = items;
        Some(contents)
    }

    /// The ids of the call's items in the table.
    pub fn item_ids(&self) -> impl Iterator<Item = &str> {
        self.items.keys().map(String::as_str)
    }

    fn tombstone_names(&self) -> Vec<String> {
        let recordings = self
            .recordings
            .iter()
            .map(|recording| item_id::recording(&recording.sid));
        self.items.keys().cloned().chain(recordings).collect()
    }

    fn root(&self) -> Option<&CallItem> {
        self.items.get(&self.call.item)
    }
}

impl Calls {
    /// Everything that the index knows of the call that this item belongs to; `None` if there is no such item.
    pub async fn contents(&self, item: &str) -> Result<Option<CallContents>, CallsError> {
        let mut root = item.to_owned();
        for _ in 0..4 {
            let Some(found) = self.load([root.as_str()]).await?.remove(&root) else {
                return Ok(None);
            };
            if let Some(owner) = found.state.owner.clone() {
                root = owner;
                continue;
            }
            let members: Vec<String> = found.state.members.keys().cloned().collect();
            let mut items = self.load(members.iter().map(String::as_str)).await?;
            items.retain(|_, member| member.state.owner.as_deref() == Some(&root));
            items.insert(root.clone(), found);
            return Ok(CallContents::of(&root, items));
        }
        Err(CallsError::busy())
    }

    /// The item that this id names: a dispatch, Twilio's SID of a call or a recording, or the id of a recording that nobody has dispatched.
    pub async fn item_of(&self, id: &DispatchId) -> Result<Option<String>, CallsError> {
        if let Some(sid) = RecordingSid::parse(id.as_str()) {
            let call_sid = self.lifecycle.copy_state(&sid).await?.call_sid;
            return Ok(call_sid.map(|call_sid| item_id::twilio(&call_sid)));
        }
        let item = match is_call_sid(id.as_str()) {
            true => item_id::twilio(id.as_str()),
            false => id.as_str().to_owned(),
        };
        if self.load([item.as_str()]).await?.contains_key(&item) {
            return Ok(Some(item));
        }
        let Some(pattern) = id.pattern() else { return Ok(None) };
        let near = self.near(&pattern.phone, pattern.unix, pattern.unix).await?;
        let found = near.into_iter().map(|(item, _)| item);
        Ok(found.into_iter().find(|item| ItemKind::of(item) == ItemKind::Object))
    }

    /// Everything by which the audit can have the call with this id; `None` if the index does not know it.
    pub async fn audited_as(&self, id: &DispatchId) -> Result<Option<Vec<String>>, CallsError> {
        let Some(item) = self.item_of(id).await? else {
            return Ok(None);
        };
        Ok(self.contents(&item).await?.map(|contents| contents.audited))
    }

    /// The items of the calls that these belong to, each once and in this order; those that do not exist are left out.
    pub async fn roots(&self, items: &[String]) -> Result<Vec<String>, CallsError> {
        let found = self.load(items.iter().map(String::as_str)).await?;
        let mut roots: Vec<String> = Vec::new();
        for item in items.iter().filter_map(|id| found.get(id)) {
            let root = item.state.owner.as_ref().unwrap_or(&item.id);
            if !roots.contains(root) {
                roots.push(root.clone());
            }
        }
        Ok(roots)
    }

    /// The item of an interaction.
    pub fn item_of_interaction(id: &str) -> String {
        item_id::interaction(id)
    }

    /// The items of a phone number, digits only, that began before this time.
    pub async fn items_of_number(&self, digits: &str, before: Option<Timestamp>) -> Result<Vec<String>, CallsError> {
        let last = before.map_or(i64::MAX / 2, |before| before.as_second() - 1);
        let found = self.near(digits, i64::MIN / 2, last).await?;
        Ok(found.into_iter().map(|(item, _)| item).collect())
    }

    /// Sets or lifts a hold, and sets how long a call is kept, in all its items. Returns the call, or `None` if there is none.
    pub async fn keep(&self, item: &str, change: &KeepChange) -> Result<Option<Call>, KeepError> {
        for tries in 1..=TRIES {
            let Some(contents) = self.contents(item).await? else {
                return Ok(None);
            };
            let ids: Vec<&str> = contents.items.keys().map(String::as_str).collect();
            if self.has_erased(&ids).await? {
                return Err(KeepError::BeingErased);
            }
            let mut items = contents.items.clone();
            for item in items.values_mut() {
                let own = &mut item.state.own;
                if let Some(hold) = &change.hold {
                    own.hold.clone_from(hold);
                }
                if let Some(until) = change.retain_until {
                    own.retain_until = until;
                }
            }
            let own: Vec<_> = items
                .iter()
                .map(|(id, item)| (id.clone(), item.state.own.clone()))
                .collect();
            if let Some(root) = items.get_mut(&contents.call.item) {
                for (id, own) in own {
                    if let Some(copy) = root.state.members.get_mut(&id) {
                        *copy = own;
                    }
                }
            }
            let changed: Vec<&CallItem> = items.values().collect();
            // An erasure that begins now fails or is seen here.
            let checks = self.not_erased(&[contents.call.item.as_str()]).await?;
            if let Some(Some(until)) = change.retain_until {
                // Before the call has the time: a call with a time must be found when it has passed.
                self.lifecycle
                    .retain(&contents.call.item, until)
                    .await
                    .map_err(CallsError::from)?;
            }
            match self.write_checked(&changed, checks).await? {
                Commit::Done => return Ok(CallContents::of(&contents.call.item, items).map(|it| it.call)),
                Commit::Conflict | Commit::Partial => pause(tries).await,
            }
        }
        Err(CallsError::busy().into())
    }

    /// Writes the tombstones of a call, on condition that nobody has changed it since it was read: a hold that is set meanwhile wins. Returns
    /// `false` if somebody has. From then on nothing new is stored of the call.
    pub async fn bury(&self, contents: &CallContents) -> Result<bool, CallsError> {
        let Some(root) = contents.root() else { return Ok(false) };
        let names = contents.tombstone_names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let tombstones = self.tombstones.of(&names).await?;
        for tombstones in tombstones.chunks(90) {
            let unchanged = ConditionCheck::builder()
                .table_name(&self.table)
                .key("id", text(&root.id))
                .condition_expression("rev = :rev")
                .expression_attribute_values(":rev", number(root.rev));
            let unchanged = unchanged.build().map_err(CallsError::bug)?;
            let mut parts = vec![TransactWriteItem::builder().condition_check(unchanged).build()];
            for tombstone in tombstones {
                parts.push(self.lifecycle.put_tombstone(tombstone)?);
            }
            if self.transact(parts).await? != Commit::Done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Deletes the items of a call, on condition that nobody has changed them since they were read. Returns `false` if somebody has.
    pub async fn remove(&self, contents: &CallContents) -> Result<bool, CallsError> {
        let positions: Vec<ListPosition> = contents.items.values().filter_map(|item| item.row()?.1).collect();
        self.mark_days(&positions).await?;
        // The row last, by which the rest is found again after an interruption, together with what leads to it.
        let (rows, members): (Vec<&CallItem>, Vec<&CallItem>) =
            contents.items.values().partition(|item| item.id == contents.call.item);
        let mut parts = Vec::new();
        for item in members.into_iter().chain(rows) {
            let delete = Delete::builder()
                .table_name(&self.table)
                .key("id", text(&item.id))
                .condition_expression("rev = :rev")
                .expression_attribute_values(":rev", number(item.rev));
            let delete = delete.build().map_err(CallsError::bug)?;
            parts.push(TransactWriteItem::builder().delete(delete).build());
        }
        let sids = contents.recordings.iter().map(|recording| recording.sid.as_str());
        parts.extend(self.lifecycle.deletions(&contents.call.item, sids)?);
        for parts in parts.chunks(90) {
            if self.transact(parts.to_vec()).await? != Commit::Done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Stores that no transcript of the call is stored any more. Returns `false` if somebody has changed the call since it was read.
    pub async fn forget_transcripts(&self, contents: &CallContents) -> Result<bool, CallsError> {
        let mut items = contents.items.clone();
        for item in items.values_mut() {
            let members = item.state.members.values_mut();
            for own in members.chain([&mut item.state.own]) {
                own.transcribed.clear();
                own.transcripts.clear();
            }
        }
        Ok(self.commit(&contents.items, &items).await? == Commit::Done)
    }
}
