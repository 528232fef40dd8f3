//! What an erasure would erase.

use std::collections::HashSet;

use super::{
    error::ErasureError,
    found::{items_of_interaction, items_of_number},
    model::{Counts, Kind, Target},
};
use crate::calls::{CallContents, Calls, Hold};
use jiff::Timestamp;

/// Calls that a preview reads.
pub const PREVIEWED: usize = 500;
/// Items whose calls are looked up at once.
const PAGE: usize = 100;

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

    /// Reads the calls of a target, at most `limit`; a target without calls has an empty preview.
    pub async fn of(
        calls: &Calls,
        target: &Target,
        before: Option<Timestamp>,
        limit: usize,
    ) -> Result<Self, ErasureError> {
        let items = match target {
            Target::Call(id) => calls.item_of(id).await?.into_iter().collect(),
            Target::Interaction(id) => items_of_interaction(calls, id).await?,
            Target::Phone(digits) => items_of_number(calls, digits, before).await?,
            Target::Expired { .. } => Vec::new(),
        };
        let (mut preview, mut seen) = (Self::default(), HashSet::new());
        for items in items.chunks(PAGE) {
            for root in calls.roots(items).await? {
                if !seen.insert(root.clone()) {
                    continue;
                }
                if seen.len() > limit {
                    preview.is_partial = true;
                    return Ok(preview);
                }
                if let Some(contents) = calls.contents(&root).await? {
                    preview.add(contents);
                }
            }
        }
        Ok(preview)
    }

    fn add(&mut self, contents: CallContents) {
        let call = contents.call;
        if let Some(hold) = call.hold {
            self.holds.push(hold);
            return;
        }
        let mut add = |kind: Kind, count: usize| {
            if count > 0 {
                *self.counts.entry(kind).or_default() += count as u64;
            }
        };
        add(Kind::Calls, 1);
        add(Kind::Recordings, usize::from(call.s3_key.is_some()));
        let copied = contents.recordings.iter().filter(|it| it.copied().is_some());
        add(Kind::Copies, copied.count());
        let at_twilio = contents.recordings.iter().filter(|it| it.is_completed());
        add(Kind::TwilioRecordings, at_twilio.count());
        add(Kind::Transcripts, usize::from(call.has_transcript));
        let shown = Some(call.dispatch_id).filter(|id| !id.is_empty());
        self.calls.extend(shown.or(call.call_sid).or(call.interaction_id));
    }
}
