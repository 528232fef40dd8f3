//! A model of the index: the correct rows after any history.

use super::*;

/// The final state of the world, and the values that were reported.
#[derive(Default)]
pub(super) struct Model {
    /// The newest value of each field, by item.
    pub(super) fields: BTreeMap<String, BTreeMap<&'static str, (i64, Value)>>,
    /// The time of the first report, by item.
    pub(super) first: BTreeMap<String, i64>,
    pub(super) dispatches: BTreeSet<String>,
    /// The declared dispatch of each interaction.
    pub(super) of: BTreeMap<String, (i64, String)>,
    /// What each file contains now; `None` if it was deleted.
    pub(super) files: BTreeMap<String, Option<u8>>,
    /// The files' contents and the Twilio calls that were transcribed.
    pub(super) transcribed_files: BTreeSet<(String, u8)>,
    pub(super) transcribed_calls: BTreeSet<usize>,
    /// Files for which there was an event.
    pub(super) seen: BTreeSet<String>,
    pub(super) failures: BTreeSet<usize>,
    /// Whether the call's recording is completed.
    pub(super) twilio: BTreeMap<usize, bool>,
    /// Twilio calls with a declared dispatch.
    pub(super) linked: BTreeSet<usize>,
    /// Items that were erased, and stay so whatever is reported.
    pub(super) erased: BTreeSet<String>,
}

/// The newest value of a field of an item and its members.
pub(super) type Newest<'a> = dyn Fn(&str, &[String], &str) -> Option<String> + 'a;

/// A call in the list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) item: String,
    pub(super) playable: bool,
    pub(super) reported: bool,
    pub(super) dispatch_id: String,
    pub(super) interaction_id: Option<String>,
    pub(super) status: Option<String>,
    /// Empty if the start time is not known.
    pub(super) start_time: String,
    pub(super) phone: Option<String>,
    pub(super) s3_key: Option<String>,
    pub(super) twilio: Vec<String>,
    pub(super) transcribed: bool,
    pub(super) reason: Option<String>,
}

/// The best pairing without crossings, by brute force; see `pairing` in recordings.rs.
pub(super) fn pairing(
    calls: usize,
    recordings: usize,
    cost: &dyn Fn(usize, usize) -> Option<(i64, i64)>,
) -> Vec<Option<usize>> {
    type ObjectInfo = (i64, i64, i64, Vec<usize>);
    pub(super) fn by_brute_force(
        calls: usize,
        recordings: usize,
        cost: &dyn Fn(usize, usize) -> Option<(i64, i64)>,
        r: usize,
        from: usize,
    ) -> ObjectInfo {
        if r == recordings {
            return (0, 0, 0, Vec::new());
        }
        let mut best: Option<ObjectInfo> = None;
        for call in from..=calls {
            let (pairs, began, seconds, next) = match call == calls {
                true => (0, 0, 0, from),
                false => match cost(call, r) {
                    Some((began, seconds)) => (-1, began, seconds, call + 1),
                    None => continue,
                },
            };
            let (more, times, costs, mut chosen) = by_brute_force(calls, recordings, cost, r + 1, next);
            chosen.insert(0, call);
            let found = (pairs + more, began + times, seconds + costs, chosen);
            if best.as_ref().is_none_or(|best| found < *best) {
                best = Some(found);
            }
        }
        best.unwrap()
    }
    let (.., chosen) = by_brute_force(calls, recordings, cost, 0, 0);
    chosen.into_iter().map(|call| (call < calls).then_some(call)).collect()
}

pub(super) fn fit(dispatches: &[i64], dispatched: i64, began: i64) -> Option<(i64, i64)> {
    let late = began - dispatched;
    let overtaken = dispatches
        .iter()
        .any(|later| *later > dispatched + 10 && *later <= began);
    ((-5..=300).contains(&late) && !overtaken).then_some((began, if late < 0 { -10 * late } else { late }))
}

impl Model {
    pub(super) fn report(&mut self, of: &str, name: &'static str, at: i64, value: Value) {
        let first = self.first.entry(of.to_owned()).or_insert(at);
        *first = at.min(*first);
        let known = self.fields.entry(of.to_owned()).or_default();
        let newer = known
            .get(name)
            .is_none_or(|known| (at, value.to_string()) > (known.0, known.1.to_string()));
        if newer {
            known.insert(name, (at, value));
        }
    }

    /// Forgets everything that was reported of these items.
    pub(super) fn erase(&mut self, items: Vec<String>) {
        for item in &items {
            self.fields.remove(item);
            self.first.remove(item);
            self.dispatches.remove(item);
            if let Some(id) = item.strip_prefix("interaction#") {
                self.of.remove(id);
            }
        }
        self.erased.extend(items);
        let erased = &self.erased;
        self.failures
            .retain(|index| !erased.contains(&format!("egress#EG_{index}")));
    }

    fn is_erased_call(&self, call: usize) -> bool {
        self.erased.contains(&format!("twilio#{}", call_sid(call)))
    }

    /// All rows with their sort keys, newest first.
    pub(super) fn rows(&self, names: &Names) -> Vec<(String, Row)> {
        let base = names.base;
        // Calls: an item and its members.
        let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for dispatch in &self.dispatches {
            let reported = self.of.iter().filter(|(_, (_, owner))| owner == dispatch);
            rows.insert(
                dispatch.clone(),
                reported.map(|(id, _)| format!("interaction#{id}")).collect(),
            );
        }
        for item in self.fields.keys() {
            if let Some(id) = item.strip_prefix("interaction#")
                && !self.of.contains_key(id)
            {
                rows.insert(item.clone(), Vec::new());
            }
        }
        let field = |item: &str, members: &[String], name: &str| {
            let facts = std::iter::once(item).chain(members.iter().map(String::as_str));
            let reported = facts.filter_map(|item| self.fields.get(item)?.get(name));
            let newest = reported.max_by_key(|(at, value)| (*at, value.to_string()));
            newest.and_then(|(_, value)| value.as_str()).map(str::to_owned)
        };
        for (number, phone) in PHONES.iter().enumerate() {
            let mut calls: Vec<(i64, String)> = Vec::new();
            for item in rows.keys() {
                let place = match item.strip_prefix("dispatch_") {
                    Some(rest) => rest
                        .split_once('_')
                        .map(|(time, to)| (to.to_owned(), time.parse().unwrap())),
                    None => field(item, &[], "phone")
                        .zip(field(item, &[], "start_time"))
                        .map(|(to, start)| {
                            let start: Timestamp = start.parse().unwrap();
                            (to.trim_start_matches('+').to_owned(), start.as_second())
                        }),
                };
                calls.extend(
                    place
                        .filter(|(to, _)| to == phone)
                        .map(|(_, time)| (time, item.clone())),
                );
            }
            calls.sort();
            // Interactions without a declared dispatch, and dispatches without a declared interaction.
            let (interactions, dispatches): (Vec<_>, Vec<_>) =
                calls.iter().cloned().partition(|(_, id)| id.contains('#'));
            let dispatched: Vec<i64> = dispatches.iter().map(|(time, _)| *time).collect();
            let is_free = |dispatch: &String| {
                let reported = self
                    .fields
                    .get(dispatch)
                    .is_some_and(|reported| reported.contains_key("interaction_id"));
                !reported && self.of.values().all(|(_, owner)| owner != dispatch)
            };
            let paired = pairing(dispatches.len(), interactions.len(), &|dispatch, interaction| {
                let fit = fit(&dispatched, dispatched[dispatch], interactions[interaction].0);
                fit.filter(|_| is_free(&dispatches[dispatch].1))
            });
            for ((_, interaction), dispatch) in interactions.iter().zip(paired) {
                if let Some(dispatch) = dispatch {
                    rows.remove(interaction);
                    rows.get_mut(&dispatches[dispatch].1).unwrap().push(interaction.clone());
                    calls.retain(|(_, call)| call != interaction);
                }
            }
            let times: Vec<i64> = calls.iter().map(|(time, _)| *time).collect();
            let of_phone = |there: bool| {
                let files = names
                    .world
                    .files
                    .iter()
                    .enumerate()
                    .filter(|(_, (to, _))| *to == number);
                let keys: BTreeSet<(i64, String)> = files
                    .map(|(index, _)| (names.key(index).1, names.key(index).2))
                    .collect();
                let mut found: Vec<(i64, String)> = keys
                    .into_iter()
                    .filter(|(_, key)| !self.erased.contains(&format!("object#{key}")))
                    .filter(|(_, key)| match self.files.get(key) {
                        Some(Some(_)) => there,
                        _ => !there && self.seen.contains(key),
                    })
                    .map(|(time, key)| (time, format!("object#{key}")))
                    .collect();
                found.sort();
                found
            };
            let files = of_phone(true);
            let paired = pairing(calls.len(), files.len(), &|call, file| {
                fit(&times, times[call], files[file].0)
            });
            let recorded: BTreeSet<usize> = paired.iter().flatten().copied().collect();
            let mut heads: Vec<(i64, String, bool)> =
                calls.iter().map(|(time, id)| (*time, id.clone(), true)).collect();
            for ((time, file), call) in files.iter().zip(&paired) {
                match call {
                    Some(call) => rows.get_mut(&calls[*call].1).unwrap().push(file.clone()),
                    None => {
                        rows.insert(file.clone(), Vec::new());
                        heads.push((*time, file.clone(), false));
                    }
                }
            }
            heads.sort();
            let without: Vec<_> = calls
                .iter()
                .enumerate()
                .filter(|(index, _)| !recorded.contains(index))
                .map(|(_, call)| call.clone())
                .collect();
            let mut failures = of_phone(false);
            let failed = self
                .failures
                .iter()
                .filter(|index| names.world.failures[**index].0 == number);
            failures.extend(failed.map(|index| (base + names.world.failures[*index].1, format!("egress#EG_{index}"))));
            failures.sort();
            let paired = pairing(without.len(), failures.len(), &|call, failure| {
                fit(&times, without[call].0, failures[failure].0)
            });
            for ((time, failure), call) in failures.iter().zip(paired) {
                match call {
                    Some(call) => rows.get_mut(&without[call].1).unwrap().push(failure.clone()),
                    None => {
                        let fits = calls
                            .iter()
                            .filter_map(|call| Some((fit(&times, call.0, *time)?, call)));
                        match fits.min() {
                            // The recording was started again.
                            Some((_, (_, call))) => rows.get_mut(call).unwrap().push(failure.clone()),
                            // A deleted file without a call.
                            None if failure.starts_with("object#") => {}
                            None => drop(rows.insert(failure.clone(), Vec::new())),
                        }
                    }
                }
            }
            let mut twilio: Vec<(i64, String)> = self
                .twilio
                .keys()
                .filter(|call| names.world.calls[**call].phone == Some(number) && !self.linked.contains(call))
                .filter(|call| !self.is_erased_call(**call))
                .map(|call| {
                    (
                        base + names.world.calls[*call].time,
                        format!("twilio#{}", call_sid(*call)),
                    )
                })
                .collect();
            twilio.sort();
            let paired = pairing(heads.len(), twilio.len(), &|head, call| {
                let ((time, _, is_call), began) = (&heads[head], twilio[call].0);
                let distance = (time - began).abs();
                match is_call {
                    true => fit(&times, *time, began),
                    false => (distance <= 60).then_some((began, distance)),
                }
            });
            for ((_, call), head) in twilio.iter().zip(paired) {
                match head {
                    Some(head) => rows.get_mut(&heads[head].1).unwrap().push(call.clone()),
                    None => drop(rows.insert(call.clone(), Vec::new())),
                }
            }
        }
        for call in self.twilio.keys().filter(|call| !self.is_erased_call(**call)) {
            let item = format!("twilio#{}", call_sid(*call));
            match (self.linked.contains(call), names.world.calls[*call].phone) {
                (true, _) => {
                    let dispatch = names.dispatch(names.world.calls[*call].dispatch.unwrap()).2;
                    rows.get_mut(&dispatch).unwrap().push(item);
                }
                (false, None) => drop(rows.insert(item, Vec::new())),
                (false, Some(_)) => {}
            }
        }
        let mut shown: Vec<(String, Row)> = rows
            .iter()
            .filter_map(|(item, members)| self.row(names, item, members, &field))
            .collect();
        shown.sort_by(|(a, _), (b, _)| b.cmp(a));
        shown
    }

    /// A row and its sort key.
    pub(super) fn row(
        &self,
        names: &Names,
        item: &str,
        members: &[String],
        field: &Newest<'_>,
    ) -> Option<(String, Row)> {
        let mut parts: Vec<&str> = members.iter().map(String::as_str).collect();
        parts.sort_unstable();
        parts.insert(0, item);
        let (mut s3_key, mut twilio, mut completed, mut reason) = (None, Vec::new(), false, None);
        let (mut began, mut number, mut from_twilio) = (None, None, None);
        let mut transcribed = false;
        let mut shown = if item.contains('#') {
            String::new()
        } else {
            item.to_owned()
        };
        if let Some((time, phone)) = item.strip_prefix("dispatch_").and_then(|rest| rest.split_once('_')) {
            (began, number) = (time.parse::<i64>().ok(), Some(phone.to_owned()));
        }
        for part in parts {
            if let Some(key) = part.strip_prefix("object#") {
                let name = key.rsplit_once("outbound-").unwrap().1.trim_end_matches(".mp4");
                let (phone, time) = name.split_once('_').unwrap();
                let time: i64 = time.parse().unwrap();
                let content = self.files.get(key).copied().flatten();
                if item.contains('#') && (shown.is_empty() || content.is_some()) {
                    shown = format!("dispatch_{time}_{phone}");
                }
                match content {
                    Some(content) => {
                        (s3_key, began) = (Some(key.to_owned()), Some(time));
                        transcribed |= self.transcribed_files.contains(&(key.to_owned(), content));
                    }
                    None => reason = reason.or(Some("The recording was deleted.".to_owned())),
                }
                began = began.or(Some(time));
                number = number.or(Some(phone.to_owned()));
            } else if let Some(failed) = part.strip_prefix("egress#EG_") {
                let (phone, time) = names.world.failures[failed.parse::<usize>().unwrap()];
                reason = reason.or(Some("no space".to_owned()));
                began = began.or(Some(names.base + time));
                number = number.or(Some(PHONES[phone].to_owned()));
            } else if let Some(sid) = part.strip_prefix("twilio#") {
                let call = (0..3).find(|call| call_sid(*call) == sid).unwrap();
                completed |= self.twilio[&call];
                transcribed |= self.transcribed_calls.contains(&call);
                twilio.push((names.world.calls[call].time, recording_sid(call)));
                from_twilio = Timestamp::from_second(names.base + names.world.calls[call].time).ok();
                number = number.or(names.world.calls[call].phone.map(|phone| PHONES[phone].to_owned()));
            }
        }
        let start = field(item, members, "start_time").map(|text| text.parse::<Timestamp>().unwrap());
        let start = start.or_else(|| Timestamp::from_second(began?).ok()).or(from_twilio);
        let reported = std::iter::once(item).chain(members.iter().map(String::as_str));
        let first = reported.filter_map(|item| self.first.get(item)).min();
        let listed_at = start.or_else(|| Timestamp::from_second(names.base + first?).ok())?;
        let start_time = start.map(to_millis).unwrap_or_default();
        let playable = s3_key.is_some() || completed;
        twilio.sort();
        let not_completed = || (!twilio.is_empty()).then(|| "Twilio's recording is not completed.".to_owned());
        let row = Row {
            item: item.to_owned(),
            playable,
            reported: !item.contains('#') || item.starts_with("interaction#"),
            dispatch_id: shown,
            interaction_id: field(item, members, "interaction_id"),
            status: field(item, members, "status"),
            start_time,
            phone: field(item, members, "phone").or(number.map(|number| format!("+{number}"))),
            s3_key,
            transcribed,
            reason: if playable { None } else { reason.or_else(not_completed) },
            twilio: twilio.into_iter().map(|(_, sid)| sid).collect(),
        };
        Some((format!("{}#{item}", to_millis(listed_at)), row))
    }
}
