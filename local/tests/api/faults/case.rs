//! A case of the matrix: what is done, and what is checked.

use std::{collections::BTreeMap, time::Duration};

use local::fault_proxy::{Fault, Kind, Moment, Upstream};
use serde_json::json;
use shared::transcripts::LEASE_OVER;

use super::{
    call::Call,
    lane::{Lane, Reply, TOLERANCE},
    sources::{deliver, end_leases},
    stored::{Stored, stored},
    subject::{Subject, is_same, prepare, run},
};

/// How often a message is delivered again.
const DELIVERIES: u32 = 5;

/// What happens without a fault.
#[derive(Clone, Debug)]
pub(super) struct Clean {
    pub(super) status: u16,
    pub(super) requests: BTreeMap<Upstream, usize>,
    pub(super) stored: Stored,
    /// The same before the request.
    pub(super) before: Stored,
    /// Messages that it sends.
    pub(super) sent: i64,
}

pub(super) async fn clean(lane: &Lane, call: &Call, subject: &Subject) -> Result<Clean, String> {
    let ready = prepare(lane, call, subject).await;
    let before = stored(lane, call).await;
    let messages = lane.messages().await;
    let mut requests = BTreeMap::new();
    let (mut reply, mut now);
    let mut times = 0;
    loop {
        lane.proxy.take_log();
        reply = run(lane, call, subject, &ready, 1).await;
        if reply.is_too_slow() {
            continue;
        }
        if !reply.is_success() {
            return Err(format!("{subject:?} without a fault: {reply:?}"));
        }
        now = stored(lane, call).await;
        times += 1;
        if times == 1 {
            for exchange in lane.proxy.take_log() {
                *requests.entry(exchange.asked.upstream).or_default() += 1;
            }
            if subject.only_finds() && indexed(&now) == indexed(&before) {
                continue;
            }
        }
        break;
    }
    Ok(Clean {
        status: reply.status,
        requests,
        stored: now,
        before,
        sent: lane.messages().await - messages,
    })
}

/// A case: who meets which fault, at all requests to the upstream or at one of them.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) subject: Subject,
    pub(super) upstream: Upstream,
    pub(super) only: Option<usize>,
    pub(super) fault: Fault,
}

/// What the index has of a call.
fn indexed(stored: &Stored) -> Stored {
    let mut stored = stored.clone();
    stored.retain(|shape, _| shape.starts_with("calls "));
    stored
}

/// What is stored of a call outside the index.
fn other(stored: &Stored) -> Stored {
    let mut stored = stored.clone();
    stored.retain(|shape, _| !shape.starts_with("calls "));
    stored
}

/// Runs a case, and returns what is wrong.
pub(super) async fn problems(lane: &Lane, call: &Call, case: &Case, clean: &Clean) -> Vec<String> {
    let mut wrong = Vec::new();
    let subject = &case.subject;
    let ready = prepare(lane, call, subject).await;
    let messages = match clean.requests.contains_key(&Upstream::Sqs) {
        true => Some(lane.messages().await),
        false => None,
    };
    lane.proxy.take_log();
    let calls = lane.stack.stack.whisper.calls();
    lane.inject(case.upstream, case.only, case.fault);
    let met = run(lane, call, subject, &ready, 1).await;
    lane.proxy.clear();
    let time = subject.time();
    if met.took > time + TOLERANCE {
        wrong.push(format!("answered after {:?} of {time:?}", met.took));
    }
    if let Some(problem) = undocumented(&met) {
        wrong.push(problem);
    }
    let mut now = stored(lane, call).await;
    if subject.is_one_step() {
        // A recording that a request finds by its name is in the index, even if the request fails afterwards.
        let is_found = indexed(&now) == indexed(&clean.stored) && other(&now) == other(&clean.before);
        let is_whole = now == clean.before || is_found || is_same(subject, &now, &clean.stored);
        if !is_whole {
            wrong.push(format!(
                "half stored: {}; without a fault: {}",
                difference(&clean.before, &now),
                difference(&clean.stored, &now)
            ));
        }
        let is_not_indexed_yet = subject.only_finds() && indexed(&now) == indexed(&clean.before);
        let is_stored = now == clean.stored || is_not_indexed_yet && other(&now) == other(&clean.stored);
        if met.is_success() && !is_stored {
            wrong.push(format!("a success, and stored is {}", difference(&clean.stored, &now)));
        }
    }
    let is_done = met.is_success() && now == clean.stored;
    let mut last = met.clone();
    for delivery in 2..=DELIVERIES {
        if subject.is_transcription() {
            let left = end_leases(lane, call).await;
            if left > time + LEASE_OVER + LEASE_OVER {
                wrong.push(format!("a lease of {left:?}"));
            }
        }
        last = run(lane, call, subject, &ready, delivery).await;
        if is_done && !last.is_too_slow() {
            break;
        }
        if let (Subject::Route(_), 202, 200) = (subject, last.status, clean.status) {
            // The request has handed over to the worker.
            for job in [
                json!({"recording_sid": call.sid()}),
                json!({"dispatch_id": call.dispatch()}),
            ] {
                deliver(lane, "transcription-worker", &job.to_string(), 1).await;
            }
            continue;
        }
        now = stored(lane, call).await;
        let is_settled = last.is_success() && is_same(subject, &now, &clean.stored);
        // A loaded machine may be too slow for a request without a fault.
        if is_settled || subject.is_one_step() && !last.is_too_slow() {
            break;
        }
    }
    if !last.is_success() {
        wrong.push(format!("the next request fails: {} {}", last.status, last.body));
    }
    if !is_same(subject, &now, &clean.stored) {
        wrong.push(format!("stored afterwards: {}", difference(&clean.stored, &now)));
    }
    if let Some(before) = messages {
        let sent = lane.messages().await - before;
        if clean.sent > 0 && sent <= 0 {
            wrong.push("no message was sent".to_owned());
        }
    }
    // The answer is written to the log after it was sent.
    tokio::task::yield_now().await;
    let log = lane.proxy.take_log();
    for (file, times, delivered) in lane.paid(&log, calls) {
        if delivered > 1 || (case.upstream != Upstream::Whisper && times > 1) {
            wrong.push(format!(
                "{file} was paid for {times} times, {delivered} of which arrived"
            ));
        }
    }
    wrong
}

/// Why an answer is none of the contract, or none to a fault of an upstream.
pub(super) fn undocumented(reply: &Reply) -> Option<String> {
    let body = reply.json();
    let is_gateways = body["message"].is_string() && body.get("code").is_none();
    let is_fault = reply.status < 400 || reply.status >= 500 || reply.status == 429;
    (reply.status == 501 || is_gateways || !is_fault).then(|| format!("{} {}", reply.status, reply.body))
}

pub(super) fn difference(expected: &Stored, found: &Stored) -> String {
    let minus = |one: &Stored, other: &Stored| {
        let more = one.iter().filter(|(shape, count)| other.get(*shape) != Some(count));
        more.map(|(shape, count)| format!("{count}x {shape}"))
            .collect::<Vec<_>>()
    };
    format!(
        "without {:#?}, with {:#?}",
        minus(expected, found),
        minus(found, expected)
    )
}

pub(super) fn kinds(upstream: Upstream) -> Vec<Fault> {
    let before = |kind| Fault {
        kind,
        moment: Moment::Before,
    };
    let after = |kind| Fault {
        kind,
        moment: Moment::After,
    };
    let mut faults = vec![
        before(Kind::Latency(Duration::from_secs(2))),
        after(Kind::Latency(Duration::from_secs(5))),
        before(Kind::Reset),
        after(Kind::Reset),
        after(Kind::Truncated),
        before(Kind::Throttled { retry_after: None }),
        before(Kind::ServerError),
        after(Kind::ServerError),
        after(Kind::SlowDrip),
        after(Kind::Endless),
    ];
    if matches!(upstream, Upstream::Twilio | Upstream::Whisper) {
        faults.push(before(Kind::Throttled { retry_after: Some(1) }));
        faults.push(before(Kind::Throttled { retry_after: Some(600) }));
    }
    faults
}

/// The cases of a subject: each kind at all requests to each upstream, and each request whose answer alone is lost.
pub(super) fn cases(subject: &Subject, clean: &Clean) -> Vec<Case> {
    let mut cases = Vec::new();
    for (upstream, requests) in &clean.requests {
        let of = |only, fault| Case {
            subject: subject.clone(),
            upstream: *upstream,
            only,
            fault,
        };
        cases.extend(kinds(*upstream).into_iter().map(|fault| of(None, fault)));
        let lost = Fault {
            kind: Kind::Reset,
            moment: Moment::After,
        };
        cases.extend((0..*requests).map(|number| of(Some(number), lost)));
    }
    cases
}

/// The part of the cases that `cargo test` runs: those that have found something, and of each subject and upstream one kind and one lost answer,
/// other ones for the next subject.
pub(super) fn part(cases: Vec<Case>, turn: &mut usize) -> Vec<Case> {
    let (mut chosen, rest): (Vec<_>, Vec<_>) = cases.into_iter().partition(has_found);
    let mut upstreams: BTreeMap<(Upstream, bool), Vec<Case>> = BTreeMap::new();
    for case in rest {
        let of_upstream = upstreams.entry((case.upstream, case.only.is_some()));
        of_upstream.or_default().push(case);
    }
    chosen.extend(upstreams.into_values().map(|mut cases| {
        *turn += 1;
        cases.swap_remove(*turn % cases.len())
    }));
    chosen
}

/// Whether the case has found something: notes of copies whose answers were lost, messages that could not be sent after them, and slow upstreams.
fn has_found(case: &Case) -> bool {
    let is_lost = case.only.is_some() && case.upstream == Upstream::DynamoDb;
    let is_slow =
        case.only.is_none() && matches!(case.fault.kind, Kind::Latency(_)) && case.fault.moment == Moment::Before;
    match &case.subject {
        Subject::Source("archive-recording", _) => is_lost,
        Subject::Source("transcription-worker", _) => is_slow && case.upstream == Upstream::DynamoDb,
        Subject::Route(route) if route == "POST /webhooks/twilio/recording" => {
            is_lost || case.upstream == Upstream::Sqs
        }
        Subject::Route(route) if route == "POST /recordings/{dispatch_id}/archive" => case.upstream == Upstream::Sqs,
        Subject::Route(route) if route == "POST /recordings/{dispatch_id}/waveform" => {
            is_slow && case.upstream == Upstream::S3
        }
        _ => false,
    }
}
