//! Changes items and keeps the assignment of recordings and interactions to calls up to date.

mod assignment;

use std::collections::BTreeSet;

use super::{
    error::CallsError,
    item::{Anchor, CallItem, Items},
    item_id::ItemKind,
    store::Commit,
    table::Calls,
};
use crate::{
    clients::dynamodb::{get_number, get_text, number, pause, text},
    ids::DispatchId,
};
use assignment::{LATEST, fit_recordings};
pub(super) use assignment::{fit, pair};

/// Recordings and dispatches of one number that are further apart than this many seconds say nothing about each other, even by way of others.
pub const NEIGHBOURHOOD: i64 = 6 * LATEST;
const BY_NUMBER: &str = "by-number";
/// Items within this many seconds of a change are paired again.
const REPAIR_WINDOW: i64 = 2 * LATEST;
/// Retries of one change, with pauses of up to 1.3 s between them.
const TRIES: u32 = 24;
/// How many times a change is checked again after the write, for items that other writers added meanwhile.
const RECHECKS: u32 = 3;

/// The result of [`Calls::update`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Update {
    /// The change is in the table.
    Written,
    /// There was nothing to change.
    Unchanged,
    /// What was reported was erased before, and stays so.
    Erased,
}

impl Calls {
    /// Changes items and pairs the items near them again, until the result is stable. `change` may be called several times, each time with the
    /// items of `ids` that exist in the table. If it returns `false`, nothing is written.
    ///
    /// A report of something that was erased, or that belongs to it, is not written.
    pub(super) async fn update(
        &self,
        ids: &[String],
        change: impl Fn(&mut Items) -> bool,
    ) -> Result<Update, CallsError> {
        let (mut tries, mut written, mut partly) = (0, 0, false);
        loop {
            let mut loaded = self.load(ids.iter().map(String::as_str)).await?;
            let mut items = loaded.clone();
            // After a partial write `change` may return false, because its own item is already written. Pairing must still finish.
            if written == 0 && !change(&mut items) && !partly {
                return Ok(Update::Unchanged);
            }
            let mut anchors: BTreeSet<Anchor> = loaded
                .values()
                .chain(items.values())
                .filter_map(CallItem::near)
                .collect();
            loop {
                self.load_neighbors(&mut loaded, &mut items, &anchors).await?;
                link(&mut items, &anchors, ids);
                // A new member can change the time or number of its owner, and so the set of items to pair.
                let known = anchors.len();
                for item in items.values() {
                    let (before, after) = (loaded.get(&item.id).and_then(CallItem::near), item.near());
                    if before != after {
                        anchors.extend(before.into_iter().chain(after));
                    }
                }
                if anchors.len() == known {
                    break;
                }
            }
            if items == loaded {
                return Ok(Update::Written);
            }
            match self.commit(&loaded, &items).await? {
                Commit::Done if anchors.is_empty() || written == RECHECKS => return Ok(Update::Written),
                Commit::Done => written += 1,
                _ if tries == TRIES => return Err(CallsError::busy()),
                conflict => {
                    // A new item is written on condition that it was not erased.
                    let new = items.keys().filter(|id| !loaded.contains_key(*id));
                    if self.has_erased(&new.map(String::as_str).collect::<Vec<_>>()).await? {
                        return Ok(Update::Erased);
                    }
                    partly |= conflict == Commit::Partial;
                    tries += 1;
                    pause(tries).await;
                }
            }
        }
    }

    /// Loads the items near `anchors`, and the owners and members of all loaded items.
    async fn load_neighbors(
        &self,
        loaded: &mut Items,
        items: &mut Items,
        anchors: &BTreeSet<Anchor>,
    ) -> Result<(), CallsError> {
        let mut wanted = BTreeSet::new();
        // Anchors are sorted; overlapping windows are merged.
        let mut windows: Vec<(&str, i64, i64)> = Vec::new();
        for (phone, time) in anchors {
            let (first, last) = (time - NEIGHBOURHOOD, time + NEIGHBOURHOOD);
            match windows.last_mut() {
                Some((known, _, end)) if known == phone && first <= *end => *end = last,
                _ => windows.push((phone, first, last)),
            }
        }
        for (phone, first, last) in windows {
            let found = self.near(phone, first, last).await?;
            wanted.extend(found.into_iter().map(|(id, _)| id));
        }
        let mut requested: BTreeSet<String> = items.keys().cloned().collect();
        loop {
            for item in items.values() {
                wanted.extend(
                    item.state
                        .owner
                        .as_deref()
                        .into_iter()
                        .chain(item.declared_owner())
                        .map(str::to_owned),
                );
                wanted.extend(item.state.members.keys().cloned());
            }
            wanted.retain(|id| !requested.contains(id));
            if wanted.is_empty() {
                return Ok(());
            }
            for (id, item) in self.load(wanted.iter().map(String::as_str)).await? {
                loaded.insert(id.clone(), item.clone());
                items.insert(id, item);
            }
            requested.append(&mut wanted);
        }
    }

    /// Ids and times, in Unix seconds, of the items of this number from `first` to `last`.
    pub(super) async fn near(&self, phone: &str, first: i64, last: i64) -> Result<Vec<(String, i64)>, CallsError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(BY_NUMBER)
            .key_condition_expression("near_number = :phone AND near_time BETWEEN :first AND :last")
            .expression_attribute_values(":phone", text(phone))
            .expression_attribute_values(":first", number(first))
            .expression_attribute_values(":last", number(last))
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item?;
            found.extend(get_text(&item, "id").zip(get_number(&item, "near_time")));
        }
        Ok(found)
    }
}

/// Sets the owners of the items that are near `anchors` or in `ids`, and copies all members into their owners.
fn link(items: &mut Items, anchors: &BTreeSet<Anchor>, ids: &[String]) {
    let declared: Vec<(String, String)> = items
        .values()
        .filter_map(|item| Some((item.id.clone(), item.declared_owner()?.to_owned())))
        .collect();
    for (id, owner) in &declared {
        items.entry(owner.clone()).or_insert_with(|| CallItem::new(owner));
        set_owner(items, id, Some(owner));
    }
    let phones: BTreeSet<&str> = anchors.iter().map(|(phone, _)| phone.as_str()).collect();
    let mut decided = BTreeSet::new();
    for phone in phones {
        for (id, time, owner) in pairs(items, phone) {
            let near = anchors
                .iter()
                .any(|(other, anchor)| other == phone && (time - anchor).abs() <= REPAIR_WINDOW);
            if (near || ids.contains(&id)) && decided.insert(id.clone()) {
                set_owner(items, &id, owner.as_deref());
            }
        }
    }
    // The members of an interaction that belongs to a dispatch belong to the dispatch.
    let owners: Vec<(String, String)> = items
        .values()
        .filter_map(|item| Some((item.id.clone(), item.state.owner.clone()?)))
        .collect();
    for (id, owner) in owners {
        if let Some(above) = items.get(&owner).and_then(|owner| owner.state.owner.clone()) {
            set_owner(items, &id, Some(&above));
        }
    }
    let belonging: Vec<(String, CallItem)> = items
        .values()
        .filter_map(|item| Some((item.state.owner.clone()?, item.clone())))
        .collect();
    for item in items.values_mut() {
        item.state.members.clear();
    }
    for (owner, item) in belonging {
        if let Some(owner) = items.get_mut(&owner) {
            owner.state.members.insert(item.id, item.state.own);
        }
    }
}

fn set_owner(items: &mut Items, id: &str, owner: Option<&str>) {
    if let Some(item) = items.get_mut(id) {
        item.state.owner = owner.map(str::to_owned);
    }
}

/// Pairs all items of a number by time. Returns id, time and owner of each recording, failed recording and interaction.
fn pairs(items: &Items, phone: &str) -> Vec<(String, i64, Option<String>)> {
    let of_kind = |wanted: &dyn Fn(&CallItem) -> bool| {
        let mut found: Vec<(i64, &str)> = items
            .values()
            .filter(|item| item.state.own.declared_owner.is_none() && wanted(item))
            .filter_map(|item| Some((item.near().filter(|(other, _)| other == phone)?.1, item.id.as_str())))
            .collect();
        found.sort_unstable();
        found
    };
    let usable = |item: &CallItem| item.state.own.object.as_ref().is_some_and(|object| object.usable);
    let dispatches = of_kind(&|item| item.kind() == ItemKind::Dispatch);
    let interactions = of_kind(&|item| item.kind() == ItemKind::Interaction);
    let recordings = of_kind(&|item| item.kind() == ItemKind::Object && usable(item));
    let failures = of_kind(&|item| matches!(item.kind(), ItemKind::Object | ItemKind::Egress) && !usable(item));
    let twilio = of_kind(&|item| item.kind() == ItemKind::Twilio);

    let mut decided = Vec::new();
    let mut calls = dispatches.clone();
    for ((time, id), dispatch) in interactions
        .iter()
        .zip(pair_interactions(items, &dispatches, &interactions))
    {
        let dispatch = dispatch.map(|dispatch| dispatches[dispatch].1.to_owned());
        if dispatch.is_none() {
            calls.push((*time, id));
        }
        decided.push(((*id).to_owned(), *time, dispatch));
    }
    calls.sort_unstable();

    let times: Vec<i64> = calls.iter().map(|(time, _)| *time).collect();
    // Dispatch ids with a number and a time are created for outbound calls only.
    let is_outbound = |id: &str| DispatchId::parse(id).is_some_and(|id| id.pattern().is_some());
    let is_inbound = |id: &str| items.get(id).is_some_and(|item| item.state.own.is_inbound(item.name()));
    let paired = pair(calls.len(), recordings.len(), |call, recording| {
        let ((_, call_id), (began, id)) = (calls[call], recordings[recording]);
        fit(&times, call, began).filter(|_| !(is_inbound(id) && is_outbound(call_id)))
    });
    let recorded: BTreeSet<usize> = paired.iter().flatten().copied().collect();
    let mut heads: Vec<(i64, &str, bool)> = calls.iter().map(|(time, id)| (*time, *id, true)).collect();
    for ((time, id), call) in recordings.iter().zip(&paired) {
        decided.push(((*id).to_owned(), *time, call.map(|call| calls[call].1.to_owned())));
        if call.is_none() {
            heads.push((*time, id, false));
        }
    }
    heads.sort_unstable();

    let unrecorded: Vec<(i64, &str)> = calls
        .iter()
        .enumerate()
        .filter(|(index, _)| !recorded.contains(index))
        .map(|(_, call)| *call)
        .collect();
    let paired = pair(unrecorded.len(), failures.len(), |call, failure| {
        fit(
            &times,
            times.partition_point(|time| *time < unrecorded[call].0),
            failures[failure].0,
        )
    });
    for ((time, id), call) in failures.iter().zip(paired) {
        // A failed recording that LiveKit started again belongs to the same call.
        let restarted = || {
            let fits = |call: usize| Some((fit(&times, call, *time)?, call));
            let best = (0..calls.len()).filter_map(fits).min();
            best.map(|(_, call)| calls[call].1)
        };
        let call = call.map(|call| unrecorded[call].1).or_else(restarted);
        decided.push(((*id).to_owned(), *time, call.map(str::to_owned)));
    }

    let paired = pair(heads.len(), twilio.len(), |head, recording| {
        let (time, _, is_call) = heads[head];
        let began = twilio[recording].0;
        match is_call {
            true => fit(&times, times.partition_point(|other| *other < time), began),
            false => fit_recordings(time, began),
        }
    });
    for ((time, id), head) in twilio.iter().zip(paired) {
        decided.push(((*id).to_owned(), *time, head.map(|head| heads[head].1.to_owned())));
    }
    decided
}

/// Pairs interactions without a declared dispatch with dispatches that began shortly before them.
fn pair_interactions(items: &Items, dispatches: &[(i64, &str)], interactions: &[(i64, &str)]) -> Vec<Option<usize>> {
    let has_interaction = |id: &str| {
        let is_named = |item: &CallItem| item.state.own.fields.contains_key("interaction_id");
        items.get(id).is_some_and(is_named)
            || items
                .values()
                .any(|item| item.kind() == ItemKind::Interaction && item.declared_owner() == Some(id))
    };
    let free: Vec<bool> = dispatches.iter().map(|(_, id)| !has_interaction(id)).collect();
    let times: Vec<i64> = dispatches.iter().map(|(time, _)| *time).collect();
    pair(dispatches.len(), interactions.len(), |dispatch, interaction| {
        fit(&times, dispatch, interactions[interaction].0).filter(|_| free[dispatch])
    })
}
