//! Assigns the recordings of one phone number to its calls by their times.

/// A recording may begin this many seconds before its dispatch (hence negative), because the clocks may differ.
const EARLIEST: i64 = -5;
/// A recording begins at most this many seconds after its dispatch.
pub(super) const LATEST: i64 = 300;
/// Dispatches within this many seconds of each other are a redial. A recording of the first one may then begin after the second dispatch.
const REDIAL: i64 = 10;
/// A Twilio and a LiveKit recording that began within this many seconds of each other belong to the same call.
const SAME_CALL: i64 = 60;

/// The cost of assigning a recording to a call; less is better. The recording's start time is compared first, then the seconds between recording
/// and call.
pub(in crate::calls) type Cost = (i64, i64);

/// The cost of assigning a recording that began at `began` to `dispatches[index]`; `None` if they can't belong together. `dispatches` is sorted.
/// Earlier recordings cost less than later ones, and a recording costs least with the last dispatch before it.
///
/// A recording begins after its dispatch, except for a few seconds of clock difference. A recording that began after a later dispatch does not
/// belong to the earlier one, unless the two are a redial.
pub(in crate::calls) fn fit(dispatches: &[i64], index: usize, began: i64) -> Option<Cost> {
    let dispatched = dispatches[index];
    if !(EARLIEST..=LATEST).contains(&(began - dispatched)) {
        return None;
    }
    let later = dispatches.partition_point(|other| *other <= dispatched + REDIAL);
    let overtaken = dispatches.get(later).is_some_and(|later| *later <= began);
    (!overtaken).then(|| (began, after(dispatched, began)))
}

/// The cost of assigning a Twilio recording to a LiveKit recording that belongs to no known dispatch.
pub(super) fn fit_recordings(livekit: i64, twilio: i64) -> Option<Cost> {
    let distance = (livekit - twilio).abs();
    (distance <= SAME_CALL).then_some((twilio, distance))
}

/// The seconds from dispatch to recording. Seconds before the dispatch count tenfold.
fn after(dispatched: i64, began: i64) -> i64 {
    match began - dispatched {
        late @ 0.. => late,
        early => -10 * early,
    }
}

/// Pairs recordings with calls, both sorted by time, so that no two pairs cross. Among these assignments it chooses the one with the most pairs,
/// then the least total `cost`, then the earliest calls. Returns the index of the call for each recording.
pub(in crate::calls) fn pair(
    calls: usize,
    recordings: usize,
    cost: impl Fn(usize, usize) -> Option<Cost>,
) -> Vec<Option<usize>> {
    // best[r][c]: negated number of pairs, and their cost, for the recordings from r on and the calls from c on.
    let mut best = vec![vec![(0_i64, 0_i64, 0_i64); calls + 1]; recordings + 1];
    let with = |best: &[Vec<(i64, i64, i64)>], r: usize, c: usize| {
        let (pairs, began, seconds) = best[r + 1][c + 1];
        cost(c, r).map(|cost| (pairs - 1, began + cost.0, seconds + cost.1))
    };
    for r in (0..recordings).rev() {
        for c in (0..calls).rev() {
            let without = best[r + 1][c].min(best[r][c + 1]);
            best[r][c] = with(&best, r, c).map_or(without, |with| with.min(without));
        }
    }
    let (mut paired, mut c) = (vec![None; recordings], 0);
    for r in 0..recordings {
        let chosen = (c..calls).find(|&c2| best[r][c2] == best[r][c] && with(&best, r, c2) == Some(best[r][c]));
        if let Some(chosen) = chosen {
            paired[r] = Some(chosen);
            c = chosen + 1;
        }
    }
    paired
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(dispatches: &[i64], recordings: &[i64]) -> Vec<Option<i64>> {
        let pairs = pair(dispatches.len(), recordings.len(), |d, r| {
            fit(dispatches, d, recordings[r])
        });
        pairs.into_iter().map(|d| d.map(|d| dispatches[d])).collect()
    }

    #[test]
    fn a_recording_belongs_to_the_last_dispatch_before_it() {
        assert_eq!(of(&[1000], &[1002]), [Some(1000)]);
        assert_eq!(of(&[1000], &[995]), [Some(1000)]);
        assert_eq!(of(&[1000], &[994]), [None]);
        assert_eq!(of(&[1000], &[1300]), [Some(1000)]);
        assert_eq!(of(&[1000], &[1301]), [None]);
        assert_eq!(of(&[1000, 1120], &[1122]), [Some(1120)]);
        assert_eq!(of(&[1000, 1120], &[1100]), [Some(1000)]);
        assert_eq!(of(&[995, 1000], &[998]), [Some(995)]);
        assert_eq!(of(&[1000, 1004], &[1002]), [Some(1000)]);
        assert_eq!(
            of(&[1000], &[100, 995, 1040]),
            [None, Some(1000), None],
            "the earliest in the window"
        );
    }

    #[test]
    fn a_failed_call_does_not_get_a_second_file_of_the_next_one() {
        assert_eq!(of(&[1000, 1120], &[1122, 1125]), [Some(1120), None]);
    }

    #[test]
    fn a_redial_within_seconds_leaves_each_call_its_own_recording() {
        assert_eq!(of(&[1000, 1008], &[1005, 1012]), [Some(1000), Some(1008)]);
        assert_eq!(of(&[1000, 1003], &[1004, 1006]), [Some(1000), Some(1003)]);
        assert_eq!(of(&[1000, 1008], &[998, 1006]), [Some(1000), Some(1008)]);
        assert_eq!(of(&[1000, 1008], &[1009]), [Some(1008)]);
        assert_eq!(of(&[1000, 1008], &[1005]), [Some(1000)]);
    }

    /// The best assignment by brute force over all assignments without crossings.
    fn by_brute_force(dispatches: &[i64], recordings: &[i64]) -> Vec<Option<i64>> {
        fn rest(dispatches: &[i64], recordings: &[i64], r: usize, from: usize) -> Vec<(i64, Cost, Vec<usize>)> {
            if r == recordings.len() {
                return vec![(0, (0, 0), Vec::new())];
            }
            let mut all = Vec::new();
            for d in from..=dispatches.len() {
                // dispatches.len() means that the recording is not assigned, so that this case sorts last.
                let (pairs, cost, next) = match dispatches.get(d) {
                    Some(_) => match fit(dispatches, d, recordings[r]) {
                        Some(cost) => (-1, cost, d + 1),
                        None => continue,
                    },
                    None => (0, (0, 0), from),
                };
                for (more, costs, mut chosen) in rest(dispatches, recordings, r + 1, next) {
                    chosen.insert(0, d);
                    all.push((more + pairs, (costs.0 + cost.0, costs.1 + cost.1), chosen));
                }
            }
            all
        }
        let (.., chosen) = rest(dispatches, recordings, 0, 0).into_iter().min().unwrap();
        chosen.into_iter().map(|d| dispatches.get(d).copied()).collect()
    }

    proptest! {
        #[test]
        fn no_other_pairing_is_better(
            mut dispatches in proptest::collection::vec(0_i64..60, 0..5),
            mut recordings in proptest::collection::vec(-10_i64..80, 0..5),
        ) {
            dispatches.sort();
            recordings.sort();
            prop_assert_eq!(of(&dispatches, &recordings), by_brute_force(&dispatches, &recordings));
        }
    }
}
