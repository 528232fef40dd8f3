//! What an erasure would erase.

use std::collections::BTreeSet;

use super::{
    error::ErasureError,
    model::{Counts, Kind, Target},
    run::{items_of_interaction, items_of_number},
};
use crate::calls::{Calls, Hold};
use jiff::Timestamp;

/// Calls that a preview reads.
const MAX_CALLS: usize = 500;

/// What an erasure would erase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// How many things, by kind. Shares and transcripts that are not in the index are not counted.
    pub counts: Counts,
    /// The ids of the calls.
    pub calls: Vec<String>,
    /// The holds that keep calls.
    pub holds: Vec<Hold>,
    /// Whether there are more calls than were read.
    pub is_partial: bool,
}

impl Preview {
    /// The number of calls that would be erased.
    pub fn calls_total(&self) -> u64 {
        self.counts.get(&Kind::Calls).copied().unwrap_or_default()
    }

    /// Reads the calls of a target; a target without calls has an empty preview.
    pub async fn of(calls: &Calls, target: &Target, before: Option<Timestamp>) -> Result<Self, ErasureError> {
        let items = match target {
            Target::Call(id) => calls.item_of(id).await?.into_iter().collect(),
            Target::Interaction(id) => items_of_interaction(calls, id).await?,
            Target::Phone(digits) => items_of_number(calls, digits, before).await?,
            Target::Expired { .. } => Vec::new(),
        };
        let (mut preview, mut roots) = (Self::default(), BTreeSet::new());
        for item in items {
            let Some(contents) = calls.contents(&item).await? else {
                continue;
            };
            if !roots.insert(contents.call.item.clone()) {
                continue;
            }
            if roots.len() > MAX_CALLS {
                preview.is_partial = true;
                break;
            }
            if let Some(hold) = contents.call.hold.clone() {
                preview.holds.push(hold);
                continue;
            }
            let mut add = |kind: Kind, count: usize| {
                if count > 0 {
                    *preview.counts.entry(kind).or_default() += count as u64;
                }
            };
            add(Kind::Calls, 1);
            add(Kind::Recordings, usize::from(contents.call.s3_key.is_some()));
            let copied = contents.recordings.iter().filter(|it| it.copied().is_some());
            add(Kind::Copies, copied.count());
            let at_twilio = contents.recordings.iter().filter(|it| it.is_completed());
            add(Kind::TwilioRecordings, at_twilio.count());
            add(Kind::Transcripts, usize::from(contents.call.has_transcript));
            let shown = Some(contents.call.dispatch_id.clone()).filter(|id| !id.is_empty());
            let other = contents.call.call_sid.clone().or(contents.call.interaction_id.clone());
            preview.calls.extend(shown.or(other));
        }
        Ok(preview)
    }
}
