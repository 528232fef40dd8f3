//! The search compared with a brute-force model of its rules.

use super::*;

#[derive(Debug, Clone)]
struct File {
    offset: i64,
    days: i64,
    kind: Kind,
}

#[derive(Debug, Clone)]
struct Dispatch {
    offset: i64,
    known: bool,
}

fn case() -> impl Strategy<Value = (i64, Vec<File>, Vec<Dispatch>)> {
    let kind = prop_oneof![4 => Just(Kind::Sound), 1 => Just(Kind::Empty), 1 => Just(Kind::Manifest)];
    let days = prop_oneof![4 => Just(0_i64), 1 => -2_i64..=2];
    let offset = || prop_oneof![2 => -10_i64..30, 1 => -320_i64..640];
    let file = (offset(), days, kind).prop_map(|(offset, days, kind)| File { offset, days, kind });
    let dispatch = (offset(), any::<bool>()).prop_map(|(offset, known)| Dispatch { offset, known });
    (
        -400_i64..400,
        proptest::collection::vec(file, 0..7),
        proptest::collection::vec(dispatch, 1..5),
    )
}

/// The expected assignment, by brute force over all assignments without crossings: most pairs, then the earliest recordings, then the fewest
/// seconds between recording and dispatch (seconds before the dispatch count tenfold), then the earliest calls. A recording that began after a
/// later dispatch belongs to that one, except within 10 s.
fn pairing(dispatches: &[i64], recordings: &[(i64, String)]) -> BTreeMap<i64, String> {
    fn by_brute_force(dispatches: &[i64], recordings: &[(i64, String)], from: usize) -> (i64, i64, i64, Vec<usize>) {
        let Some(((began, _), rest)) = recordings.split_first() else {
            return (0, 0, 0, Vec::new());
        };
        let mut best = None;
        for d in from..=dispatches.len() {
            let (pairs, started, cost, next) = match dispatches.get(d) {
                None => (0, 0, 0, from),
                Some(at) => {
                    let late = began - at;
                    let overtaken = dispatches.iter().any(|later| *later > at + 10 && later <= began);
                    if !(-5..=300).contains(&late) || overtaken {
                        continue;
                    }
                    (-1, *began, if late < 0 { -10 * late } else { late }, d + 1)
                }
            };
            let (more, times, costs, mut chosen) = by_brute_force(dispatches, rest, next);
            chosen.insert(0, d);
            let found = (pairs + more, started + times, cost + costs, chosen);
            if best.as_ref().is_none_or(|best| found < *best) {
                best = Some(found);
            }
        }
        best.unwrap()
    }
    let (.., chosen) = by_brute_force(dispatches, recordings, 0);
    let pairs = chosen.into_iter().zip(recordings);
    pairs
        .filter_map(|(d, (_, key))| Some((*dispatches.get(d)?, key.clone())))
        .collect()
}

/// A model of the table.
#[derive(Default)]
struct IndexModel {
    dispatches: BTreeSet<i64>,
    recordings: BTreeSet<(i64, String)>,
}

impl IndexModel {
    /// The recording that a request for this dispatch finds. Updates the model like the request updates the table.
    fn find(&mut self, files: &[Listed], dispatched: i64) -> Option<String> {
        let recordings: Vec<_> = self.recordings.iter().cloned().collect();
        let dispatches: Vec<_> = self.dispatches.iter().copied().collect();
        let mut linked = pairing(&dispatches, &recordings);
        if let Some(key) = linked.remove(&dispatched) {
            return Some(key);
        }
        let same: Vec<_> = recordings.iter().filter(|(began, _)| *began == dispatched).collect();
        if !self.dispatches.contains(&dispatched)
            && let Some((_, key)) = same.first()
            && !linked.values().any(|taken| taken == key)
        {
            return Some(key.clone());
        }
        let candidates: BTreeSet<(i64, String)> = files
            .iter()
            .filter(|(_, _, folder, kind)| {
                *kind == Kind::Sound && (-1..=1).contains(&(*folder - day(dispatched)).get_days())
            })
            .map(|(key, began, ..)| (*began, key.clone()))
            .collect();
        let with: Vec<_> = self
            .dispatches
            .iter()
            .copied()
            .chain([dispatched])
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let found = pairing(&with, &candidates.iter().cloned().collect::<Vec<_>>()).remove(&dispatched)?;
        let made_up = candidates
            .iter()
            .any(|file| file.0 == dispatched && self.recordings.contains(file));
        let taken = pairing(&dispatches, &recordings).into_values().any(|key| key == found);
        if self.dispatches.contains(&dispatched) || !(made_up || taken) {
            self.dispatches.insert(dispatched);
            self.recordings.extend(candidates);
        }
        Some(found)
    }
}

#[test]
fn the_search_equals_a_brute_force_model_of_its_rules() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let stack = runtime.block_on(TestStack::empty());
    let cases = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 32,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&case(), |(begin, files, dispatches)| {
        cases.set(cases.get() + 1);
        let phone = format!("1{:010}", cases.get());
        let base = MIDNIGHT + begin;
        let mut listed: Vec<Listed> = Vec::new();
        for file in files {
            let began = base + file.offset;
            let folder = day(began).checked_add(file.days.days()).unwrap();
            let key = key_in(folder, &phone, began);
            let (key, bytes) = match file.kind {
                Kind::Sound => (key, &b"s"[..]),
                Kind::Empty => (key, &b""[..]),
                Kind::Manifest => (key.replace(".mp4", ".json"), &b"{}"[..]),
            };
            if listed.iter().all(|(known, ..)| *known != key) {
                stack.put_object(&key, bytes);
                listed.push((key, began, folder, file.kind));
            }
        }
        let mut known = IndexModel::default();
        for dispatch in dispatches.iter().filter(|dispatch| dispatch.known) {
            let unix = base + dispatch.offset;
            let call = Call {
                dispatch_id: format!("dispatch_{unix}_{phone}"),
                ..Call::default()
            };
            runtime.block_on(demo_data::index_call(&stack.calls(), &call)).unwrap();
            known.dispatches.insert(unix);
        }
        for dispatch in &dispatches {
            let unix = base + dispatch.offset;
            let answer = runtime.block_on(stack.get(&path(unix, &phone)));
            let found = answer.body["s3_key"].as_str().map(str::to_owned);
            let expected = known.find(&listed, unix);
            prop_assert_eq!(&found, &expected, "{} {} {:?}", unix, answer.body, listed);
            if found.is_none() {
                assert_not_found(&answer);
            }
        }
        Ok(())
    });
    result.unwrap();
}
